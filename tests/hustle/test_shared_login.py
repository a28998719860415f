"""One login for all runs: none logs in while another does, and none takes a token that is of no use to it."""

from __future__ import annotations

import stat
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from singer_http.http.auth import Token, TokenSource
from singer_http.http.errors import AuthenticationError, CredentialsRefusedError
from singer_http.http.request_log import FileLog, LogError, Sent
from singer_http.http.shard import Shard
from singer_http.http.shared_log import SharedLog
from tap_hustle.shared_login import LOGIN_PATIENCE, SharedLogin
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from api_sandbox import RunningSandbox

    from demo.postgres import Postgres
    from tests.conftest import FakeClock
    from tests.tap_processes import Run

    Settings = Callable[..., dict[str, Any]]
    Serve = Callable[..., RunningSandbox]
    Tap = Callable[..., Run]

T = TypeVar("T")
WORKERS = 8
LIFETIME = 7200.0
LOGIN_TAKES = 3.0


class Logins:
    """What logs in: each login takes a while, and gives another token or fails."""

    def __init__(self, clock: FakeClock, folder: Path) -> None:
        self._clock = clock
        self._folder = folder
        self.count = 0
        self.failure: BaseException | None = None

    def __call__(self) -> Token:
        self.count += 1
        number = self.count
        self._clock.sleep(LOGIN_TAKES)
        if self.failure is not None:
            raise self.failure
        return Token.lasting(f"token-{number}", LIFETIME, self._clock.monotonic())

    def run(self, credential: str = "secret", log: type[FileLog] = FileLog) -> TokenSource:
        """The tokens of one more run."""
        shared = SharedLog(log(self._folder / "log", self._clock), 25, 1.0, Shard(1, WORKERS), self._clock)
        return TokenSource(SharedLogin(shared, self, credential, self._clock), self._clock)

    def runs(self) -> list[TokenSource]:
        return [self.run() for _ in range(WORKERS)]

    def tokens(self, runs: list[TokenSource]) -> Counter[str]:
        """What they have when all ask at once: a token, or the sentence of the error."""

        def ask(run: TokenSource) -> str:
            try:
                return run.get()
            except AuthenticationError as error:
                return str(error)

        return Counter(self._clock.together([partial(ask, run) for run in runs]))


@pytest.fixture
def logins(clock: FakeClock, tmp_path: Path) -> Logins:
    return Logins(clock, tmp_path)


def test_a_login_that_cannot_be_read_is_none_and_what_was_sent_still_counts(clock: FakeClock, tmp_path: Path) -> None:
    log = FileLog(tmp_path / "log", clock)

    def spoil(now: float, sent: Sent) -> None:
        sent.times, sent.login = [now], {"credential": 7}

    log.update(spoil)
    logins = Logins(clock, tmp_path)
    assert logins.run().get() == "token-1"
    assert len(log.update(lambda _, sent: sent.times)) == 1
    assert logins.run().get() == "token-1"


def test_eight_runs_log_in_once(logins: Logins, clock: FakeClock) -> None:
    runs = logins.runs()
    assert logins.tokens(runs) == {"token-1": WORKERS}
    assert logins.count == 1
    clock.advance(LIFETIME - 59)  # requests may be under way for a minute
    assert logins.tokens([*runs, logins.run()]) == {"token-2": WORKERS + 1}
    assert logins.count == 2


def test_a_token_that_was_refused_to_all_is_replaced_once(logins: Logins) -> None:
    runs = logins.runs()
    logins.tokens(runs)
    for run in runs:
        run.refused("token-1")
    assert logins.tokens(runs) == {"token-2": WORKERS}
    runs[0].refused("token-2")
    assert logins.tokens(runs) == {"token-2": WORKERS - 1, "token-3": 1}
    assert logins.count == 3


