"""A whole run against the sandbox's truth, and the runs after it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from api_sandbox import HubstaffForbidden
from tap_hubstaff.times import parse_iso
from tap_hubstaff.work_sessions.model import Activity, Builder, Carryover, WorkSession

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from api_sandbox import RunningSandbox

    from tests.hubstaff.reading import Run

    Settings = Callable[..., dict[str, Any]]
    Serve = Callable[..., RunningSandbox]
    Tap = Callable[..., Run]
    Read = Callable[..., Run]

DAY = 86_400
NOT_READ = {"tracking_states"}
"""What the sandbox has and no document describes."""
OF_A_MONTH = {"tool_usages", "daily_tool_usages"}
"""What the vendor gives for a month only: the sandbox's truth has all of it."""


def assert_complete(run: Run, sandbox: RunningSandbox) -> None:
    """Everything there is, once, and nothing else: of the two users in both organizations too."""
    truth = sandbox.hubstaff.truth
    for stream, ids in truth.ids.items():
        if stream in NOT_READ:
            continue
        assert Counter(run.ids(stream)) == Counter(ids), stream


def build(activities: Sequence[Activity]) -> list[WorkSession]:
    """The sessions of a whole history."""
    stop = max((activity.slot for activity in activities), default=0) + 1
    sessions = Builder(Carryover(0)).add_window(activities, stop)
    return [session for session in sessions if session.superseded_by is None]


@cache
def seconds(text: str) -> int:
    """A time of a record, in seconds since 1970; lives ask for the same ones after every run."""
    return int(parse_iso(text).timestamp())


def sessions_of(records: list[dict[str, Any]]) -> dict[int, tuple[Any, ...]]:
    """What the sessions of all activities are, by our own reading of the vendor's words."""
    activities = [
        Activity(
            record["id"],
            (record["user_id"], record["project_id"], record["task_id"]),
            seconds(record["starts_at"]),
            record["tracked"],
            seconds(record["time_slot"]),
            date=record["date"],
            billable=record["tracked"] if record["billable"] else 0,
            overall=record["overall"],
            time_type=record["time_type"],
        )
        for record in records
    ]
    return {
        session.id: (
            *session.work,
            session.starts,
            session.stops,
            session.tracked,
            session.activities,
            session.date,
            session.billable,
            session.overall,
            session.time_type,
            session.days,
        )
        for session in build(activities)
    }


def warehouse(*runs: Run) -> dict[int, tuple[Any, ...]]:
    """The sessions as a target keeps them that replaces by key, less those that are superseded."""
    return counting({record["id"]: record for run in runs for record in run.records("time_sessions")})


def counting(rows: dict[int, dict[str, Any]]) -> dict[int, tuple[Any, ...]]:
    """Those sessions of a table that are not superseded, as :func:`sessions_of` gives them."""
    return {
        number: (
            row["user_id"],
            row["project_id"],
            row["task_id"],
            seconds(row["started_at"]),
            seconds(row["stopped_at"]),
            row["tracked"],
            row["activities"],
            row["date"],
            row["billable"],
            row["overall"],
            row["time_type"],
            row["tracked_by_date"],
        )
        for number, row in rows.items()
        if row["superseded_by"] is None
    }


@pytest.mark.parametrize("shape", [{"history_days": 20}, {"organizations": 1, "members": 9, "history_days": 25}])
def test_everything_arrives_once(tap: Tap, serve: Serve, settings: Settings, shape: dict[str, Any]) -> None:
    sandbox = serve(activity_delay=0.0, **shape)
    run = tap(config=settings(sandbox, days=27))
    assert run.code == 0, run.said("ERROR")
    assert_complete(run, sandbox)
    by_organization: dict[int, list[dict[str, Any]]] = {}
    for record in run.records("activities"):
        by_organization.setdefault(record["organization_id"], []).append(record)
    expected: dict[int, tuple[Any, ...]] = {}
    for records in by_organization.values():
        expected |= sessions_of(records)
    assert warehouse(run) == expected
    assert not [line for line in run.said("WARNING") if "properties that the schema does not know" in line]


def test_small_pages_and_one_request_at_a_time_make_no_difference(tap: Tap, serve: Serve, settings: Settings) -> None:
    sandbox = serve(history_days=6, activity_delay=0.0)

    def records(run: Run) -> dict[str, list[Any]]:
        assert run.code == 0, run.said("ERROR")
        found: dict[str, list[Any]] = {}
        for message in run.messages:
            if message["type"] == "RECORD":
                found.setdefault(message["stream"], []).append(message["record"])
        return {stream: sorted(rows, key=lambda row: json.dumps(row, sort_keys=True)) for stream, rows in found.items()}

    many = records(tap(config=settings(sandbox, days=8)))
    assert records(tap(config=settings(sandbox, days=8, max_parallel_requests=1))) == many
    assert records(tap(config=settings(sandbox, days=8, page_size=13))) == many


