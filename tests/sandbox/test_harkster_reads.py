import json
from collections.abc import Callable
from typing import Any

import pytest
import requests
from api_sandbox import (
    AccountPlan,
    ChannelPlan,
    Fault,
    HarksterScenario,
    RunningSandbox,
    Scenario,
    TemplatePlan,
    WorkspacePlan,
)

Call = Callable[..., requests.Response]
Serve = Callable[[Scenario], RunningSandbox]

NEXT = "X-Harkster-Continuation"
ROOM = WorkspacePlan(
    name="Room",
    channels=(
        ChannelPlan(
            name="Open", history=7, templates=(TemplatePlan(name="T", fields=({"type": "divider", "id": "1"},)),)
        ),
        ChannelPlan(name="Read", access="read", history=1),
        ChannelPlan(name="Hidden", access="none"),
    ),
)
ACCOUNTS = (AccountPlan(name="One", quota=9, used=4, workspaces=(ROOM,)), AccountPlan(name="Two"))


def scenario(*faults: Fault, **settings: Any) -> Scenario:
    settings = {"accounts": ACCOUNTS, "requests_per_second": None, **settings}
    return Scenario(harkster=HarksterScenario(**settings), faults=faults)


def walk(call: Call, sandbox: RunningSandbox, path: str) -> list[requests.Response]:
    """The pages of a list, as the guide tells to read them."""
    pages = [call(sandbox, "GET", path)]
    while pages[-1].headers.get(NEXT) not in {None, "", "null"} and len(pages) < 20:
        pages.append(call(sandbox, "GET", path, headers={NEXT: pages[-1].headers[NEXT]}))
    return pages


def test_who_the_token_belongs_to(serve: Serve, call: Call) -> None:
    sandbox = serve(scenario(user="Ann"))
    assert call(sandbox, "GET", "auth").json() == {"message": "Authorized", "name": "Ann"}


@pytest.mark.parametrize("authorization", [None, "Bearer", "Bearer wrong", "Basic {token}", "{token}", "Bearer é"])
def test_other_tokens_are_refused(serve: Serve, call: Call, authorization: str | None) -> None:
    sandbox = serve(scenario(access_token="right"))
    header = None if authorization is None else authorization.format(token="right").encode("latin-1")
    answer = call(sandbox, "GET", "auth", headers={"Authorization": header})
    assert answer.status_code == 401
    assert call(sandbox, "GET", "auth", headers={"Authorization": "bearer right"}).status_code == 200


def test_the_way_from_accounts_to_posts(serve: Serve, call: Call) -> None:
    sandbox = serve(scenario())

    def got(path: str) -> Any:
        answer = call(sandbox, "GET", path)
        assert answer.status_code == 200
        return answer.json()

    account, other = got("accounts")
    assert (account["name"], other["name"]) == ("One", "Two")
    assert got(f"accounts/{account['id']}") == account
    assert got(f"accounts/{account['id']}/usages") == {"postQuota": 9, "postUsage": 4}
    assert got(f"accounts/{other['id']}/workspaces") == []
    (room,) = got("workspaces")
    assert [room] == got(f"accounts/{account['id']}/workspaces")
    assert room == {"id": room["id"], "accountId": account["id"], "accountName": "One", "name": "Room"}
    assert got(f"workspaces/{room['id']}") == room
    channels = got("channels")
    assert [channel["name"] for channel in channels] == ["Open", "Read"]
    assert channels == got(f"workspaces/{room['id']}/channels")
    assert channels[0] == {
        "id": sandbox.harkster.channel("One/Room/Open"),
        "accountId": account["id"],
        "accountName": "One",
        "name": "Open",
        "workspaceId": room["id"],
        "workspaceName": "Room",
    }
    assert got(f"channels/{channels[0]['id']}") == channels[0]
    posts = got(f"channels/{channels[0]['id']}/posts")
    assert got(f"channels/{channels[0]['id']}/posts/{posts[0]['id']}") == posts[0]
    assert set(posts[0]) == {"id", "data", "isDraft", "name", "publishedByAt", "publishedById", "publishedByName"}
    assert posts[0]["data"]["dataset"][0] == {"type": "header", "id": "1", "label": "Summary"}
    times = [post["publishedByAt"] for post in posts]
    assert times == sorted(times, reverse=True)
    assert sandbox.harkster.posts() == []


