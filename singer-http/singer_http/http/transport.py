"""Sends one request and reads its whole answer; decides nothing about faults."""

from __future__ import annotations

import codecs
import functools
import http.client
import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import requests
import urllib3
from typing_extensions import override
from urllib3.exceptions import DecodeError

from singer_http.http.clock import ApiTime, Clock
from singer_http.http.connections import Adapter, proxies_for, trusted_certificates, under_way
from singer_http.http.rules import Fault

if TYPE_CHECKING:
    from collections.abc import Mapping

# What it warns of is handled here, and it quotes headers, which may hold a token.
logging.getLogger("urllib3").setLevel(logging.ERROR)

Params = dict[str, str | int]

CONNECT_TIMEOUT = 10.0  # seconds for a connection to come about
MOST_BYTES = 1 << 27  # of an answer, decompressed: a page of 1,000 records of 128 KiB each; more is no page
_CHUNK = 1 << 16
_SUCCESS = range(200, 300)
_UNDECODED = "not what its Content-Encoding says"
_FAILURES = (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, ValueError)
"""What may be raised on the way; the texts quote headers, which hold tokens."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole HTTP answer: its body decompressed, and the seconds that it was waited for."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    waited: float


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of an API."""

    method: str
    path: str  # below the base URL, with its leading slash
    params: Params | None = None
    headers: Mapping[str, str] | None = field(default=None, repr=False)  # beside those that every request has
    body: Any = field(default=None, repr=False)  # sent as JSON; bytes as they are

    @override
    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Problem(Exception):  # noqa: N818 - goes no further than the loop that asks the table of rules
    """A request failed, and a rule is to say what happens now."""

    def __init__(self, condition: Fault | int, answer: Answer | None = None, found: str = _UNDECODED) -> None:
        super().__init__(condition)
        self.condition = condition
        self.found = found
        self.status = answer.status if answer else None
        self.retry_after = answer.headers.get("Retry-After", "") if answer else ""


class Transport:
    """Sends one request and reads its whole answer within ``timeout`` seconds; thread-safe.

    Attributes:
        api_time: The time by the clock of who answers.
        answered: Base URLs of the hosts that have answered.
    """

    def __init__(self, user_agent: str, timeout: float, connections: int, clock: Clock) -> None:
        self._timeout = timeout
        self._clock = clock
        self.api_time = ApiTime(clock)
        self.answered: set[str] = set()
        self._proxies_for = functools.cache(proxies_for)
        self._certificates = trusted_certificates()
        self._headers = {
            "User-Agent": user_agent,
            "Accept-Encoding": "gzip",
            "Accept": "application/json",
            "Connection": "keep-alive",
        }
        # No session of requests: it would keep cookies, which the APIs have no use for, replace the token by what a
        # .netrc has, and takes a tenth of a request's CPU.
        self._adapter = Adapter(pool_maxsize=connections)

    def send(self, base_url: str, request: Request, token: str | None) -> Answer:
        """Send one request; raises :class:`Problem` where there was no whole answer.

        The body of an error tells nothing that its status and headers do not: it may be broken, or missing.
        """
        start = self._clock.monotonic()
        under_way.begin(self._timeout, self._clock)
        try:
            authorization = {} if token is None else {"Authorization": f"Bearer {token}"}
            prepared = requests.PreparedRequest()
            prepared.prepare(
                request.method,
                base_url + request.path,
                params=request.params,
                headers={**self._headers, **(request.headers or {}), **authorization},
                **{"data" if isinstance(request.body, bytes) else "json": request.body},
            )
            # Follows no redirect: the APIs have none, and a token must not follow one.
            with self._adapter.send(
                prepared,
                stream=True,
                timeout=(min(CONNECT_TIMEOUT, self._timeout), self._timeout),
                verify=self._certificates,
                proxies=self._proxies_for(base_url),
            ) as response:
                self.api_time.learn(response.headers)
                self.answered.add(base_url)
                answer = Answer(response.status_code, response.headers, b"", self._clock.monotonic() - start)
                try:
                    return replace(answer, body=_read(response))
                except _FAILURES as error:
                    if response.status_code in _SUCCESS:
                        fault = Fault.MALFORMED if isinstance(error, DecodeError) else under_way.fault
                        raise Problem(fault, answer) from None
                    return answer
        except _FAILURES:
            raise Problem(under_way.fault) from None

    def close(self) -> None:
        """Close the kept connections."""
        self._adapter.close()


def _read(response: requests.Response) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while size <= MOST_BYTES:
        # A bit at a time: what is small on the way may be huge when it is decompressed.
        if not (piece := response.raw.read1(_CHUNK, decode_content=True)):
            return b"".join(pieces).removeprefix(codecs.BOM_UTF8)
        pieces.append(piece)
        size += len(piece)
    raise DecodeError(f"more than {MOST_BYTES} bytes")
