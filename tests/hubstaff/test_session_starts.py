"""Work sessions wherever a read begins: each has one identity, and none is missing, twice or cut."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from api_sandbox import Tracked
from tap_hubstaff.streams.window_streams import Activities

from tests.hubstaff.conftest import NOW
from tests.hubstaff.test_late_changes import requests
from tests.hubstaff.test_run import DAY, sessions_of, warehouse

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from api_sandbox import RunningSandbox

    from tests.hubstaff.reading import Run

    Settings = Callable[..., dict[str, Any]]
    Serve = Callable[..., RunningSandbox]
    Read = Callable[..., Run]

HOUR = 3600
WEEK = timedelta(days=7)
ONE = {"organizations": 1, "shared_members": 0, "history_days": 30, "members": 5, "activity_delay": 0.0}


def cut_off(run: Run) -> Run:
    """What a loader got of a run before it was killed between two windows of sessions."""
    lines = run.stdout.splitlines(keepends=True)
    places = [
        place
        for place, message in enumerate(run.messages, start=1)
        if message["type"] == "STATE" and '"cursor"' in json.dumps(message["value"])
    ]
    return type(run)(0, b"".join(lines[: places[len(places) // 2]]), "")


@pytest.mark.parametrize("days", [((9, True), (40, False)), ((9, False), (20, True), (40, False))], ids=len)
@pytest.mark.parametrize("hours", [0, 13])
def test_an_earlier_start_date_after_a_read_that_was_cut_off(
    *,
    read: Read,
    serve: Serve,
    settings: Settings,
    days: tuple[tuple[int, bool], ...],
    hours: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("singer_http.run.Run.is_due", lambda *_: True)
    sandbox = serve(clock="stopped", **ONE)
    runs: list[Run] = []
    for of, is_cut in days:
        start = (sandbox.hubstaff.now - timedelta(days=of)).replace(hour=hours, minute=0, second=0)
        config = settings(sandbox, start_date=start.isoformat(), page_size=40, lookback_days=0)
        run = read(sandbox, config, runs[-1].states[-1] if runs else None, "time_sessions")
        assert run.code == 0, run.said("ERROR")
        runs.append(cut_off(run) if is_cut else run)
        sandbox.hubstaff.advance(3600)
    assert warehouse(*runs) == sessions_of(sandbox.hubstaff.records("activities"))


MIDNIGHT = NOW.replace(hour=0, minute=0) - timedelta(days=8)
QUIET = {**ONE, "history_days": 0, "activities_per_day": 0, "removed_members": 0}
EARLY, LATE = -10 * 24 * 60, 24 * 60
"""Minutes from midnight: before and after all work."""


def stint(begin: float, end: float, **more: Any) -> list[Tracked]:
    """Work without a gap, between minutes of that day."""
    return [
        Tracked(starts_at=MIDNIGHT + timedelta(minutes=at), tracked=600, **more)
        for at in range(int(begin), int(end), 10)
    ]


WORK = [
    *stint(-20, 20),
    *(Tracked(starts_at=MIDNIGHT + timedelta(minutes=at), tracked=s) for at, s in ((538, 120), (540, 600), (550, 450))),
    *stint(-22 * 60, 19 * 60, member=1),
    *stint(-70, -10, member=2),
    *stint(-30, 0, member=3),
]
"""Over midnight, over a slot, for almost two days, and ended before midnight or with it."""
ORDERS = (0, 545, -15, LATE, EARLY, 541), (545, 541, 0, EARLY), (LATE, 720, 550, -60, EARLY, 0)


@pytest.mark.parametrize(
    ("is_kept", "full", "streams", "order"),
    [
        *((True, (), ("activities", "time_sessions"), order) for order in ORDERS),
        (False, (), ("time_sessions",), ORDERS[0]),
        (True, ("time_sessions",), ("time_sessions",), ORDERS[2]),
    ],
    ids=[*(f"state kept {number}" for number in range(len(ORDERS))), "state lost", "full table"],
)
def test_a_session_is_one_wherever_reads_begin(
    *,
    read: Read,
    serve: Serve,
    settings: Settings,
    order: tuple[int, ...],
    is_kept: bool,
    full: tuple[str, ...],
    streams: tuple[str, ...],
) -> None:
    sandbox = serve(clock="stopped", **QUIET)
    sandbox.hubstaff.add(WORK)
    sandbox.hubstaff.advance(HOUR)
    runs: list[Run] = []
    earliest = LATE
    for minutes in order:
        start = MIDNIGHT + timedelta(minutes=minutes)
        state = runs[-1].states[-1] if runs and is_kept else None
        config = settings(sandbox, start_date=start.isoformat())
        runs.append(read(sandbox, config, state, *streams, full=full))
        assert runs[-1].code == 0, runs[-1].said("ERROR")
        earliest = min(minutes, earliest)
        assert warehouse(*runs) == since(sandbox, MIDNIGHT + timedelta(minutes=earliest))
        sandbox.hubstaff.advance(HOUR)


def since(sandbox: RunningSandbox, start: datetime) -> dict[int, tuple[Any, ...]]:
    """The sessions that there are, less those that end before a moment."""
    found = sessions_of(sandbox.hubstaff.records("activities"))
    return {number: session for number, session in found.items() if session[4] >= start.timestamp()}


@pytest.mark.parametrize("streams", [("time_sessions",), ("activities", "time_sessions")], ids=len)
def test_what_is_changed_right_before_the_start_is_followed(
    read: Read, serve: Serve, settings: Settings, streams: tuple[str, ...]
) -> None:
    sandbox = serve(clock="stopped", **QUIET)
    sandbox.hubstaff.add([*stint(-20, 20), *stint(0, 20, member=1), *stint(-30, -10, member=2), *stint(0, 9, member=2)])
    sandbox.hubstaff.advance(HOUR)
    config = settings(sandbox, start_date=MIDNIGHT.isoformat(), lookback_days=0)
    runs = [read(sandbox, config, None, *streams)]
    # One session now begins earlier, another one reaches into the start, two become one.
    for late in (stint(-40, -20), stint(-10, 0, member=1), stint(-10, 0, member=2)):
        sandbox.hubstaff.add(late)
        sandbox.hubstaff.advance(DAY)
        runs.append(read(sandbox, config, runs[-1].states[-1], *streams))
        assert runs[-1].code == 0, runs[-1].said("ERROR")
        found = {number: one for number, one in warehouse(*runs).items() if one[4] >= MIDNIGHT.timestamp()}
        assert found == since(sandbox, MIDNIGHT)
    assert sorted(session[5] for session in found.values()) == [1800, 2400, 3600]


@pytest.mark.parametrize("is_kept", [True, False], ids=["state kept", "state lost"])
def test_a_session_joins_what_is_uploaded_in_the_second_of_a_run(
    *, read: Read, serve: Serve, settings: Settings, is_kept: bool
) -> None:
    sandbox = serve(clock="stopped", **QUIET)
    known = {int(number) for number in sandbox.hubstaff.add([*stint(0, 20), *stint(20, 40, member=1)])}
    config = settings(sandbox, start_date=(MIDNIGHT - WEEK).isoformat(), lookback_days=0)
    runs = [read(sandbox, config, None, "time_sessions")]
    sandbox.hubstaff.add([*stint(-20, 0), *stint(0, 20, member=1)])
    sandbox.hubstaff.advance(HOUR)
    runs.append(read(sandbox, config, runs[0].states[-1] if is_kept else None, "time_sessions"))
    assert runs[1].code == 0, runs[1].said("ERROR")
    assert warehouse(*runs) == sessions_of(sandbox.hubstaff.records("activities"))
    # What was uploaded after the run and in the order of time began no session that a run can have given.
    assert {row["id"] for row in runs[1].records("time_sessions") if row["superseded_by"]} <= known


@pytest.mark.parametrize(("working", "more"), [(0, 1), (1, 2)])
def test_a_first_read_looks_before_its_start_in_few_requests(
    read: Read, serve: Serve, settings: Settings, working: int, more: int
) -> None:
    sandbox = serve(clock="stopped", **{**QUIET, "members": 30})
    sandbox.hubstaff.add([*stint(-180, -30 + 60 * working), *stint(-9 * 60, -60, member=1), *stint(60, 120)])
    sandbox.hubstaff.advance(HOUR)

    def taken(minutes: int) -> int:
        before = requests(sandbox)["activities"]
        start = MIDNIGHT + timedelta(minutes=minutes)
        run = read(sandbox, settings(sandbox, start_date=start.isoformat()), None, "activities", "time_sessions")
        assert run.code == 0, run.said("ERROR")
        return requests(sandbox)["activities"] - before

    assert taken(0) == 2 + more
    assert taken(LATE) == 2 + 1
    # Before its organization was there, nobody worked.
    assert taken(-60 * 24 * 200) == taken(-60 * 24 * 170)


def test_sessions_before_a_later_start_date_are_not_called_gone(read: Read, serve: Serve, settings: Settings) -> None:
    sandbox = serve(clock="stopped", **ONE)
    runs = [read(sandbox, settings(sandbox), None, "time_sessions")]
    sandbox.hubstaff.advance(50 * DAY)  # the list of updates no longer reaches back so far
    runs.append(read(sandbox, settings(sandbox, days=45), runs[-1].states[-1], "time_sessions"))
    assert ["longer ago" in line for line in runs[-1].said("WARNING")] == [True]
    assert runs[0].records("time_sessions")
    assert warehouse(*runs).items() >= warehouse(runs[0]).items()


def test_a_quota_may_end_wherever_a_first_read_is(read: Read, serve: Serve, settings: Settings, tmp_path: Path) -> None:
    sandbox = serve(clock="stopped", **QUIET)
    sandbox.hubstaff.add(WORK)
    sandbox.hubstaff.advance(HOUR)
    config = settings(sandbox, start_date=MIDNIGHT.isoformat(), on_quota="stop")
    streams = ("activities", "time_sessions")
    for requests_left in range(1, 7):
        quota = {"requests_per_hour": requests_left, "token_path": str(tmp_path / str(requests_left))}
        run = read(sandbox, {**config, **quota}, None, *streams)
        # An hour that cannot suffice for what comes before the first stream is a mistake in the settings.
        assert run.code == (requests_left <= 2), run.said("ERROR")
        rest = read(sandbox, config, run.states[-1] if run.states else None, *streams)
        assert warehouse(run, rest) == since(sandbox, MIDNIGHT)
    assert not rest.records("activities")  # the last had a request for everything


OLD = {**QUIET, "members": 1, "history_days": 200}


def work_around(start: datetime) -> list[Tracked]:
    first = start.replace(minute=0, second=0, microsecond=0)
    return [Tracked(starts_at=first + timedelta(minutes=10 * slot), tracked=600) for slot in range(-30, 30)]


@pytest.mark.parametrize("full", [(), ("time_sessions",)], ids=["state lost", "full table"])
def test_a_session_whose_beginning_the_vendor_no_longer_gives_is_not_given_twice(
    read: Read, serve: Serve, settings: Settings, full: tuple[str, ...]
) -> None:
    sandbox = serve(clock="stopped", **OLD)
    config = settings(sandbox, days=300)
    kept_from = Activities.spec.earliest(sandbox.hubstaff.now + timedelta(days=50))
    sandbox.hubstaff.add(work_around(kept_from))
    sandbox.hubstaff.advance(HOUR)
    runs = [read(sandbox, config, None, "time_sessions", full=full)]
    before = warehouse(*runs)
    assert len(before) == 1
    sandbox.hubstaff.advance(50 * DAY - HOUR)
    runs.append(read(sandbox, config, runs[0].states[-1] if full else None, "time_sessions", full=full))
    assert runs[-1].code == 0, runs[-1].said("ERROR")
    assert warehouse(*runs) == before


def test_a_session_that_is_cut_where_a_read_continues_is_not_given(
    read: Read, serve: Serve, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("singer_http.run.Run.is_due", lambda *_: True)
    sandbox = serve(clock="stopped", **OLD)
    config = settings(sandbox, days=300)
    whole = [*work_around(sandbox.hubstaff.now - timedelta(days=100)), *work_around(sandbox.hubstaff.now - 2 * WEEK)]
    sandbox.hubstaff.add([*whole, *work_around(Activities.spec.earliest(sandbox.hubstaff.now + 2 * WEEK))])
    sandbox.hubstaff.advance(HOUR)
    first = read(sandbox, config, None, "time_sessions")
    (state, *_) = [state for state in first.states if '"cursor"' in json.dumps(state)]
    sandbox.hubstaff.advance(14 * DAY - HOUR)
    rest = read(sandbox, config, state, "time_sessions")
    assert rest.code == 0, rest.said("ERROR")
    assert len(warehouse(first)) == len(whole) // 60 + 1
    assert [session[5] for session in warehouse(rest).values()] == [600 * 60, 600 * 60]
