"""The session of a plugin with an API: budget, token, timeouts, retries, and nothing said that should not be."""

from __future__ import annotations

import threading
from collections import Counter
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from singer_http.http.errors import LOGIN_RULES, RULES, Action, FatalError, Fault, Rule, UnwantedError, rule_for
from singer_http.http.patience import LONGEST_BACKOFF, Attempts, Outage
from singer_http.http.transport import Answer, Params, Problem, Request, Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pyrate_limiter import RateItem

    from singer_http.http.auth import TokenSource
    from singer_http.http.budget import Budget
    from singer_http.http.clock import Clock

T = TypeVar("T")

MOST_LATE = 0.2
"""Seconds by which a request on a standing connection may be taken to arrive late."""
_BROKEN = "JSON that is broken; the fault is on the API's side, tell its support"
_FOREIGN = "not the JSON that the API documents; check the URL, and for a proxy"
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding an answer may raise; its text can quote the answer."""
_SUCCESS = (range(200, 201), range(200, 300))
"""Statuses of success: for what is to be read, and for writes, which may have nothing to tell."""


class Session:
    """Requests to one API with one credential, by any number of threads.

    Args:
        base_url: What every path is appended to.
        inspect: Called with every answer before it is judged, for what only the vendor's own headers tell; may raise
            an :class:`ApiError`.
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
        self._outage = Outage(clock)
        self._ended: FatalError | None = None
        self._fastest: dict[str, float] = {}
        self._inspect = inspect
        self.clock = clock
        self.budget = budget
        self.latency = 0.0
        """Seconds from request to answer, of late: a moving average over about eight requests."""
        self.requests: Counter[str] = Counter()
        """Requests sent so far, by path; those for tokens are not among them."""

    def now(self) -> float:
        """Seconds since the epoch by the API's clock, never ahead of it; by the machine's before the first answer."""
        return self._transport.api_time.now()

    def log_in(self) -> None:
        """Get a token before anything is sent with it; raises :class:`AuthenticationError` where there is none."""
        self._tokens.get()

    def get(
        self,
        path: str,
        params: Params,
        parse: Callable[[bytes], T],
        rules: tuple[Rule, ...] = RULES,
        *,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> T:
        """Read a resource: :meth:`exchange` for a GET whose answer is its body."""
        request = Request("GET", path, params)
        return self.exchange(request, lambda answer: parse(answer.body), rules, is_wanted=is_wanted)

    def exchange(
        self,
        request: Request,
        parse: Callable[[Answer], T],
        rules: tuple[Rule, ...] = RULES,
        *,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> T:
        """Send a request, as often as a table of rules gives it a chance.

        Args:
            request: What to send.
            parse: Makes of the answer what is wanted; raises :class:`msgspec.DecodeError` (or its subclass
                :class:`msgspec.ValidationError`) where it is not what the API documents.
            rules: What is done about faults.
            is_wanted: Asked when the budget has a request to spend, which may be a good while later.

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
                if not is_wanted():
                    self.budget.give_back(spent)
                    raise UnwantedError(f"{request}: no longer wanted.")
                try:
                    answer = self._timed(request, attempts, token, spent, spent_at)
                    return _parsed(answer, parse, _SUCCESS[request.method != "GET"])
                except Problem as problem:
                    self._recover(attempts, problem, rule_for(problem.condition, rules), token)
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
        is_first = not hasattr(self._thread, "is_connected")
        self._thread.is_connected = True
        self.budget.shift_to_arrival(
            spent, waited - fastest if is_first else min(waited - fastest_of_its_kind, MOST_LATE)
        )
        self._inspect(answer)
        return answer

    def _recover(self, attempts: Attempts, problem: Problem, rule: Rule, token: str) -> None:
        """Do what the table says so that the request may be tried again, or raise."""
        if rule.action is Action.REAUTHENTICATE and not attempts.renewed:
            attempts.renewed = True
            self._tokens.refused(token)
            return
        if problem.status == HTTPStatus.TOO_MANY_REQUESTS:
            # Every thread has to stop, not this one alone, and for no less than one window of the limit; where that
            # is an hour, the API says how much of it.
            self.budget.pause(min(self.budget.window, LONGEST_BACKOFF))
        wait = attempts.wait(rule, problem)
        if rule.action is Action.WAIT:
            self.budget.pause(wait)
        else:
            self.clock.sleep(wait)


def request_token(  # noqa: PLR0913, PLR0917
    url: str,
    transport: Transport,
    body: Any,
    parse: Callable[[bytes], T],
    clock: Clock,
    rules: tuple[Rule, ...] = LOGIN_RULES,
    headers: Mapping[str, str] | None = None,
) -> T:
    """Ask a token endpoint, fewer times than would get the caller blocked, and never again once it refused.

    The credential is in the body, or in the headers: see :class:`~singer_http.http.transport.Request`.

    Raises:
        AuthenticationError: There is no token to be had.
    """
    request = Request("POST", "", headers=headers, body=body)
    attempts = Attempts(f"POST {urlsplit(url).path}", url, transport, clock, Outage(clock))
    while True:
        clock.check()
        try:
            return _parsed(transport.send(url, request, token=None), lambda answer: parse(answer.body), _SUCCESS[False])
        except Problem as problem:
            clock.sleep(attempts.wait(rule_for(problem.condition, rules), problem))


def _parsed(answer: Answer, parse: Callable[[Answer], T], success: range) -> T:
    if answer.status not in success:
        raise Problem(answer.status, answer)
    try:
        return parse(answer)
    except UNREADABLE as error:
        is_broken = not isinstance(error, msgspec.ValidationError) and answer.body.lstrip().startswith((b"{", b"["))
        raise Problem(Fault.MALFORMED, answer, _BROKEN if is_broken else _FOREIGN) from None
