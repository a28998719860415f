"""Taps as processes: each run is one of its own, forked from a program that has imported everything already."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Starter = Callable[..., "Started"]

PATIENCE = 60
"""Seconds after which a run of the tap hangs."""
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
        return [json.loads(line) for line in self.stdout.splitlines()]

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

    def kill(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self) -> Run:
        code = self.server.exit_code(self.pid)
        return Run(code, self.out.read_bytes() if self.out.is_file() else b"", self.err.read_text())

    def killed_after(self, states: int) -> Run:
        """What it wrote to its pipe until it was killed with so many STATE messages, if it did not end before."""
        received = bytearray()
        with self.out.open("rb") as pipe:
            for line in pipe:
                received += line
                states -= b'"type":"STATE"' in line
                if states == 0:
                    self.kill(signal.SIGKILL)
                    break
            received += pipe.read()
        ended = self.wait()
        return Run(ended.code, bytes(received[: received.rfind(b"\n") + 1]), ended.stderr)


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

    def start(self, args: list[str], stdout: Path | None = None, **job: Any) -> Started:
        number = next(self._numbers)
        err = self._folder / f"{number}.err"
        out = stdout or self._folder / f"{number}.out"
        job |= {"command": self._command, "args": args, "stdout": str(out), "stderr": str(err)}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job).encode() + b"\n")
        return Started(self, int(self._answer()), out, err)

    def exit_code(self, pid: int) -> int:
        try:
            return int(self._answer())
        except AssertionError:
            os.kill(pid, signal.SIGKILL)
            self._answer()
            raise

    def _answer(self) -> bytes:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], PATIENCE)
        assert ready, "the tap hangs"
        return self._process.stdout.readline()


@contextmanager
def serving(package: str, folder: Path) -> Iterator[TapServer]:
    """A server for a tap, which ends with the block."""
    with subprocess.Popen(
        [sys.executable, "-W", "error", str(Path(__file__).with_name("tap_server.py")), package],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,  # what lies in a buffer is not seen by select
    ) as process:
        yield TapServer(process, package, folder)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(10) == 0


def starter(server: TapServer, folder: Path) -> Starter:
    """Starts the server's tap with a folder for its home; config, state and catalog may be given as objects."""
    numbers = count()

    def start(
        *args: str,
        config: Any = None,
        state: Any = None,
        catalog: Any = None,
        env: dict[str, str] | None = None,
        times: float = 1,
        ahead: float = 0,
        before: list[str] | None = None,
        stdout: Path | None = None,
    ) -> Started:
        """Start it.

        Args:
            args: What its command line has besides.
            config: For ``--config``.
            state: For ``--state``.
            catalog: For ``--catalog``.
            env: Environment variables besides those that any process needs.
            times: How much faster than real its clock goes.
            ahead: How many seconds later than this machine it lives.
            before: A file with a function ``prepare`` that the process calls before all else, and its arguments.
            stdout: Where it writes to.
        """
        given = list(args)
        for option, content in (("--config", config), ("--state", state), ("--catalog", catalog)):
            if content is not None:
                path = folder / f"{option.strip('-')}{next(numbers)}.json"
                path.write_text(json.dumps(content))
                given += [option, str(path)]
        own = {"PATH": os.environ["PATH"], "HOME": str(folder), **(env or {})}
        return server.start(given, stdout, env=own, cwd=str(folder), times=times, ahead=ahead, before=before)

    return start
