"""Tokens that change with every login: kept before they are used, shared, and never thrown away."""

from __future__ import annotations

import base64
import json
import logging
import re
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from api_sandbox import Fault
from singer_http.http import connections
from singer_http.http.clock import Clock, Stopped
from singer_http.http.errors import AuthenticationError
from singer_http.http.transport import Transport
from tap_hubstaff.auth import MOST_REFUSALS, Rotation, expiry
from tap_hubstaff.token_store import StoredTokens, TokenStore

from tests.conftest import HANGING, FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from api_sandbox import RunningSandbox

    from tests.conftest import RawServer
    from tests.hubstaff.reading import Run

    Settings = Callable[..., dict[str, Any]]
    Serve = Callable[..., RunningSandbox]
    Tap = Callable[..., Run]


@pytest.fixture
def personal(settings: Settings) -> Callable[..., dict[str, Any]]:
    """Settings with a personal access token, for little to read."""

    def of(sandbox: RunningSandbox, **more: Any) -> dict[str, Any]:
        config = settings(sandbox, days=4, **{"personal_access_token": sandbox.hubstaff.personal_access_token, **more})
        del config["access_token"]
        return config

    return of


def small(serve: Serve, *faults: Any, **more: Any) -> RunningSandbox:
    return serve(*faults, history_days=2, organizations=1, shared_members=0, **more)


def kept(config: dict[str, Any]) -> Path:
    (path,) = Path(config["token_path"]).glob("*.json")
    return path


def rotation(url: str, folder: Path, clock: Clock, configured: str = "first") -> Rotation:
    transport = Transport(user_agent="test", timeout=60, connections=1, clock=clock)
    return Rotation(url, transport, TokenStore(folder, configured), None, clock)


def tokens(**more: Any) -> str:
    return json.dumps({"access_token": "access", "refresh_token": "second", "expires_in": 86400, **more})


def test_one_exchange_serves_many_runs(tap: Tap, serve: Serve, personal: Callable[..., dict[str, Any]]) -> None:
    sandbox = small(serve, reuse="revoke", exchanges_per_hour=5)
    config = personal(sandbox)
    for args in ((), ("--test",), ("--test",)):
        run = tap(*args, config=config)
        assert run.code == 0, run.said("ERROR")
    assert sandbox.report().token_requests == 1
    path = kept(config)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text())["refresh_token"] == sandbox.hubstaff.current_refresh_token()
    sandbox.hubstaff.expire_access_tokens()
    assert tap("--test", config=config).code == 0
    assert sandbox.report().token_requests == 2


def test_no_token_is_shown(tap: Tap, serve: Serve, personal: Callable[..., dict[str, Any]]) -> None:
    sandbox = small(serve)
    config = personal(sandbox)
    run = tap(config=config)
    stored = json.loads(kept(config).read_text())
    for secret in (config["personal_access_token"], stored["refresh_token"], stored["access_token"]):
        assert secret not in run.stderr
        assert secret.encode() not in run.stdout


def test_an_application_is_logged_in_with_its_credentials(tap: Tap, serve: Serve, settings: Settings) -> None:
    sandbox = small(serve)
    config = settings(
        sandbox,
        days=4,
        refresh_token=sandbox.hubstaff.refresh_token,
        client_id=sandbox.hubstaff.client_id,
        client_secret=sandbox.hubstaff.client_secret,
    )
    del config["access_token"]
    run = tap(config=config)
    assert run.code == 0, run.said("ERROR")
    wrong = tap(config={**config, "token_path": f"{config['token_path']}2", "client_secret": "wrong"})
    assert wrong.code == 1
    assert len(wrong.said("ERROR")) == 1


def test_a_used_up_token_is_said_and_tried_once(
    tap: Tap, serve: Serve, personal: Callable[..., dict[str, Any]]
) -> None:
    sandbox = small(serve)
    config = personal(sandbox)
    assert tap("--test", config=config).code == 0
    elsewhere = tap(config={**config, "token_path": f"{config['token_path']}2"})
    assert elsewhere.code == 1
    (sentence,) = elsewhere.said("ERROR")
    assert "Create a new personal access token" in sentence
    assert sandbox.report().token_requests == 2


