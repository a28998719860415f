"""What the hosting cuts off after 30 seconds is asked for in halves, down to a floor."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from math import ceil
from typing import TYPE_CHECKING, Any, Literal
from unittest import mock

import pytest
from api_sandbox import Fault
from tap_hubstaff.streams.window_slice import WindowSlice
from tap_hubstaff.times import parse_iso
from tap_hubstaff.windows.window import SHORTEST, Window

if TYPE_CHECKING:
    from collections.abc import Callable

    from api_sandbox import RunningSandbox

    from tests.hubstaff.reading import Run

    Settings = Callable[..., dict[str, Any]]
    Serve = Callable[..., RunningSandbox]
    Read = Callable[..., Run]


NOON = parse_iso("2026-10-01T12:00:00Z")


@pytest.mark.parametrize("wall", ["empty", "503"])
def test_windows_are_halved_until_they_come_through(
    read: Read, serve: Serve, settings: Settings, wall: Literal["empty", "503"]
) -> None:
    sandbox = serve(clock="stopped", wall_rows=70, wall=wall)
    run = read(sandbox, settings(sandbox), None, "activities", "daily_activities", "time_sessions")
    assert run.code == 0, run.said("ERROR")
    for stream in ("activities", "daily_activities"):
        assert sorted(run.ids(stream)) == sorted(sandbox.hubstaff.ids(stream)), stream


UNLIMITED = ("job_site_visits", "passive_job_site_visits", "smart_notifications", "unusual_activities")
"""The lists of which no document says how long a window may be."""


def test_where_no_longest_window_is_named_there_is_one(read: Read, serve: Serve, settings: Settings) -> None:
    sandbox = serve(clock="stopped", organizations=1, shared_members=0, history_days=200, events_per_day=1.0)
    run = read(sandbox, settings(sandbox, days=202), None, *UNLIMITED)
    assert run.code == 0, run.said("ERROR")
    for stream in UNLIMITED:
        ids = sandbox.hubstaff.ids(stream)
        assert Counter(run.ids(stream)) == Counter(ids)
        assert asked(sandbox)[stream] == ceil(len(ids) / 500), stream


def test_and_it_is_halved_where_the_api_fails_at_it(read: Read, serve: Serve, settings: Settings) -> None:
    sandbox = serve(clock="stopped", organizations=1, shared_members=0, history_days=200, wall_rows=90)
    run = read(sandbox, settings(sandbox, days=202), None, *UNLIMITED)
    assert run.code == 0, run.said("ERROR")
    for stream in UNLIMITED:
        assert Counter(run.ids(stream)) == Counter(sandbox.hubstaff.ids(stream)), stream
        assert 4 <= asked(sandbox)[stream] <= 12, stream


@pytest.mark.parametrize("wall", ["empty", "503"])
def test_pages_are_halved_until_they_come_through_and_the_next_runs_know(
    read: Read, serve: Serve, settings: Settings, wall: Literal["empty", "503"]
) -> None:
    sandbox = serve(
        clock="stopped", organizations=1, shared_members=0, tasks=900, members=300, wall_page=200, wall=wall
    )
    streams = ("tasks", "members", "users", "time_off_balances")
    tried = 2 * 2  # of 500 and of 250
    state, before = None, Counter[str]()
    for again, days in ((tried, 1), (0, 7), (tried, 0)):
        run = read(sandbox, settings(sandbox), state, *streams)
        assert run.code == 0, run.said("ERROR")
        state, requests, before = run.states[-1], asked(sandbox) - before, asked(sandbox)
        for stream in streams:
            assert Counter(run.ids(stream)) == Counter(sandbox.hubstaff.ids(stream)), stream
        assert requests["tasks"] == again + ceil(900 / 125)
        assert requests["members"] == again + ceil(300 / 125)
        sandbox.hubstaff.advance(days * 86_400)


def test_windows_begin_a_month_before_the_organization(read: Read, serve: Serve, settings: Settings) -> None:
    sandbox = serve(clock="stopped", organizations=1, shared_members=0, history_days=40, activities_per_day=1)
    run = read(sandbox, settings(sandbox, days=180), None, "activities", "daily_activities", "notes")
    assert run.code == 0, run.said("ERROR")
    for stream, path, requests in (
        ("activities", "activities", 11),  # of 7 days
        ("daily_activities", "daily", 3),  # of 31
        ("notes", "notes", 3),
    ):
        assert Counter(run.ids(stream)) == Counter(sandbox.hubstaff.ids(stream)), stream
        assert asked(sandbox)[path] == requests, stream


def asked(sandbox: RunningSandbox) -> Counter[str]:
    """The requests that the sandbox has answered, by the last word of the path."""
    report = sandbox.report().outcomes
    return Counter({path.rpartition("/")[2]: sum(found.values()) for path, found in report.items()})


@pytest.mark.parametrize("wall", ["empty", "503"])
def test_what_is_too_much_at_the_floor_fails_with_the_reason(
    read: Read, serve: Serve, settings: Settings, wall: Literal["empty", "503"]
) -> None:
    sandbox = serve(clock="stopped", wall_rows=1, wall=wall, organizations=1, shared_members=0, history_days=3)
    asked_for: list[dict[str, Any]] = []
    query = WindowSlice.query

    def noted(self: WindowSlice, cursor: str | None) -> dict[str, Any]:
        asked_for.append(query(self, cursor))
        return asked_for[-1]

    with mock.patch.object(WindowSlice, "query", noted):
        run = read(sandbox, settings(sandbox), None, "activities", "daily_activities", "projects")
    assert run.code == 1
    assert run.ids("projects")
    activities, days = (line for line in run.said("ERROR") if line.startswith("Not read"))
    assert "activities (organization_id" in activities
    assert "daily_activities (organization_id" in days
    for sentence in (activities, days):
        assert "Hubstaff ends a request after 30 seconds, with an empty body or HTTP 503" in sentence
        assert "proxy" not in sentence
    lengths = [
        parse_iso(each["time_slot[stop]"]) - parse_iso(each["time_slot[start]"])
        for each in asked_for
        if "time_slot[start]" in each and each["page_limit"] == 25
    ]
    assert set(lengths) == {timedelta(hours=1)}
    assert any(each.get("date[start]", "") == each.get("date[stop]") and each["page_limit"] == 25 for each in asked_for)
    assert min(each["page_limit"] for each in asked_for) == 25


def test_the_hour_that_is_promised_is_asked_for() -> None:
    window: Window | None = Window(NOON, NOON + timedelta(days=7))
    lengths = []
    while window is not None:
        lengths.append(window.length)
        window = window.half(SHORTEST)
    assert lengths[-2:] == [timedelta(hours=1.5), timedelta(hours=1)]
    assert lengths == sorted(set(lengths), reverse=True)


def test_the_first_day_that_an_organization_keeps_is_found_and_remembered(
    read: Read, serve: Serve, settings: Settings
) -> None:
    sandbox = serve(
        clock="stopped", organizations=1, shared_members=0, history_days=180, retention_days=75, events_per_day=1.0
    )
    run = read(sandbox, settings(sandbox, days=182), None, "attendance_shifts")
    assert run.code == 0, run.said("ERROR")
    assert Counter(run.ids("attendance_shifts")) == Counter(sandbox.hubstaff.ids("attendance_shifts"))
    kept_from = (sandbox.hubstaff.now - timedelta(days=75)).date()
    (said,) = (line for line in run.said("WARNING") if "keeps nothing" in line)
    assert str(kept_from) in said
    requests = asked(sandbox)["attendance_shifts"]
    assert requests <= 1 + 1 + 8 + 3  # refused, today, bisection, windows
    # Whatever it is read from the beginning for, the next time it begins there.
    state = run.states[-1]
    (bookmark,) = state["bookmarks"]["attendance_shifts"]["partitions"]
    del bookmark["replication_key_value"]
    again = read(sandbox, settings(sandbox, days=182), state, "attendance_shifts")
    assert again.ids("attendance_shifts") == run.ids("attendance_shifts")
    assert asked(sandbox)["attendance_shifts"] == requests + 3


def test_what_is_refused_for_another_reason_is_not_searched_in(read: Read, serve: Serve, settings: Settings) -> None:
    sandbox = serve(Fault(kind="status", status=400, path="/attendance_shifts"), clock="stopped", organizations=1)
    run = read(sandbox, settings(sandbox), None, "attendance_shifts")
    assert run.code == 1
    assert any("HTTP 400" in line for line in run.said("ERROR"))
    assert asked(sandbox)["attendance_shifts"] == 2


def test_what_the_vendor_keeps_moves_on_while_a_request_waits(read: Read, serve: Serve, settings: Settings) -> None:
    """As where the hourly quota is shared: the first windows of the last organizations wait for hours."""
    sandbox = serve(clock="stopped", organizations=2, shared_members=0, history_days=200, events_per_day=1.0)

    def wait(number: int) -> None:
        if number <= 8:
            sandbox.hubstaff.advance(1.5 * 3600)

    rows = {stream: sandbox.hubstaff.records(stream) for stream in ("activities", "screenshots")}
    run = read(sandbox, settings(sandbox, days=202, max_parallel_requests=1), None, *rows, before_request=wait)
    assert run.code == 0, run.said("ERROR")
    for stream, known in rows.items():
        # On the first day the limit moves on.
        kept = {str(row["id"]) for row in known if row["date"] > "2026-04-29"}
        assert kept
        assert kept <= set(run.ids(stream)), stream
