"""What STATE holds of work sessions, as JSON: each session is a row of values.

See :mod:`tap_hubstaff.work_sessions.stream` for how it looks. What reads it raises LookupError, ValueError or
TypeError for what it has not written.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from tap_hubstaff.work_sessions.late_changes import Region
from tap_hubstaff.work_sessions.model import ANY_ID, Builder, Carryover, WorkSession, slot_of
from tap_hubstaff.work_sessions.rows import NEVER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_UNKNOWN = 1 << 37
_Moment = Annotated[int, msgspec.Meta(ge=0, le=_UNKNOWN)]
"""Seconds since 1970."""
_Change = Annotated[int, msgspec.Meta(ge=0, le=NEVER)]
_Numbers = tuple[int, int, int | None, int | None, _Moment, _Moment, int, int, _Change]
_Told = tuple[dict[str, int], int | None, int | None, str | None, int | None]
_Region = tuple[_Moment, _Moment, _Moment, list[int]]


def _as(kind: Any, kept: Any) -> Any:
    try:
        return msgspec.convert(kept, kind, str_keys=True)
    except msgspec.ValidationError:
        raise ValueError("not as it is written here") from None


def _flat_session(session: WorkSession) -> list[Any]:
    numbers = [session.starts, session.stops, session.tracked, session.activities, session.changed[0]]
    details = [{**session.days}, session.billable, session.overall, session.time_type, session.timesheet]
    return [session.id, *session.work, *numbers, *details]


def _sessions(rows: Any) -> Iterator[WorkSession]:
    for row in rows:
        number, user, project, task, starts, stops, tracked, activities, changed = _as(_Numbers, row[:9])
        days, billable, overall, time_type, timesheet = _as(_Told, row[9:])
        yield WorkSession(
            number,
            (user, project, task),
            starts,
            stops,
            tracked,
            activities,
            changed=(changed, ANY_ID),
            days=days,
            billable=billable,
            overall=overall,
            time_type=time_type,
            timesheet=timesheet,
        )


def _flat_given(given: Mapping[int, int]) -> dict[str, list[int]]:
    by_slot: defaultdict[str, list[int]] = defaultdict(list)
    for number, slot in given.items():
        by_slot[str(slot)].append(number)
    return by_slot


def _given(kept: Any) -> dict[int, int]:
    if isinstance(kept, list):  # of 0.1.0: nothing tells when these began, so they are left to a read without end
        return dict.fromkeys(_as(list[int], kept), _UNKNOWN)
    return {number: slot for slot, numbers in _as(dict[_Moment, list[int]], kept).items() for number in numbers}


def flat_carryover(carryover: Carryover) -> dict[str, Any]:
    """What a run leaves to the next."""
    sessions = [_flat_session(session) for session in carryover.open]
    return {"at": carryover.at, "open": sessions, "given": _flat_given(carryover.given), "since": carryover.since}


def unflat_carryover(kept: dict[str, Any]) -> Carryover:
    """Read what :func:`flat_carryover` wrote."""
    at, since = _as(tuple[_Moment, _Moment], (kept["at"], kept.get("since", 0)))
    return Carryover(at, list(_sessions(kept["open"])), _given(kept["given"]), since)


def given_in(bookmarks: Iterable[Mapping[str, Any]]) -> frozenset[int]:
    """The sessions that runs wrote, whatever their filter, as far as their bookmarks tell."""
    found = set[int]()
    for bookmark in bookmarks:
        with suppress(LookupError, ValueError, TypeError, AttributeError):
            found |= unflat_carryover(bookmark["sessions"]).given.keys()
    return frozenset(found)


def take_out(bookmarks: Iterable[Mapping[str, Any]], sessions: Sequence[WorkSession]) -> None:
    """Let bookmarks no longer say that they wrote sessions which count elsewhere now."""
    counting = [(session.id, str(slot_of(session.starts))) for session in sessions if session.superseded_by is None]
    for bookmark in bookmarks:
        left = bookmark.get("resume", {}).get("sessions")  # by a read that was cut off
        after = left.get("after") if isinstance(left, dict) else None
        for carryover in (bookmark.get("sessions"), left, after):
            given = carryover.get("given") if isinstance(carryover, dict) else None
            if not isinstance(given, dict):
                continue
            for number, slot in counting:
                if isinstance(numbers := given.get(slot), list) and number in numbers:
                    numbers.remove(number)


def flat_regions(regions: Sequence[Region]) -> list[Any]:
    """What remains to be built again."""
    return [[region.begin, region.stop, region.since, [*region.users]] for region in regions]


def unflat_regions(rows: Any) -> list[Region]:
    """Read what :func:`flat_regions` wrote."""
    return [Region(begin, stop, since, tuple(users)) for begin, stop, since, users in _as(list[_Region], rows)]


def flat_builder(builder: Builder) -> dict[str, Any]:
    """What a run needs to continue after it was cut off between two windows."""
    return {
        "after": flat_carryover(builder.after),
        "open": [_flat_session(session) for session in builder.open],
        "given": _flat_given(builder.given),
        "is_past": builder.is_past,
        "since": builder.since,
        "cut": builder.cut,
    }


def unflat_builder(kept: dict[str, Any]) -> Builder:
    """Read what :func:`flat_builder` wrote."""
    after = unflat_carryover(kept["after"])
    sessions = list(_sessions(kept["open"]))
    since, cut = _as(tuple[_Moment, _Moment], (kept["since"], kept["cut"]))
    return Builder(after, sessions, _given(kept["given"]), is_past=bool(kept["is_past"]), since=since, cut=cut)