def test_records_are_as_the_api_gives_them(tap: Tap, serve: Serve, settings: Settings) -> None:
    sandbox = serve(history_days=5)
    run = tap(config=settings(sandbox, days=7))
    for stream in ("projects", "tasks", "activities", "client_invoices", "notes", "rates"):
        expected = {record["id"]: record for record in sandbox.hubstaff.records(stream)}
        for record in run.records(stream):
            assert record.pop("organization_id") is not None
            expected[record["id"]].pop("organization_id", None)
            assert record.items() <= {**record, **expected[record["id"]]}.items()
            assert expected[record["id"]].keys() - record.keys() == set(), stream
    assert {record["trackable"] for record in run.records("members")} <= {"true", "false", "viewer"}


def test_edits_and_late_rows_arrive(read: Read, serve: Serve, settings: Settings) -> None:
    sandbox = serve(clock="stopped", members=4, history_days=40)
    hubstaff = sandbox.hubstaff
    edited = ("projects", "tasks", "members", "timesheets", "time_off_requests")
    streams = ("activities", "daily_activities", "screenshots", "notes", *edited)
    runs = [read(sandbox, settings(sandbox), None, *streams)]
    for _ in range(2):
        hubstaff.edit("activities", 250)
        hubstaff.add_late(250, days=30)
        for stream in edited:
            hubstaff.edit(stream, 5)
        hubstaff.advance(2 * DAY)
        runs.append(read(sandbox, settings(sandbox), runs[-1].states[-1], *streams))
    assert [run.code for run in runs] == [0, 0, 0], runs[-1].said("ERROR")
    for stream in set(streams) - {"members"}:
        newest = {record["id"]: record for run in runs for record in run.records(stream)}
        for expected in hubstaff.records(stream):
            expected.pop("organization_id", None)
            found = {name: newest[expected["id"]].get(name) for name in expected}
            assert found == expected, stream
    newest_members = {(row["organization_id"], row["user_id"]): row for run in runs for row in run.records("members")}
    assert {row["updated_at"] for row in newest_members.values()} == {
        row["updated_at"] for row in hubstaff.records("members")
    }


def test_sessions_follow_what_comes_late_within_the_lookback(read: Read, serve: Serve, settings: Settings) -> None:
    sandbox = serve(clock="stopped", organizations=1, shared_members=0, history_days=12)
    config = settings(sandbox, lookback_days=20)
    runs = [read(sandbox, config, None, "time_sessions")]
    for _ in range(4):
        sandbox.hubstaff.add_late(40, days=9)
        sandbox.hubstaff.edit("activities", 40)
        sandbox.hubstaff.delete("activities", 10)
        sandbox.hubstaff.advance(DAY)
        runs.append(read(sandbox, config, runs[-1].states[-1], "time_sessions"))
    assert all(run.code == 0 for run in runs)
    assert warehouse(*runs) == sessions_of(sandbox.hubstaff.records("activities"))
    assert any(row["superseded_by"] for run in runs for row in run.records("time_sessions"))


def test_after_a_long_pause_the_windows_are_read_again(read: Read, serve: Serve, settings: Settings) -> None:
    sandbox = serve(clock="stopped", organizations=1, shared_members=0)
    config = settings(sandbox)
    first = read(sandbox, config, None, "activities")
    sandbox.hubstaff.edit("activities", 50)
    sandbox.hubstaff.advance(50 * DAY)
    second = read(sandbox, config, first.states[-1], "activities")
    assert ["longer ago" in line for line in second.said("WARNING")] == [True]
    assert set(second.ids("activities")) == set(sandbox.hubstaff.ids("activities"))


def test_an_end_date_ends_it(read: Read, serve: Serve, settings: Settings) -> None:
    sandbox = serve(clock="stopped", organizations=1, shared_members=0)
    end = parse_iso(f"{sandbox.hubstaff.now.date()}").date()
    end = end.replace(day=1)
    run = read(sandbox, settings(sandbox, end_date=end.isoformat()), None, "activities", "daily_activities")
    expected = {
        str(row["id"]) for row in sandbox.hubstaff.records("activities") if row["time_slot"][:10] <= end.isoformat()
    }
    assert set(run.ids("activities")) == expected
    assert {row["date"] for row in run.records("daily_activities")} <= {
        row["date"] for row in sandbox.hubstaff.records("daily_activities") if row["date"] <= end.isoformat()
    }