def test_a_template_is_a_string_in_lists_and_an_object_alone(serve: Serve, call: Call) -> None:
    sandbox = serve(scenario())
    templates = f"channels/{sandbox.harkster.channel('Open')}/templates"
    (listed,) = call(sandbox, "GET", templates).json()
    alone = call(sandbox, "GET", f"{templates}/{listed['id']}").json()
    assert alone["data"] == {"type": "fields", "dataset": [{"type": "divider", "id": "1"}]}
    assert json.loads(listed["data"]) == alone["data"]
    singular = templates.removesuffix("s")
    assert call(sandbox, "GET", f"{singular}/{listed['id']}").json() == alone
    assert call(sandbox, "GET", f"{templates}/nothing").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "", 404),
        ("GET", "nothing", 404),
        ("GET", "accounts/nothing", 404),
        ("GET", "accounts/nothing/usages", 404),
        ("GET", "workspaces/nothing/channels", 404),
        ("GET", "channels/nothing/posts", 404),
        ("GET", "channels/{hidden}", 403),
        ("GET", "channels/{hidden}/posts", 403),
        ("GET", "channels/{open}/posts/nothing", 404),
        ("POST", "channels/{read}/posts", 403),
        ("PUT", "channels/{open}/posts/nothing", 404),
        ("PUT", "channels/{open}/posts/nothing/publish", 404),
        ("DELETE", "channels/{open}/posts/nothing", 404),
        ("POST", "accounts", 405),
        ("PATCH", "channels/{open}/posts/nothing", 405),
    ],
)
def test_what_is_not_there_or_not_allowed(serve: Serve, call: Call, method: str, path: str, status: int) -> None:
    sandbox = serve(scenario())
    ids = {name.lower(): sandbox.harkster.channel(name) for name in ("Open", "Read", "Hidden")}
    assert call(sandbox, method, path.format(**ids)).status_code == status


@pytest.mark.parametrize(("end", "sent"), [("missing", None), ("empty", ""), ("null", "null")])
@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_pages_lead_to_each_other_until_an_end(serve: Serve, call: Call, end: Any, sent: Any, order: Any) -> None:
    sandbox = serve(scenario(page_size=3, continuation_end=end, posts_order=order))
    path = f"channels/{sandbox.harkster.channel('Open')}/posts"
    pages = walk(call, sandbox, path)
    assert [len(page.json()) for page in pages] == [3, 3, 1]
    assert pages[-1].headers.get(NEXT) == sent
    times = [post["publishedByAt"] for page in pages for post in page.json()]
    assert times == sorted(set(times), reverse=order == "newest")
    assert call(sandbox, "GET", path, headers={NEXT: sent}).json() == pages[0].json()


def test_a_list_of_whole_pages_ends_with_the_last_of_them(serve: Serve, call: Call) -> None:
    sandbox = serve(scenario(page_size=7))
    assert len(walk(call, sandbox, f"channels/{sandbox.harkster.channel('Open')}/posts")) == 1


@pytest.mark.parametrize("token", ["nonsense", "WzFd", "ümlaut"])
def test_invented_tokens_are_refused(serve: Serve, call: Call, token: str) -> None:
    sandbox = serve(scenario())
    assert call(sandbox, "GET", "channels", headers={NEXT: token.encode("latin-1")}).status_code == 400


def test_a_token_is_good_for_one_list(serve: Serve, call: Call) -> None:
    sandbox = serve(scenario(page_size=1))
    token = call(sandbox, "GET", "channels").headers[NEXT]
    assert call(sandbox, "GET", "accounts", headers={NEXT: token}).status_code == 400


def test_posts_that_come_between_two_pages_disturb_nothing(serve: Serve, call: Call) -> None:
    sandbox = serve(scenario(page_size=5))
    path = f"channels/{sandbox.harkster.channel('Open')}/posts"
    first = call(sandbox, "GET", path)
    call(sandbox, "POST", path, json={"data": {"type": "fields", "dataset": [{"type": "divider"}]}})
    gone = first.json()[4]["id"]
    assert call(sandbox, "DELETE", f"{path}/{gone}", json={"recallMessage": False}).status_code == 204
    second = call(sandbox, "GET", path, headers={NEXT: first.headers[NEXT]})
    assert len({post["id"] for post in first.json() + second.json()}) == 7


