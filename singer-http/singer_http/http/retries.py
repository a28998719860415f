"""How often and how long a request is tried again, and when the whole API is taken to be down."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING

import backoff

from singer_http.http.clock import Clock, parse_date
from singer_http.http.errors import ApiError, FatalError
from singer_http.http.rules import TRIES, Action, Fault, Rule

if TYPE_CHECKING:
    from singer_http.http.transport import Problem, Transport

logger = logging.getLogger(__name__)

THROTTLE_PATIENCE = 7200.0  # seconds of nothing but 429 after which a run gives up: two periods of an hour
OUTAGE_PATIENCE = 600.0  # seconds without any answer after which a run gives up: restarts are over sooner
SILENT_REQUESTS = 3  # so many in a row without an answer are about the API, and not about one list of it
LONGEST_BACKOFF = 60.0  # seconds; the backoff doubles up to here
FIRST_CONTACT_TRIES = 3  # requests in all to a host that never answered: more often a wrong URL than an outage
_GLANCE = 0.1  # seconds after which those who wait for the API look whether it answers again
_OUTAGE = "the API has answered no request at all for ten minutes; run again when it is back."
_LEFT_ALONE = "HTTP {status}; the API wants no more requests for longer than a run should wait, run again later."


class Outage:
    """Knows whether the API is down; while it is, one request at a time probes for all."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._silent: set[Attempts] = set()
        self._since = math.inf
        self._turn = threading.Lock()  # of the request that probes
        self._probe: Attempts | None = None

    @property
    def is_on(self) -> bool:
        """Whether so many requests got no answer that the API counts as down."""
        return len(self._silent) >= SILENT_REQUESTS

    def lasts(self) -> float:
        """Seconds since the first of the requests without an answer."""
        return self._clock.monotonic() - self._since

    def wait_turn(self, request: Attempts) -> None:
        """Wait until a request may be sent."""
        while self.is_on and self._probe is not request:
            if self._turn.acquire(blocking=False):
                self._probe = request
            else:
                self._glance()

    def _glance(self) -> None:
        time.sleep(_GLANCE)  # by no clock: it is another request that is waited for, not its time
        self._clock.check()

    def answered(self, request: Attempts) -> None:
        """Note that there was an answer, whatever it says."""
        self._silent.clear()
        self.let_go(request)

    def not_answered(self, request: Attempts) -> None:
        """Note that there was no answer."""
        if not self._silent:
            self._since = self._clock.monotonic()
        self._silent.add(request)

    def let_go(self, request: Attempts) -> None:
        """Let another request probe, if this one did."""
        if self._probe is request:
            self._probe = None
            self._turn.release()


class Attempts:
    """Counts the tries of one request to a URL, and decides whether there is another."""

    def __init__(self, request: str, url: str, transport: Transport, clock: Clock, outage: Outage) -> None:
        self.renewed = False  # it was tried with a new token
        self._request = request
        self._url = url
        self._transport = transport
        self._clock = clock
        self._outage = outage
        self._tries: Counter[Rule] = Counter()
        self._began = self._clock.monotonic()
        # Doubling from a second, with full jitter so that clients do not come back in step; the first is a start.
        self._backoffs = map(backoff.full_jitter, islice(backoff.expo(2, 1, LONGEST_BACKOFF), 1, None))

    def wait(self, rule: Rule, problem: Problem) -> float:
        """Return the seconds until the next try; if there is none, raise the error of the rule, or end the run."""
        asked = retry_after(problem.retry_after, self._transport.api_time.now())
        wait = next(self._backoffs) if asked is None else asked
        if (end := self._end(rule, problem, wait)) is not None:
            sentence = end[1].format(status=problem.status, tries=self._tries[rule], found=problem.found)
            raise end[0](f"{self._request}: {sentence}") from None
        reason = problem.condition.value if isinstance(problem.condition, Fault) else f"HTTP {problem.condition}"
        logger.info("%s: %s; trying again in %.1f s.", self._request, reason, wait)
        return wait

    def _end(self, rule: Rule, problem: Problem, wait: float) -> tuple[type[ApiError], str] | None:
        """Count the try; return the error and the sentence to end with, None where there is another try."""
        if rule.action is not Action.RETRY:
            is_patient = self._clock.monotonic() - self._began + wait <= THROTTLE_PATIENCE
            return None if rule.action is Action.WAIT and is_patient else (rule.error, rule.sentence)
        if wait > THROTTLE_PATIENCE:
            return FatalError, _LEFT_ALONE
        is_known = self._url in self._transport.answered
        is_down = self._outage.is_on and problem.status is None
        if is_down and is_known and self._outage.lasts() + wait > OUTAGE_PATIENCE:
            return FatalError, _OUTAGE
        if is_down and is_known and problem.condition is Fault.UNREACHABLE:
            return None  # this is about the API, and no try of this request
        self._tries[rule] += 1
        most = rule.tries if is_known else min(rule.tries, FIRST_CONTACT_TRIES)
        if self._tries[rule] < most and self._tries.total() < TRIES:
            return None
        return FatalError if is_down and not is_known else rule.error, rule.sentence


def retry_after(value: str, now: float) -> float | None:
    """Return the seconds from ``now`` that a ``Retry-After`` asks for, by a number or a date; None for none.

    A little is added, so that clients do not come back at the same moment.
    """
    try:
        seconds = float(value)
    except ValueError:
        seconds = (parse_date(value) or now) - now
    return seconds + backoff.full_jitter(1.0) if seconds > 0 else None
