from __future__ import annotations

import gzip
import json
import logging
import socket
import traceback
from datetime import datetime, timezone
from email.utils import format_datetime, formatdate
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from singer_http.http import retries
from singer_http.http.auth import Token, TokenSource
from singer_http.http.clock import Clock, Stopped
from singer_http.http.errors import (
    ApiError,
    AuthenticationError,
    CredentialsRefusedError,
    FatalError,
    ForbiddenError,
    MalformedAnswerError,
    NotFoundError,
    RefusedRequestError,
    ServerFailedError,
)
from singer_http.http.retries import FIRST_CONTACT_TRIES, THROTTLE_PATIENCE
from singer_http.http.rules import SUSPICIOUS_TRIES, TRIES
from singer_http.http.session import Session, request_token

from tests.conftest import HANGING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from singer_http.http.transport import Transport

    from tests.conftest import FakeClock, RawServer, Received
    from tests.http.conftest import NumberedTokens

    Answer = Callable[..., bytes]
    Parse = Callable[[bytes], list[int]]
    Serve = Callable[..., RawServer]
    NewSession = Callable[..., Session]
    NewTransport = Callable[..., Transport]
    Play = Callable[[socket.socket, Received], None]

HUSH = "hush-do-not-tell"
"""In every body, to be found in no message."""
GOOD = '{"items":[1,2,3]}'
ERROR_BODY = json.dumps({"code": 1, "message": HUSH})


