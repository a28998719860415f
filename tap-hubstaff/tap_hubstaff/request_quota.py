"""The vendor's limit: 1,000 requests an hour and application, counted across runs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from singer_http.http.budget import MARGIN, Budget
from singer_http.http.errors import FatalError
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Mapping

    from singer_http.http.clock import Clock
    from singer_http.http.request_log import RequestLog

REQUESTS_PER_HOUR = 1000
"""The vendor's limit for each application."""
HOUR = 3600.0


class RequestQuotaReachedError(FatalError):
    """The quota is used up for longer than the run is to wait: it ends where it is, as it was told to."""


class HourlyBudget(Budget):
    """The requests of an hour, of all runs that share a log.

    Args:
        requests: How many there may be.
        clock: Measures and waits.
        log: Where they are counted.
        patience: The longest wait, in seconds.
    """

    def __init__(self, requests: int, clock: Clock, log: RequestLog, patience: float) -> None:
        super().__init__(requests, HOUR, clock, log)
        self._patience = patience

    @override
    def check_wait(self, seconds: float) -> None:
        if seconds > self._patience:
            minutes = math.ceil(seconds / 60)
            raise RequestQuotaReachedError(
                f"The request quota is used up: the next request could be sent in {minutes} min."
            )

    def heed(self, headers: Mapping[str, str], now: float, parallel: int) -> None:
        """Pause where the API says that fewer requests are left than may be under way at once.

        Args:
            headers: Of an answer.
            now: Seconds since 1970, by the API's clock.
            parallel: How many requests may be under way.
        """
        if (limit := limit_from_headers(headers, now)) is not None and limit[0] < parallel:
            # No longer than the period, and a little longer than said, as the budget counts it.
            self.pause(min(limit[1], HOUR) * (1 + MARGIN))


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
