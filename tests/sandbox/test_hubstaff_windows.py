"""Windows of time of the simulated Hubstaff API: their ends, how long they may be, and how far back."""

from collections.abc import Callable, Iterator
from datetime import date, datetime, timezone
from typing import Any

import pytest
import requests
from api_sandbox import HubstaffScenario, RunningSandbox, Scenario, serve_in_thread
from api_sandbox.hubstaff.clock import instant_months_before, months_before, parse_day, parse_instant

Get = Callable[..., requests.Response]

NOW = datetime(2026, 3, 31, 12, tzinfo=timezone.utc)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[RunningSandbox]:
    hubstaff = HubstaffScenario(
        now=NOW, clock="stopped", history_days=30, organizations=1, activity_delay=0, requests_per_hour=None
    )
    with serve_in_thread(Scenario(hubstaff=hubstaff)) as running:
        yield running


@pytest.fixture
def ask(sandbox: RunningSandbox, hubstaff: Get) -> Callable[..., requests.Response]:
    own_id = sandbox.hubstaff.ids("organizations")[0]
    return lambda name, **params: hubstaff(sandbox, f"organizations/{own_id}/{name}", **params)


# The list, its window, the longest that is allowed, the same and too long, the earliest, and one too early.
LIMITS = [
    ("activities", "time_slot", "2026-03-20T00:00:00Z", "2026-03-27T00:00:00Z", "2026-03-27T00:00:01Z"),
    ("activities/updates", "updated", "2026-03-20T00:00:00Z", "2026-03-27T00:00:00Z", "2026-03-27T00:00:01Z"),
    ("activities/daily", "date", "2026-03-01", "2026-03-31", "2026-04-01"),
    ("activities/daily/updates", "updated", "2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z", "2026-04-01T00:00:01Z"),
    ("tool_usages", "time_slot", "2026-03-20T00:00:00Z", "2026-03-27T00:00:00Z", "2026-03-27T00:00:01Z"),
    ("tool_usages/daily", "date", "2026-03-01", "2026-03-14", "2026-03-15"),
    ("screenshots", "time_slot", "2026-03-20T00:00:00Z", "2026-03-27T00:00:00Z", "2026-03-27T00:00:01Z"),
    ("locations", "time_slot", "2020-03-20T00:00:00Z", "2020-03-27T00:00:00Z", "2020-03-27T00:00:01Z"),
    ("notes", "time_slot", "2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z", "2026-04-01T00:00:01Z"),
    ("time_edit_logs", "created", "2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z", "2026-04-01T00:00:01Z"),
    ("attendance_shifts", "date", "2026-03-01", "2026-04-01", "2026-04-02"),
]
REACH = [
    ("activities", "time_slot", "2025-09-30T12:00:00Z", "2025-09-30T11:59:59Z"),
    ("activities/updates", "updated", "2026-02-14T12:00:00Z", "2026-02-14T11:59:59Z"),
    ("activities/daily", "date", "2023-03-31", "2023-03-30"),
    ("activities/daily/updates", "updated", "2026-02-28T12:00:00Z", "2026-02-28T11:59:59Z"),
    ("tool_usages", "time_slot", "2026-02-28T12:00:00Z", "2026-02-28T11:59:59Z"),
    ("tool_usages/daily", "date", "2026-02-28", "2026-02-27"),
    ("screenshots", "time_slot", "2025-09-30T12:00:00Z", "2025-09-30T11:59:59Z"),
    ("notes", "time_slot", "2023-03-31T12:00:00Z", "2023-03-31T11:59:59Z"),
    ("time_edit_logs", "created", "2023-03-31T12:00:00Z", "2023-03-31T11:59:59Z"),
    ("team_payments", "created", "2023-03-31T12:00:00Z", "2023-03-31T11:59:59Z"),
]


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit[0])
def test_windows_have_a_longest(ask: Get, limit: tuple[str, ...]) -> None:
    name, window, start, longest, too_long = limit
    assert ask(name, **{f"{window}[start]": start, f"{window}[stop]": longest}).status_code == 200
    refused = ask(name, **{f"{window}[start]": start, f"{window}[stop]": too_long})
    assert (refused.status_code, refused.json()["error_code"]) == (400, 11010)


