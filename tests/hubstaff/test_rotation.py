"""Runs that are killed while they exchange their token: none locks itself out where the vendor's rules allow it."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.hubstaff.kill_points import KILL_POINTS, LOST

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from api_sandbox import RunningSandbox

    from tests.hubstaff.reading import Run

    Settings = Callable[..., dict[str, Any]]
    Serve = Callable[..., RunningSandbox]
    Tap = Callable[..., Run]

HOUR = 3600
KILLED = __file__.replace("test_rotation", "kill_points")


@pytest.fixture
def sandbox(serve: Serve) -> RunningSandbox:
    """One whose vendor revokes everything where a token is used twice."""
    return serve(reuse="revoke", history_days=1, organizations=1, shared_members=0)


@pytest.fixture
def log_in(tap: Tap, sandbox: RunningSandbox, settings: Settings, tmp_path: Path) -> Callable[..., Run]:
    """Begin a run, with the store of a point, and kill it there or never."""

    def run(point: str, *, die: bool = False, ahead: float = 0) -> Run:
        token = sandbox.hubstaff.personal_access_token
        config = settings(sandbox, personal_access_token=token, token_path=str(tmp_path / point))
        del config["access_token"]
        ended = tap("--test", config=config, ahead=ahead, before=[KILLED, point if die else "nowhere"])
        assert (ended.code == -signal.SIGKILL) == die, ended.stderr
        return ended

    return run


def assert_told(run: Run) -> None:
    """One sentence, which says what happened and what to do."""
    assert run.code == 1
    (sentence,) = run.said("ERROR")
    assert "ended before it could keep the new one" in sentence
    assert "Create a new personal access token" in sentence


def test_the_first_exchange_may_be_cut_off(sandbox: RunningSandbox, log_in: Callable[..., Run]) -> None:
    for point in KILL_POINTS:
        sandbox.hubstaff.reset_tokens()
        log_in(point, die=True)
        after = log_in(point, ahead=60)
        if point in LOST:
            assert_told(after)
        else:
            assert after.code == 0, (point, after.said("ERROR"))


def test_a_later_exchange_may_be_cut_off_without_ending_any_run(
    sandbox: RunningSandbox, log_in: Callable[..., Run]
) -> None:
    for point in KILL_POINTS:
        sandbox.hubstaff.reset_tokens()
        assert log_in(point).code == 0
        log_in(point, die=True, ahead=13 * HOUR)
        exchanges = sandbox.report().token_requests
        after = log_in(point, ahead=13 * HOUR + 60)
        assert after.code == 0, (point, after.said("ERROR"))
        if point in LOST:
            (warning,) = after.said("WARNING")
            assert "serves on for 11.0 h" in warning
            # Another try would have ended the access token too.
            assert sandbox.report().token_requests == exchanges
            assert_told(log_in(point, ahead=25 * HOUR))


def test_an_exchange_that_never_began_is_made_up_for(sandbox: RunningSandbox, log_in: Callable[..., Run]) -> None:
    assert log_in("before the request").code == 0
    log_in("before the request", die=True, ahead=13 * HOUR)
    exchanges = sandbox.report().token_requests
    assert log_in("before the request", ahead=25 * HOUR).code == 0
    assert sandbox.report().token_requests == exchanges + 1
    assert sandbox.hubstaff.current_refresh_token()
