"""Windows of time: how far back they may begin, how long they may be, and how long they had best be.

Requests are what is scarce (1,000 an hour), and every window ends in a page that is only partly full. So windows end
where they fill whole pages, judged by the rows seen so far: see :mod:`tap_hubstaff.windows.density`.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from tap_hubstaff.times import BEGINNING, DAY, HOUR
from tap_hubstaff.windows.density import Density
from tap_hubstaff.windows.window import SEARCH, Window, WindowSpec

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

RECOVERY = 16
"""Windows that have to go well before a length that was too much is tried again."""


class WindowPlan:
    """The windows of one partition, one after the other up to a given end.

    Used by one chain of requests, never by two threads at once.

    Args:
        spec: How the list is asked for a window.
        start: Where to begin; later where the vendor does not reach so far back.
        stop: Where to end.
        page: Rows in a full page.
    """

    def __init__(self, spec: WindowSpec, start: dt.datetime, stop: dt.datetime, page: int) -> None:
        self.spec = spec
        self.start = start
        self.stop = stop
        self._slot = DAY if spec.by_day else HOUR
        self._density = Density(page, DAY // self._slot)
        self._planned: Window | None = None
        self._most: dt.timedelta | None = None
        self._gone_well = 0
        self.kept_from: dt.datetime | None = None
        """The first day that the organization keeps, where that had to be found out."""

    def first(self, now: dt.datetime) -> Window:
        """The window to begin with."""
        return self._next(min(max(self.start, self.spec.earliest(now)), self.stop))

    def saw(self, window: Window, times: Sequence[dt.datetime | None]) -> None:
        """Take note of the times of the rows of a page, None where a row does not tell."""
        if window.page is None:
            self._density.begin()
        if None in times:
            self._density.give_up()
        self._density.saw((time - BEGINNING) // self._slot for time in times if time is not None)

    def onward(self, window: Window, page: str) -> Window:
        """The next page of a window, which may end earlier by what has been seen of it.

        What has been seen stays within it, so the list up to that page is the same for the API.
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
        """The window that follows one that has been read to its end, None after the last."""
        if window.stop >= self.stop:
            return None
        self._density.end(*self._slots(window))
        self._learn(window)
        return self._next(window.stop)

    def clamped(self, window: Window, now: dt.datetime) -> Window:
        """A window of an earlier run, less what the vendor no longer gives."""
        earliest = self.spec.earliest(now)
        if window.start >= earliest:
            return window
        return Window(min(earliest, self.stop), min(max(window.stop, earliest + self.spec.shortest), self.stop))

    def narrower(self, window: Window) -> Window | None:
        """What to ask for where a window was too much for one request, None where it is as short as can be."""
        return window.half(self.spec.shortest)

    # Where an organization keeps a list for a time of its own, the first day that it takes is found by bisection.

    def after_refusal(self, window: Window) -> Window | None:
        """What to ask for after a window whose beginning was refused; None where that cannot be for its age."""
        if not self.spec.is_kept_by_plan:
            return None
        if window.is_search:
            return None if window.stop == self.stop else self._search(self.probe(window).start, window.stop)
        return None if self.stop - window.start <= DAY else Window(window.start, self.stop, SEARCH)

    def after_acceptance(self, search: Window) -> Window:
        """What to ask for after a day that was not refused."""
        return self._search(search.start, self.probe(search).start)

    def probe(self, search: Window) -> Window:
        """The day to be tried next: the last one first, as something else may be wrong with the request."""
        days = 1 if search.stop == self.stop else search.length // DAY - search.length // DAY // 2
        return Window(search.stop - days * DAY, search.stop - (days - 1) * DAY)

    def _search(self, refused: dt.datetime, taken: dt.datetime) -> Window:
        if taken - refused > DAY:
            return Window(refused, taken, SEARCH)
        self.kept_from = taken
        return self._next(taken)

    def windows(self, now: dt.datetime) -> int:
        """How many windows there are at least."""
        length = self.stop - max(self.start, self.spec.earliest(now))
        return 1 if self.spec.longest is None else max(1, math.ceil(length / (self.spec.longest * DAY)))

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
        """The slots that are wholly within a window: the first, and the one after the last."""
        return -((BEGINNING - window.start) // self._slot), (window.stop - BEGINNING) // self._slot

    def _moment(self, slot: int) -> dt.datetime:
        return BEGINNING + slot * self._slot

    def _learn(self, window: Window) -> None:
        """Keep to a length that the API can give, and try more again when it has gone well for a while."""
        if self._planned is not None and window.start == self._planned.start and window.stop < self._planned.stop:
            self._most, self._gone_well = window.length, 0
        elif self._most is not None:
            self._gone_well += 1
            if self._gone_well >= RECOVERY:
                self._most, self._gone_well = 2 * self._most, 0
