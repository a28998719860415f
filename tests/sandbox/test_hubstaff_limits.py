"""What stands before the simulated Hubstaff API: the hour, the proxy, the thirty seconds, and faults on demand."""

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import pytest
import requests
from api_sandbox import Fault, HubstaffScenario, RunningSandbox, Scenario

Serve = Callable[[Scenario], RunningSandbox]
Get = Callable[..., requests.Response]

MONTH = {"date_start": "2026-03-01", "date_stop": "2026-03-31", "page_limit": 500}


def account(**settings: Any) -> Scenario:
    now = datetime(2026, 3, 31, 12, tzinfo=timezone.utc)
    hubstaff = {"now": now, "clock": "stopped", "organizations": 1, "history_days": 40, **settings}
    return Scenario(hubstaff=HubstaffScenario(**hubstaff))


@pytest.fixture
def sandbox(serve: Serve) -> RunningSandbox:
    return serve(account())


def daily(sandbox: RunningSandbox, hubstaff: Get, **params: Any) -> requests.Response:
    own_id = sandbox.hubstaff.ids("organizations")[0]
    return hubstaff(sandbox, f"organizations/{own_id}/activities/daily", **{**MONTH, **params})


def test_the_hour_slides_with_the_clock_of_the_sandbox(serve: Serve, hubstaff: Get) -> None:
    sandbox = serve(account(requests_per_hour=3, rate_limit_headers=True))
    answers = []
    for _ in range(4):
        answers.append(hubstaff(sandbox, "organizations"))
        sandbox.hubstaff.advance(100)
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["X-Rate-Limit-Remaining"] for answer in answers] == ["2", "1", "0", "0"]
    assert answers[-1].headers["Retry-After"] == answers[-1].headers["X-Rate-Limit-Reset"] == "3300"
    assert answers[-1].json()["error_code"] == 13000
    sandbox.hubstaff.advance(3199)
    assert hubstaff(sandbox, "organizations").headers["Retry-After"] == "1"
    sandbox.hubstaff.advance(1)
    assert hubstaff(sandbox, "organizations").status_code == 200
    assert sandbox.hubstaff.used_of_hour("organization") == 3
    assert sandbox.report().too_many_requests == 2


def test_the_hour_is_of_one_application(serve: Serve, hubstaff: Get) -> None:
    sandbox = serve(account(requests_per_hour=1))
    assert [hubstaff(sandbox, "organizations").status_code for _ in range(2)] == [200, 429]
    form = {"grant_type": "refresh_token", "refresh_token": sandbox.hubstaff.personal_access_token}
    agent = {"User-Agent": "tests of the sandbox"}
    token = requests.post(sandbox.hubstaff.auth_url, data=form, headers=agent, timeout=60).json()["access_token"]
    headers = {**agent, "Authorization": f"Bearer {token}"}
    assert requests.get(f"{sandbox.hubstaff.api_url}/organizations", headers=headers, timeout=60).status_code == 200


def test_refused_requests_count_too_but_not_those_without_a_token(serve: Serve, hubstaff: Get) -> None:
    sandbox = serve(account(requests_per_hour=2))
    url = f"{sandbox.hubstaff.api_url}/organizations"
    assert requests.get(url, headers={"User-Agent": "me"}, timeout=60).status_code == 401
    paths = ("nothing", "organizations?page_limit=0", "organizations")
    assert [hubstaff(sandbox, path).status_code for path in paths] == [404, 400, 429]


@pytest.mark.parametrize("agent", ["python-requests/2.32.3", "Python-urllib/3.11", "curl/8.5.0", ""])
def test_scripts_that_do_not_tell_their_name_are_refused(sandbox: RunningSandbox, agent: str) -> None:
    headers = {"User-Agent": agent, "Authorization": f"Bearer {sandbox.hubstaff.organization_token}"}
    answer = requests.get(f"{sandbox.hubstaff.api_url}/organizations", headers=headers, timeout=60)
    assert (answer.status_code, "1010" in answer.text) == (403, True)
    assert requests.post(sandbox.hubstaff.auth_url, headers=headers, timeout=60).status_code == 403
    assert sandbox.hubstaff.used_of_hour("organization") == 0


def test_the_proxy_can_be_off(serve: Serve) -> None:
    sandbox = serve(account(refuse_default_agents=False))
    headers = {"Authorization": f"Bearer {sandbox.hubstaff.organization_token}"}
    assert requests.get(f"{sandbox.hubstaff.api_url}/organizations", headers=headers, timeout=60).status_code == 200


def test_windows_of_too_many_rows_come_back_empty_and_narrower_ones_do_not(serve: Serve, hubstaff: Get) -> None:
    sandbox = serve(account(wall_rows=60))
    answer = daily(sandbox, hubstaff)
    assert (answer.status_code, answer.content) == (200, b"")
    assert daily(sandbox, hubstaff, page_limit=1).content == b""
    assert daily(sandbox, hubstaff, date_stop="2026-03-03").json()["daily_activities"]
    assert hubstaff(sandbox, "organizations").json()["organizations"]


