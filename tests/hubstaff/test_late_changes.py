"""Work that is uploaded or changed long after it was done: sessions follow, at no more requests than that takes."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from api_sandbox import Fault, Tracked
from tap_hubstaff.streams.window_streams import Activities
from tap_hubstaff.times import parse_iso
from tap_hubstaff.windows.density import MOST_PAGES
from tap_hubstaff.work_sessions import late_changes
from tap_hubstaff.work_sessions.model import Builder

from tests.hubstaff.test_run import DAY, sessions_of, warehouse

HOUR = 3600

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from api_sandbox import RunningSandbox
    from tap_hubstaff.work_sessions.model import Activity, WorkSession

    from tests.hubstaff.reading import Run

    Settings = Callable[..., dict[str, Any]]
    Serve = Callable[..., RunningSandbox]
    Read = Callable[..., Run]


def requests(sandbox: RunningSandbox) -> Counter[str]:
    return Counter({path.rpartition("/")[2]: sum(found.values()) for path, found in sandbox.report().outcomes.items()})


@pytest.mark.parametrize("streams", [("time_sessions",), ("activities", "time_sessions")], ids=len)
def test_500_edits_and_500_late_rows_arrive(
    read: Read, serve: Serve, settings: Settings, streams: tuple[str, ...]
) -> None:
    sandbox = serve(clock="stopped", members=5, history_days=30)
    hubstaff = sandbox.hubstaff
    config = settings(sandbox, lookback_days=1)
    runs = [read(sandbox, config, None, *streams)]
    for _ in range(2):
        hubstaff.edit("activities", 250)
        hubstaff.add_late(250, days=29)
        hubstaff.advance(DAY)
        runs.append(read(sandbox, config, runs[-1].states[-1], *streams))
    assert [run.code for run in runs] == [0, 0, 0], runs[-1].said("ERROR")
    assert warehouse(*runs) == sessions_of(sandbox.hubstaff.records("activities"))
    assert any(row["superseded_by"] for row in runs[-1].records("time_sessions"))


def test_little_is_read_for_a_little_change(read: Read, serve: Serve, settings: Settings) -> None:
    sandbox = serve(clock="stopped", organizations=1, shared_members=0, members=8, history_days=40, late_share=0)
    config = settings(sandbox, lookback_days=1)
    runs = [read(sandbox, config, None, "activities", "time_sessions")]
    for changes in (0, 1, 3):
        sandbox.hubstaff.add_late(changes, days=30)
        sandbox.hubstaff.advance(DAY)
        before = requests(sandbox)
        runs.append(read(sandbox, config, runs[-1].states[-1], "activities", "time_sessions"))
        taken = requests(sandbox) - before
        # What was changed is told by the updates of activities; the last day is read for what was deleted.
        assert taken["updates"] == 1
        assert taken["activities"] <= 1 + changes
    assert warehouse(*runs) == sessions_of(sandbox.hubstaff.records("activities"))


def test_a_busy_week_is_held_by_the_page(
    read: Read, serve: Serve, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a first run nor one that everybody's work was changed before holds more than pages of a window."""
    held: list[int] = []

    def window(builder: Builder, activities: Sequence[Activity], stop: int) -> list[WorkSession]:
        held.append(len(activities))
        return add_window(builder, activities, stop)

    def rebuilt(activities: Sequence[Activity], stop: int) -> late_changes.Rebuilt:
        held.append(len(activities))
        return build_region(activities, stop)

    add_window, build_region = Builder.add_window, late_changes.rebuilt
    monkeypatch.setattr(Builder, "add_window", window)
    monkeypatch.setattr(late_changes, "rebuilt", rebuilt)
    monkeypatch.setattr(late_changes, "MOST_USERS", 3)
    sandbox = serve(
        clock="stopped",
        organizations=1,
        shared_members=0,
        members=30,
        history_days=8,
        activities_per_day=20,
        late_share=0.0,
    )
    config = settings(sandbox, lookback_days=1, page_size=10)
    slots = Counter(row["time_slot"][:13] for row in sandbox.hubstaff.records("activities"))
    most = MOST_PAGES * config["page_size"] + max(slots.values())
    a_week = sum(slots.values())
    runs = [read(sandbox, config, None, "time_sessions")]
    assert max(held) <= most < a_week / 2
    held.clear()
    sandbox.hubstaff.edit("activities", 150)
    sandbox.hubstaff.advance(DAY)
    runs.append(read(sandbox, config, runs[-1].states[-1], "time_sessions"))
    assert max(held) <= most
    assert warehouse(*runs) == sessions_of(sandbox.hubstaff.records("activities"))


