"""Changed rows only, through the real loader: what the warehouse has stays what the API has."""

from __future__ import annotations

import json
import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from api_sandbox import HustleScenario, RunningSandbox, Scenario, serve_in_thread
from psycopg import sql

from demo.processes import SCRIPTS
from tests.hustle.account import Account, Edit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from demo.postgres import Postgres

STREAMS = ("organizations", "groups", "agents", "tags")
SCHEMA = "changed_rows"


class Warehouse:
    """A tap and a loader in a pipe, with the STATE that goes round; the store is in the same database."""

    def __init__(self, sandbox: RunningSandbox, postgres: Postgres, folder: Path) -> None:
        self.account = Account(sandbox.run(lambda running: running.hustle))
        self._postgres = postgres
        self._folder = folder
        credentials = {"client_id": sandbox.hustle.client_id, "client_secret": sandbox.hustle.client_secret}
        self._state: Any = {}
        self._write(
            "tap",
            {
                **credentials,
                "api_url": sandbox.hustle.api_url,
                "page_size": 7,
                "requests_per_second": 5000,
                "changes_only": True,
                "changes_url": postgres.sqlalchemy_url,
                "emit_activate_version_messages": True,
            },
        )
        target = {"sqlalchemy_url": postgres.sqlalchemy_url, "default_target_schema": SCHEMA, "use_copy": True}
        self._write("target", target)

    def execute(self, statement: str) -> list[Any]:
        with self._postgres.connect() as connection:
            found = connection.execute(statement)
            return list(found) if found.description else []

    def lose_store(self) -> None:
        for table in ("names", "reads", "runs", "rows"):
            self.execute(f"DROP TABLE IF EXISTS changes_{table}")

    def load(self) -> list[tuple[str, str, bool]]:
        """Run both; what was sent: stream, id, and whether the row is gone."""
        self._write("state", self._state)
        messages = self._folder / "messages.jsonl"
        with messages.open("wb") as output:
            self._run("tap-hustle", "--config", "tap.json", "--state", "state.json", stdout=output)
        with messages.open("rb") as given:
            done = self._run("target-postgres", "--config", "target.json", stdin=given, stdout=subprocess.PIPE)
        self._state = json.loads(done.stdout.splitlines()[-1])
        sent = [json.loads(line) for line in messages.read_bytes().splitlines()]
        return [
            (one["stream"], one["record"]["id"], "_sdc_deleted_at" in one["record"])
            for one in sent
            if one["type"] == "RECORD"
        ]

    def _run(self, program: str, *args: str, **pipes: Any) -> subprocess.CompletedProcess[bytes]:
        environment = {"HOME": str(self._folder)}
        return subprocess.run([SCRIPTS / program, *args], check=True, cwd=self._folder, env=environment, **pipes)

    def differing(self) -> list[str]:
        """The streams whose rows that are not deleted are not those of the API."""
        return [name for name in STREAMS if self._rows(name) != self._truth(name)]

    def _rows(self, name: str) -> dict[str, Any]:
        query = sql.SQL("SELECT id, name FROM {} WHERE _sdc_deleted_at IS NULL")
        with self._postgres.connect() as connection:
            return dict(connection.execute(query.format(sql.Identifier(SCHEMA, name))).fetchall())

    def _truth(self, name: str) -> dict[str, Any]:
        return {fields["id"]: fields.get("name") for fields in self.account.rows(name)}

    def _write(self, name: str, content: Any) -> None:
        (self._folder / f"{name}.json").write_text(json.dumps(content))


@pytest.fixture
def warehouse(postgres: Postgres, tmp_path: Path) -> Iterator[Warehouse]:
    with ExitStack() as stack:
        scenario = HustleScenario(organizations=3, groups=14, agents=14, tags=3, leads=20, requests_per_second=None)
        yield Warehouse(stack.enter_context(serve_in_thread(Scenario(hustle=scenario))), postgres, tmp_path)


def test_the_warehouse_stays_the_truth(warehouse: Warehouse) -> None:
    everything = len(warehouse.load())
    assert everything > 100
    assert warehouse.differing() == []
    assert warehouse.load() == []

    happened = [
        Edit("change", "agents", 0, 2, 2),
        Edit("remove", "agents", 1, 0, 2),
        Edit("remove", "groups", 2, 3),
        Edit("transfer", "groups", 0, 1),
        Edit("add", "tags", 1, rows=2),
    ]
    for edit in happened:
        warehouse.account.happen(edit)
    sent = warehouse.load()
    assert sorted((stream, is_gone) for stream, _, is_gone in sent) == [
        *[("agents", False)] * 2,
        *[("agents", True)] * 2,
        *[("groups", False), ("groups", True)],
        *[("tags", False)] * 2,
    ]
    marked = "SELECT name FROM changed_rows.agents WHERE _sdc_deleted_at IS NOT NULL"
    assert warehouse.execute(marked) == [(None,), (None,)]
    assert warehouse.differing() == []
    assert warehouse.load() == []

    warehouse.account.happen(Edit("return", "agents"))
    assert len(warehouse.load()) == 2
    assert warehouse.differing() == []

    # Nobody knows what has gone meanwhile, but the loader does when it is told the version.
    warehouse.account.happen(Edit("remove", "agents", 1, 0, 2))
    warehouse.lose_store()
    assert len(warehouse.load()) == everything - 1
    assert warehouse.differing() == []
    assert warehouse.load() == []
