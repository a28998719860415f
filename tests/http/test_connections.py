"""The way to the API: certificates, broken connections and proxies, slow and compressed answers."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from singer_http.http import connections, transport
from singer_http.http.clock import Clock, Stopped
from singer_http.http.errors import (
    ApiError,
    AuthenticationError,
    ConfigurationError,
    FatalError,
    ForbiddenError,
    MalformedAnswerError,
)
from singer_http.http.rules import SUSPICIOUS_TRIES
from singer_http.http.session import Session, request_token
from singer_http.http.transport import Request, Transport
from target_harkster.vendor.client import WRITE_RULES, UncertainError
from urllib3.util.ssl_ import ssl_wrap_socket

from tests.conftest import HANGING, RawServer, Received, hang_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import FakeClock

    Answer = Callable[..., bytes]
    Parse = Callable[[bytes], list[int]]
    Serve = Callable[..., RawServer]
    NewSession = Callable[..., Session]
    NewTransport = Callable[..., Transport]
    Tunnel = Callable[..., "tuple[Proxy, RawServer]"]

GOOD = '{"items":[1,2,3]}'
TIMEOUT = 60
"""Seconds that a request may take; where time is set, it does not go by by itself."""
BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*BUNDLES, "http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def trusted(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The file of the certificate that the servers' are signed with."""
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def server_side(authority: trustme.CA, *names: str) -> Callable[[socket.socket], ssl.SSLSocket]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return lambda connection: context.wrap_socket(connection, server_side=True)


@pytest.fixture(scope="session")
def shake(authority: trustme.CA) -> Callable[[socket.socket], ssl.SSLSocket]:
    """The server's side of a handshake."""
    return server_side(authority, "127.0.0.1", "api.example.org")


def cut_handshakes(shake: Callable[..., ssl.SSLSocket], *numbers: int, after: int = 1) -> Callable[..., Any]:
    """Cut the handshakes of these connections off, when so many bytes of the client's have come."""

    def play(connection: socket.socket, number: int) -> socket.socket:
        if number not in numbers:
            return shake(connection)
        connection.recv(after)
        hang_up(connection, None)  # type: ignore[arg-type]
        connection.close()
        raise OSError

    return play


def set_time(monkeypatch: pytest.MonkeyPatch, monotonic: Callable[[], float]) -> None:
    """Let connections measure another time, and look at it often."""
    monkeypatch.setattr(connections, "time", SimpleNamespace(monotonic=monotonic))
    monkeypatch.setattr(connections, "_GLANCE", 0.01)


def write(session: Session) -> list[int]:
    return session.exchange(Request("POST", "/posts", body={}), lambda _answer: [1], WRITE_RULES)


# Certificates


@pytest.mark.parametrize("names", [["127.0.0.1"], ["elsewhere.example.org"]], ids=["unknown", "another host"])
def test_a_certificate_that_cannot_be_verified_ends_the_run_without_a_retry(
    *,
    raw_server: Serve,
    session: NewSession,
    answer: Answer,
    parse: Parse,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    authority: trustme.CA,
    trusted: str,
    names: list[str],
) -> None:
    if names != ["127.0.0.1"]:
        monkeypatch.setenv("SSL_CERT_FILE", trusted)
    shaking = server_side(authority, *names)
    server = raw_server(answer(200, GOOD), tls=lambda connection, _number: shaking(connection))
    connected = session(server.url, clock)
    with pytest.raises(FatalError, match="certificate"):
        connected.get("/leads", {}, parse)
    with pytest.raises(FatalError, match="certificate"):
        write(session(server.url, clock))
    assert server.connections == 2
    assert (server.requests, clock.slept) == ([], [])


@pytest.mark.parametrize("name", BUNDLES)
def test_the_certificates_of_the_environment_are_trusted(
    *,
    raw_server: Serve,
    session: NewSession,
    answer: Answer,
    parse: Parse,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    shake: Any,
    trusted: str,
    name: str,
) -> None:
    monkeypatch.setenv(name, trusted)
    server = raw_server(answer(200, GOOD), tls=lambda connection, _number: shake(connection))
    assert session(server.url, clock).get("/leads", {}, parse) == [1, 2, 3]


@pytest.mark.parametrize("name", BUNDLES)
@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_certificates_that_cannot_be_read_are_named_before_the_first_request(
    transport: NewTransport,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    *,
    name: str,
    content: str | None,
) -> None:
    path = tmp_path / "bundle.pem"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv(name, str(path))
    with pytest.raises(ConfigurationError, match=name):
        transport(clock)


# Broken connections


