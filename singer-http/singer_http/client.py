"""The session of a plugin with an API: budget, token, timeouts, retries, and nothing said that should not be."""

from __future__ import annotations

import email.utils
import logging
import math
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import backoff
import msgspec
import requests
import urllib3
from requests.adapters import HTTPAdapter
from typing_extensions import override

from singer_http.errors import LOGIN_RULES, RULES, Action, Fault, UnwantedError, rule_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pyrate_limiter import RateItem

    from singer_http.auth import TokenSource
    from singer_http.budget import Budget
    from singer_http.clock import Clock
    from singer_http.errors import Rule

logger = logging.getLogger(__name__)

T = TypeVar("T")
Params = dict[str, str | int]

CONNECT_TIMEOUT = 10.0
"""Seconds for a connection to come about."""
THROTTLE_PATIENCE = 7200.0
"""Seconds of nothing but 429 after which a request gives up: two of the longest rate windows (Hubstaff: an hour)."""
LONGEST_BACKOFF = 60.0
"""Seconds; the backoff doubles up to here."""
FIRST_CONTACT_TRIES = 3
"""Requests in all to a host that never answered: that is more often a wrong URL than an outage."""
MOST_LATE = 0.1
"""Seconds by which a request on a standing connection may be taken to arrive late."""
_CHUNK = 1 << 16
_SUCCESS = (range(200, 201), range(200, 300))
"""Statuses of success: for what is to be read, and for writes, which may have nothing to tell."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole HTTP answer.

    Attributes:
        status: The HTTP status.
        headers: As requests gives them: names in any case.
        body: As bytes, decompressed.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of an API.

    Attributes:
        method: The HTTP method.
        path: Below the base URL, with its leading slash.
        params: The query.
        headers: Beside those that every request has.
        json: The body, which is sent as JSON.
    """

    method: str
    path: str
    params: Params | None = None
    headers: Mapping[str, str] | None = None
    json: Any = field(default=None, repr=False)

    @override
    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class _Problem(Exception):  # noqa: N818 - goes no further than the loop that asks the table of rules
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


class Transport:
    """Sends one request and reads its whole answer within a time; thread-safe, and without any policy.

    Args:
        user_agent: Sent with every request.
        timeout: Seconds for a request, from its start to the last byte of the answer.
        connections: How many may be kept open at once.
        clock: Measures the time.
    """

    def __init__(self, user_agent: str, timeout: float, connections: int, clock: Clock) -> None:
        self._timeout = timeout
        self._clock = clock
        self._session = requests.Session()
        self._session.headers["User-Agent"] = user_agent
        self._session.headers["Accept"] = "application/json"
        # The APIs have no use for cookies, and a jar would be state shared between threads.
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        adapter = HTTPAdapter(pool_maxsize=connections)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)

    def send(self, base_url: str, request: Request, token: str | None) -> Answer:
        """Send one request.

        Raises:
            _Problem: There was no whole answer.
        """
        deadline = self._clock.monotonic() + self._timeout
        try:
            with self._session.request(
                request.method,
                base_url + request.path,
                params=request.params,
                json=request.json,
                headers=request.headers,
                auth=_Bearer(token),
                timeout=(min(CONNECT_TIMEOUT, self._timeout), self._timeout),
                allow_redirects=False,  # the APIs do not redirect, and a token must not follow one
                stream=True,
            ) as response:
                return Answer(response.status_code, response.headers, self._read(response, deadline))
        except (requests.exceptions.SSLError, urllib3.exceptions.SSLError) as error:
            raise _Problem(Fault.UNTRUSTED) from error
        except (requests.ConnectTimeout, requests.exceptions.ProxyError) as error:
            raise _Problem(Fault.UNREACHABLE) from error
        except (requests.Timeout, urllib3.exceptions.ReadTimeoutError) as error:
            raise _Problem(Fault.TIMEOUT) from error
        except requests.ConnectionError as error:
            raise _Problem(Fault.UNREACHABLE if _never_connected(error) else Fault.BROKEN) from error
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise _Problem(Fault.BROKEN) from error

    def _read(self, response: requests.Response, deadline: float) -> bytes:
        # Piece by piece as they arrive: a server that sends a byte now and then would satisfy any read timeout.
        body = bytearray()
        while piece := response.raw.read1(_CHUNK, decode_content=True):
            body += piece
            if self._clock.monotonic() > deadline:
                raise _Problem(Fault.TIMEOUT)
        return bytes(body)

    def close(self) -> None:
        """Close the kept connections."""
        self._session.close()


