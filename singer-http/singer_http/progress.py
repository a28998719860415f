"""A line every few seconds on how far the running stream has got, for whoever watches the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging

    from singer_http.http.session import Session

INTERVAL = 5.0
"""Seconds between two lines."""


class Progress:
    """Counts what the running stream has written, and says so now and then."""

    def __init__(self, session: Session, logger: logging.Logger) -> None:
        self.stream = ""
        """The running stream, empty before the first."""
        self._session = session
        self._logger = logger
        self._records = self._pages = 0
        self._said_at = session.clock.monotonic()
        self._said_requests = session.requests.total()

    def begin(self, stream: str) -> None:
        """A stream is being read from now on."""
        self.stream = stream
        self._records = self._pages = 0

    def page(self, records: int) -> None:
        """One more page has been written."""
        self._records += records
        self._pages += 1
        self.tick()

    def tick(self) -> None:
        """Say a line if it is time for one."""
        now = self._session.clock.monotonic()
        if not self.stream or now - self._said_at < INTERVAL:
            return
        requests, budget = self._session.requests.total(), self._session.budget
        pause = budget.paused_for
        self._logger.info(
            "%s: %s records in %d pages; %.1f requests/s of at most %.1f; %s.",
            self.stream,
            f"{self._records:,}",
            self._pages,
            (requests - self._said_requests) / (now - self._said_at),
            budget.per_second,
            f"waiting {pause:.0f} s for the rate limit" if pause else "not held up by the rate limit",
        )
        self._said_at, self._said_requests = now, requests
