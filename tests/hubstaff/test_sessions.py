"""Work sessions: the vendor's example, and any history against a reference that looks at all of it at once."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import chain, count, repeat
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from singer_http.http.errors import MalformedAnswerError
from tap_hubstaff.work_sessions import late_changes
from tap_hubstaff.work_sessions.carryover_json import flat_builder, unflat_builder
from tap_hubstaff.work_sessions.model import Activity, Builder, Carryover, WorkSession
from tap_hubstaff.work_sessions.rows import activity_of, record_of

from tests.hubstaff.test_run import build

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SLOT = 600
HISTORY = 40 * SLOT
NOTHING_BEFORE = -9 * SLOT


def reference(activities: Sequence[Activity]) -> list[WorkSession]:
    """The sessions of a history, by the words of the vendor and by brute force."""
    sessions: list[list[Activity]] = []
    for activity in sorted(activities, key=lambda one: (one.starts, one.id)):
        ended_there = [
            session
            for session in sessions
            if session[0].work == activity.work and max(one.stops for one in session) >= activity.starts
        ]
        if ended_there:
            ended_there[-1].append(activity)
        else:
            sessions.append([activity])
    return [
        WorkSession(
            own[0].id,
            own[0].work,
            own[0].starts,
            max(one.stops for one in own),
            sum(one.tracked for one in own),
            len(own),
            days={day: sum(one.tracked for one in own if one.date == day) for day in dict.fromkeys(dates(own))},
            billable=sum_of([one.billable for one in own]),
            overall=sum_of([one.overall for one in own]),
            time_type=own[0].time_type if len({one.time_type for one in own}) == 1 else None,
            timesheet=own[0].timesheet if len({one.timesheet for one in own}) == 1 else None,
        )
        for own in sessions
    ]


def dates(activities: Sequence[Activity]) -> list[str]:
    return [one.date for one in activities if one.date is not None]


def sum_of(numbers: Sequence[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if len(known) == len(numbers) else None


def activity(number: int, starts: int, tracked: int, work: tuple[int, int, int | None] = (1, 5, 23)) -> Activity:
    slot = starts // SLOT
    return Activity(
        number,
        work,
        starts,
        tracked,
        slot * SLOT,
        date=f"2026-01-{1 + slot // 20:02}",
        billable=None if number % 13 == 0 else tracked * (number % 2),
        overall=None if number % 17 == 0 else tracked // (1 + number % 3),
        time_type="manual" if number % 5 == 0 else "normal",
        timesheet=None if number % 11 == 0 else 70 + slot // 10,
    )


def stints() -> st.SearchStrategy[list[Activity]]:
    """Activities of users who work on for a while, slot after slot."""
    one = st.tuples(st.integers(0, 36), st.integers(1, 12), st.integers(1, 3), st.sampled_from([None, 3]))
    return st.lists(one, min_size=1, max_size=6).map(
        lambda drawn: [
            activity(number * 100 + slot, slot * SLOT, SLOT, (user, 5, task))
            for number, (first, slots, user, task) in enumerate(drawn)
            for slot in range(first, min(first + slots, HISTORY // SLOT))
        ]
    )


SHRINKS = [activity(number, 0, 0) for number in range(1, 8)] + [activity(8, 0, 600), activity(9, 600, 0)]
"""One session whose last activity is all of it that a lookback of one slot reads again."""
RUNS = st.lists(st.integers(1, HISTORY // SLOT).map(lambda slot: slot * SLOT), min_size=1, max_size=4).map(sorted)
"""When there are runs."""


def by_id(sessions: Sequence[WorkSession]) -> list[WorkSession]:
    return sorted(sessions, key=lambda session: session.id)


def histories(most: int = 30) -> st.SearchStrategy[list[Activity]]:
    """Activities of two users on two tasks, most of which begin where another ends."""
    starts = st.one_of(st.integers(0, HISTORY).map(lambda at: at - at % 300), st.integers(0, HISTORY))
    one = st.tuples(starts, st.sampled_from([0, 300, 600, 540]), st.integers(1, 2), st.sampled_from([None, 3]))
    return st.lists(one, max_size=most).map(
        lambda drawn: [
            activity(number, at, min(tracked, SLOT - at % SLOT), (user, 5, task))
            for number, (at, tracked, user, task) in enumerate(drawn, start=1)
        ]
    )


def test_the_vendors_example() -> None:
    five_past_ten = 10 * 3600 + 300
    first = activity(1, five_past_ten, 300)
    second = activity(2, five_past_ten + 300, 540)
    third = activity(3, five_past_ten + 960, 350)
    assert [
        (session.id, session.starts, session.stops, session.tracked, session.activities)
        for session in build([third, first, second])
    ] == [
        (1, five_past_ten, five_past_ten + 840, 840, 2),
        (3, five_past_ten + 960, five_past_ten + 1310, 350, 1),
    ]


def test_a_session_tells_what_its_activities_agree_in() -> None:
    row: dict[str, Any] = {"id": 9, "user_id": 1, "project_id": 5, "tracked": 600, "overall": 300, "billable": True}
    row |= {"date": "2026-01-31", "time_type": "normal", "timesheet_id": 70}
    times = {"starts_at": "2026-02-01T04:50:00Z", "time_slot": "2026-02-01T04:50:00Z"}
    later = {"starts_at": "2026-02-01T05:00:00Z", "time_slot": "2026-02-01T05:00:00Z", "date": "2026-02-01"}
    for other, told in (
        ({}, (1200, 600, "normal", 70)),
        ({"billable": False, "overall": 0, "time_type": "manual", "timesheet_id": 71}, (600, 300, None, None)),
        ({"billable": None, "overall": None, "timesheet_id": None}, (None, None, "normal", None)),
    ):
        rows = [{**row, **times}, {**row, **later, **other, "id": 10}]
        (session,) = build([activity_of(one) for one in rows])
        record = record_of(session)
        assert record["date"] == "2026-01-31"
        assert tuple(record[name] for name in ("billable", "overall", "time_type", "timesheet_id")) == told


@pytest.mark.parametrize(
    "change",
    [
        *({"starts_at": "9999-12-31T23:59:59Z"}, {"tracked": 10**30}, {"tracked": "x"}, {"tracked": 5.5}),
        *({"id": {}}, {"user_id": []}, {"project_id": "x"}, {"overall": "much"}, {"date": 5}, {"timesheet_id": 1.5}),
    ],
)
def test_an_activity_that_ends_at_no_time_or_is_odd_is_malformed(change: dict[str, Any]) -> None:
    moment = "2026-02-01T04:50:00Z"
    row = {"id": 9, "user_id": 1, "tracked": 600, "starts_at": moment, "time_slot": moment}
    assert activity_of(row).tracked == 600
    with pytest.raises(MalformedAnswerError, match="without its times"):
        activity_of({**row, **change})


def test_values_of_activities_are_converted_as_their_stream_does() -> None:
    moment = "2026-02-01T04:50:00Z"
    row = {"id": 9, "user_id": 1, "tracked": 600, "starts_at": moment, "time_slot": moment, "billable": False}
    texts = {"id": "9", "user_id": "1", "billable": "false", "starts_at": "2026-02-01 04:50:00"}
    for tracked in ("600", 600.0):
        assert activity_of({**row, **texts, "tracked": tracked}) == activity_of(row)


@given(history=histories())
def test_sessions_outlive_the_state(history: list[Activity]) -> None:
    builder = Builder(Carryover(HISTORY))
    builder.add_window(history, HISTORY // 2)
    kept = json.loads(json.dumps(flat_builder(builder)))
    assert unflat_builder(kept).open == builder.open


def test_a_session_of_activities_that_tell_of_no_change_outlives_the_state() -> None:
    moment = "2026-02-01T04:50:00Z"
    activity = activity_of({"id": 9, "user_id": 1, "tracked": 600, "starts_at": moment, "time_slot": moment})
    builder = Builder(Carryover(activity.slot))
    builder.add_window([activity], activity.stops)
    assert unflat_builder(flat_builder(builder)).open == builder.open != []


@given(history=histories())
def test_any_history_equals_the_reference(history: list[Activity]) -> None:
    assert by_id(build(history)) == by_id(reference(history))


@given(history=histories(), cuts=st.lists(st.integers(0, HISTORY // SLOT), max_size=5))
def test_windows_make_no_difference(history: list[Activity], cuts: list[int]) -> None:
    builder = Builder(Carryover(0))
    final: dict[int, WorkSession] = {}
    begin = 0
    for cut in [*sorted(cut * SLOT for cut in cuts), HISTORY + SLOT]:
        window = [one for one in history if begin <= one.slot < cut]
        final |= {session.id: session for session in builder.add_window(window, cut)}
        begin = cut
    assert_true(final, history)


SHRINKS = [activity(number, 0, 0) for number in range(1, 8)] + [activity(8, 0, 600), activity(9, 600, 0)]
"""One session whose last activity is all of it that a lookback of one slot reads again."""


def assert_true(warehouse: dict[int, WorkSession], present: Sequence[Activity]) -> None:
    counting = [session for session in warehouse.values() if session.superseded_by is None]
    assert by_id(counting) == by_id(reference(present))


def keep(warehouse: dict[int, WorkSession], builder: Builder, activities: list[Activity], stop: int) -> Carryover:
    """A run as a target sees it that replaces by key; gives what it leaves to the next."""
    warehouse |= {session.id: session for session in builder.add_window(activities, stop)}
    warehouse |= {gone: WorkSession(gone, (0, None, None), 0, 0, 0, 0, gone) for gone in builder.given}
    return builder.after


@given(
    history=histories(),
    runs=RUNS,
    lookback=st.integers(0, 10),
    changes=st.lists(st.tuples(histories(3), st.none() | st.integers(0, 100)), max_size=5),
)
@example(history=SHRINKS, runs=[2 * SLOT], lookback=1, changes=[([], 0)])
def test_runs_make_no_difference_where_all_that_changes_is_read_again(
    history: list[Activity], runs: list[int], lookback: int, changes: list[tuple[list[Activity], int | None]]
) -> None:
    """Within the lookback activities come late, change and go; the warehouse ends with the truth."""
    present = list(history)
    warehouse: dict[int, WorkSession] = {}
    carryover = Carryover(0)
    numbers = count(1000)
    for run, (uploads, gone) in zip([*runs, HISTORY + SLOT], chain(changes, repeat(([], None))), strict=False):
        builder = Builder.continuing(carryover, max(0, run - lookback * SLOT))
        carryover = keep(warehouse, builder, [one for one in present if carryover.at <= one.slot < run], run)
        present += [replace(one, id=next(numbers)) for one in uploads if carryover.at <= one.slot < run]
        changeable = [one for one in present if carryover.at <= one.slot < run]
        if changeable and gone is not None:
            present.remove(changeable[gone % len(changeable)])
    # Once more, for what changed after the last.
    builder = Builder.continuing(carryover, HISTORY + SLOT)
    keep(warehouse, builder, [one for one in present if carryover.at <= one.slot], HISTORY + 2 * SLOT)
    assert_true(warehouse, present)


def changed(history: list[Activity], edit: tuple[int, int, int | None]) -> list[Activity]:
    """The history after one of its activities was given another length and another task."""
    place, tracked, task = edit
    if not history:
        return history
    one = history[place % len(history)]
    tracked = min(tracked, SLOT - one.starts % SLOT)
    other = replace(one, tracked=tracked, work=(*one.work[:2], task), is_changed=True)
    return [other if activity is one else activity for activity in history]


def follow_up(warehouse: dict[int, WorkSession], carryover: Carryover, present: Sequence[Activity], page: int) -> None:
    """What a run does about changes before its carryover, with regions as short as the history asks for."""
    touched = {(one.slot, one.work[0]) for one in present if one.is_changed and one.slot < carryover.at}
    for region in late_changes.regions(touched, 0, NOTHING_BEFORE, carryover.at, page):

        def read(begin: int, stop: int, users: tuple[int, ...] = region.users) -> list[Activity]:
            return [one for one in present if begin <= one.slot < stop and one.work[0] in users]

        whole, found = late_changes.closed(region, NOTHING_BEFORE, carryover.at, read)
        warehouse |= {session.id: session for session in late_changes.repair(carryover, whole, found)}
        warehouse |= {session.id: session for session in found.superseded}


EDITS = st.tuples(st.integers(0, 100), st.sampled_from([0, 300, 600]), st.sampled_from([None, 3]))


@pytest.fixture(scope="module")
def short_regions() -> Iterator[None]:
    """Regions so short that they are joined, and cut through sessions."""
    with pytest.MonkeyPatch.context() as patched:
        for name, slots in {"QUARTER": 1, "AROUND": 1, "DAY": 2, "LONGEST": 12}.items():
            patched.setattr(late_changes, name, slots * SLOT)
        yield


@pytest.mark.usefixtures("short_regions")
@given(
    history=st.one_of(histories(), stints()),
    runs=RUNS,
    lookback=st.integers(0, 10),
    changes=st.lists(st.tuples(histories(4), st.lists(EDITS, max_size=4)), max_size=5),
    page=st.sampled_from([20, 300]),
)
def test_what_comes_late_makes_no_difference(
    *,
    history: list[Activity],
    runs: list[int],
    lookback: int,
    changes: list[tuple[list[Activity], list[tuple[int, int, int | None]]]],
    page: int,
) -> None:
    """Activities are uploaded and changed however long ago they were; the warehouse ends with the truth."""
    present = list(history)
    warehouse: dict[int, WorkSession] = {}
    carryover = Carryover(0)
    numbers = count(1000)
    for run, (uploads, edits) in zip([*runs, HISTORY + SLOT], chain(changes, repeat(([], []))), strict=False):
        follow_up(warehouse, carryover, present, page)
        builder = Builder.continuing(carryover, max(0, run - lookback * SLOT))
        carryover = keep(warehouse, builder, [one for one in present if carryover.at <= one.slot < run], run)
        present = [replace(one, is_changed=False, is_new=False) for one in present]
        for edit in edits:
            present = changed(present, edit)
        present += [replace(one, id=next(numbers), is_changed=True, is_new=True) for one in uploads]
    follow_up(warehouse, carryover, present, page)
    builder = Builder.continuing(carryover, HISTORY + SLOT)
    keep(warehouse, builder, [one for one in present if carryover.at <= one.slot], HISTORY + 2 * SLOT)
    assert_true(warehouse, present)
