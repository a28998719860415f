"""Leads all the way into PostgreSQL, with the CPU of every process on the way: all of them, and a night's changes.

The wall time is that of the pipeline from its start to its end. The CPU time is that of the tap, the loader, what runs
them, and the database server. Each program gets a database of its own; its table is then compared with the truth.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import psutil
import yaml
from psycopg import sql

from bench import report, sandbox
from bench.goals import FLOOR_RATE
from bench.lines import LATENCY
from bench.measure import run
from bench.programs import HERE, SCRIPTS, Task, peer, singer
from demo.postgres import embedded_postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from demo.postgres import Postgres

LEADS, ORGANIZATIONS = 100_000, 5
SCHEMA = "hustle"
PATIENCE = 600.0
PROJECT = HERE.parent
SETTLED = 0.5  # seconds after which the server has counted what its processes used
TIMES_THE_SDK, TIMES_DLT = 0.4, 0.75
CHANGED, GONE = 100, 1000
"""In a night every so many-th lead is changed, and every so many-th goes."""
NIGHT_TIMES_DLT, NIGHT_TIMES_THE_TAP = 0.25, 1.5
_ABOUT = """\
From the start of the first process to the end of the last; CPU is that of all processes, the server included. Every
program begins with an empty database, and its table is compared with the truth. target-postgres has the settings of
`meltano.yml` behind tap-hustle, and its own defaults behind the plain tap. dlt writes CSV, which it loads with COPY. By
default it makes tables of the lists in a lead; as columns of JSON they are what the others write."""
_HEAD = "program", "wall s", "CPU s", "of which server", "rows", "runs"


@dataclass(frozen=True)
class Way:
    """A way of leads into PostgreSQL.

    Attributes:
        name: For the table.
        command: Prepares it, and says how it is started.
    """

    name: str
    command: Callable[[Task, Postgres], list[str]]


@dataclass(frozen=True)
class Load:
    """What a load took; times in seconds."""

    wall: float
    cpu: float
    server: float
    is_true: bool


def _ours(task: Task, postgres: Postgres, *options: str, changes_only: bool = False) -> list[str]:
    settings = {str(each["name"]): each["value"] for each in _loader_settings() if "value" in each}
    config = task.store("config.json", {**task.hustle, "changes_only": changes_only})
    tap = [*singer([str(SCRIPTS / "tap-hustle")], config, task), *options]
    return _piped(tap, settings, task, postgres)


def _plain(task: Task, postgres: Postgres) -> list[str]:
    tap = singer(peer("sdk_tap.py"), task.store("config.json", task.hustle), task)
    return _piped(tap, {}, task, postgres)


def _dlt(task: Task, postgres: Postgres, max_table_nesting: int | None = None) -> list[str]:
    url = f"postgresql://postgres:none@localhost/postgres?host={postgres.socket_directory}&port=5432"
    config = task.store("config.json", {**task.hustle, "postgres": url, "max_table_nesting": max_table_nesting})
    return [*peer("dlt_warehouse.py"), str(config), str(task.directory / "dlt")]


def _meltano(task: Task, postgres: Postgres) -> list[str]:
    (task.directory / "no.env").touch()
    variables = {
        **{f"TAP_HUSTLE_{name.upper()}": value for name, value in task.hustle.items()},
        "TAP_HUSTLE__SELECT": json.dumps(["leads.*"]),
        "TARGET_POSTGRES_SQLALCHEMY_URL": postgres.sqlalchemy_url,
        "TARGET_POSTGRES_DEFAULT_TARGET_SCHEMA": SCHEMA,
        "PATH": f"{SCRIPTS}{os.pathsep}{task.env['PATH']}",
        "MELTANO_PROJECT_ROOT": str(PROJECT),
        "MELTANO_SYS_DIR_ROOT": str(task.directory / "system"),
        "MELTANO_PROJECT_READONLY": "true",
        "MELTANO_CLI_DISABLE_VERSION_CHECK": "true",
    }
    words = ["meltano", "--env-file", str(task.directory / "no.env"), "--environment=prod"]
    return [
        "env",
        *(f"{name}={value}" for name, value in variables.items()),
        *words,
        "run",
        "tap-hustle",
        "target-postgres",
    ]


WAYS = (
    Way("tap-hustle, target-postgres", _ours),
    Way("the same through meltano run", _meltano),
    Way("plain singer-sdk tap, target-postgres", _plain),
    Way("dlt", _dlt),
    Way("dlt, lists as columns of JSON", partial(_dlt, max_table_nesting=0)),
)
OURS, _, PLAIN, DLT, _ = WAYS
NIGHT = "a night later, with changes_only"
ALONE = "tap-hustle alone, the same night"


def _piped(tap: list[str], settings: dict[str, object], task: Task, postgres: Postgres) -> list[str]:
    own = {"sqlalchemy_url": postgres.sqlalchemy_url, "default_target_schema": SCHEMA}
    config = task.store("loader.json", {**settings, **own})
    loader = [str(SCRIPTS / "target-postgres"), "--config", str(config)]
    return ["bash", "-c", f"set -o pipefail; {shlex.join(tap)} | {shlex.join(loader)}"]


def _loader_settings() -> list[dict[str, object]]:
    loaders = yaml.safe_load((PROJECT / "meltano.yml").read_text())["plugins"]["loaders"]
    found: list[dict[str, object]] = next(each["settings"] for each in loaders if each["name"] == "target-postgres")
    return found


def section(directory: Path, runs: int) -> str:
    """Measure, and tell of it as Markdown."""
    loads: defaultdict[str, list[Load]] = defaultdict(list)
    scenario = {"organizations": ORGANIZATIONS, "leads": LEADS, "latency": LATENCY, "requests_per_second": FLOOR_RATE}
    with sandbox.running({"hustle": scenario}, directory) as api:
        for _ in range(runs):
            for way in WAYS:
                with embedded_postgres() as postgres, _task(api, directory) as task:
                    loads[way.name].append(_load(way.command(task, postgres), task, postgres, api))
                _tell(way.name, loads[way.name][-1])
        for night, alone in _nights(api, directory, runs):
            loads[NIGHT].append(night)
            loads[ALONE].append(alone)
            _tell(NIGHT, night)
    rows = [_HEAD, *(_row(name, found) for name, found in loads.items())]
    parts = (f"### {LEADS:,} leads into PostgreSQL", _ABOUT, report.written(rows))
    return "\n\n".join((*parts, report.written([report.GOAL_HEAD, *_goals(loads)])))


@contextmanager
def _task(api: sandbox.Sandbox, directory: Path) -> Iterator[Task]:
    with TemporaryDirectory(dir=directory) as own:
        env = {"PATH": os.environ.get("PATH", os.defpath), "HOME": own, "LANG": "C.UTF-8"}
        env["RUNTIME__DLTHUB_TELEMETRY"] = "false"
        yield Task(api.hustle, is_limited=True, directory=Path(own), env=env)


def _nights(api: sandbox.Sandbox, directory: Path, nights: int) -> Iterator[tuple[Load, Load]]:
    """Load with ``changes_only``, then what each night has changed; read the whole list with the tap alone, too."""
    with embedded_postgres() as postgres, _task(api, directory) as task:
        state: list[str] = []
        for night in range(nights + 1):
            changed = _ours(task, postgres, *state, changes_only=True)
            load = _load(changed, task, postgres, api)
            (task.directory / "state.json").write_bytes((task.directory / "output").read_bytes().splitlines()[-1])
            state = ["--state", str(task.directory / "state.json")]
            if night:
                tap = singer([str(SCRIPTS / "tap-hustle")], task.store("config.json", task.hustle), task)
                whole = task.directory / "whole.jsonl"
                used = run(tap, output=whole, log=task.directory / "log", env=task.env, patience=PATIENCE)
                is_same = load.is_true and _notes(whole) == {row[0]: row[1] for row in _rows(postgres, "id", "notes")}
                yield replace(load, is_true=is_same), Load(used.wall, used.cpu, 0, used.exit_code == 0)
            api.pass_night(CHANGED, GONE)


def _load(command: list[str], task: Task, postgres: Postgres, api: sandbox.Sandbox) -> Load:
    before = _server(postgres)
    log, output = task.directory / "log", task.directory / "output"
    used = run(command, output=output, log=log, env=task.env, patience=PATIENCE)
    time.sleep(SETTLED)
    server = _server(postgres) - before
    found = [row[0] for row in _rows(postgres, "id")] if used.exit_code == 0 else []
    truth = api.lead_ids()
    return Load(used.wall, used.cpu + server, server, len(found) == len(truth) and set(found) == truth)


def _rows(postgres: Postgres, *columns: str) -> list[tuple[Any, ...]]:
    """The rows that are not marked as deleted."""
    table, chosen = sql.Identifier(SCHEMA, "leads"), sql.SQL(", ").join(map(sql.Identifier, columns))
    # dlt has no such column.
    query = sql.SQL("SELECT {} FROM {} AS found WHERE to_jsonb(found) ->> '_sdc_deleted_at' IS NULL")
    with postgres.connect() as connection:
        return connection.execute(query.format(chosen, table)).fetchall()


def _notes(file: Path) -> dict[str, str | None]:
    """The notes of each lead, which nights change, as a tap wrote them."""
    with file.open("rb") as lines:
        messages = (json.loads(line) for line in lines if line.startswith(b'{"type":"RECORD"'))
        return {message["record"]["id"]: message["record"].get("notes") for message in messages}


def _tell(name: str, load: Load) -> None:
    print(f"  {name}: {load}", file=sys.stderr, flush=True)


def _server(postgres: Postgres) -> float:
    """Seconds of all processors that the server has used so far."""
    with postgres.connect() as connection:
        backend = psutil.Process(connection.info.backend_pid)
        server = backend.parent() or backend
        living = [server, *server.children()]
        times = [process.cpu_times() for process in living]
    own = times[0]
    return sum(each.user + each.system for each in times) + own.children_user + own.children_system


def _row(name: str, loads: list[Load]) -> tuple[str, ...]:
    wall, cpu, server = (median(getattr(load, each) for load in loads) for each in ("wall", "cpu", "server"))
    rows = "all" if all(load.is_true for load in loads) else "**not the truth**"
    return name, f"{wall:.2f}", f"{cpu:.2f}", f"{server:.2f}", rows, str(len(loads))


def _goals(loads: dict[str, list[Load]]) -> Iterator[tuple[str, str, str]]:
    for name, other, times in (
        (OURS.name, PLAIN.name, TIMES_THE_SDK),
        (OURS.name, DLT.name, TIMES_DLT),
        (NIGHT, DLT.name, NIGHT_TIMES_DLT),
    ):
        yield _goal(loads, "cpu", (name, other), times)
    yield _goal(loads, "wall", (NIGHT, ALONE), NIGHT_TIMES_THE_TAP)


def _goal(loads: dict[str, list[Load]], what: str, names: tuple[str, str], times: float) -> tuple[str, str, str]:
    name, other = names
    ours, theirs = (median(getattr(load, what) for load in loads[each]) for each in names)
    is_fair = all(load.is_true for each in names for load in loads[each])
    measured = f"{ours / theirs:.2f}x" if is_fair else "a table is not the truth"
    text = f"{name}: {what} time at most {times:g}x that of {other}"
    return report.of_goal(text, measured, is_met=is_fair and ours <= times * theirs)
