"""Real Meltano, a real PostgreSQL, and the sandbox API."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import psutil
import pytest
import yaml
from api_sandbox import HustleScenario, RunningSandbox, Scenario, serve_in_thread
from psycopg import sql

from demo.comparison import HUSTLE_SCHEMA, StreamCount, compare_hustle
from demo.meltano import Meltano, MeltanoRun
from demo.sandbox import Sandbox, running_sandbox
from tests.pipelines.verified_warehouse import Warehouse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from demo.postgres import Postgres

SMALL: dict[str, Any] = {"organizations": 3, "leads": 300}
NO_HUBSTAFF = {"organizations": 0}


@dataclass(frozen=True)
class Pipeline:
    """The parts of a pipeline, running."""

    sandbox: Sandbox
    warehouse: Postgres
    meltano: Meltano

    def load(self, *options: str, variables: Mapping[str, str] | None = None) -> MeltanoRun:
        """Run the pipeline, and compare what it has loaded with the tap's report."""
        return self.meltano.run(*options, "run", "tap-hustle", "target-postgres", "verify:hustle", variables=variables)

    def counts(self) -> list[StreamCount]:
        """Every stream of Hustle, counted in the warehouse and in the API."""
        return compare_hustle(self.warehouse, self.sandbox)

    def differing(self) -> list[StreamCount]:
        """The streams that are not in the warehouse exactly as they are in the API."""
        return [count for count in self.counts() if not count.agrees]

    def column(self, table: str, column: str) -> list[Any]:
        """All values of a column."""
        with self.warehouse.connect() as connection:
            query = sql.SQL("SELECT {} FROM {}").format(sql.Identifier(column), sql.Identifier(HUSTLE_SCHEMA, table))
            return [row[0] for row in connection.execute(query)]

    def columns(self, table: str) -> set[str]:
        """The names of a table's columns that come from the stream."""
        query = "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s"
        with self.warehouse.connect() as connection:
            names = {row[0] for row in connection.execute(query, [HUSTLE_SCHEMA, table])}
        return {name for name in names if not name.startswith("_sdc_")}


class StartPipeline(Protocol):
    """Starts the parts of a pipeline, on a small account with the given faults and other habits."""

    def __call__(self, *faults: Mapping[str, object], **hustle: object) -> Pipeline: ...


@pytest.fixture
def start_pipeline(tmp_path: Path, postgres: Postgres, programs: Path) -> Iterator[StartPipeline]:
    """What starts a pipeline; all its parts are gone when the test is."""
    with ExitStack() as services:

        def start(*faults: Mapping[str, object], **hustle: object) -> Pipeline:
            scenario = tmp_path / "scenario.yml"
            chosen = {"hustle": SMALL | hustle, "hubstaff": NO_HUBSTAFF, "faults": [dict(fault) for fault in faults]}
            scenario.write_text(yaml.safe_dump(chosen))
            sandbox = services.enter_context(running_sandbox(scenario, tmp_path, programs))
            variables = {**sandbox.variables, "SANDBOX_POSTGRES_URL": postgres.sqlalchemy_url}
            return Pipeline(sandbox, postgres, Meltano(tmp_path / "meltano", variables, programs))

        yield start


class Survivors(Protocol):
    """Finds the processes that still run after they had time to end."""

    def __call__(self, processes: list[psutil.Process]) -> list[psutil.Process]: ...


@pytest.fixture
def survivors() -> Survivors:
    """What tells whether everything has ended."""

    def survivors(processes: list[psutil.Process]) -> list[psutil.Process]:
        end = time.monotonic() + 60
        while (left := [process for process in processes if _runs(process)]) and time.monotonic() < end:
            time.sleep(0.02)
        return left

    return survivors


def _runs(process: psutil.Process) -> bool:
    """Whether a process still runs; one that ended, and that nobody has asked about yet, does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(scope="module")
def sandbox() -> Iterator[RunningSandbox]:
    scenario = HustleScenario(requests_per_second=None, leads=60, groups=2, agents=3, tags=3, custom_fields=2)
    with serve_in_thread(Scenario(hustle=scenario)) as running:
        yield running


@pytest.fixture
def new_warehouse(postgres: Postgres, sandbox: RunningSandbox, tmp_path: Path, programs: Path) -> Warehouse:
    return Warehouse(postgres, sandbox, tmp_path, programs)
