"""One clock for the whole run, which can be stopped and which tests replace; and the API's own time."""

from __future__ import annotations

import datetime as dt
import email.utils
import statistics
import threading
import time
from collections import deque
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_REMEMBERED = 5  # answers whose dates are compared: one that is wrong, or two, change nothing


class Stopped(BaseException):
    """The run is being ended, by a signal or by the error that is its cause."""


class Clock:
    """The machine's own time, in seconds; sleepers wake up when the run is ended."""

    def __init__(self) -> None:
        self._is_ended = False
        # A signal handler wakes sleepers with it. An event has a lock, which the thread that it interrupts may hold.
        self._wake: SimpleQueue[None] = SimpleQueue()
        # Before Python 3.13, the first waiting get of a queue never ends if its time is over before it really waits.
        with suppress(Empty):
            self._wake.get_nowait()

    def monotonic(self) -> float:
        """A clock that never goes back, for durations."""
        return time.monotonic()

    def time(self) -> float:
        """Seconds since the epoch, for dates and for what is kept across runs."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Wait; raises :class:`Stopped` as soon as the run is ended."""
        with suppress(Empty):
            self._wake.get(timeout=max(0.0, seconds))
            self._wake.put(None)  # for the next sleeper
        self.check()

    def check(self) -> None:
        """Raise :class:`Stopped` if the run has been ended."""
        if self._is_ended:
            raise Stopped

    def stop(self) -> None:
        """End the run: wakes every thread that sleeps."""
        self._is_ended = True
        self._wake.put(None)


class ApiTime:
    """The API's time, learned from the ``Date`` of its answers; the machine's until the first answer.

    It is never ahead of the API's clock. It is behind by less than a second, as the header counts whole seconds, and
    by the time that an answer takes.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._differences: deque[float] = deque(maxlen=_REMEMBERED)
        self._difference = 0.0

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._clock.time() + self._difference

    def learn(self, headers: Mapping[str, str]) -> None:
        """Learn from an answer that has just come; ``Age`` says that a cache sent an old one."""
        date = parse_date(headers.get("Date", ""))
        if date is None or "Age" in headers:
            return
        with self._lock:
            self._differences.append(date - self._clock.time())
            self._difference = statistics.median_high(self._differences)


def parse_date(value: str) -> float | None:
    """Seconds since the epoch of an HTTP date; None if the text is not one."""
    try:
        date = email.utils.parsedate_to_datetime(value)
        return (date if date.tzinfo else date.replace(tzinfo=dt.timezone.utc)).timestamp()
    except (ValueError, OverflowError):
        return None
