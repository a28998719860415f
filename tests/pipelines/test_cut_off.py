"""`meltano run`, cut off in the middle by whatever may end: the next run goes on, and the tables come out the same."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

import psutil
import psycopg
import pytest
from api_sandbox import Fault, HustleScenario, RunningSandbox, Scenario, serve_in_thread
from psycopg import sql

from demo.comparison import HUSTLE_SCHEMA
from demo.meltano import Meltano
from demo.processes import SCRIPTS, running

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from demo.postgres import Postgres

LEADS = 120
PAGE = 10
HELD = Fault(kind="hold", path="/leads", organization=1, page=4)
"""The pages before it are written by then."""
CONNECTIONS = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
"""Those of others to the server."""


class Pipeline:
    """Tap, loader and their states through Meltano."""

    def __init__(self, sandbox: RunningSandbox, warehouse: Postgres, directory: Path, programs: Path) -> None:
        self.sandbox = sandbox
        self.warehouse = warehouse
        self.programs = programs
        hustle = sandbox.hustle
        self.meltano = Meltano(
            directory / "meltano",
            {
                "SANDBOX_HUSTLE_API_URL": hustle.api_url,
                "SANDBOX_HUSTLE_AUTH_URL": hustle.auth_url,
                "SANDBOX_HUSTLE_CLIENT_ID": hustle.client_id,
                "SANDBOX_HUSTLE_CLIENT_SECRET": hustle.client_secret,
                "SANDBOX_POSTGRES_URL": warehouse.sqlalchemy_url,
                "TAP_HUSTLE_PAGE_SIZE": str(PAGE),
                "TAP_HUSTLE_MAX_PARALLEL_REQUESTS": "1",
                "TAP_HUSTLE_REQUESTS_PER_SECOND": "5000",
            },
        )
        self.directory = directory
        self._states = f"file://{directory / 'states'}"
        self.is_in_files = False

    @property
    def variables(self) -> dict[str, str]:
        """Where states are kept: with Meltano's own data by default."""
        return {"MELTANO_STATE_BACKEND_URI": self._states} if self.is_in_files else {}

    @contextmanager
    def cut_off(self, *names: str) -> Iterator[list[psutil.Process]]:
        """Have a run held in the middle, do to it what the block does, and let it end.

        Args:
            names: The programs that something is to be done to. They are started as they are, the others warm.

        Yields:
            Their processes.
        """
        self.sandbox.faults.replace(HELD)
        self.meltano.scripts = SCRIPTS if "meltano" in names else self.programs
        path = os.pathsep.join([str(self.folder_of(names)), str(self.programs), os.environ["PATH"]])
        variables = {**self.variables, "PATH": path}
        program = self.meltano.program("run", "--force", "tap-hustle", "target-postgres", variables=variables)
        with running(program) as run:
            self.sandbox.faults.wait_until_held()
            with self.warehouse.connect() as connection:
                run.wait_until(lambda: is_loading(connection), timeout=300.0)
            yield [self.process(name) for name in names]
            self.sandbox.faults.clear()
            assert run.wait() != 0

    def folder_of(self, names: Sequence[str]) -> Path:
        """A new folder that has these programs alone, as they are installed."""
        folder = Path(mkdtemp(dir=self.directory))
        for name in names:
            (folder / name).symlink_to(SCRIPTS / name)
        return folder

    def process(self, name: str) -> psutil.Process:
        """The process that executes a program with the files of this pipeline."""
        for one in psutil.process_iter():
            with suppress(psutil.Error):  # it has ended by now
                command = one.cmdline()
                if name in [Path(word).name for word in command[:2]] and str(self.meltano.directory) in str(command):
                    return one
        raise LookupError(name)

    def finish(self) -> dict[str, Any]:
        """Let a run come to its end, and verify it; returns the report of the tap."""
        self.meltano.scripts = self.programs
        verified = ("tap-hustle", "target-postgres", "verify:hustle")
        self.meltano.run("run", "--force", *verified, variables=self.variables).check()
        report: dict[str, Any] = json.loads(self.meltano.report("hustle").read_text())
        return report

    def tables(self) -> dict[str, dict[str, dict[str, Any]]]:
        """The rows of all tables by their ids, but for the columns of the loader; fails if one is there twice."""
        found: dict[str, dict[str, dict[str, Any]]] = {}
        with self.warehouse.connect() as connection:
            names = connection.execute(
                "SELECT table_name FROM information_schema.tables WHERE table_schema = %s", [HUSTLE_SCHEMA]
            ).fetchall()
            for (name,) in names:
                query = sql.SQL("SELECT to_jsonb(one) FROM {} AS one").format(sql.Identifier(HUSTLE_SCHEMA, name))
                rows = [row for (row,) in connection.execute(query)]
                found[name] = {
                    row["id"]: {key: value for key, value in row.items() if not key.startswith("_sdc_")} for row in rows
                }
                assert len(found[name]) == len(rows), name
        return found

    def connections(self) -> list[int]:
        """The process ids of the server that serve the loader."""
        with self.warehouse.connect() as connection:
            return [pid for (pid,) in connection.execute(CONNECTIONS)]

    def assert_complete(self) -> None:
        """Every row is there, and no other."""
        truth = {stream: set(ids) for stream, ids in self.sandbox.truth.ids.items()}
        assert {name: set(rows) for name, rows in self.tables().items()} == truth


