from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from api_sandbox import HustleScenario, RunningSandbox, Scenario, serve_in_thread

Get = Callable[..., requests.Response]


@pytest.fixture
def sandbox() -> Iterator[RunningSandbox]:
    with serve_in_thread(Scenario(hustle=HustleScenario(leads=30, latency=0.001))) as running:
        yield running


def ask(sandbox: RunningSandbox, path: str) -> Any:
    answer = requests.get(f"{sandbox.control_url}/{path}", timeout=60)
    assert answer.status_code == 200
    return answer.json()


def tell(sandbox: RunningSandbox, path: str, content: Any = None) -> requests.Response:
    return requests.post(f"{sandbox.control_url}/{path}", json=content, timeout=60)


def test_the_truth(sandbox: RunningSandbox) -> None:
    truth = ask(sandbox, "truth")
    assert truth["leads"]["count"] == 30
    of_hustle = {name: listed["ids"] for name, listed in truth.items() if "/" not in name}
    assert of_hustle == sandbox.truth.ids
    assert {
        owner: listed["ids"] for owner, listed in truth["leads"]["by_organization"].items()
    } == sandbox.truth.by_organization["leads"]
    assert truth["organizations"]["by_organization"] == {}
    short = ask(sandbox, "truth?ids=false")
    assert short["leads"]["count"] == 30
    assert "ids" not in short["leads"]


def test_the_report(sandbox: RunningSandbox, get: Get) -> None:
    for _ in range(2):
        get(sandbox, "leads", limit=5)
    get(sandbox, "leads", limit=0)
    report = ask(sandbox, "report")
    assert report["requests"] == 4
    assert report["outcomes"] == {
        "/hustle/v3/oauth/token": {"200": 1},
        "/hustle/v3/leads": {"200": 2, "400": 1},
    }
    assert (report["token_requests"], report["token_failures"]) == (1, 0)
    assert report["served"]["leads"] == dict.fromkeys(sandbox.truth.ids["leads"][:5], 2)
    assert report["served_counts"]["leads"] == {"records": 10, "distinct": 5}
    assert report["busiest_second"] == 3
    assert report["elapsed"] == report["last_response_at"] - report["first_request_at"] > 0
    assert "served" not in ask(sandbox, "report?ids=false")


def test_reset_forgets_what_was_served_and_all_tokens(sandbox: RunningSandbox, get: Get) -> None:
    get(sandbox, "leads")
    assert tell(sandbox, "reset").status_code == 204
    empty = ask(sandbox, "report")
    assert (empty["requests"], empty["served"], empty["first_request_at"]) == (0, {}, None)
    assert empty["elapsed"] == 0
    assert get(sandbox, "leads").status_code == 401


def test_faults_are_replaced(sandbox: RunningSandbox, get: Get) -> None:
    assert tell(sandbox, "faults", [{"kind": "status", "path": "/leads", "status": 503}]).status_code == 204
    assert get(sandbox, "leads").status_code == 503
    assert tell(sandbox, "faults", []).status_code == 204
    assert get(sandbox, "leads").status_code == 200


def test_tokens_expire(sandbox: RunningSandbox, get: Get) -> None:
    get(sandbox, "leads")
    assert tell(sandbox, "tokens/expire").status_code == 204
    assert get(sandbox, "leads").status_code == 401


def test_leads_are_added(sandbox: RunningSandbox) -> None:
    added = tell(sandbox, "leads", {"organization": 2, "count": 3}).json()["ids"]
    assert sandbox.truth.ids["leads"][-3:] == added


def test_leads_change_and_go_in_a_night(sandbox: RunningSandbox, get: Get) -> None:
    before = sandbox.truth.ids["leads"]
    assert tell(sandbox, "leads/night", {"changed": 3, "gone": 5}).status_code == 204
    after = sandbox.truth.ids["leads"]
    gone = [own_id for own_id in before if own_id not in after]
    assert len(gone) > 1
    assert [own_id for own_id in before if own_id not in gone] == after
    leads = {lead["id"]: lead for own_id in after for lead in get(sandbox, "leads", id=own_id).json()["items"]}
    assert [*leads] == after
    assert 1 < sum(lead.get("notes") == "Edited 1 times." for lead in leads.values()) <= len(after) // 3
    assert get(sandbox, "leads", id=gone[0]).json()["items"] == []
    added = tell(sandbox, "leads", {"organization": 0, "count": 1}).json()["ids"]
    assert not {*added} & {*before}


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("faults", [{"kind": "flood"}]),
        ("faults", [{"kind": "status", "colour": "red"}]),
        ("faults", {}),
        ("leads", {"organization": 99, "count": 1}),
        ("leads", {"organization": 0, "count": 0}),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_reason(sandbox: RunningSandbox, path: str, content: Any) -> None:
    answer = tell(sandbox, path, content)
    assert answer.status_code == 400
    assert answer.json()["error"]
