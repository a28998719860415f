"""Runs a program to its end and takes from the operating system what it used."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Usage:
    """What a process and its children used.

    Attributes:
        exit_code: How it ended, None if it was given up.
        wall: Seconds from its start to its end.
        cpu: Seconds of all processors, user and system.
        memory: Peak resident set in bytes.
        ended: When it ended, on the machine's monotonic clock.
    """

    exit_code: int | None
    wall: float
    cpu: float
    memory: int
    ended: float


def run(  # noqa: PLR0913 - what running takes
    command: Sequence[str],
    *,
    output: Path,
    log: Path,
    env: Mapping[str, str],
    patience: float,
    source: Path = Path(os.devnull),
) -> Usage:
    """Run a program, its input from a file, its output and its errors into files, until it ends or the patience does.

    A peak below that of this process cannot be seen: it is kept small, and works on nothing in its own memory.
    """
    with source.open("rb") as stdin, output.open("wb") as stdout, log.open("wb") as stderr:
        start = time.monotonic()
        process = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=stderr, env=env, start_new_session=True)
    given_up = threading.Event()

    def give_up() -> None:
        given_up.set()
        os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(patience, give_up)
    timer.start()
    try:
        _, status, used = os.wait4(process.pid, 0)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    finally:
        timer.cancel()
    ended = time.monotonic()
    process.returncode = os.waitstatus_to_exitcode(status)
    return Usage(
        exit_code=None if given_up.is_set() else process.returncode,
        wall=ended - start,
        cpu=used.ru_utime + used.ru_stime,
        memory=used.ru_maxrss * 1024,  # Linux counts in KiB
        ended=ended,
    )
