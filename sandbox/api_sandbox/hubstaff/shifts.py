"""Shifts: what a member tracks on a working day, by chance, as sessions with and without pauses between them."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta

from api_sandbox.hubstaff.account import Member, Organization, Project, Task
from api_sandbox.hubstaff.activity import SLOT, Activity
from api_sandbox.hubstaff.clock import DAY, HOUR, MINUTE
from api_sandbox.hubstaff.scenario import HubstaffScenario

EPOCH = 1_420_070_400
"""2015: ids count the seconds from here on."""
LATEST_UPLOAD_DAYS = 3
_NIGHT = 22 * HOUR  # Some members begin then, so that sessions cross the borders of days and windows.
_NIGHT_WATCH = 2
_MORNING = 8 * HOUR
_SATURDAY = 5
_LONGEST_SESSION = 8  # In slots.
_ON_A_TASK = 0.7
_TO_THE_BORDER = 0.8
_WITHOUT_PAUSE, _SHORT_PAUSE = 0.3, 0.5


@dataclass(slots=True)
class _Shift:
    """One member on one day.

    Attributes:
        midnights: Seconds since 1970 at which the day and the one after it begin.
        uploads: When activities were uploaded already: ids count seconds, so no two may fall together.
    """

    organization: Organization
    member: Member
    midnights: tuple[int, int]
    chance: random.Random
    uploads: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Shifts:
    """Makes the activities of shifts. Each hangs on the seed, the member and the day alone."""

    seed: int
    scenario: HubstaffScenario
    lanes: int

    @property
    def stride(self) -> int:
        """Ids to a second: two for each member, as many again for what tests put in."""
        return 4 * self.lanes

    def made(self, organization: Organization, member: Member, day: date) -> Iterator[Activity]:
        """The activities of a member's shift that began on a day; it may go on after midnight."""
        scenario = self.scenario
        if not member.works_on(day):
            return
        # Not for secrets; a stream of chance, since a day needs more draws than a key of dice holds.
        chance = random.Random(f"{self.seed}/{organization.index}/{member.index}/{day.toordinal()}")  # noqa: S311
        if day.weekday() >= _SATURDAY and chance.random() >= scenario.weekend_share:
            return
        midnights = organization.midnight(day), organization.midnight(day + timedelta(days=1))
        shift = _Shift(organization, member, midnights, chance)
        opening = _NIGHT if member.index % 7 == _NIGHT_WATCH else _MORNING
        moment = midnights[0] + opening + chance.randrange(2 * HOUR)
        wanted = max(1, scenario.activities_per_day + chance.randint(-2, 2)) if scenario.activities_per_day else 0
        while wanted > 0 and moment < midnights[1] + 6 * HOUR:
            project = chance.choice(member.projects)
            task = chance.choice(project.tasks) if project.tasks and chance.random() < _ON_A_TASK else None
            for _ in range(min(chance.randint(1, _LONGEST_SESSION), wanted)):
                to_border = SLOT - moment % SLOT
                tracked = to_border if chance.random() < _TO_THE_BORDER else chance.randint(1, to_border)
                yield self._activity(shift, project, task, moment, tracked)
                wanted -= 1
                moment += tracked
                if tracked < to_border:
                    break
            moment += self._pause(chance)

    def _pause(self, chance: random.Random) -> int:
        """Seconds to the next session: none, a moment, a break; below zero where two clients ran at once."""
        drawn = chance.random()
        if drawn < self.scenario.overlap_share:
            return -chance.randrange(5 * MINUTE)
        if drawn < _WITHOUT_PAUSE:
            return 0
        return chance.randint(1, 2 * MINUTE) if drawn < _SHORT_PAUSE else chance.randint(5 * MINUTE, HOUR)

    def _activity(self, shift: _Shift, project: Project, task: Task | None, starts: int, tracked: int) -> Activity:
        chance = shift.chance
        late = chance.random() < self.scenario.late_share
        if late:
            created = starts + chance.randrange(HOUR, LATEST_UPLOAD_DAYS * DAY)
            # The seconds of the minute tell the days of three apart, so that their uploads never fall together.
            created += shift.midnights[0] // DAY % 60 - created % 60
        else:
            created = starts + tracked + chance.randint(1, 50)
        while created in shift.uploads:
            created += 60 if late else 1
        shift.uploads.add(created)
        return Activity(
            key=(created - EPOCH) * self.stride + 2 * shift.member.lane + late,
            organization=shift.organization.index,
            member=shift.member,
            project=project,
            task=task,
            starts=starts,
            tracked=tracked,
            date=shift.organization.date_at(starts),
            created=created,
            updated=created,
            seen=created + chance.random() * self.scenario.activity_delay,
            spread=chance.randrange(9973),
        )
