"""Windows of time: how far back they may begin, how long they may be, and how long they had best be.

Requests are what is scarce (1,000 an hour), and every window ends in a page that is only partly full. So the next
window of a list is made as long as fills whole pages, judged by the rows a day seen so far.
"""

from __future__ import annotations

import calendar
import datetime as dt
import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterable

DAY = dt.timedelta(days=1)
BEGINNING = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
EAST = dt.timedelta(hours=14)
"""The first time zone to begin a day; the API does not tell which one an organization's days are of."""
WEST = dt.timedelta(hours=12)
"""The last time zone to begin a day."""
MARGIN = dt.timedelta(hours=1)
"""Kept from the end of what the vendor keeps: a request may wait so long for its turn."""
SHORTEST = dt.timedelta(hours=1)
"""No window of times is halved to less than this."""
KNOWN_DAYS = 7
"""Days seen before the length of a window is judged by them: a week has days without work."""
REMEMBERED_WEEKS = 5
"""Weeks whose days are judged by."""
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
        longest: Days that a window may have, None for a list that is read from ``start`` on at once.
        months: How many months the list reaches back; None where it keeps everything.
        days: How many days it reaches back, where that is said in days.
        by_day: Whether it takes days of the organization, the last one included, and not times.
    """

    name: str
    field: str
    longest: int | None
    months: int | None = None
    days: int | None = None
    by_day: bool = False

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
        if self.longest is None:
            # "From then on": up to now, which needs no saying.
            return {} if window.start <= BEGINNING else {f"{self.name}[start]": iso(window.start)}
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
        page: The ``page_start_id`` to go on with, None for the beginning of the list.
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
    def length(self) -> dt.timedelta:
        """How long it is."""
        return self.stop - self.start

    def half(self, shortest: dt.timedelta) -> Window | None:
        """Its first half, None where that would be too short."""
        if self.length >= 2 * DAY:
            return replace(self, stop=self.start + self.length // DAY // 2 * DAY)
        half = self.length // 2
        return replace(self, stop=self.start + half) if half >= shortest else None


@dataclass(slots=True)
class Density:
    """Rows a day, by the day of the week, as far as they have been seen.

    Args:
        page: Rows in a full page.
    """

    page: int
    _rows: dict[dt.date, int] = field(default_factory=dict)

    def saw(self, window: Window, days: Iterable[dt.date]) -> None:
        """Take note of the days of rows of a window; its days without any count too."""
        day = window.start.date()
        while day < window.stop.date():
            self._rows.setdefault(day, 0)
            day += DAY
        for row in days:
            if row in self._rows:
                self._rows[row] += 1

    def best_length(self, start: dt.datetime, longest: int) -> int:
        """The days, up to so many, that cost the fewest requests for the rows that they bring."""
        if len(self._rows) < KNOWN_DAYS:
            return longest
        means, spread = self._judged()
        best, least = longest, math.inf
        rows = variance = 0.0
        for length in range(1, longest + 1):
            mean = means[(start + (length - 1) * DAY).weekday()]
            rows += mean
            # No day is more regular than chance (Poisson) would make it.
            variance += max(spread * mean * mean, mean)
            waste = (_pages(rows, math.sqrt(variance), self.page) - rows / self.page) / length
            if waste <= least:
                best, least = length, waste
        return best

    def _judged(self) -> tuple[list[float], float]:
        """The mean of each day of the week, and the mean square of how far, in shares of it, days are from theirs."""
        newest = max(self._rows)
        lately = {day: rows for day, rows in self._rows.items() if (newest - day).days < 7 * REMEMBERED_WEEKS}
        by_weekday: list[list[int]] = [[] for _ in range(7)]
        for day, rows in lately.items():
            by_weekday[day.weekday()].append(rows)
        overall = sum(lately.values()) / len(lately)
        means = [sum(rows) / len(rows) if rows else overall for rows in by_weekday]
        shares = [
            (row / mean - 1) ** 2 * len(rows) / (len(rows) - 1)
            for rows, mean in zip(by_weekday, means, strict=True)
            if mean > 0 and len(rows) > 1
            for row in rows
        ]
        return means, sum(shares) / len(shares) if shares else 0.0


def _pages(rows: float, deviation: float, page: int) -> float:
    """Requests to be expected for so many rows, normally distributed; one even for none."""
    pages, full = 1.0, page
    while full < rows + 4 * deviation + 1:
        pages += 0.5 * math.erfc((full - rows) / (deviation * math.sqrt(2))) if deviation else float(rows > full)
        full += page
    return pages


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
        self._density = Density(page)
        self._planned: Window | None = None
        self._most: dt.timedelta | None = None
        self._gone_well = 0

    def first(self, now: dt.datetime) -> Window:
        """The window to begin with."""
        return self._next(min(max(self.start, self.by.earliest(now)), self.stop))

    def after(self, window: Window) -> Window | None:
        """The window that follows one that has been read to its end, None after the last."""
        if window.stop >= self.stop:
            return None
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
        return None if self.by.longest is None else window.half(self.by.shortest)

    def saw(self, window: Window, days: Iterable[dt.date]) -> None:
        """Take note of the rows of a page."""
        self._density.saw(window, days)

    def windows(self, now: dt.datetime) -> int:
        """How many windows there are at least."""
        length = self.stop - max(self.start, self.by.earliest(now))
        return 1 if self.by.longest is None else max(1, math.ceil(length / (self.by.longest * DAY)))

    def _next(self, start: dt.datetime) -> Window:
        if self.by.longest is None:
            return Window(start, self.stop)
        days = min(self.by.longest, max(1, math.ceil((self.stop - start) / DAY)))
        length = self._density.best_length(start, days) * DAY
        if self._most is not None:
            length = min(length, self._most)
        stop = start + length
        if start < midnight(stop) < stop < self.stop:
            stop = midnight(stop)  # so that the windows after it are of whole days, whose rows are known
        self._planned = Window(start, min(stop, self.stop))
        return self._planned

    def _learn(self, window: Window) -> None:
        """Keep to a length that the API can give, and try more again when it has gone well for a while."""
        if self._planned is not None and window.start == self._planned.start and window.stop < self._planned.stop:
            self._most, self._gone_well = window.length, 0
        elif self._most is not None:
            self._gone_well += 1
            if self._gone_well >= RECOVERY:
                self._most, self._gone_well = 2 * self._most, 0
