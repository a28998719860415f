"""What STATE holds of work sessions, as JSON: each session is a row of values.

See :mod:`tap_hubstaff.work_sessions.stream` for how it looks. What reads it raises LookupError, ValueError or
TypeError for what it has not written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from tap_hubstaff.work_sessions.late_changes import Region
from tap_hubstaff.work_sessions.model import ANY_ID, Builder, Carryover, WorkSession
from tap_hubstaff.work_sessions.rows import NEVER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_Moment = Annotated[int, msgspec.Meta(ge=0, le=1 << 37)]
"""Seconds since 1970."""
_Change = Annotated[int, msgspec.Meta(ge=0, le=NEVER)]
_Numbers = tuple[int, int, int | None, int | None, _Moment, _Moment, int, int, _Change]
_Told = tuple[str | None, int | None, int | None, str | None, int | None]
_Region = tuple[_Moment, _Moment, _Moment, list[int]]


def _as(kind: Any, kept: Any) -> Any:
    try:
        return msgspec.convert(kept, kind)
    except msgspec.ValidationError:
        raise ValueError("not as it is written here") from None


def _flat_session(session: WorkSession) -> list[int | str | None]:
    numbers = [session.starts, session.stops, session.tracked, session.activities, session.changed[0]]
    details = [session.date, session.billable, session.overall, session.time_type, session.timesheet]
    return [session.id, *session.work, *numbers, *details]


def _sessions(rows: Any) -> Iterator[WorkSession]:
    for row in rows:
        number, user, project, task, starts, stops, tracked, activities, changed = _as(_Numbers, row[:9])
        date, billable, overall, time_type, timesheet = _as(_Told, row[9:])
        yield WorkSession(
            number,
            (user, project, task),
            starts,
            stops,
            tracked,
            activities,
            changed=(changed, ANY_ID),
            date=date,
            billable=billable,
            overall=overall,
            time_type=time_type,
            timesheet=timesheet,
        )


def flat_carryover(carryover: Carryover) -> dict[str, Any]:
    """What a run leaves to the next."""
    sessions = [_flat_session(session) for session in carryover.open]
    return {"at": carryover.at, "open": sessions, "given": [*carryover.given], "since": carryover.since}


def unflat_carryover(kept: dict[str, Any]) -> Carryover:
    """Read what :func:`flat_carryover` wrote."""
    at, since = _as(tuple[_Moment, _Moment], (kept["at"], kept.get("since", 0)))
    return Carryover(at, list(_sessions(kept["open"])), _as(list[int], kept["given"]), since)


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
        "given": sorted(builder.given),
        "is_past": builder.is_past,
        "since": builder.since,
        "cut": builder.cut,
    }


def unflat_builder(kept: dict[str, Any]) -> Builder:
    """Read what :func:`flat_builder` wrote."""
    after = unflat_carryover(kept["after"])
    sessions = list(_sessions(kept["open"]))
    since, cut = _as(tuple[_Moment, _Moment], (kept["since"], kept["cut"]))
    return Builder(after, sessions, _as(set[int], kept["given"]), is_past=bool(kept["is_past"]), since=since, cut=cut)
