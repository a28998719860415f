"""Time as the rest of the package sees it: one object that can be stopped, and be replaced in tests."""

from __future__ import annotations

import threading
import time
from typing import Protocol

from typing_extensions import override


class Stopped(BaseException):
    """The run is being ended, by a signal or by the error that is its cause."""


class Clock(Protocol):
    """What waits and measures: all times in seconds."""

    def monotonic(self) -> float:
        """A clock that never goes back, for durations."""
        ...

    def time(self) -> float:
        """Seconds since the epoch, for dates and for what is kept across runs."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait; raises :class:`Stopped` as soon as the run is ended."""
        ...

    def check(self) -> None:
        """Raise :class:`Stopped` if the run has been ended."""
        ...

    def stop(self) -> None:
        """End the run: wakes every thread that sleeps."""
        ...


class SystemClock(Clock):
    """The machine's own time, whose sleepers wake up when the run is stopped."""

    def __init__(self) -> None:
        self._stopped = threading.Event()

    @override
    def monotonic(self) -> float:
        return time.monotonic()

    @override
    def time(self) -> float:
        return time.time()

    @override
    def sleep(self, seconds: float) -> None:
        if self._stopped.wait(max(0.0, seconds)):
            raise Stopped

    @override
    def check(self) -> None:
        if self._stopped.is_set():
            raise Stopped

    @override
    def stop(self) -> None:
        self._stopped.set()
