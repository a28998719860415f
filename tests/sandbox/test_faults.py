import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from api_sandbox import Fault, HustleScenario, RunningSandbox, Scenario, serve_in_thread
from api_sandbox.faults import FaultBook, FaultKind, Target
from api_sandbox.hustle.scenario import CursorKind

Get = Callable[..., requests.Response]
Serve = Callable[[Scenario], RunningSandbox]
LogIn = Callable[[RunningSandbox], requests.Session]
ReadAll = Callable[..., list[dict[str, Any]]]


def faulty(*faults: Fault, **settings: Any) -> Scenario:
    hustle = HustleScenario(**{"requests_per_second": None, "leads": 40, **settings})
    return Scenario(seed=4, hustle=hustle, faults=faults)


def page_three(get: Get, sandbox: RunningSandbox) -> list[dict[str, Any]]:
    """The first three pages of leads, ten each, by whatever cursors they give."""
    pages = [get(sandbox, "leads", limit=10).json()]
    for _ in range(2):
        pages.append(get(sandbox, "leads", limit=10, cursor=pages[-1]["cursor"]).json())
    return pages


def test_a_status_in_the_vendors_form(serve: Serve, get: Get) -> None:
    sandbox = serve(faulty(Fault(kind="status", path="/leads", status=503, times=1)))
    answer = get(sandbox, "leads")
    assert answer.status_code == answer.json()["code"] == 503
    assert answer.headers["Content-Type"] == "application/json"
    assert get(sandbox, "leads").status_code == 200
    assert sandbox.report().outcomes["/hustle/v3/leads"] == {"503": 1, "200": 1}


def test_a_status_as_a_page_of_html_with_a_hint(serve: Serve, get: Get) -> None:
    sandbox = serve(faulty(Fault(kind="status", path="/leads", status=502, html=True, retry_after=3)))
    answer = get(sandbox, "leads")
    assert answer.status_code == 502
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "<html>" in answer.text
    assert answer.headers["Retry-After"] == "3"


@pytest.mark.parametrize(("html", "status"), [(True, 599), (False, 418)])
def test_any_status(serve: Serve, get: Get, *, html: bool, status: int) -> None:
    sandbox = serve(faulty(Fault(kind="status", path="/leads", status=status, html=html)))
    assert get(sandbox, "leads").status_code == status


def test_nothing_with_200(serve: Serve, get: Get) -> None:
    sandbox = serve(faulty(Fault(kind="empty_body", path="/leads")))
    answer = get(sandbox, "leads")
    assert (answer.status_code, answer.content) == (200, b"")
    assert "leads" not in sandbox.report().served


def test_html_with_200(serve: Serve, get: Get) -> None:
    sandbox = serve(faulty(Fault(kind="not_json", path="/leads")))
    answer = get(sandbox, "leads")
    assert answer.status_code == 200
    assert answer.text.startswith("<!DOCTYPE html>")


def test_json_cut_short_under_an_honest_length(serve: Serve, get: Get) -> None:
    sandbox = serve(faulty())
    whole = get(sandbox, "leads").content
    sandbox.faults.add(Fault(kind="truncated", path="/leads", keep=0.3))
    cut = get(sandbox, "leads").content
    assert cut == whole[: int(len(whole) * 0.3)]
    with pytest.raises(json.JSONDecodeError):
        json.loads(cut)


def test_a_body_shorter_than_it_says(serve: Serve, get: Get) -> None:
    sandbox = serve(faulty(Fault(kind="truncated", path="/leads", honest_length=False, times=1)))
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        get(sandbox, "leads")
    assert get(sandbox, "leads").status_code == 200
    assert sandbox.report().outcomes["/hustle/v3/leads"] == {"close": 1, "200": 1}
    assert set(sandbox.report().served["leads"].values()) == {1}


@pytest.mark.parametrize("when", ["before", "mid_body"])
def test_a_reset(serve: Serve, get: Get, when: Any) -> None:
    sandbox = serve(faulty(Fault(kind="reset", path="/leads", when=when, times=1)))
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError), match="reset by peer"):
        get(sandbox, "leads")
    assert get(sandbox, "leads").status_code == 200
    assert sandbox.report().outcomes["/hustle/v3/leads"] == {"reset": 1, "200": 1}


def test_a_slow_answer(serve: Serve, get: Get) -> None:
    sandbox = serve(faulty(Fault(kind="slow", path="/leads", delay=0.1)))
    assert get(sandbox, "leads").elapsed.total_seconds() >= 0.1


