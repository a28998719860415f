"""The session of a plugin with an API: budget, token, timeouts, retries, and nothing said that should not be."""

from __future__ import annotations

import email.utils
import logging
import math
import threading
import zlib
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

from singer_http.errors import LOGIN_RULES, TOO_MUCH, Action, Fault, UnwantedError, rule_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pyrate_limiter import RateItem

    from singer_http.auth import TokenSource
    from singer_http.budget import Budget
    from singer_http.clock import Clock
    from singer_http.errors import Rule

logger = logging.getLogger(__name__)
# What it warns of is handled here, and it quotes headers, which may hold a token.
logging.getLogger("urllib3").setLevel(logging.ERROR)

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
TRIES_FOR_MUCH = 2
"""Requests in all for what might be too much to ask for, where less can be asked for instead."""
MOST_LATE = 0.2
"""Seconds by which a request on a standing connection may be taken to arrive late."""
_CHUNK = 1 << 16
_GZIP = 16 + zlib.MAX_WBITS


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
    """

    def __init__(self, user_agent: str, timeout: float, connections: int, clock: Clock) -> None:
        self._timeout = timeout
        self._clock = clock
        self._session = requests.Session()
        self._session.headers["User-Agent"] = user_agent
        self._session.headers["Accept"] = "application/json"
        self._session.headers["Accept-Encoding"] = "gzip"
        # The APIs have no use for cookies, and a jar would be state shared between threads.
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        adapter = HTTPAdapter(pool_maxsize=connections)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)

    def send(self, method: str, url: str, *, token: str | None, params: Params | None, json: Any) -> Answer:
        """Send one request, with a body in JSON or as a :class:`Form`.

        Raises:
            _Problem: There was no whole answer.
        """
        deadline = self._clock.monotonic() + self._timeout
        try:
            with self._session.request(
                method,
                url,
                params=params,
                **_content(json, token),
                timeout=(min(CONNECT_TIMEOUT, self._timeout), self._timeout),
                allow_redirects=False,  # the APIs do not redirect, and a token must not follow one
                stream=True,
            ) as response:
                body = self._read(response, deadline)
                if response.headers.get("Content-Encoding", "").lower() == "gzip":
                    body = zlib.decompress(body, _GZIP)
                return Answer(response.status_code, response.headers, body)
        except (requests.exceptions.SSLError, urllib3.exceptions.SSLError) as error:
            raise _Problem(Fault.UNTRUSTED) from error
        except (requests.ConnectTimeout, requests.exceptions.ProxyError) as error:
            raise _Problem(Fault.UNREACHABLE) from error
        except (requests.Timeout, urllib3.exceptions.ReadTimeoutError) as error:
            raise _Problem(Fault.TIMEOUT) from error
        except requests.ConnectionError as error:
            raise _Problem(Fault.UNREACHABLE if _never_connected(error) else Fault.BROKEN) from error
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, zlib.error) as error:
            raise _Problem(Fault.BROKEN) from error

    def _read(self, response: requests.Response, deadline: float) -> bytes:
        # Piece by piece as they arrive: a server that sends a byte now and then would satisfy any read timeout.
        pieces = []
        while piece := response.raw.read1(_CHUNK, decode_content=False):
            pieces.append(piece)
            if self._clock.monotonic() > deadline:
                raise _Problem(Fault.TIMEOUT)
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


class Session:
    """Requests to one API with one credential, by any number of threads.

    Args:
        base_url: What every path is appended to.
        transport: Sends the requests.
        tokens: Where the bearer token comes from.
        budget: What the requests are counted against.
        clock: Waits between retries.
    """

    def __init__(self, base_url: str, transport: Transport, tokens: TokenSource, budget: Budget, clock: Clock) -> None:
        self._base_url = base_url.rstrip("/")
        self._transport = transport
        self._tokens = tokens
        self._lock = threading.Lock()
        self._thread = threading.local()
        self._answered = False
        self._fastest: dict[str, float] = {}
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

    def get(  # noqa: PLR0913
        self,
        path: str,
        params: Params,
        parse: Callable[[bytes], T],
        *,
        is_wanted: Callable[[], bool] = lambda: True,
        is_tentative: bool = False,
        is_divisible: bool = False,
    ) -> T:
        """Read a resource, as often as the table of rules gives it a chance.

        Args:
            path: Below the base URL, with its leading slash.
            params: The query.
            parse: Makes of the body what is wanted; raises :class:`msgspec.DecodeError` (or its subclass
                :class:`msgspec.ValidationError`) where it is not what the API documents.
            is_wanted: Asked when the budget has a request to spend, which may be a good while later.
            is_tentative: The resource may not exist: whatever goes wrong is not worth another try.
            is_divisible: The caller can ask for less instead where the answer seems to be too much for the API.

        Raises:
            UnwantedError: The request was no longer wanted.
            ApiError: The subclass that the table names for what went wrong.
            Stopped: The run is being ended.
        """
        attempts = _Attempts(f"GET {path}", self.clock)
        while True:
            token = self._tokens.get()
            spent = self.budget.spend()
            if not is_wanted():
                raise UnwantedError(f"GET {path}: no longer wanted.")
            try:
                return _parsed(self._timed(path, token, params, spent), parse)
            except _Problem as problem:
                is_too_much = is_divisible and issubclass(rule_for(problem.condition).error, TOO_MUCH)
                most_tries = 1 if is_tentative else TRIES_FOR_MUCH if is_too_much else None
                self._recover(attempts, problem, token, most_tries)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def _timed(self, path: str, token: str, params: Params, spent: RateItem) -> Answer:
        with self._lock:
            self.requests[path] += 1
        start = self.clock.monotonic()
        answer = self._transport.send("GET", self._base_url + path, token=token, params=params, json=None)
        took = self.clock.monotonic() - start
        with self._lock:
            self.latency += (took - self.latency) * (1 / 8 if self._answered else 1)
            self._answered = True
            self._fastest[path] = min(took, self._fastest.get(path, took))
            fastest_of_its_kind, fastest = self._fastest[path], min(self._fastest.values())
        # How late it arrived is not known, but what it took longer than the fastest bounds it. The first of a
        # connection had to wait for the connection; others that take long do so at the API more often than on the
        # way, and count as late to some extent only.
        if getattr(self._thread, "is_connected", False):
            self.budget.came_late(spent, min(took - fastest_of_its_kind, MOST_LATE))
        else:
            self._thread.is_connected = True
            self.budget.came_late(spent, took - fastest)
        return answer

    def _recover(self, attempts: _Attempts, problem: _Problem, token: str, most_tries: int | None) -> None:
        """Do what the table says so that the request may be tried again, or raise."""
        rule = rule_for(problem.condition)
        if rule.action is Action.REAUTHENTICATE and not attempts.renewed:
            attempts.renewed = True
            self._tokens.refused(token)
            return
        if rule.action is Action.WAIT:
            # Every thread has to stop, not this one alone, and for no less than one window of the limit; where that
            # is an hour, the API says how much of it.
            self.budget.pause(min(self.budget.window, LONGEST_BACKOFF))
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
        self._tries: Counter[Rule] = Counter()
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
        self._tries[rule] += 1
        backoff_wait = next(self._backoffs)
        asked = _retry_after(problem.retry_after, self._clock)
        wait = backoff_wait if asked is None else asked
        waited = self._clock.monotonic() - self._began + wait
        if rule.action is Action.WAIT:
            over = most_tries == 1 or waited > THROTTLE_PATIENCE
        else:
            tries = min(rule.tries, most_tries or rule.tries)
            over = rule.action is not Action.RETRY or self._tries[rule] >= tries or wait > THROTTLE_PATIENCE
        if over:
            raise rule.error(
                rule.sentence.format(request=self._request, status=problem.status, tries=self._tries[rule])
            ) from None
        condition = problem.condition
        reason = condition.value if isinstance(condition, Fault) else f"HTTP {condition}"
        logger.info("%s: %s; trying again in %.1f s.", self._request, reason, wait)
        return wait


def log_in(  # noqa: PLR0913, PLR0917
    url: str,
    transport: Transport,
    json: Any,
    parse: Callable[[bytes], T],
    clock: Clock,
    rules: tuple[Rule, ...] = LOGIN_RULES,
) -> T:
    """Ask a token endpoint, at most a few times and never again once it refused.

    Args:
        url: The token endpoint.
        transport: Sends the request.
        json: The body, which holds the credential: what is to be sent as JSON, or a :class:`Form`.
        parse: Makes a token of the answer, as for :meth:`Session.get`.
        clock: Waits between retries.
        rules: The table of what is done about what goes wrong.

    Raises:
        AuthenticationError: There is no token to be had.
    """
    attempts = _Attempts(f"POST {urlsplit(url).path}", clock)
    while True:
        try:
            return _parsed(transport.send("POST", url, token=None, params=None, json=json), parse)
        except _Problem as problem:
            clock.sleep(attempts.wait(rule_for(problem.condition, rules), problem))


def _parsed(answer: Answer, parse: Callable[[bytes], T]) -> T:
    if answer.status != requests.codes.ok:
        raise _Problem(answer.status, answer)
    try:
        return parse(answer.body)
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
        except (ValueError, OverflowError):
            return None
    if math.isnan(seconds):
        return None
    # A little more than asked for, so that clients do not come back at the same moment.
    return max(0.0, seconds) + backoff.full_jitter(1.0)
