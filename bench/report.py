"""The tables: on the screen while it is measured, and in RESULTS.md."""

from __future__ import annotations

import datetime as dt
import os
import platform
import subprocess
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from bench.goals import FLOOR_RATE
from bench.programs import PEERS_PYTHON, PROGRAMS
from bench.runs import OURS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.lines import Line
    from bench.runs import Results, Run

_PACKAGES = "singer-sdk", "dlt", "airbyte-cdk"
_HEAD = "program", "wall s", "spread", "ours is", "CPU s", "peak MB", "requests", "429", "records", "runs"
GOAL_HEAD = "goal", "measured", ""

Table = list[tuple[str, ...]]


def of_line(line: Line, results: Results) -> Table:
    """A row for each program."""
    rows: Table = [_HEAD]
    for program in (OURS, *line.peers):
        if runs := results.of(line.key, program):
            rows.append(_row(program, runs, results.wall(line.key)))
    return rows


def of_goals(line: Line, results: Results) -> Table:
    """A row for each goal."""
    rows: Table = [GOAL_HEAD]
    for goal in line.goals:
        verdict = goal.judge(line.key, results)
        rows.append(of_goal(goal.text, verdict.measured, is_met=verdict.is_met))
    return rows


def of_goal(text: str, measured: str, *, is_met: bool | None) -> tuple[str, str, str]:
    """The row of one goal; None where what it compares was not measured."""
    return text, measured, {True: "met", False: "**not met**", None: "—"}[is_met]


def _row(program: str, runs: Sequence[Run], ours: float | None) -> tuple[str, ...]:
    walls = [run.wall for run in runs]
    given_up = any(run.exit_code is None for run in runs)
    more = "> " if given_up else ""
    whole = all(run.is_complete for run in runs)
    return (
        PROGRAMS[program].name,
        f"{more}{median(walls):.2f}",
        f"{min(walls):.2f} to {max(walls):.2f}",
        "" if program == OURS or ours is None else f"{more}{median(walls) / ours:.2f}x as fast",
        f"{median(run.cpu for run in runs):.2f}",
        f"{median(run.memory for run in runs) / 1e6:.0f}",
        f"{median(run.requests for run in runs):.0f}",
        _spread([run.refused for run in runs]),
        "all" if whole else _shortfall(runs),
        str(len(runs)),
    )


def _spread(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"


def _shortfall(runs: Sequence[Run]) -> str:
    worst = min(runs, key=lambda run: run.distinct)
    how = "given up" if worst.exit_code is None else f"exit code {worst.exit_code}"
    return f"**{worst.distinct:,} of {worst.account.leads:,}**, {worst.records - worst.distinct} twice; {how}"


def written(rows: Table) -> str:
    """A table as Markdown, in columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]

    def lines() -> Iterator[str]:
        for place, row in enumerate(rows):
            yield "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
            if place == 0:
                yield "|" + "|".join("-" * (width + 2) for width in widths) + "|"

    return "\n".join(lines())


def section(line: Line, results: Results) -> str:
    """What is told of one line."""
    account = results.of(line.key)[0].account
    limit = f"; at {FLOOR_RATE} a second that is a floor of {account.requests / FLOOR_RATE:.2f} s"
    needed = f"{account.requests:,} requests are needed{limit if line.is_limited else ''}."
    parts = [f"### {line.work}", needed, written(of_line(line, results))]
    if line.goals:
        parts.append(written(of_goals(line, results)))
    return "\n\n".join(parts)


def document(lines: Sequence[Line], results: Results, runs: int, extras: Sequence[str]) -> str:
    """RESULTS.md."""
    measured = [line for line in lines if results.of(line.key)]
    head = f"""\
# Benchmark

Measured on {dt.datetime.now(dt.timezone.utc):%d %B %Y} by `make bench`, which replaces this page.
`make bench BENCH_ARGS="--only five --runs 5"` measures one line alone and leaves it; `--help` names the lines.

- Machine: {_machine()}
- Versions: {", ".join(_versions())}
- {runs} runs of each program where the table does not say otherwise, in turns; the numbers are medians, the spread is \
the fastest and the slowest run. Sandbox and programs share the machine's processors.

Every program reads all leads of the same sandbox account, organization by organization, in pages of 1,000, as a
process of its own: wall time is from its start to its end, the start of Python and all imports included. Singer taps
and airbyte-cdk write their messages to a file, dlt does its extract step alone, into its own files. Every output is
then counted against the sandbox's truth. Unless said otherwise the sandbox answers after 150 ms and refuses the 26th
request of any second. The floor is what the needed requests take at 25 a second; it is compared with the time from the
first request that the sandbox got to the end of the process. The peers are in `peers/`, written as their documentation
tells; dlt writes uncompressed, as the others do. The plain singer-sdk tap follows the cursor with the paginator of the
SDK's template, which does not look at hasMore: it asks for one page more, an empty one, in each organization."""
    return "\n\n".join([head, *(section(line, results) for line in measured), *extras]) + "\n"


def _machine() -> str:
    model = next(
        (
            text.partition(":")[2].strip()
            for text in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if text.startswith("model name")
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores ({model}), {memory:.0f} GiB of memory, {platform.system()}"


def _versions() -> list[str]:
    """Python's and those of the peers."""
    ask = "import sys, importlib.metadata as m; print(*map(m.version, sys.argv[1:]))"
    command = [str(PEERS_PYTHON), "-c", ask, *_PACKAGES]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return [
        f"Python {platform.python_version()}",
        *(f"{name} {version}" for name, version in zip(_PACKAGES, found, strict=True)),
    ]
