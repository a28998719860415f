"""Work sessions, built from activities as the vendor advises for exports of timesheets.

The API does not tell when work started and stopped. Activities of one user on one project and task form one session if
each begins no later than the one before ends: 10:05:00 + 300 s, 10:10:00 + 540 s and 10:21:00 + 350 s make two
sessions, 10:05:00-10:19:00 and 10:21:00-10:26:50.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Work = tuple[int, int | None, int | None]
"""Who works on what: user, project, task."""
Change = tuple[int, int]
"""When an activity was uploaded or changed, and its id: of two uploads in one second, the later one has a higher id."""
SLOT = 600
"""Seconds of a slot. Work that begins in a slot ends within the next one."""
ANY_ID = 1 << 64
"""Stands for the id where all that was uploaded in that second may have been there before. Higher than every id."""


@dataclass(frozen=True, slots=True)
class Activity:
    """What a session needs of an activity.

    Attributes:
        id: Its id.
        work: Who tracked it, on what.
        starts: When it began, in seconds since 1970.
        tracked: Its seconds.
        slot: When its ten-minute slot began; windows select by it.
        is_changed: Whether it was uploaded or changed since the last run; known only of late activities.
        is_new: Whether it was uploaded since the last run, so that no run has seen it.
        created: When it was uploaded.
        updated: When it was last changed.
        date: The organization's day.
        billable: Its billable seconds; None if unknown.
        overall: Its seconds with keyboard or mouse activity; None if unknown.
        time_type: How it was tracked, in the vendor's word.
        timesheet: The timesheet that it belongs to.
    """

    id: int
    work: Work
    starts: int
    tracked: int
    slot: int
    is_changed: bool = False
    is_new: bool = False
    created: int = 0
    updated: int = 0
    date: str | None = None
    billable: int | None = 0
    overall: int | None = 0
    time_type: str | None = None
    timesheet: int | None = None

    @property
    def order(self) -> tuple[int, int, int]:
        """By slot first: windows are cut between slots, so the order is the same however they are cut."""
        return self.slot, self.starts, self.id

    @property
    def stops(self) -> int:
        """When it ended."""
        return self.starts + self.tracked

    @property
    def changed(self) -> Change:
        """Its last change, or its upload if it never changed."""
        return self.updated, self.id if self.updated == self.created else ANY_ID


@dataclass(slots=True)
class WorkSession:
    """Work without a gap.

    Attributes:
        id: The id of its first activity.
        work: Who worked, on what.
        starts: When it began, in seconds since 1970.
        stops: When it ended.
        tracked: The seconds of all its activities.
        activities: How many they are.
        superseded_by: The session that it became a part of; None for a session that counts.
        changed: The last change of its activities.
        days: The seconds of its activities by the organization's day, in the order of their coming.
        billable: The billable seconds of its activities; None if one of them is unknown.
        overall: Their seconds with keyboard or mouse activity; None if one of them is unknown.
        time_type: How they were tracked; None if they differ.
        timesheet: The timesheet that they belong to; None if they differ.
    """

    id: int
    work: Work
    starts: int
    stops: int
    tracked: int
    activities: int
    superseded_by: int | None = None
    changed: Change = field(default=(0, 0), compare=False)
    days: Mapping[str, int] = field(default_factory=dict)
    billable: int | None = 0
    overall: int | None = 0
    time_type: str | None = None
    timesheet: int | None = None

    @property
    def date(self) -> str | None:
        """The organization's day of its first activity."""
        return next(iter(self.days), None)

    def goes_on_with(self, activity: Activity) -> bool:
        """Whether an activity belongs to it; the activity begins no earlier than the session's last."""
        return activity.starts <= self.stops

    def has_changed_since(self, activity: Activity) -> bool:
        """Whether an activity may once have begun this one: something in here came, or changed, after its upload."""
        return self.changed > (activity.created, activity.id)

    def add(self, activity: Activity) -> None:
        """Add an activity to it."""
        self.stops = max(self.stops, activity.stops)
        self.tracked += activity.tracked
        self.activities += 1
        self.changed = max(self.changed, activity.changed)
        self.days = _with(self.days, activity)
        self.billable = _sum(self.billable, activity.billable)
        self.overall = _sum(self.overall, activity.overall)
        self.time_type = self.time_type if self.time_type == activity.time_type else None
        self.timesheet = self.timesheet if self.timesheet == activity.timesheet else None


def _with(days: Mapping[str, int], activity: Activity) -> Mapping[str, int]:
    return days if activity.date is None else {**days, activity.date: days.get(activity.date, 0) + activity.tracked}


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


def slot_of(moment: int) -> int:
    """The slot of a moment, by its beginning."""
    return moment - moment % SLOT


def begun_with(activity: Activity) -> WorkSession:
    """The session that an activity begins."""
    return WorkSession(
        activity.id,
        activity.work,
        activity.starts,
        activity.stops,
        activity.tracked,
        activities=1,
        changed=activity.changed,
        days=_with({}, activity),
        billable=activity.billable,
        overall=activity.overall,
        time_type=activity.time_type,
        timesheet=activity.timesheet,
    )