def test_filters_are_asked_of_the_api(read: Read, serve: Serve, settings: Settings) -> None:
    sandbox = serve(clock="stopped", organizations=1, shared_members=0)
    some = sandbox.hubstaff.records("activities")[0]
    users, project = [some["user_id"], int(sandbox.hubstaff.ids("users")[-1])], some["project_id"]
    run = read(
        sandbox, settings(sandbox, user_ids=users, project_ids=[project]), None, "activities", "users", "projects"
    )
    assert {row["user_id"] for row in run.records("activities")} <= set(users)
    assert {row["project_id"] for row in run.records("activities")} == {project}
    assert {row["id"] for row in run.records("users")} == set(users)
    assert [row["id"] for row in run.records("projects")] == [project]


def test_what_is_forbidden_is_named_and_the_rest_goes_on(tap: Tap, serve: Serve, settings: Settings) -> None:
    sandbox = serve(
        history_days=5,
        forbidden=(HubstaffForbidden(stream="screenshots"), HubstaffForbidden(stream="notes", organizations=(1,))),
    )
    config = settings(sandbox, days=7)
    run = tap(config=config)
    assert run.code == 1
    named = [line for line in run.said("ERROR") if line.startswith("Not read")]
    assert len(named) == 3
    assert run.ids("notes")
    assert set(run.ids("activities")) == set(sandbox.hubstaff.ids("activities"))
    assert tap(config={**config, "skip_forbidden": ["screenshots", "notes"]}).code == 0


def test_an_organization_without_a_plan_is_said_once(tap: Tap, serve: Serve, settings: Settings) -> None:
    sandbox = serve(history_days=5, inactive_organizations=(1,))
    run = tap(config=settings(sandbox, days=7))
    assert run.code == 1
    named = [line for line in run.said("ERROR") if line.startswith("Not read")]
    assert len(named) == 1
    assert "active plan" in named[0]
    organizations = {row.get("organization_id") for row in run.records("activities")}
    assert len(organizations) == 1


def test_a_plain_member_is_told(tap: Tap, serve: Serve, settings: Settings) -> None:
    sandbox = serve(history_days=5, role="user", organizations=1, shared_members=0)
    run = tap(config=settings(sandbox, days=7))
    assert run.code == 1
    assert any("plain member" in line for line in run.said("ERROR"))


def test_what_was_deleted_is_told_by_not_coming_again(read: Read, serve: Serve, settings: Settings) -> None:
    sandbox = serve(clock="stopped", organizations=1, shared_members=0, history_days=10, activity_delay=0.0)
    config = settings(sandbox, reread_days=30)
    streams = ("activities", "daily_activities", "time_sessions")
    first = read(sandbox, config, None, *streams)
    gone = set(sandbox.hubstaff.delete("activities", 9))
    sandbox.hubstaff.advance(3600)
    second = read(sandbox, config, first.states[-1], *streams)
    assert gone <= set(first.ids("activities"))
    assert set(first.ids("activities")) - set(second.ids("activities")) == gone
    assert warehouse(first, second) == sessions_of(sandbox.hubstaff.records("activities"))
    third = read(sandbox, config, second.states[-1], "activities")
    assert set(third.ids("activities")) >= set(sandbox.hubstaff.ids("activities"))


def test_a_windowed_stream_can_be_read_whole(tap: Tap, serve: Serve, settings: Settings) -> None:
    sandbox = serve(history_days=7, activity_delay=0.0)
    config = settings(sandbox, days=9, page_size=30, emit_activate_version_messages=True)
    catalog = json.loads(tap("--discover", config=config).stdout)
    for entry in catalog["streams"]:
        if entry["stream"] in {"activities", "time_sessions", "daily_activities"}:
            entry["replication_method"] = "FULL_TABLE"
    first = tap(config=config, catalog=catalog)
    assert first.code == 0, first.said("ERROR")
    second = tap(config=config, catalog=catalog, state=first.states[-1])
    for run in (first, second):
        assert sorted(run.ids("activities")) == sorted(sandbox.hubstaff.ids("activities"))
        activated = [message["stream"] for message in run.messages if message["type"] == "ACTIVATE_VERSION"]
        assert {"members", "projects"} <= set(activated)
        assert not {"activities", "time_sessions", "daily_activities", "notes"} & set(activated)
    lines = first.stdout.splitlines(keepends=True)
    for number, message in enumerate(first.messages):
        if message["type"] == "STATE" and "cursor" in json.dumps(message["value"]["bookmarks"].get("activities", {})):
            cut = replace(first, stdout=b"".join(lines[: number + 1]))
            rest = tap(config=config, catalog=catalog, state=cut.states[-1])
            both = Counter(cut.ids("activities") + rest.ids("activities"))
            assert both == Counter(sandbox.hubstaff.ids("activities"))
            assert warehouse(cut, rest) == warehouse(first)
            break
    else:
        pytest.fail("no state was written while activities were read")