def test_a_wrong_organization_token_is_said(tap: Tap, serve: Serve, settings: Settings) -> None:
    run = tap(config=settings(small(serve), days=4, access_token="hsoat_wrong"))
    assert run.code == 1
    assert ["check access_token" in sentence for sentence in run.said("ERROR")] == [True]


@pytest.mark.parametrize(
    ("given", "came"),
    [
        ((500,), "HTTP 500 in answer to"),
        ((503,), "HTTP 503 in answer to"),
        ((200, "<html>"), "HTTP 200 without tokens in answer to"),
        ((200, ""), "HTTP 200 without tokens in answer to"),
        ((), "no whole answer to"),
    ],
)
def test_an_exchange_that_may_have_happened_is_not_repeated(  # noqa: PLR0917
    raw_server: Callable[..., RawServer],
    answer: Callable[..., bytes],
    reset: Any,
    clock: FakeClock,
    tmp_path: Path,
    given: tuple[Any, ...],
    came: str,
) -> None:
    server = raw_server(answer(*given) if given else reset)
    with pytest.raises(
        AuthenticationError, match=f"{came} the exchange of the refresh token. It may have been used up"
    ):
        rotation(f"{server.url}/tokens", tmp_path, clock)()
    assert len(server.requests) == 1


def test_a_lost_answer_is_not_repeated(
    raw_server: Callable[..., RawServer], reset: Any, answer: Callable[..., bytes], clock: FakeClock, tmp_path: Path
) -> None:
    server = raw_server(reset, answer(200, tokens()))
    with pytest.raises(AuthenticationError, match="not sent again by this run"):
        rotation(f"{server.url}/tokens", tmp_path, clock)()
    assert len(server.requests) == 1
    # The next run may try; what it is given is kept.
    assert rotation(f"{server.url}/tokens", tmp_path, clock)().value == "access"
    assert TokenStore(tmp_path, "first").read().refresh_token == "second"


def test_a_personal_token_is_sent_as_a_form_without_client_credentials(
    raw_server: Callable[..., RawServer], answer: Callable[..., bytes], clock: FakeClock, tmp_path: Path
) -> None:
    server = raw_server(answer(200, tokens()))
    rotation(f"{server.url}/tokens", tmp_path, clock)()
    (request,) = server.requests
    assert request.body == b"grant_type=refresh_token&refresh_token=first"
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert "authorization" not in request.headers


@pytest.mark.parametrize("lifetime", [0, None, -5, "soon"])
def test_a_new_token_is_kept_whatever_is_said_of_its_life(
    raw_server: Callable[..., RawServer], answer: Callable[..., bytes], clock: FakeClock, tmp_path: Path, lifetime: Any
) -> None:
    server = raw_server(answer(200, tokens(expires_in=lifetime)))
    assert rotation(f"{server.url}/tokens", tmp_path, clock)().value == "access"
    assert TokenStore(tmp_path, "first").read().refresh_token == "second"


