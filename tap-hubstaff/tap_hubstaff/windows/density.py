"""Expects how many rows a list has in a stretch of time, and tells where a window should end.

The last page of every window is only partly full. A window costs its requests for each row that it brings: if it is
too short, its only page is half empty; if it is a few rows too long, they take one more page.

- Exponential smoothing expects the rows of each hour of the week (weekday, of lists asked by day): 0 if never read.
- Counts are quasi-Poisson: where ``mean`` rows are expected, ``mean + K * sqrt(dispersion * mean)`` may come. The index
  of dispersion (variance / mean) of a day is smoothed too: it is low where people work alike every week.

Time is counted in slots: hours or days.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

WEEK = 7
K = 1.5  # standard deviations that a window leaves room for
LEAST_DISPERSION = 0.5  # even the steadiest list may grow
MOST_PAGES = 20
"""A window ends after so many full pages: work sessions hold the rows of a window in memory."""
LAST_ROWS = 20
"""So many rows at the end of a page tell how far it reaches: some rows come late, few come early."""


@dataclass(slots=True)
class Smoothed:
    """A mean by exponential smoothing; the first 1 / alpha observations count as a plain mean."""

    alpha: float
    mean: float = 0.0
    observations: int = 0

    def observe(self, value: float) -> None:
        """Take note of a new value."""
        self.observations += 1
        self.mean += max(self.alpha, 1 / self.observations) * (value - self.mean)


@dataclass(slots=True)
class Density:
    """The rows of one list, in pages of ``page`` rows and days of ``slots`` slots."""

    page: int
    slots: int
    _rates: defaultdict[int, Smoothed] = field(default_factory=lambda: defaultdict(lambda: Smoothed(alpha=0.2)))
    _dispersion: Smoothed = field(default_factory=lambda: Smoothed(alpha=0.1, mean=1.0, observations=1))
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
        for _, day in groupby(range(start, stop), lambda slot: slot // self.slots):
            observed = [(self._rate(slot), found[slot]) for slot in day]
            mean = sum(rate.mean for rate, _ in observed)
            if mean > 1:  # a day without rows, or one never read before, tells nothing of the deviation
                self._dispersion.observe((sum(rows for _, rows in observed) - mean) ** 2 / mean)
            for rate, rows in observed:
                rate.observe(rows)
        self._window = None

    def stop(self, start: int, latest: int) -> int:
        """Where a window that begins at a slot should end."""
        stop, pages = self._best(start, start, latest, seen=0, there=0)
        return stop if pages == 1 else latest  # of several, the first pages will tell more

    def earlier_stop(self, start: int, stop: int) -> int:
        """Where the window that is being read should end: never before a row that was seen, to read none twice."""
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

        The window ends after ``earliest``, and no later than before ``latest``. It has brought ``seen`` rows so far,
        ``there`` of them of ``reached`` and later, where rows are still expected.
        """
        mean, best, fewest = 0.0, (latest, 0), math.inf
        for slot in range(reached, latest):
            mean += self._rate(slot).mean
            rest = max(1e-9, mean - there)
            # Only one page is uncertain: the end is judged again before the page after it is asked for.
            deviation = math.sqrt(max(LEAST_DISPERSION, self._dispersion.mean) * min(rest, self.page))
            pages = math.ceil((rest + K * deviation) / self.page)
            cost = (seen / self.page + pages) / (seen + rest)
            if slot >= earliest and cost <= fewest:
                best, fewest = (slot + 1, pages), cost
        return best

    def _rate(self, slot: int) -> Smoothed:
        return self._rates[slot % (WEEK * self.slots)]
