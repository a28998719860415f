"""Names beside ids: of activities, daily activities and work sessions, at no more requests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from api_sandbox import HubstaffForbidden
from singer_http.reading.pages import Page
from tap_hubstaff.client import parse_page
from tap_hubstaff.streams.named_base import client_names, with_names
from tap_hubstaff.tap import TapHubstaff
from tap_hubstaff.work_sessions.names import Names

from tests.hubstaff.test_late_changes import requests
from tests.hubstaff.test_run import DAY

if TYPE_CHECKING:
    from collections.abc import Callable

    from api_sandbox import RunningSandbox

    from tests.hubstaff.reading import Run

    Settings = Callable[..., dict[str, Any]]
    Serve = Callable[..., RunningSandbox]
    Read = Callable[..., Run]

WORK = ("activities", "daily_activities", "time_sessions")
NAMES = ("user_name", "project_name", "client_name", "task_name")


def truth(sandbox: RunningSandbox) -> dict[str, dict[Any, Any]]:
    records = sandbox.hubstaff.records
    clients = {client["id"]: client["name"] for client in records("clients")}
    return {
        "user_name": {user["id"]: user["name"] for user in records("users")},
        "project_name": {project["id"]: project["name"] for project in records("projects")},
        "client_name": {project["id"]: clients.get(project.get("client_id")) for project in records("projects")},
        "task_name": {task["id"]: task["summary"] for task in records("tasks")},
    }


def assert_named(run: Run, sandbox: RunningSandbox, stream: str) -> None:
    true = truth(sandbox)
    rows = run.records(stream)
    assert rows
    for row in rows:
        if row.get("superseded_by") == row["id"]:
            continue  # it is gone, and nobody's
        assert [row[name] for name in NAMES] == [
            true["user_name"][row["user_id"]],
            true["project_name"][row["project_id"]],
            true["client_name"][row["project_id"]],
            true["task_name"].get(row["task_id"]),
        ]
    assert all(any(row.get(name) for row in rows) for name in NAMES)


def assert_named_all(run: Run, sandbox: RunningSandbox, streams: tuple[str, ...]) -> None:
    assert run.code == 0, run.said("ERROR")
    for stream in set(streams) - {"clients"}:
        assert_named(run, sandbox, stream)
    assert not any(name in json.dumps(run.states) for name in truth(sandbox)["user_name"].values())


@pytest.mark.parametrize("streams", [WORK, ("time_sessions",), (*WORK, "clients")], ids=len)
def test_work_tells_names_at_no_more_requests(
    read: Read, serve: Serve, settings: Settings, streams: tuple[str, ...]
) -> None:
    sandbox = serve(clock="stopped", organizations=1, shared_members=0, history_days=20)
    config = settings(sandbox, lookback_days=1)
    before = requests(sandbox)
    read(sandbox, config, None, *streams)
    without = requests(sandbox)
    run = read(sandbox, {**config, "include_names": True}, None, *streams)
    more = (requests(sandbox) - without) - (without - before)
    assert more == ({} if "clients" in streams else {"clients": 1})
    for _ in range(2):
        assert_named_all(run, sandbox, streams)
        sandbox.hubstaff.edit("activities", 20)
        sandbox.hubstaff.add_late(20, days=15)
        sandbox.hubstaff.advance(DAY)
        run = read(sandbox, {**config, "include_names": True}, run.states[-1], *streams)
    assert_named_all(run, sandbox, streams)


def test_projects_that_a_list_hides_are_named(read: Read, serve: Serve, settings: Settings) -> None:
    sandbox = serve(clock="stopped", history_days=20, inactive_share=1.0)
    run = read(sandbox, settings(sandbox, include_names=True), None, "daily_activities")
    assert "archived" in {project["status"] for project in sandbox.hubstaff.records("projects")}
    assert_named(run, sandbox, "daily_activities")


def test_nothing_fails_for_a_name(read: Read, serve: Serve, settings: Settings) -> None:
    sandbox = serve(clock="stopped", history_days=5, forbidden=(HubstaffForbidden(stream="clients"),))
    run = read(sandbox, settings(sandbox, include_names=True), None, "activities")
    assert run.code == 0, run.said("ERROR")
    assert any("clients of organization" in line for line in run.said("WARNING"))
    rows = run.records("activities")
    assert {row["id"] for row in rows} == {row["id"] for row in sandbox.hubstaff.records("activities")}
    assert {row["client_name"] for row in rows} == {None}
    assert all(row["user_name"] and row["project_name"] for row in rows)


@pytest.mark.parametrize("is_named", [False, True])
def test_columns_are_there_where_they_are_asked_for(is_named: bool) -> None:  # noqa: FBT001
    tap = TapHubstaff(config={"access_token": "hsoat_x", "include_names": is_named})
    having = {name for name, stream in tap.streams.items() if "user_name" in stream.schema["properties"]}
    assert having == (set(WORK) if is_named else set())


ROWS = b'"activities": [ {"id": 1, "user_id": 5, "project_id": 7, "task_id": null} , {"id": 2, "user_id": 6}]'


def named(sideloads: bytes) -> list[dict[str, Any]]:
    body = b"{%b, %b}" % (ROWS, sideloads)
    clients = client_names(Page(msgspec.Raw(b'[{"id": 3, "name": "Initech"}]'), None))
    return with_names(parse_page(body, ("activities",)), body, clients).decode()


@pytest.mark.parametrize(
    ("sideloads", "told"),
    [
        (
            b'"users": [{"id": 5, "name": "A"}], "projects": [{"id": 7, "name": "B", "client_id": 3}]',
            ("A", "B", "Initech"),
        ),
        (
            b'"users": [{"id": 5, "name": null}], "projects": [{"id": 7, "name": "B", "client_id": 4}]',
            (None, "B", None),
        ),
        (b'"users": [{"id": 5, "name": "\xff\\u0000"}], "projects": null', ("\ufffd", None, None)),
        (b'"users": []', (None, None, None)),
    ],
)
def test_names_are_those_of_the_answer(sideloads: bytes, told: tuple[Any, ...]) -> None:
    first, second = named(sideloads)
    assert first == {
        "id": 1,
        "user_id": 5,
        "project_id": 7,
        "task_id": None,
        **dict(zip(NAMES, (*told, None), strict=True)),
    }
    assert second == {"id": 2, "user_id": 6, **dict.fromkeys(NAMES)}


@pytest.mark.parametrize("sideloads", [b'"users": 7', b'"users": [7]', b'"tasks": [{"id": []}]'])
def test_rows_are_read_without_names_where_they_cannot_be_told(sideloads: bytes) -> None:
    assert [row["id"] for row in named(sideloads)] == [1, 2]


def test_no_more_names_are_kept_than_of_sessions_that_go_on() -> None:
    names = Names()
    for user in range(100):
        names.see(dict.fromkeys(NAMES, str(user)), (user, 7, None))
    names.keep([(3, 7, None)])
    assert names.of((3, 7, None))["user_name"] == "3"
    assert "user_name" not in names.of((4, 7, None))
