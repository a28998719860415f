"""One request budget for one credential, shared by every thread that spends from it."""

from __future__ import annotations

import logging
import math
import threading
from operator import attrgetter
from typing import TYPE_CHECKING, cast

from pyrate_limiter import InMemoryBucket, Rate, RateItem

if TYPE_CHECKING:
    from pyrate_limiter import AbstractBucket

    from singer_http.http.clock import Clock

_timestamp = attrgetter("timestamp")
logger = logging.getLogger(__name__)

MARGIN = 0.02
"""Share by which the window is widened, for what the network makes of the distances between requests."""
_LONG = 5.0
"""Seconds of waiting that are worth a word."""
_ROOM_FOR_OLD = 4
"""Windows' worth of counted requests that may pile up before those that no longer count are forgotten."""


class Budget:
    """At most so many requests in any window of so many seconds, and none while the API asks for a pause.

    The counting is pyrate-limiter's sliding log; the waiting is done here, on a clock that can be stopped.

    Args:
        requests: How many requests the vendor allows in one window.
        window: Length of that window, in seconds.
        bucket: A pyrate-limiter bucket to keep the log in, where others share it.
    """

    def __init__(self, requests: int, window: float, clock: Clock, bucket: AbstractBucket | None = None) -> None:
        self.requests = requests
        self.window = window
        self._clock = clock
        self._bucket = bucket or InMemoryBucket([self.rate(requests, window)])
        self._turn = threading.Lock()
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

    @property
    def left(self) -> int:
        """How many requests could be sent at once now."""
        with self._lock:
            if self.paused_for:
                return 0
            self._bucket.leak(self._time())
            return max(0, self.requests - cast("int", self._bucket.count()))

    def spend(self) -> RateItem:
        """Wait until one more request may be sent; what is counted then may be given back, or have come late."""
        # One after the other, so that they are sent in the order in which they were wanted.
        with self._turn:
            self._clock.check()
            while isinstance(spent := self._try_spend(), float):
                if spent > _LONG:
                    logger.info("The requests of %.0f s are used up: waiting %.0f s.", self.window, spent)
                self._clock.sleep(spent)
            return spent

    def give_back(self, spent: RateItem) -> None:
        """Count a request no longer, as it was not sent; where others share the log it stays in it."""
        if isinstance(self._bucket, InMemoryBucket):
            with self._lock:
                self._bucket.items.remove(spent)

    def shift_to_arrival(self, spent: RateItem, seconds: float) -> None:
        """Correct when a request is counted, from when it was to be sent to when it can have arrived.

        The vendor counts arrivals. A request that was held up on its way, by a connection that had to be made or
        by a busy machine, falls together with the requests of the window after unless it is counted later too.
        """
        if isinstance(self._bucket, InMemoryBucket):
            with self._lock:
                spent.timestamp += math.ceil(seconds * 1000)
                self._bucket.items.sort(key=_timestamp)

    def pause(self, seconds: float) -> None:
        """Let nobody send for so many seconds: the API said so, or seems to have had enough."""
        with self._lock:
            self._paused_until = max(self._paused_until, self._clock.monotonic() + seconds)
        logger.debug("Pausing all requests for %.1f s.", seconds)

    def close(self) -> None:
        """Close the log: it may be a file."""
        with self._lock:
            self._bucket.close()

    @property
    def paused_for(self) -> float:
        """Seconds until requests may be sent again, 0 when nothing holds them."""
        return max(0.0, self._paused_until - self._clock.monotonic())

    def _try_spend(self) -> RateItem | float:
        """Spend if it can be done now; otherwise the seconds after which to try again."""
        with self._lock:
            if (pause := self.paused_for) > 0:
                return pause
            item = RateItem("request", self._time())
            if self._bucket.put(item):
                if cast("int", self._bucket.count()) > _ROOM_FOR_OLD * self.requests:
                    self._bucket.leak(item.timestamp)
                return item
            # The bucket counts whole milliseconds: one more is needed to be past the window for certain.
            return (cast("int", self._bucket.waiting(item)) + 1) / 1000

    def _time(self) -> int:
        """Milliseconds, by the clock that the log is kept by."""
        return int(self._clock.monotonic() * 1000)