def test_nothing_is_exchanged_that_could_not_be_kept(
    raw_server: Callable[..., RawServer],
    answer: Callable[..., bytes],
    clock: FakeClock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = raw_server(answer(200, tokens()))

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(Exception, match="No space left on device"):
        rotation(f"{server.url}/tokens", tmp_path, clock)()
    assert server.requests == []
    assert [path.suffix for path in tmp_path.iterdir()] in ([], [".lock"])


HOUR = 3600.0


def test_an_access_token_is_exchanged_at_half_its_life(
    raw_server: Callable[..., RawServer], answer: Callable[..., bytes], clock: FakeClock, tmp_path: Path
) -> None:
    server = raw_server(answer(200, tokens()), answer(200, tokens(access_token="access2", refresh_token="third")))
    assert rotation(f"{server.url}/tokens", tmp_path, clock)().value == "access"
    clock.sleep(11 * HOUR)
    assert rotation(f"{server.url}/tokens", tmp_path, clock)().value == "access"
    clock.sleep(2 * HOUR)
    assert rotation(f"{server.url}/tokens", tmp_path, clock)().value == "access2"
    assert len(server.requests) == 2


@pytest.mark.parametrize(("ahead", "given"), [(24 * HOUR, "access2"), (300.0, "access")])
def test_a_token_that_a_wrong_clock_dated_in_the_future_is_exchanged_at_once(  # noqa: PLR0917
    raw_server: Callable[..., RawServer],
    answer: Callable[..., bytes],
    clock: FakeClock,
    tmp_path: Path,
    ahead: float,
    given: str,
) -> None:
    server = raw_server(answer(200, tokens()), answer(200, tokens(access_token="access2", refresh_token="third")))
    wrong = FakeClock()
    wrong.sleep(ahead)
    assert rotation(f"{server.url}/tokens", tmp_path, wrong)().value == "access"
    for _ in range(2):
        assert rotation(f"{server.url}/tokens", tmp_path, clock)().value == given


@pytest.mark.parametrize(
    ("failure", "is_repeated"), [("reset", False), (500, False), (400, False), (403, True), (429, True)]
)
def test_an_exchange_that_fails_leaves_the_access_token_there_is(
    *,
    raw_server: Callable[..., RawServer],
    reset: Any,
    answer: Callable[..., bytes],
    clock: FakeClock,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    failure: Any,
    is_repeated: bool,
) -> None:
    server = raw_server(answer(200, tokens()), reset if failure == "reset" else answer(failure))
    rotation(f"{server.url}/tokens", tmp_path, clock)()
    clock.sleep(13 * HOUR)
    for _ in range(3):
        caplog.clear()
        one = rotation(f"{server.url}/tokens", tmp_path, clock)
        assert one().value == "access"
        assert [line.levelname for line in caplog.records] == ["WARNING"]
        assert "for 11.0 h" in caplog.text or "11.0 h more" in caplog.text
    # Where the refresh token may be used up, another try could make the vendor revoke the rest.
    assert len(server.requests) == (4 if is_repeated else 2)
    clock.sleep(12 * HOUR)
    before = len(server.requests)
    with pytest.raises(AuthenticationError):
        rotation(f"{server.url}/tokens", tmp_path, clock)()
    assert len(server.requests) > before


def test_a_cut_off_exchange_is_named_when_its_token_is_refused(
    raw_server: Callable[..., RawServer], reset: Any, answer: Callable[..., bytes], clock: FakeClock, tmp_path: Path
) -> None:
    server = raw_server(reset, answer(400))
    with pytest.raises(AuthenticationError, match="not sent again by this run"):
        rotation(f"{server.url}/tokens", tmp_path, clock)()
    clock.slept.clear()
    for _ in range(2):
        with pytest.raises(AuthenticationError, match=r"ended before it could keep the new one.*Create a new"):
            rotation(f"{server.url}/tokens", tmp_path, clock)()
    # Not before the vendor's hosting has ended the first for certain.
    assert 0 < sum(clock.slept) <= 30


def test_a_refused_token_is_not_sent_by_the_other_runs_of_the_same_moment(
    raw_server: Callable[..., RawServer], answer: Callable[..., bytes], clock: FakeClock, tmp_path: Path
) -> None:
    server = raw_server(answer(400))
    with pytest.raises(AuthenticationError, match="HTTP 400; the refresh token is used up, revoked or expired"):
        rotation(f"{server.url}/tokens", tmp_path, clock)()
    for seconds in (0, 20):
        clock.advance(seconds)
        with pytest.raises(AuthenticationError) as told:
            rotation(f"{server.url}/tokens", tmp_path, clock)()
        assert re.fullmatch(
            r"Another run was refused the refresh token at 2023-11-14 22:\d\d:\d\d UTC, so this one did not try it."
            rf" No run does for another {60 - seconds} s. Create a new personal access token .* into the settings.",
            str(told.value),
        )
    assert len(server.requests) == 1
    clock.advance(41)
    with pytest.raises(AuthenticationError, match="HTTP 400"):
        rotation(f"{server.url}/tokens", tmp_path, clock)()
    assert len(server.requests) == 2


def test_what_was_written_but_not_put_in_place_is_used(tmp_path: Path) -> None:
    store = TokenStore(tmp_path, "first")
    store.write(StoredTokens("second"))
    new = store.path.with_suffix(".new")
    new.write_text('{"refresh_token": "thi')
    assert store.read().refresh_token == "second"
    new.write_text('{"refresh_token": "third"}')
    assert store.read().refresh_token == "third"
    assert not new.exists()
    store.write(StoredTokens("fourth"))
    assert store.read().refresh_token == "fourth"
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600


def test_parallel_runs_exchange_once(
    raw_server: Callable[..., RawServer], answer: Callable[..., bytes], tmp_path: Path
) -> None:
    server = raw_server(answer(200, tokens()), answer(400))
    found: list[str] = []
    clock = Clock()  # a faked one would let those that wait for the lock lose their patience at once
    runs = [rotation(f"{server.url}/tokens", tmp_path, clock) for _ in range(6)]
    threads = [threading.Thread(target=lambda run=run: found.append(run().value)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANGING)
    assert found == ["access"] * 6
    assert len(server.requests) == 1


def test_a_refused_access_token_is_exchanged_unless_another_run_has_done_so(
    raw_server: Callable[..., RawServer], answer: Callable[..., bytes], clock: FakeClock, tmp_path: Path
) -> None:
    server = raw_server(
        answer(200, tokens()), answer(200, tokens(access_token="access2", refresh_token="third")), answer(400)
    )
    one, other = (rotation(f"{server.url}/tokens", tmp_path, clock) for _ in range(2))
    assert (one().value, other().value) == ("access", "access")
    assert one().value == "access2"  # asked for again before its end, it was refused
    assert other().value == "access2"
    assert b"refresh_token=second" in server.requests[1].body
    assert len(server.requests) == 2


def test_an_api_that_refuses_every_token_costs_few_exchanges_and_no_good_token(
    raw_server: Callable[..., RawServer],
    answer: Callable[..., bytes],
    clock: FakeClock,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = raw_server(*[answer(200, tokens(access_token=f"access{n}", refresh_token=f"r{n}")) for n in range(9)])
    given = []
    for _ in range(7):
        run = rotation(f"{server.url}/tokens", tmp_path, clock)
        given += [run().value, run().value]  # the second because the first was refused
        clock.sleep(60)
    exchanges = 1 + MOST_REFUSALS
    assert len(server.requests) == exchanges <= 4
    assert set(given[-6:]) == {f"access{exchanges - 1}"}  # the run goes on with it: what else there is may be read
    assert "Hubstaff allows about five exchanges an hour" in caplog.text
    assert "access3" not in caplog.text
    clock.sleep(HOUR)
    run = rotation(f"{server.url}/tokens", tmp_path, clock)
    assert [run().value, run().value] == [f"access{exchanges - 1}", f"access{exchanges}"]


def test_a_newly_configured_token_begins_anew_and_the_old_one_stays(tmp_path: Path) -> None:
    old, new = TokenStore(tmp_path, "old"), TokenStore(tmp_path, "new")
    with old.locked(Clock()):
        old.write(StoredTokens("next-of-old"))
    assert new.read().refresh_token == "new"
    assert old.read().refresh_token == "next-of-old"
    old.path.write_text("{")
    assert old.read().refresh_token == "old"


def test_a_run_waits_for_another_that_is_logging_in_and_says_so(
    raw_server: Callable[..., RawServer],
    answer: Callable[..., bytes],
    clock: FakeClock,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "tap_hubstaff")
    server = raw_server(answer(200, tokens()))
    waiting = rotation(f"{server.url}/tokens", tmp_path, clock)
    with TokenStore(tmp_path, "first").locked(clock):
        with pytest.raises(AuthenticationError, match="5 min"):
            waiting()
        assert round(sum(clock.slept)) == 300
        clock.stop()
        with pytest.raises(Stopped):
            waiting()
    assert caplog.messages == ["Another run is logging in with the same token: waiting for it, 300 s at most."] * 2
    assert server.requests == []


def test_a_run_says_that_it_waits_for_an_exchange_that_was_cut_off(
    raw_server: Callable[..., RawServer],
    answer: Callable[..., bytes],
    clock: FakeClock,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "tap_hubstaff")
    server = raw_server(answer(200, tokens()))
    with TokenStore(tmp_path, "first").locked(clock):
        TokenStore(tmp_path, "first").write(StoredTokens("first", begun_at=clock.time() - 18))
    assert rotation(f"{server.url}/tokens", tmp_path, clock)().value == "access"
    assert caplog.messages == ["The last exchange of the token was cut off: waiting 12 s for it to be over."]
    assert clock.slept == [12]


def jwt(claims: Any) -> str:
    part = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{part}.signature"


def test_the_end_of_a_token_is_said_two_weeks_before(
    raw_server: Callable[..., RawServer],
    answer: Callable[..., bytes],
    clock: FakeClock,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    day = 86400
    for days, is_said in ((20, False), (13, True)):
        caplog.clear()
        token = jwt({"exp": clock.time() + days * day})
        server = raw_server(answer(200, tokens(refresh_token=token)))
        rotation(f"{server.url}/tokens", tmp_path, clock, configured=str(days))()
        assert ("The refresh token ends in 13 days" in caplog.text) == is_said


@pytest.mark.parametrize("token", ["", "opaque", "a.b.c", "a.e30.c", jwt([]), jwt({"exp": "soon"}), jwt({"exp": None})])
def test_tokens_that_tell_no_end(token: str) -> None:
    assert expiry(token) is None


def test_a_folder_that_cannot_be_written_to_is_said(
    tap: Tap, serve: Serve, personal: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    occupied = tmp_path / "a file"
    occupied.write_text("")
    run = tap(config=personal(small(serve), token_path=str(occupied / "folder")))
    assert run.code == 1
    (sentence,) = run.said("ERROR")
    assert sentence.startswith("token_path is not valid")


def test_a_slow_token_endpoint_is_waited_for(tap: Tap, serve: Serve, personal: Callable[..., dict[str, Any]]) -> None:
    sandbox = small(serve, Fault(kind="slow", path="/access_tokens", delay=0.2))
    assert tap("--test", config=personal(sandbox)).code == 0


@pytest.mark.parametrize("written", ["second\\n", " second"])
def test_blanks_around_a_kept_token_are_none_of_it(tmp_path: Path, written: str) -> None:
    store = TokenStore(tmp_path, "first")
    store.path.write_text(f'{{"refresh_token": "{written}", "access_token": "access\\n"}}')
    assert (store.read().refresh_token, store.read().access_token) == ("second", "access")


@pytest.mark.parametrize("written", ["sec ond", "sec\\nond", "", "\u201csecond\u201d"])
def test_what_is_no_token_is_a_damaged_file(tmp_path: Path, caplog: pytest.LogCaptureFixture, written: str) -> None:
    store = TokenStore(tmp_path, "first")
    store.path.write_text(f'{{"refresh_token": "{written}"}}', encoding="utf-8")
    assert store.read().refresh_token == "first"
    assert "is damaged" in caplog.text
    assert "ond" not in caplog.text.replace(str(tmp_path), "")


def test_tokens_of_the_api_lose_the_blanks_around_them(
    raw_server: Callable[..., RawServer], answer: Callable[..., bytes], clock: FakeClock, tmp_path: Path
) -> None:
    server = raw_server(answer(200, tokens(access_token="access\n", refresh_token=" second ")))
    assert rotation(f"{server.url}/tokens", tmp_path, clock)().value == "access"
    assert TokenStore(tmp_path, "first").read().refresh_token == "second"


def test_an_exchange_that_the_end_of_the_run_cuts_off_counts_as_begun(
    raw_server: Callable[..., RawServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "GRACE", 0.1)
    ending = Clock()

    def play(connection: Any, _request: Any) -> None:
        ending.stop()
        connection.settimeout(20)
        assert connection.recv(1) == b""

    with pytest.raises(AuthenticationError, match="may have been used up"):
        rotation(f"{raw_server(play).url}/tokens", tmp_path, ending)()
    assert TokenStore(tmp_path, "first").read().begun_at > 0
