"""One request and its whole answer: connections, timeouts and what may break, without any policy."""

from __future__ import annotations

import logging
import zlib
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from typing_extensions import override

from singer_http.http.clock import ApiTime
from singer_http.http.errors import Fault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from singer_http.http.clock import Clock

# What it warns of is handled here, and it quotes headers, which may hold a token.
logging.getLogger("urllib3").setLevel(logging.ERROR)

Params = dict[str, str | int]

CONNECT_TIMEOUT = 10.0
"""Seconds for a connection to come about."""
_CHUNK = 1 << 16
_GZIP = 16 + zlib.MAX_WBITS


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole HTTP answer.

    Attributes:
        status: The HTTP status.
        headers: As requests gives them: names in any case.
        body: As bytes, decompressed.
        waited: Seconds from sending the request to the beginning of the answer.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    waited: float


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of an API.

    Attributes:
        method: The HTTP method.
        path: Below the base URL, with its leading slash.
        params: The query.
        headers: Beside those that every request has.
        body: What is sent as JSON, or a :class:`Form`; None for nothing.
    """

    method: str
    path: str
    params: Params | None = None
    headers: Mapping[str, str] | None = None
    body: Any = field(default=None, repr=False)

    @override
    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Problem(Exception):  # noqa: N818 - goes no further than the loop that asks the table of rules
    """A request that did not bring what was wanted."""

    def __init__(self, condition: Fault | int, answer: Answer | None = None) -> None:
        super().__init__(condition)
        self.condition = condition
        self.status = answer.status if answer else None
        self.retry_after = answer.headers.get("Retry-After", "") if answer else ""


class _Bearer(requests.auth.AuthBase):
    """Sets the token as requests' own auth, which keeps a ``.netrc`` entry from replacing it."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    @override
    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token is not None:
            r.headers["Authorization"] = f"Bearer {self._token}"
        return r


@dataclass(frozen=True, slots=True)
class Form:
    """A request for a token as OAuth writes it (RFC 6749): a form, and the client's credentials where there are any.

    Attributes:
        fields: The form, which holds a secret.
        client: Client id and client secret, sent by HTTP Basic.
    """

    fields: Mapping[str, str] = field(repr=False)
    client: tuple[str, str] | None = field(default=None, repr=False)


class Transport:
    """Sends one request and reads its whole answer within a time; thread-safe, and without any policy.

    Args:
        user_agent: Sent with every request.
        timeout: Seconds for a request, from its start to the last byte of the answer.
        connections: How many may be kept open at once.
        clock: Measures the time.

    Attributes:
        api_time: The time by the clock of who answers.
    """

    def __init__(self, user_agent: str, timeout: float, connections: int, clock: Clock) -> None:
        self._timeout = timeout
        self._clock = clock
        self.api_time = ApiTime(clock)
        self._session = requests.Session()
        self._session.headers["User-Agent"] = user_agent
        self._session.headers["Accept"] = "application/json"
        self._session.headers["Accept-Encoding"] = "gzip"
        # The APIs have no use for cookies, and a jar would be state shared between threads.
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        adapter = HTTPAdapter(pool_maxsize=connections)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)

    def send(self, base_url: str, request: Request, token: str | None) -> Answer:
        """Send one request.

        Raises:
            Problem: There was no whole answer.
        """
        start = self._clock.monotonic()
        deadline = start + self._timeout
        try:
            with self._session.request(
                request.method,
                base_url + request.path,
                params=request.params,
                headers=request.headers,
                **_content(request.body, token),
                timeout=(min(CONNECT_TIMEOUT, self._timeout), self._timeout),
                allow_redirects=False,  # the APIs do not redirect, and a token must not follow one
                stream=True,
            ) as response:
                waited = self._clock.monotonic() - start
                self.api_time.learn(response.headers)
                body = self._read(response, deadline)
                if response.headers.get("Content-Encoding", "").lower() == "gzip":
                    body = zlib.decompress(body, _GZIP)
                return Answer(response.status_code, response.headers, body, waited)
        except (requests.exceptions.SSLError, urllib3.exceptions.SSLError) as error:
            raise Problem(Fault.UNTRUSTED) from error
        except (requests.ConnectTimeout, requests.exceptions.ProxyError) as error:
            raise Problem(Fault.UNREACHABLE) from error
        except (requests.Timeout, urllib3.exceptions.ReadTimeoutError) as error:
            raise Problem(Fault.TIMEOUT) from error
        except requests.ConnectionError as error:
            raise Problem(Fault.UNREACHABLE if _never_connected(error) else Fault.BROKEN) from error
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, zlib.error) as error:
            raise Problem(Fault.BROKEN) from error

    def _read(self, response: requests.Response, deadline: float) -> bytes:
        # Piece by piece as they arrive: a server that sends a byte now and then would satisfy any read timeout.
        pieces = []
        while piece := response.raw.read1(_CHUNK, decode_content=False):
            pieces.append(piece)
            if self._clock.monotonic() > deadline:
                raise Problem(Fault.TIMEOUT)
        return b"".join(pieces)

    def close(self) -> None:
        """Close the kept connections."""
        self._session.close()


def _content(body: Any, token: str | None) -> dict[str, Any]:
    if not isinstance(body, Form):
        return {"json": body, "auth": _Bearer(token)}
    auth = _Bearer(None) if body.client is None else requests.auth.HTTPBasicAuth(*body.client)
    return {"data": body.fields, "auth": auth}


def _never_connected(error: requests.ConnectionError) -> bool:
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    return isinstance(reason, urllib3.exceptions.NewConnectionError | urllib3.exceptions.NameResolutionError)
