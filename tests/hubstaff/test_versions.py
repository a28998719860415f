"""ACTIVATE_VERSION: it removes nothing that a later run does not bring again."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from tap_hubstaff.account import Account

from tests.hubstaff.truth import Table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from api_sandbox import RunningSandbox

    from tests.hubstaff.reading import Run

    Settings = Callable[..., dict[str, Any]]
    Serve = Callable[..., RunningSandbox]
    Read = Callable[..., Run]

HOUR = 3600
WINDOWED = ("activities", "daily_activities", "notes", "time_sessions")
OWNED = ("integration_project_links", "integration_tasks", "integration_user_links", "team_members", "team_projects")
LITTLE = {"clock": "stopped", "history_days": 20, "members": 4, "activities_per_day": 2, "activity_delay": 0.0}


def table(*runs: Run) -> Table:
    """What a loader has after some runs."""
    loaded = Table()
    for run in runs:
        assert run.code == 0, run.said("ERROR")
        for message in run.messages:
            loaded.load(message)
    return loaded


def activated(run: Run) -> set[str]:
    return {message["stream"] for message in run.of_type("ACTIVATE_VERSION")}


def narrower(sandbox: RunningSandbox, setting: str) -> Any:
    """A value of a setting that asks for a part of what is there."""
    if setting.endswith("_date"):
        return (sandbox.hubstaff.now - timedelta(days=9)).date().isoformat()
    return [int(sandbox.hubstaff.ids(setting.removesuffix("_ids") + "s")[0])]


@pytest.mark.parametrize("setting", ["start_date", "end_date", "user_ids", "project_ids", "organization_ids"])
def test_a_narrower_full_read_between_two_others_loses_nothing(
    read: Read, serve: Serve, settings: Settings, setting: str
) -> None:
    sandbox = serve(**LITTLE)
    config = settings(sandbox, emit_activate_version_messages=True)
    streams = (*WINDOWED, "projects")
    runs = [read(sandbox, config, None, *streams)]
    everything = {stream: set(sandbox.hubstaff.ids(stream)) for stream in set(streams) - {"time_sessions"}}
    sessions = table(*runs).rows["time_sessions"].keys()
    for more, full in (({setting: narrower(sandbox, setting)}, WINDOWED), ({}, ())):
        sandbox.hubstaff.advance(HOUR)
        runs.append(read(sandbox, {**config, **more}, runs[-1].states[-1], *streams, full=full))
        assert activated(runs[-1]) == {"projects"}
    found = table(*runs).rows
    for stream, ids in everything.items():
        assert {str(number) for (number,) in found[stream]} == ids, stream
    assert found["time_sessions"].keys() >= sessions


@pytest.mark.parametrize("setting", ["emit_activate_version_messages", "changes_only"])
def test_history_that_hubstaff_no_longer_keeps_stays(
    read: Read, serve: Serve, settings: Settings, tmp_path: Path, setting: str
) -> None:
    sandbox = serve(**LITTLE, organizations=1, shared_members=0)
    config = settings(sandbox, changes_url=f"sqlite:///{tmp_path}/changes.db", **{setting: True})
    kept = (*WINDOWED, "team_payments", "attendance_schedules", "tool_usages")
    runs = [read(sandbox, config, None, *kept, "projects", full=kept)]
    before = {stream: rows.keys() for stream, rows in table(*runs).rows.items()}
    assert all(before[stream] for stream in kept), {stream: len(keys) for stream, keys in before.items()}
    sandbox.hubstaff.advance(200 * 24 * HOUR)
    later = {**config, "start_date": sandbox.hubstaff.now.date().isoformat()}
    runs.append(read(sandbox, later, runs[-1].states[-1], *kept, "projects", full=kept))
    found = table(*runs).rows
    for stream in kept:
        assert found[stream].keys() >= before[stream], stream
        assert not any("version" in message for run in runs for message in run.of_type("RECORD", stream))
        assert not any("_sdc_deleted_at" in row for run in runs for row in run.records(stream))
    activates = setting == "emit_activate_version_messages"
    assert [activated(run) for run in runs] == [{"projects"} if activates else set()] * 2


def test_lists_of_teams_that_a_version_removed_come_again(read: Read, serve: Serve, settings: Settings) -> None:
    sandbox = serve(**LITTLE)
    first, _ = sandbox.hubstaff.ids("organizations")
    config = settings(sandbox, links_max_age=24 * HOUR)
    narrow = {**config, "emit_activate_version_messages": True, "organization_ids": [int(first)]}
    runs: list[Run] = []
    for each in (config, narrow, config):
        runs.append(read(sandbox, each, runs[-1].states[-1] if runs else None, *OWNED))
        sandbox.hubstaff.advance(HOUR)
    assert activated(runs[1]) == set(OWNED)
    found = table(*runs).rows
    for stream in OWNED:
        keys = {":".join(map(str, key)) for key in found[stream]}
        assert keys == set(sandbox.hubstaff.ids(stream)), stream


def test_an_organization_that_comes_back_is_read_however_young_its_list_is(
    read: Read, serve: Serve, settings: Settings
) -> None:
    sandbox = serve(**LITTLE)
    config = settings(sandbox, emit_activate_version_messages=True)
    know = Account.know

    def know_first(self: Account, rows: list[Any]) -> None:
        know(self, rows[:1])

    runs = [read(sandbox, config, None, "projects")]
    sandbox.hubstaff.advance(HOUR)
    with mock.patch.object(Account, "know", know_first):
        runs.append(read(sandbox, config, runs[-1].states[-1], "projects"))
    assert activated(runs[-1]) == {"projects"}
    sandbox.hubstaff.advance(HOUR)
    runs.append(read(sandbox, {**config, "refresh": {"*": 24 * HOUR}}, runs[-1].states[-1], "projects"))
    found = {str(number) for (number,) in table(*runs).rows["projects"]}
    assert found == set(sandbox.hubstaff.ids("projects"))


def test_lists_of_teams_are_read_whole_where_versions_are_whatever_a_saved_catalog_says(
    tap: Callable[..., Run], serve: Serve, settings: Settings
) -> None:
    sandbox = serve(**LITTLE)
    catalog = json.loads(tap("--discover", config=settings(sandbox)).stdout)
    for entry in catalog["streams"]:
        entry["selected"] = entry["stream"] in OWNED
        for one in entry["metadata"]:
            if not one["breadcrumb"]:
                one["metadata"]["selected"] = entry["selected"]
    assert {entry["replication_method"] for entry in catalog["streams"] if entry["selected"]} == {"INCREMENTAL"}
    config = settings(sandbox, emit_activate_version_messages=True)
    runs = [tap(config=config, catalog=catalog)]
    runs.append(tap(config=config, catalog=catalog, state=runs[0].states[-1]))
    for run in runs:
        assert run.code == 0, run.said("ERROR")
        assert activated(run) == set(OWNED)
        for stream in OWNED:
            assert sorted(run.ids(stream)) == sorted(sandbox.hubstaff.ids(stream)), stream
