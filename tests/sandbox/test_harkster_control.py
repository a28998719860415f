import socket
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
import requests
from api_sandbox import (
    AccountPlan,
    ChannelPlan,
    HarksterScenario,
    RunningSandbox,
    Scenario,
    ScenarioError,
    TemplatePlan,
    serve_in_thread,
)
from api_sandbox.harkster.html_page import moment
from typing_extensions import override

Call = Callable[..., requests.Response]
Serve = Callable[[Scenario], RunningSandbox]

HARMFUL = '<script>alert("x")</script>'
ALL_TYPES: list[dict[str, Any]] = [
    {"type": "number", "label": "Hours", "data": "-1234567.50"},
    {"type": "currency", "label": "Billed", "data": 98760.5, "options": {"ccy": "GBP"}},
    {"type": "percentage", "label": "Activity", "data": "71.5"},
    {"type": "counter", "label": "People", "data": 12},
    {"type": "text", "label": "Team", "data": HARMFUL},
    {"type": "note", "name": HARMFUL, "data": f"a\n{HARMFUL}"},
    {"type": "bulletPoints", "label": HARMFUL, "data": f"one\n{HARMFUL}"},
    {"type": "snippet", "label": "Code", "data": HARMFUL},
    {"type": "heading", "label": HARMFUL},
    {"type": "header", "label": "Heading by its other name"},
    {"type": "divider"},
    {"type": "date", "label": "On", "data": "2026-11-16"},
    {"type": "date", "label": "At", "data": "2026-11-16T23:30:00.5-01:00"},
    {"type": "status", "label": "Status", "data": "amber"},
    {"type": "progress", "label": "Progress", "data": "62.5"},
]
UNSET = [{**field, "data": None} for field in ALL_TYPES if "data" in field and field["type"] != "progress"]


