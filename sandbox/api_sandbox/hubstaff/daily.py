"""Daily activities: what was tracked on a day of the organization, by user, project and task."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from api_sandbox.hubstaff.account import Organization
from api_sandbox.hubstaff.activities import ActivityBook
from api_sandbox.hubstaff.activity import Activity, ActivityRow
from api_sandbox.hubstaff.clock import day_of, instant
from api_sandbox.recipes import Fields

_ROOM = 4096  # Ids for the pairs of project and task of a member on a day.
_FIRST_DAY = date(2015, 1, 1).toordinal()
_LATEST_UPLOAD_DAYS = 4

Group = tuple[int, int, int | None]
"""User, project and task."""


@dataclass(frozen=True, slots=True)
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
        return ActivityRow(self.activities[0]).values(path)

    def fields(self) -> Fields:
        """What the API answers."""
        rows = self.activities
        first = rows[0]
        tracked = sum(row.tracked for row in rows)
        return {
            "id": self.key,
            "date": first.date.isoformat(),
            "user_id": first.member.user_id,
            "project_id": first.project.id,
            "task_id": None if first.task is None else first.task.id,
            "keyboard": sum(row.keyboard for row in rows),
            "mouse": sum(row.mouse for row in rows),
            "overall": sum(row.overall for row in rows),
            "tracked": tracked,
            "input_tracked": sum(row.input_tracked for row in rows),
            "manual": sum(row.tracked for row in rows if row.manual),
            "idle": tracked // 50,
            "resumed": tracked // 90,
            "billable": sum(row.tracked for row in rows if row.project.billable),
            "work_break": 0,
            "created_at": instant(min(row.created for row in rows)),
            "updated_at": instant(self.updated),
        }


@dataclass(slots=True)
class DailyBook:
    """All daily activities, from the activities that readers see.

    Attributes:
        activities: What they sum up.
    """

    activities: ActivityBook
    _numbers: dict[tuple[int, date, Group], int] = field(default_factory=dict)
    _taken: defaultdict[tuple[int, date], int] = field(default_factory=lambda: defaultdict(int))
    _summed_again: defaultdict[int, dict[tuple[date, Group], int]] = field(default_factory=lambda: defaultdict(dict))
    _made: dict[tuple[int, date], list[DailyRow]] = field(default_factory=dict)
    _version: tuple[float, int] | None = None

    def by_date(self, organization: Organization, start: date, stop: date) -> list[DailyRow]:
        """Those of the days from start to stop, both included, in the order of ids."""
        last = min(stop, day_of(self.activities.clock.horizon()) + timedelta(days=1))
        days = (start + timedelta(days=number) for number in range((last - start).days + 1))
        return sorted((row for day in days for row in self._of(organization, day)), key=_key)

    def by_update(self, organization: Organization, start: float, stop: float) -> list[DailyRow]:
        """Those that were summed up last in [start, stop), in the order of ids."""
        first = day_of(start) - timedelta(days=_LATEST_UPLOAD_DAYS)
        last = min(day_of(stop), day_of(self.activities.clock.horizon())) + timedelta(days=1)
        days = {first + timedelta(days=number) for number in range((last - first).days + 1)}
        days.update(activity.date for activity in self.activities.by_update(organization, start, stop))
        days.update(day for day, _group in self._summed_again[organization.index])
        found = (row for day in days for row in self._of(organization, day) if start <= row.updated < stop)
        return sorted(found, key=_key)

    def sum_again(self, activity: Activity, now: int) -> None:
        """Note that a group was summed up again, because an activity leaves it or changes."""
        self._summed_again[activity.organization][activity.date, _group(activity)] = now

    def _of(self, organization: Organization, day: date) -> list[DailyRow]:
        if self._version != self.activities.version:
            self._made.clear()
            self._version = self.activities.version
        key = (organization.index, day)
        if key not in self._made:
            self._made[key] = list(self._sums(organization, day))
        return self._made[key]

    def _sums(self, organization: Organization, day: date) -> Iterable[DailyRow]:
        again = self._summed_again[organization.index]
        groups: defaultdict[Group, list[Activity]] = defaultdict(list)
        for activity in self.activities.of_date(organization, day):
            groups[_group(activity)].append(activity)
        self._number(organization, day)
        for group, rows in groups.items():
            updated = max(activity.updated for activity in rows)
            number = self._numbers[organization.index, day, group]
            yield DailyRow(number, rows, max(updated, again.get((day, group), 0)))

    def _number(self, organization: Organization, day: date) -> None:
        """Give ids: in an order that does not hang on what readers see already, and for ever."""
        shifts = (day - timedelta(days=1), day)
        rows = (row for shift in shifts for row in self.activities.of_shift(organization, shift) if row.date == day)
        for activity in sorted(rows, key=lambda row: row.id):
            named = (organization.index, day, _group(activity))
            if named not in self._numbers:
                lane = activity.member.lane
                place = (day.toordinal() - _FIRST_DAY) * self.activities.account.lanes + lane
                self._numbers[named] = place * _ROOM + self._taken[lane, day]
                self._taken[lane, day] += 2  # As everywhere, a number is left free between two ids.


def _group(activity: Activity) -> Group:
    task = None if activity.task is None else activity.task.id
    return activity.member.user_id, activity.project.id, task


def _key(row: DailyRow) -> int:
    return row.key