def test_an_answer_is_held_until_the_faults_are_replaced(serve: Serve, get: Get, log_in: LogIn) -> None:
    sandbox = serve(faulty(Fault(kind="hold", path="/leads", nth=(2,))))
    assert get(sandbox, "leads").status_code == 200
    with ThreadPoolExecutor() as pool, log_in(sandbox) as session:
        held = pool.submit(session.get, f"{sandbox.hustle.api_url}/leads", timeout=60)
        sandbox.faults.wait_until_held()
        assert get(sandbox, "leads").status_code == 200
        assert get(sandbox, "tags").status_code == 200
        assert not held.done()
        assert sandbox.report().outcomes["/hustle/v3/leads"] == {"200": 2}
        sandbox.faults.replace(Fault(kind="status", path="/leads"))
        assert held.result().content == get(serve(faulty()), "leads").content
    assert get(sandbox, "leads").status_code == 500


def test_what_is_held_ends_with_the_sandbox(get: Get, log_in: LogIn) -> None:
    with ThreadPoolExecutor() as pool, serve_in_thread(faulty(Fault(kind="hold", path="/tags"))) as sandbox:
        session = log_in(sandbox)
        held = pool.submit(session.get, f"{sandbox.hustle.api_url}/tags", timeout=60)
        sandbox.faults.wait_until_held()
        assert get(sandbox, "leads").status_code == 200
    assert isinstance(held.exception(), requests.ConnectionError)


