"""The rows of a list that are to be expected in a stretch of time, and where a window had best end by them.

Every window ends in a page that is only partly full. What a window costs is its requests for each row that it brings:
too short, its one page is half empty; a few rows too long, it takes a page more for them.

- Rows of each hour of the week (each day, for lists that are asked by day) are expected by an exponentially smoothed
  rate: ``rate += ALPHA * (rows - rate)``, and by the plain mean until there are 1 / ALPHA observations.
- Arrivals are taken for a Poisson process: where ``mean`` rows are expected, ``mean + K * sqrt(mean)`` may come.

Time is counted in slots here: hours, or days.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

WEEK = 7
ALPHA = 0.2
"""What a new observation counts for: about the last five weeks are judged by."""
K = 2.0
"""Standard deviations that a window leaves room for."""
MOST_PAGES = 20
"""A window that has brought so many ends where it has come to: work sessions hold the rows of a window in memory."""
LAST_ROWS = 20
"""Rows at the end of a page by which it is told how far the page reaches: some rows come late, few come early."""


@dataclass(slots=True)
class Density:
    """The rows of one list.

    Args:
        page: Rows in a full page.
        slots: Slots in a day.
    """

    page: int
    slots: int
    _rates: dict[int, float] = field(default_factory=dict)
    _observations: Counter[int] = field(default_factory=Counter)
    _window: list[int] | None = None

    def begin(self) -> None:
        """A window is read from its first page on."""
        self._window = []

    def saw(self, rows: Iterable[int]) -> None:
        """Take note of the slots of the rows of a page, in the API's order."""
        if self._window is not None:
            self._window += rows

    def give_up(self) -> None:
        """The rows of this window cannot be told the time of."""
        self._window = None

    def end(self, start: int, stop: int) -> None:
        """The window from one slot to another has been read to its end."""
        if self._window is None:
            return  # its first pages were an earlier run's
        found = Counter(self._window)
        for slot in range(start, stop):
            place = slot % (WEEK * self.slots)
            self._observations[place] += 1
            rate = self._rates.get(place, 0.0)
            self._rates[place] = rate + max(ALPHA, 1 / self._observations[place]) * (found[slot] - rate)
        self._window = None

    def stop(self, start: int, latest: int) -> int:
        """Where a window from a slot on had best end.

        Of a window that takes several pages, only the last is uncertain, and the ones before it tell more.
        """
        stop, pages = self._best(start, start, latest, seen=0, there=0)
        return stop if pages == 1 else latest

    def earlier_stop(self, start: int, stop: int) -> int:
        """Where the window that is being read had best end, by what its pages tell so far.

        Never before the end of what was seen of it: that would be read twice.
        """
        if not self._window:
            return stop
        if len(self._window) >= MOST_PAGES * self.page:
            return max(self._window) + 1
        # Before this slot all but a few have come; from it on, as many are missing as are expected and not there yet.
        lately = sorted(self._window[-LAST_ROWS:])
        reached = max(start, lately[len(lately) // 4])
        there = sum(slot >= reached for slot in self._window)
        return self._best(reached, max(self._window) + 1, stop, seen=len(self._window), there=there)[0]

    def _best(self, reached: int, earliest: int, latest: int, *, seen: int, there: int) -> tuple[int, int]:
        """The end with the fewest requests a row, and the pages that are to come up to there.

        Args:
            reached: From this slot on rows are to be expected ...
            earliest: ... and after this one the window may end ...
            latest: ... but not after this one.
            seen: Rows that the window has brought so far.
            there: How many of them are of ``reached`` and later.
        """
        mean, best, fewest = 0.0, (latest, 0), math.inf
        for slot in range(reached, latest):
            rate = self._rates.get(slot % (WEEK * self.slots))
            if rate is None:
                return latest, 0
            mean += rate
            rest = max(1e-9, mean - there)
            # One page is uncertain at most: before the one after it is asked for, this is judged again.
            deviation = math.sqrt(min(rest, self.page))
            pages = math.ceil((rest + K * deviation) / self.page)
            cost = (seen / self.page + pages) / (seen + rest)
            if slot >= earliest and cost <= fewest:
                best, fewest = (slot + 1, pages), cost
        return best
