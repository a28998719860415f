"""One request budget for one credential, shared by every thread that spends from it."""

from __future__ import annotations

import logging
import math
import threading
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, cast

from pyrate_limiter import InMemoryBucket, Rate, RateItem

from singer_http.http.errors import QuotaReachedError

if TYPE_CHECKING:
    from pyrate_limiter import AbstractBucket

    from singer_http.http.clock import Clock

_timestamp = attrgetter("timestamp")
logger = logging.getLogger(__name__)

MARGIN = 0.02
"""Share by which the window is widened, for what the network makes of the distances between requests."""
COUNT_INTERVAL = 1.0
"""Seconds after which a bucket that others share is counted anew: that takes its file, and its lock."""
_ROOM_FOR_OLD = 4
"""Windows' worth of counted requests that may pile up before those that no longer count are forgotten."""


@dataclass(slots=True)
class _Told:
    """What the API said of its limit.

    Attributes:
        at: When the request was counted that it said it of.
        left: How many more may be sent ...
        until: ... up to here, on the monotonic clock.
    """

    at: int
    left: int
    until: float


class Budget:
    """At most so many requests in any window of so many seconds, and none while the API asks for a pause.

    The counting is pyrate-limiter's sliding log; the waiting is done here, on a clock that can be stopped.

    Args:
        requests: How many requests the vendor allows in one window.
        window: Length of that window, in seconds.
        clock: Measures and waits.
        bucket: A pyrate-limiter bucket to keep the log in, for budgets shared between processes.
        by_wall_clock: Whether the log is kept by the wall clock: the only one that processes share, and runs.
        patience: The longest wait, in seconds; what would have to wait longer raises :class:`QuotaReachedError`.
    """

    def __init__(  # noqa: PLR0913
        self,
        requests: int,
        window: float,
        clock: Clock,
        bucket: AbstractBucket | None = None,
        *,
        by_wall_clock: bool = False,
        patience: float = math.inf,
    ) -> None:
        self.requests = requests
        self.window = window
        self._clock = clock
        self._now = clock.time if by_wall_clock else clock.monotonic
        self._patience = patience
        self._bucket = bucket or InMemoryBucket([self.rate(requests, window)])
        self._turn = threading.Lock()
        self._lock = threading.Lock()
        self._paused_until = 0.0
        self._told: _Told | None = None
        self._left = 0
        self._counted_at = -math.inf

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
            now = self._clock.monotonic()
            if isinstance(self._bucket, InMemoryBucket) or now >= self._counted_at + COUNT_INTERVAL:
                self._counted_at = now
                self._bucket.leak(self._time())
                self._left = max(0, self.requests - cast("int", self._bucket.count()))
            told = self._still_told()
            return self._left if told is None else min(self._left, told.left)

    def spend(self) -> RateItem:
        """Wait until one more request may be sent, and count it.

        Returns:
            What was counted, for :meth:`came_late`.

        Raises:
            QuotaReachedError: The wait would be longer than the budget's patience.
            Stopped: The run is being ended.
        """
        # One after the other, so that they are sent in the order in which they were wanted.
        with self._turn:
            self._clock.check()
            while isinstance(spent := self._try_spend(), float):
                if spent > self._patience:
                    raise QuotaReachedError(
                        f"The request quota is used up: the next request could be sent in {math.ceil(spent / 60)} min."
                    )
                self._clock.sleep(spent)
            return spent

    def give_back(self, spent: RateItem) -> None:
        """Count a request no longer, as it was not sent; where others share the log it stays in it."""
        if isinstance(self._bucket, InMemoryBucket):
            with self._lock:
                self._bucket.items.remove(spent)
                if (told := self._still_told()) is not None:
                    told.left += 1

    def came_late(self, spent: RateItem, seconds: float) -> None:
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

    def told(self, spent: RateItem, left: int, seconds: float) -> None:
        """Let no more requests be sent than the API says that it allows, whoever else has spent them.

        Args:
            spent: The request that was answered so; what an older one was told does not count any more.
            left: How many, those under way not among them.
            seconds: For how long it is no more than that.
        """
        with self._lock:
            if self._told is not None and spent.timestamp == self._told.at:
                # Which of the two was served last is not known, whichever answer comes last.
                left = min(left, self._told.left)
            if self._told is None or spent.timestamp >= self._told.at:
                # As for the window: no longer than that, and a little longer than said.
                until = self._clock.monotonic() + min(seconds, self.window) * (1 + MARGIN)
                self._told = _Told(spent.timestamp, max(0, left), until)

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
            told = self._still_told()
            if told is not None and not told.left:
                return told.until - self._clock.monotonic()
            now = self._time()
            item = RateItem("request", now)
            if self._bucket.put(item):
                self._left = max(0, self._left - 1)
                if told is not None:
                    told.left -= 1
                if cast("int", self._bucket.count()) > _ROOM_FOR_OLD * self.requests:
                    self._bucket.leak(now)
                return item
            # The bucket counts whole milliseconds: one more is needed to be past the window for certain.
            return (cast("int", self._bucket.waiting(item)) + 1) / 1000

    def _still_told(self) -> _Told | None:
        told = self._told
        return told if told is not None and self._clock.monotonic() < told.until else None

    def _time(self) -> int:
        return int(self._now() * 1000)
