"""A window of time, and the vendor's limits for the windows of a list."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace

from typing_extensions import override

from tap_hubstaff.times import BEGINNING, DAY, EAST, HOUR, iso, midnight, months_before, parse_iso

MARGIN = dt.timedelta(hours=1)
"""Windows begin so much later than the vendor's limit: most requests wait less for their turn."""
SHORTEST = HOUR
"""No window of times is halved below this."""
SEARCH = "?"
"""Stands for a page while the first day that an organization keeps is searched for."""
MOST_USERS = 100
"""One request names no more users: it would become too long."""


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """How a list is asked for a window, and the vendor's limits.

    Attributes:
        name: The parameters are ``name[start]`` and ``name[stop]``.
        field: The property of the rows that they select by.
        longest: The most days of a window; None where the vendor names no limit: one window then holds everything.
        months: How many months back the list reaches; None where it keeps everything.
        days: The same in days, where the vendor counts days.
        by_day: Whether it takes days of the organization, the last one included, instead of times.
        is_kept_by_plan: Whether each organization keeps it for its own time, and refuses windows that begin earlier.
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
        """No window is halved below this."""
        return DAY if self.by_day else SHORTEST

    def earliest(self, now: dt.datetime) -> dt.datetime:
        """The first moment or midnight that the vendor still gives."""
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
    """A stretch of time, and where to continue in its rows.

    Attributes:
        start: Its first moment.
        stop: Its end, exclusive.
        page: The ``page_start_id`` to continue with; None for the beginning; :data:`SEARCH` for a search.
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
            ValueError: The text is no window.
        """
        start, stop, *page = text.split("/")
        return cls(parse_iso(start), parse_iso(stop), page[0] if page else None)

    @property
    def is_search(self) -> bool:
        """Whether the first kept day is searched for in it: the API refuses its start and accepts its end."""
        return self.page == SEARCH

    @property
    def length(self) -> dt.timedelta:
        """How long it is."""
        return self.stop - self.start

    def half(self, shortest: dt.timedelta) -> Window | None:
        """Its first half, or as much as the shortest window; None if it is no longer than that."""
        half = self.length // DAY // 2 * DAY if self.length >= 2 * DAY else self.length // 2
        return replace(self, stop=self.start + max(half, shortest)) if self.length > shortest else None