def test_a_dribbling_answer_is_whole_in_the_end(serve: Serve, get: Get) -> None:
    sandbox = serve(faulty())
    whole = get(sandbox, "leads").content
    sandbox.faults.add(Fault(kind="slow", path="/leads", chunk_bytes=len(whole) // 4, pause=0.02))
    assert get(sandbox, "leads").content == whole
    assert sandbox.report().elapsed >= 0.06


def test_an_expired_token(serve: Serve, get: Get) -> None:
    sandbox = serve(faulty(Fault(kind="expire_token", times=1)))
    assert [get(sandbox, "leads").status_code for _ in range(2)] == [401, 401]


def test_faults_at_the_door_are_nobodys_failed_login(serve: Serve, get: Get) -> None:
    sandbox = serve(faulty(Fault(kind="status", path="/oauth/token", status=500, times=15)))
    body = {
        "grant_type": "client_credentials",
        "client_id": sandbox.hustle.client_id,
        "client_secret": sandbox.hustle.client_secret,
    }
    for _ in range(15):
        assert requests.post(sandbox.hustle.auth_url, json=body, timeout=60).status_code == 500
    assert get(sandbox, "leads").status_code == 200
    assert sandbox.report().token_failures == 15


@pytest.mark.parametrize("kind", ["sequential", "offsets", "opaque"])
def test_a_repeated_cursor(serve: Serve, get: Get, kind: CursorKind) -> None:
    sandbox = serve(faulty(Fault(kind="repeat_cursor", path="/leads", page=3), cursors=kind))
    first, second, third = page_three(get, sandbox)
    assert third["cursor"] == second["cursor"]
    assert third["hasMore"]
    sandbox.faults.replace(Fault(kind="repeat_cursor", path="/leads", page=3, back=1))
    assert page_three(get, sandbox)[2]["cursor"] == first["cursor"]


def test_a_cursor_is_not_repeated_where_none_was_sent(serve: Serve, get: Get) -> None:
    sandbox = serve(faulty(Fault(kind="repeat_cursor", path="/leads", times=1)))
    first, second, third = page_three(get, sandbox)
    assert second["cursor"] == first["cursor"]
    assert third["cursor"] != first["cursor"]
    assert third["items"] == second["items"]
    assert sorted(sandbox.report().served["leads"].values()) == [1] * 10 + [2] * 10


@pytest.mark.parametrize(("kind", "more"), [("more_without_cursor", True), ("cursor_without_more", False)])
def test_has_more_and_the_cursor_can_differ(serve: Serve, get: Get, kind: FaultKind, *, more: bool) -> None:
    sandbox = serve(faulty(Fault(kind=kind, path="/leads"), last_page_cursor=False))
    for limit in (10, 1000):
        page = get(sandbox, "leads", limit=limit).json()
        assert page["hasMore"] is more
        assert (page["cursor"] is None) is more
        assert len(page["items"]) == min(limit, 40)
    assert sandbox.truth.count("leads") == 40


@pytest.mark.parametrize("kind", ["sequential", "offsets", "opaque", "drifting"])
def test_empty_pages_lose_nothing(serve: Serve, read_all: ReadAll, get: Get, kind: CursorKind) -> None:
    sandbox = serve(faulty(Fault(kind="empty_page", path="/leads"), cursors=kind))
    first = get(sandbox, "leads", limit=10).json()
    assert (first["items"], first["hasMore"]) == ([], True)
    assert [lead["id"] for lead in read_all(sandbox, "leads", limit=10)] == sandbox.truth.ids["leads"]
    assert set(sandbox.report().served["leads"].values()) == {1}


def test_an_empty_page_has_a_cursor_of_its_own(serve: Serve, get: Get) -> None:
    sandbox = serve(faulty(Fault(kind="empty_page", path="/leads", page=2)))
    first = get(sandbox, "leads", limit=10).json()
    empty = get(sandbox, "leads", limit=10, cursor=first["cursor"]).json()
    assert empty["cursor"] not in (None, first["cursor"])
    assert get(sandbox, "leads", limit=20, cursor=empty["cursor"]).status_code == 400


def test_fields_that_nobody_knows(serve: Serve, get: Get) -> None:
    sandbox = serve(faulty(Fault(kind="unknown_fields", path="/leads")))
    lead = get(sandbox, "leads").json()["items"][0]
    known = sandbox.records("leads")[0]
    assert {name: lead[name] for name in known} == known
    assert set(lead) - set(known) == {"addedLater", "added_Later", "added later", ""}
    assert len(sandbox.report().served["leads"]) == 40


def test_a_null_among_the_records(serve: Serve, get: Get) -> None:
    sandbox = serve(faulty(Fault(kind="null_item", path="/leads")))
    assert get(sandbox, "leads", limit=2).json()["items"] == [*sandbox.records("leads")[:2], None]


@pytest.mark.parametrize(("shape", "body"), [("object", {}), ("list", []), ("null", None), ("text", "ok")])
def test_json_of_another_shape(serve: Serve, get: Get, shape: Any, body: Any) -> None:
    sandbox = serve(faulty(Fault(kind="wrong_shape", path="/leads", shape=shape)))
    assert get(sandbox, "leads").json() == body


def test_faults_of_pages_go_together(serve: Serve, get: Get) -> None:
    sandbox = serve(faulty(Fault(kind="null_item"), Fault(kind="cursor_without_more"), Fault(kind="slow", delay=0.02)))
    page = get(sandbox, "leads", limit=1).json()
    assert page["items"][1] is None
    assert not page["hasMore"]


def test_a_fault_of_one_organization(serve: Serve, get: Get) -> None:
    sandbox = serve(faulty(Fault(kind="status", organization=1)))
    one, other, third = sandbox.truth.ids["organizations"]
    sandbox.faults.add(Fault(kind="status", organization=third, status=502))
    statuses = [get(sandbox, "leads", organizationId=own_id).status_code for own_id in (one, other, third)]
    assert statuses == [200, 500, 502]
    assert get(sandbox, "leads").status_code == 200


def test_a_fault_of_one_cursor(serve: Serve, get: Get) -> None:
    sandbox = serve(faulty(Fault(kind="status", cursor="WzEsMTBd")))
    assert get(sandbox, "leads", limit=10).json()["cursor"] == "WzEsMTBd"
    assert get(sandbox, "leads", limit=10, cursor="WzEsMTBd").status_code == 500


def test_faults_can_be_cleared(serve: Serve, get: Get) -> None:
    sandbox = serve(faulty(Fault(kind="status")))
    sandbox.faults.clear()
    assert get(sandbox, "leads").status_code == 200


def hits(fault: Fault, requests_made: int, seed: int = 0) -> list[int]:
    book = FaultBook(seed)
    book.add(fault)
    return [number for number in range(1, requests_made + 1) if book.draw(Target("/hustle/v3/leads"))]


def test_the_nth_request_is_hit() -> None:
    assert hits(Fault(kind="status", nth=(2, 5)), 9) == [2, 5]
    assert hits(Fault(kind="status", times=3), 9) == [1, 2, 3]
    assert hits(Fault(kind="status", path="/tags"), 9) == []


def test_a_rate_is_met_and_repeatable() -> None:
    fault = Fault(kind="status", rate=0.2)
    assert 150 < len(hits(fault, 1000)) < 250
    assert hits(fault, 100) == hits(fault, 100) != hits(fault, 100, seed=1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "status", "path": "leads"},
        {"kind": "status", "rate": 1.5},
        {"kind": "status", "status": 99},
        {"kind": "truncated", "keep": 1.0},
        {"kind": "slow"},
        {"kind": "slow", "chunk_bytes": 0},
        {"kind": "status", "nth": (0,)},
        {"kind": "status", "page": 0},
        {"kind": "status", "times": -1},
    ],
)
def test_a_fault_that_could_never_act_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must|is a share|needs|count from 1|negative"):
        Fault(**wrong)
