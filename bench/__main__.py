"""``python -m bench``: measures every line of work, prints the tables and writes RESULTS.md."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import harkster_rows, hubstaff_requests, report, sandbox, unread, warehouse
from bench.goals import Resumable
from bench.lines import LINES, Line
from bench.measure import run
from bench.programs import HERE, PROGRAMS, Task
from bench.runs import OURS, Results, Resumption, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

RESULTS = HERE / "RESULTS.md"
EXTRAS: Mapping[str, Callable[[Path, int], str]] = {
    "unread": unread.section,
    "hubstaff-requests": hubstaff_requests.section,
    "harkster-rows": harkster_rows.section,
    "warehouse": warehouse.section,
}
"""What is measured in a way of its own: works in a directory, with so many runs, and gives its part of the page."""
WARM_UP = Line("warm-up", "", {"organizations": 2, "leads": 10, "requests_per_second": None})


def main() -> None:
    """Measure."""
    options = _options()
    lines = [line for line in LINES if not options.only or line.key in options.only]
    extras = [name for name in EXTRAS if not options.only or name in options.only]
    results, sections = Results(), []
    with tempfile.TemporaryDirectory() as directory:
        if lines:
            _measure(WARM_UP, Results(), 1, Path(directory), options.programs)  # so that all have their bytecode
        for line in lines:
            print(f"\n{line.work}", file=sys.stderr)
            _measure(line, results, options.runs, Path(directory), options.programs)
            print(f"\n{report.section(line, results)}", flush=True)
        for name in extras:
            print(f"\n{name}", file=sys.stderr)
            with tempfile.TemporaryDirectory(dir=directory) as own:
                sections.append(EXTRAS[name](Path(own), options.runs))
            print(f"\n{sections[-1]}", flush=True)
    if (
        len(lines) == len(LINES)
        and len(extras) == len(EXTRAS)
        and set(options.programs) == set(PROGRAMS)
        and not options.quick
    ):
        RESULTS.write_text(report.document(lines, results, options.runs, sections), encoding="utf-8")
    else:
        print(f"\nNot all was measured: {RESULTS.name} is left as it is.", file=sys.stderr)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="runs of each program (default: 3)")
    keys = [*(line.key for line in LINES), *EXTRAS]
    parser.add_argument("--only", action="append", choices=keys, help="measure this line only")
    parser.add_argument("--programs", nargs="+", choices=[*PROGRAMS], default=[*PROGRAMS], help="measure these only")
    parser.add_argument("--quick", action="store_true", help="one run of each, to see that all works")
    options = parser.parse_args()
    if options.quick:
        options.runs = 1
    return options


def _measure(line: Line, results: Results, runs: int, directory: Path, programs: list[str]) -> None:
    """Run the programs in turns, so that what else the machine does meets all of them."""
    with sandbox.running(line.scenario, directory) as api:
        for turn in range(runs):
            for program in programs:
                if program != OURS and (program not in line.peers or turn >= (line.peer_runs or runs)):
                    continue
                if any(not earlier.is_complete for earlier in results.of(line.key, program)):
                    continue  # once is enough to say so, and may have taken all its time
                with tempfile.TemporaryDirectory(dir=directory) as own:
                    task = _task(api, line, Path(own))
                    found = _run(program, task, api, line)
                    results.add(line.key, program, found)
                    _tell(program, found)
                    if program == OURS and turn == 0 and any(isinstance(goal, Resumable) for goal in line.goals):
                        results.resumptions[line.key] = _resume(task, found, line)


def _task(api: sandbox.Sandbox, line: Line, directory: Path) -> Task:
    # Little of this process's own environment: no proxy, no settings of a library, no state of an earlier run.
    env = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(directory),
        "LANG": "C.UTF-8",
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "DATA_WRITER__DISABLE_COMPRESSION": "true",  # dlt's; the others do not compress either
    }
    return Task(api.hustle, line.is_limited, directory, env)


def _run(program: str, task: Task, api: sandbox.Sandbox, line: Line) -> Run:
    command = PROGRAMS[program].command(task)
    api.forget()
    used = run(
        command,
        output=task.directory / "output.jsonl",
        log=task.directory / "log.txt",
        env=task.env,
        patience=line.patience,
    )
    served = api.served()
    counted = _outputs("count", PROGRAMS[program].form, str(task.directory / PROGRAMS[program].output))
    return Run(
        account=api.account(),
        exit_code=used.exit_code,
        wall=used.wall,
        cpu=used.cpu,
        memory=used.memory,
        since_first=used.ended - served.first,
        requests=served.requests,
        refused=served.refused,
        **counted,
    )


def _resume(task: Task, whole: Run, line: Line) -> Resumption:
    """Go on from a STATE in the middle of what the run has just written."""
    first, second, state = (str(task.directory / name) for name in ("output.jsonl", "resumed.jsonl", "state.json"))
    at = _outputs("middle", first, state)["line"]
    command = [*PROGRAMS[OURS].command(task), "--state", state]
    run(command, output=Path(second), log=task.directory / "log.txt", env=task.env, patience=line.patience)
    union = _outputs("union", str(at), first, second)
    return Resumption(union["distinct"] == whole.account.leads, union["twice"], union["after"])


def _outputs(*arguments: str) -> Any:
    counted = subprocess.run([sys.executable, HERE / "outputs.py", *arguments], check=True, capture_output=True)
    return json.loads(counted.stdout)


def _tell(program: str, found: Run) -> None:
    print(
        f"  {PROGRAMS[program].name}: {found.wall:.2f} s, {found.since_first:.2f} s from the first request,"
        f" {found.requests} requests, {found.refused} refused{'' if found.is_complete else ', INCOMPLETE'}",
        file=sys.stderr,
        flush=True,
    )


if __name__ == "__main__":
    main()
