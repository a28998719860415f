"""The session of a plugin with an API: budget, token, timeouts, retries, and nothing said that should not be."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from singer_http.http.errors import (
    LOGIN_RULES,
    RULES,
    TRIES,
    Action,
    FatalError,
    Fault,
    ServerFailedError,
    UnwantedError,
    rule_for,
)
from singer_http.http.patience import LONGEST_BACKOFF, Attempts, Outage
from singer_http.http.transport import Answer, Params, Problem, Request, Transport

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrate_limiter import RateItem

    from singer_http.http.auth import TokenSource
    from singer_http.http.budget import Budget
    from singer_http.http.clock import Clock
    from singer_http.http.errors import Rule

T = TypeVar("T")

TRIES_FOR_MUCH = 2
"""Requests in all for what might be too much to ask for, where less can be asked for instead."""
MOST_LATE = 0.2
"""Seconds by which a request on a standing connection may be taken to arrive late."""
_BROKEN = "JSON that is broken; the fault is on the API's side, tell its support"
_FOREIGN = "not the JSON that the API documents; check the URL, and for a proxy"
_SUCCESS = (range(200, 201), range(200, 300))
"""Statuses of success: for what is to be read, and for writes, which may have nothing to tell."""


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
        allowance: What an answer's headers tell of the vendor's limit: how many requests are left, and for how many
            seconds that is so; None where they tell nothing.
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
        allowance: Callable[[Answer], tuple[int, float] | None] = lambda _: None,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._transport = transport
        self._tokens = tokens
        self._lock = threading.Lock()
        self._thread = threading.local()
        self._outage = Outage(clock)
        self._ended: FatalError | None = None
        self._fastest: dict[str, float] = {}
        self._inspect = inspect
        self._allowance = allowance
        self.clock = clock
        self.budget = budget
        self.latency = 0.0
        """Seconds from request to answer, of late: a moving average over about eight requests."""
        self.requests: Counter[str] = Counter()
        """Requests sent so far, by path; those for tokens are not among them."""
        self.under_way = 0
        """Requests that are counted and not answered yet."""

    def now(self) -> float:
        """Seconds since the epoch by the API's clock, never ahead of it; by the machine's before the first answer."""
        return self._transport.api_time.now()

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
        return self.exchange(
            Request("GET", path, params),
            lambda answer: parse(answer.body),
            is_wanted=is_wanted,
            is_tentative=is_tentative,
            is_divisible=is_divisible,
        )

    def exchange(  # noqa: PLR0913
        self,
        request: Request,
        parse: Callable[[Answer], T],
        rules: tuple[Rule, ...] = RULES,
        *,
        is_wanted: Callable[[], bool] = lambda: True,
        is_tentative: bool = False,
        is_divisible: bool = False,
    ) -> T:
        """Send a request, as often as a table of rules gives it a chance.

        Args:
            request: What to send.
            parse: As for :meth:`get`, of the whole answer.
            rules: What is done about faults; :data:`~singer_http.http.errors.WRITE_RULES` where a repetition does harm.
            is_wanted: As for :meth:`get`.
            is_tentative: As for :meth:`get`.
            is_divisible: As for :meth:`get`.

        Raises:
            UnwantedError: The request was no longer wanted.
            ApiError: The subclass that the table names for what went wrong.
            Stopped: The run is being ended.
        """
        attempts = Attempts(str(request), self._base_url, self._transport, self.clock, self._outage)
        try:
            while True:
                self._outage.wait_turn(attempts)
                if self._ended is not None:
                    raise self._ended  # what ends the run for one request ends it for all
                token = self._tokens.get()
                spent = self.budget.spend()
                spent_at = self.clock.monotonic()
                self._count(1)
                try:
                    if not is_wanted():
                        self._count(-1)
                        self.budget.give_back(spent)
                        raise UnwantedError(f"{request}: no longer wanted.")
                    answer = self._timed(request, attempts, token, spent, spent_at)
                    return _parsed(answer, parse, _SUCCESS[request.method != "GET"])
                except Problem as problem:
                    rule = rule_for(problem.condition, rules)
                    is_too_much = is_divisible and issubclass(rule.error, ServerFailedError)
                    most_tries = 1 if is_tentative else TRIES_FOR_MUCH if is_too_much else None
                    self._recover(attempts, problem, rule, token, most_tries)
        except FatalError as error:
            self._ended = error
            raise
        finally:
            self._outage.leave(attempts)

    def close(self) -> None:
        """Close the connections, and the budget's log."""
        self._transport.close()
        self.budget.close()

    def _timed(self, request: Request, attempts: Attempts, token: str, spent: RateItem, spent_at: float) -> Answer:
        path = request.path
        with self._lock:
            self.requests[path] += 1
        start = self.clock.monotonic()
        try:
            answer = self._transport.send(self._base_url, request, token)
        except Problem as problem:
            if problem.status is None:
                self._outage.not_answered(attempts)
            raise
        finally:
            self._count(-1)
        self._outage.answered()
        took = self.clock.monotonic() - start
        waited = start - spent_at + answer.waited
        with self._lock:
            self.latency += (took - self.latency) * (1 / 8 if self._fastest else 1)
            self._fastest[path] = min(waited, self._fastest.get(path, waited))
            fastest_of_its_kind, fastest = self._fastest[path], min(self._fastest.values())
        # How late it arrived is not known, but what it took longer than the fastest bounds it. The first of a
        # connection had to wait for the connection; others that take long do so at the API more often than on the
        # way, and count as late to some extent only.
        if getattr(self._thread, "is_connected", False):
            self.budget.came_late(spent, min(waited - fastest_of_its_kind, MOST_LATE))
        else:
            self._thread.is_connected = True
            self.budget.came_late(spent, waited - fastest)
        if (allowance := self._allowance(answer)) is not None:
            left, seconds = allowance
            self.budget.told(spent, left - self.under_way, seconds)
        self._inspect(answer)
        return answer

    def _count(self, more: int) -> None:
        with self._lock:
            self.under_way += more

    def _recover(self, attempts: Attempts, problem: Problem, rule: Rule, token: str, most_tries: int | None) -> None:
        """Do what the table says so that the request may be tried again, or raise."""
        if rule.action is Action.REAUTHENTICATE and not attempts.renewed:
            attempts.renewed = True
            self._tokens.refused(token)
            return
        if rule.action is Action.WAIT:
            # Every thread has to stop, not this one alone, and for no less than one window of the limit; where that
            # is an hour, the API says how much of it.
            self.budget.pause(min(self.budget.window, LONGEST_BACKOFF))
        wait = attempts.wait(rule, problem, most_tries)
        if rule.action is Action.WAIT:
            self.budget.pause(wait)
        else:
            self.clock.sleep(wait)