def test_windows_of_too_many_rows_can_be_503(serve: Serve, hubstaff: Get) -> None:
    sandbox = serve(account(wall_rows=60, wall="503"))
    assert daily(sandbox, hubstaff).status_code == 503


def test_pages_of_too_many_rows_are_cut_off_in_every_list(serve: Serve, hubstaff: Get) -> None:
    sandbox = serve(account(wall_page=10, tasks=40))
    own_id = sandbox.hubstaff.ids("organizations")[0]
    assert hubstaff(sandbox, f"organizations/{own_id}/tasks", page_limit=11).content == b""
    assert hubstaff(sandbox, f"organizations/{own_id}/tasks", page_limit=10).json()["tasks"]


def test_shifts_are_kept_as_long_as_the_plan_says(serve: Serve, hubstaff: Get) -> None:
    sandbox = serve(account(retention_days=20))
    path = f"organizations/{sandbox.hubstaff.ids('organizations')[0]}/attendance_shifts"
    refused = hubstaff(sandbox, path, date_start="2026-03-10", date_stop="2026-03-31")
    assert (refused.status_code, refused.json()["code"]) == (400, "date_too_early")
    answer = hubstaff(sandbox, path, date_start="2026-03-11", date_stop="2026-03-31", page_limit=500)
    assert [str(row["id"]) for row in answer.json()["attendance_shifts"]] == sandbox.hubstaff.ids("attendance_shifts")


def test_latency_is_on_every_way(serve: Serve, hubstaff: Get) -> None:
    sandbox = serve(account(latency=0.05))
    assert hubstaff(sandbox, "organizations").elapsed.total_seconds() >= 0.05


@pytest.mark.parametrize(
    ("kind", "details"), [("status", {"status": 502, "html": True}), ("not_json", {}), ("empty_body", {})]
)
def test_answers_can_be_spoilt(sandbox: RunningSandbox, hubstaff: Get, kind: Any, details: dict[str, Any]) -> None:
    sandbox.faults.add(Fault(kind=kind, path="/daily", organization=0, page=1, times=1, **details))
    answer = daily(sandbox, hubstaff)
    with pytest.raises(requests.JSONDecodeError):
        answer.json()
    assert sandbox.report().served == {}
    assert daily(sandbox, hubstaff).json()["daily_activities"]


def test_an_empty_page_in_the_middle_hides_nothing(sandbox: RunningSandbox, hubstaff: Get) -> None:
    sandbox.faults.add(Fault(kind="empty_page", path="/daily", page=2))
    found: list[int] = []
    start: dict[str, Any] = {}
    pages = 0
    while True:
        page = daily(sandbox, hubstaff, page_limit=50, **start).json()
        pages += 1
        found += [row["id"] for row in page["daily_activities"]]
        if "pagination" not in page:
            break
        start = {"page_start_id": page["pagination"]["next_page_start_id"]}
    whole = daily(sandbox, hubstaff).json()["daily_activities"]
    assert found == [row["id"] for row in whole]
    assert pages == -(-len(found) // 50) + 1


def test_pages_can_be_spoilt(sandbox: RunningSandbox, hubstaff: Get) -> None:
    following = daily(sandbox, hubstaff, page_limit=9).json()["pagination"]["next_page_start_id"]
    second = {"page_limit": 9, "page_start_id": following}
    sandbox.faults.replace(Fault(kind="repeat_cursor", path="/daily", page=2))
    assert daily(sandbox, hubstaff, **second).json()["pagination"] == {"next_page_start_id": following}
    sandbox.faults.replace(Fault(kind="more_without_cursor", path="/daily"))
    assert daily(sandbox, hubstaff, page_limit=9).json()["pagination"] == {"next_page_start_id": None}
    sandbox.faults.replace(Fault(kind="cursor_without_more", path="/daily"))
    beyond = daily(sandbox, hubstaff).json()["pagination"]["next_page_start_id"]
    sandbox.faults.clear()
    assert daily(sandbox, hubstaff, page_start_id=beyond).json() == {"daily_activities": []}
    sandbox.faults.replace(Fault(kind="unknown_fields"), Fault(kind="null_item"))
    rows = daily(sandbox, hubstaff).json()["daily_activities"]
    assert rows[-1] is None
    assert "added_later" in rows[0]


def test_only_reading_is_simulated(sandbox: RunningSandbox) -> None:
    headers = {"User-Agent": "me", "Authorization": f"Bearer {sandbox.hubstaff.organization_token}"}
    answer = requests.post(f"{sandbox.hubstaff.api_url}/organizations", headers=headers, timeout=60)
    assert answer.status_code == 405
