"""Connections that keep a request's deadline, and know whether the request can have been sent."""

from __future__ import annotations

import contextlib
import http.client
import io
import ipaddress
import os
import ssl
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from typing_extensions import override
from urllib3.connection import HTTPConnection

from singer_http.http.clock import Clock, Stopped
from singer_http.http.errors import ConfigurationError
from singer_http.http.rules import Fault

if TYPE_CHECKING:
    import socket

    from typing_extensions import Buffer
    from urllib3 import HTTPConnectionPool

GRACE = 5.0  # seconds that a request under way has left when the run is ended: its answer may come in time
_GLANCE = 0.5  # seconds after which a thread that waits for bytes looks whether the run is being ended


class UnderWay(threading.local):
    """The request that a thread is sending: its deadline, and the fault if it breaks off now."""

    fault: Fault
    deadline: float  # on the machine's own clock: no other makes a socket wait
    clock: Clock

    def begin(self, timeout: float, clock: Clock) -> None:
        """Forget the request before."""
        self.fault, self.deadline, self.clock = Fault.UNREACHABLE, time.monotonic() + timeout, clock

    def patience(self) -> float:
        """Seconds to wait for the next bytes; raises :class:`TimeoutError` when the time is over."""
        now = time.monotonic()
        try:
            self.clock.check()
        except Stopped:
            self.deadline = min(self.deadline, now + GRACE)
        if now >= self.deadline:
            self.fault = Fault.TIMEOUT
            raise TimeoutError
        return min(self.deadline - now, _GLANCE)


under_way = UnderWay()


class _TimedFile(io.RawIOBase):
    """Reads from a connection, however slowly the bytes come, until the request's deadline."""

    def __init__(self, sock: socket.socket, file: IO[bytes]) -> None:
        self._sock = sock
        self._file = file

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: Buffer) -> int:
        usual = self._sock.gettimeout()
        try:
            while True:
                self._sock.settimeout(under_way.patience())
                with contextlib.suppress(TimeoutError):
                    return self._sock.recv_into(buffer)
        finally:
            self._sock.settimeout(usual)  # for what comes next: a handshake in a tunnel, or a request to be sent

    @override
    def close(self) -> None:
        self._file.close()  # which keeps the connection open
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_TimedFile(sock, self.fp))


class _Connection(HTTPConnection):
    """Notes how far a request has come: nothing of it is sent before the connection stands, through a proxy too."""

    response_class = _Response

    @override
    def connect(self) -> None:
        try:
            super().connect()
        except BaseException as error:
            is_untrusted = isinstance(error, ssl.SSLCertVerificationError)
            under_way.fault = Fault.UNTRUSTED if is_untrusted else Fault.UNREACHABLE
            raise

    @override
    def putrequest(self, *args: Any, **kwargs: Any) -> None:
        under_way.fault = Fault.BROKEN
        super().putrequest(*args, **kwargs)


class Adapter(HTTPAdapter):
    """Makes requests use these connections, whatever the scheme and the proxy."""

    @override
    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> HTTPConnectionPool:
        pool = cast("HTTPConnectionPool", super().get_connection_with_tls_context(*args, **kwargs))
        if not issubclass(pool.ConnectionCls, _Connection):
            pool.ConnectionCls = type("Connection", (_Connection, pool.ConnectionCls), {})
        return pool


def is_loopback(host: str | None) -> bool:
    """Whether a host is this machine itself."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host or "").is_loopback
    return host == "localhost"


def proxies_for(url: str) -> dict[str, str]:
    """Find the proxies that the environment names; none for this machine itself, which a token would leave."""
    return {} if is_loopback(urlsplit(url).hostname) else get_environ_proxies(url)


def trusted_certificates() -> str | bool:
    """Find the file or folder of certificates that the environment names; True for those of requests."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        if path := os.environ.get(name):
            try:
                where = "capath" if Path(path).is_dir() else "cafile"
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(**{where: path})
            except OSError:
                raise ConfigurationError(f"{name} (environment) is not valid: {path} holds no certificates.") from None
            return path
    return True
