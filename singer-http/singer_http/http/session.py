"""The session with an API: it gives every request its budget, token, timeout and retries."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from singer_http.http.errors import FatalError
from singer_http.http.retries import LONGEST_BACKOFF, Attempts, Outage
from singer_http.http.rules import LOGIN_RULES, RULES, Action, Fault, Rule, Rules, rule_for
from singer_http.http.transport import Answer, Params, Problem, Request, Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from singer_http.http.auth import TokenSource
    from singer_http.http.budget import Budget, Spent
    from singer_http.http.clock import Clock

T = TypeVar("T")

MOST_LATE = 0.2  # seconds by which a request on a standing connection may be taken to arrive late
_BROKEN = "JSON that is broken; the fault is on the API's side, tell its support"
_FOREIGN = "not the JSON that the API documents; check the URL, and for a proxy"
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding an answer may raise; its text can quote the answer."""
_NO_CONTENT = 204
_READ, _WRITTEN = range(200, 201), range(200, 300)  # statuses of success: a write may have nothing to tell


@dataclass(eq=False)
class Session:
    """Sends requests to one API with one credential, for any number of threads."""

    base_url: str
    transport: Transport
    tokens: TokenSource
    budget: Budget
    clock: Clock
    inspect: Callable[[Answer], None] = lambda _: None  # sees every answer before it is judged, and may raise
    latency: float = field(default=0.0, init=False)  # seconds from request to answer: a moving average of about eight
    requests: Counter[str] = field(default_factory=Counter, init=False)  # sent so far, by label; none for tokens
    throttled: Counter[str] = field(default_factory=Counter, init=False)  # of those, answered with HTTP 429

    def __post_init__(self) -> None:
        self.base_url = self.base_url.rstrip("/")
        self._lock = threading.Lock()
        self._thread = threading.local()
        self._outage = Outage(self.clock)
        self._ended: FatalError | None = None
        self._fastest: dict[str, float] = {}

    def now(self) -> float:
        """Seconds since the epoch by the API's clock, never ahead of it; by the machine's before the first answer."""
        return self.transport.api_time.now()

    def log_in(self) -> None:
        """Get a token before anything is sent with it; raises :class:`AuthenticationError` where there is none."""
        self.tokens.get()

    def get(self, path: str, params: Params, parse: Callable[[bytes], T], rules: Rules = RULES, **options: Any) -> T:
        """Read a resource: :meth:`exchange` for a GET whose answer is its body."""
        return self.exchange(Request("GET", path, params), lambda answer: parse(answer.body), rules, **options)

    def exchange(
        self,
        request: Request,
        parse: Callable[[Answer], T],
        rules: Rules = RULES,
        *,
        on_turn: Callable[[], None] = lambda: None,
        label: str | None = None,
    ) -> T:
        """Send a request, as often as a table of rules gives it a chance.

        Args:
            request: What to send.
            parse: Parses the answer; raises :class:`msgspec.DecodeError` if it is not as documented.
            rules: What is done about faults, and which :class:`ApiError` is raised.
            on_turn: Called when the budget lets the request go.
            label: What requests are counted under, by default their path.
        """
        attempts = Attempts(str(request), self.base_url, self.transport, self.clock, self._outage)
        counted = label or request.path
        try:
            while True:
                self._outage.wait_turn(attempts)
                if self._ended is not None:
                    raise self._ended  # what ends the run for one request ends it for all
                token = self.tokens.get()
                spent = self.budget.spend()
                on_turn()
                with self._lock:
                    self.requests[counted] += 1
                try:
                    answer = self._timed(request, attempts, token, spent)
                    return _parsed(answer, parse, _READ if request.method == "GET" else _WRITTEN)
                except Problem as problem:
                    with self._lock:
                        self.throttled[counted] += problem.status == HTTPStatus.TOO_MANY_REQUESTS
                    self._recover(attempts, problem, rule_for(problem.condition, rules), token)
        except FatalError as error:
            self._ended = error
            raise
        finally:
            self._outage.let_go(attempts)

    def close(self) -> None:
        """Close the connections, and what the budget keeps its count in."""
        self.transport.close()
        self.budget.close()

    def _timed(self, request: Request, attempts: Attempts, token: str, spent: Spent) -> Answer:
        path = request.path
        start = self.clock.monotonic()
        try:
            answer = self.transport.send(self.base_url, request, token)
        except Problem as problem:
            if problem.status is None:
                self._outage.not_answered(attempts)
            raise
        self._outage.answered(attempts)
        took = self.clock.monotonic() - start
        waited = start - spent.at + answer.waited
        with self._lock:
            self.latency += (took - self.latency) * (1 / 8 if self._fastest else 1)
            self._fastest[path] = min(waited, self._fastest.get(path, waited))
            fastest_of_its_kind, fastest = self._fastest[path], min(self._fastest.values())
        # How late it arrived is not known; what it took longer than the fastest bounds it. The first request of a
        # thread waited for the connection. Others that take long do so at the API more often than on the way, and
        # count as late to some extent only.
        is_first = not hasattr(self._thread, "is_connected")
        self._thread.is_connected = True
        late = waited - fastest if is_first else min(waited - fastest_of_its_kind, MOST_LATE)
        self.budget.shift_to_arrival(spent, late)
        self.inspect(answer)
        return answer

    def _recover(self, attempts: Attempts, problem: Problem, rule: Rule, token: str) -> None:
        """Prepare the next try as the rule says, or raise."""
        if rule.action is Action.REAUTHENTICATE and not attempts.renewed:
            attempts.renewed = True
            self.tokens.refused(token)
            return
        if problem.status == HTTPStatus.TOO_MANY_REQUESTS:
            # Every thread has to stop, not this one alone, and for no less than one period of the limit; where that
            # is an hour, the API says how much of it.
            self.budget.pause(min(self.budget.period, LONGEST_BACKOFF))
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
    rules: Rules = LOGIN_RULES,
    headers: Mapping[str, str] | None = None,
) -> T:
    """Ask a token endpoint, fewer times than get a caller blocked, and never again after a refusal.

    The credential is in the body, or in the headers. Raises :class:`AuthenticationError` where there is no token.
    """
    request = Request("POST", "", headers=headers, body=body)
    attempts = Attempts(f"POST {urlsplit(url).path}", url, transport, clock, Outage(clock))
    while True:
        clock.check()
        try:
            return _parsed(transport.send(url, request, token=None), lambda answer: parse(answer.body), _READ)
        except Problem as problem:
            clock.sleep(attempts.wait(rule_for(problem.condition, rules), problem))


def _parsed(answer: Answer, parse: Callable[[Answer], T], success: range) -> T:
    if answer.status not in success:
        raise Problem(Fault.EMPTY if answer.status == _NO_CONTENT else answer.status, answer)
    try:
        return parse(answer)
    except UNREADABLE as error:
        if not answer.body.strip():
            raise Problem(Fault.EMPTY, answer) from None
        is_broken = not isinstance(error, msgspec.ValidationError) and answer.body.lstrip().startswith((b"{", b"["))
        raise Problem(Fault.MALFORMED, answer, _BROKEN if is_broken else _FOREIGN) from None
