"""The request budget of a credential, which all threads share."""

from __future__ import annotations

import logging
import threading
from bisect import bisect_right, insort
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from singer_http.http.clock import Clock

logger = logging.getLogger(__name__)

MARGIN = 0.02  # share by which the window is widened, as the network squeezes requests together
_LONG = 5.0  # seconds of waiting that are worth a word
_TICK = 0.001  # seconds beyond the window after which to try again: a float may fall short of it


class Budget:
    """Allows so many requests in any window of so many seconds, and none while the API wants a pause."""

    def __init__(self, requests: int, window: float, clock: Clock) -> None:
        self.requests = requests
        self.window = window
        self._clock = clock
        self._turn = threading.Lock()
        self._lock = threading.Lock()
        self._sent: list[float] = []  # when the requests that still count were sent, in order
        self._paused_until = 0.0

    @property
    def per_second(self) -> float:
        """The rate that the budget allows, in requests a second."""
        return self.requests / (self.window * (1 + MARGIN))

    @property
    def left(self) -> int:
        """How many requests could be sent at once now."""
        with self._lock:
            self._forget_old(self._clock.monotonic())
            return 0 if self.paused_for else max(0, self.requests - len(self._sent))

    def spend(self) -> float:
        """Wait until one more request may be sent; returns the moment that it is counted at."""
        with self._turn:  # requests are sent in the order in which they were wanted
            self._clock.check()
            while wait := self._try_spend(now := self._clock.monotonic()):
                if wait > _LONG:
                    logger.info("The requests of %.0f s are used up: waiting %.0f s.", self.window, wait)
                self._clock.sleep(wait)
            return now

    def give_back(self, spent: float) -> None:
        """Stop counting a request that was not sent."""
        with self._lock:
            self._forget(spent)

    def shift_to_arrival(self, spent: float, seconds: float) -> None:
        """Count a request so many seconds later, when it can have arrived.

        The vendor counts arrivals. A new connection or a busy machine can delay a request into the next window: counted
        when it was sent, it would make that window too full.
        """
        with self._lock:
            self._forget(spent)
            insort(self._sent, spent + seconds)

    def pause(self, seconds: float) -> None:
        """Hold all requests for so many seconds."""
        with self._lock:
            self._paused_until = max(self._paused_until, self._clock.monotonic() + seconds)
        logger.debug("Pausing all requests for %.1f s.", seconds)

    @property
    def paused_for(self) -> float:
        """Seconds until requests may be sent again, 0 where nothing holds them."""
        return max(0.0, self._paused_until - self._clock.monotonic())

    def close(self) -> None:
        """Close what the count is kept in."""

    def _try_spend(self, now: float) -> float:
        """Spend a request and return 0, or return the seconds after which to try again."""
        with self._lock:
            if pause := self.paused_for:
                return pause
            start = self._forget_old(now)
            if len(self._sent) >= self.requests:
                return self._sent[-self.requests] - start + _TICK
            insort(self._sent, now)
            return 0.0

    def _forget(self, spent: float) -> None:
        if spent in self._sent:  # and not before the window by now
            self._sent.remove(spent)

    def _forget_old(self, now: float) -> float:
        """Forget the requests before the window that ends now; returns its start."""
        start = now - self.window * (1 + MARGIN)
        del self._sent[: bisect_right(self._sent, start)]
        return start
