"""Windows of time: how far back they may begin, how long they may be, and how long they had best be.

Requests are what is scarce (1,000 an hour), and every window ends in a page that is only partly full. So windows end
where they fill whole pages, judged by the rows seen so far: see :mod:`tap_hubstaff.density`.
"""

from __future__ import annotations

import calendar
import datetime as dt
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from typing_extensions import override

from tap_hubstaff.density import Density

if TYPE_CHECKING:
    from collections.abc import Sequence

HOUR = dt.timedelta(hours=1)
DAY = dt.timedelta(days=1)
BEGINNING = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
EAST = dt.timedelta(hours=14)
"""The first time zone to begin a day; the API does not tell which one an organization's days are of."""
WEST = dt.timedelta(hours=12)
"""The last time zone to begin a day."""
MARGIN = dt.timedelta(hours=1)
"""Kept from the end of what the vendor keeps: a request may wait so long for its turn."""
SHORTEST = HOUR
"""No window of times is halved to less than this."""
SEARCH = "?"
"""In the place of a page: the first day that an organization keeps is searched for in a window."""
MOST_USERS = 100
"""More are not named in one request, which would become too long."""
RECOVERY = 16
"""Windows that have to go well before a length that was too much is tried again."""


def iso(moment: dt.datetime) -> str:
    """A time as the API reads it: UTC, whole seconds."""
    return moment.astimezone(dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_iso(text: str) -> dt.datetime:
    """Read a date or a time in ISO 8601; UTC where it does not say.

    Raises:
        ValueError: It is neither.
    """
    moment = dt.datetime.fromisoformat(f"{text[:-1]}+00:00" if text.endswith("Z") else text)
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.timezone.utc)


def midnight(moment: dt.datetime) -> dt.datetime:
    """The beginning of a moment's day, in UTC."""
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


@dataclass(frozen=True, slots=True)
class Filter:
    """The parameters that a list takes a window by, and what the vendor says of it.

    Attributes:
        name: The parameters are ``name[start]`` and ``name[stop]``.
        field: The property that they select by.
        longest: Days that a window may have; None where the vendor names no limit, so that one window holds all.
        months: How many months the list reaches back; None where it keeps everything.
        days: How many days it reaches back, where that is said in days.
        by_day: Whether it takes days of the organization, the last one included, and not times.
        is_kept_by_plan: Whether each organization keeps it for a time of its own, and refuses what begins before.
    """

    name: str
    field: str
    longest: int | None
    months: int | None = None
    days: int | None = None
    by_day: bool = False
    is_kept_by_plan: bool = False

    @property
    def shortest(self) -> dt.timedelta:
        """What no window is halved below."""
        return DAY if self.by_day else SHORTEST

    def earliest(self, now: dt.datetime) -> dt.datetime:
        """The first moment, or midnight, that the vendor still gives."""
        if self.days is not None:
            return now - dt.timedelta(days=self.days) + MARGIN
        if self.months is None:
            return BEGINNING
        if self.by_day:
            return months_before(midnight(now + EAST), self.months)
        return months_before(now, self.months) + MARGIN

    def params(self, window: Window) -> dict[str, str | int]:
        """The parameters that ask for a window."""
        if self.by_day:
            first, last = window.start.date(), (window.stop - DAY).date()
            return {f"{self.name}[start]": first.isoformat(), f"{self.name}[stop]": last.isoformat()}
        return {f"{self.name}[start]": iso(window.start), f"{self.name}[stop]": iso(window.stop)}


def months_before(moment: dt.datetime, months: int) -> dt.datetime:
    """The same day of the month so many months earlier, or the last one of that month."""
    years, month = divmod(moment.year * 12 + moment.month - 1 - months, 12)
    last = calendar.monthrange(years, month + 1)[1]
    return moment.replace(year=years, month=month + 1, day=min(moment.day, last))


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time, and where in its list of rows to go on.

    Attributes:
        start: Its beginning.
        stop: Its end, which is no part of it.
        page: The ``page_start_id`` to go on with, None for the beginning of the list; or :data:`SEARCH`.
    """

    start: dt.datetime
    stop: dt.datetime
    page: str | None = None

    @override
    def __str__(self) -> str:
        page = "" if self.page is None else f"/{self.page}"
        return f"{iso(self.start)}/{iso(self.stop)}{page}"

    @classmethod
    def parse(cls, text: str) -> Window:
        """Read what ``str`` wrote.

        Raises:
            ValueError: It is no window.
        """
        start, stop, *page = text.split("/")
        return cls(parse_iso(start), parse_iso(stop), page[0] if page else None)

    @property
    def is_search(self) -> bool:
        """Whether it is no window, but where the first day is searched for: its start is refused, its end is not."""
        return self.page == SEARCH

    @property
    def length(self) -> dt.timedelta:
        """How long it is."""
        return self.stop - self.start

    def half(self, shortest: dt.timedelta) -> Window | None:
        """Its first half, None where that would be too short."""
        if self.length >= 2 * DAY:
            return replace(self, stop=self.start + self.length // DAY // 2 * DAY)
        half = self.length // 2
        return replace(self, stop=self.start + half) if half >= shortest else None


class Plan:
    """The windows of one partition, one after the other up to a given end.

    Used by one chain of requests, never by two threads at once.

    Args:
        by: How the list is asked for a window.
        start: Where to begin; later where the vendor does not reach so far back.
        stop: Where to end.
        page: Rows in a full page.
    """

    def __init__(self, by: Filter, start: dt.datetime, stop: dt.datetime, page: int) -> None:
        self.by = by
        self.start = start
        self.stop = stop
        self._slot = DAY if by.by_day else HOUR
        self._density = Density(page, DAY // self._slot)
        self._planned: Window | None = None
        self._most: dt.timedelta | None = None
        self._gone_well = 0
        self.kept_from: dt.datetime | None = None
        """The first day that the organization keeps, where that had to be found out."""

    def first(self, now: dt.datetime) -> Window:
        """The window to begin with."""
        return self._next(min(max(self.start, self.by.earliest(now)), self.stop))

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
        if self.by.longest is not None:
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
        earliest = self.by.earliest(now)
        if window.start >= earliest:
            return window
        return Window(min(earliest, self.stop), min(max(window.stop, earliest + self.by.shortest), self.stop))

    def narrower(self, window: Window) -> Window | None:
        """What to ask for where a window was too much for one request, None where it is as short as can be."""
        return window.half(self.by.shortest)

    # Where an organization keeps a list for a time of its own, the first day that it takes is found by bisection.

    def after_refusal(self, window: Window) -> Window | None:
        """What to ask for after a window whose beginning was refused; None where that cannot be for its age."""
        if not self.by.is_kept_by_plan:
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
        length = self.stop - max(self.start, self.by.earliest(now))
        return 1 if self.by.longest is None else max(1, math.ceil(length / (self.by.longest * DAY)))

    def _next(self, start: dt.datetime) -> Window:
        lengths = [self.stop - start]
        if self.by.longest is not None:
            lengths.append(self.by.longest * DAY)
        if self._most is not None:
            lengths.append(self._most)
        whole = Window(start, start + min(lengths))
        if self.by.longest is None:
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
