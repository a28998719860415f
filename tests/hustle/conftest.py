"""The tap as a process, with a sandbox to read from and its truth to compare with."""

from __future__ import annotations

import io
import random
import signal
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from api_sandbox import HustleScenario, RunningSandbox, Scenario, serve_in_thread
from tap_hustle.client import open_session
from tap_hustle.tap import TapHustle

from tests.leaping import LeapingClock
from tests.tap_processes import Run, Started, serving, starter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.tap_processes import Starter, TapServer

__all__ = ["Run", "Started"]

MARKERS = {"resume", "progress_markers", "replication_key_signpost", "starting_replication_value", "partitions_done"}


@pytest.fixture(scope="session")
def tap_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TapServer]:
    with serving("tap_hustle", tmp_path_factory.mktemp("runs")) as server:
        yield server


@pytest.fixture
def start_tap(tap_server: TapServer, tmp_path: Path) -> Starter:
    """Start the tap; config, state and catalog may be given as objects."""
    return starter(tap_server, tmp_path)


@pytest.fixture
def tap(start_tap: Starter) -> Callable[..., Run]:
    """Run the tap to its end."""

    def run(*args: str, **given: Any) -> Run:
        return start_tap(*args, **given).wait()

    return run


@dataclass(frozen=True)
class Timed(Run):
    """A run that succeeded, and how long it took by its clock."""

    seconds: float = 0.0


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch, handlers_kept: None) -> Callable[..., Timed]:  # noqa: ARG001
    """Run the tap here, in one time with the sandbox: nothing but waiting takes any, and requests arrive late."""

    def run(sandbox: RunningSandbox, config: dict[str, Any], *, most_late: float = 0.0) -> Timed:
        clock = LeapingClock()
        chance = random.Random(0)  # noqa: S311 - the same in every run
        arrivals = [began := clock.now]

        def arrive() -> float:
            arrivals.append(max(arrivals[-1], clock.now + chance.random() * most_late))
            return arrivals[-1]

        with monkeypatch.context() as patched:
            out = io.BytesIO()
            patched.setattr(sys, "stdout", io.TextIOWrapper(out, write_through=True))
            patched.setattr("api_sandbox.api.time", SimpleNamespace(monotonic=arrive))
            patched.setattr("tap_hustle.tap.open_session", lambda *args: clock.watch(open_session(*args)))
            sandbox.run(lambda running: setattr(running.hustle.tokens, "clock", clock.monotonic))
            TapHustle(config=config, clock=clock).sync_all()
            return Timed(0, out.getvalue(), "", clock.now - began)

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
def sound(
    tap_server: TapServer,
    standing: RunningSandbox,
    settings: Callable[..., dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Run:
    """A run that read all there is, for tests that look at what it wrote."""
    return starter(tap_server, tmp_path_factory.mktemp("sound"))(config=settings(standing)).wait()


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