def test_after_a_long_pause_everything_is_looked_at(read: Read, serve: Serve, settings: Settings) -> None:
    sandbox = serve(clock="stopped", organizations=1, shared_members=0, history_days=20)
    config = settings(sandbox, lookback_days=1)
    runs = [read(sandbox, config, None, "time_sessions")]
    sandbox.hubstaff.edit("activities", 50)
    sandbox.hubstaff.add_late(50, days=19)
    sandbox.hubstaff.advance(50 * DAY)
    runs.append(read(sandbox, config, runs[-1].states[-1], "time_sessions"))
    assert ["longer ago" in line for line in runs[-1].said("WARNING")] == [True]
    assert warehouse(*runs) == sessions_of(sandbox.hubstaff.records("activities"))


def test_a_first_load_that_was_cut_off_long_ago_is_begun_anew(
    read: Read, serve: Serve, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("singer_http.run.Run.is_due", lambda *_: True)
    sandbox = serve(clock="stopped", organizations=1, shared_members=0, history_days=20)
    config = settings(sandbox, lookback_days=1, page_size=40)
    whole = read(sandbox, config, None, "time_sessions")
    state = [state for state in whole.states if '"cursor"' in json.dumps(state)][-1]
    sandbox.hubstaff.edit("activities", 50)
    sandbox.hubstaff.advance(50 * DAY)
    last = read(sandbox, config, state, "time_sessions")
    assert last.code == 0, last.said("ERROR")
    assert warehouse(whole, last) == sessions_of(sandbox.hubstaff.records("activities"))


def test_a_session_that_the_vendor_keeps_half_of_stays_whole(read: Read, serve: Serve, settings: Settings) -> None:
    sandbox = serve(
        clock="stopped",
        organizations=1,
        shared_members=0,
        members=1,
        removed_members=0,
        history_days=200,
        activities_per_day=0,
    )
    hubstaff = sandbox.hubstaff
    config = settings(sandbox, days=300)
    kept_from = Activities.spec.earliest(hubstaff.now + timedelta(days=50)).replace(minute=0, second=0, microsecond=0)
    work = [Tracked(starts_at=kept_from + timedelta(minutes=10 * slot), tracked=600) for slot in range(-6, 12)]
    (first, *_) = hubstaff.add(work)
    hubstaff.advance(HOUR)
    runs = [read(sandbox, config, None, "time_sessions")]
    before = warehouse(*runs)[int(first)]
    hubstaff.advance(50 * DAY)
    runs.append(read(sandbox, config, runs[-1].states[-1], "time_sessions"))
    assert runs[-1].code == 0, runs[-1].said("ERROR")
    assert warehouse(*runs)[int(first)] == before
    assert {number for number, session in warehouse(*runs).items() if session[3] < before[4]} == {int(first)}


def test_a_run_that_fails_between_two_regions_leaves_the_rest_to_the_next(
    read: Read, serve: Serve, settings: Settings
) -> None:
    sandbox = serve(clock="stopped", organizations=1, shared_members=0, history_days=40)
    config = settings(sandbox, lookback_days=1)
    runs = [read(sandbox, config, None, "time_sessions")]
    sandbox.hubstaff.add_late(8, days=39)
    sandbox.hubstaff.advance(DAY)
    sandbox.faults.replace(Fault(kind="status", status=403, path="/activities", nth=(4,)))
    runs.append(read(sandbox, config, runs[-1].states[-1], "time_sessions"))
    assert runs[-1].code == 1
    (partition,) = runs[-1].states[-1]["bookmarks"]["time_sessions"]["partitions"]
    assert partition["sessions"]["late"]
    # What is changed meanwhile is followed too.
    sandbox.hubstaff.edit("activities", 4)
    sandbox.hubstaff.advance(DAY)
    runs.append(read(sandbox, config, runs[-1].states[-1], "time_sessions"))
    assert runs[-1].code == 0, runs[-1].said("ERROR")
    assert warehouse(*runs) == sessions_of(sandbox.hubstaff.records("activities"))
    (partition,) = runs[-1].states[-1]["bookmarks"]["time_sessions"]["partitions"]
    assert "late" not in partition["sessions"]


BEFORE_DATES = {"at": 1769686800, "open": [[11, 5, 3, None, 1769686500, 1769687100, 600, 1, 1769687400]], "given": []}
"""A carryover whose sessions lack their dates and what came with them."""


@pytest.mark.parametrize(
    "broken", [{"at": 1}, {"at": "x", "open": [], "given": []}, [], {"late": 1}, BEFORE_DATES], ids=str
)
def test_a_carryover_that_cannot_be_read_loses_nothing(
    read: Read, serve: Serve, settings: Settings, broken: Any
) -> None:
    sandbox = serve(clock="stopped", organizations=1, shared_members=0, history_days=4, activity_delay=0.0)
    config = settings(sandbox)
    bookmark = {"context": {"organization_id": int(sandbox.hubstaff.ids("organizations")[0])}, "sessions": broken}
    bookmark["replication_key_value"] = sandbox.hubstaff.now.isoformat()
    run = read(sandbox, config, {"bookmarks": {"time_sessions": {"partitions": [bookmark]}}}, "time_sessions")
    assert run.code == 0, run.said("ERROR")
    assert warehouse(run) == sessions_of(sandbox.hubstaff.records("activities"))


@pytest.mark.parametrize("streams", [("daily_activities",), ("activities", "daily_activities")], ids=len)
def test_days_of_more_than_a_month_ago_follow_what_is_changed_in_them(
    read: Read, serve: Serve, settings: Settings, streams: tuple[str, ...]
) -> None:
    # The vendor's list of updates of days tells of those of the last month only.
    sandbox = serve(clock="stopped", members=4, history_days=80, daily_updates_of="last_month")
    hubstaff = sandbox.hubstaff
    config = settings(sandbox, days=90)
    runs = [read(sandbox, config, None, *streams)]
    for _ in range(2):
        hubstaff.edit("activities", 60)
        hubstaff.add_late(60, days=78)
        hubstaff.advance(DAY)
        runs.append(read(sandbox, config, runs[-1].states[-1], *streams))
    assert [run.code for run in runs] == [0, 0, 0], runs[-1].said("ERROR")
    newest = {record["id"]: record for run in runs for record in run.records("daily_activities")}
    for expected in hubstaff.records("daily_activities"):
        assert {name: newest[expected["id"]][name] for name in expected} == expected


def test_an_old_day_costs_a_request_only_where_something_was_changed_in_it(
    read: Read, serve: Serve, settings: Settings
) -> None:
    sandbox = serve(clock="stopped", organizations=1, shared_members=0, members=4, history_days=80)
    config = settings(sandbox, days=90)
    streams = ("activities", "daily_activities")
    run = read(sandbox, config, None, *streams)
    for uploads in (0, 1):
        work = Tracked(starts_at=sandbox.hubstaff.now - timedelta(days=60), tracked=60)
        sandbox.hubstaff.add([work] * uploads)
        sandbox.hubstaff.advance(DAY)
        before = requests(sandbox)
        run = read(sandbox, config, run.states[-1], *streams)
        assert (requests(sandbox) - before)["daily"] == uploads


def test_work_of_before_the_organization_is_read(read: Read, serve: Serve, settings: Settings) -> None:
    sandbox = serve(clock="stopped", organizations=1, shared_members=0, members=4, history_days=20)
    hubstaff = sandbox.hubstaff
    (created,) = (parse_iso(organization["created_at"]) for organization in hubstaff.records("organizations"))
    # Who begins to use Hubstaff enters the days since the last payday by hand ...
    hubstaff.add([Tracked(starts_at=created - timedelta(days=days), tracked=60) for days in range(1, 32)])
    hubstaff.advance(DAY)
    config = settings(sandbox, days=120)
    streams = ("activities", "daily_activities", "time_sessions")
    runs = [read(sandbox, config, None, *streams)]
    # ... and may do so later for any others.
    for days in (5, 40, 80):
        hubstaff.add([Tracked(starts_at=created - timedelta(days=days, hours=3), tracked=90)])
        hubstaff.advance(DAY)
        runs.append(read(sandbox, config, runs[-1].states[-1], *streams))
    assert [run.code for run in runs] == [0] * 4, runs[-1].said("ERROR")
    assert warehouse(*runs) == sessions_of(hubstaff.records("activities"))
    for stream in ("activities", "daily_activities"):
        loaded = {record["id"]: record["tracked"] for run in runs for record in run.records(stream)}
        assert loaded == {record["id"]: record["tracked"] for record in hubstaff.records(stream)}
