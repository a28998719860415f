"""Turns rows of activities into what sessions need, and sessions into rows."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
from singer_http.conversions import converted
from singer_http.http.errors import MalformedAnswerError
from singer_sdk import SchemaDirectory

from tap_hubstaff import schemas
from tap_hubstaff.times import BEGINNING, iso, parse_iso
from tap_hubstaff.work_sessions.model import Activity

if TYPE_CHECKING:
    from singer_sdk.helpers.types import Record

    from tap_hubstaff.work_sessions import late_changes
    from tap_hubstaff.work_sessions.model import WorkSession

NEVER = 1 << 40
"""An activity that does not say when it changed counts as changed: this is later than anything."""


class _Row(msgspec.Struct):
    """What is read of an activity."""

    id: int
    user_id: int
    starts_at: str
    time_slot: str
    tracked: int | None
    project_id: int | None = None
    task_id: int | None = None
    created_at: str | None = None
    updated_at: str | None = None
    date: str | None = None
    billable: bool | None = None
    overall: int | None = None
    time_type: str | None = None
    timesheet_id: int | None = None


_PROPERTIES = SchemaDirectory(schemas).get_schema("activities")["properties"]


def seconds(of: dt.datetime) -> int:
    """Seconds since 1970."""
    return int(of.timestamp())


def moment(of: int) -> dt.datetime:
    """The time so many seconds after 1970 began."""
    return BEGINNING + dt.timedelta(seconds=of)


def activity_of(row: Record) -> Activity:
    """What sessions need of an activity.

    Args:
        row: As the API gives it.

    Raises:
        MalformedAnswerError: It does not say when it was, or has a value of another type than the vendor says.
    """
    try:
        known = _known(row)
        tracked = known.tracked or 0
        starts = parse_iso(known.starts_at)
        _ = starts + dt.timedelta(seconds=tracked)  # its end has to be a valid time too
        return Activity(
            id=known.id,
            work=(known.user_id, known.project_id, known.task_id),
            starts=seconds(starts),
            tracked=tracked,
            slot=seconds(parse_iso(known.time_slot)),
            created=seconds(parse_iso(known.created_at)) if known.created_at else 0,
            updated=seconds(parse_iso(known.updated_at)) if known.updated_at else NEVER,
            date=known.date,
            billable=None if known.billable is None else tracked * known.billable,
            overall=known.overall,
            time_type=known.time_type,
            timesheet=known.timesheet_id,
        )
    except (ValueError, OverflowError):
        raise MalformedAnswerError("An activity came without its times, or with an odd value.") from None


def _known(row: Record) -> _Row:
    try:
        return msgspec.convert(row, _Row)
    except msgspec.ValidationError:  # then its values are converted as the stream of activities does
        read = {name: converted(row[name], _PROPERTIES[name]) for name in _Row.__struct_fields__ if name in row}
        return msgspec.convert(read, _Row)


def judged(activity: Activity, region: late_changes.Region, seen: int) -> Activity:
    """An activity, and whether it changed, and whether no run has seen it.

    Args:
        activity: The activity.
        region: The region that it was read for.
        seen: When the last run began, whatever its filter.
    """
    return replace(
        activity, is_changed=activity.updated >= region.since, is_new=activity.created >= max(region.since, seen)
    )


def record_of(session: WorkSession) -> Record:
    """The row of a session."""
    user, project, task = session.work
    return {
        "id": session.id,
        "user_id": user,
        "project_id": project,
        "task_id": task,
        "started_at": iso(moment(session.starts)),
        "stopped_at": iso(moment(session.stops)),
        "date": session.date,
        "tracked": session.tracked,
        "tracked_by_date": {**session.days},
        "billable": session.billable,
        "overall": session.overall,
        "time_type": session.time_type,
        "timesheet_id": session.timesheet,
        "activities": session.activities,
        "superseded_by": session.superseded_by,
    }


def gone(number: int) -> Record:
    """The row of a session that was written and exists no more."""
    nothing = dict.fromkeys(("tracked", "billable", "overall", "activities"), 0)
    return {"id": number, **nothing, "superseded_by": number}