def _never_connected(error: requests.ConnectionError) -> bool:
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    return isinstance(reason, urllib3.exceptions.NewConnectionError | urllib3.exceptions.NameResolutionError)


class Session:
    """Requests to one API with one credential, by any number of threads.

    Args:
        base_url: What every path is appended to.
        transport: Sends the requests.
        tokens: Where the bearer token comes from.
        budget: What the requests are counted against.
        clock: Waits between retries.
        inspect: Called with every answer before it is judged; may raise an :class:`ApiError` for what only the
            vendor's own headers tell.
    """

    def __init__(  # noqa: PLR0913 - what a session is made of
        self,
        base_url: str,
        transport: Transport,
        tokens: TokenSource,
        budget: Budget,
        clock: Clock,
        *,
        inspect: Callable[[Answer], None] = lambda _: None,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._transport = transport
        self._tokens = tokens
        self._lock = threading.Lock()
        self._thread = threading.local()
        self._answered = False
        self._fastest: dict[str, float] = {}
        self._inspect = inspect
        self.clock = clock
        self.budget = budget
        self.latency = 0.0
        """Seconds from request to answer, of late: a moving average over about eight requests."""
        self.requests: Counter[str] = Counter()
        """Requests sent so far, by path; those for tokens are not among them."""

    def log_in(self) -> None:
        """Make sure that there is a token, before anything is sent with it.

        Raises:
            AuthenticationError: There is none to be had.
        """
        self._tokens.get()

    def get(
        self,
        path: str,
        params: Params,
        parse: Callable[[bytes], T],
        *,
        is_wanted: Callable[[], bool] = lambda: True,
        is_tentative: bool = False,
    ) -> T:
        """Read a resource, as often as the table of rules gives it a chance.

        Args:
            path: Below the base URL, with its leading slash.
            params: The query.
            parse: Makes of the body what is wanted; raises :class:`msgspec.DecodeError` (or its subclass
                :class:`msgspec.ValidationError`) where it is not what the API documents.
            is_wanted: Asked when the budget has a request to spend, which may be a good while later.
            is_tentative: The resource may not exist: whatever goes wrong is not worth another try.

        Raises:
            UnwantedError: The request was no longer wanted.
            ApiError: The subclass that the table names for what went wrong.
            Stopped: The run is being ended.
        """
        return self.exchange(
            Request("GET", path, params),
            lambda answer: parse(answer.body),
            is_wanted=is_wanted,
            is_tentative=is_tentative,
        )

    def exchange(
        self,
        request: Request,
        parse: Callable[[Answer], T],
        rules: tuple[Rule, ...] = RULES,
        *,
        is_wanted: Callable[[], bool] = lambda: True,
        is_tentative: bool = False,
    ) -> T:
        """Send a request, as often as a table of rules gives it a chance.

        Args:
            request: What to send.
            parse: As for :meth:`get`, of the whole answer.
            rules: What is done about faults; :data:`~singer_http.errors.WRITE_RULES` where a repetition does harm.
            is_wanted: As for :meth:`get`.
            is_tentative: As for :meth:`get`.

        Raises:
            UnwantedError: The request was no longer wanted.
            ApiError: The subclass that the table names for what went wrong.
            Stopped: The run is being ended.
        """
        attempts = _Attempts(str(request), self.clock)
        while True:
            token = self._tokens.get()
            spent = self.budget.spend()
            if not is_wanted():
                raise UnwantedError(f"{request}: no longer wanted.")
            try:
                return _parsed(self._timed(request, token, spent), parse, _SUCCESS[request.method != "GET"])
            except _Problem as problem:
                rule = rule_for(problem.condition, rules)
                self._recover(attempts, problem, rule, token, most_tries=1 if is_tentative else None)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def _timed(self, request: Request, token: str, spent: RateItem) -> Answer:
        path = request.path
        with self._lock:
            self.requests[path] += 1
        start = self.clock.monotonic()
        answer = self._transport.send(self._base_url, request, token)
        took = self.clock.monotonic() - start
        with self._lock:
            self.latency += (took - self.latency) * (1 / 8 if self._answered else 1)
            self._answered = True
            fastest = self._fastest[path] = min(took, self._fastest.get(path, took))
        # How late it arrived is not known, but what it took longer than the fastest of its kind bounds it. The
        # first of a connection had to wait for the connection; others that take long do so at the API more often
        # than on the way, and count as late to some extent only.
        if getattr(self._thread, "is_connected", False):
            self.budget.came_late(spent, min(took - fastest, MOST_LATE))
        else:
            self._thread.is_connected = True
            self.budget.came_late(spent, took)
        self._inspect(answer)
        return answer

    def _recover(self, attempts: _Attempts, problem: _Problem, rule: Rule, token: str, most_tries: int | None) -> None:
        """Do what the table says so that the request may be tried again, or raise."""
        if rule.action is Action.REAUTHENTICATE and not attempts.renewed:
            attempts.renewed = True
            self._tokens.refused(token)
            return
        if rule.action is Action.WAIT:
            # Every thread has to stop, not this one alone, and for no less than one window of the limit.
            self.budget.pause(self.budget.window)
        if not self._answered:
            most_tries = FIRST_CONTACT_TRIES
        wait = attempts.wait(rule, problem, most_tries)
        if rule.action is Action.WAIT:
            self.budget.pause(wait)
        else:
            self.clock.sleep(wait)


class _Attempts:
    """How often one request was tried, and how long it may go on."""

    def __init__(self, request: str, clock: Clock) -> None:
        self.renewed = False
        self._request = request
        self._clock = clock
        self._tries = 0
        self._began = clock.monotonic()
        self._backoffs = _backoffs()

    def wait(self, rule: Rule, problem: _Problem, most_tries: int | None = None) -> float:
        """Seconds to wait before the next try.

        Args:
            rule: What the table says of the problem.
            problem: What happened this time.
            most_tries: Fewer tries than the rule has.

        Raises:
            ApiError: There is to be no next try.
        """
        self._tries += 1
        backoff_wait = next(self._backoffs)
        asked = _retry_after(problem.retry_after, self._clock)
        wait = backoff_wait if asked is None else asked
        waited = self._clock.monotonic() - self._began + wait
        if rule.action is Action.WAIT:
            over = most_tries == 1 or waited > THROTTLE_PATIENCE
        else:
            tries = min(rule.tries, most_tries or rule.tries)
            over = rule.action is not Action.RETRY or self._tries >= tries or wait > THROTTLE_PATIENCE
        if over:
            raise rule.error(
                rule.sentence.format(request=self._request, status=problem.status, tries=self._tries)
            ) from None
        condition = problem.condition
        reason = condition.value if isinstance(condition, Fault) else f"HTTP {condition}"
        logger.info("%s: %s; trying again in %.1f s.", self._request, reason, wait)
        return wait


def log_in(url: str, transport: Transport, json: Any, parse: Callable[[bytes], T], clock: Clock) -> T:
    """Ask a token endpoint, at most a few times and never again once it refused.

    Args:
        url: The token endpoint.
        transport: Sends the request.
        json: The body, which holds the credential.
        parse: Makes a token of the answer, as for :meth:`Session.get`.
        clock: Waits between retries.

    Raises:
        AuthenticationError: There is no token to be had.
    """
    attempts = _Attempts(f"POST {urlsplit(url).path}", clock)
    while True:
        try:
            answer = transport.send(url, Request("POST", "", json=json), token=None)
            return _parsed(answer, lambda told: parse(told.body), _SUCCESS[False])
        except _Problem as problem:
            clock.sleep(attempts.wait(rule_for(problem.condition, LOGIN_RULES), problem))


def _parsed(answer: Answer, parse: Callable[[Answer], T], success: range) -> T:
    if answer.status not in success:
        raise _Problem(answer.status, answer)
    try:
        return parse(answer)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Without its cause: the decoder's message can quote the body.
        raise _Problem(Fault.MALFORMED, answer) from None


def _backoffs() -> Iterator[float]:
    """Seconds before each retry: doubling, with full jitter so that clients do not come back in step."""
    waits = backoff.expo(base=2, factor=1, max_value=LONGEST_BACKOFF)
    next(waits)  # the generator's own start
    for longest in waits:
        yield backoff.full_jitter(longest)


def _retry_after(value: str, clock: Clock) -> float | None:
    """What a ``Retry-After`` header says, in seconds from now: it may be a number or an HTTP date."""
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - clock.time()
        except ValueError:
            return None
    if math.isnan(seconds):
        return None
    # A little more than asked for, so that clients do not come back at the same moment.
    return max(0.0, seconds) + backoff.full_jitter(1.0)
