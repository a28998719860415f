"""The tap as a process and in this one, with a sandbox to read from and its truth to compare with."""

from __future__ import annotations

import io
import json
import os
import re
import select
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from api_sandbox import HubstaffScenario, RunningSandbox, Scenario, serve_in_thread
from singer_http.clock import Clock, Stopped
from tap_hubstaff.tap import TapHubstaff
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from api_sandbox.hubstaff.handle import RunningHubstaff

PATIENCE = 60
"""Seconds after which a run of the tap hangs."""
LOG_LINE = re.compile(r"^\S+ \S+ \| (?P<level>[A-Z]+) *\| (?P<logger>\S+) *\| (?P<text>.*)$")

KEYS = {
    "members": ("organization_id", "user_id"),
    "project_members": ("project_id", "user_id"),
    "team_members": ("team_id", "user_id"),
    "team_projects": ("team_id", "project_id"),
    "last_activities": ("organization_id", "user_id"),
    "time_off_balances": ("organization_id", "user_id", "time_off_policy_id"),
    "integration_project_links": ("integration_id", "project_id"),
    "integration_user_links": ("integration_id", "user_id"),
    "seats": ("organization_id",),
}
"""What the sandbox calls the records of streams without ids."""


@dataclass(frozen=True)
class Run:
    """A run of the tap that has ended.

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

    def records(self, stream: str) -> list[dict[str, Any]]:
        return [
            message["record"]
            for message in self.messages
            if message["type"] == "RECORD" and message["stream"] == stream
        ]

    def ids(self, stream: str) -> list[str]:
        key = KEYS.get(stream, ("id",))
        return [":".join(str(record[name]) for name in key) for record in self.records(stream)]

    @property
    def states(self) -> list[dict[str, Any]]:
        return [message["value"] for message in self.messages if message["type"] == "STATE"]

    def said(self, level: str) -> list[str]:
        """The sentences that were logged at a level."""
        found = (LOG_LINE.match(line) for line in self.stderr.splitlines())
        return [match["text"] for match in found if match and match["level"] == level]


class TapServer:
    """Starts taps from a process that has imported everything already."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process = process
        self._folder = folder
        self._numbers = count()

    def run(self, args: list[str], env: dict[str, str], ahead: float, deadly: int | None) -> Run:
        """Run the tap; kill it when it has written so many STATE messages."""
        number = next(self._numbers)
        out, err = self._folder / f"{number}.out", self._folder / f"{number}.err"
        job = {"args": args, "env": env, "ahead": ahead, "stdout": str(out), "stderr": str(err)}
        received = bytearray()
        if deadly is not None:
            os.mkfifo(out)
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        pid = int(self._answer())
        if deadly is not None:
            with out.open("rb") as pipe:
                for line in pipe:
                    received += line
                    deadly -= b'"type":"STATE"' in line
                    if deadly == 0:
                        os.kill(pid, signal.SIGKILL)
                        break
                received += pipe.read()
        try:
            code = int(self._answer())
        except AssertionError:
            os.kill(pid, signal.SIGKILL)
            self._answer()
            raise
        if deadly is None:
            received += out.read_bytes() if out.is_file() else b""
        return Run(code, bytes(received[: received.rfind(b"\n") + 1]), err.read_text())

    def _answer(self) -> str:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], PATIENCE)
        assert ready, "the tap hangs"
        return self._process.stdout.readline()


@pytest.fixture(scope="session")
def tap_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TapServer]:
    with subprocess.Popen(
        [sys.executable, "-W", "error", str(Path(__file__).with_name("tap_server.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as process:
        yield TapServer(process, tmp_path_factory.mktemp("runs"))
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(10) == 0


@pytest.fixture
def tap(tap_server: TapServer, tmp_path: Path) -> Callable[..., Run]:
    """Run the tap as a process; config and state may be given as objects."""
    numbers = count()

    def run(
        *args: str,
        config: Any = None,
        state: Any = None,
        catalog: Any = None,
        ahead: float = 0,
        kill: int | None = None,
    ) -> Run:
        given = list(args)
        for option, content in (("--config", config), ("--state", state), ("--catalog", catalog)):
            if content is not None:
                path = tmp_path / f"{option.strip('-')}{next(numbers)}.json"
                path.write_text(json.dumps(content))
                given += [option, str(path)]
        return tap_server.run(given, {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}, ahead, kill)

    return run


class SandboxClock(Clock):
    """The sandbox's own time, which goes on when somebody sleeps."""

    def __init__(self, hubstaff: RunningHubstaff) -> None:
        self._hubstaff = hubstaff
        self._lock = threading.Lock()
        self._is_stopped = False
        self.slept: list[float] = []

    @override
    def monotonic(self) -> float:
        return self.time()

    @override
    def time(self) -> float:
        return self._hubstaff.now.timestamp()

    @override
    def sleep(self, seconds: float) -> None:
        self.check()
        with self._lock:
            self.slept.append(seconds)
            self._hubstaff.advance(seconds)

    @override
    def check(self) -> None:
        if self._is_stopped:
            raise Stopped

    @override
    def stop(self) -> None:
        self._is_stopped = True


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Callable[..., Run]:
    """Run the tap here, in the sandbox's own time, which is a stopped clock."""

    def run(sandbox: RunningSandbox, config: Any, state: Any = None, *streams: str) -> Run:
        with monkeypatch.context() as patched:
            out = io.BytesIO()
            patched.setattr(sys, "stdout", io.TextIOWrapper(out, write_through=True))
            tap = TapHubstaff(config=config, state=state, clock=SandboxClock(sandbox.hubstaff))
            for name, stream in tap.streams.items():
                stream.selected = not streams or name in streams
            caplog.clear()
            code = 0
            try:
                tap.sync_all()
            except Exception as error:  # noqa: BLE001 - as the command line would say it
                code = 1
                tap.logger.error("%s", error)  # noqa: TRY400
            written = out.getvalue()
        lines = (f"- - | {line.levelname} | {line.name} | {line.getMessage()}\n" for line in caplog.records)
        log = "".join(lines)
        return Run(code, written, log)

    return run


@pytest.fixture
def serve() -> Iterator[Callable[..., RunningSandbox]]:
    """Start a sandbox that ends with the test, without the vendor's limit unless asked for."""
    with ExitStack() as stack:

        def start(*faults: Any, seed: int = 0, **scenario: Any) -> RunningSandbox:
            hubstaff = HubstaffScenario(
                **{"requests_per_hour": None, "exchanges_per_hour": None, "history_days": 40, **scenario}
            )
            return stack.enter_context(serve_in_thread(Scenario(seed=seed, hubstaff=hubstaff, faults=faults)))

        yield start


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """The settings with which the tap reads so many days of a sandbox."""

    def of(sandbox: RunningSandbox, *, days: int = 62, **more: Any) -> dict[str, Any]:
        return {
            "access_token": sandbox.hubstaff.organization_token,
            "api_url": sandbox.hubstaff.api_url,
            "auth_url": sandbox.hubstaff.auth_url,
            "token_path": str(tmp_path / "tokens"),
            "requests_per_hour": 1_000_000,
            "start_date": (sandbox.hubstaff.now - timedelta(days=days)).date().isoformat(),
            "lookback_days": 5,
            **more,
        }

    return of
