"""What happens on working days besides tracking: tools, screenshots, locations, notes, edits, visits, shifts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from api_sandbox.dice import Dice
from api_sandbox.hubstaff.account import Account, Member, Organization
from api_sandbox.hubstaff.clock import DAY, HOUR, Clock, day_of, days_between, parse_instant
from api_sandbox.hubstaff.recipes import recipes
from api_sandbox.hubstaff.records import Record
from api_sandbox.hubstaff.scenario import HubstaffScenario
from api_sandbox.recipes import Fields

_FIRST_DAY = date(2015, 1, 1).toordinal()
_ROOM = 64  # Ids of one kind for a member on a day.
_THOUSAND = 1000
_NEEDS = {
    "job_site_visits": "job_sites",
    "passive_job_site_visits": "job_sites",
    "attendance_shifts": "attendance_schedules",
}
"""What an organization must have for an event to happen."""


@dataclass(slots=True)
class EventBook:
    """All events of an account, made day by day when somebody asks.

    Attributes:
        places: Ids of job sites and attendance schedules, by stream and index of the organization.
    """

    seed: int
    scenario: HubstaffScenario
    account: Account
    clock: Clock
    places: Mapping[str, Sequence[Sequence[int]]]
    _days: dict[tuple[str, int, date], list[Record]] = field(default_factory=dict)

    def between(self, stream: str, organization: Organization, first: date, last: date) -> list[Record]:
        """At least those of the days from first to last, both included, in the order of ids."""
        now = self.clock.horizon()
        # Days of the organization and of UTC are not the same.
        first = max(first - timedelta(days=2), organization.began)
        last = min(last + timedelta(days=1), day_of(now) + timedelta(days=1))
        days = days_between(first, last)
        return [row for day in days for row in self._day(stream, organization, day) if row.since <= now]

    def _day(self, stream: str, organization: Organization, day: date) -> list[Record]:
        key = (stream, organization.index, day)
        if key not in self._days:
            self._days[key] = list(self._make(stream, organization, day))
        return self._days[key]

    def _make(self, stream: str, organization: Organization, day: date) -> Iterator[Record]:
        if stream in _NEEDS and not self.places[_NEEDS[stream]][organization.index]:
            return
        for member in organization.members:
            if not member.works_on(day):
                continue
            place = (day.toordinal() - _FIRST_DAY) * self.account.lanes + member.lane
            key = f"{self.seed}/{stream}/{organization.index}/{member.index}/{day.toordinal()}"
            for number in range(self._many(stream, Dice(key))):
                own_id = place * _ROOM + 2 * number
                content = self._content(stream, organization, member, day, Dice(f"{key}/{number}"))
                since = organization.midnight(day) + DAY if stream == "daily_tool_usages" else 0.0
                yield Record(own_id, str(own_id), {"id": own_id, **content}, max(since, _since(content)))

    def _many(self, stream: str, dice: Dice) -> int:
        if stream in {"tool_usages", "daily_tool_usages"}:
            return min(self.scenario.tools_per_day, _ROOM // 2)
        if stream in {"screenshots", "locations"}:
            return min(self.scenario.captures_per_day, _ROOM // 2)
        return int(dice.below(_THOUSAND) < self.scenario.events_per_day * _THOUSAND)

    def _content(self, stream: str, organization: Organization, member: Member, day: date, dice: Dice) -> Fields:
        project = dice.pick(member.projects)
        task = dice.pick(project.tasks) if project.tasks and dice.chance(60) else None
        known = {
            "dice": dice,
            "organization": organization,
            "owner": organization.members[0],
            "member": member,
            "project": project,
            "task_id": None if task is None else task.id,
            "day": day,
            "at": organization.midnight(day) + 8 * HOUR + dice.below(10 * HOUR),
            **{name: ids[organization.index] for name, ids in self.places.items()},
        }
        content: Fields = recipes()[stream](known)
        return content


def _since(content: Fields) -> float:
    """From when on an event exists: the latest time that it tells of itself."""
    told = [content[name] for name in ("created_at", "updated_at", "occurred_at") if name in content]
    return max((parse_instant(text) or 0.0 for text in told), default=0.0)
