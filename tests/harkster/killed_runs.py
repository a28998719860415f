"""Runs of the target that are killed, for real, between any two things that it does or in the middle of a request.

As a program, of `tests/programs.py`: a server that forks a run for each line of its input.
"""

import contextlib
import gc
import io
import itertools
import json
import os
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import sqlalchemy as sa
import urllib3
from singer_http.http.clock import Clock, Stopped
from singer_http.http.errors import ApiError
from singer_http.http.transport import Transport
from sqlalchemy.engine.default import DefaultDialect
from target_harkster.delivery import parcel_queue
from target_harkster.ledger.reject_file import RejectFile
from target_harkster.ledger.store import Ledger
from target_harkster.run import Run as HarksterRun
from target_harkster.target import TargetHarkster
from typing_extensions import override

from tests.programs import look_up_versions_once

HANGS_AFTER = 300
"""Seconds."""
POLL_INTERVAL = 0.01
"""Seconds between two looks at what a run is waited for."""


create_engine = sa.create_engine


class FastClock(Clock):
    """Time that does not pass while one sleeps, but has passed afterwards."""

    def __init__(self) -> None:
        self._offset = 0.0
        self._stopped = False

    @override
    def monotonic(self) -> float:
        return time.monotonic() + self._offset

    @override
    def time(self) -> float:
        return time.time() + self._offset

    @override
    def sleep(self, seconds: float) -> None:
        self.check()
        self._offset += max(0.0, seconds)

    @override
    def check(self) -> None:
        if self._stopped:
            raise Stopped

    @override
    def stop(self) -> None:
        self._stopped = True


@dataclass(frozen=True, slots=True)
class Run:
    """A run of the target.

    Attributes:
        config: The settings.
        lines: The messages.
        states: File that the STATEs go to.
        kill_at: At which point to be killed; points are before and after each request, commit, STATE and writing of the
            reject file. 0 for nowhere; below 0 it is killed after that point, when it has sent a request and waits for
            the answer.
        timeout: Seconds that a request may take.
        batch: Rows that are looked up together: with few, a row can change after it was posted.
        clock_offset: Seconds by which the clock is ahead.
        is_watched: Whether it may be killed from outside.
    """

    config: dict[str, Any]
    lines: str
    states: str
    kill_at: int = 0
    timeout: float = 60
    batch: int = 2
    clock_offset: float = 0
    is_watched: bool = False

    @property
    def is_in_file(self) -> bool:
        return str(self.config["ledger_url"]).startswith("sqlite")

    @property
    def ledger(self) -> str:
        return str(self.config["ledger_url"]).removeprefix("sqlite:///")


@dataclass(frozen=True, slots=True)
class End:
    """How a run ended.

    Attributes:
        code: The exit code; below 0 the signal.
        points: How many points it passed; 0 if it was killed.
        error: Name of its exception.
    """

    code: int
    points: int = 0
    error: str = ""

    @property
    def is_killed(self) -> bool:
        return self.code == -signal.SIGKILL


