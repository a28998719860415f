"""Plans windows of time: where they begin, and how long they are.

Requests are scarce (1,000 an hour), and the last page of every window is only partly full. So a window ends where it
fills whole pages, judged by the rows seen so far: see :mod:`tap_hubstaff.windows.density`.
"""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import replace
from typing import TYPE_CHECKING

from tap_hubstaff.times import BEGINNING, DAY, HOUR
from tap_hubstaff.windows.density import Density
from tap_hubstaff.windows.window import MARGIN, SEARCH, Window, WindowSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

RECOVERY = 16
"""After so many windows without a failure, a longer one is tried again."""


class WindowPlan:
    """The windows of one partition, one after the other.

    One chain of requests uses it, never two threads at once.

    Args:
        spec: How the list is asked for a window.
        start: Where the first window begins, or later if the vendor keeps less.
        stop: Where the last one ends.
        page: Rows in a full page.
    """

    def __init__(self, spec: WindowSpec, start: dt.datetime, stop: dt.datetime, page: int) -> None:
        self.spec = spec
        self.start = start
        self.stop = stop
        self.rows = 0
        """How many rows were seen."""
        self.read = dt.timedelta()
        """How much was read to its end."""
        self._slot = DAY if spec.by_day else HOUR
        self._page = page
        self._density = Density(page, DAY // self._slot)
        self._first: Window | None = None
        self._planned: Window | None = None
        self._most: dt.timedelta | None = None
        self._gone_well = 0
        self.kept_from: dt.datetime | None = None
        """The first day that the organization keeps, if that was searched for."""

    def first(self, now: dt.datetime) -> Window:
        """The first window, which stays as it was when it was first asked for."""
        if self._first is None:
            self._first = self._next(min(max(self.start, self.spec.earliest(now)), self.stop))
        return self._first

    def saw(self, window: Window, times: Sequence[dt.datetime | None]) -> None:
        """Take note of the times of the rows of a page; None is a row without one."""
        if window.page is None:
            self._density.begin()
        if None in times:
            self._density.give_up()
        self.rows += len(times)
        self._density.saw((time - BEGINNING) // self._slot for time in times if time is not None)

    def onward(self, window: Window, page: str) -> Window:
        """The next page of a window, whose end may move closer.

        It never moves before a row that was seen, so the list up to that page stays the same for the API.
        """
        stop = window.stop
        if self.spec.longest is not None:
            first, last = self._slots(window)
            earlier = self._density.earlier_stop(first, last)
            stop = self._moment(earlier) if earlier < last else stop
        if self._planned is not None and self._planned.stop == window.stop:
            self._planned = replace(self._planned, stop=stop)
        return Window(window.start, stop, page)

    def after(self, window: Window) -> Window | None:
        """The window after one that was read to its end; None after the last."""
        self.read += window.length
        if window.stop >= self.stop:
            return None
        self._density.end(*self._slots(window))
        self._learn(window)
        return self._next(window.stop)

    def clamped(self, window: Window, now: dt.datetime) -> Window:
        """A window of an earlier run, without what the vendor no longer gives."""
        earliest = self.spec.earliest(now)
        if window.start >= earliest:
            return window
        return Window(min(earliest, self.stop), min(max(window.stop, earliest + self.spec.shortest), self.stop))

    def narrower(self, window: Window) -> Window | None:
        """A shorter window, after one that was too large for a request; None if none is shorter."""
        return window.half(self.spec.shortest)

    # Where each organization keeps a list for its own time, bisection finds the first day that the API accepts.

    def after_refusal(self, window: Window, now: dt.datetime) -> Window | None:
        """What to ask for after a window that was refused; None where its age cannot be the reason."""
        if not self.spec.is_kept_by_plan:
            # A request may have to wait for hours. What the vendor keeps moves on meanwhile.
            is_outrun = window.start < self.spec.earliest(now) - MARGIN
            return replace(self.clamped(window, now), page=window.page) if is_outrun else None
        if window.is_search:
            return None if window.stop == self.stop else self._search(self.probe(window).start, window.stop)
        return None if self.stop - window.start <= DAY else Window(window.start, self.stop, SEARCH)

    def after_acceptance(self, search: Window) -> Window:
        """What to ask for after a day that was accepted."""
        return self._search(search.start, self.probe(search).start)

    def probe(self, search: Window) -> Window:
        """The day to try next. The last day comes first: something else may be wrong with the request."""
        days = 1 if search.stop == self.stop else search.length // DAY - search.length // DAY // 2
        return Window(search.stop - days * DAY, search.stop - (days - 1) * DAY)

    def _search(self, refused: dt.datetime, accepted: dt.datetime) -> Window:
        if accepted - refused > DAY:
            return Window(refused, accepted, SEARCH)
        self.kept_from = accepted
        return self._next(accepted)

    def requests(self, now: dt.datetime, rows: int, seconds: int) -> int:
        """About how many requests there will be: at least one a window, and one a full page.

        Args:
            now: The time.
            rows: So many rows are expected ...
            seconds: ... in so much time.
        """
        length = self.stop - max(self.start, self.spec.earliest(now))
        windows = 1 if self.spec.longest is None else length / (self.spec.longest * DAY)
        pages = rows / self._page * length.total_seconds() / max(1, seconds)
        return max(1, math.ceil(windows), math.ceil(pages))

    def _next(self, start: dt.datetime) -> Window:
        lengths = [self.stop - start]
        if self.spec.longest is not None:
            lengths.append(self.spec.longest * DAY)
        if self._most is not None:
            lengths.append(self._most)
        whole = Window(start, start + min(lengths))
        if self.spec.longest is None:
            self._planned = whole
            return whole
        first, last = self._slots(whole)
        best = self._density.stop(first, last)
        self._planned = replace(whole, stop=self._moment(best)) if best < last else whole
        return self._planned

    def _slots(self, window: Window) -> tuple[int, int]:
        """The slots that lie wholly within a window: the first, and the one after the last."""
        return -((BEGINNING - window.start) // self._slot), (window.stop - BEGINNING) // self._slot

    def _moment(self, slot: int) -> dt.datetime:
        return BEGINNING + slot * self._slot

    def _learn(self, window: Window) -> None:
        """Keep to a length that the API can give; after :data:`RECOVERY` windows try a longer one."""
        if self._planned is not None and window.start == self._planned.start and window.stop < self._planned.stop:
            self._most, self._gone_well = window.length, 0
        elif self._most is not None:
            self._gone_well += 1
            if self._gone_well >= RECOVERY:
                self._most, self._gone_well = 2 * self._most, 0
