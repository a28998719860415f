"""The tap as a process, with a sandbox to read from and its truth to compare with."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from api_sandbox import HustleScenario, RunningSandbox, Scenario, serve_in_thread
from tap_hustle.tap import TapHustle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE = 60
"""Seconds after which a run of the tap hangs."""
LOG_LINE = re.compile(r"^\S+ \S+ \| (?P<level>[A-Z]+) *\| (?P<logger>\S+) *\| (?P<text>.*)$")
MARKERS = {"resume", "progress_markers", "replication_key_signpost", "starting_replication_value", "partitions_done"}


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

    def of_type(self, kind: str, stream: str | None = None) -> list[dict[str, Any]]:
        return [
            message for message in self.messages if message["type"] == kind and stream in (None, message.get("stream"))
        ]

    def records(self, stream: str) -> list[dict[str, Any]]:
        return [message["record"] for message in self.of_type("RECORD", stream)]

    def ids(self, stream: str) -> list[str]:
        return [record["id"] for record in self.records(stream)]

    @property
    def states(self) -> list[dict[str, Any]]:
        return [message["value"] for message in self.of_type("STATE")]

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

    def start(self, args: list[str], env: dict[str, str], cwd: Path, times: float, stdout: Path | None) -> Started:
        number = next(self._numbers)
        err = self._folder / f"{number}.err"
        out = stdout or self._folder / f"{number}.out"
        job = {"args": args, "env": env, "cwd": str(cwd), "times": times, "stdout": str(out), "stderr": str(err)}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return Started(self, int(self._answer()), out, err)

    def exit_code(self, pid: int) -> int:
        try:
            return int(self._answer())
        except AssertionError:
            os.kill(pid, signal.SIGKILL)
            self._answer()
            raise

    def _answer(self) -> str:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], PATIENCE)
        assert ready, "the tap hangs"
        return self._process.stdout.readline()


@dataclass(frozen=True)
class Started:
    """A run of the tap under way."""

    server: TapServer
    pid: int
    out: Path
    err: Path

    def kill(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self) -> Run:
        code = self.server.exit_code(self.pid)
        return Run(code, self.out.read_bytes() if self.out.is_file() else b"", self.err.read_text())


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
def start_tap(tap_server: TapServer, tmp_path: Path) -> Callable[..., Started]:
    """Start the tap; config, state and catalog may be given as objects."""
    numbers = count()

    def start(
        *args: str,
        config: Any = None,
        state: Any = None,
        catalog: Any = None,
        env: dict[str, str] | None = None,
        times: float = 1,
        stdout: Path | None = None,
    ) -> Started:
        given = list(args)
        for option, content in (("--config", config), ("--state", state), ("--catalog", catalog)):
            if content is not None:
                path = tmp_path / f"{option.strip('-')}{next(numbers)}.json"
                path.write_text(json.dumps(content))
                given += [option, str(path)]
        own = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **(env or {})}
        return tap_server.start(given, own, tmp_path, times, stdout)

    return start


@pytest.fixture
def tap(start_tap: Callable[..., Started]) -> Callable[..., Run]:
    """Run the tap to its end."""

    def run(*args: str, **given: Any) -> Run:
        return start_tap(*args, **given).wait()

    return run


@pytest.fixture
def serve() -> Iterator[Callable[..., RunningSandbox]]:
    """Start a sandbox that ends with the test, without the vendor's rate limit unless asked for."""
    with ExitStack() as stack:

        def start(*faults: Any, seed: int = 0, **scenario: Any) -> RunningSandbox:
            hustle = HustleScenario(**{"requests_per_second": None, "leads": 60, **scenario})
            return stack.enter_context(serve_in_thread(Scenario(seed=seed, hustle=hustle, faults=faults)))

        yield start


@pytest.fixture(scope="session")
def standing() -> Iterator[RunningSandbox]:
    """A sandbox for all tests that neither count its requests nor break it."""
    scenario = HustleScenario(requests_per_second=None, leads=60, empty_organizations=1, organizations=4)
    with serve_in_thread(Scenario(seed=7, hustle=scenario)) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def settings() -> Callable[..., dict[str, Any]]:
    """The settings with which the tap reads a sandbox in small pages, as fast as it can."""

    def of(sandbox: RunningSandbox, **more: Any) -> dict[str, Any]:
        return {
            "client_id": sandbox.hustle.client_id,
            "client_secret": sandbox.hustle.client_secret,
            "api_url": sandbox.hustle.api_url,
            "page_size": 7,
            "requests_per_second": 5000,
            "request_timeout": 3600,
            **more,
        }

    return of


@pytest.fixture(scope="session")
def assert_complete() -> Callable[..., None]:
    """Compare what was delivered with the sandbox's truth: everything, once, and nothing else."""

    def check(run: Run, sandbox: RunningSandbox, *streams: str) -> None:
        truth = sandbox.truth
        for stream in streams or truth.ids:
            assert sorted(run.ids(stream)) == sorted(truth.ids[stream]), stream

    return check


@pytest.fixture(scope="session")
def assert_clean() -> Callable[[Any], None]:
    """No trace of a run in progress is left in a state."""

    def check(state: Any) -> None:
        if isinstance(state, dict):
            assert not MARKERS & state.keys()
            for value in state.values():
                check(value)
        elif isinstance(state, list):
            for value in state:
                check(value)

    return check


@pytest.fixture(scope="session")
def assert_nothing_lost() -> Callable[[Run, RunningSandbox], set[str]]:
    """Whatever was not delivered is named at the end; gives the names of what was not read."""

    def check(run: Run, sandbox: RunningSandbox) -> set[str]:
        assert "Traceback" not in run.stderr
        truth = sandbox.truth
        parts: dict[str, list[str]] = {}
        for stream, ids in truth.ids.items():
            if stream in {"groups", "leads", "integrations"}:
                owned = truth.by_organization[stream]
                parts |= {f"{stream} (organizationId {owner})": own for owner, own in owned.items()}
            else:
                parts[stream] = list(ids)
            delivered = run.ids(stream)
            assert len(delivered) == len(set(delivered)), f"{stream}: delivered twice"
            assert set(delivered) <= set(ids)
        delivered_ids = {stream: set(run.ids(stream)) for stream in truth.ids}
        missing = {label for label, ids in parts.items() if not delivered_ids[label.partition(" ")[0]].issuperset(ids)}
        named = {
            label
            for label in parts
            for sentence in run.said("ERROR")
            if sentence.startswith(("Not read: " + label + ".", "Not read: " + label.partition(" ")[0] + "."))
        }
        assert missing <= named, f"lost without a word: {missing - named}"
        assert (run.code == 0) == (not named)
        return missing

    return check


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A named pipe for the tap to write to."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


@pytest.fixture
def handlers_kept() -> Iterator[None]:
    """A tap takes the signals for itself: give them back."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def hustle_errors() -> Callable[..., list[str]]:
    """What the tap says of settings, without reading anything."""

    def errors(config: dict[str, Any]) -> list[str]:
        tap = TapHustle(config=config, validate_config=False)
        return tap._validate_config(raise_errors=False)

    return errors
