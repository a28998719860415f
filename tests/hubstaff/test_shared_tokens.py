"""Tokens in PostgreSQL, for runs on several machines: one exchange for all, and none that locks them out."""

from __future__ import annotations

import signal
from itertools import count
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from singer_http.http.clock import Clock
from singer_http.http.errors import AuthenticationError
from tap_hubstaff.shared_tokens import SharedTokenStore
from tap_hubstaff.token_store import StoredTokens

from tests.hubstaff.kill_points import LOST, SHARED_KILL_POINTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from api_sandbox import RunningSandbox

    from demo.postgres import Postgres
    from tests.conftest import FakeClock
    from tests.hubstaff.reading import Run

    Settings = Callable[..., dict[str, Any]]
    Serve = Callable[..., RunningSandbox]
    Tap = Callable[..., Run]

HOUR = 3600
KILLED = __file__.replace("test_shared_tokens", "kill_points")


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.sqlalchemy_url


@pytest.fixture
def sandbox(serve: Serve) -> RunningSandbox:
    """One whose vendor revokes everything where a token is used twice."""
    return serve(reuse="revoke", history_days=1, organizations=1, shared_members=0)


@pytest.fixture
def log_in(tap: Tap, sandbox: RunningSandbox, settings: Settings, url: str, postgres: Postgres) -> Callable[..., Run]:
    """Begin a run, and kill it at a point or never."""

    def run(point: str = "nowhere", *, ahead: float = 0, is_new: bool = False) -> Run:
        if is_new:
            sandbox.hubstaff.reset_tokens()
            with postgres.connect() as connection:
                connection.execute("DROP TABLE IF EXISTS singer_tokens")
        token = sandbox.hubstaff.personal_access_token
        config = settings(sandbox, personal_access_token=token, token_url=url)
        del config["access_token"]
        ended = tap("--test", config=config, ahead=ahead, before=[KILLED, point])
        assert (ended.code == -signal.SIGKILL) == (point != "nowhere"), ended.stderr
        return ended

    return run


def test_the_first_exchange_may_be_cut_off(log_in: Callable[..., Run]) -> None:
    for point in SHARED_KILL_POINTS:
        log_in(point, is_new=True)
        after = log_in(ahead=60)
        if point in LOST:
            assert after.code == 1
            assert "ended before it could keep the new one" in after.said("ERROR")[0]
        else:
            assert after.code == 0, (point, after.said("ERROR"))


def test_a_later_exchange_may_be_cut_off_without_ending_any_run(
    sandbox: RunningSandbox, log_in: Callable[..., Run]
) -> None:
    for point in SHARED_KILL_POINTS:
        assert log_in(is_new=True).code == 0
        log_in(point, ahead=13 * HOUR)
        exchanges = sandbox.report().token_requests
        after = log_in(ahead=13 * HOUR + 60)
        assert after.code == 0, (point, after.said("ERROR"))
        if point in LOST:
            assert sandbox.report().token_requests == exchanges  # another would have ended the access token too


def test_a_new_token_is_kept_though_the_database_is_away_for_a_while(
    clock: FakeClock, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SharedTokenStore(url, "first", clock)
    connect, tries = psycopg.connect, count()

    def unwilling(*args: Any, **more: Any) -> Any:
        if next(tries) < 3:
            raise psycopg.OperationalError("no")
        return connect(*args, **more)

    monkeypatch.setattr("psycopg.connect", unwilling)
    store.write(StoredTokens("second"))
    assert len(clock.slept) == 3
    assert store.read().refresh_token == "second"


def test_a_lock_that_the_database_let_go_changes_nothing(clock: FakeClock, url: str, postgres: Postgres) -> None:
    store = SharedTokenStore(url, "first", clock)
    with store.locked(clock), postgres.connect() as connection:
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        connection.execute(f"{others} AND backend_type = 'client backend'")
        store.write(StoredTokens("second"))
    assert store.read().refresh_token == "second"


@pytest.mark.parametrize("url", ["", "mysql://u:s3cret@host/db", "postgresql://u:s3cret@host:99999/db"])
def test_a_token_url_that_is_none_is_told_of(tap: Tap, sandbox: RunningSandbox, settings: Settings, url: str) -> None:
    run = tap("--test", config=settings(sandbox, token_url=url))
    assert run.code == 1
    (sentence,) = run.said("ERROR")
    assert sentence.startswith("token_url is not valid: ")
    assert "s3cret" not in run.stderr


def test_what_is_said_of_a_database_holds_no_part_of_its_url() -> None:
    store = SharedTokenStore("postgresql://someone:s3cret@127.0.0.1:1/nowhere", "first", Clock())
    with pytest.raises(AuthenticationError) as told:
        store.read()
    assert "token_url" in str(told.value)
    assert "s3cret" not in str(told.value)
    assert "someone" not in str(told.value)


def test_what_is_kept_and_damaged_is_begun_anew(
    clock: FakeClock, url: str, postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    store = SharedTokenStore(url, "first", clock)
    store.write(StoredTokens("second"))
    with postgres.connect() as connection:
        connection.execute("UPDATE singer_tokens SET kept = 'x'")
    assert store.read().refresh_token == "first"
    assert "is damaged" in caplog.text
