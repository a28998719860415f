"""``python -m bench.airflow``: the shards of tap-hustle as Airflow runs them, counted against the truth.

First by `airflow dags test`, one shard after the other; then by a scheduler with the LocalExecutor, side by side.
"""

from __future__ import annotations

import secrets
import shutil
import socket
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import yaml
from psycopg import sql
from singer_http.http.shard import Shard

from demo.comparison import HUSTLE_SCHEMA, aligned
from demo.meltano import PROJECT, Meltano
from demo.postgres import embedded_postgres
from demo.processes import DemoError, Program, running, tail
from demo.sandbox import running_sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from typing_extensions import LiteralString

    from demo.postgres import Postgres
    from demo.sandbox import Sandbox

PROGRAM = PROJECT / "orchestrate/.venv/bin/airflow"
DAG = "hustle_shards"
SHARDS = 4
SCENARIO = {"hustle": {"organizations": 24, "leads": 6000}}
PATIENCE = 1800.0  # seconds for what takes long on a busy machine


@dataclass(frozen=True)
class Airflow:
    """Airflow with the DAGs of this project.

    Attributes:
        folder: Its files.
        database: Its own.
        meltano: The database of Meltano.
        environment: What its programs run with.
    """

    folder: Path
    database: Postgres
    meltano: Postgres
    environment: Mapping[str, str]

    @classmethod
    def new(cls, folder: Path, postgres: Postgres, shards: int, variables: Mapping[str, str]) -> Airflow:
        """Make one for a number of shards; the variables are those that meltano.yml refers to."""
        own, meltano = postgres.new_database("airflow"), postgres.new_database("meltano")
        project = folder / "project"  # without what the user's own may have beside these: a .env
        project.mkdir()
        shutil.copy(PROJECT / "meltano.yml", project)
        (project / ".venv").symlink_to(sys.prefix)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        made = cls(
            folder,
            own,
            meltano,
            Meltano(folder / "meltano", variables).environment
            | {
                "MELTANO_PROJECT_ROOT": str(project),
                "MELTANO_DATABASE_URI": meltano.sqlalchemy_url,
                "SHARD_COUNT": str(shards),
                "SHARD_RETRY_SECONDS": "0",
                "AIRFLOW_HOME": str(folder / "airflow"),
                "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "orchestrate/dags"),
                "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
                "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
                "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
                "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": own.sqlalchemy_url.replace("+psycopg", "+psycopg2"),
                "AIRFLOW__API__HOST": "127.0.0.1",
                "AIRFLOW__API__PORT": str(port),
                "AIRFLOW__API__SECRET_KEY": secrets.token_hex(),
                "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(),
            },
        )
        made.run("db", "migrate")
        return made

    def program(self, *arguments: str) -> Program:
        """A command, as a program to be started; its log has the name of the command."""
        log = self.folder / f"airflow-{'-'.join(arguments[:2])}.log"
        return Program("Airflow", [PROGRAM, *arguments], log, env=self.environment)

    def run(self, *arguments: str) -> None:
        """Run a command to its end; raises :class:`DemoError` if it fails."""
        program = self.program(*arguments)
        with running(program) as airflow:
            if airflow.wait():
                raise DemoError(f"airflow {' '.join(arguments)} failed:\n{tail(program.log)}")

    def query(self, query: LiteralString) -> list[tuple[Any, ...]]:
        """Ask its database."""
        with self.database.connect() as connection:
            return connection.execute(query).fetchall()

    def run_by_scheduler(self) -> None:
        """Run the DAG as an Airflow in production does; raises :class:`DemoError` if it fails."""
        with self._serving():
            self.run("pools", "set", "shards", str(SHARDS), "shards at a time")
            self.run("dags", "unpause", DAG)  # begins with the run of today
            states = "SELECT state FROM dag_run WHERE run_type = 'scheduled' AND state IN ('success', 'failed')"
            end = time.monotonic() + PATIENCE
            while not (ended := self.query(states)) and time.monotonic() < end:
                time.sleep(1)
        if ended != [("success",)]:
            raise DemoError(f"the DAG run ended as {ended}\n{tail(self.folder / 'airflow-scheduler.log')}")

    @contextmanager
    def _serving(self) -> Iterator[None]:
        with ExitStack() as parts:
            for part in ("api-server", "scheduler", "dag-processor"):
                started = parts.enter_context(running(self.program(part)))
            started.wait_until(lambda: bool(self.query("SELECT 1 FROM serialized_dag")), PATIENCE)
            yield


def leads_by_shard(warehouse: Postgres, sandbox: Sandbox, shards: int) -> list[tuple[int, int, int]]:
    """Of each shard, how many organizations it has, and how many leads of them are in the warehouse and in the API."""
    truth = {owner: part["count"] for owner, part in sandbox.ask("truth?ids=false")["leads"]["by_organization"].items()}
    query = sql.SQL('SELECT "organizationId", count(*) FROM {}.leads GROUP BY 1').format(sql.Identifier(HUSTLE_SCHEMA))
    with warehouse.connect() as connection:
        loaded: dict[str, int] = dict(connection.execute(query).fetchall())
    found = []
    for number in range(1, shards + 1):
        own = [owner for owner in truth if Shard(number, shards).holds(owner)]
        found.append((len(own), sum(loaded.get(owner, 0) for owner in own), sum(truth[owner] for owner in own)))
    return found


def main() -> None:
    """Run both ways, and tell what arrived."""
    with TemporaryDirectory() as temporary, embedded_postgres() as warehouse:
        folder = Path(temporary)
        scenario = folder / "scenario.yml"
        scenario.write_text(yaml.safe_dump(SCENARIO))
        with running_sandbox(scenario, folder) as sandbox:
            variables = {**sandbox.variables, "SANDBOX_POSTGRES_URL": warehouse.sqlalchemy_url}
            airflow = Airflow.new(folder, warehouse, SHARDS, variables)
            for name, run in {
                "airflow dags test": lambda: airflow.run("dags", "test", DAG),
                "scheduler and LocalExecutor": airflow.run_by_scheduler,
            }.items():
                with warehouse.connect() as connection:
                    connection.execute("DROP SCHEMA IF EXISTS tap_hustle CASCADE")
                began = time.monotonic()
                run()
                _tell(f"{name}, {time.monotonic() - began:.0f} s", leads_by_shard(warehouse, sandbox, SHARDS))


def _tell(name: str, found: list[tuple[int, int, int]]) -> None:
    rows = [(name, "leads in PostgreSQL", "leads in the API", "organizations")]
    for number, (organizations, loaded, truth) in enumerate(found, 1):
        rows.append((f"shard {number}/{len(found)}", f"{loaded:,}", f"{truth:,}", f"{organizations}"))
    print(aligned(rows), flush=True)
    if any(loaded != truth for _, loaded, truth in found):
        sys.exit("What is in PostgreSQL differs from what is in the API.")


if __name__ == "__main__":
    main()
