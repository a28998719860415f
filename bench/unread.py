"""A million records whose reader does not read for a minute: what they take of the memory meanwhile, and afterwards."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from bench import report, sandbox
from bench.programs import PROGRAMS, Task
from bench.runs import OURS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LEADS = 1_000_000
UNREAD = 60.0
"""For so many seconds nobody reads what the tap writes."""
MEMORY = 100_000_000
SCENARIO: Mapping[str, Any] = {
    "hustle": {"warm": True, "organizations": 2, "leads": LEADS, "latency": 0, "requests_per_second": None}
}
_PEAK = re.compile(r"^VmHWM:\s*([0-9]+) kB$", re.MULTILINE)


def section(directory: Path, runs: int) -> str:  # noqa: ARG001 - one run says it all
    """Measure, and tell of it."""
    with sandbox.running(SCENARIO, directory) as api:
        env = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(directory), "LANG": "C.UTF-8"}
        command = PROGRAMS[OURS].command(Task(api.hustle, is_limited=False, directory=directory, env=env))
        with (directory / "log.txt").open("wb") as log:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=env)
        try:
            time.sleep(UNREAD)
            unread, requests = _peak(process.pid), api.served().requests
            records, ids = _read(process.stdout or ())
        except BaseException:
            process.kill()
            raise
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        is_whole = process.returncode == 0 and records == len(ids) and ids == api.lead_ids()
    peak = max(unread, used.ru_maxrss * 1024)
    goals: report.Table = [
        report.GOAL_HEAD,
        report.of_goal(
            f"at most {MEMORY / 1e6:.0f} MB",
            f"{unread / 1e6:.0f} MB after {UNREAD:.0f} s, {peak / 1e6:.0f} MB at the end",
            is_met=peak <= MEMORY,
        ),
        report.of_goal("every record once", f"{records:,} records, {len(ids):,} of them different", is_met=is_whole),
    ]
    about = (
        f"tap-hustle writes into a pipe that nobody reads for {UNREAD:.0f} seconds, and makes {requests} requests."
        "\nThen all is read, and compared with the truth."
    )
    return f"### {LEADS:,} leads; the pipe is not read for a minute\n\n{about}\n\n{report.written(goals)}"


def _peak(pid: int) -> int:
    """The most memory that a running process has had, in bytes."""
    found = _PEAK.search(Path(f"/proc/{pid}/status").read_text(encoding="utf-8"))
    return int(found[1]) * 1024 if found else 0


def _read(lines: Iterable[bytes]) -> tuple[int, set[str]]:
    """Count the records, and give their ids."""
    decode, ids, records = msgspec.json.Decoder().decode, set[str](), 0
    for line in lines:
        message = decode(line)
        if message["type"] == "RECORD":
            records += 1
            ids.add(message["record"]["id"])
    return records, ids