@pytest.mark.parametrize("after", [1, 9999])
def test_a_handshake_that_is_cut_is_a_connection_that_did_not_come_about(
    *,
    raw_server: Serve,
    session: NewSession,
    transport: NewTransport,
    answer: Answer,
    parse: Parse,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    shake: Any,
    trusted: str,
    after: int,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", trusted)
    for ask in (
        lambda url: session(url, clock).get("/leads", {}, parse),
        lambda url: write(session(url, clock)),
        lambda url: request_token(url, transport(clock), {}, parse, clock),
    ):
        server = raw_server(answer(200, GOOD), tls=cut_handshakes(shake, 1, 2, after=after))
        assert ask(server.url)  # type: ignore[no-untyped-call]
        assert (server.connections, len(server.requests)) == (3, 1)


def test_who_does_not_speak_tls_is_a_broken_connection(
    raw_server: Serve, session: NewSession, parse: Parse, clock: FakeClock
) -> None:
    def speak_plainly(connection: socket.socket, _number: int) -> socket.socket:
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        raise OSError

    server = raw_server(tls=speak_plainly)
    with pytest.raises(ApiError, match="no connection; check the URL"):
        session(server.url, clock).get("/leads", {}, parse)
    assert server.connections == 3


@pytest.mark.parametrize("kept", [False, True])
def test_a_write_that_was_sent_is_not_sent_again(
    *,
    raw_server: Serve,
    session: NewSession,
    answer: Answer,
    parse: Parse,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    shake: Any,
    trusted: str,
    kept: bool,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", trusted)
    server = raw_server(
        *([answer(200, GOOD)] if kept else []), hang_up, tls=lambda connection, _number: shake(connection)
    )
    connected = session(server.url, clock)
    if kept:
        connected.get("/leads", {}, parse)
    with pytest.raises(UncertainError, match="not known whether"):
        write(connected)
    assert server.paths() == ["/leads"] * kept + ["/posts"]


# Proxies


class Proxy:
    """Plays one step after the other to those who connect: of a tunnel, or of a request that it should forward."""

    def __init__(self, shake: Any, *steps: str) -> None:
        self._shake = shake
        self._steps = iter(steps)
        self.now = 0.0
        """The time for the connections."""
        self.carried: list[Received] = []
        """Requests that came through a tunnel."""

    def __call__(self, connection: socket.socket, request: Received) -> None:
        step = next(self._steps)
        if step == "cut":
            hang_up(connection, request)
        elif step == "refuse":
            connection.sendall(b"HTTP/1.1 503 Try again\r\nContent-Length: 0\r\n\r\n")
        elif step == "take too long":
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            self.now += 2 * TIMEOUT
            connection.recv(1)
        else:
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            if step == "cut the handshake":
                connection.recv(1)
                hang_up(connection, request)
                return
            with self._shake(connection) as inner, inner.makefile("rb") as stream:
                received = RawServer._read(stream, 0)
                assert received is not None
                self.carried.append(received)
                if step == "answer":
                    inner.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
                else:
                    hang_up(connection, request)


@pytest.fixture
def tunnel(
    raw_server: Serve, monkeypatch: pytest.MonkeyPatch, shake: Any, trusted: str
) -> Callable[..., tuple[Proxy, RawServer]]:
    """Start a proxy that goes through these steps, and have everything sent through it."""

    def opened(*steps: str) -> tuple[Proxy, RawServer]:
        proxy = Proxy(shake, *steps)
        server = raw_server(by=lambda _request, _ordinal: proxy)
        monkeypatch.setenv("https_proxy", server.url)
        monkeypatch.setenv("SSL_CERT_FILE", trusted)
        return proxy, server

    return opened


@pytest.mark.parametrize("before", ["cut", "refuse", "cut the handshake", "take too long"])
def test_what_fails_before_the_end_of_a_tunnel_is_there_sends_nothing(
    tunnel: Tunnel, session: NewSession, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    proxy, server = tunnel(before, before, "answer")
    set_time(monkeypatch, lambda: proxy.now)
    assert write(session("https://api.example.org", clock, timeout=TIMEOUT)) == [1]
    assert [request.method for request in server.requests] == ["CONNECT"] * 3
    assert [request.target for request in proxy.carried] == ["/posts"]


def test_a_handshake_in_a_tunnel_has_as_long_as_any_other(
    tunnel: Tunnel, session: NewSession, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    timeouts: list[float | None] = []
    wrap = ssl_wrap_socket

    def noting(sock: socket.socket, *args: Any, **kwargs: Any) -> Any:
        timeouts.append(sock.gettimeout())
        return wrap(sock, *args, **kwargs)

    monkeypatch.setattr("urllib3.connection.ssl_wrap_socket", noting)
    tunnel("answer")
    assert write(session("https://api.example.org", clock, timeout=TIMEOUT)) == [1]
    assert timeouts == [transport.CONNECT_TIMEOUT]


def test_what_was_sent_through_a_tunnel_is_not_sent_again(
    tunnel: Tunnel, session: NewSession, clock: FakeClock
) -> None:
    proxy, server = tunnel("cut the answer")
    with pytest.raises(UncertainError):
        write(session("https://api.example.org", clock))
    assert len(proxy.carried) == len(server.requests) == 1


def test_what_a_proxy_was_to_forward_may_have_been_sent(
    raw_server: Serve, session: NewSession, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = raw_server(hang_up)
    monkeypatch.setenv("http_proxy", server.url)
    with pytest.raises(UncertainError):
        write(session("http://api.example.org", clock))
    assert server.paths() == ["http://api.example.org/posts"]


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_what_goes_to_this_machine_goes_through_no_proxy(
    raw_server: Serve,
    session: NewSession,
    answer: Answer,
    parse: Parse,
    *,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    proxy, server = raw_server(answer(200, GOOD)), raw_server(answer(200, GOOD))
    for variable in ("http_proxy", "all_proxy"):
        monkeypatch.setenv(variable, proxy.url)
    assert session(server.url.replace("127.0.0.1", name), clock).get("/leads", {}, parse) == [1, 2, 3]
    assert (server.paths(), proxy.requests) == (["/leads"], [])


# Addresses


def test_another_address_serves_where_one_does_not(
    *,
    raw_server: Serve,
    session: NewSession,
    answer: Answer,
    parse: Parse,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = raw_server(answer(200, GOOD))
    port = int(server.url.rpartition(":")[2])
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in ("127.0.0.2", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert session(f"http://api.example.org:{port}", clock).get("/leads", {}, parse) == [1, 2, 3]


# Time


class Dribble:
    """Answers piece by piece, one a second, whenever the client looks at the time."""

    def __init__(self, *pieces: bytes) -> None:
        self.over = threading.Event()
        self._pieces = pieces
        self._answers: list[tuple[socket.socket, Iterator[bytes]]] = []
        self._now = 0.0
        # The errors of TLS belong to a thread: the client's must not meet the server's.
        self._sender = ThreadPoolExecutor(1)

    def __call__(self, connection: socket.socket, _request: Received) -> None:
        self._answers.append((connection, iter(self._pieces)))
        self.over.wait()

    def time(self) -> float:
        if self._answers:
            connection, rest = self._answers[-1]
            if (piece := next(rest, None)) is not None:
                self._now += 1
                sent = self._sender.submit(connection.sendall, piece).exception()
                assert isinstance(sent, OSError | None)  # it is one where the client has given up
        return self._now

    def end(self) -> None:
        self.over.set()
        self._sender.shutdown()


@pytest.fixture
def dribble(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Dribble]]:
    """Make one; it ends with the test."""
    with ExitStack() as stack:

        def make(*pieces: bytes) -> Dribble:
            made = Dribble(*pieces)
            stack.callback(made.end)
            set_time(monkeypatch, made.time)
            return made

        yield make


def letters(content: bytes) -> list[bytes]:
    return [content[i : i + 1] for i in range(len(content))]


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n"
ZIPPED = HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")


@pytest.mark.parametrize("is_tls", [False, True])
@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([HEAD, *[b" "] * 900], id="body"),
        pytest.param([ZIPPED, b"\x1f\x8b\x08\x08" + bytes(6), *[b"n"] * 890], id="zipped"),
        pytest.param(letters(b"HTTP/1.1 200 " + b"O" * 900), id="status"),
        pytest.param([HEAD[:-2], *letters(b"Name: value\r\n" * 80)], id="headers"),
        pytest.param([b"HTTP/1.1 100 Continue\r\n\r\n"] * 900, id="not yet"),
    ],
)
def test_a_dribbling_answer_is_given_up_when_its_time_is_over(
    *,
    raw_server: Serve,
    transport: NewTransport,
    parse: Parse,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    shake: Any,
    trusted: str,
    dribble: Callable[..., Dribble],
    pieces: list[bytes],
    is_tls: bool,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", trusted)
    play = dribble(*pieces)
    server = raw_server(play, tls=(lambda connection, _number: shake(connection)) if is_tls else None)
    with pytest.raises(AuthenticationError, match="in time"):
        request_token(server.url, transport(clock, timeout=TIMEOUT), {}, parse, clock)
    assert len(server.requests) in {3, SUSPICIOUS_TRIES}  # 3 where not even the headers came


def test_a_slow_answer_within_its_time_is_taken(
    *,
    raw_server: Serve,
    transport: NewTransport,
    parse: Parse,
    clock: FakeClock,
    dribble: Callable[..., Dribble],
) -> None:
    pieces = letters(HEAD.replace(b"900", b"%d" % len(GOOD)) + GOOD.encode())
    server = raw_server(dribble(*pieces))
    assert request_token(server.url, transport(clock, timeout=len(pieces) + 1), {}, parse, clock) == [1, 2, 3]


@pytest.mark.parametrize("pieces", [[], [HEAD]], ids=["silent", "no body"])
def test_a_hanging_request_ends_with_the_run(
    raw_server: Serve, transport: NewTransport, parse: Parse, monkeypatch: pytest.MonkeyPatch, *, pieces: list[bytes]
) -> None:
    monkeypatch.setattr(connections, "GRACE", 0.1)
    clock = Clock()
    gone = threading.Event()

    def play(connection: socket.socket, _request: Received) -> None:
        for piece in pieces:
            connection.sendall(piece)
        clock.stop()
        connection.settimeout(HANGING)
        assert connection.recv(1) == b""
        gone.set()

    server = raw_server(play)
    with pytest.raises(Stopped):
        request_token(server.url, transport(clock, timeout=3600), {}, parse, clock)
    assert gone.wait(HANGING)
    assert len(server.requests) == 1


def test_an_answer_that_comes_soon_after_the_end_of_the_run_is_not_lost(
    raw_server: Serve, transport: NewTransport, answer: Answer, parse: Parse
) -> None:
    clock = Clock()

    def play(connection: socket.socket, _request: Received) -> None:
        clock.stop()
        connection.sendall(answer(200, GOOD))

    assert request_token(raw_server(play).url, transport(clock), {}, parse, clock) == [1, 2, 3]


# Content


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param({"body": b"plain", "Content_Encoding": "gzip"}, id="plain"),
        pytest.param({"body": b"", "Content_Encoding": "gzip"}, id="empty"),
        pytest.param({"body": gzip.compress(b"x" * 99)[:20], "Content_Encoding": "gzip"}, id="cut gzip"),
        pytest.param({"body": b"half", "Content_Length": "99", "Connection": "close"}, id="cut"),
        pytest.param({"body": b"nonsense", "Transfer_Encoding": "chunked", "Connection": "close"}, id="chunks"),
        pytest.param({"body": b"z", "Content_Encoding": "deflate"}, id="deflate"),
    ],
)
def test_an_error_is_known_by_its_status_whatever_its_body(
    *,
    raw_server: Serve,
    session: NewSession,
    answer: Answer,
    parse: Parse,
    clock: FakeClock,
    broken: dict[str, Any],
) -> None:
    server = raw_server(answer(429, Retry_After="77", **broken), answer(403, **broken))
    with pytest.raises(ForbiddenError):
        session(server.url, clock).get("/leads", {}, parse)
    assert len(server.requests) == 2
    assert 77 <= sum(clock.slept) <= 79


def raw_deflate(body: bytes) -> bytes:
    pressing = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return pressing.compress(body) + pressing.flush()


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", lambda body: gzip.compress(body[:7]) + gzip.compress(body[7:])),
        ("GZIP", gzip.compress),
        ("x-gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", raw_deflate),
        ("deflate, gzip", lambda body: gzip.compress(zlib.compress(body))),
    ],
)
def test_compressed_answers_are_read(
    *,
    raw_server: Serve,
    session: NewSession,
    answer: Answer,
    parse: Parse,
    clock: FakeClock,
    encoding: str,
    pack: Callable[[bytes], bytes],
) -> None:
    server = raw_server(answer(200, pack(GOOD.encode()), Content_Encoding=encoding))
    assert session(server.url, clock).get("/leads", {}, parse) == [1, 2, 3]
    assert len(server.requests) == 1


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_an_answer_without_end_is_not_taken_into_memory(
    *,
    raw_server: Serve,
    session: NewSession,
    answer: Answer,
    parse: Parse,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    encoding: str,
) -> None:
    monkeypatch.setattr(transport, "MOST_BYTES", 1 << 20)
    body = bytes(1 << 26)
    sent = gzip.compress(body, 1) if encoding == "gzip" else body
    del body

    def play(connection: socket.socket, _request: Received) -> None:
        connection.sendall(answer(200, Content_Encoding=encoding, Content_Length=str(len(sent))))
        connection.sendall(sent)

    server = raw_server(play)
    tracemalloc.start()
    with pytest.raises(MalformedAnswerError):
        session(server.url, clock).get("/leads", {}, parse)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 8 << 20
    assert len(server.requests) == SUSPICIOUS_TRIES
