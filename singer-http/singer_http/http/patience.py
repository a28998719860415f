"""How often and how long a request is tried again, and when the whole API is taken to be down."""

from __future__ import annotations

import logging
import math
import threading
from collections import Counter
from typing import TYPE_CHECKING

import backoff

from singer_http.http.clock import Clock, parse_date
from singer_http.http.errors import TRIES, Action, ApiError, Fault, Rule, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from singer_http.http.transport import Problem, Transport

logger = logging.getLogger(__name__)

THROTTLE_PATIENCE = 7200.0
"""Seconds of nothing but 429 after which a run gives up: two of the longest rate windows (Hubstaff: an hour)."""
OUTAGE_PATIENCE = 600.0
"""Seconds without any answer after which a run gives up; restarts and broken networks are over sooner."""
SILENT_REQUESTS = 3
"""Requests for different things without an answer in a row, from which on it is the API and not one list of it."""
LONGEST_BACKOFF = 60.0
"""Seconds; the backoff doubles up to here."""
FIRST_CONTACT_TRIES = 3
"""Requests in all to a host that never answered: that is more often a wrong URL than an outage."""
_GLANCE = 1.0
"""Seconds after which those who wait for the API look whether it answers again."""
_OUTAGE = "the API has answered no request at all for ten minutes; run again when it is back."
_LEFT_ALONE = "HTTP {status}; the API wants no more requests for longer than a run should wait, run again later."


class Outage:
    """Whether the API answers at all: where it does not, one request at a time finds out for everybody."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._silent: set[Attempts] = set()
        self._since = math.inf
        self._probe: Attempts | None = None

    @property
    def is_on(self) -> bool:
        """Whether so many requests went without an answer that it is nothing about one of them."""
        return len(self._silent) >= SILENT_REQUESTS

    @property
    def lasts(self) -> float:
        """Seconds since the first of the requests without an answer."""
        return self._clock.monotonic() - self._since

    def wait_turn(self, request: Attempts) -> None:
        """Wait until a request may be sent."""
        with self._changed:
            while self.is_on and self._probe not in {None, request}:
                self._glance()
            if self.is_on:
                self._probe = request

    def _glance(self) -> None:
        # By no clock: it is another request that is waited for, not its time.
        self._changed.wait(_GLANCE)
        self._clock.check()

    def answered(self) -> None:
        """There was an answer, whatever it says."""
        if self._silent:
            with self._changed:
                self._silent.clear()
                self._probe = None
                self._changed.notify_all()

    def not_answered(self, request: Attempts) -> None:
        """There was none."""
        with self._changed:
            if not self._silent:
                self._since = self._clock.monotonic()
            self._silent.add(request)

    def leave(self, request: Attempts) -> None:
        """A request is not tried again: another finds out."""
        with self._changed:
            if self._probe is request:
                self._probe = None
                self._changed.notify_all()


class Attempts:
    """How often one request was tried, and how long it may go on.

    Args:
        request: What it is called in messages.
        url: The host that it is sent to, as the transport knows it.
    """

    def __init__(self, request: str, url: str, transport: Transport, clock: Clock, outage: Outage) -> None:
        self.renewed = False
        self._request = request
        self._url = url
        self._transport = transport
        self._clock = clock
        self._outage = outage
        self._tries: Counter[Rule] = Counter()
        self._began = clock.monotonic()
        self._backoffs = _backoffs()

    def wait(self, rule: Rule, problem: Problem) -> float:
        """Seconds to wait before the next try; raises what the rule says, or worse, where there is to be none."""
        asked = retry_after(problem.retry_after, self._transport.api_time.now())
        wait = next(self._backoffs) if asked is None else asked
        if (end := self._end(rule, problem, wait)) is not None:
            error, sentence = end
            told = sentence.format(status=problem.status, tries=self._tries[rule], found=problem.found)
            raise error(f"{self._request}: {told}") from None
        condition = problem.condition
        reason = condition.value if isinstance(condition, Fault) else f"HTTP {condition}"
        logger.info("%s: %s; trying again in %.1f s.", self._request, reason, wait)
        return wait

    def _end(self, rule: Rule, problem: Problem, wait: float) -> tuple[type[ApiError], str] | None:
        """Count the try; the error and the sentence to end with, None where there may be another."""
        if rule.action is Action.WAIT and self._clock.monotonic() - self._began + wait <= THROTTLE_PATIENCE:
            return None
        if rule.action is not Action.RETRY:
            return rule.error, rule.sentence
        if wait > THROTTLE_PATIENCE:
            return UnavailableError, _LEFT_ALONE
        is_known = self._url in self._transport.answered
        is_down = self._outage.is_on and problem.status is None
        if is_down and is_known and self._outage.lasts + wait > OUTAGE_PATIENCE:
            return UnavailableError, _OUTAGE
        if not (
            is_down and is_known and problem.condition is Fault.UNREACHABLE
        ):  # which is about all, and nobody's try
            self._tries[rule] += 1
        most = rule.tries if is_known else min(rule.tries, FIRST_CONTACT_TRIES)
        if self._tries[rule] < most and self._tries.total() < TRIES:
            return None
        return UnavailableError if is_down and not is_known else rule.error, rule.sentence


def _backoffs() -> Iterator[float]:
    """Seconds before each retry: doubling, with full jitter so that clients do not come back in step."""
    waits = backoff.expo(base=2, factor=1, max_value=LONGEST_BACKOFF)
    next(waits)  # the generator's own start
    for longest in waits:
        yield backoff.full_jitter(longest)


def retry_after(value: str, now: float) -> float | None:
    """What a ``Retry-After`` header says, in seconds from ``now``: it may be a number or an HTTP date."""
    try:
        seconds = float(value)
    except ValueError:
        if (date := parse_date(value)) is None:
            return None
        seconds = date - now
    # At once is what did not help. A little more than asked for, so that clients do not come back at the same moment.
    return seconds + backoff.full_jitter(1.0) if seconds > 0 else None
