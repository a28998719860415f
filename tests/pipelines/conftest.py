"""Real Meltano, a real PostgreSQL that is emptied for each test, and the sandbox API."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import psutil
import pytest
import yaml
from psycopg import sql

from demo.comparison import HUBSTAFF_SCHEMA, HUSTLE_SCHEMA, StreamCount, compare_hubstaff, compare_hustle
from demo.meltano import Meltano, MeltanoRun
from demo.sandbox import Sandbox, running_sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from demo.postgres import Postgres

SMALL: dict[str, Any] = {"organizations": 3, "leads": 300}
# What is changed is seen at once: the clock need not be moved on, which the tap's own would not follow.
SMALL_HUBSTAFF: dict[str, Any] = {"members": 3, "history_days": 10, "activity_delay": 0}
HUBSTAFF_STREAMS = {"activities", "daily_activities", "time_sessions", "members", "notes", "projects", "team_members"}


@dataclass(frozen=True)
class Pipeline:
    """The parts of a pipeline, running."""

    sandbox: Sandbox
    warehouse: Postgres
    meltano: Meltano

    def load(self, *options: str, variables: Mapping[str, str] | None = None) -> MeltanoRun:
        """Run the pipeline."""
        return self.meltano.run(*options, "run", "tap-hustle", "target-postgres", variables=variables)

    def load_hubstaff(self) -> MeltanoRun:
        """Run the other pipeline, for some of its many streams: the demo has them all."""
        variables = {
            "TAP_HUBSTAFF__SELECT": json.dumps([f"{stream}.*" for stream in HUBSTAFF_STREAMS]),
            "TAP_HUBSTAFF_LOOKBACK_DAYS": "14",
        }
        return self.meltano.run("run", "hubstaff-to-postgres", variables=variables)

    def counts(self) -> list[StreamCount]:
        """Every stream of Hustle, counted in the warehouse and in the API."""
        return compare_hustle(self.warehouse, self.sandbox)

    def differing(self) -> list[StreamCount]:
        """The streams that are not in the warehouse exactly as they are in the API."""
        return [count for count in self.counts() if not count.agrees]

    def differing_hubstaff(self) -> list[StreamCount]:
        """The same of Hubstaff."""
        counts = [count for count in compare_hubstaff(self.warehouse, self.sandbox) if count.stream in HUBSTAFF_STREAMS]
        assert len(counts) == len(HUBSTAFF_STREAMS)
        return [count for count in counts if not count.agrees]

    def rows(self, table: str, *columns: str, schema: str = HUSTLE_SCHEMA) -> list[tuple[Any, ...]]:
        """Some columns of all rows, in one query: two need not give the rows in the same order."""
        with self.warehouse.connect() as connection:
            names = sql.SQL(", ").join(map(sql.Identifier, columns))
            return connection.execute(
                sql.SQL("SELECT {} FROM {}").format(names, sql.Identifier(schema, table))
            ).fetchall()

    def column(self, table: str, column: str, schema: str = HUSTLE_SCHEMA) -> list[Any]:
        """All values of a column."""
        return [row[0] for row in self.rows(table, column, schema=schema)]

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
def start_pipeline(tmp_path: Path, postgres: Postgres) -> Iterator[StartPipeline]:
    """What starts a pipeline; all its parts are gone when the test is."""
    with ExitStack() as services:

        def start(*faults: Mapping[str, object], **hustle: object) -> Pipeline:
            scenario = tmp_path / "scenario.yml"
            accounts = {"hustle": SMALL | hustle, "hubstaff": SMALL_HUBSTAFF}
            scenario.write_text(yaml.safe_dump({**accounts, "faults": [dict(fault) for fault in faults]}))
            sandbox = services.enter_context(running_sandbox(scenario, tmp_path))
            with postgres.connect() as connection:
                for schema in (HUSTLE_SCHEMA, HUBSTAFF_SCHEMA):
                    connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))
            variables = {**sandbox.variables, "SANDBOX_POSTGRES_URL": postgres.sqlalchemy_url}
            return Pipeline(sandbox, postgres, Meltano(tmp_path / "meltano", variables))

        yield start


class Survivors(Protocol):
    """Finds the processes that still run after they had time to end."""

    def __call__(self, processes: list[psutil.Process]) -> list[psutil.Process]: ...


@pytest.fixture
def survivors() -> Survivors:
    """What tells whether everything has ended."""

    def survivors(processes: list[psutil.Process]) -> list[psutil.Process]:
        end = time.monotonic() + 15
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
