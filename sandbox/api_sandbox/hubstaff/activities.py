"""All activities: made day by day when somebody asks, and what tests do to them."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from operator import attrgetter

from api_sandbox.hubstaff.account import Account, Organization
from api_sandbox.hubstaff.activity import SLOT, Activity
from api_sandbox.hubstaff.clock import DAY, Clock, day_of, days_between
from api_sandbox.hubstaff.scenario import HubstaffScenario, Tracked
from api_sandbox.hubstaff.shifts import EPOCH, LATEST_UPLOAD_DAYS, Shifts

_ONE_DAY = timedelta(days=1)
_BY_KEY = attrgetter("key")


@dataclass(slots=True)
class ActivityBook:
    """All activities of an account.

    Those of a day that are of chance depend on the seed and the day alone: it does not matter when they are asked for.

    Attributes:
        changes: How many there were of the activities of a date, by index of the organization.
    """

    seed: int
    scenario: HubstaffScenario
    account: Account
    clock: Clock
    changes: Counter[tuple[int, date]] = field(default_factory=Counter)
    _shifts: Shifts = field(init=False)
    _days: dict[tuple[int, date], list[Activity]] = field(default_factory=dict)
    _touched: defaultdict[int, dict[int, Activity]] = field(default_factory=lambda: defaultdict(dict))
    _last_id: int = 0
    _extra: defaultdict[tuple[int, date], list[Activity]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        """Put in what the scenario wants besides those of chance."""
        self._shifts = Shifts(self.seed, self.scenario, self.account.lanes)
        for place, wanted in enumerate(self.scenario.tracked):
            ends = int(wanted.starts_at.timestamp()) + wanted.tracked
            self.put(self.make(wanted, created=ends + place % 7, seen=0.0))

    @property
    def version(self) -> tuple[float, int]:
        """Differs whenever there is something else to be read."""
        return self.clock.horizon(), self.changes.total()

    def by_slot(self, organization: Organization, start: float, stop: float) -> list[Activity]:
        """Those whose slot begins in [start, stop), in the order of ids."""
        now = self.clock.horizon()
        found = (
            activity
            for activity in self._between(organization, start - SLOT, stop)
            if start <= activity.starts - activity.starts % SLOT < stop and activity.seen <= now
        )
        return sorted(found, key=_BY_KEY)

    def by_update(self, organization: Organization, start: float, stop: float) -> list[Activity]:
        """Those whose last change was in [start, stop), in the order of ids."""
        now = self.clock.horizon()
        found = {
            activity.key: activity
            for activity in self._between(organization, start - (LATEST_UPLOAD_DAYS + 2) * DAY, stop)
            if start <= activity.updated < stop and activity.seen <= now
        }
        for activity in self._touched[organization.index].values():
            if start <= activity.updated < stop:
                found[activity.key] = activity
        return sorted(found.values(), key=_BY_KEY)

    def of_date(self, organization: Organization, day: date) -> list[Activity]:
        """Those whose date is a day, seen by readers or not, in the order of ids."""
        shifts = (*self._of_shift(organization, day - _ONE_DAY), *self._of_shift(organization, day))
        return sorted((activity for activity in shifts if activity.date == day), key=_BY_KEY)

    def all(self, organization: Organization) -> list[Activity]:
        """All that readers see, in the order of ids."""
        return self.by_slot(organization, organization.midnight(self._first(organization)), self.clock.horizon() + DAY)

    def make(self, wanted: Tracked, created: int, seen: float) -> Activity:
        """An activity that a test wants; it is not in the book yet."""
        organization = self.account.organizations[wanted.organization]
        project = organization.projects[wanted.project]
        starts = int(wanted.starts_at.timestamp())
        return Activity(
            key=self._next_id(created),
            organization=organization.index,
            member=organization.members[wanted.member],
            project=project,
            task=None if wanted.task is None else project.tasks[wanted.task],
            starts=starts,
            tracked=wanted.tracked,
            date=organization.date_at(starts),
            created=created,
            updated=created,
            seen=seen,
            spread=starts % 9973,
        )

    def put(self, activity: Activity) -> None:
        """Add an activity that is not of chance."""
        key = (activity.organization, activity.date)
        self._extra[key].append(activity)
        if key in self._days:
            self._days[key].append(activity)
        self.touch(activity)

    def touch(self, activity: Activity) -> None:
        """Note that an activity has changed, so that it is found by its update."""
        self.changes[activity.organization, activity.date] += 1
        self._touched[activity.organization][activity.key] = activity

    def take_out(self, activity: Activity) -> None:
        """Delete an activity: no list knows of it any more."""
        self.changes[activity.organization, activity.date] += 1
        activity.gone = True
        organization = self.account.organizations[activity.organization]
        for day in (activity.date, activity.date - _ONE_DAY):
            rows = self._of_shift(organization, day)
            rows[:] = [row for row in rows if row is not activity]
        self._touched[activity.organization].pop(activity.key, None)

    def _between(self, organization: Organization, start: float, stop: float) -> Iterator[Activity]:
        """At least those that start in [start, stop)."""
        first = max(day_of(start) - 2 * _ONE_DAY, self._first(organization))
        last = min(day_of(stop), day_of(self.clock.horizon())) + _ONE_DAY
        for day in days_between(first, last):
            yield from self._of_shift(organization, day)

    def _first(self, organization: Organization) -> date:
        """No activity is of a day before."""
        extra = (day for index, day in self._extra if index == organization.index)
        return min((organization.began, *extra)) - _ONE_DAY

    def _of_shift(self, organization: Organization, day: date) -> list[Activity]:
        """The activities of the shifts that began on a day, seen by readers or not."""
        key = (organization.index, day)
        if key not in self._days:
            made = [activity for one in organization.members for activity in self._shifts.made(organization, one, day)]
            self._days[key] = made + self._extra.get(key, [])
        return self._days[key]

    def _next_id(self, created: int) -> int:
        """An id for what is not of chance: in the half of its second that chance leaves free."""
        stride = self._shifts.stride
        self._last_id = max(self._last_id + 2, (created - EPOCH) * stride + stride // 2)
        if self._last_id % stride < stride // 2:
            self._last_id += stride // 2 - self._last_id % stride
        return self._last_id
