"""How old lists may be: what a run leaves out, and what it must not leave out for that."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from api_sandbox import Fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from api_sandbox import RunningSandbox

    from tests.hubstaff.reading import Run

    Settings = Callable[..., dict[str, Any]]
    Serve = Callable[..., RunningSandbox]
    Read = Callable[..., Run]

README = Path(__file__).parents[2] / "tap-hubstaff" / "README.md"
HOUR = 3600


def preset(name: str) -> dict[str, Any]:
    """What the documentation says to set for a schedule."""
    found = re.search(rf"<!-- {name} -->\n```json\n(.*?)\n```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    settings: dict[str, Any] = json.loads(found[1])
    return settings


def test_an_hourly_run_with_nothing_new_takes_twelve_requests(read: Read, serve: Serve, settings: Settings) -> None:
    sandbox = serve(clock="stopped", history_days=2, organizations=1, shared_members=0)
    config = settings(sandbox, **preset("hourly"))
    state, before = None, 0
    runs: dict[int, int] = {}
    for hour in (*range(4), *range(20, 26)):
        sandbox.hubstaff.advance(HOUR * (hour - max(runs, default=0)))
        run = read(sandbox, config, state)
        assert run.code == 0, run.said("ERROR")
        state = run.states[-1]
        runs[hour] = sandbox.report().requests - before
        before = sandbox.report().requests
    a_day = {hour for hour, requests in runs.items() if requests > 12}
    assert a_day in ({0, 23}, {0, 24}), runs


def test_a_daily_preset_names_streams(read: Read, serve: Serve, settings: Settings) -> None:
    sandbox = serve(clock="stopped", history_days=1, organizations=1, shared_members=0)
    config, seldom = settings(sandbox, **preset("daily")), set(preset("daily")["refresh"])
    state = None
    for day in range(8):
        run = read(sandbox, config, state)
        assert run.code == 0, run.said("ERROR")
        state = run.states[-1]
        read_now = {stream for stream in (*seldom, "teams") if run.records(stream)}
        assert read_now == ({*seldom, "teams"} if day in {0, 7} else {"teams"}), day
        sandbox.hubstaff.advance(24 * HOUR)


def test_a_change_waits_until_the_list_is_old(read: Read, serve: Serve, settings: Settings) -> None:
    sandbox = serve(clock="stopped", history_days=1)
    config, streams = settings(sandbox, refresh={"*": 3 * HOUR, "tasks": 0}), ("projects", "tasks", "teams", "notes")
    state, seen = None, []
    for _ in range(5):
        run = read(sandbox, config, state, *streams)
        state = run.states[-1]
        seen.append({stream for stream in streams if run.records(stream)})
        sandbox.hubstaff.edit("projects", 2)
        sandbox.hubstaff.advance(HOUR)
    assert [stream in now for stream in ("projects", "teams") for now in seen] == 2 * [True, False, False, True, False]
    assert all("tasks" in now for now in seen)


def test_another_way_to_read_is_not_left_out(read: Read, serve: Serve, settings: Settings) -> None:
    sandbox = serve(clock="stopped", history_days=1, organizations=1, shared_members=0)
    some = int(sandbox.hubstaff.ids("projects")[0])
    config = settings(sandbox, refresh={"*": 24 * HOUR})
    state, found = None, []
    for more in ({"project_ids": [some]}, {"project_ids": [some]}, {}, {}):
        run = read(sandbox, {**config, **more}, state, "projects")
        state = run.states[-1]
        found.append(len(run.ids("projects")))
    assert found == [1, 0, len(sandbox.hubstaff.ids("projects")), 0]


@pytest.mark.parametrize("setting", ["lookback_days", "reread_days"])
def test_another_part_that_is_read_again_is_read_at_once(
    read: Read, serve: Serve, settings: Settings, setting: str
) -> None:
    sandbox = serve(clock="stopped", history_days=3, organizations=1, shared_members=0)
    config = settings(sandbox, refresh={"*": 24 * HOUR})
    state, found = None, []
    for days in (1, 1, 2, 2):
        sandbox.hubstaff.advance(60)
        run = read(sandbox, {**config, setting: days}, state, "notes", "daily_activities", "time_sessions")
        state = run.states[-1]
        found.append({stream for stream in ("notes", "daily_activities", "time_sessions") if run.ids(stream)})
    assert found[1] == found[3] == set()
    assert found[2] >= {"lookback_days": {"notes"}, "reread_days": {"daily_activities", "time_sessions"}}[setting]


def test_what_failed_is_not_taken_for_read(read: Read, serve: Serve, settings: Settings) -> None:
    sandbox = serve(clock="stopped", history_days=1)
    first, second = sandbox.hubstaff.ids("organizations")
    config = settings(sandbox, refresh={"*": 24 * HOUR})
    sandbox.faults.replace(Fault(kind="status", path=f"/organizations/{second}/projects", status=404))
    runs = [read(sandbox, config, None, "projects", "team_members")]
    sandbox.faults.clear()
    runs.append(read(sandbox, config, runs[0].states[-1], "projects", "team_members"))
    assert [run.code for run in runs] == [1, 0]
    found = [{str(row["organization_id"]) for row in run.records("projects")} for run in runs]
    assert found == [{first}, {second}]
    assert [len(run.ids("team_members")) > 0 for run in runs] == [True, False]


@pytest.mark.parametrize("fails", [False, True])
def test_versions_are_those_of_whole_reads(read: Read, serve: Serve, settings: Settings, fails: bool) -> None:  # noqa: FBT001
    sandbox = serve(clock="stopped", history_days=1)
    second = sandbox.hubstaff.ids("organizations")[1]
    config = settings(sandbox, refresh={"*": 24 * HOUR}, emit_activate_version_messages=True)
    streams = ("projects", "users", "team_members")
    if fails:
        sandbox.faults.replace(Fault(kind="status", path=f"/organizations/{second}/projects", status=404))
    first = read(sandbox, config, None, *streams)
    sandbox.faults.clear()
    again = read(sandbox, config, first.states[-1], *streams)
    activated = [
        {message["stream"] for message in run.messages if message["type"] == "ACTIVATE_VERSION"}
        for run in (first, again)
    ]
    assert activated == [set(streams) - ({"projects"} if fails else set()), {"projects"} if fails else set()]
    everything = Counter(sandbox.hubstaff.ids("projects"))
    assert Counter(again.ids("projects")) == (everything if fails else Counter())
    assert not [line for line in again.said("WARNING") if "ACTIVATE_VERSION" in line]


@pytest.mark.parametrize(
    ("status", "expected"), [(403, ("activities",)), (403, ("activities", "time_sessions")), (404, ())]
)
def test_work_sessions_that_their_activities_brought_down_are_read_again(  # noqa: PLR0917 - fixtures
    read: Read, serve: Serve, settings: Settings, tmp_path: Path, status: int, expected: tuple[str, ...]
) -> None:
    sandbox = serve(clock="stopped", history_days=2, organizations=1, shared_members=0)
    report = tmp_path / "report.json"
    config = settings(sandbox, refresh={"*": 24 * HOUR}, skip_forbidden=[*expected], report_path=str(report))
    streams = ("activities", "time_sessions")
    sandbox.faults.replace(Fault(kind="status", path="/activities", status=status))
    failed = read(sandbox, config, None, *streams)
    named = {line.split()[2] for line in failed.said("ERROR") if line.startswith("Not read")}
    assert named == {*streams} - {*expected}
    assert failed.code == bool(named)
    for stream, told in json.loads(report.read_text())["streams"].items():
        assert (told["remark"] == "a part of it could not be read") == (stream in named)
    sandbox.faults.replace()
    sandbox.hubstaff.advance(HOUR)
    again = read(sandbox, config, failed.states[-1], *streams)
    assert again.code == 0
    assert all(again.records(stream) for stream in streams)


@pytest.mark.parametrize("path", ["/activities", "/activities/updates"])
@pytest.mark.parametrize("streams", [("time_sessions",), ("activities", "time_sessions")])
def test_a_list_that_could_not_be_read_is_not_called_read(
    read: Read, serve: Serve, settings: Settings, path: str, streams: tuple[str, ...]
) -> None:
    sandbox = serve(clock="stopped", history_days=2, organizations=1, shared_members=0)
    config = settings(sandbox, refresh={"*": 2 * HOUR})
    whole = read(sandbox, config, None, *streams).states[-1]
    sandbox.hubstaff.advance(3 * HOUR)
    sandbox.faults.replace(Fault(kind="status", path=path, status=404))
    failed = read(sandbox, config, whole, *streams)
    named = {line.split()[2] for line in failed.said("ERROR") if line.startswith("Not read")}
    assert "time_sessions" in named
    sandbox.faults.replace()
    again = read(sandbox, config, failed.states[-1], *streams)
    assert again.code == 0
    for stream in streams:
        first, second, third = (
            state["bookmarks"][stream]["partitions"][0]["read_at"]
            for state in (whole, failed.states[-1], again.states[-1])
        )
        assert first < third
        assert (first == second) == (stream in named)
