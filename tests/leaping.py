"""A clock on which waiting takes no time, and nothing but waiting takes any."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from singer_http.http.clock import Clock, Stopped
from typing_extensions import override

if TYPE_CHECKING:
    from singer_http.http.session import Session


class LeapingClock(Clock):
    """Time that leaps when somebody sleeps, and only when no request is under way: as if requests took none of it.

    Args:
        now: What it begins with.
    """

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now
        self.slept: list[float] = []
        """Every sleep that was asked for."""
        self._under_way = 0
        self._lock = threading.Lock()
        self._is_stopped = False

    def watch(self, session: Session) -> Session:
        """Know of a session's requests, from when they are counted to when their answers are taken note of."""
        budget = session.budget
        reserve, timed = budget._reserve, session._timed

        def spend(mine: float | None) -> tuple[float, float]:
            # Within the budget's turn: the next one who sleeps for a turn knows of this request.
            slot, wait = reserve(mine)
            if not wait:
                self._count(1)
            return slot, wait

        def send(*args: Any) -> Any:
            try:
                return timed(*args)
            finally:
                self._count(-1)

        budget._reserve = spend  # type: ignore[method-assign]
        session._timed = send  # type: ignore[assignment,method-assign]
        return session

    @override
    def monotonic(self) -> float:
        return self.now

    @override
    def time(self) -> float:
        return self.now

    @override
    def sleep(self, seconds: float) -> None:
        while True:
            self.check()
            with self._lock:
                if not self._under_way:
                    self.slept.append(seconds)
                    self.leap(max(0.0, seconds))
                    return
            time.sleep(0.001)

    def leap(self, seconds: float) -> None:
        """Go on; to be called by nobody but the clock itself."""
        self.now += seconds

    @override
    def check(self) -> None:
        if self._is_stopped:
            raise Stopped

    @override
    def stop(self) -> None:
        self._is_stopped = True

    def _count(self, more: int) -> None:
        with self._lock:
            self._under_way += more
