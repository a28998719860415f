"""A run that is cut off, wherever that is, and gone on with: nothing is lost, and next to nothing read twice."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pytest
from api_sandbox import Fault, Tracked
from tap_hubstaff.all_streams import STREAMS
from tap_hubstaff.times import iso, parse_iso
from tap_hubstaff.windows.window_resume import DELAY

from tests.hubstaff.test_run import DAY, NOT_READ, OF_A_MONTH, sessions_of, warehouse

if TYPE_CHECKING:
    from collections.abc import Callable

    from api_sandbox import RunningSandbox

    from tests.hubstaff.reading import Run

    Settings = Callable[..., dict[str, Any]]
    Serve = Callable[..., RunningSandbox]
    Tap = Callable[..., Run]
    Read = Callable[..., Run]

HOUR = 3600
PAGE = 12
POSITIONS = 20
"""Places in each recorded run at which it is cut off."""
WINDOWED = ("activities", "daily_activities", "notes", "time_sessions")
"""One followed by updates by time and one by day, one read by windows alone, and the derived one."""
LITTLE = {"history_days": 7, "members": 3, "removed_members": 0, "events_per_day": 0.5}
SHAPES: dict[str, dict[str, Any]] = {
    "one organization": {**LITTLE, "organizations": 1, "shared_members": 0},
    "two organizations": {**LITTLE, "history_days": 4},
    "more than a window can give": {**LITTLE, "organizations": 1, "shared_members": 0, "wall_rows": 20},
    "what came late": {**LITTLE, "history_days": 20, "activities_per_day": 2},
    "sessions alone": {**LITTLE, "history_days": 20, "activities_per_day": 2},
}


@dataclass(frozen=True)
class Recorded:
    """A run of which the state after every page is known.

    Attributes:
        sandbox: What it read.
        config: Its settings.
        streams: What it read of it.
        before: The run before it, where there was one.
        run: The run.
    """

    sandbox: RunningSandbox
    config: dict[str, Any]
    streams: tuple[str, ...]
    before: tuple[Run, ...]
    run: Run

    @cached_property
    def _lines(self) -> list[bytes]:
        return self.run.stdout.splitlines(keepends=True)

    @cached_property
    def truth(self) -> dict[str, dict[int, dict[str, Any]]]:
        """What there is, by stream and id."""
        return {
            stream: {record["id"]: record for record in self.sandbox.hubstaff.records(stream)}
            for stream in {"activities", *self.streams} - {"time_sessions"}
        }

    @cached_property
    def sessions(self) -> dict[int, tuple[Any, ...]]:
        """The sessions that there are."""
        return sessions_of([*self.truth["activities"].values()])

    def until(self, line: int) -> Run:
        """What it had written by a line."""
        return replace(self.run, stdout=b"".join(self._lines[:line]))


@pytest.fixture
def few_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """No streams but those that matter here, so that a run begins quickly."""
    few = tuple(stream for stream in STREAMS if vars(stream)["name"] in WINDOWED or stream.shares)
    monkeypatch.setattr("tap_hubstaff.tap.STREAMS", few)


@pytest.fixture
def recorded(
    read: Read, serve: Serve, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Recorded]:
    """Make a run of a shape, with a STATE after every page."""
    monkeypatch.setattr("singer_http.run.Run.is_due", lambda *_: True)

    def record(shape: str) -> Recorded:
        sandbox = serve(clock="stopped", activity_delay=0.0, **SHAPES[shape])
        config = settings(sandbox, days=21, page_size=PAGE, lookback_days=0)
        streams = ("time_sessions",) if shape == "sessions alone" else WINDOWED
        before: tuple[Run, ...] = ()
        if shape in {"what came late", "sessions alone"}:
            before = (read(sandbox, config, None, *streams),)
            sandbox.hubstaff.edit("activities", 20)
            sandbox.hubstaff.add_late(8, days=19)
            sandbox.hubstaff.advance(DAY)
        state = before[-1].states[-1] if before else None
        run = read(sandbox, config, state, *streams)
        assert run.code == 0, run.said("ERROR")
        return Recorded(sandbox, config, streams, before, run)

    return record


def assert_together(sandbox: RunningSandbox, *runs: Run) -> None:
    truth = sandbox.hubstaff.truth
    for stream in truth.ids.keys() - NOT_READ - OF_A_MONTH:
        assert {own_id for run in runs for own_id in run.ids(stream)} == set(truth.ids[stream]), stream
    by_organization: dict[int, dict[int, dict[str, Any]]] = {}
    for run in runs:
        for record in run.records("activities"):
            by_organization.setdefault(record["organization_id"], {})[record["id"]] = record
    expected: dict[int, tuple[Any, ...]] = {}
    for records in by_organization.values():
        expected |= sessions_of(list(records.values()))
    assert warehouse(*runs) == expected


def assert_all_there(known: Recorded, *runs: Run) -> None:
    """What a target has that replaces by key is what there is."""
    for stream in set(known.streams) - {"time_sessions"}:
        newest = {record["id"]: record for run in runs for record in run.records(stream)}
        # Where an edit leaves nothing of a day's work, Hubstaff does not tell of it.
        assert newest.keys() >= known.truth[stream].keys(), stream
        for number, record in known.truth[stream].items():
            assert record.items() <= newest[number].items(), stream
    assert warehouse(*runs) == known.sessions


def assert_little_again(cut: Run, second: Run) -> int:
    """Of what was being read not more than a page comes again; gives how many partitions were.

    What a run went on with is followed by the changes since the run before began, less the vendor's delay.
    """
    unfinished = 0
    for stream, bookmark in cut.states[-1]["bookmarks"].items():
        since = {
            partition["context"]["organization_id"]: iso(parse_iso(partition["resume"]["as_of"]) - DELAY)
            for partition in bookmark.get("partitions", ())
            if "as_of" in partition.get("resume", {})
        }
        numbers = Counter(second.ids(stream))
        for row in second.records(stream) if stream != "time_sessions" else ():
            is_changed = row.get("updated_at", "") >= since.get(row.get("organization_id"), "9999")
            assert numbers[str(row["id"])] == 1 or is_changed, stream
        for partition in bookmark.get("partitions", ()):
            if stream != "time_sessions" and "resume" in partition:
                unfinished += 1
                own = partition["context"]["organization_id"]
                before, after = (
                    {row["id"] for row in run.records(stream) if row["organization_id"] == own} for run in (cut, second)
                )
                assert len(before & after) <= PAGE, stream
    return unfinished


@pytest.mark.usefixtures("few_streams")
@pytest.mark.parametrize("shape", SHAPES)
def test_a_run_goes_on_after_any_state(read: Read, recorded: Callable[[str], Recorded], shape: str) -> None:
    known = recorded(shape)
    states = [place + 1 for place, message in enumerate(known.run.messages) if message["type"] == "STATE"]
    assert len(states) > 5
    chance = random.Random(shape)  # noqa: S311 - the same places in every run
    again: dict[int, Run] = {}
    unfinished = late = 0
    for _ in range(POSITIONS):
        number = chance.randrange(len(states) - 1)
        until_state = known.until(states[number])
        if number not in again:
            state = until_state.states[-1]
            again[number] = read(known.sandbox, known.config, state, *known.streams)
            assert again[number].code == 0, again[number].said("ERROR")
            late += '"late"' in json.dumps(state)
            unfinished += assert_little_again(until_state, again[number])
            assert '"resume"' not in json.dumps(again[number].states[-1])
        # The target had received some more when the tap died, for which there was no STATE yet.
        cut = known.until(chance.randint(states[number], states[number + 1] - 1))
        assert_all_there(known, *known.before, cut, again[number])
    assert unfinished > 0 or shape == "sessions alone"
    assert late > 0 or not known.before


def test_a_killed_run_goes_on_and_never_locks_itself_out(tap: Tap, serve: Serve, settings: Settings) -> None:
    # Each run has to exchange its token before it can write anything; runs that are killed while they do are in
    # test_rotation.
    # The last list is held: no run comes to its end by itself.
    held = Fault(kind="hold", path="/work_break_projects")
    sandbox = serve(held, activity_delay=0.0, reuse="revoke", **SHAPES["two organizations"])
    config = settings(sandbox, days=6, page_size=PAGE, lookback_days=0)
    del config["access_token"]
    config["personal_access_token"] = sandbox.hubstaff.personal_access_token
    chance = random.Random(7)  # noqa: S311 - the same places in every run
    state: Any = None
    runs: list[Run] = []
    for _ in range(3):
        sandbox.hubstaff.expire_access_tokens()
        runs.append(tap(config=config, state=state, kill=chance.randint(1, 150)))
        state = runs[-1].states[-1]
    sandbox.faults.clear()
    sandbox.hubstaff.expire_access_tokens()
    last = tap(config=config, state=state)
    assert last.code == 0, last.said("ERROR")
    assert_together(sandbox, *runs, last)


@pytest.mark.usefixtures("few_streams")
def test_sessions_of_activities_that_failed_are_gone_on_with(read: Read, serve: Serve, settings: Settings) -> None:
    fault = Fault(kind="status", status=403, path="/activities", nth=(5,))
    sandbox = serve(fault, clock="stopped", activity_delay=0.0, history_days=20)
    config = settings(sandbox, days=27, page_size=PAGE, lookback_days=0, max_parallel_requests=1)
    first = read(sandbox, config)
    assert first.code == 1
    assert len([line for line in first.said("ERROR") if line.startswith("Not read: activities")]) == 1
    second = read(sandbox, config, first.states[-1])
    assert second.code == 0, second.said("ERROR")
    assert warehouse(first, second) == sessions_of(sandbox.hubstaff.records("activities"))


@pytest.mark.usefixtures("few_streams")
@pytest.mark.parametrize("days", [0.2, 15], ids=["lately", "long ago"])
@pytest.mark.parametrize("left", ["the state before it", "a place to go on at", "nothing"])
def test_sessions_that_a_killed_run_gave_out_are_superseded(
    *, read: Read, serve: Serve, settings: Settings, monkeypatch: pytest.MonkeyPatch, days: float, left: str
) -> None:
    """Work is uploaded right before a session that only a run knew of whose last STATE was lost."""
    monkeypatch.setattr("singer_http.run.Run.is_due", lambda *_: True)
    sandbox = serve(clock="stopped", organizations=1, shared_members=0, history_days=20, activity_delay=0.0)
    config = settings(sandbox, days=27, page_size=PAGE, lookback_days=1)
    runs = [read(sandbox, config, None, "time_sessions")] if left == "the state before it" else []
    starts = (sandbox.hubstaff.now - timedelta(days=days)).replace(minute=20, second=0, microsecond=0)
    sandbox.hubstaff.advance(HOUR)
    (given,) = sandbox.hubstaff.add([Tracked(starts_at=starts, tracked=600)])
    sandbox.hubstaff.advance(HOUR)
    killed = read(sandbox, config, runs[-1].states[-1] if runs else None, "time_sessions")
    place = next(
        place for place, message in enumerate(killed.messages) if message.get("record", {}).get("id") == int(given)
    )
    states = {
        "the state before it": [run.states[-1] for run in runs],
        "a place to go on at": [message["value"] for message in killed.messages[:place] if message["type"] == "STATE"],
        "nothing": [None],
    }
    sandbox.hubstaff.add([Tracked(starts_at=starts - timedelta(minutes=10), tracked=600)])
    sandbox.hubstaff.advance(HOUR)
    last = read(sandbox, config, states[left][-1], "time_sessions")
    assert last.code == 0, last.said("ERROR")
    assert int(given) in warehouse(killed)
    assert warehouse(*runs, killed, last) == sessions_of(sandbox.hubstaff.records("activities"))


def test_sessions_take_one_request_of_their_own_where_activities_are_read(
    tap: Tap, serve: Serve, settings: Settings
) -> None:
    sandbox = serve(history_days=20, organizations=1, shared_members=0)
    assert tap(config=settings(sandbox, days=27)).code == 0
    (path,) = (path for path in sandbox.report().outcomes if path.endswith("/activities"))
    assert sandbox.report().outcomes[path] == {"200": 5}  # windows of a week, and the hour before them