@pytest.mark.parametrize(("name", "window", "earliest", "too_early"), REACH)
def test_lists_reach_so_far_back(ask: Get, name: str, window: str, earliest: str, too_early: str) -> None:
    day, stop = f"{window}[start]", f"{window}[stop]"
    assert ask(name, **{day: earliest, stop: earliest}).status_code == 200
    refused = ask(name, **{day: too_early, stop: earliest})
    assert (refused.status_code, refused.json()["error_code"]) == (400, 11011)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"time_slot_start": "2026-03-20T00:00:00Z"},
        {"time_slot_start": "2026-03-20T00:00:00Z", "time_slot_stop": "soon"},
        {"time_slot_start": "2026-03-20T00:00:00Z", "time_slot_stop": "2026-03-19T00:00:00Z"},
    ],
)
def test_windows_that_are_none(ask: Get, params: dict[str, Any]) -> None:
    refused = ask("activities", **params)
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_params")


def test_updates_of_daily_activities_need_no_stop(ask: Get) -> None:
    whole = ask("activities/daily/updates", updated_start="2026-03-20T00:00:00Z").json()
    now = ask("activities/daily/updates", updated_start="2026-03-20T00:00:00Z", updated_stop="2026-03-31T12:00:00Z")
    assert whole == now.json()
    assert whole["daily_activities"]


def test_the_stop_of_a_time_is_excluded_and_that_of_a_day_included(ask: Get) -> None:
    rows = ask("activities", time_slot_start="2026-03-24T00:00:00Z", time_slot_stop="2026-03-31T00:00:00Z").json()
    slot = rows["activities"][5]["time_slot"]
    own_id = rows["activities"][5]["id"]

    def of(start: str, stop: str) -> set[int]:
        answer = ask("activities", time_slot_start=start, time_slot_stop=stop, page_limit=500).json()
        return {row["id"] for row in answer["activities"]}

    after = slot.replace("00Z", "01Z")
    assert own_id in of(slot, after)
    assert own_id not in of("2026-03-24T00:00:00Z", slot)
    assert own_id not in of(after, "2026-03-31T00:00:00Z")
    assert own_id in of(slot.replace("Z", ".000+00:00"), slot.replace("00Z", "00.5Z"))
    days = ask("activities/daily", date_start="2026-03-24", date_stop="2026-03-24").json()["daily_activities"]
    assert {row["date"] for row in days} == {"2026-03-24"}


def test_days_are_those_of_the_organization(sandbox: RunningSandbox) -> None:
    """The first organization is in Denver, six or seven hours behind UTC."""
    rows = sandbox.hubstaff.records("activities")
    other = [row for row in rows if row["date"] != row["starts_at"][:10]]
    assert other
    assert all(row["date"] < row["starts_at"][:10] for row in other)


def test_optional_windows_may_be_half_open(ask: Get) -> None:
    everyone = ask("members", include_removed="true").json()["members"]
    latest = max(row["updated_at"] for row in everyone)
    changed = ask("members", include_removed="true", updated_at_start=latest).json()["members"]
    unchanged = ask("members", include_removed="true", updated_at_stop=latest).json()["members"]
    assert {row["updated_at"] for row in changed} == {latest}
    assert len(changed) + len(unchanged) == len(everyone)


def test_months_are_those_of_the_calendar() -> None:
    assert months_before(date(2026, 3, 31), 1) == date(2026, 2, 28)
    assert months_before(date(2024, 3, 31), 1) == date(2024, 2, 29)
    assert months_before(date(2026, 1, 15), 1) == date(2025, 12, 15)
    assert months_before(date(2026, 12, 31), 36) == date(2023, 12, 31)
    assert instant_months_before(NOW.timestamp(), 6) == datetime(2025, 9, 30, 12, tzinfo=timezone.utc).timestamp()


def test_words_for_times() -> None:
    expected = datetime(2026, 3, 1, tzinfo=timezone.utc).timestamp()
    for text in ("2026-03-01T00:00:00Z", "2026-03-01", "2026-03-01T01:00:00+01:00", "2026-03-01T00:00:00"):
        assert parse_instant(text) == expected
    assert parse_instant("2026-03-01T00:00:00.5Z") == parse_instant("2026-03-01T00:00:00.5000000Z") == expected + 0.5
    assert parse_instant("tomorrow") is None
    assert parse_day("2026-03-01T07:00:00Z") == parse_day("2026-03-01") == date(2026, 3, 1)
    assert parse_day("2026-13-01") is parse_day("2026-3-1") is None
