"""The report of a run says what the run wrote: of windows, of updates, of sessions and of lists that are shared."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from api_sandbox import Fault

from tests.reports import agreeing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from api_sandbox import RunningSandbox

    from tests.hubstaff.reading import Run

    Read = Callable[..., Run]
    Serve = Callable[..., RunningSandbox]
    Settings = Callable[..., dict[str, Any]]

OWNER = "organization_id"
LITTLE = {"organizations": 2, "history_days": 12, "inactive_organizations": ()}


def test_first_and_second_run(
    read: Callable[..., Run],
    serve: Callable[..., RunningSandbox],
    settings: Callable[..., dict[str, Any]],
    tmp_path: Path,
) -> None:
    sandbox = serve(**LITTLE)
    path = tmp_path / "report.json"
    config = settings(sandbox, days=20, report_path=str(path), emit_activate_version_messages=True)
    first = read(sandbox, config)
    assert first.code == 0, first.stderr
    report = agreeing(path, first, OWNER)
    assert report["run"]["exit"]["reason"] == "complete"
    streams = report["streams"]
    assert {name for name in streams if streams[name]["ended"] != "complete"} == set()
    assert not streams["activities"]["whole"]
    assert streams["projects"]["whole"]
    assert streams["projects"]["activated"]
    assert streams["activities"]["partitions"][0]["requests"] > 0
    assert streams["activities"]["partitions"][0]["bookmark_before"] == {}
    assert "replication_key_value" in streams["activities"]["partitions"][0]["bookmark_after"]
    after = streams["activities"]["partitions"][0]["bookmark_after"]
    assert streams["time_sessions"]["rows"] > 0
    people = {row["email"] for row in first.records("users")} | {row["name"] for row in first.records("users")}
    assert not any(person in path.read_text() for person in people)
    assert config["access_token"] not in path.read_text()
    # What sessions were built from is kept in STATE, and is nobody's business here.
    assert "sessions" in json.dumps(first.states[-1])
    assert all("sessions" not in part["bookmark_after"] for part in streams["time_sessions"]["partitions"])

    sandbox.hubstaff.edit("activities", 5)
    sandbox.hubstaff.add_late(5, days=8)
    sandbox.hubstaff.advance(86_400)
    second = read(sandbox, config, first.states[-1])
    report = agreeing(path, second, OWNER)
    activities = report["streams"]["activities"]
    assert 0 < activities["keys"]["count"] <= activities["rows"] < streams["activities"]["rows"]
    assert activities["partitions"][0]["bookmark_before"] == after


def test_a_run_with_a_filter_tells_of_its_own_bookmark(
    read: Callable[..., Run],
    serve: Callable[..., RunningSandbox],
    settings: Callable[..., dict[str, Any]],
    tmp_path: Path,
) -> None:
    sandbox = serve(**LITTLE)
    path = tmp_path / "report.json"
    config = settings(sandbox, days=20, report_path=str(path))
    whole = read(sandbox, config, None, "activities")
    config["user_ids"] = [whole.records("activities")[0]["user_id"]]

    first = read(sandbox, config, whole.states[-1], "activities")
    (before, *_), (after, *_) = _bookmarks(agreeing(path, first, OWNER))
    assert before == {}
    second = read(sandbox, config, first.states[-1], "activities")
    assert _bookmarks(agreeing(path, second, OWNER))[0][0] == after


def _bookmarks(report: dict[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    parts = report["streams"]["activities"]["partitions"]
    return [part["bookmark_before"] for part in parts], [part["bookmark_after"] for part in parts]


def test_what_was_read_lately_or_is_left_out_is_not_claimed(
    read: Callable[..., Run],
    serve: Callable[..., RunningSandbox],
    settings: Callable[..., dict[str, Any]],
    tmp_path: Path,
) -> None:
    sandbox = serve(**LITTLE)
    path = tmp_path / "report.json"
    config = settings(sandbox, days=20, report_path=str(path), refresh={"*": 86_400})
    first = read(sandbox, config, None, "projects", "clients")
    assert agreeing(path, first, OWNER)["streams"]["projects"]["whole"]
    second = read(sandbox, config, first.states[-1], "projects", "clients")
    projects = agreeing(path, second, OWNER)["streams"]["projects"]
    assert (projects["rows"], projects["whole"]) == (0, False)

    # One organization failed, and the other need not be read again.
    sandbox.faults.replace(Fault(kind="status", status=400, path="/projects", organization=1))
    config["resume_max_age"] = 0
    failed = read(sandbox, config, None, "projects")
    assert failed.code == 1
    sandbox.faults.clear()
    again = read(sandbox, config, failed.states[-1], "projects")
    projects = agreeing(path, again, OWNER)["streams"]["projects"]
    assert (len(projects["partitions"]), projects["ended"], projects["whole"]) == (1, "complete", False)
    assert projects["remark"] == "lists that were read lately were not read again"

    sandbox.faults.replace(Fault(kind="status", status=403, path="*", organization=1))
    third = read(sandbox, config | {"refresh": {}}, first.states[-1], "projects")
    assert third.code == 1
    report = agreeing(path, third, OWNER)
    projects = report["streams"]["projects"]
    assert (projects["ended"], projects["whole"], len(projects["partitions"])) == ("complete", False, 1)
    assert projects["remark"] == "an organization was left out"
    assert report["run"]["exit"]["reason"] == "incomplete"
    assert [failure["what"].startswith("organization ") for failure in report["run"]["failures"]] == [True]


def test_a_quota_that_is_used_up_is_no_complete_run(
    tap: Callable[..., Run],
    serve: Callable[..., RunningSandbox],
    settings: Callable[..., dict[str, Any]],
    tmp_path: Path,
) -> None:
    sandbox = serve(**LITTLE)
    path = tmp_path / "report.json"
    run = tap(config=settings(sandbox, days=20, report_path=str(path), requests_per_hour=30, on_quota="stop"))
    assert run.code == 0, run.stderr
    report = agreeing(path, run, OWNER)
    assert report["run"]["exit"]["reason"] == "early"
    left = {name for name, stream in report["streams"].items() if stream["ended"] in {"not read", "cut off"}}
    assert left
    assert not any(report["streams"][name]["whole"] for name in left)
    assert all(name in report["run"]["exit"]["detail"] for name in left)