def log_in(  # noqa: PLR0913, PLR0917
    url: str,
    transport: Transport,
    body: Any,
    parse: Callable[[bytes], T],
    clock: Clock,
    rules: tuple[Rule, ...] = LOGIN_RULES,
) -> T:
    """Ask a token endpoint, fewer times than would get the caller blocked, and never again once it refused.

    Args:
        url: The token endpoint.
        transport: Sends the request.
        body: Holds the credential: what is to be sent as JSON, or a :class:`Form`.
        parse: Makes a token of the answer, as for :meth:`Session.get`.
        clock: Waits between retries.
        rules: The table of what is done about what goes wrong.

    Raises:
        AuthenticationError: There is no token to be had.
    """
    attempts = Attempts(f"POST {urlsplit(url).path}", url, transport, clock, Outage(clock), most=TRIES)
    while True:
        clock.check()
        try:
            answer = transport.send(url, Request("POST", "", body=body), token=None)
            return _parsed(answer, lambda told: parse(told.body), _SUCCESS[False])
        except Problem as problem:
            clock.sleep(attempts.wait(rule_for(problem.condition, rules), problem))


def _parsed(answer: Answer, parse: Callable[[Answer], T], success: range) -> T:
    if answer.status not in success:
        raise Problem(answer.status, answer)
    try:
        return parse(answer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        is_broken = not isinstance(error, msgspec.ValidationError) and answer.body.lstrip().startswith((b"{", b"["))
        # Without its cause: the decoder's message can quote the body.
        raise Problem(Fault.MALFORMED, answer, _BROKEN if is_broken else _FOREIGN) from None
