"""The vendor's limit: 1,000 requests an hour and application, counted across runs."""

from __future__ import annotations

import contextlib
import logging
import math
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pyrate_limiter import Rate, RateItem, SQLiteBucket
from singer_http.http.budget import MARGIN, Budget
from singer_http.http.errors import FatalError
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Mapping

    from singer_http.http.clock import Clock

logger = logging.getLogger(__name__)

REQUESTS_PER_HOUR = 1000
"""The vendor's limit for each application."""
HOUR = 3600.0
CLOCKS_APART = 60
"""Seconds by which the clocks of machines that share the log may differ: what is of later is of no time at all."""
COUNT_INTERVAL = 1.0
"""Seconds after which the log is counted anew: that takes its file, and its lock."""


class RequestQuotaReachedError(FatalError):
    """The quota is used up for longer than the run is to wait: it ends where it is, as it was told to."""


class RequestLog(SQLiteBucket):
    """The times of the requests of the last hour, by the machine's clock, in a file that runs share."""

    @classmethod
    def opened(cls, path: Path, rate: Rate) -> RequestLog:
        """Open the log; one that is damaged is put aside, and begun anew.

        Raises:
            OSError: There can be none.
            sqlite3.Error: Likewise.
        """
        with contextlib.suppress(sqlite3.DatabaseError):
            log = cls._begun(path, rate)
            if log.conn.execute("PRAGMA quick_check").fetchone() == ("ok",):
                return log
            log.conn.close()
        logger.warning(
            "%s is damaged: it is put aside, and what was sent in the last hour is not counted. Hubstaff may refuse"
            " requests for a while.",
            path,
        )
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                Path(f"{path}{suffix}").replace(f"{path}.damaged{suffix}")
        return cls._begun(path, rate)

    @classmethod
    def _begun(cls, path: Path, rate: Rate) -> RequestLog:
        path.touch(mode=0o600)  # as what SQLite then puts beside it
        path.chmod(0o600)
        return cast("RequestLog", cls.init_from_file([rate], db_path=str(path), use_file_lock=True))

    @override
    def put(self, item: RateItem) -> bool:
        # Written before the clock was put back: such a time would count for longer than its hour.
        with self.lock:
            future = item.timestamp + CLOCKS_APART * 1000
            self.conn.execute(f"DELETE FROM '{self.table}' WHERE item_timestamp > ?", (future,)).close()  # noqa: S608
            self.conn.commit()
            return super().put(item)


class HourlyBudget(Budget):
    """The requests of an hour, of all runs that share a log.

    Args:
        requests: How many there may be.
        clock: Measures and waits.
        path: Of the log.
        patience: The longest wait, in seconds.

    Raises:
        OSError: There can be no log.
        sqlite3.Error: Likewise.
    """

    def __init__(self, requests: int, clock: Clock, path: Path, patience: float) -> None:
        super().__init__(requests, HOUR, clock)
        self._log = RequestLog.opened(path, Rate(requests, int(HOUR * 1000 * (1 + MARGIN))))
        self._patience = patience
        self._left = 0
        self._counted_at = -math.inf

    @property
    @override
    def left(self) -> int:
        if (now := self._clock.monotonic()) >= self._counted_at + COUNT_INTERVAL:
            self._log.leak(self._time())
            self._counted_at, self._left = now, max(0, self.requests - self._log.count())
        return 0 if self.paused_for else self._left

    def heed(self, headers: Mapping[str, str], now: float, parallel: int) -> None:
        """Pause where the API says that fewer requests are left than may be under way at once.

        Args:
            headers: Of an answer.
            now: Seconds since 1970, by the API's clock.
            parallel: How many requests may be under way.
        """
        if (told := limit_from_headers(headers, now)) is not None and told[0] < parallel:
            # As for the window: no longer than that, and a little longer than said.
            self.pause(min(told[1], HOUR) * (1 + MARGIN))

    @override
    def _try_spend(self, now: float) -> float:
        """Spend a request if one is left, and give 0; otherwise give the seconds after which to try again.

        Raises:
            RequestQuotaReachedError: They are more than the budget's patience.
        """
        item, wait = RateItem("request", self._time()), self.paused_for
        if not wait and not self._log.put(item):
            # The log counts whole milliseconds: one more is needed to be past the window for certain.
            wait = (cast("int", self._log.waiting(item)) + 1) / 1000
        if not wait:
            self._left = max(0, self._left - 1)
        elif wait > self._patience:
            minutes = math.ceil(wait / 60)
            raise RequestQuotaReachedError(
                f"The request quota is used up: the next request could be sent in {minutes} min."
            )
        return wait

    # Other runs share the log: what is in it stays as it is.

    @override
    def give_back(self, spent: float) -> None:
        pass

    @override
    def shift_to_arrival(self, spent: float, seconds: float) -> None:
        pass

    @override
    def close(self) -> None:
        self._log.close()  # type: ignore[no-untyped-call]

    def _time(self) -> int:
        """Milliseconds, by the clock that the log is kept by."""
        # The only clock that processes share, and runs.
        return int(self._clock.time() * 1000)


def limit_from_headers(headers: Mapping[str, str], now: float) -> tuple[int, float] | None:
    """How many requests are left by ``X-Rate-Limit-*``, and for how many seconds; None where that is not said.

    Hubstaff documents no such headers: that ``Reset`` is in seconds from now, or a time in seconds since 1970, is what
    others mean by them.
    """
    try:
        left, reset = int(headers["X-Rate-Limit-Remaining"]), float(headers["X-Rate-Limit-Reset"])
    except (KeyError, ValueError):
        return None
    seconds = reset - now if reset > now / 2 else reset
    return (left, seconds) if left >= 0 and 0 <= seconds < math.inf else None
