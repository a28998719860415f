"""What the hosting cuts off after 30 seconds is asked for in halves, down to a floor."""

from __future__ import annotations

from collections import Counter
from math import ceil
from typing import TYPE_CHECKING, Any, Literal

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from api_sandbox import RunningSandbox

    from tests.hubstaff.reading import Run

    Settings = Callable[..., dict[str, Any]]
    Serve = Callable[..., RunningSandbox]
    Read = Callable[..., Run]


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


def test_windows_begin_no_earlier_than_the_organization(read: Read, serve: Serve, settings: Settings) -> None:
    sandbox = serve(clock="stopped", organizations=1, shared_members=0, history_days=40, activities_per_day=1)
    run = read(sandbox, settings(sandbox, days=180), None, "activities", "daily_activities", "notes")
    assert run.code == 0, run.said("ERROR")
    for stream, path, requests in (
        ("activities", "activities", 6),  # of 7 days
        ("daily_activities", "daily", 2),  # of 31
        ("notes", "notes", 2),
    ):
        assert Counter(run.ids(stream)) == Counter(sandbox.hubstaff.ids(stream)), stream
        assert asked(sandbox)[path] == requests, stream


def asked(sandbox: RunningSandbox) -> Counter[str]:
    """The requests that the sandbox has answered, by the last word of the path."""
    report = sandbox.report().outcomes
    return Counter({path.rpartition("/")[2]: sum(found.values()) for path, found in report.items()})


def test_what_is_too_much_at_the_floor_fails_with_the_reason(read: Read, serve: Serve, settings: Settings) -> None:
    sandbox = serve(clock="stopped", wall_rows=1, organizations=1, shared_members=0, history_days=3)
    run = read(sandbox, settings(sandbox), None, "activities", "projects")
    assert run.code == 1
    assert run.ids("projects")
    (sentence,) = (line for line in run.said("ERROR") if line.startswith("Not read"))
    assert "activities (organization_id" in sentence
