"""A window of time, and what the vendor says of those of a list: how long they may be, how far back they begin."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace

from typing_extensions import override

from tap_hubstaff.times import BEGINNING, DAY, EAST, HOUR, iso, midnight, months_before, parse_iso

MARGIN = dt.timedelta(hours=1)
"""Kept from the end of what the vendor keeps: a request may wait so long for its turn."""
SHORTEST = HOUR
"""No window of times is halved to less than this."""
SEARCH = "?"
"""In the place of a page: the first day that an organization keeps is searched for in a window."""
MOST_USERS = 100
"""More are not named in one request, which would become too long."""


@dataclass(frozen=True, slots=True)
class WindowSpec:
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
