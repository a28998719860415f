"""The tap as a process and in this one, with a sandbox to read from and its truth to compare with."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from api_sandbox import HubstaffScenario, RunningSandbox, Scenario, serve_in_thread

from tests.hubstaff import reading
from tests.hubstaff.reading import Run, SandboxClock
from tests.tap_processes import serving, starter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.tap_processes import Starter, TapServer

NOW = datetime(2026, 10, 28, 20, 30, tzinfo=timezone.utc)
"""A Wednesday evening: how many windows there are depends on the day and the hour."""


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


@pytest.fixture
def read() -> Callable[..., Run]:
    """Run the tap here, in the sandbox's own time, which is a stopped clock."""

    def run(sandbox: RunningSandbox, config: Any, state: Any = None, *streams: str, **more: Any) -> Run:
        return reading.read(SandboxClock(sandbox.hubstaff), config, state, streams, **more)

    return run


@pytest.fixture
def serve() -> Iterator[Callable[..., RunningSandbox]]:
    """Start a sandbox that ends with the test, without the vendor's limit unless asked for."""
    with ExitStack() as stack:

        def start(*faults: Any, seed: int = 0, **scenario: Any) -> RunningSandbox:
            hubstaff = HubstaffScenario(
                **{"now": NOW, "requests_per_hour": None, "exchanges_per_hour": None, "history_days": 40, **scenario}
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