def is_loading(connection: psycopg.Connection[Any]) -> bool:
    """Whether the loader is connected, and has made the table of leads."""
    found = connection.execute("SELECT to_regclass(%s)", [f"{HUSTLE_SCHEMA}.leads"]).fetchone()
    return found != (None,) and connection.execute(CONNECTIONS).fetchone() is not None


def restart(pipeline: Pipeline) -> None:
    """Have the database restart as after a crash: it ends all connections, and comes back by itself."""
    os.kill(pipeline.connections()[0], signal.SIGKILL)
    while True:
        with suppress(psycopg.OperationalError):  # it is on its way
            if not pipeline.connections():
                return
        time.sleep(0.01)


@pytest.fixture
def pipeline(postgres: Postgres, programs: Path, tmp_path: Path) -> Iterator[Pipeline]:
    scenario = HustleScenario(organizations=2, leads=LEADS, requests_per_second=None)
    with serve_in_thread(Scenario(hustle=scenario)) as sandbox:
        yield Pipeline(sandbox, postgres, tmp_path, programs)


def test_whatever_ends_in_the_middle_the_next_run_goes_on(pipeline: Pipeline) -> None:
    # The loader writes and acknowledges what it has when the tap is gone.
    with pipeline.cut_off("tap-hustle") as (tap,):
        tap.kill()
    before = pipeline.tables()
    assert 0 < len(before["leads"]) < LEADS
    # A loader that loses its database ends, and has acknowledged nothing.
    with pipeline.cut_off():
        restart(pipeline)
    assert pipeline.tables() == before
    goes_on(pipeline.finish())
    pipeline.assert_complete()
    first = pipeline.tables()

    # With states in files, which know nothing of those runs: everything is read once more.
    pipeline.is_in_files = True
    (edited, *_) = pipeline.sandbox.records("agents")
    change = {**edited, "fullName": "Renamed"}
    pipeline.sandbox.run(lambda running: running.hustle.selector.account.put("agents", change))
    with pipeline.cut_off("tap-hustle") as (tap,):
        tap.terminate()
    with pipeline.cut_off("target-postgres", "meltano") as (loader, meltano):
        loader.kill()
        meltano.kill()
    goes_on(pipeline.finish())
    pipeline.assert_complete()
    again = pipeline.tables()
    assert again["agents"].pop(edited["id"]) == {**first["agents"].pop(edited["id"]), "fullName": "Renamed"}
    assert again == first


def goes_on(report: dict[str, Any]) -> None:
    """A run went on where the tap of an earlier one had been."""
    leads = report["streams"]["leads"]
    assert any(part["resumed"] for part in leads["partitions"])
    assert leads["rows"] < LEADS
    assert report["streams"]["groups"]["rows"] == 0
