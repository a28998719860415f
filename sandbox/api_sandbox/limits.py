"""Request limits as a vendor enforces them."""

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Literal

RetryAfterForm = Literal["seconds", "date"]

Counts = Literal["accepted", "all"]


@dataclass(slots=True)
class SlidingWindow:
    """An exact limit over every period of its length, wherever it begins.

    Attributes:
        limit: Requests allowed in a period; None allows all.
        seconds: Length of the period.
        counts: `accepted` if refused requests leave the period as it was; `all` if they fill it too, so
            that a client which keeps hammering never comes in again.
    """

    limit: int | None
    seconds: float = 1.0
    counts: Counts = "accepted"
    _times: deque[float] = field(default_factory=deque)

    def admit(self, now: float) -> bool:
        """Whether a request that arrives at `now` (seconds of a monotonic clock) is within the limit."""
        if self.limit is None:
            return True
        admitted = self.used(now) < self.limit
        if admitted or self.counts == "all":
            self._times.append(now)
        return admitted

    def used(self, now: float) -> int:
        """How many requests count at `now`."""
        while self._times and self._times[0] <= now - self.seconds:
            self._times.popleft()
        return len(self._times)

    def wait(self, now: float) -> float:
        """Seconds from `now` until the oldest request that counts does so no more; 0 where none does."""
        return self._times[0] + self.seconds - now if self.used(now) else 0.0

    def clear(self) -> None:
        """Forget all requests."""
        self._times.clear()


@dataclass(slots=True)
class BusiestWindow:
    """The highest number of requests that fell into any period."""

    seconds: float = 1.0
    peak: int = 0
    _times: deque[float] = field(default_factory=deque)

    def seen(self, now: float) -> None:
        """Count a request that arrived at `now`."""
        times = self._times
        times.append(now)
        while times[0] <= now - self.seconds:
            times.popleft()
        self.peak = max(self.peak, len(times))


def retry_headers(seconds: float | None, form: RetryAfterForm) -> dict[str, str]:
    """The header Retry-After (RFC 9110, section 10.2.3), if it is sent at all."""
    if seconds is None:
        return {}
    then = datetime.now(timezone.utc) + timedelta(seconds=seconds)
    return {"retry-after": format_datetime(then, usegmt=True) if form == "date" else f"{seconds:g}"}
