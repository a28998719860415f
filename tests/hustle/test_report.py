"""The report of a run says what the run wrote, however it ended, and nothing of people or secrets."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

from api_sandbox import Fault, Forbidden

from tests.hustle.test_catalog import batch_settings
from tests.reports import agreeing, ends, sent

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from api_sandbox import RunningSandbox

    from tests.hustle.conftest import Run, Started

    Settings = Callable[..., dict[str, Any]]
    Serve = Callable[..., RunningSandbox]
    Tap = Callable[..., Run]
    StartTap = Callable[..., Started]


def test_a_whole_run(tap: Tap, serve: Serve, settings: Settings, tmp_path: Path) -> None:
    sandbox = serve(Fault(kind="status", status=429, path="/leads", organization=1, page=2, times=1))
    path = tmp_path / "report.json"
    config = settings(sandbox, report_path=str(path), emit_activate_version_messages=True)
    run = tap(config=config, leaps=True)
    assert run.code == 0
    report = agreeing(path, run)
    whole = report["run"]
    assert whole["exit"] == {"reason": "complete", "detail": None}
    assert set(ends(report)) == set(sandbox.truth.ids)
    assert set(ends(report).values()) == {"complete"}
    assert all(stream["whole"] and stream["activated"] for stream in report["streams"].values())
    served = sandbox.report()
    assert whole["requests"] == sum(sum(by.values()) for path, by in served.outcomes.items() if "token" not in path)
    assert whole["throttled"] == 1
    parts = report["streams"]["leads"]["partitions"]
    owners = sandbox.truth.by_organization["leads"]
    assert {part["partition"]["organizationId"]: part["rows"] for part in parts} == {
        owner: len(ids) for owner, ids in owners.items()
    }
    throttled = {part["partition"]["organizationId"]: part["throttled"] for part in parts}
    assert throttled == {owner: number == 1 for number, owner in enumerate(owners)}
    assert all(part["pages"] <= part["requests"] - part["throttled"] for part in parts)
    assert "Report: complete." in run.said("INFO")[-1]
    assert f"{whole['rows']} rows of 8 streams" in run.said("INFO")[-1]
    assert whole["versions"].keys() == {"tap-hustle", "singer-http", "singer-sdk", "python"}

    # Nothing of people or secrets; and settings are the same but for those.
    text = path.read_text()
    texts = {value for rows in sent(run).values() for row in rows for value in row.values() if isinstance(value, str)}
    shown = {value for value in texts if f'"{value}"' in text}
    assert shown <= set(owners)
    assert config["client_secret"] not in text
    assert config["client_id"] not in text
    other = tap(config={**config, "client_secret": "wrong"})
    assert other.code == 1
    refused = json.loads(path.read_text())["run"]
    assert refused["settings"] == whole["settings"]
    assert refused["exit"]["reason"] == "failed"
    assert "credentials" in refused["exit"]["detail"]
    tap(config={**config, "organization_ids": [min(owners)]})
    part = json.loads(path.read_text())
    assert part["run"]["settings"] != whole["settings"]
    assert not part["streams"]["leads"]["whole"]
    assert part["streams"]["leads"]["remark"] == "organization_ids chose a part of the account"


MAPS = {
    "leads": {"__alias__": "people", "id": "md5(id)", "phoneNumber": None, "__filter__": "id < 'm'"},
    "tags": {"id": "id", "name": "name", "__else__": None},
    "tag_names": {"__source__": "tags", "__key_properties__": ["name"], "name": "name", "id": None},
    "pairs": {"__source__": "groups", "__key_properties__": ["id", "name"]},
    "rows": {"__source__": "agents", "__key_properties__": []},
    "custom_fields": None,
}


def test_maps_and_batches(tap: Tap, standing: RunningSandbox, settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    maps = {"stream_maps": MAPS, "flattening_enabled": True, "flattening_max_depth": 2}
    run = tap(config=settings(standing, report_path=str(path), **maps))
    assert run.code == 0, run.stderr
    report = agreeing(path, run)
    assert {"people", "tags", "tag_names", "pairs", "groups", "agents", "rows"} <= report["streams"].keys()
    assert not {"leads", "custom_fields"} & report["streams"].keys()
    people, names = report["streams"]["people"], report["streams"]["tag_names"]
    assert 0 < people["rows"] < len(standing.truth.ids["leads"])
    assert people["sources"] == ["leads"]
    assert names["keys"]["count"] < names["rows"] or len(set(standing.truth.ids["tags"])) == names["keys"]["count"]
    batches = tap(config=settings(standing, report_path=str(path), **maps, **batch_settings(tmp_path, 10)))
    assert batches.of_type("RECORD") == []
    batched = agreeing(path, batches)
    for name, stream in report["streams"].items():
        assert batched["streams"][name]["keys"] == stream["keys"]
        assert batched["streams"][name]["whole"]


def test_a_run_that_is_stopped_and_gone_on_with(
    start_tap: StartTap, tap: Tap, serve: Serve, settings: Settings, tmp_path: Path
) -> None:
    sandbox = serve(Fault(kind="hold", path="/leads", page=12), leads=150)
    path = tmp_path / "report.json"
    config = settings(sandbox, page_size=3, max_parallel_requests=1, report_path=str(path))
    state: Any = None
    for batches in ({}, batch_settings(tmp_path, 10)):
        sandbox.faults.replace(Fault(kind="hold", path="/leads", page=12))
        started = start_tap(config={**config, **batches})
        sandbox.faults.wait_until_held()
        running = json.loads(path.read_text())
        assert running["run"]["exit"]["reason"] == "running"
        assert running["streams"] == {}
        started.kill(signal.SIGTERM)
        stopped = started.wait()
        sandbox.faults.clear()
        report = agreeing(path, stopped)
        assert report["run"]["exit"] == {"reason": "stopped", "detail": "exit code 143"}
        leads = report["streams"]["leads"]
        assert 0 < leads["rows"] < 150
        assert leads["ended"] == "cut off"
        assert not leads["whole"]
        assert report["streams"]["groups"]["whole"]
        assert ends(report)["webhook_registrations"] == "not read"
        assert "cut off" in {part["ended"] for part in leads["partitions"]}
        assert "Report: stopped." in stopped.said("INFO")[-1]
        state = state or stopped.states[-1]

    resumed = tap(config=config, state=state)
    report = agreeing(path, resumed)
    leads = report["streams"]["leads"]
    assert (leads["ended"], leads["whole"]) == ("complete", False)
    assert "earlier run" in leads["remark"]
    assert any(part["resumed"] for part in leads["partitions"])
    before = {tuple(one["partition"].items()): one["bookmark_before"] for one in leads["partitions"]}
    for bookmark in state["bookmarks"]["leads"]["partitions"]:
        if not bookmark["resume"].get("done"):
            assert before[tuple(bookmark["context"].items())]["resume"] == bookmark["resume"]
    assert all("resume" not in part["bookmark_after"] for part in leads["partitions"])
    assert report["streams"]["tags"]["whole"]


def test_a_killed_run_leaves_no_report_that_could_pass_for_its_own(
    start_tap: StartTap, tap: Tap, serve: Serve, settings: Settings, tmp_path: Path
) -> None:
    sandbox = serve()
    path = tmp_path / "report.json"
    config = settings(sandbox, report_path=str(path))
    assert tap(config=config).code == 0
    assert json.loads(path.read_text())["run"]["exit"]["reason"] == "complete"
    sandbox.faults.replace(Fault(kind="hold", path="/tags"))
    started = start_tap(config=config)
    sandbox.faults.wait_until_held()
    started.kill(signal.SIGKILL)
    started.wait()
    sandbox.faults.clear()
    assert json.loads(path.read_text())["run"]["exit"]["reason"] == "running"


def test_what_is_forbidden_or_fails_is_named(tap: Tap, serve: Serve, settings: Settings, tmp_path: Path) -> None:
    sandbox = serve(
        Fault(kind="status", status=400, path="/leads", organization=0, page=2),
        Fault(kind="more_without_cursor", path="/agents", page=2),
        forbidden=(Forbidden(organizations=(1,)), Forbidden(path="/tags")),
    )
    path = tmp_path / "report.json"
    run = tap(config=settings(sandbox, report_path=str(path), skip_forbidden=["tags"], predict_cursors=False))
    report = agreeing(path, run)
    assert run.code == 1
    assert report["run"]["exit"]["reason"] == "incomplete"
    first, closed, *_ = sandbox.truth.ids["organizations"]
    leads = {part["partition"]["organizationId"]: part for part in report["streams"]["leads"]["partitions"]}
    assert leads[closed]["ended"] == "forbidden"
    assert "403" in leads[closed]["remark"]
    assert any("403" in warning for warning in leads[closed]["warnings"])
    assert (leads[first]["ended"], leads[first]["rows"]) == ("failed", 7)
    assert {part["ended"] for owner, part in leads.items() if owner not in {first, closed}} <= {"complete"}
    told = ends(report)
    assert (told["leads"], told["groups"], told["tags"]) == ("failed", "forbidden", "forbidden")
    assert (told["agents"], told["organizations"]) == ("in doubt", "complete")
    (agents,) = report["streams"]["agents"]["partitions"]
    assert agents["remark"]
    whole = {name for name, stream in report["streams"].items() if stream["whole"]}
    assert whole == {"organizations", "custom_fields", "webhook_registrations"}
    assert {failure["what"] for failure in report["run"]["failures"]} == {
        f"{stream} (organizationId {owner})"
        for stream, owner in [("leads", first), ("leads", closed), ("groups", closed), ("integrations", closed)]
    }


def test_incremental_reads_claim_only_what_is_new(tap: Tap, serve: Serve, settings: Settings, tmp_path: Path) -> None:
    sandbox = serve(leads=30)
    path = tmp_path / "report.json"
    config = settings(sandbox, report_path=str(path))
    catalog = json.loads(tap("--discover", config=config).stdout)
    for entry in catalog["streams"]:
        entry["replication_method"], entry["replication_key"] = "INCREMENTAL", "createdAt"
    assert not path.exists()
    first = tap(config=config, catalog=catalog)
    report = agreeing(path, first)
    leads = report["streams"]["leads"]
    assert (leads["rows"], leads["ended"], leads["whole"]) == (30, "complete", False)
    after = {tuple(part["partition"].items()): part["bookmark_after"] for part in leads["partitions"]}
    second = tap(config=config, catalog=catalog, state=first.states[-1])
    leads = agreeing(path, second)["streams"]["leads"]
    assert 0 < leads["rows"] < 30
    assert {tuple(part["partition"].items()): part["bookmark_before"] for part in leads["partitions"]} == after
    assert all("cursor" in bookmark or "replication_key_value" in bookmark for bookmark in after.values())


def test_a_reader_that_goes_away(
    start_tap: StartTap, standing: RunningSandbox, settings: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "report.json"
    started = start_tap(config=settings(standing, report_path=str(path)), piped=True)
    started.read(until='"RECORD"')
    assert started.pipe is not None
    started.pipe.close()
    assert started.exit_code() == 1
    report = json.loads(path.read_text())
    assert report["run"]["exit"]["reason"] == "failed"
    assert "went away" in report["run"]["exit"]["detail"]
    assert 0 < report["run"]["rows"] < sum(map(len, standing.truth.ids.values()))


def test_a_path_that_cannot_be_written_ends_the_run_before_its_first_request(
    tap: Tap, serve: Serve, settings: Settings, tmp_path: Path
) -> None:
    sandbox = serve()
    run = tap(config=settings(sandbox, report_path=str(tmp_path / "none" / "report.json")))
    assert run.code == 1
    assert run.stdout == b""
    (said,) = run.said("ERROR")
    assert said.startswith("report_path: ")
    assert sandbox.report().outcomes == {}
