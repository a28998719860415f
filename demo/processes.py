"""Start programs under guard, wait until they are ready, and have them gone afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterator, Mapping, Sequence

GUARD = Path(__file__).with_name("guard.py")
SCRIPTS = Path(sysconfig.get_path("scripts"))
PATH_WITH_SCRIPTS = os.pathsep.join([str(SCRIPTS), os.environ.get("PATH", os.defpath)])
TAIL_LINES = 20


class DemoError(Exception):
    """Something that the demo needs did not work; the message says what, and where to read on."""


@dataclass(frozen=True)
class Program:
    """A program, and what it runs with.

    Attributes:
        name: What to call it in a message.
        command: Its path and arguments.
        log: File for its errors, and for its output where that has no file of its own.
        output: File for its output.
        cwd: Directory to run it in.
        env: Its environment; this process's own by default.
        stop_signal: What asks it to end in good order.
        patience: Seconds it has for that before it is killed.
        user: Account to run it as, where this process is root.
    """

    name: str
    command: Sequence[str | Path]
    log: Path
    output: Path | None = None
    cwd: Path | None = None
    env: Mapping[str, str] | None = None
    stop_signal: str = "SIGTERM"
    patience: float = 10.0
    user: str | None = None


@dataclass(frozen=True)
class RunningProgram:
    """A program under guard; the guard's process ends when it does, with its exit code."""

    program: Program
    guard: subprocess.Popen[bytes]

    def wait(self) -> int:
        """Wait for the program to end by itself and return its exit code."""
        return self.guard.wait()

    def wait_until(self, ready: Callable[[], bool], timeout: float = 30.0) -> None:
        """Wait for the program to be ready.

        Args:
            ready: Tells whether it is.
            timeout: Seconds to wait.

        Raises:
            DemoError: If the program ended or the time ran out.
        """
        name, end = self.program.name, time.monotonic() + timeout
        while not ready():
            if self.guard.poll() is not None:
                problem = f"{name} ended with exit code {self.guard.returncode} before it was ready"
            elif time.monotonic() > end:
                problem = f"{name} was not ready after {timeout:.0f} seconds"
            else:
                time.sleep(0.05)
                continue
            raise DemoError(f"{problem}\n{tail(self.program.log)}")


@contextmanager
def running(program: Program) -> Iterator[RunningProgram]:
    """Run a program for as long as the block lasts, and not a moment longer.

    Args:
        program: What to run.

    Yields:
        The program, started.
    """
    options = ["--signal", program.stop_signal, "--patience", str(program.patience)]
    if program.user:
        options += ["--user", program.user]
    with ExitStack() as files:
        log = files.enter_context(program.log.open("wb"))
        output = files.enter_context(program.output.open("wb")) if program.output else log
        guard = subprocess.Popen(
            [sys.executable, "-I", "-S", GUARD, *options, *program.command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=log,
            cwd=program.cwd,
            env=program.env,
            start_new_session=True,  # Ctrl-C is for this process, which then ends the others in order
        )
    try:
        yield RunningProgram(program, guard)
    finally:
        if guard.stdin:
            guard.stdin.close()
        guard.wait()


def tail(log: Path, *, without: re.Pattern[str] | None = None) -> str:
    """Return the last lines of a log, indented, for a message.

    Args:
        log: The file, which may not be there.
        without: Leaves out the lines in which this is found.
    """
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    found = [line for line in lines if not (without and without.search(line))]
    return "\n".join(f"    {line}" for line in found[-TAIL_LINES:])
