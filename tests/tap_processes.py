"""Taps as processes: each run is one of its own, forked from a program that has imported everything already."""

from __future__ import annotations

import fcntl
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import count, islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Starter = Callable[..., "Started"]

PATIENCE = 300
"""Seconds after which a run of the tap hangs."""
PIPE_BYTES = 4096
"""So much may a tap write to a pipe that nobody reads from."""
LOG_LINE = re.compile(r"^\S+ \S+ \| (?P<level>[A-Z]+) *\| (?P<logger>\S+) *\| (?P<text>.*)$")


@dataclass(frozen=True)
class Run:
    """A run of a tap that has ended.

    Attributes:
        code: Its exit code, negative for a signal.
        stdout: All that it wrote.
        stderr: All that it logged.
    """

    code: int
    stdout: bytes
    stderr: str

    @cached_property
    def messages(self) -> list[dict[str, Any]]:
        assert self.stdout == b"" or self.stdout.endswith(b"\n"), "the output ends with half a line"
        return [msgspec.json.decode(line) for line in self.stdout.splitlines()]

    def of_type(self, kind: str, stream: str | None = None) -> list[dict[str, Any]]:
        return [
            message for message in self.messages if message["type"] == kind and stream in (None, message.get("stream"))
        ]

    def records(self, stream: str) -> list[dict[str, Any]]:
        return [message["record"] for message in self.of_type("RECORD", stream)]

    def ids(self, stream: str, key: tuple[str, ...] = ("id",)) -> list[str]:
        """What identifies its records, in their order."""
        return [":".join(str(record[name]) for name in key) for record in self.records(stream)]

    @property
    def states(self) -> list[dict[str, Any]]:
        return [message["value"] for message in self.of_type("STATE")]

    def said(self, level: str) -> list[str]:
        """The sentences that were logged at a level."""
        found = (LOG_LINE.match(line) for line in self.stderr.splitlines())
        return [match["text"] for match in found if match and match["level"] == level]


@dataclass(frozen=True)
class Started:
    """A run of a tap under way."""

    server: TapServer
    pid: int
    out: Path
    err: Path
    pipe: IO[bytes] | None = None
    """What it writes to, where that is a pipe ..."""
    received: list[bytes] = field(default_factory=list)
    """... and the lines that were read from there."""

    def kill(self, number: int) -> None:
        os.kill(self.pid, number)

    def read(self, *, lines: int | None = None, until: str | None = None) -> None:
        """Read so many lines from its pipe, or those until the one that a text is in."""
        assert self.pipe is not None
        for line in islice(self.pipe, lines):
            self.received.append(line)
            if until is not None and until.encode() in line:
                return
        assert len(self.received) == lines, f"it ended by itself: {self.wait()}"

    def wait_until_said(self, text: str) -> None:
        """Wait until a text is in its log."""
        while text not in self.err.read_text():
            time.sleep(0.01)

    def wait_until_written(self, text: str) -> None:
        """Wait until a text is in what it wrote to a file."""
        while text not in self.out.read_text():
            time.sleep(0.01)

    def exit_code(self) -> int:
        """Let it come to its end, though nobody reads from its pipe."""
        code = self.server.exit_code()
        if self.pipe is not None:
            self.pipe.close()
        return code

    def wait(self) -> Run:
        """Let it come to its end."""
        if self.pipe is not None:
            self.received.extend(self.pipe)
        code = self.exit_code()
        written = self.out.read_bytes() if self.pipe is None else b"".join(self.received)
        return Run(code, written, self.err.read_text())

    def killed_after(self, lines: int) -> Run:
        """Kill it when so many lines were read from its pipe; what it wrote, without the line that this cut off."""
        self.read(lines=lines)
        self.kill(signal.SIGKILL)
        killed = self.wait()
        assert killed.code == -signal.SIGKILL
        return replace(killed, stdout=killed.stdout[: killed.stdout.rfind(b"\n") + 1])


class TapServer:
    """Starts one tap, again and again.

    Args:
        process: The program that forks.
        package: The tap's.
        folder: For what the runs write.
    """

    def __init__(self, process: subprocess.Popen[bytes], package: str, folder: Path) -> None:
        self._process = process
        self._command = package.replace("_", "-")
        self._folder = folder
        self._numbers = count()
        self._running: int | None = None

    def start(self, args: list[str], stdout: Path | None, **job: Any) -> Started:
        self.end()
        number = next(self._numbers)
        err = self._folder / f"{number}.err"
        out = stdout or self._folder / f"{number}.out"
        job |= {"command": self._command, "args": args, "stdout": str(out), "stderr": str(err)}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job).encode() + b"\n")
        self._running = int(self._answer())
        return Started(self, self._running, out, err)

    def exit_code(self) -> int:
        """Wait for the run to end."""
        code = int(self._answer())
        self._running = None
        return code

    def end(self) -> None:
        """Kill a run that a test has left."""
        if self._running is not None:
            os.kill(self._running, signal.SIGKILL)
            self.exit_code()

    def _answer(self) -> bytes:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], PATIENCE)
        assert ready, "the tap hangs"
        return self._process.stdout.readline()


@contextmanager
def serving(package: str, folder: Path) -> Iterator[TapServer]:
    """A server for a tap, which ends with the block."""
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "tests.tap_server", package],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,  # what lies in a buffer is not seen by select
    ) as process:
        server = TapServer(process, package, folder)
        yield server
        server.end()
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(PATIENCE) == 0


def starter(server: TapServer, folder: Path) -> Starter:
    """Starts the server's tap with a folder for its home; config, state and catalog may be given as objects."""
    numbers = count()

    def start(
        *args: str,
        config: Any = None,
        state: Any = None,
        catalog: Any = None,
        env: dict[str, str] | None = None,
        leaps: bool = False,
        ahead: float = 0,
        before: list[str] | None = None,
        piped: bool = False,
    ) -> Started:
        """Start it.

        Args:
            args: What its command line has besides.
            config: For ``--config``.
            state: For ``--state``.
            catalog: For ``--catalog``.
            env: Environment variables besides those that any process needs.
            leaps: Whether its waiting takes no time, though its clock says so.
            ahead: How many seconds later than this machine it lives.
            before: A file with a function ``prepare`` that the process calls before all else, and its arguments.
            piped: Whether it writes to a narrow pipe, which is to be read from, and not to a file.
        """
        given = list(args)
        for option, content in (("--config", config), ("--state", state), ("--catalog", catalog)):
            if content is not None:
                path = folder / f"{option.strip('-')}{next(numbers)}.json"
                path.write_text(json.dumps(content))
                given += [option, str(path)]
        own = {"PATH": os.environ["PATH"], "HOME": str(folder), **(env or {})}
        job: dict[str, Any] = {"env": own, "cwd": str(folder), "leaps": leaps, "ahead": ahead, "before": before}
        if not piped:
            return server.start(given, None, **job)
        path = folder / f"pipe{next(numbers)}"
        os.mkfifo(path)
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # without waiting for the tap to open its end
        if sys.platform == "linux":
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        started = server.start(given, path, **job)
        os.set_blocking(descriptor, True)
        return replace(started, pipe=os.fdopen(descriptor, "rb", buffering=PIPE_BYTES))

    return start
