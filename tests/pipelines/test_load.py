"""`meltano run` from the API into the warehouse: everything arrives, once, whatever happens on the way."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from demo.__main__ import check
from demo.processes import DemoError

if TYPE_CHECKING:
    from tests.pipelines.conftest import StartPipeline

# Each of these passes: the request succeeds when it is sent again.
PASSING_FAULTS: list[dict[str, Any]] = [
    {"kind": "status", "status": 502, "html": True, "path": "/leads", "nth": [1]},
    {"kind": "truncated", "path": "/leads", "nth": [2], "honest_length": False},
    {"kind": "expire_token", "path": "/groups", "nth": [1]},
    {"kind": "reset", "path": "/agents", "nth": [1]},
    {"kind": "status", "status": 429, "path": "/tags", "nth": [1]},
    {"kind": "empty_page", "path": "/leads", "nth": [4]},
    {"kind": "odd_text", "path": "/leads"},  # on every page: a page asked for ahead may not be used
    {"kind": "unknown_fields", "path": "/custom_fields"},
]


LASTING_FAULT = {"kind": "status", "status": 403, "path": "/tags"}


def test_every_record_arrives_once_through_all_faults_and_no_secret_is_told(start_pipeline: StartPipeline) -> None:
    pipeline = start_pipeline(*PASSING_FAULTS, empty_organizations=1)
    run = pipeline.load("--log-level=debug", variables={"TAP_HUSTLE_PAGE_SIZE": "50"}).check()
    assert pipeline.differing() == []
    assert set(pipeline.column("leads", "id")) == pipeline.sandbox.hustle_ids("leads")
    assert any(name and name.startswith("\ufffd") for name in pipeline.column("leads", "firstName"))
    assert re.search(r"leads: \d+ characters could not be read", run.log.read_text())
    assert "sent are stored; it read 8 of 8 streams whole." in run.log.read_text()
    assert pipeline.sandbox.hustle["client_secret"] not in run.log.read_text()
    outcomes = pipeline.sandbox.ask("report?ids=false")["outcomes"]
    assert {outcome for path in outcomes.values() for outcome in path} == {"200", "401", "429", "502", "close", "reset"}

    new = pipeline.sandbox.ask("leads", {"organization": 1, "count": 7})["ids"]
    pipeline.sandbox.ask("faults", [LASTING_FAULT])
    run = pipeline.load()
    assert run.exit_code != 0
    assert "tags" in run.log.read_text()
    assert pipeline.differing() == []
    assert set(new) <= set(pipeline.column("leads", "id"))


def test_prod_environment_takes_everything_from_variables(
    start_pipeline: StartPipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline = start_pipeline()
    hustle = pipeline.sandbox.hustle
    chosen = min(pipeline.sandbox.hustle_ids("organizations"))
    variables = {
        "TAP_HUSTLE_API_URL": hustle["api_url"],
        "TAP_HUSTLE_CLIENT_ID": hustle["client_id"],
        "TAP_HUSTLE_CLIENT_SECRET": hustle["client_secret"],
        "TAP_HUSTLE_ORGANIZATION_IDS": json.dumps([chosen]),
        "TAP_HUSTLE_STREAM_MAPS": json.dumps({"leads": {"initial": "(record.get('firstName') or '')[:1]"}}),
        "TAP_HUSTLE__SELECT": json.dumps(["leads.id", "leads.firstName", "organizations.*"]),
        "TARGET_POSTGRES_SQLALCHEMY_URL": pipeline.warehouse.sqlalchemy_url,
    }
    job = ("hustle-to-postgres", "verify:hustle")
    run = pipeline.meltano.run("--environment=prod", "run", *job, variables=variables).check()
    assert "leads: 100 rows sent, all there." in run.log.read_text()

    assert {count.stream for count in pipeline.counts() if count.loaded.rows} == {"leads", "organizations"}
    assert pipeline.column("organizations", "id") == [chosen]
    assert set(pipeline.column("leads", "id")) == pipeline.sandbox.hustle_ids("leads", chosen)
    assert pipeline.columns("leads") == {"id", "firstName", "initial"}
    # The demo's own verdict: what it was not to load is missing.
    with pytest.raises(DemoError, match=r"differ in .*leads of Hustle.* log is "):
        check(run, pipeline.warehouse, pipeline.sandbox)
    assert re.search(r"leads .*<- differs: [1-9]", capsys.readouterr().out)


def test_configuration_is_tested_by_meltano(start_pipeline: StartPipeline) -> None:
    run = start_pipeline(leads=5).meltano.run(
        "config", "test", "tap-hustle", variables={"TAP_HUSTLE_CLIENT_SECRET": "wrong"}
    )
    assert run.exit_code
    assert "the API refused the credentials" in run.log.read_text()
