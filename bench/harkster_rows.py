"""Rows a second of target-harkster on rows that have not changed, beside a plain singer-sdk sink that does nothing.

Both read the same messages from a file, as processes of their own, in turns.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

from bench import report, sandbox
from bench.measure import Usage, run
from bench.programs import HERE, SCRIPTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROWS, FEW_ROWS = 100_000, 10_000
PATIENCE = 600.0
TIMES_THE_PLAIN_SINK = 3.5
ROWS_A_SECOND = 15_000
LARGEST_GROWTH = 1.2
"""What peak memory with many rows may be of that with few."""

_PROPERTIES = {
    "id": {"type": "integer"},
    "name": {"type": ["string", "null"], "maxLength": 80},
    "team": {"type": ["string", "null"]},
    "hours": {"type": ["number", "null"]},
    "done": {"type": "boolean"},
    "tags": {"type": "array", "items": {"type": "string"}},
    "day": {"type": "string", "format": "date"},
    "updated_at": {"type": "string", "format": "date-time"},
}
_ABOUT = """\
Rows that the target has in its ledger, in mode upsert, read from a file and validated; the plain sink reads and
validates the same rows and does nothing with them. Rows a second are those of the whole process."""
_HEAD = "program", "rows", "wall s", "spread", "rows/s", "CPU s", "peak MB", "requests", "runs"


@dataclass
class Measured:
    """The runs of one program on one number of rows.

    Attributes:
        name: For the table.
        rows: How many rows it reads.
        runs: What its runs used.
        requests: How many requests the API saw, by run.
        changes: What was done to posts, in all runs together.
    """

    name: str
    rows: int
    runs: list[Usage] = field(default_factory=list)
    requests: list[int] = field(default_factory=list)
    changes: int = 0

    @property
    def wall(self) -> float:
        """Seconds, median."""
        return median(run.wall for run in self.runs)

    @property
    def memory(self) -> float:
        """Peak in bytes, median."""
        return median(run.memory for run in self.runs)

    @property
    def rate(self) -> float:
        """Rows a second, the start of Python and all imports included."""
        return self.rows / self.wall

    def line(self) -> tuple[str, ...]:
        """Its row of the table."""
        walls = [run.wall for run in self.runs]
        low, high = min(self.requests), max(self.requests)
        return (
            self.name,
            f"{self.rows:,}",
            f"{self.wall:.2f}",
            f"{min(walls):.2f} to {max(walls):.2f}",
            f"{self.rate:,.0f}",
            f"{median(run.cpu for run in self.runs):.2f}",
            f"{self.memory / 1e6:.0f}",
            str(low) if low == high else f"{low} to {high}",
            str(len(self.runs)),
        )


class Bench:
    """Runs the programs.

    Args:
        directory: For files.
        api: The sandbox.
    """

    def __init__(self, directory: Path, api: sandbox.Sandbox) -> None:
        self._directory = directory
        self._api = api
        self._env = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(directory), "LANG": "C.UTF-8"}

    def messages(self, rows: int, *, is_last_wrong: bool = False) -> Path:
        """Write the messages of a tap to a file."""
        path = self._directory / f"{rows}{'-wrong' if is_last_wrong else ''}.jsonl"
        with path.open("w", encoding="utf-8") as file:
            for message in _messages(rows, is_last_wrong=is_last_wrong):
                file.write(json.dumps(message) + "\n")
        return path

    def plain(self, source: Path, to: Measured) -> None:
        """Run the plain sink."""
        self._run([sys.executable, str(HERE / "peers" / "nothing_target.py")], source, to)

    def harkster(self, source: Path, to: Measured, ledger: str) -> list[str]:
        """Run target-harkster, and give what it has rejected."""
        rejects = self._directory / f"{ledger}.rejects.jsonl"
        config = self._directory / f"{ledger}.json"
        settings = {
            **{name: self._api.harkster[name] for name in ("access_token", "api_url", "channel")},
            "ledger_url": f"sqlite:///{self._directory / ledger}.db",
            "reject_path": str(rejects),
            "streams": {"hours": {"mode": "upsert"}},
            "first_run": "baseline",
        }
        config.write_text(json.dumps(settings), encoding="utf-8")
        self._run([str(SCRIPTS / "target-harkster"), "--config", str(config)], source, to)
        return rejects.read_text(encoding="utf-8").splitlines() if rejects.exists() else []

    def _run(self, command: list[str], source: Path, to: Measured) -> None:
        self._api.forget()
        before = self._api.changes()
        output, log = self._directory / "output.jsonl", self._directory / "log.txt"
        used = run(command, output=output, log=log, env=self._env, patience=PATIENCE, source=source)
        if used.exit_code != 0:
            raise RuntimeError(f"{to.name} ended with {used.exit_code}:\n{log.read_text(encoding='utf-8')[-2000:]}")
        to.runs.append(used)
        to.requests.append(self._api.served().requests)
        to.changes += self._api.changes() - before
        print(f"  {to.name}, {to.rows:,} rows: {used.wall:.2f} s", file=sys.stderr, flush=True)


def _messages(rows: int, *, is_last_wrong: bool) -> Iterator[dict[str, Any]]:
    schema = {"type": "object", "properties": _PROPERTIES, "required": ["id"]}
    yield {"type": "SCHEMA", "stream": "hours", "key_properties": ["id"], "schema": schema}
    for number in range(rows):
        record = {
            "id": number,
            "name": f"Member {number}",
            "team": f"Team {number % 17}",
            "hours": number % 4000 / 100,
            "done": number % 3 == 0,
            "tags": ["remote", "weekly"],
            "day": f"2026-{number % 12 + 1:02}-{number % 28 + 1:02}",
            "updated_at": f"2026-03-{number % 28 + 1:02}T12:{number % 60:02}:00Z",
        }
        if is_last_wrong and number == rows - 1:
            record["name"] = "x" * 81
        yield {"type": "RECORD", "stream": "hours", "record": record}
    yield {"type": "STATE", "value": {"rows": rows}}


def section(directory: Path, runs: int) -> str:
    """Measure, and tell of it as Markdown."""
    first = Measured("target-harkster, first run, all recorded", ROWS)
    plain = Measured("plain singer-sdk sink that does nothing", ROWS)
    ours = Measured("target-harkster, nothing has changed", ROWS)
    few = Measured("target-harkster, nothing has changed", FEW_ROWS)
    with sandbox.running({"harkster": {"requests_per_second": None}}, directory) as api:
        bench = Bench(directory, api)
        many_rows, few_rows = bench.messages(ROWS), bench.messages(FEW_ROWS)
        bench.harkster(many_rows, first, "many")
        bench.harkster(few_rows, Measured("first run of few", FEW_ROWS), "few")
        for _ in range(runs):
            bench.plain(many_rows, plain)
            bench.harkster(many_rows, ours, "many")
            bench.harkster(few_rows, few, "few")
        wrong = bench.messages(FEW_ROWS, is_last_wrong=True)
        rejected = len(bench.harkster(wrong, Measured("one row is not valid", FEW_ROWS), "few"))
    lines = [_HEAD, *(measured.line() for measured in (ours, plain, few, first))]
    return "\n\n".join(
        (
            f"### {ROWS:,} unchanged rows into target-harkster",
            _ABOUT,
            report.written(lines),
            report.written([report.GOAL_HEAD, *_goals(ours, plain, few, rejected)]),
        )
    )


def _goals(ours: Measured, plain: Measured, few: Measured, rejected: int) -> Iterator[tuple[str, str, str]]:
    goal = report.of_goal
    requests = max(ours.requests)
    is_quiet = requests == max(few.requests) and ours.changes == few.changes == 0
    same = (
        f"{requests} requests, {max(few.requests)} for {few.rows:,} rows; {ours.changes + few.changes} changes of posts"
    )
    yield goal("no API call for unchanged rows", same, is_met=is_quiet)
    times = ours.rate / plain.rate
    text = f"at least {TIMES_THE_PLAIN_SINK:g}x the rows/s of the plain sink"
    yield goal(text, f"{times:.2f}x", is_met=times >= TIMES_THE_PLAIN_SINK)
    yield goal(f"{ROWS_A_SECOND:,} rows/s", f"{ours.rate:,.0f} rows/s", is_met=ours.rate >= ROWS_A_SECOND)
    growth = ours.memory / few.memory
    text = f"peak memory of {ours.rows:,} rows at most {LARGEST_GROWTH:g}x that of {few.rows:,}"
    yield goal(text, f"{growth:.2f}x", is_met=growth <= LARGEST_GROWTH)
    yield goal("validation is on", f"{rejected} of 1 invalid rows rejected", is_met=rejected == 1)
