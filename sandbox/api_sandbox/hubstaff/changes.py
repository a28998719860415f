"""What people do while time goes on: edits, late uploads and deletions, and how long until readers see them."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone

from api_sandbox.hubstaff.account import Organization
from api_sandbox.hubstaff.activity import SLOT, Activity
from api_sandbox.hubstaff.clock import DAY, instant
from api_sandbox.hubstaff.records import Record
from api_sandbox.hubstaff.scenario import Tracked
from api_sandbox.hubstaff.world import World
from api_sandbox.settings import Count, Positive

_TEXTS = ("name", "summary", "message", "notes", "note", "description")
"""Fields of which an edit changes the first that there is."""


class NothingToChange(ValueError):  # noqa: N818 - reads better in a traceback than with a suffix
    """A change was asked for that is not possible, such as deleting more than there is."""


@dataclass(slots=True)
class Changes:
    """Makes changes. Each happens now; readers see those of activities up to `activity_delay` later."""

    world: World
    _chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        """Make chance repeatable."""
        # Not for secrets: the same changes in every run.
        self._chance = random.Random(f"{self.world.seed}/changes")  # noqa: S311

    def edit(self, stream: str, count: Positive, organization: Count | None = None) -> list[str]:
        """Change rows, of which `updated_at` then tells, and give their ids.

        Args:
            stream: `activities`, or the stream of a list that does not grow day by day.
            count: How many rows.
            organization: Index of the organization; None for all of them.
        """
        return self._each(self._some(stream, count, organization), self._edit_activity, self._edit_record)

    def delete(self, stream: str, count: Positive, organization: Count | None = None) -> list[str]:
        """Delete rows for good, of which no list of updates tells, and give their ids; arguments as for edits."""

        def forget(record: Record) -> None:
            self.world.later(self.world.clock.now(), lambda: self.world.lists.forget(stream, record))

        return self._each(self._some(stream, count, organization), self._delete_activity, forget)

    def transfer(self, count: Positive, organization: Count | None = None, days: Positive = 30) -> list[str]:
        """Move work of so many days to another organization, as with its project: ids and users stay. Gives the ids.

        In the first organization it is as if it was deleted; in the other one it changes now.
        """
        everyone = self.world.account.organizations

        def move(activity: Activity) -> None:
            world, now = self.world, int(self.world.clock.now())
            other = everyone[(activity.organization + 1) % len(everyone)]

            def change() -> None:
                if activity.gone:
                    return
                moved = replace(
                    activity,
                    organization=other.index,
                    project=other.projects[0],
                    task=None,
                    date=other.date_at(activity.starts),
                    updated=now,
                )
                world.daily.sum_again(activity, now)
                world.activities.take_out(activity)
                world.activities.put(moved)

            world.later(self._due(now), change)

        since = self.world.clock.horizon() - days * DAY
        recent = [one for one in self._activities(organization) if one.starts >= since]
        chosen = self._chance.sample(recent, min(count, len(recent)))
        return self._each(chosen, move, self._edit_record)

    def add_late(
        self, count: Positive, organization: Count | None = None, days: Positive = 30, *, beside: bool = False
    ) -> list[str]:
        """Upload activities now that were tracked within so many days before, and give their ids.

        Args:
            count: How many.
            organization: Index of the organization; None for all of them.
            days: How many days.
            beside: Whether each ends where an activity of the same work begins, or begins where one ends.
        """
        if beside:
            return [self._upload(one) for one in self._beside_others(count, organization, days)]
        horizon = int(self.world.clock.horizon())
        added = []
        for one in self._organizations(organization, count):
            # Not the owner's alone; those who were removed upload nothing.
            member = self._chance.choice([member for member in one.members if member.removed is None])
            project = self._chance.choice(one.projects)
            task = self._chance.choice((None, *range(len(project.tasks))))
            starts = self._chance.randrange(horizon - days * DAY, horizon - 2 * SLOT)
            tracked = self._chance.randint(1, SLOT - starts % SLOT)
            wanted = Tracked(
                starts_at=datetime.fromtimestamp(starts, timezone.utc),
                tracked=tracked,
                organization=one.index,
                member=member.index,
                project=project.index,
                task=task,
            )
            added.append(self._upload(wanted))
        return added

    def _beside_others(self, count: int, organization: int | None, days: int) -> Iterator[Tracked]:
        now = self.world.clock.horizon()
        others = [one for one in self._activities(organization) if now - days * DAY <= one.starts <= now - 2 * SLOT]
        for other in self._chance.sample(others, min(count, len(others))):
            is_before = self._chance.random() < 0.5  # noqa: PLR2004 - either
            room = (other.starts % SLOT or SLOT) if is_before else SLOT - other.ends % SLOT
            tracked = self._chance.randint(1, room)
            yield Tracked(
                starts_at=datetime.fromtimestamp(other.starts - tracked if is_before else other.ends, timezone.utc),
                tracked=tracked,
                organization=other.organization,
                member=other.member.index,
                project=other.project.index,
                task=None if other.task is None else other.project.tasks.index(other.task),
            )

    def add(self, tracked: Sequence[Tracked]) -> list[str]:
        """Upload the activities that a test wants now, and give their ids."""
        try:
            return [self._upload(one) for one in tracked]
        except IndexError as error:
            raise NothingToChange("an organization, member, project or task is not there") from error

    def _upload(self, wanted: Tracked) -> str:
        world, now = self.world, int(self.world.clock.now())
        activity = world.activities.make(wanted, created=now, seen=0.0)
        world.later(self._due(now), lambda: world.activities.put(activity))
        return activity.id

    def _each(
        self,
        rows: Sequence[Activity | Record],
        activity: Callable[[Activity], None],
        record: Callable[[Record], None],
    ) -> list[str]:
        """Do something to rows, and give their ids."""
        for row in rows:
            if isinstance(row, Activity):
                activity(row)
            else:
                record(row)
        return [row.id for row in rows]

    def _due(self, now: float) -> float:
        """When readers see what happens now."""
        return now + self._chance.random() * self.world.scenario.activity_delay

    def _edit_activity(self, activity: Activity) -> None:
        world, now = self.world, int(self.world.clock.now())
        tracked = self._chance.randint(1, SLOT - activity.starts % SLOT)
        organization = world.account.organizations[activity.organization]
        project = self._chance.choice((activity.project, *organization.projects))

        def change() -> None:
            # Readers may see a later change first, and then never the earlier one.
            if activity.gone or now < activity.updated:
                return
            world.daily.sum_again(activity, now)
            if project is not activity.project:
                activity.task = None
            activity.project, activity.tracked, activity.updated = project, tracked, now
            world.activities.touch(activity)

        world.later(self._due(now), change)

    def _delete_activity(self, activity: Activity) -> None:
        world, now = self.world, int(self.world.clock.now())

        def change() -> None:
            world.daily.sum_again(activity, now)
            world.activities.take_out(activity)

        world.later(self._due(now), change)

    def _edit_record(self, record: Record) -> None:
        now = self.world.clock.now()

        def change() -> None:
            for name in _TEXTS:
                if isinstance(record.content.get(name), str):
                    record.content[name] += " ✎"
                    break
            record.content["updated_at"] = instant(now)

        self.world.later(now, change)

    def _activities(self, organization: int | None) -> Iterator[Activity]:
        self.world.catch_up()
        for one in self.world.account.organizations:
            if organization in {None, one.index}:
                yield from self.world.activities.all(one)

    def _some(self, stream: str, count: int, organization: int | None) -> Sequence[Activity | Record]:
        """Rows by chance."""
        if stream not in self.world.streams():
            raise NothingToChange(f"there is no stream {stream}")
        self.world.catch_up()
        found: dict[str, Activity | Record] = {}
        if stream == "activities":
            found = {activity.id: activity for activity in self._activities(organization)}
        else:
            for owner, row in self.world.rows(stream):
                of_it = organization in {None, None if owner is None else owner.index}
                if of_it and isinstance(row, Record) and "updated_at" in row.content:
                    found[row.id] = row
        if len(found) < count:
            raise NothingToChange(f"there are {len(found)} {stream} that can be changed, not {count}")
        return self._chance.sample(list(found.values()), count)

    def _organizations(self, organization: int | None, count: int) -> list[Organization]:
        everyone = self.world.account.organizations
        return [everyone[number % len(everyone) if organization is None else organization] for number in range(count)]
