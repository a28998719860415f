"""Late changes: old sessions that are different because activities were uploaded or changed since the last run.

The list of updates says whose work changed, and when that work was. The activities of those users around it are read
again, and the sessions there are built again. Old sessions are not stored: when each activity was uploaded and last
changed tells what was written of it.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

from tap_hubstaff.streams.changed_work import QUARTER
from tap_hubstaff.windows.window import MOST_USERS
from tap_hubstaff.work_sessions.model import SLOT, begun_with, slot_of, superseded_session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tap_hubstaff.work_sessions.model import Activity, Carryover, WorkSession

HOUR = 3600
DAY = 24 * HOUR
AROUND = 9 * HOUR
"""Also read before and after: most people work no longer without a gap."""
LONGEST = 7 * DAY
"""No region is longer: its activities are held in memory."""
ROWS_A_DAY = 48
"""Expected activities of a user in a day: eight hours."""

Touched = set[tuple[int, int]]
"""Where work changed: the beginning of a quarter of a day, and the user."""


@dataclass(frozen=True, slots=True)
class Region:
    """A stretch of time whose sessions are built again.

    Attributes:
        begin: Its beginning, in seconds since 1970.
        stop: Its end, exclusive.
        since: What was uploaded or changed since counts as changed.
        users: Whose sessions.
    """

    begin: int
    stop: int
    since: int
    users: tuple[int, ...]

    def requests(self, page: int) -> int:
        """About how many requests it takes."""
        return max(1, math.ceil(len(self.users) * (self.stop - self.begin) / DAY * ROWS_A_DAY / page))

    def joined(self, other: Region) -> Region:
        """One region in place of two."""
        users = tuple(sorted({*self.users, *other.users}))
        return Region(min(self.begin, other.begin), max(self.stop, other.stop), min(self.since, other.since), users)


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """The sessions of a region, built again.

    Attributes:
        near: The sessions that may have changed, in the order of time.
        superseded: The sessions that they may have superseded.
        open: The sessions that may continue after the region.
    """

    near: list[WorkSession]
    superseded: list[WorkSession]
    open: list[WorkSession]


def regions(touched: Touched, since: int, earliest: int, at: int, page: int) -> list[Region]:
    """What to read again, in few requests.

    Args:
        touched: Where work changed.
        since: Since when.
        earliest: Nothing before is read.
        at: Nothing from here on is read: the run reads it anyway.
        page: Rows in a full page.
    """
    found: list[Region] = []
    for quarter, own in groupby(sorted(touched), key=lambda one: one[0]):
        begin, stop = max(earliest, quarter - AROUND), min(at, quarter + QUARTER + AROUND)
        following = Region(begin, stop, since, tuple(user for _, user in own))
        if begin >= stop:
            continue
        both = found[-1].joined(following) if found else following
        if (
            found
            and both.stop - both.begin <= LONGEST
            and both.requests(page) <= found[-1].requests(page) + following.requests(page)
        ):
            found[-1] = both
        else:
            found.append(following)
    return [
        replace(region, users=region.users[at : at + MOST_USERS])
        for region in found
        for at in range(0, len(region.users), MOST_USERS)
    ]


def rebuilt(activities: Iterable[Activity], stop: int) -> Rebuilt:
    """Build the sessions of a region again, and find those that may have changed.

    An activity in the middle of a session may have begun one before. It did not if it was uploaded since, or if it
    continued another unchanged activity.

    Args:
        activities: All those of the region, in any order.
        stop: The region's end.
    """
    found: dict[int, WorkSession] = {}
    superseded: list[WorkSession] = []
    going: dict[object, WorkSession] = {}
    settled: dict[int, int] = {}
    changes: dict[int, list[tuple[int, int]]] = {}
    for activity in sorted(activities, key=lambda activity: activity.order):
        session = going.get(activity.work)
        if session is None or not session.goes_on_with(activity):
            session = going[activity.work] = found[activity.id] = begun_with(activity)
        else:
            session.add(activity)
            may_have_begun = activity.is_changed or settled.get(session.id, activity.starts - 1) < activity.starts
            if may_have_begun and (not activity.is_new or session.has_changed_since(activity)):
                superseded.append(superseded_session(session, activity))
        if activity.is_changed:
            own = changes.setdefault(activity.work[0], [])
            own.append((activity.slot, max(activity.slot + 2 * SLOT, activity.stops, own[-1][1] if own else 0)))
        else:
            settled[session.id] = max(settled.get(session.id, activity.stops), activity.stops)
    reaching = [session for session in found.values() if session.stops >= stop]
    near = [session for session in found.values() if _is_near(session, changes.get(session.work[0], ()))]
    return Rebuilt(near, superseded, reaching)


def _is_near(session: WorkSession, changes: Sequence[tuple[int, int]]) -> bool:
    """Whether an activity may have been part of a session before the activity changed within its slot.

    Args:
        session: The session.
        changes: The slots of changed activities, each with the latest end of it and those before.
    """
    last = bisect_right(changes, session.stops, key=lambda change: change[0])
    return last > 0 and session.starts <= changes[last - 1][1]


def known_from(begin: int) -> int:
    """From when on a session is known from its beginning, if activities are read from ``begin`` on."""
    first = -(-begin // SLOT) * SLOT
    return first + SLOT + 1  # work of the slot before may last as long


def is_cut(session: WorkSession, begin: int) -> bool:
    """Whether a session may have begun before what was read from ``begin`` on."""
    return session.starts < known_from(begin)


def leading_to(start: int, earliest: int, read: Callable[[int, int, Sequence[int]], list[Activity]]) -> list[Activity]:
    """The activities of the sessions that are going on at a moment, from before it.

    At most moments few work. So little is read at first, and then more of those who do.

    Args:
        start: The moment.
        earliest: Nothing before is read.
        read: Gives the activities between two moments of some users, or of all.
    """
    found: list[Activity] = []
    begin, length, users = start, HOUR, list[int]()
    while begin > earliest:
        longer = max(earliest, begin - length)
        found += read(longer, begin, users)
        begin, length = longer, AROUND
        users = sorted({session.work[0] for session in rebuilt(found, start).open if is_cut(session, begin)})
        if not users:
            break
    return found


def reaching(sessions: Sequence[WorkSession], start: int) -> list[WorkSession]:
    """The sessions that reach a moment; those that ended before are left out, with those that they superseded."""
    before = {session.id for session in sessions if session.superseded_by is None and session.stops < start}
    return [session for session in sessions if (session.superseded_by or session.id) not in before]


def closed(
    region: Region, earliest: int, at: int, read: Callable[[int, int], list[Activity]]
) -> tuple[Region, Rebuilt]:
    """Build the sessions of a region again; make it longer until no session that may have changed goes beyond it.

    Args:
        region: Where.
        earliest: Nothing before is read.
        at: Nothing from here on is read.
        read: Gives the activities between two moments.
    """
    activities = read(region.begin, region.stop)
    while True:
        found = rebuilt(activities, region.stop)
        if region.begin > earliest and any(is_cut(session, region.begin) for session in found.near):
            longer = replace(region, begin=max(earliest, region.begin - DAY))
            activities += read(longer.begin, region.begin)
        elif region.stop < at and any(session.stops >= region.stop for session in found.near):
            longer = replace(region, stop=min(at, region.stop + DAY))
            activities += read(region.stop, longer.stop)
        else:
            return region, found
        region = longer


def repair(carryover: Carryover, region: Region, found: Rebuilt) -> list[WorkSession]:
    """Bring the carryover up to date with a region, and return the sessions that are complete.

    Sessions that reach ``carryover.at`` are not complete: the run writes them with what it reads from there on.

    Args:
        carryover: What the last run left.
        region: What was read again.
        found: Its sessions.
    """
    whole = [session for session in found.near if not is_cut(session, region.begin)]
    if region.stop < carryover.at:
        return whole
    near = {session.id for session in whole}
    before = {session.work: session for session in carryover.open}
    carryover.open = [session for session in carryover.open if region.users and session.work[0] not in region.users]
    for session in found.open:
        was = before.get(session.work)
        if not is_cut(session, region.begin):
            carryover.open.append(session)
            if session.id in near or session != was:
                carryover.given[session.id] = slot_of(session.starts)
        elif was is not None:
            carryover.open.append(was)
    # A session that no longer continues there is done.
    ended = {session.id for session in before.values()}.difference(session.id for session in carryover.open)
    carryover.given = {number: slot for number, slot in carryover.given.items() if number not in ended}
    at_end = {session.id for session in found.open}
    return [session for session in whole if session.id not in at_end]
