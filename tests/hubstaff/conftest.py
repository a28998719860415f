"""The tap as a process and in this one, with a sandbox to read from and its truth to compare with."""

from __future__ import annotations

import io
import sys
import threading
from contextlib import ExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from api_sandbox import HubstaffScenario, RunningSandbox, Scenario, serve_in_thread
from singer_http.http.clock import Clock, Stopped
from tap_hubstaff.tap import TapHubstaff
from typing_extensions import override

from tests.tap_processes import Run as AnyRun
from tests.tap_processes import serving, starter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from api_sandbox.hubstaff.handle import RunningHubstaff

    from tests.tap_processes import Starter, TapServer

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


class Run(AnyRun):
    """A run of the tap, whose streams have keys of their own."""

    @override
    def ids(self, stream: str, key: tuple[str, ...] = ("id",)) -> list[str]:
        return super().ids(stream, KEYS.get(stream, key))

    @classmethod
    def of(cls, run: AnyRun) -> Run:
        return cls(run.code, run.stdout, run.stderr)


@pytest.fixture(scope="session")
def tap_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TapServer]:
    with serving("tap_hubstaff", tmp_path_factory.mktemp("runs")) as server:
        yield server


@pytest.fixture
def start_tap(tap_server: TapServer, tmp_path: Path) -> Starter:
    """Start the tap; config, state and catalog may be given as objects."""
    return starter(tap_server, tmp_path)


@pytest.fixture
def tap(start_tap: Starter) -> Callable[..., Run]:
    """Run the tap as a process, to its end or until it is killed when so many lines of it were read."""

    def run(*args: str, kill: int | None = None, **given: Any) -> Run:
        started = start_tap(*args, **given, piped=kill is not None)
        return Run.of(started.wait() if kill is None else started.killed_after(kill))

    return run


class SandboxClock(Clock):
    """The sandbox's own time, stopped, which goes on when somebody sleeps."""

    def __init__(self, hubstaff: RunningHubstaff) -> None:
        self._hubstaff = hubstaff
        self._now = hubstaff.now.timestamp()  # asked for once: it is told far more often than it changes
        self._lock = threading.Lock()
        self._is_stopped = False
        self.slept: list[float] = []

    @override
    def monotonic(self) -> float:
        return self.time()

    @override
    def time(self) -> float:
        return self._now

    @override
    def sleep(self, seconds: float) -> None:
        self.check()
        with self._lock:
            self.slept.append(seconds)
            self._hubstaff.advance(seconds)
            self._now = self._hubstaff.now.timestamp()

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
