"""Changed rows only, through the real loader: what the warehouse has stays what the API has."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import pytest
from api_sandbox import HustleScenario, RunningSandbox, Scenario, serve_in_thread
from psycopg import sql

from demo.processes import SCRIPTS
from tests.hustle.account import Account, Edit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from demo.postgres import Postgres

STREAMS = ("organizations", "groups", "agents", "tags")
SCHEMA = "changed_rows"
NIGHTS = int(os.environ.get("LIVES", "0")) // 10
MAPS: tuple[Any, ...] = ({}, {}, {"groups": {"label": "record.get('name')"}}, {"agents": {"label": "'x'"}})


class Warehouse:
    """A tap and a loader in a pipe, with the STATE that goes round; the store is in the same database by default."""

    def __init__(
        self, sandbox: RunningSandbox, postgres: Postgres, folder: Path, programs: Path, **settings: Any
    ) -> None:
        self.account = Account(sandbox.run(lambda running: running.hustle))
        self._postgres = postgres
        self._folder = folder
        self._programs = programs
        self.states: list[Any] = [{}]
        self._settings = {
            "client_id": sandbox.hustle.client_id,
            "client_secret": sandbox.hustle.client_secret,
            "api_url": sandbox.hustle.api_url,
            "page_size": 7,
            "requests_per_second": 5000,
            "changes_only": True,
            "changes_url": postgres.sqlalchemy_url,
            "emit_activate_version_messages": True,
        }
        self.choose(**settings)
        target = {"sqlalchemy_url": postgres.sqlalchemy_url, "default_target_schema": SCHEMA, "use_copy": True}
        self._write("target", target | {"batch_size_rows": 10})

    def choose(self, **settings: Any) -> None:
        """Change settings of the tap."""
        self._settings |= settings
        self._write("tap", self._settings)

    def execute(self, statement: str) -> list[Any]:
        with self._postgres.connect() as connection:
            found = connection.execute(statement)
            return list(found) if found.description else []

    def lose_store(self) -> None:
        for table in ("names", "reads", "runs", "rows"):
            self.execute(f"DROP TABLE IF EXISTS changes_{table}")

    def load(self) -> list[tuple[str, str, bool]]:
        """Run both; what was sent: stream, id, and whether the row is gone."""
        self._write("state", self.states[-1])
        messages = self._folder / "messages.jsonl"
        with messages.open("wb") as output:
            self._run("tap-hustle", "--config", "tap.json", "--state", "state.json", stdout=output)
        with messages.open("rb") as given:
            done = self._run("target-postgres", "--config", "target.json", stdin=given, stdout=subprocess.PIPE)
        self.states.append(json.loads(done.stdout.splitlines()[-1]))
        sent = [json.loads(line) for line in messages.read_bytes().splitlines()]
        return [
            (one["stream"], one["record"]["id"], "_sdc_deleted_at" in one["record"])
            for one in sent
            if one["type"] == "RECORD"
        ]

    def _run(self, program: str, *args: str, **pipes: Any) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([self._programs / program, *args], check=True, **self._place, **pipes)

    @property
    def _place(self) -> dict[str, Any]:
        return {"cwd": self._folder, "env": {"HOME": str(self._folder)}}

    def cut_off(self, lines: int, killed: Collection[str]) -> None:
        """Run both in a pipe, and kill one or both when so many lines have passed."""
        self._write("state", self.states[-1])
        tap_command: list[str | Path] = [SCRIPTS / "tap-hustle", "--config", "tap.json", "--state", "state.json"]
        loader_command: list[str | Path] = [SCRIPTS / "target-postgres", "--config", "target.json"]
        acknowledged = self._folder / "acknowledged"
        passed = 0
        with (
            acknowledged.open("wb") as out,
            subprocess.Popen(loader_command, stdin=subprocess.PIPE, stdout=out, **self._place) as loader,
            subprocess.Popen(tap_command, stdout=subprocess.PIPE, **self._place) as tap,
        ):
            assert tap.stdout is not None
            assert loader.stdin is not None
            with suppress(BrokenPipeError):
                for line in tap.stdout:
                    loader.stdin.write(line)
                    loader.stdin.flush()
                    passed += 1
                    if passed == lines:
                        for name in killed:
                            {"tap": tap, "loader": loader}[name].kill()
            with suppress(BrokenPipeError):
                loader.stdin.close()
        self.states += [json.loads(line) for line in acknowledged.read_bytes().splitlines()[-1:]]

    def differing(self) -> dict[str, list[Any]]:
        """By stream, the rows that are not deleted and not those of the API, and those that should be there."""
        found = {name: self._rows(name).items() ^ self._truth(name).items() for name in STREAMS}
        return {name: sorted(rows, key=str) for name, rows in found.items() if rows}

    def _rows(self, name: str) -> dict[str, Any]:
        query = sql.SQL("SELECT id, name FROM {} WHERE _sdc_deleted_at IS NULL")
        with self._postgres.connect() as connection:
            return dict(connection.execute(query.format(sql.Identifier(SCHEMA, name))).fetchall())

    def _truth(self, name: str) -> dict[str, Any]:
        return {fields["id"]: fields.get("name") for fields in self.account.rows(name)}

    def _write(self, name: str, content: Any) -> None:
        (self._folder / f"{name}.json").write_text(json.dumps(content))


@pytest.fixture
def warehouse(postgres: Postgres, tmp_path: Path, programs: Path) -> Iterator[Warehouse]:
    with ExitStack() as stack:
        scenario = HustleScenario(organizations=3, groups=14, agents=14, tags=3, leads=20, requests_per_second=None)
        sandbox = stack.enter_context(serve_in_thread(Scenario(hustle=scenario)))
        yield Warehouse(sandbox, postgres, tmp_path, programs)


def test_the_warehouse_stays_the_truth(warehouse: Warehouse) -> None:
    everything = len(warehouse.load())
    assert everything > 100
    assert warehouse.differing() == {}
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
    assert warehouse.differing() == {}
    assert warehouse.load() == []

    warehouse.account.happen(Edit("return", "agents"))
    assert len(warehouse.load()) == 2
    assert warehouse.differing() == {}

    # Nobody knows what has gone meanwhile, but the loader does when it is told the version.
    warehouse.account.happen(Edit("remove", "agents", 1, 0, 2))
    warehouse.lose_store()
    assert len(warehouse.load()) == everything - 1
    assert warehouse.differing() == {}
    assert warehouse.load() == []


@pytest.mark.skipif(not NIGHTS, reason="make lives kills taps and loaders at any line")
@pytest.mark.timeout(0)
@pytest.mark.parametrize("activate", [True, False])
def test_lives_in_which_both_are_killed(postgres: Postgres, programs: Path, tmp_path: Path, *, activate: bool) -> None:
    seed = random.getrandbits(32)
    chance = random.Random(seed)  # noqa: S311 - decides what happens, not what is secret
    store, older = tmp_path / "store.db", tmp_path / "older.db"
    scenario = HustleScenario(organizations=3, groups=14, agents=14, tags=3, leads=0, requests_per_second=None)
    with serve_in_thread(Scenario(hustle=scenario)) as sandbox:
        warehouse = Warehouse(
            sandbox,
            postgres,
            tmp_path,
            programs,
            changes_url=f"sqlite:///{store}",
            max_deleted_share=1,
            emit_activate_version_messages=activate,
        )
        for night in range(NIGHTS):
            for _ in range(chance.randint(0, 4)):
                warehouse.account.happen(random_edit(chance))
            warehouse.choose(stream_maps=chance.choice(MAPS))
            for _ in range(chance.randint(1, 3)):
                warehouse.cut_off(chance.randint(1, 200), chance.choice([["tap"], ["loader"], ["tap", "loader"]]))
                warehouse.account.happen(random_edit(chance))
            # Of a store that is lost or old, only ACTIVATE_VERSION makes up for what has gone meanwhile.
            if lost := activate and chance.choice([False, False, True]):
                store.unlink(missing_ok=True)
            if chance.choice([False, False, True]):
                warehouse.states.append(chance.choice(warehouse.states[-8:]))
            if not lost:
                shutil.copy(store, older)
            acknowledged = warehouse.states[-1]
            warehouse.load()
            if "resume" in str(acknowledged):
                warehouse.load()  # that read went on from the middle: it may not say what has gone
            assert warehouse.differing() == {}, (seed, night)
            is_new = activate and not lost and warehouse.states[-1] != acknowledged
            if is_new and chance.choice([False, False, True]):
                shutil.copy(older, store)
                warehouse.states = warehouse.states[-1:]  # of two old parts that fit together nobody can tell it


def random_edit(chance: random.Random) -> Edit:
    """Something that happens to groups, agents or tags."""
    what = chance.choice(["add", "insert", "change", "blank", "remove", "return", "move", "transfer"])
    return Edit(
        what,  # type: ignore[arg-type]
        chance.choice(["groups", "agents", "tags"]),
        chance.randrange(3),
        chance.randint(-3, 14),
        chance.randint(1, 5),
    )
