"""What the streams of a tap share in a run: the session, the writer, and what is reported."""

from __future__ import annotations

import logging
from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING

from singer_http.reading.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from singer_http.http.clock import Clock
    from singer_http.http.errors import ApiError
    from singer_http.http.session import Session
    from singer_http.output import BufferedWriter
    from singer_http.reading.pages import Page, Slice
    from singer_http.report.progress import Partitions
    from singer_http.report.reporter import Reporter
    from singer_http.report.tally import Tally

logger = logging.getLogger(__name__)

STATE_SHARE = 1 / 20  # of all that is written, STATE messages may come to this share ...
STATE_INTERVAL = 5.0  # ... but one goes out after so many seconds, in a run that waits more than it writes ...
STATE_RATE = 20_000.0  # ... unless they then came to more than so many bytes a second


class Run:
    """What a tap gives to its streams: a clock, a writer, and a session that is opened when it is first needed.

    Attributes:
        reporter: Follows the run for its report.
        reader: Reads the streams ahead of the writer; None where a stream is read on its own.
        stream: The name of the stream that is being read, empty before the first.
        failures: What could not be read, each with its reason.
    """

    def __init__(
        self, open_session: Callable[[], Session], clock: Clock, writer: BufferedWriter, reporter: Reporter
    ) -> None:
        self._open_session = open_session
        self.clock = clock
        self.writer = writer
        self.reporter = reporter
        writer.on_written = reporter.written
        self.reader: Reader | None = None
        self.stream = ""
        self.failures: list[tuple[str, ApiError]] = []
        self._state_written = 0
        self._state_time = 0.0

    @cached_property
    def session(self) -> Session:
        """The one session of all streams."""
        return self._open_session()

    def counted(self) -> tuple[Counter[str], Counter[str]]:
        """How many requests were sent, and how many were answered with HTTP 429, by label."""
        session: Session | None = self.__dict__.get("session")  # if it was opened
        return (session.requests, session.throttled) if session else (Counter(), Counter())

    def read_ahead(self, slices: Iterable[Slice], *, parallel: int, predict: bool) -> None:
        """Have slices read ahead of the writer."""
        self.reader = Reader(self.session, slices, parallel=parallel, predict=predict, on_idle=self.writer.flush)

    def report(self, label: str, failure: ApiError) -> None:
        """Take note of what could not be done; the run goes on."""
        logger.warning("%s: not %s, the rest goes on. %s", label, failure.not_done, failure)
        self.failures.append((label, failure))

    def note_page(self, tally: Tally, slice_: Slice, page: Page, partitions: Callable[[], Partitions]) -> None:
        """Note that a page was sent, and say every minute how far its stream has come."""
        tally.page(slice_, page)
        self.reporter.tell_progress(tally, partitions, self.session, is_in_turn=slice_.interleave == 1)

    def is_due(self) -> bool:
        """Whether a STATE is worth its size now: all of them together stay a small share of the output."""
        written = self.writer.written - self._state_written
        waited = self.clock.monotonic() - self._state_time
        size = len(self.writer.state)
        if written * STATE_SHARE < size and waited < max(STATE_INTERVAL, size / STATE_RATE):
            return False
        self._state_written = self.writer.written
        self._state_time = self.clock.monotonic()
        return True

    def close(self) -> None:
        """Stop fetching, and close the session."""
        self.clock.stop()
        if self.reader is not None:
            self.reader.close()
            found = self.reader.predictions
            logger.info("Predicted pages: %d used, %d fetched for nothing.", found.hits, found.misses)
        self.session.close()
