"""Expects how many rows a list has in a stretch of time, and tells where a window should end.

The last page of every window is only partly full. A window costs its requests for each row that it brings: if it is
too short, its only page is half empty; if it is a few rows too long, they take one more page.

- Exponential smoothing expects the rows of each hour of the week (each weekday, for lists that are asked by day):
  ``rate += ALPHA * (rows - rate)``; the first 1 / ALPHA observations count as a plain mean.
- Arrivals are a Poisson process: where ``mean`` rows are expected, ``mean + K * sqrt(mean)`` may come.

Time is counted in slots: hours or days.
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
"""The weight of a new observation: about the last five weeks count."""
K = 2.0
"""A window leaves room for so many standard deviations."""
MOST_PAGES = 20
"""A window ends after so many full pages: work sessions hold the rows of a window in memory."""
LAST_ROWS = 20
"""So many rows at the end of a page tell how far it reaches: some rows come late, few come early."""


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
        """A window is read from its first page."""
        self._window = []

    def saw(self, rows: Iterable[int]) -> None:
        """Take note of the slots of the rows of a page, in the API's order."""
        if self._window is not None:
            self._window += rows

    def give_up(self) -> None:
        """Learn nothing from this window: its rows do not tell their times."""
        self._window = None

    def end(self, start: int, stop: int) -> None:
        """The window between two slots was read to its end."""
        if self._window is None:
            return  # an earlier run read its first pages
        found = Counter(self._window)
        for slot in range(start, stop):
            place = slot % (WEEK * self.slots)
            self._observations[place] += 1
            rate = self._rates.get(place, 0.0)
            self._rates[place] = rate + max(ALPHA, 1 / self._observations[place]) * (found[slot] - rate)
        self._window = None

    def stop(self, start: int, latest: int) -> int:
        """Where a window that begins at a slot should end.

        If it takes several pages, only the last is uncertain, and the pages before it will tell more.
        """
        stop, pages = self._best(start, start, latest, seen=0, there=0)
        return stop if pages == 1 else latest

    def earlier_stop(self, start: int, stop: int) -> int:
        """Where the window that is being read should end, by what its pages tell so far.

        Never before a row that was seen: that row would be read twice.
        """
        if not self._window:
            return stop
        if len(self._window) >= MOST_PAGES * self.page:
            return max(self._window) + 1
        # Almost all rows before this slot are there; from it on, the expected ones are missing that are not there yet.
        lately = sorted(self._window[-LAST_ROWS:])
        reached = max(start, lately[len(lately) // 4])
        there = sum(slot >= reached for slot in self._window)
        return self._best(reached, max(self._window) + 1, stop, seen=len(self._window), there=there)[0]

    def _best(self, reached: int, earliest: int, latest: int, *, seen: int, there: int) -> tuple[int, int]:
        """The end with the fewest requests for each row, and the pages that are still to come before it.

        Args:
            reached: Rows are expected from this slot on.
            earliest: The window ends no earlier than after this slot ...
            latest: ... and no later than before this one.
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
            # Only one page is uncertain: the end is judged again before the page after it is asked for.
            deviation = math.sqrt(min(rest, self.page))
            pages = math.ceil((rest + K * deviation) / self.page)
            cost = (seen / self.page + pages) / (seen + rest)
            if slot >= earliest and cost <= fewest:
                best, fewest = (slot + 1, pages), cost
        return best
