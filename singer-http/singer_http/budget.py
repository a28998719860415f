"""One request budget for one credential, shared by every thread that spends from it."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, cast

from pyrate_limiter import InMemoryBucket, Rate, RateItem

if TYPE_CHECKING:
    from pyrate_limiter import AbstractBucket

    from singer_http.clock import Clock

logger = logging.getLogger(__name__)

MARGIN = 0.04
"""Share by which the window is widened: requests sent evenly arrive squeezed together by the network, and
the vendor counts arrivals."""


class Budget:
    """At most so many requests in any window of so many seconds, and none while the API asks for a pause.

    The counting is pyrate-limiter's sliding log; the waiting is done here, on a clock that can be stopped.

    Args:
        requests: How many requests the vendor allows in one window.
        window: Length of that window, in seconds.
        clock: Measures and waits.
        bucket: A pyrate-limiter bucket to keep the log in, for budgets shared between processes.
    """

    def __init__(self, requests: int, window: float, clock: Clock, bucket: AbstractBucket | None = None) -> None:
        self.requests = requests
        self.window = window
        self._clock = clock
        self._bucket = bucket or InMemoryBucket([self.rate(requests, window)])
        self._lock = threading.Lock()
        self._paused_until = 0.0

    @staticmethod
    def rate(requests: int, window: float) -> Rate:
        """The vendor's limit with the margin, as pyrate-limiter writes it (milliseconds)."""
        return Rate(requests, int(window * 1000 * (1 + MARGIN)))

    @property
    def per_second(self) -> float:
        """The rate that the budget comes to, in requests a second."""
        return self.requests / (self.window * (1 + MARGIN))

    def spend(self) -> None:
        """Wait until one more request may be sent, and count it.

        Raises:
            Stopped: The run is being ended.
        """
        while (wait := self._try_spend()) > 0:
            self._clock.sleep(wait)

    def pause(self, seconds: float) -> None:
        """Let nobody send for so many seconds: the API said so, or seems to have had enough."""
        with self._lock:
            self._paused_until = max(self._paused_until, self._clock.monotonic() + seconds)
        logger.debug("Pausing all requests for %.1f s.", seconds)

    @property
    def paused_for(self) -> float:
        """Seconds until requests may be sent again, 0 when nothing holds them."""
        return max(0.0, self._paused_until - self._clock.monotonic())

    def _try_spend(self) -> float:
        with self._lock:
            if (pause := self.paused_for) > 0:
                return pause
            item = RateItem("request", int(self._clock.monotonic() * 1000))
            if self._bucket.put(item):
                return 0.0
            # The bucket counts whole milliseconds: one more is needed to be past the window for certain.
            return (cast("int", self._bucket.waiting(item)) + 1) / 1000
