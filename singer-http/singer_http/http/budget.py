"""The request budget of a credential, which all threads share, and all processes that share its log."""

from __future__ import annotations

import logging
import math
import threading
from bisect import bisect_right, insort
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from singer_http.http.request_log import Sent

if TYPE_CHECKING:
    from collections.abc import Callable

    from singer_http.http.clock import Clock
    from singer_http.http.request_log import RequestLog

T = TypeVar("T")

logger = logging.getLogger(__name__)

MARGIN = 0.02  # share by which the period is widened, as the network squeezes requests together
_LONG = 5.0  # seconds of waiting that are worth a word
_TICK = 0.001  # seconds beyond the period after which to try again: a float may fall short of it
_GLANCE = 1.0  # seconds after which to look what other processes have sent


class Spent(NamedTuple):
    """A request that was counted: at which moment of the clock, and of the log's own."""

    at: float
    slot: float


class Budget:
    """Allows so many requests in any period of so many seconds, and none while the API wants a pause.

    A request that has to wait reserves the next free slot in the log, and all others count it. So requests are sent in
    the order in which they were wanted, whichever process wants them.
    """

    def __init__(self, requests: int, period: float, clock: Clock, log: RequestLog | None = None) -> None:
        self.requests = requests
        self.period = period
        self._clock = clock
        self._log = log
        self._width = period * (1 + MARGIN)
        self._apart = self._width / requests / 2  # so that what was lost to a late request can be made up for
        self._turn = threading.Lock()
        self._lock = threading.Lock()
        self._seen = Sent()
        self._seen_at = -math.inf  # by the clock
        self._ahead = 0.0  # seconds by which the log's clock is ahead of it

    @property
    def per_second(self) -> float:
        """The rate that the budget allows, in requests a second."""
        return self.requests / self._width

    @property
    def left(self) -> int:
        """How many requests could be sent at once now."""
        if self._clock.monotonic() >= self._seen_at + _GLANCE:
            self._update(lambda _now, _sent: None)
        start = self._clock.monotonic() + self._ahead - self._width
        with self._lock:
            sent = len(self._seen.times) - bisect_right(self._seen.times, start)
        return 0 if self.paused_for else max(0, self.requests - self._seen.kept_back - sent)

    def spend(self) -> Spent:
        """Wait until one more request may be sent."""
        slot = None
        with self._turn:
            self._clock.check()
            try:
                while True:
                    slot, wait = self._reserve(slot)
                    if wait <= 0:
                        return Spent(slot - self._ahead, slot)
                    self.check_wait(wait)
                    if wait > _LONG:
                        used_up = f"The requests of {self.period:.0f} s are used up"
                        reason = "All requests are paused" if self.paused_for else used_up
                        logger.info("%s: waiting %.0f s.", reason, wait)
                    self._clock.sleep(wait + _TICK)
            except BaseException:
                if slot is not None:
                    self.give_back(Spent(0.0, slot))
                raise

    def check_wait(self, seconds: float) -> None:
        """Raise what ends a run that is not to wait so long."""

    def give_back(self, spent: Spent) -> None:
        """Stop counting a request that was not sent."""
        self._update(lambda _, sent: _remove(sent.times, spent.slot))

    def shift_to_arrival(self, spent: Spent, seconds: float) -> None:
        """Count a request so many seconds later, when it can have arrived.

        The vendor counts arrivals. A new connection or a busy machine can delay a request into the next period: counted
        when it was sent, it would make that period too full.
        """

        def shift(_: float, sent: Sent) -> None:
            _remove(sent.times, spent.slot)
            insort(sent.times, spent.slot + seconds)

        self._update(shift)

    def pause(self, seconds: float) -> None:
        """Pause all requests for so many seconds."""

        def prolong(now: float, sent: Sent) -> None:
            sent.paused_until = max(sent.paused_until, now + seconds)

        self._update(prolong)
        logger.debug("Pausing all requests for %.1f s.", seconds)

    @property
    def paused_for(self) -> float:
        """Seconds until requests may be sent again, 0 if they are not paused."""
        return max(0.0, self._seen.paused_until - self._clock.monotonic() - self._ahead)

    def close(self) -> None:
        """Close what the count is kept in; requests that are still under way are counted no more."""
        with self._lock:
            if self._log:
                self._log.close()
            self._log, self._seen = None, Sent()

    def _reserve(self, mine: float | None) -> tuple[float, float]:
        """Take the next free slot, or look whether the one that was taken has come; also the seconds until then."""

        def reserve(now: float, sent: Sent) -> tuple[float, float]:
            before = sent.times
            if mine is not None:
                _remove(sent.times, mine)
                before = sent.times[: bisect_right(sent.times, now)]  # those who wait are behind
            slot = max(now, sent.paused_until)
            most = self.requests - sent.kept_back
            if len(before) >= most:
                slot = max(slot, before[-most] + self._width)
            if mine is None and before and before[-1] > now:
                # Others wait. Apart from each other, who wakes up first does not take what they could have.
                slot = max(slot, before[-1] + self._apart)
            insort(sent.times, slot)
            return slot, slot - now

        return self._update(reserve)

    def _update(self, change: Callable[[float, Sent], T]) -> T:
        def changed(now: float, sent: Sent) -> T:
            del sent.times[: bisect_right(sent.times, now - self._width)]
            outcome = change(now, sent)
            self._seen, self._seen_at = sent, self._clock.monotonic()
            self._ahead = now - self._seen_at
            return outcome

        with self._lock:
            return self._log.update(changed) if self._log else changed(self._clock.monotonic(), self._seen)


def _remove(times: list[float], slot: float) -> None:
    if slot in times:  # and not before the period by now
        times.remove(slot)