class Tags(HTMLParser):
    """Checks that every element is closed, and gathers the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.seen: set[str] = set()

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        assert not {name for name, _ in attrs} & {"src", "href"}
        if tag not in {"meta", "hr"}:
            self.open.append(tag)

    @override
    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    @override
    def handle_data(self, data: str) -> None:
        self.text += data


def page(sandbox: RunningSandbox) -> Tags:
    answer = requests.get(sandbox.harkster.page_url, timeout=60)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    tags = Tags()
    tags.feed(answer.text)
    assert tags.open == []
    return tags


def tell(sandbox: RunningSandbox, path: str, content: Any = None) -> requests.Response:
    return requests.post(f"{sandbox.control_url}/{path}", json=content, timeout=60)


def ask(sandbox: RunningSandbox, path: str) -> Any:
    return requests.get(f"{sandbox.control_url}/{path}", timeout=60).json()


def post(call: Call, sandbox: RunningSandbox, dataset: list[dict[str, Any]], **more: Any) -> str:
    path = f"channels/{sandbox.harkster.channel('Weekly Hours')}/posts"
    answer = call(sandbox, "POST", path, json={"data": {"type": "fields", "dataset": dataset}, **more})
    assert answer.status_code == 200, answer.text
    own_id: str = answer.json()["id"]
    return own_id


def test_the_page_shows_every_type_as_text(serve: Serve, call: Call) -> None:
    sandbox = serve(Scenario())
    post(call, sandbox, ALL_TYPES, name=HARMFUL)
    shown = page(sandbox)
    assert "script" not in shown.seen
    assert shown.text.count(HARMFUL) == 8
    for text in ("-1,234,567.50", "GBP 98,760.5", "71.5 %", "12", "Amber", "62.5 %", "1 of 100 posts this month"):
        assert text in shown.text
    for text in ("16 November 2026", "17 November 2026, 00:30 UTC", "Heading by its other name"):
        assert text in shown.text


def test_the_page_shows_what_is_not_set(serve: Serve, call: Call) -> None:
    sandbox = serve(Scenario())
    before = page(sandbox).text.lower().count("not set")
    post(call, sandbox, UNSET)
    assert page(sandbox).text.lower().count("not set") - before == len(UNSET) == 11


def test_the_page_shows_what_state_a_post_is_in(serve: Serve, call: Call) -> None:
    sandbox = serve(Scenario())
    posts = f"channels/{sandbox.harkster.channel('Weekly Hours')}/posts"
    post(call, sandbox, [{"type": "divider"}], isDraft=True)
    assert "nobody has seen it" in page(sandbox).text
    own_id = post(call, sandbox, [{"type": "divider"}], name="A name of its own")
    call(sandbox, "PUT", f"{posts}/{own_id}/publish")
    assert "Published 2 times" in page(sandbox).text
    call(sandbox, "DELETE", f"{posts}/{own_id}", json={"recallMessage": False})
    assert "A name of its own" not in page(sandbox).text
    assert "Salaries" not in page(sandbox).text


def test_a_time_on_the_edge_of_all_years_is_shown_as_it_came() -> None:
    assert moment("0001-01-01T00:00:00+10:00") == "0001-01-01T00:00:00+10:00"


def test_another_process_sees_the_truth(serve: Serve, call: Call) -> None:
    sandbox = serve(Scenario())
    own_id = post(call, sandbox, [{"type": "divider", "id": "1"}])
    truth = ask(sandbox, "harkster/truth")
    channel = sandbox.harkster.channel("Weekly Hours")
    (told,) = truth["posts"][channel]
    assert (told["id"], told["status"], told["publications"]) == (own_id, "published", 1)
    assert [event["kind"] for event in truth["events"]] == ["created", "published"]
    assert sorted(truth["used"].values()) == [1, 11]
    assert list(ask(sandbox, "harkster/truth?channel=Weekly%20Hours")["posts"]) == [channel]
    first = ask(sandbox, "harkster/channels")[0]
    assert first == {"id": channel, "path": "Acme Inc./Projects/Weekly Hours", "access": "post"}


def test_another_process_steers(serve: Serve, call: Call) -> None:
    sandbox = serve(Scenario())
    assert tell(sandbox, "harkster/quota", {"account": "Acme Inc.", "quota": 7, "used": 6}).status_code == 204
    usages = f"accounts/{sandbox.harkster.account('Acme Inc.')}/usages"
    assert call(sandbox, "GET", usages).json() == {"postQuota": 7, "postUsage": 6}
    assert tell(sandbox, "harkster/month").status_code == 204
    assert call(sandbox, "GET", usages).json() == {"postQuota": 7, "postUsage": 0}

    plan = {"name": "New"}
    added = tell(sandbox, "harkster/channels", {"workspace": "Computer Club/Empty room", "channel": plan}).json()["id"]
    assert added == sandbox.harkster.channel("New")
    template = {"name": "T", "fields": [{"type": "divider"}]}
    own_id = tell(sandbox, "harkster/templates", {"channel": "New", "template": template}).json()["id"]
    assert call(sandbox, "GET", f"channels/{added}/templates/{own_id}").json()["name"] == "T"

    faults = [{"kind": "status", "operation": "publish", "when": "after"}]
    assert tell(sandbox, "faults", faults).status_code == 204
    assert tell(sandbox, "harkster/token/revoke").status_code == 204
    assert call(sandbox, "GET", "auth").status_code == 401


def test_a_test_steers(serve: Serve, call: Call) -> None:
    sandbox = serve(Scenario())
    added = sandbox.harkster.add_channel("Acme Inc./Projects", ChannelPlan(name="Added", history=2))
    template = sandbox.harkster.add_template("Added", TemplatePlan(name="T"))
    assert len(call(sandbox, "GET", f"channels/{added}/posts").json()) == 2
    assert [found["id"] for found in call(sandbox, "GET", f"channels/{added}/templates").json()] == [template]


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("quota", {"account": "Nobody", "quota": 1}),
        ("quota", {"account": "Acme Inc.", "quota": -1}),
        ("channels", {"workspace": "Nowhere", "channel": {"name": "x"}}),
        ("channels", {"workspace": "Acme Inc./Projects", "channel": {"colour": "red"}}),
        ("templates", {"channel": "Forecast", "template": {"name": "x"}}),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_reason(serve: Serve, path: str, content: Any) -> None:
    answer = tell(serve(Scenario()), f"harkster/{path}", content)
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_a_scenario_needs_a_channel() -> None:
    with pytest.raises(ValueError, match="need a channel"):
        HarksterScenario(accounts=(AccountPlan(name="Empty"),))
    with (
        pytest.raises(ScenarioError, match="page_size"),
        serve_in_thread(Scenario(harkster=HarksterScenario(page_size=0))),
    ):
        pass


def test_a_client_that_leaves_in_the_middle_of_its_body_changes_nothing(
    serve: Serve, capfd: pytest.CaptureFixture[str]
) -> None:
    sandbox = serve(Scenario())
    port = int(sandbox.control_url.split(":")[2].split("/")[0])
    with socket.create_connection(("127.0.0.1", port)) as client:
        path = f"/harkster/public/v1/channels/{sandbox.harkster.channel('Weekly Hours')}/posts"
        client.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{{".encode())
        while sandbox.report().requests == 0:
            pass
    while not sandbox.report().outcomes:
        pass
    assert list(sandbox.report().outcomes.values()) == [{"gone": 1}]
    assert capfd.readouterr().err == ""
