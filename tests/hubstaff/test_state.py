"""Two runs with other settings, clocks and states between them: what is wanted is there after each, as it is."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from api_sandbox import Tracked
from tap_hubstaff.times import midnight, parse_iso

from tests.hubstaff.reading import SandboxClock
from tests.hubstaff.reading import read as read_with
from tests.hubstaff.test_run import DAY, sessions_of, warehouse

if TYPE_CHECKING:
    from collections.abc import Callable

    from api_sandbox import RunningSandbox

    from tests.hubstaff.reading import Run

    Settings = Callable[..., dict[str, Any]]
    Serve = Callable[..., RunningSandbox]
    Read = Callable[..., Run]

HOUR = 3600
RELEASED = sorted((Path(__file__).parent / "states").glob("*.json"))
ONE = {"organizations": 1, "shared_members": 0, "history_days": 30, "members": 5, "activity_delay": 0.0}
STREAMS = ("activities", "daily_activities", "notes", "time_sessions")


def table(stream: str, *runs: Run) -> dict[int, dict[str, Any]]:
    """What a loader has that replaces by key."""
    return {record["id"]: record for run in runs for record in run.records(stream)}


def assert_true(sandbox: RunningSandbox, *runs: Run, since: Any = None, streams: tuple[str, ...] = STREAMS) -> None:
    """What there is since a day is in the table, as it is."""
    assert runs[-1].code == 0, runs[-1].said("ERROR")
    for stream in set(streams) - {"time_sessions"}:
        kept = table(stream, *runs)
        for row in sandbox.hubstaff.records(stream):
            if since is None or parse_iso(row.get("time_slot") or row["date"]) >= since:
                assert row["id"] in kept, stream
                assert stream == "notes" or row.items() <= kept[row["id"]].items(), stream
    if since is None and "time_sessions" in streams:
        assert warehouse(*runs) == sessions_of(sandbox.hubstaff.records("activities"))


@pytest.fixture
def change() -> Callable[[RunningSandbox], None]:
    """Something happens in an organization, also to what is long over; and some hours go by."""

    def happen(sandbox: RunningSandbox, hours: int = 30) -> None:
        sandbox.hubstaff.edit("activities", 30)
        sandbox.hubstaff.add_late(20, days=25)
        sandbox.hubstaff.advance(hours * HOUR)

    return happen


@pytest.mark.parametrize(
    "streams", [("daily_activities",), ("activities", "time_sessions"), ("time_sessions",)], ids=str
)
def test_a_first_load_that_was_cut_off_misses_no_change(
    *, read: Read, serve: Serve, settings: Settings, change: Any, streams: tuple[str, ...], monkeypatch: Any
) -> None:
    monkeypatch.setattr("singer_http.run.Run.is_due", lambda *_: True)
    sandbox = serve(clock="stopped", **ONE)
    config = settings(sandbox, page_size=40, lookback_days=0)
    whole = read(sandbox, config, None, *streams)
    lines = whole.stdout.splitlines(keepends=True)
    places = [
        place + 1
        for place, message in enumerate(whole.messages)
        if message["type"] == "STATE" and '"cursor"' in json.dumps(message["value"])
    ]
    place = places[len(places) // 2]
    cut = type(whole)(0, b"".join(lines[:place]), "")
    change(sandbox)
    rest = read(sandbox, config, cut.states[-1], *streams)
    assert_true(sandbox, cut, rest, streams=streams)
    assert len(table(streams[0], rest)) < len(table(streams[0], whole))  # it went on, and did not begin anew
    change(sandbox)
    assert_true(sandbox, cut, rest, read(sandbox, config, rest.states[-1], *streams), streams=streams)


FILTERS = ("user_ids", "project_ids", "task_ids")


@pytest.mark.parametrize("setting", FILTERS)
def test_a_filter_for_one_run_loses_nothing_of_the_others(
    read: Read, serve: Serve, settings: Settings, change: Any, setting: str
) -> None:
    sandbox = serve(clock="stopped", **ONE)
    config = settings(sandbox, lookback_days=1)
    runs = [read(sandbox, config, None, *STREAMS)]
    for _ in range(2):
        change(sandbox)
        some = [row for row in sandbox.hubstaff.records("activities") if row[setting.removesuffix("s")]][::40]
        narrow = {**config, setting: sorted({row[setting.removesuffix("s")] for row in some})[:2]}
        runs.append(read(sandbox, narrow, runs[-1].states[-1], *STREAMS))
        assert runs[-1].code == 0
        assert {row[setting.removesuffix("s")] for row in runs[-1].records("activities")} <= set(narrow[setting])
        change(sandbox)
        before = len(runs[0].records("activities"))
        runs.append(read(sandbox, config, runs[-1].states[-1], *STREAMS))
        assert_true(sandbox, *runs)
        assert len(runs[-1].records("activities")) < before  # it went on where it had come to itself


@pytest.mark.parametrize("days", [0.2, 15], ids=["lately", "long ago"])
@pytest.mark.parametrize("streams", [("activities", "time_sessions"), ("time_sessions",)], ids=len)
def test_sessions_that_a_narrower_run_gave_out_are_superseded_by_a_wider_one(
    *, read: Read, serve: Serve, settings: Settings, days: float, streams: tuple[str, ...]
) -> None:
    sandbox = serve(clock="stopped", **ONE)
    config = settings(sandbox, lookback_days=1)
    runs = [read(sandbox, config, None, *streams)]
    starts = sandbox.hubstaff.now - timedelta(days=days)
    starts = starts.replace(minute=20, second=0, microsecond=0)
    sandbox.hubstaff.advance(HOUR)
    (given,) = sandbox.hubstaff.add([Tracked(starts_at=starts, tracked=600)])
    sandbox.hubstaff.advance(HOUR)
    user = next(row["user_id"] for row in sandbox.hubstaff.records("activities") if str(row["id"]) == given)
    runs.append(read(sandbox, {**config, "user_ids": [user]}, runs[-1].states[-1], *streams))
    assert int(given) in warehouse(runs[-1])
    sandbox.hubstaff.add([Tracked(starts_at=starts - timedelta(minutes=10), tracked=600)])
    sandbox.hubstaff.advance(HOUR)
    runs.append(read(sandbox, config, runs[-1].states[-1], *streams))
    assert_true(sandbox, *runs, streams=streams)
    assert int(given) not in warehouse(*runs)


@pytest.mark.parametrize("full", [(), (1,)], ids=str)
@pytest.mark.parametrize("is_narrow", [(True, False), (False, True), (False, False)], ids=str)
def test_sessions_whose_end_was_seen_first_are_superseded(
    *, read: Read, serve: Serve, settings: Settings, is_narrow: tuple[bool, bool], full: tuple[int, ...]
) -> None:
    sandbox = serve(clock="stopped", **{**ONE, "activity_delay": 1200.0, "history_days": 2})
    config = settings(sandbox, lookback_days=20)
    noons = [(sandbox.hubstaff.now - timedelta(days=days)).replace(minute=20, second=0) for days in range(3, 15)]
    pairs = [[Tracked(starts_at=noon + timedelta(minutes=ten), tracked=600) for ten in (0, 10)] for noon in noons]
    ids = [int(number) for pair in pairs for number in sandbox.hubstaff.add(pair)]
    sandbox.hubstaff.advance(600)  # half of them can be seen by now
    user = next(row["user_id"] for row in sandbox.hubstaff.records("activities") if row["id"] == ids[0])
    runs: list[Any] = []
    for number, narrow in enumerate(is_narrow):
        each = {**config, **({"user_ids": [user]} if narrow else {})}
        whole = ("time_sessions",) if number in full else ()
        runs.append(read(sandbox, each, runs[-1].states[-1] if runs else None, "time_sessions", full=whole))
        assert runs[-1].code == 0, runs[-1].said("ERROR")
        if not number:
            assert warehouse(*runs).keys() & set(ids[1::2])  # ends alone
            sandbox.hubstaff.advance(HOUR)
    assert not warehouse(*runs).keys() & set(ids[1::2])


@pytest.mark.parametrize("stream", ["activities", "time_sessions"])
def test_a_full_table_of_a_filter_that_was_cut_off_is_not_that_of_all(
    read: Read, serve: Serve, settings: Settings, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("singer_http.run.Run.is_due", lambda *_: True)
    sandbox = serve(clock="stopped", **ONE)
    config = settings(sandbox, page_size=40)
    narrow = {**config, "user_ids": [sandbox.hubstaff.records("activities")[0]["user_id"]]}
    first = read(sandbox, narrow, None, stream, full=(stream,))
    places = [place for place, message in enumerate(first.messages) if '"cursor"' in json.dumps(message)]
    cut = type(first)(0, b"".join(first.stdout.splitlines(keepends=True)[: places[0] + 1]), "")
    runs = [cut, read(sandbox, config, cut.states[-1], stream)]
    assert_true(sandbox, *runs, streams=(stream,))


def test_sessions_follow_what_is_changed_before_an_end_date_that_is_long_past(
    read: Read, serve: Serve, settings: Settings, change: Any
) -> None:
    sandbox = serve(clock="stopped", **ONE)
    config = settings(sandbox, lookback_days=1)
    end = sandbox.hubstaff.now - timedelta(days=10)
    runs = [read(sandbox, config, None, "time_sessions")]
    for _ in range(2):
        change(sandbox)
        ended = {**config, "end_date": end.date().isoformat()}
        runs.append(read(sandbox, ended, runs[-1].states[-1], "time_sessions"))
        assert runs[-1].code == 0, runs[-1].said("ERROR")
        last = midnight(end).timestamp()
        expected, found = sessions_of(sandbox.hubstaff.records("activities")), warehouse(*runs)
        assert {number: one for number, one in found.items() if one[4] <= last} == {
            number: one for number, one in expected.items() if one[4] <= last
        }
    change(sandbox)
    runs.append(read(sandbox, config, runs[-1].states[-1], "time_sessions"))
    assert_true(sandbox, *runs, streams=("time_sessions",))


@pytest.mark.parametrize("first", [None, 3, 5], ids=["no end before", "the same end", "an earlier end"])
def test_work_that_was_deleted_before_an_end_date_is_in_no_session(
    *, read: Read, serve: Serve, settings: Settings, first: int | None
) -> None:
    sandbox = serve(clock="stopped", **ONE)
    config = settings(sandbox, lookback_days=40)
    days = {days: sandbox.hubstaff.now - timedelta(days=days) for days in (3, 5)}
    ends = {day: {"end_date": end.date().isoformat()} for day, end in days.items()}
    last = midnight(days[3]).timestamp()
    runs = [read(sandbox, {**config, **(ends[first] if first else {})}, None, "time_sessions")]
    sandbox.hubstaff.delete("activities", 60)
    sandbox.hubstaff.advance(HOUR)
    runs.append(read(sandbox, {**config, **ends[3]}, runs[-1].states[-1], "time_sessions"))
    assert runs[-1].code == 0, runs[-1].said("ERROR")
    expected, found = sessions_of(sandbox.hubstaff.records("activities")), warehouse(*runs)
    assert {number: one for number, one in found.items() if one[4] <= last} == {
        number: one for number, one in expected.items() if one[4] <= last
    }
    runs.append(read(sandbox, config, runs[-1].states[-1], "time_sessions"))
    assert_true(sandbox, *runs, streams=("time_sessions",))


def test_sessions_after_an_end_date_are_not_called_gone(read: Read, serve: Serve, settings: Settings) -> None:
    sandbox = serve(clock="stopped", **ONE)
    config = settings(sandbox, lookback_days=10)
    runs = [read(sandbox, config, None, "time_sessions")]
    end = (sandbox.hubstaff.now - timedelta(days=3)).date().isoformat()
    sandbox.hubstaff.advance(HOUR)
    for more in ({"end_date": end}, dict[str, Any]()):
        runs.append(read(sandbox, {**config, **more}, runs[-1].states[-1], "time_sessions"))
        assert_true(sandbox, *runs, streams=("time_sessions",))


def test_sessions_that_a_wider_run_gave_out_after_an_end_date_are_superseded(
    read: Read, serve: Serve, settings: Settings
) -> None:
    sandbox = serve(clock="stopped", **ONE)
    config = settings(sandbox, lookback_days=1)
    starts = (sandbox.hubstaff.now - timedelta(days=5)).replace(minute=20, second=0, microsecond=0)
    (given,) = sandbox.hubstaff.add([Tracked(starts_at=starts, tracked=600)])
    sandbox.hubstaff.advance(HOUR)
    user = next(row["user_id"] for row in sandbox.hubstaff.records("activities") if str(row["id"]) == given)
    narrow = {**config, "user_ids": [user]}
    ended = {**narrow, "end_date": (starts - timedelta(days=3)).date().isoformat()}
    runs = [read(sandbox, config, None, "time_sessions")]
    assert int(given) in warehouse(*runs)
    sandbox.hubstaff.add([Tracked(starts_at=starts - timedelta(minutes=10), tracked=600)])
    sandbox.hubstaff.advance(HOUR)
    for each in (ended, narrow):
        runs.append(read(sandbox, each, runs[-1].states[-1], "time_sessions"))
    assert runs[-1].code == 0, runs[-1].said("ERROR")
    assert warehouse(*runs) == sessions_of(sandbox.hubstaff.records("activities"))


def test_the_bookmarks_of_few_filters_are_kept(read: Read, serve: Serve, settings: Settings) -> None:
    sandbox = serve(clock="stopped", **{**ONE, "history_days": 3})
    run = read(sandbox, settings(sandbox), None, "notes")
    for user in range(1, 15):
        sandbox.hubstaff.advance(HOUR)
        run = read(sandbox, settings(sandbox, user_ids=[user]), run.states[-1], "notes")
    partitions = run.states[-1]["bookmarks"]["notes"]["partitions"]
    assert len(partitions) == 9
    assert "filters" not in partitions[0]["context"]


@pytest.mark.parametrize("streams", [STREAMS, ("time_sessions",)], ids=len)
def test_an_earlier_start_date_brings_what_is_missing(
    read: Read, serve: Serve, settings: Settings, change: Any, streams: tuple[str, ...]
) -> None:
    sandbox = serve(clock="stopped", **ONE)
    late, early = settings(sandbox, days=9, lookback_days=0), settings(sandbox, days=40, lookback_days=0)
    runs = [read(sandbox, late, None, *streams)]
    start = parse_iso(late["start_date"])
    assert_true(sandbox, *runs, since=start, streams=streams)
    change(sandbox)
    runs.append(read(sandbox, late, runs[-1].states[-1], *streams))
    for stream in {"activities", "daily_activities"} & set(streams):
        times = [parse_iso(row.get("time_slot") or row["date"]) for run in runs for row in run.records(stream)]
        assert min(times) >= start  # also of what updates tell of
    change(sandbox)
    runs.append(read(sandbox, early, runs[-1].states[-1], *streams))
    assert_true(sandbox, *runs, streams=streams)
    change(sandbox)
    runs.append(read(sandbox, late, runs[-1].states[-1], *streams))
    change(sandbox)
    runs.append(read(sandbox, early, runs[-1].states[-1], *streams))
    assert_true(sandbox, *runs, streams=streams)


@pytest.mark.parametrize("days", [1, 4])
def test_an_end_date_that_is_set_and_removed_loses_nothing(
    read: Read, serve: Serve, settings: Settings, change: Any, days: int
) -> None:
    sandbox = serve(clock="stopped", zones=("Asia/Tokyo",), **ONE)
    config = settings(sandbox, lookback_days=1)
    end = (sandbox.hubstaff.now - timedelta(days=days)).date()
    ended = {**config, "end_date": end.isoformat()}
    runs = [read(sandbox, ended, None, *STREAMS)]
    assert max(row["date"] for row in runs[0].records("daily_activities")) <= end.isoformat()
    change(sandbox)
    runs.append(read(sandbox, ended, runs[-1].states[-1], *STREAMS))
    stop = midnight(parse_iso(end.isoformat())) + timedelta(days=1)
    assert max(parse_iso(row["time_slot"]) for row in runs[-1].records("activities")) < stop
    change(sandbox)
    runs.append(read(sandbox, config, runs[-1].states[-1], *STREAMS))
    assert_true(sandbox, *runs)


@pytest.mark.parametrize("off", [2 * DAY, -2 * DAY])
def test_the_time_is_the_apis(serve: Serve, settings: Settings, change: Any, off: float) -> None:
    sandbox = serve(clock="stopped", **ONE)
    config = settings(sandbox)
    runs = [read_with(SandboxClock(sandbox.hubstaff, off), config, None, STREAMS)]
    for partition in runs[0].states[-1]["bookmarks"]["activities"]["partitions"]:
        assert parse_iso(partition["replication_key_value"]) <= sandbox.hubstaff.now
    change(sandbox)
    runs.append(read_with(SandboxClock(sandbox.hubstaff), config, runs[-1].states[-1], STREAMS))
    assert_true(sandbox, *runs)


def test_a_bookmark_of_the_future_is_read_from_again(read: Read, serve: Serve, settings: Settings, change: Any) -> None:
    sandbox = serve(clock="stopped", **ONE)
    config = settings(sandbox)
    runs = [read(sandbox, config, None, *STREAMS)]
    state = json.loads(json.dumps(runs[0].states[-1]))
    for stream in STREAMS:
        for partition in state["bookmarks"][stream]["partitions"]:
            partition["replication_key_value"] = "2096-01-01T00:00:00Z"
    change(sandbox)
    runs.append(read(sandbox, config, state, *STREAMS))
    assert_true(sandbox, *runs)
    assert len([line for line in runs[-1].said("WARNING") if "future" in line]) == len(STREAMS)


def test_links_are_read_again_with_another_filter(read: Read, serve: Serve, settings: Settings) -> None:
    sandbox = serve(clock="stopped", **ONE)
    config = settings(sandbox)
    some = sandbox.hubstaff.records("integration_tasks")[0]["project_id"]
    narrow = read(sandbox, {**config, "project_ids": [some]}, None, "integration_tasks")
    assert {row["project_id"] for row in narrow.records("integration_tasks")} == {some}
    wide = read(sandbox, config, narrow.states[-1], "integration_tasks")
    assert set(wide.ids("integration_tasks")) == set(sandbox.hubstaff.ids("integration_tasks"))
    again = read(sandbox, config, wide.states[-1], "integration_tasks")
    assert again.ids("integration_tasks") == []


@pytest.mark.parametrize("path", RELEASED, ids=lambda path: path.stem)
def test_the_state_of_every_released_layout_loses_nothing(
    read: Read, serve: Serve, settings: Settings, path: Path
) -> None:
    sandbox = serve(clock="stopped", **ONE)
    own = sandbox.hubstaff.ids("organizations")[0]
    state = json.loads(path.read_text().replace("20019", own))
    run = read(sandbox, settings(sandbox), state)
    assert run.code == 0, run.said("ERROR")
    assert_true(sandbox, run)
    warned = {line.partition(":")[0] for line in run.said("WARNING")}
    assert warned >= set(STREAMS)
