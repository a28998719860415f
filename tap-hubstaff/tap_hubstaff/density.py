"""The rows of a list by the time that they are of: as far as they have been seen, and as they are to be expected.

Every window of time ends in a page that is only partly full. What that costs is its waste: the pages to be expected,
less the pages that its rows would fill. A window ends where it wastes least for the time that it covers. Each of its
pages tells more of it, and may have it end earlier.

Time is counted in slots here: hours, or days for lists that are asked for days.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

WEEK = 7
"""Days seen before anything is expected, the last one not wholly: a week has days without work."""
REMEMBERED_WEEKS = 8
"""Weeks whose rows are judged by."""
FADING = 0.9
"""What a week counts for, beside the week after it."""
FADING_HOURS = 0.6
"""The same where it is asked when in a day people work: that is soon known, and clocks are put forward and back."""
COMMON = 2.0
"""Days for which the rhythm and the scatter of all days count, beside those of a weekday of its own."""
DOUBT = 1.0
"""Observations for which the scatter is taken for what it mostly is, before others are there."""
USUAL_SCATTER = 2.0
"""How far the rows of people at work are from what is expected of them, in variances that chance alone would give."""
FEW = 3
"""Whole days that are too few to be judged by."""
FAR = 5
"""Standard deviations beyond which nothing is expected."""
LAST_ROWS = 20
"""Rows at the end of a page by which it is told how far the page reaches: some rows come late, few come early."""


class Expected(NamedTuple):
    """What is to be expected up to a slot.

    Attributes:
        stop: The slot, which is no part of it.
        rows: How many rows.
        variance: How far they may be off.
    """

    stop: int
    rows: float
    variance: float


@dataclass(slots=True)
class _Scatter:
    """How far counts are from what was expected of them, in the variances that they were thought to have."""

    squares: float = DOUBT * USUAL_SCATTER
    observations: float = DOUBT

    def add(self, squares: float, observations: float) -> None:
        self.squares += squares
        self.observations += observations

    @property
    def factor(self) -> float:
        return self.squares / self.observations

    def beside(self, common: _Scatter) -> float:
        """The factor of a part of what is observed, which is taken for that of all while little is observed."""
        return (self.squares + COMMON * common.factor) / (self.observations + COMMON)


@dataclass(slots=True)
class Density:
    """The rows of one list.

    Args:
        page: Rows in a full page.
        slots: Slots in a day.
    """

    page: int
    slots: int
    _known: dict[int, int] = field(default_factory=dict)
    _open: list[int] | None = None
    _promises: list[tuple[int, Expected]] = field(default_factory=list)
    _errors: _Scatter = field(default_factory=_Scatter)
    _is_by_time: bool = True
    _expects: Outlook | None = None
    _finish: int = 0
    _longest: int = 0

    def begin(self) -> None:
        """A window is read from its first page on."""
        self._open = []
        self._promises = []

    def saw(self, rows: Iterable[int]) -> None:
        """Take note of the slots of the rows of a page, in the API's order."""
        if self._open is not None:
            self._open += rows

    def give_up(self) -> None:
        """The rows of this window cannot be told the time of."""
        self._open = None

    def end(self, start: int, stop: int) -> None:
        """The window from one slot to another has been read to its end."""
        if self._open is None:
            return  # its first pages were an earlier run's
        found = Counter(self._open)
        self._known |= {slot: found[slot] for slot in range(start, stop)}
        if len(self._known) > (WEEK - 1) * self.slots and any(self._known.values()):
            self._expects = Outlook(self._known, self.slots)
        for seen, expected in self._promises:
            if expected.stop == stop:
                self._errors.add((len(self._open) - seen - expected.rows) ** 2 / expected.variance, 1)
        self._open = None

    def stop(self, start: int, latest: int, finish: int) -> int:
        """Where a window from a slot on had best end, by which slot the last window ends."""
        self._longest, self._finish = latest - start, finish
        outlook = self._expects
        if outlook is None:
            return latest
        rest = self._rest(start, start, self._known)
        if not self._is_by_time:
            return self._best(start, outlook(start, latest, self._known), rest).stop
        # Of several pages only the last is uncertain: the ones before it tell, and the window may still end earlier.
        eased = (
            one._replace(variance=one.variance * min(1.0, self.page / one.rows))
            for one in outlook(start, latest, self._known)
        )
        best = self._best(start, eased, rest)
        return best.stop if best.rows < self.page else latest

    def earlier_stop(self, start: int, stop: int) -> int:
        """Where the window that is being read had best end, by what its pages tell so far.

        Never before the end of what was seen of it: that would be read twice.
        """
        outlook = self._expects
        if outlook is None or not self._open:
            return stop
        last = max(self._open)
        # Before this slot all but a few have come; from it on, as many are missing as are expected and not there yet.
        lately = sorted(self._open[-LAST_ROWS:])
        reached = max(start, lately[len(lately) // 4])
        if last + 1 >= stop:
            # Where a page of a list reaches all over its window, no page tells anything of the next.
            self._is_by_time = 2 * reached > start + stop
            return stop
        there = sum(slot >= reached for slot in self._open)
        seen = self._known | dict.fromkeys(range(start, reached), 0) | Counter(self._open)
        trust = self._errors.factor

        def left(one: Expected) -> Expected:
            return Expected(one.stop, max(0.0, one.rows - there), one.variance * trust)

        rest = self._rest(start, reached, seen)
        best = self._best(
            start, (left(one) for one in outlook(reached, stop, seen) if one.stop > last), rest and left(rest)
        )
        self._promises.append((len(self._open), best))
        return best.stop

    def _rest(self, start: int, reached: int, seen: Mapping[int, int]) -> Expected | None:
        """What is to be expected up to the end of the last window, where one window more can bring it."""
        if self._expects is None or self._finish - start > 2 * self._longest:
            return None
        *_, rest = self._expects(reached, self._finish, seen)
        return rest

    def _best(self, start: int, candidates: Iterable[Expected], rest: Expected | None) -> Expected:
        def waste(rows: float, variance: float) -> float:
            return _pages(rows, math.sqrt(variance), self.page) - rows / self.page

        def cost(one: Expected) -> tuple[float, int]:
            wasted = waste(one.rows, one.variance)
            if rest is None or one.stop + self._longest < self._finish:
                return wasted / (one.stop - start), -one.stop
            # The last window cannot choose its end, so what it wastes is for the one before it to weigh.
            if one.stop < self._finish:
                more = max(1e-9, rest.rows - one.rows)
                wasted += waste(more, rest.variance * min(1.0, more / max(1e-9, rest.rows)) + 1e-9)
            return wasted / (self._finish - start), -one.stop

        return min(candidates, key=cost)


class _Day(NamedTuple):
    """A whole day of the past: its rows by slot and in all, and how many weeks ago it was."""

    weekday: int
    slots: list[int]
    rows: int
    age: int

    @property
    def weight(self) -> float:
        return FADING**self.age


class Outlook:
    """What is to be expected, by the rows of the last weeks.

    A day of the week has its mean, where not all days are alike, its scatter, and its hours have their shares of it. A
    day begins in its quietest hour, so that what is cut into two by the end of a window is not a day's work, wherever
    on earth it is done.

    Args:
        known: Rows by slot.
        slots: Slots in a day.
    """

    def __init__(self, known: Mapping[int, int], slots: int) -> None:
        self._slots = slots
        week = WEEK * slots
        newest = max(known)
        # Before the first row there was nothing that could tell of the rows to come.
        first = next(slot for slot in sorted(known) if known[slot])
        lately = {
            slot: rows for slot, rows in known.items() if slot >= first and newest - slot < REMEMBERED_WEEKS * week
        }
        weights = [FADING**age for age in range(REMEMBERED_WEEKS)]
        profile = [0.0] * slots
        for slot, rows in lately.items():
            profile[slot % slots] += FADING_HOURS ** ((newest - slot) // week) * rows
        self._dawn = _quietest(profile)
        self._shares = self._shares_by_weekday(lately, newest, profile[self._dawn :] + profile[: self._dawn])
        self._means, self._counts = self._by_weekday(lately, newest, weights)
        days: dict[int, list[int]] = {}
        for slot in sorted(lately):
            days.setdefault((slot - self._dawn) // slots, []).append(lately[slot])
        whole = [
            _Day(day % WEEK, rows, sum(rows), max(0, newest // slots - day) // WEEK % REMEMBERED_WEEKS)
            for day, rows in days.items()
            if len(rows) == slots
        ]
        self._splits = self._scatter_of_parts(whole)
        self._scatters, scatter = self._scatter_by_weekday(whole)
        if len(whole) > FEW:
            self._try_one_mean(whole, scatter)

    def __call__(self, start: int, latest: int, seen: Mapping[int, int]) -> Iterator[Expected]:
        """What is to be expected from a slot on, up to each of the slots after it, by what was seen before it."""
        rows = variance = 0.0
        slot = start
        while slot < latest:
            days, place = divmod(slot - self._dawn, self._slots)
            weekday = days % WEEK
            day = self._rest_of_day(slot, place, seen)
            before, more, varies = self._shares[weekday][place], 0.0, 0.0
            for upto in self._shares[weekday][place + 1 : place + 1 + latest - slot]:
                slot += 1
                share = (upto - before) / (1 - before) if before < 1 else 1.0
                more = day.rows * share
                varies = day.variance * share * share + self._splits[weekday] * more * (1 - share)
                # Never quite certain, so that nothing is divided by zero.
                yield Expected(slot, rows + more + 1e-9, variance + varies + 1e-9)
            rows += more
            variance += varies

    def _rest_of_day(self, slot: int, place: int, seen: Mapping[int, int]) -> Expected:
        """What is to be expected of a day from a slot on: what it has had tells how much of a day it is."""
        weekday = (slot - self._dawn) // self._slots % WEEK
        share = self._shares[weekday][place]
        mean = self._means[weekday]
        scatter = self._scatters[weekday] * mean * (1 + 1 / self._counts[weekday])
        by_chance = self._splits[weekday] * mean * share * (1 - share)
        stop = slot - place + self._slots
        morning = [seen.get(early) for early in range(slot - place, slot)]
        if None in morning:
            rest = 1 - share
            return Expected(stop, mean * rest, scatter * rest * rest + by_chance)
        had = sum(filter(None, morning))
        varies = scatter * share * share + by_chance
        if not varies:
            return Expected(stop, mean, scatter)
        whole = mean + scatter * share / varies * (had - mean * share)
        return Expected(stop, max(0.0, whole - had), scatter * by_chance / varies)

    def _by_weekday(
        self, lately: Mapping[int, int], newest: int, weights: Sequence[float]
    ) -> tuple[list[float], list[float]]:
        """The mean of each day of the week, and how many such days it is the mean of."""
        week = WEEK * self._slots
        sums, counts, squares = [0.0] * week, [0.0] * week, [0.0] * week
        for slot, rows in lately.items():
            weight = weights[(newest - slot) // week]
            sums[slot % week] += weight * rows
            counts[slot % week] += weight
            squares[slot % week] += weight * weight
        overall = sum(sums) / sum(counts)
        means, known = [0.0] * WEEK, [0.0] * WEEK
        for place in range(week):
            day = (place - self._dawn) // self._slots % WEEK
            means[day] += sums[place] / counts[place] if counts[place] else overall
            known[day] += counts[place] ** 2 / squares[place] / self._slots if counts[place] else 0.0
        return means, [max(1.0, count) for count in known]

    def _shares_by_weekday(self, lately: Mapping[int, int], newest: int, usual: Sequence[float]) -> list[list[float]]:
        """The shares of each day of the week: some days begin or end with the night of another."""
        faded = {slot: FADING_HOURS ** ((newest - slot) // (WEEK * self._slots)) for slot in lately}
        days = sum(faded.values()) / self._slots
        own = [[COMMON * rows / days for rows in usual] for _ in range(WEEK)]
        for slot, rows in lately.items():
            day, place = divmod(slot - self._dawn, self._slots)
            own[day % WEEK][place] += faded[slot] * rows
        return [_shares(one) for one in own]

    def _scatter_of_parts(self, days: Sequence[_Day]) -> list[float]:
        """How far parts of each weekday are from their shares, beside mere chance."""
        scatter, own = _Scatter(), [_Scatter(0.0, 0.0) for _ in range(WEEK)]
        for day in days:
            upto, weight = 0, FADING_HOURS**day.age / self._slots
            for share, here in zip(self._shares[day.weekday][1:-1], day.slots, strict=False):
                upto += here
                chance = day.rows * share * (1 - share)
                if chance > 1:
                    for one in (scatter, own[day.weekday]):
                        one.add(weight * (upto - day.rows * share) ** 2 / chance, weight)
        return [one.beside(scatter) for one in own]

    def _scatter_by_weekday(self, days: Sequence[_Day]) -> tuple[list[float], float]:
        """How far whole days are from the means of their weekdays, beside mere chance: each weekday, and all."""
        same = Counter(day.weekday for day in days)
        scatter, own = _Scatter(), [_Scatter(0.0, 0.0) for _ in range(WEEK)]
        for day in days:
            mean, number = self._means[day.weekday], same[day.weekday]
            if number > 1 and mean > 0:
                for one in (scatter, own[day.weekday]):
                    one.add(day.weight * (day.rows - mean) ** 2 / mean, day.weight * (1 - 1 / number))
        return [one.beside(scatter) for one in own], scatter.factor

    def _try_one_mean(self, days: Sequence[_Day], by_weekday: float) -> None:
        """Take one mean for all days where that fits no worse: less is to be guessed, and it is known sooner."""
        weight = sum(day.weight for day in days)
        mean = sum(day.weight * day.rows for day in days) / weight
        scatter = _Scatter()
        for day in days if mean > 0 else ():
            scatter.add(day.weight * (day.rows - mean) ** 2 / mean, day.weight * (1 - 1 / len(days)))
        if mean > 0 and scatter.factor <= by_weekday:
            self._scatters, self._means = [scatter.factor] * WEEK, [mean] * WEEK
            self._counts = [weight * weight / sum(day.weight**2 for day in days)] * WEEK


def _quietest(profile: Sequence[float]) -> int:
    """The slot of a day before and after which least happens, the nearest slots counting most."""
    reach = len(profile) // 4

    def happens(slot: int) -> float:
        return sum(profile[(slot + off) % len(profile)] * (reach - abs(off + 0.5)) for off in range(-reach, reach))

    return min(range(len(profile)), key=happens)


def _shares(profile: Sequence[float]) -> list[float]:
    """The share of a day that is over before each of its slots, and after the last."""
    total, upto = sum(profile), 0.0
    shares = [0.0]
    for rows in profile:
        upto += rows
        shares.append(min(1.0, upto / total))
    return shares


def _pages(rows: float, deviation: float, page: int) -> float:
    """Requests to be expected for so many rows, normally distributed; one even for none."""
    certain = max(0, math.floor((rows - FAR * deviation) / page))
    pages, full = 1.0 + certain, (certain + 1) * page + 0.5
    while full < rows + FAR * deviation:
        pages += 0.5 * math.erfc((full - rows) / (deviation * math.sqrt(2)))
        full += page
    return pages
