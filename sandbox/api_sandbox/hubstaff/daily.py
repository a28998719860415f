"""Daily activities: what was tracked on a day of the organization, by user, project and task."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property
from operator import attrgetter
from typing import Any

from api_sandbox.hubstaff.account import Organization
from api_sandbox.hubstaff.activities import ActivityBook
from api_sandbox.hubstaff.activity import Activity
from api_sandbox.hubstaff.clock import day_of, days_between, instant
from api_sandbox.recipes import Fields

_ROOM = 4096  # Ids for the pairs of project and task of a member on a day.
_FIRST_DAY = date(2015, 1, 1).toordinal()
_LATEST_UPLOAD = timedelta(days=4)
_ONE_DAY = timedelta(days=1)

Group = tuple[int, int, int | None]
"""User, project and task."""


@dataclass(frozen=True)
class DailyRow:
    """The sum of the activities of one group on one day.

    Attributes:
        key: Its id.
        activities: What it sums up; never empty.
        updated: Seconds since 1970 of the last change.
    """

    key: int
    activities: Sequence[Activity]
    updated: int

    @property
    def id(self) -> str:
        """Its id."""
        return str(self.key)

    def values(self, path: str) -> Sequence[Any]:
        """The ids that lists are filtered by."""
        return self.activities[0].values(path)

    def fields(self) -> Fields:
        """What the API answers."""
        return self._fields

    @cached_property
    def _fields(self) -> Fields:
        rows, first = self.activities, self.activities[0]
        summed: Counter[str] = Counter()
        for row in rows:
            summed.update(row.seconds())
        return {
            "id": self.key,
            "date": first.date.isoformat(),
            "user_id": first.member.user_id,
            "project_id": first.project.id,
            "task_id": None if first.task is None else first.task.id,
            **summed,
            "manual": sum(row.tracked for row in rows if row.manual),
            "idle": summed["tracked"] // 50,
            "resumed": summed["tracked"] // 90,
            "billable": sum(row.tracked for row in rows if row.project.billable),
            "work_break": 0,
            "created_at": instant(min(row.created for row in rows)),
            "updated_at": instant(self.updated),
        }


@dataclass(frozen=True, slots=True)
class _Day:
    """What the activities of a day sum up to.

    Attributes:
        changes: How many there had been of them.
        until: Seconds since 1970 at which readers see more of them.
    """

    rows: Sequence[DailyRow]
    changes: int
    until: float


@dataclass(slots=True)
class DailyBook:
    """All daily activities, from the activities that readers see."""

    activities: ActivityBook
    _numbers: dict[tuple[int, date, Group], int] = field(default_factory=dict)
    _taken: defaultdict[tuple[int, date], int] = field(default_factory=lambda: defaultdict(int))
    _summed_again: defaultdict[int, dict[tuple[date, Group], int]] = field(default_factory=lambda: defaultdict(dict))
    _made: dict[tuple[int, date], _Day] = field(default_factory=dict)

    def by_date(self, organization: Organization, start: date, stop: date) -> list[DailyRow]:
        """Those of the days from start to stop, both included, in the order of ids."""
        last = min(stop, day_of(self.activities.clock.horizon()) + _ONE_DAY)
        return self._of_days(organization, days_between(start, last))

    def by_update(self, organization: Organization, start: float, stop: float) -> list[DailyRow]:
        """Those that were summed up last in [start, stop), in the order of ids."""
        last = min(day_of(stop), day_of(self.activities.clock.horizon())) + _ONE_DAY
        days = set(days_between(day_of(start) - _LATEST_UPLOAD, last))
        days.update(activity.date for activity in self.activities.by_update(organization, start, stop))
        days.update(day for day, _group in self._summed_again[organization.index])
        return [row for row in self._of_days(organization, days) if start <= row.updated < stop]

    def sum_again(self, activity: Activity, now: int) -> None:
        """Note that a group was summed up again, because an activity leaves it or changes."""
        self._summed_again[activity.organization][activity.date, _group(activity)] = now

    def _of_days(self, organization: Organization, days: Iterable[date]) -> list[DailyRow]:
        now = self.activities.clock.horizon()
        found: list[DailyRow] = []
        for day in days:
            key = (organization.index, day)
            made = self._made.get(key)
            if made is None or made.until <= now or made.changes != self.activities.changes[key]:
                made = self._made[key] = self._sums(organization, day, now)
            found += made.rows
        return sorted(found, key=attrgetter("key"))

    def _sums(self, organization: Organization, day: date, now: float) -> _Day:
        again, until = self._summed_again[organization.index], math.inf
        groups: defaultdict[Group, list[Activity]] = defaultdict(list)
        for activity in self.activities.of_date(organization, day):
            # Ids are given for ever, and in an order that does not hang on what readers see already.
            self._number(organization, day, activity)
            if activity.seen <= now:
                groups[_group(activity)].append(activity)
            else:
                until = min(until, activity.seen)
        made = []
        for group, rows in groups.items():
            updated = max(activity.updated for activity in rows)
            number = self._numbers[organization.index, day, group]
            made.append(DailyRow(number, rows, max(updated, again.get((day, group), 0))))
        return _Day(made, self.activities.changes[organization.index, day], until)

    def _number(self, organization: Organization, day: date, activity: Activity) -> None:
        named, lane = (organization.index, day, _group(activity)), activity.member.lane
        if named not in self._numbers:
            place = (day.toordinal() - _FIRST_DAY) * self.activities.account.lanes + lane
            self._numbers[named] = place * _ROOM + self._taken[lane, day]
            self._taken[lane, day] += 2  # As everywhere, a number is left free between two ids.


def _group(activity: Activity) -> Group:
    task = None if activity.task is None else activity.task.id
    return activity.member.user_id, activity.project.id, task