def test_credentials_that_are_refused_are_tried_once(logins: Logins, clock: FakeClock) -> None:
    refusal = "HTTP 401: check client_secret."
    logins.failure = CredentialsRefusedError(refusal)
    found = logins.tokens(logins.runs())
    assert found.pop(refusal) == 1
    assert sum(found.values()) == WORKERS - 1
    clock.advance(20)
    (told,) = logins.tokens([logins.run()])
    assert told == (
        f"Another run was refused its login, so this one did not try: {refusal} No run tries these credentials"
        " for another 40 s."
    )
    assert logins.count == 1
    logins.failure = None
    assert logins.tokens([logins.run("another")]) == {"token-2": 1}
    clock.advance(40)
    assert logins.tokens([logins.run()]) == {"token-3": 1}


def test_when_a_login_fails_the_next_run_tries_at_once(logins: Logins, clock: FakeClock) -> None:
    logins.failure = AuthenticationError("HTTP 503")
    logins.tokens([logins.run()])
    logins.failure = None
    began = clock.monotonic()
    assert logins.tokens(logins.runs()) == {"token-2": WORKERS}
    assert clock.monotonic() - began < 2 * LOGIN_TAKES


def test_a_run_that_died_while_it_logged_in_is_not_waited_for_long(logins: Logins, clock: FakeClock) -> None:
    runs = logins.runs()
    killed = SharedLogin(FileLog(logins._folder / "log", clock), logins, "secret", clock)
    killed._log.update(killed._look)
    began = clock.monotonic()
    assert logins.tokens(runs) == {"token-1": WORKERS}
    assert LOGIN_PATIENCE <= clock.monotonic() - began < LOGIN_PATIENCE + 2 * LOGIN_TAKES


def test_the_token_of_another_credential_is_not_taken(logins: Logins) -> None:
    first, second = logins.run("secret"), logins.run("other secret")
    assert [first.get(), second.get()] == ["token-1", "token-2"]
    assert logins.run("other secret").get() == "token-2"
    assert first.get() == "token-1"


def test_a_run_that_cannot_reach_the_log_logs_in_itself(logins: Logins, caplog: pytest.LogCaptureFixture) -> None:
    class Away(FileLog):
        @override
        def update(self, change: Callable[[float, Sent], T]) -> T:
            raise LogError("budget_url: no connection")

    assert logins.run().get() == "token-1"
    alone = logins.run(log=Away)
    assert alone.get() == "token-2"
    assert "out of reach (budget_url: no connection)" in caplog.text
    alone.refused("token-2")
    assert alone.get() == "token-3"


@pytest.mark.parametrize("place", ["on this machine", "a folder", "PostgreSQL"])
def test_runs_of_the_tap_log_in_once(  # noqa: PLR0917 - fixtures
    tap: Tap, serve: Serve, settings: Settings, tmp_path: Path, place: str, request: pytest.FixtureRequest
) -> None:
    sandbox = serve(leads=0)
    config = settings(sandbox, share_login=True)
    if place == "PostgreSQL":
        postgres: Postgres = request.getfixturevalue("postgres")
        config["budget_url"] = postgres.sqlalchemy_url
    elif place == "a folder":
        config["budget_url"] = f"file://{tmp_path}/shared"
    runs = [tap(config=config) for _ in range(2)]
    assert [run.code for run in runs] == [0, 0], runs[1].stderr
    assert sandbox.report().token_requests == 1
    sandbox.run(lambda running: running.hustle.expire_tokens())
    assert tap(config=config).code == 0
    assert sandbox.report().token_requests == 2
    assert "token-" not in "".join(run.stderr for run in runs)


def kept_tokens(folder: Path) -> list[Path]:
    """The files in which a token is."""
    return [path for path in folder.rglob("*.requests") if b"token" in path.read_bytes()]


def test_a_token_is_kept_only_where_a_setting_says_so(
    tap: Tap, serve: Serve, settings: Settings, tmp_path: Path
) -> None:
    sandbox = serve(leads=0)
    assert [tap(config=settings(sandbox)).code for _ in range(2)] == [0, 0]
    assert sandbox.report().token_requests == 2
    assert kept_tokens(tmp_path) == []
    assert tap(config=settings(sandbox, share_login=True)).code == 0
    (kept,) = kept_tokens(tmp_path)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