def superseded_session(session: WorkSession, activity: Activity) -> WorkSession:
    """The row for the session that an activity began, now that the activity is part of an earlier session."""
    starts, stops, days = activity.starts, activity.stops, _with({}, replace(activity, tracked=0))
    return WorkSession(activity.id, activity.work, starts, stops, 0, 0, session.id, days=days)


@dataclass(slots=True)
class Carryover:
    """What one run leaves to the next, so that sessions are right across runs.

    Attributes:
        at: The next run reads activities again from this slot, in seconds since 1970.
        open: The sessions before ``at`` that later activities may continue.
        given: The sessions that were written with activities from ``at`` on: those that began there, and those of
            ``open`` that continued there. They are wrong if those activities are gone. By id, with the slot in which
            each began.
        since: Changes since then of activities before ``at`` were not looked for yet.
    """

    at: int
    open: list[WorkSession] = field(default_factory=list)
    given: dict[int, int] = field(default_factory=dict)
    since: int = 0


@dataclass(slots=True)
class Builder:
    """Builds the sessions of one organization from windows of activities, in the order of time.

    Its attributes hold all that it knows, so a run that was cut off between two windows can continue.

    Attributes:
        after: What this run will leave to the next.
        open: The sessions that may still continue.
        given: The sessions that earlier runs wrote, of activities that were not seen again yet: as in ``after``.
        is_past: Whether ``after.at`` was passed.
        since: Since then, unknown runs may have written sessions: they had other filters, or were killed before their
            STATE arrived.
        cut: Sessions that begin before this are not written: the vendor may no longer give their beginning.
        elsewhere: The ids of sessions that runs with other filters wrote.
    """

    after: Carryover
    open: list[WorkSession] = field(default_factory=list)
    given: dict[int, int] = field(default_factory=dict)
    is_past: bool = False
    since: int = 0
    cut: int = 0
    elsewhere: frozenset[int] = frozenset()

    @classmethod
    def continuing(cls, before: Carryover, reread_from: int, since: int = 0, cut: int = 0) -> Builder:
        """A builder for the next run, which reads activities again from ``before.at``."""
        after = Carryover(max(reread_from, before.at), since=before.since)
        return cls(after, [replace(session) for session in before.open], dict(before.given), since=since, cut=cut)

    def add_window(self, activities: Iterable[Activity], stop: int) -> list[WorkSession]:
        """The sessions that the activities of a window begin or continue, and those that they supersede.

        Args:
            activities: All those whose slots are in the window, in any order.
            stop: The window's end, in seconds since 1970.
        """
        going = {session.work: session for session in self.open}
        # Sessions that were written with more than they have now are written again, whether they continue or not.
        changed = {session.id: session for session in self.open if self.given.pop(session.id, None) is not None}
        superseded: list[WorkSession] = []
        for activity in sorted(activities, key=lambda activity: activity.order):
            self._pass(activity.slot, going)
            session = going.get(activity.work)
            if session is not None and session.goes_on_with(activity):
                session.add(activity)
                may_be_given = session.changed >= (self.since, 0) and session.has_changed_since(activity)
                if activity.id in self.given or activity.id in self.elsewhere or may_be_given:
                    superseded.append(superseded_session(session, activity))
            else:
                session = going[activity.work] = begun_with(activity)
            if self.is_past:
                self.after.given[session.id] = slot_of(session.starts)
            self.given.pop(activity.id, None)
            changed[session.id] = session
        self._pass(stop, going)
        self.open = [session for session in going.values() if session.stops >= stop]
        return [*(replace(session) for session in changed.values() if session.starts >= self.cut), *superseded]

    def gone(self, stop: int) -> list[int]:
        """The sessions of before ``stop`` whose activities are gone. Later ones are left to the next run."""
        self.after.given |= {number: slot for number, slot in self.given.items() if slot >= stop}
        return sorted(number for number, slot in self.given.items() if slot < stop)

    def _pass(self, slot: int, going: Mapping[Work, WorkSession]) -> None:
        """Keep the open sessions at the moment from which the next run reads again."""
        if not self.is_past and slot >= self.after.at:
            self.is_past = True
            self.after.open = [replace(session) for session in going.values() if session.stops >= self.after.at]


@dataclass(slots=True)
class Reading:
    """An organization that is being read.

    Attributes:
        builder: Makes the sessions.
        activities: Those of the window so far, by id: a window that was too much is begun again.
    """

    builder: Builder
    activities: dict[int, Activity] = field(default_factory=dict)

    def end_window(self, stop: int) -> list[WorkSession]:
        """The sessions of the window that ends at ``stop``, in seconds since 1970."""
        within = [activity for activity in self.activities.values() if activity.slot < stop]
        self.activities = {}
        return self.builder.add_window(within, stop)