class Runs:
    """Runs, one after the other; each that is to be killed in a process of its own."""

    def __init__(self, programs: Path) -> None:
        self._server = subprocess.Popen(
            [programs / "killed-runs"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={},  # without certificates that whoever tests has chosen: each run would read them all
            bufsize=0,  # what is there to be read can be seen from outside
        )

    def run(self, run: Run, until: Callable[[], bool] | None = None) -> End:
        """A run that is killed as soon as something has happened, if it has not ended by then."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(asdict(run) | {"is_watched": until is not None}).encode() + b"\n")
        if until is not None:
            pid = int(self._server.stdout.readline())
            while not select.select([self._server.stdout], [], [], POLL_INTERVAL)[0]:
                if until():
                    os.kill(pid, signal.SIGKILL)
                    break
        return End(**json.loads(self._server.stdout.readline()))

    def close(self) -> None:
        self._server.communicate()


class Database:
    """What a ledger in a file is made of, as far as it is the same for all.

    Attributes:
        path: Of the file.
    """

    def __init__(self) -> None:
        self.path = ""
        # One for all, as it has the statements that it was asked before.
        self._engine = sa.create_engine("sqlite://", creator=self._connected, poolclass=sa.StaticPool)

    def engine(self, url: str | sa.URL, **options: Any) -> sa.Engine:
        if sa.make_url(url).get_backend_name() != "sqlite":
            return create_engine(url, **options)
        self.path = sa.make_url(url).database or self.path
        self._engine.dispose()
        return self._engine

    def _connected(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path)


def serve() -> None:
    """Do a run for each line of the input: in a fork if it is to be killed, and here otherwise, as forks are slow."""
    database = Database()
    with tempfile.TemporaryDirectory() as folder:
        database.path = empty = f"{folder}/empty.db"
        with mock.patch.object(sa, "create_engine", database.engine), look_up_versions_once():
            Ledger(f"sqlite:///{empty}", FastClock()).close()
            is_warm = False
            for line in sys.stdin:
                run = Run(**json.loads(line))
                if not is_warm:
                    is_warm = True
                    database.path = shutil.copy(empty, f"{folder}/warm.db")
                    _warm_up(run)
                if run.is_in_file and not Path(run.ledger).exists():
                    shutil.copy(empty, run.ledger)
                end = _forked(run) if run.kill_at or run.is_watched else _run(run)
                sys.stdout.write(json.dumps(end) + "\n")
                sys.stdout.flush()


def _forked(run: Run) -> dict[str, Any]:
    report_from, report_to = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _run_in_fork(run, report_to)
        finally:
            os._exit(2)
    if run.is_watched:
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()
    os.close(report_to)
    with os.fdopen(report_from) as end:
        last = end.read()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return {"code": code, **json.loads(last or "{}")}


def _warm_up(run: Run) -> None:
    """Do without any effect what all runs do, as much is imported only when it is used first."""
    config = {**run.config, "dry_run": True, "ledger_url": "sqlite:///none.db"}
    with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(ApiError):
        TargetHarkster(config=config, clock=FastClock()).listen(io.BytesIO(run.lines.encode()))  # type: ignore[arg-type]
    gc.collect()
    gc.freeze()


def kill_self(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _run_in_fork(run: Run, report_to: int) -> None:
    """Run the target in this process, and kill it at its point."""
    gc.disable()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    end = _run(run)
    os.write(report_to, json.dumps(end).encode())
    os._exit(end["code"])


def _run(run: Run) -> dict[str, Any]:
    """Run the target in this process. Returns what there is to tell of its end."""
    passed = itertools.count(1)

    def point() -> None:
        at = next(passed)
        if at == run.kill_at:
            kill_self()
        elif at == -run.kill_at:
            mock.patch.object(urllib3.connection.HTTPConnection, "getresponse", kill_self).start()

    clock = FastClock()
    clock.sleep(run.clock_offset)
    error = ""
    signal.alarm(HANGS_AFTER)
    with contextlib.ExitStack() as patched:
        patched.callback(signal.alarm, 0)
        for owner, name in (
            (Transport, "send"),
            (DefaultDialect, "do_commit"),
            (HarksterRun, "_acknowledge"),
            (RejectFile, "write"),
            (Path, "replace"),
        ):
            patched.enter_context(_surrounded(owner, name, point))
        patched.enter_context(mock.patch.object(parcel_queue, "BATCH", run.batch))
        # So that each STATE goes out as soon as it may.
        patched.enter_context(mock.patch.object(parcel_queue, "CHECKPOINT_POSTS", 0))
        states = patched.enter_context(Path(run.states).open("a"))
        patched.enter_context(contextlib.redirect_stdout(states))
        patched.enter_context(contextlib.redirect_stderr(io.StringIO()))
        try:
            target = TargetHarkster(config=run.config, clock=clock)
            target.run.api._session.transport._timeout = run.timeout
            target.listen(io.BytesIO(run.lines.encode()))  # type: ignore[arg-type]
        except Exception as raised:  # noqa: BLE001 - the exit code and the name of the error are what is looked at
            error = type(raised).__name__
    return {"code": int(bool(error)), "points": next(passed) - 1, "error": error}


def _surrounded(owner: Any, name: str, point: Callable[[], None]) -> Any:
    original = getattr(owner, name)

    def surrounded(*args: Any, **kwargs: Any) -> Any:
        point()
        result = original(*args, **kwargs)
        point()
        return result

    return mock.patch.object(owner, name, surrounded)