def assert_discreet(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the error, nor its traceback, nor any log record down to DEBUG, holds a body or a token."""
    said = "".join(traceback.format_exception(error)) + caplog.text
    said += "".join(repr(record.args) for record in caplog.records)
    assert HUSH not in said
    assert "token-1" not in said
    assert "token-2" not in said


@pytest.fixture(autouse=True)
def everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)


@pytest.mark.parametrize(
    ("status", "error", "requests"),
    [
        *[(status, ServerFailedError, TRIES) for status in (408, 500, 501, 502, 503, 504, 520, 599)],
        *[(status, RefusedRequestError, 1) for status in (400, 402, 405, 406, 409, 410, 413, 418, 422, 451, 499)],
        (404, NotFoundError, 1),
        (403, ForbiddenError, 1),
        (401, ApiError, 2),
        (204, MalformedAnswerError, SUSPICIOUS_TRIES),
        *[(status, MalformedAnswerError, 1) for status in (201, 202, 206, 300, 301, 302, 304, 307, 308, 600, 999)],
    ],
)
def test_every_status_gets_what_the_table_promises(
    *,
    raw_server: Serve,
    session: NewSession,
    answer: Answer,
    parse: Parse,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    status: int,
    error: type[ApiError],
    requests: int,
) -> None:
    has_no_body = status in {204, 304}
    server = raw_server(answer(status, b"" if has_no_body else ERROR_BODY))
    with pytest.raises(ApiError) as raised:
        session(server.url, clock).get("/leads", {"limit": 1}, parse)
    assert type(raised.value) is error
    assert server.paths() == ["/leads?limit=1"] * requests
    assert "GET /leads" in str(raised.value)
    assert str(status) in str(raised.value)
    assert_discreet(raised.value, caplog)


@pytest.mark.parametrize(
    ("status", "error", "requests"),
    [
        *[(status, CredentialsRefusedError, 1) for status in (400, 401, 403, 405, 409, 415, 422, 451)],
        (404, AuthenticationError, 1),
        *[(status, AuthenticationError, TRIES) for status in (408, 429, 500, 502, 503, 504, 599)],
        *[(status, AuthenticationError, 1) for status in (201, 301, 302, 307, 600)],
        (204, AuthenticationError, SUSPICIOUS_TRIES),
    ],
)
def test_every_status_of_a_login_gets_what_the_table_promises(
    *,
    raw_server: Serve,
    transport: NewTransport,
    answer: Answer,
    parse: Parse,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    status: int,
    error: type[ApiError],
    requests: int,
) -> None:
    server = raw_server(answer(status, b"" if status == 204 else ERROR_BODY))
    with pytest.raises(AuthenticationError) as raised:
        request_token(f"{server.url}/oauth/token", transport(clock), {"client_secret": HUSH}, parse, clock)
    assert type(raised.value) is error
    assert server.paths() == ["/oauth/token"] * requests
    assert all(json.loads(request.body) == {"client_secret": HUSH} for request in server.requests)
    assert all("authorization" not in request.headers for request in server.requests)
    assert "POST /oauth/token" in str(raised.value)
    assert_discreet(raised.value, caplog)


BODIES = [
    b"",
    b" ",
    b"<!DOCTYPE html><title>hush-do-not-tell</title>",
    b"[]",
    b"{}",
    b"null",
    b'"hush-do-not-tell"',
    b'{"items":null}',
    b'{"items":{}}',
    b'{"items":["hush-do-not-tell"]}',
    b'{"items":[1,2',
    b'{"items":[1,2]}hush-do-not-tell',
    b'{"items":[1],\xff\xfe}',
    b"\x1f\x8b\x08\x00",
    b"[" * 100_000,
]


@pytest.mark.parametrize("body", BODIES)
def test_what_is_not_documented_is_never_taken_for_data(
    *,
    raw_server: Serve,
    session: NewSession,
    answer: Answer,
    parse: Parse,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    body: bytes,
) -> None:
    server = raw_server(answer(200, body))
    with pytest.raises(MalformedAnswerError) as raised:
        session(server.url, clock).get("/leads", {}, parse)
    assert len(server.requests) == SUSPICIOUS_TRIES
    assert_discreet(raised.value, caplog)


@pytest.mark.parametrize("body", BODIES)
def test_a_token_endpoint_that_answers_nonsense_is_asked_a_few_times(
    *,
    raw_server: Serve,
    transport: NewTransport,
    answer: Answer,
    parse: Parse,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    body: bytes,
) -> None:
    server = raw_server(answer(200, body))
    with pytest.raises(AuthenticationError) as raised:
        request_token(f"{server.url}/oauth/token", transport(clock), {}, parse, clock)
    assert len(server.requests) == SUSPICIOUS_TRIES
    assert_discreet(raised.value, caplog)


def cut_off(body: bytes, *, chunked: bool) -> Play:
    """An answer that promises more than it gives."""

    def play(connection: socket.socket, _request: Received) -> None:
        if chunked:
            head = b"Transfer-Encoding: chunked\r\n\r\n" + b"%x\r\n%b" % (len(body), body)
        else:
            head = b"Content-Length: %d\r\n\r\n%b" % (len(body) + 7, body)
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + head)

    return play


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("body", [b"", b'{"items":[1', GOOD.encode()])
def test_a_cut_off_answer_is_asked_for_again(
    raw_server: Serve,
    session: NewSession,
    answer: Answer,
    parse: Parse,
    clock: FakeClock,
    *,
    chunked: bool,
    body: bytes,
) -> None:
    server = raw_server(
        answer(200, GOOD), cut_off(body, chunked=chunked), cut_off(body, chunked=chunked), answer(200, GOOD)
    )
    connected = session(server.url, clock)
    for _ in range(2):
        assert connected.get("/leads", {}, parse) == [1, 2, 3]
    assert len(server.requests) == 4


@pytest.mark.parametrize("cut", [5, 18, 25])
def test_a_cut_off_zipped_answer_is_asked_for_again(
    *, raw_server: Serve, session: NewSession, answer: Answer, parse: Parse, clock: FakeClock, cut: int
) -> None:
    zipped = gzip.compress(GOOD.encode())
    cut_short = answer(200, zipped[:cut], Content_Encoding="gzip")
    server = raw_server(cut_short, answer(200, zipped, Content_Encoding="gzip"))
    assert session(server.url, clock).get("/leads", {}, parse) == [1, 2, 3]
    assert len(server.requests) == 2


def test_nonsense_that_claims_to_be_zipped_is_a_passing_fault(
    raw_server: Serve, session: NewSession, answer: Answer, parse: Parse, clock: FakeClock
) -> None:
    server = raw_server(answer(200, GOOD, Content_Encoding="gzip"), answer(200, GOOD))
    assert session(server.url, clock).get("/leads", {}, parse) == [1, 2, 3]


def test_a_host_that_keeps_breaking_off_is_given_up(
    *,
    raw_server: Serve,
    session: NewSession,
    answer: Answer,
    reset: Play,
    parse: Parse,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = raw_server(answer(200, GOOD), reset)
    connected = session(server.url, clock)
    connected.get("/leads", {}, parse)
    with pytest.raises(ApiError, match="broke off 8 times") as raised:
        connected.get("/leads", {}, parse)
    assert len(server.requests) == 1 + TRIES
    assert_discreet(raised.value, caplog)


def test_a_host_that_never_answered_is_given_up_sooner(
    raw_server: Serve, session: NewSession, reset: Play, parse: Parse, clock: FakeClock
) -> None:
    server = raw_server(reset)
    with pytest.raises(ApiError, match="broke off 3 times"):
        session(server.url, clock).get("/leads", {}, parse)
    assert len(server.requests) == FIRST_CONTACT_TRIES


def test_nobody_listens(session: NewSession, parse: Parse, clock: FakeClock, closed_port: str) -> None:
    with pytest.raises(ApiError, match="check the URL"):
        session(closed_port, clock).get("/leads", {}, parse)
    assert len(clock.slept) == FIRST_CONTACT_TRIES - 1


def test_nobody_listens_for_logins(transport: NewTransport, parse: Parse, clock: FakeClock, closed_port: str) -> None:
    with pytest.raises(AuthenticationError, match="check auth_url"):
        request_token(f"{closed_port}/oauth/token", transport(clock), {}, parse, clock)
    assert len(clock.slept) == FIRST_CONTACT_TRIES - 1


def silence(connection: socket.socket, _request: Received) -> None:
    """No answer until the client hangs up."""
    connection.settimeout(HANGING)
    connection.recv(1)


def test_a_silent_host_is_asked_a_few_times(
    raw_server: Serve, session: NewSession, answer: Answer, parse: Parse, clock: FakeClock
) -> None:
    server = raw_server(answer(200, GOOD), silence)
    connected = session(server.url, clock)
    connected.get("/leads", {}, parse)
    connected.transport._timeout = 0.1
    with pytest.raises(ServerFailedError, match="request_timeout"):
        connected.get("/leads", {}, parse)
    server.wait_for(requests=1 + SUSPICIOUS_TRIES)
    assert len(server.requests) == 1 + SUSPICIOUS_TRIES
    assert len(clock.slept) == SUSPICIOUS_TRIES - 1


def test_a_host_that_does_not_accept_connections_is_unreachable(
    session: NewSession, parse: Parse, clock: FakeClock
) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = []
        try:
            for _ in range(4):  # more than the queue has room for: the kernel lets the next ones wait
                connection = socket.socket()
                connection.settimeout(0)
                connection.connect_ex(listener.getsockname())
                waiting.append(connection)
            with pytest.raises(ApiError, match="no connection"):
                session(f"http://127.0.0.1:{listener.getsockname()[1]}", clock, timeout=0.2).get("/", {}, parse)
        finally:
            for connection in waiting:
                connection.close()


def test_a_401_gets_one_new_token_and_one_retry(
    *, raw_server: Serve, session: NewSession, answer: Answer, parse: Parse, clock: FakeClock, tokens: NumberedTokens
) -> None:
    server = raw_server(answer(401, ERROR_BODY), answer(200, GOOD))
    assert session(server.url, clock).get("/leads", {}, parse) == [1, 2, 3]
    assert [request.headers["authorization"] for request in server.requests] == ["Bearer token-1", "Bearer token-2"]
    assert tokens.refusals == ["token-1"]
    assert clock.slept == []


def test_each_request_may_renew_the_token_once(
    raw_server: Serve, session: NewSession, answer: Answer, parse: Parse, clock: FakeClock
) -> None:
    server = raw_server(*[answer(401), answer(200, GOOD)] * 5)
    connected = session(server.url, clock)
    for _ in range(5):
        assert connected.get("/leads", {}, parse) == [1, 2, 3]
    assert len(server.requests) == 10


def test_a_fault_between_two_401s_does_not_buy_another_token(
    *, raw_server: Serve, session: NewSession, answer: Answer, parse: Parse, clock: FakeClock, tokens: NumberedTokens
) -> None:
    server = raw_server(answer(401), answer(500), answer(401), answer(200, GOOD))
    with pytest.raises(ApiError, match="401 even with a new token"):
        session(server.url, clock).get("/leads", {}, parse)
    assert len(server.requests) == 3
    assert tokens.number == 2


def test_sixteen_threads_with_one_dead_token_fetch_one_new_one(
    raw_server: Serve, session: NewSession, answer: Answer, parse: Parse, clock: FakeClock
) -> None:
    fetches: list[str] = []

    def fetch() -> Token:
        fetches.append(f"token-{len(fetches) + 1}")
        return Token.lasting(fetches[-1], 7200, clock.monotonic())

    def by(request: Received, _ordinal: int) -> bytes:
        alive = request.headers["authorization"] == "Bearer token-2"
        return answer(200, GOOD) if alive else answer(401, ERROR_BODY)

    server = raw_server(by=by)
    connected = session(server.url, clock, source=TokenSource(fetch, clock))
    assert clock.together([lambda: connected.get("/leads", {}, parse)] * 16) == [[1, 2, 3]] * 16
    assert fetches == ["token-1", "token-2"]
    assert len(server.requests) <= 32


# Waiting


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("value", "least", "most"),
    [
        ("7", 7, 8.1),
        (" 7 ", 7, 8.1),
        ("2.5", 2.5, 3.6),
        ("0", 0, 2.1),
        ("-30", 0, 2.1),
        ("3600", 3600, 3601.1),
        (formatdate(1_700_000_000 + 1000 + 90, usegmt=True), 89, 92.1),
        (format_datetime(datetime.fromtimestamp(1_700_000_000 + 1000 + 90, timezone.utc)), 89, 92.1),
        (formatdate(1_600_000_000, usegmt=True), 0, 2.1),
        ("soon", 0, 2.1),
        ("", 0, 2.1),
        ("nan", 0, 2.1),
        ("Wed, 31 Foo 2015 99:99:99 GMT", 0, 2.1),
        ("Mon, 99999999999999999999 Jan 2020 00:00:00 GMT", 0, 2.1),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", 0, 2.1),
    ],
)
def test_retry_after_is_kept(
    *,
    raw_server: Serve,
    session: NewSession,
    answer: Answer,
    parse: Parse,
    clock: FakeClock,
    status: int,
    value: str,
    least: float,
    most: float,
) -> None:
    server = raw_server(answer(status, ERROR_BODY, Retry_After=value), answer(200, GOOD))
    before = clock.monotonic()
    assert session(server.url, clock).get("/leads", {}, parse) == [1, 2, 3]
    assert least <= clock.monotonic() - before <= most
    assert len(server.requests) == 2


@pytest.mark.parametrize("value", ["99999999", "1e300", "inf", "1e999", formatdate(4_000_000_000, usegmt=True)])
@pytest.mark.parametrize("status", [429, 503])
def test_a_wait_beyond_all_patience_is_said_at_once(
    *,
    raw_server: Serve,
    session: NewSession,
    answer: Answer,
    parse: Parse,
    clock: FakeClock,
    status: int,
    value: str,
) -> None:
    server = raw_server(answer(status, ERROR_BODY, Retry_After=value))
    connected = session(server.url, clock)
    for path in ("/leads", "/tags"):
        with pytest.raises(FatalError, match="than a run should wait"):
            connected.get(path, {}, parse)
    assert server.paths() == ["/leads"]  # nothing else is asked for: it would be told the same
    assert clock.slept == []


@given(value=st.text() | st.floats().map(str) | st.integers().map(str) | st.datetimes().map(format_datetime))
@example("Mon, 01 Jan 0001 00:00:00 -0000")
@example("Mon, 01 Jan 2020 00:00:00 +9999")
@example("1_000")
@settings(max_examples=200, deadline=None)
def test_no_retry_after_breaks_a_run(new_clock: Callable[[], FakeClock], value: str) -> None:
    seconds = retries.retry_after(value, new_clock().time())
    assert seconds is None or seconds >= 0


@pytest.mark.parametrize("headers", [{}, {"Retry_After": "9"}, {"Retry_After": "0"}])
def test_half_an_hour_of_429s_is_outlasted(
    *, raw_server: Serve, session: NewSession, answer: Answer, parse: Parse, clock: FakeClock, headers: dict[str, str]
) -> None:
    end = clock.monotonic() + 1800

    def by(_request: Received, _ordinal: int) -> bytes:
        return answer(200, GOOD) if clock.monotonic() >= end else answer(429, ERROR_BODY, **headers)

    server = raw_server(by=by)
    assert session(server.url, clock).get("/leads", {}, parse) == [1, 2, 3]
    # Without word from the API it is not asked again and again.
    assert len(server.requests) < (150 if not headers else 1900)


def test_a_storm_of_429s_without_end_is_given_up_after_two_hours(
    *,
    raw_server: Serve,
    session: NewSession,
    answer: Answer,
    parse: Parse,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = raw_server(answer(429, ERROR_BODY))
    began = clock.monotonic()
    with pytest.raises(FatalError) as raised:
        session(server.url, clock).get("/leads", {}, parse)
    assert THROTTLE_PATIENCE - 61 <= clock.monotonic() - began <= THROTTLE_PATIENCE
    assert_discreet(raised.value, caplog)


def test_a_429_holds_all_threads(
    raw_server: Serve, session: NewSession, answer: Answer, parse: Parse, clock: FakeClock
) -> None:
    arrivals: list[float] = []

    def by(_request: Received, ordinal: int) -> bytes:
        arrivals.append(clock.monotonic())
        return answer(429, ERROR_BODY, Retry_After="30") if ordinal == 20 else answer(200, GOOD)

    server = raw_server(by=by)
    connected = session(server.url, clock)
    began = clock.monotonic()

    def work(number: int) -> None:
        for _ in range(12):
            assert connected.get("/leads", {}, parse) == [1, 2, 3]
            clock.sleep(0.1 + number / 100)

    clock.together([lambda number=number: work(number) for number in range(8)])  # type: ignore[misc]
    assert len(arrivals) == 8 * 12 + 1
    stopped = sorted(arrivals)[19]
    assert stopped - began < 1
    assert [moment for moment in arrivals if stopped < moment < stopped + 30] == []


def test_a_503_holds_its_own_request_only(
    raw_server: Serve, session: NewSession, answer: Answer, parse: Parse, clock: FakeClock
) -> None:
    def by(request: Received, _ordinal: int) -> bytes:
        first = request.target == "/slow" and server.paths().count("/slow") == 1
        return answer(503, Retry_After="30") if first else answer(200, GOOD)

    server = raw_server(by=by)
    connected = session(server.url, clock)
    began = clock.monotonic()

    def work(path: str) -> float:
        connected.get(path, {}, parse)
        return clock.monotonic() - began

    slow, *others = clock.together([lambda path=path: work(path) for path in ("/slow", "/a", "/b")])  # type: ignore[misc]
    assert slow >= 30
    assert max(others) < 30


def test_backoffs_grow_and_do_not_keep_step(
    raw_server: Serve, session: NewSession, answer: Answer, parse: Parse, clock: FakeClock
) -> None:
    server = raw_server(answer(500))
    waited = []
    for _ in range(12):
        clock.slept.clear()
        with pytest.raises(ServerFailedError):
            session(server.url, clock).get("/leads", {}, parse)
        assert len(clock.slept) == TRIES - 1
        assert all(wait <= min(60, 2**number) for number, wait in enumerate(clock.slept))
        waited.append(sum(clock.slept))
    assert len(set(waited)) == len(waited)
    assert sum(waited) / len(waited) > 30


def test_every_try_is_paid_for(
    raw_server: Serve, session: NewSession, answer: Answer, parse: Parse, clock: FakeClock
) -> None:
    arrivals: list[float] = []

    def by(_request: Received, ordinal: int) -> bytes:
        arrivals.append(clock.monotonic())
        return answer(401 if ordinal % 2 else 200, GOOD)

    server = raw_server(by=by)
    connected = session(server.url, clock, requests=2)
    for _ in range(10):
        connected.get("/leads", {}, parse)
    assert all(later - earlier >= 1 for earlier, later in zip(arrivals, arrivals[2:], strict=False))


def test_waiting_ends_with_the_run(raw_server: Serve, session: NewSession, answer: Answer, parse: Parse) -> None:
    clock = Clock()

    def by(_request: Received, _ordinal: int) -> bytes:
        clock.stop()
        return answer(503, Retry_After="3600")

    with pytest.raises(Stopped):
        session(raw_server(by=by).url, clock).get("/leads", {}, parse)


# What is sent


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(
    *,
    raw_server: Serve,
    session: NewSession,
    transport: NewTransport,
    answer: Answer,
    parse: Parse,
    clock: FakeClock,
    status: int,
) -> None:
    elsewhere = raw_server(answer(200, GOOD))
    server = raw_server(answer(status, Location=f"{elsewhere.url}/leads"))
    with pytest.raises(MalformedAnswerError):
        session(server.url, clock).get("/leads", {}, parse)
    with pytest.raises(AuthenticationError):
        request_token(f"{server.url}/oauth/token", transport(clock), {"client_secret": HUSH}, parse, clock)
    assert len(server.requests) == 2
    assert elsewhere.connections == 0


def test_a_netrc_does_not_replace_the_token(
    *,
    raw_server: Serve,
    session: NewSession,
    transport: NewTransport,
    answer: Answer,
    parse: Parse,
    clock: FakeClock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    server = raw_server(answer(200, GOOD))
    session(server.url, clock).get("/leads", {}, parse)
    request_token(f"{server.url}/oauth/token", transport(clock), {}, parse, clock)
    assert server.requests[0].headers["authorization"] == "Bearer token-1"
    assert "authorization" not in server.requests[1].headers


def test_cookies_are_not_kept(
    raw_server: Serve, session: NewSession, answer: Answer, parse: Parse, clock: FakeClock
) -> None:
    server = raw_server(answer(200, GOOD, Set_Cookie="session=1; Path=/"))
    connected = session(server.url, clock)
    for _ in range(3):
        connected.get("/leads", {}, parse)
    assert all("cookie" not in request.headers for request in server.requests)


def test_requests_say_who_asks_and_what_for(
    *, raw_server: Serve, session: NewSession, transport: NewTransport, answer: Answer, parse: Parse, clock: FakeClock
) -> None:
    server = raw_server(answer(200, GOOD))
    session(server.url, clock).get("/leads", {"limit": 5, "cursor": "a b/ü=&?"}, parse)
    request_token(f"{server.url}/oauth/token", transport(clock), {"client_id": "é"}, parse, clock)
    listed, login = server.requests
    assert listed.target == "/leads?limit=5&cursor=a+b%2F%C3%BC%3D%26%3F"
    assert (listed.method, login.method) == ("GET", "POST")
    assert login.headers["content-type"] == "application/json"
    assert msgspec.json.decode(login.body) == {"client_id": "é"}
    for request in server.requests:
        assert request.headers["user-agent"] == "tests/1.0 (+https://example.org)"
        assert request.headers["accept"] == "application/json"


def test_connections_are_kept_open(
    raw_server: Serve, session: NewSession, answer: Answer, parse: Parse, clock: FakeClock
) -> None:
    server = raw_server(answer(200, GOOD))
    connected = session(server.url, clock)
    for _ in range(20):
        connected.get("/leads", {}, parse)
    assert server.connections == 1


def test_a_kept_connection_that_the_host_closed_costs_a_retry_at_most(
    raw_server: Serve, session: NewSession, answer: Answer, parse: Parse, clock: FakeClock
) -> None:
    def once(connection: socket.socket, _request: Received) -> None:
        connection.sendall(answer(200, GOOD))  # and closes, though it did not say so

    server = raw_server(once)
    connected = session(server.url, clock)
    for _ in range(5):
        assert connected.get("/leads", {}, parse) == [1, 2, 3]


@pytest.mark.parametrize("slashes", ["", "/", "//"])
def test_a_slash_at_the_end_of_the_base_url_makes_no_difference(
    *, raw_server: Serve, session: NewSession, answer: Answer, parse: Parse, clock: FakeClock, slashes: str
) -> None:
    server = raw_server(answer(200, GOOD))
    session(f"{server.url}/v3{slashes}", clock).get("/leads", {}, parse)
    assert server.paths() == ["/v3/leads"]


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_large_answers_come_whole(
    *, raw_server: Serve, session: NewSession, answer: Answer, parse: Parse, clock: FakeClock, encoding: str
) -> None:
    numbers = list(range(200_000))
    body = json.dumps({"items": numbers}).encode()
    sent = gzip.compress(body) if encoding == "gzip" else body
    server = raw_server(answer(200, sent, Content_Encoding=encoding))
    assert session(server.url, clock).get("/leads", {}, parse) == numbers
    assert "gzip" in server.requests[0].headers["accept-encoding"]