@pytest.mark.parametrize("change", ["come", "go"])
def test_pages_by_offset_shift(serve: Serve, call: Call, change: str) -> None:
    sandbox = serve(scenario(page_size=5, posts_paging="offset"))
    path = f"channels/{sandbox.harkster.channel('Open')}/posts"
    every = [post["id"] for page in walk(call, sandbox, path) for post in page.json()]
    assert len(every) == 7
    first = call(sandbox, "GET", path)
    if change == "come":
        call(sandbox, "POST", path, json={"data": {"type": "fields", "dataset": [{"type": "divider"}]}})
    else:
        call(sandbox, "DELETE", f"{path}/{every[0]}", json={"recallMessage": False})
    second = call(sandbox, "GET", path, headers={NEXT: first.headers[NEXT]})
    assert [post["id"] for post in second.json()] == (every[4:] if change == "come" else every[6:])


@pytest.mark.parametrize(
    ("kind", "lengths"),
    [
        ("empty_page", [0, 3, 0, 3, 0, 1]),
        ("cursor_without_more", [3, 3, 1, 0, 0]),
        ("more_without_cursor", [3]),
        ("null_item", [4, 4, 2]),
        ("repeat_cursor", [3, 3, 3, 3, 3]),
    ],
)
def test_faults_of_pages(serve: Serve, call: Call, kind: Any, lengths: list[int]) -> None:
    sandbox = serve(scenario(Fault(kind=kind, path="/posts"), page_size=3))
    pages = walk(call, sandbox, f"channels/{sandbox.harkster.channel('Open')}/posts")
    assert [len(page.json()) for page in pages][: len(lengths)] == lengths


def test_fields_that_nobody_knows(serve: Serve, call: Call) -> None:
    sandbox = serve(scenario(Fault(kind="unknown_fields", path="/channels")))
    assert "addedLater" in call(sandbox, "GET", "channels").json()[0]


def test_a_fault_of_one_page(serve: Serve, call: Call) -> None:
    sandbox = serve(scenario(Fault(kind="status", path="/posts", page=2), page_size=3))
    pages = walk(call, sandbox, f"channels/{sandbox.harkster.channel('Open')}/posts")
    assert [page.status_code for page in pages] == [200, 500]


@pytest.mark.parametrize(
    ("form", "media_type", "text"),
    [
        ("message", "application/json", '{"message":"there is no'),
        ("problem", "application/problem+json", '{"title":"Not Found","status":404'),
        ("text", "text/plain; charset=utf-8", "there is no"),
        ("html", "text/html; charset=utf-8", "<!DOCTYPE html>"),
        ("empty", "application/json", ""),
    ],
)
def test_errors_in_many_forms(serve: Serve, call: Call, form: Any, media_type: str, text: str) -> None:
    sandbox = serve(scenario(Fault(kind="status", status=503, path="/auth"), error_form=form))
    answer = call(sandbox, "GET", "nothing")
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == media_type
    assert answer.text.startswith(text)
    assert bool(answer.text) is bool(text)
    assert call(sandbox, "GET", "auth").headers["Content-Type"] == media_type


def test_names_need_not_be_unique(serve: Serve, call: Call) -> None:
    sandbox = serve(Scenario())
    names = [(channel["workspaceName"], channel["name"]) for channel in call(sandbox, "GET", "channels").json()]
    assert names.count(("Financials", "Forecast")) == 2
    assert sorted(workspace for workspace, name in names if name == "Project Status") == ["Financials", "Projects"]
    with pytest.raises(LookupError, match=r"2 things are called 'Acme Inc\./Financials/Forecast'"):
        sandbox.harkster.channel("Acme Inc./Financials/Forecast")
    assert sandbox.harkster.channel("Acme Inc./Projects/Ops/On-call")


def test_the_same_seed_gives_the_same_ids(serve: Serve, call: Call) -> None:
    one, same, other = (call(serve(Scenario(seed=seed)), "GET", "channels").json()[0]["id"] for seed in (1, 1, 2))
    assert one == same != other
