"""The streams that are read by windows of time: what members did, and when.

What the Swagger says of each: by what it is asked, the longest window, and how far back it reaches. Where it names no
longest window, there is one, and it is halved only where the API fails at it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from tap_hubstaff.coverage import UPDATES
from tap_hubstaff.windowed import Feed, WindowedStream
from tap_hubstaff.windows import Filter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from singer_http.reading.pages import Slice
    from singer_http.reading.track import Fetched
    from singer_sdk.helpers.types import Record
    from singer_sdk.metrics import Counter

_BY_MEMBER = frozenset({"user_ids"})
_BY_WORK = frozenset({"user_ids", "project_ids", "task_ids"})


class Activities(WindowedStream):
    """Tracked time in slots of ten minutes, and every later change of it."""

    name = "activities"
    path = "/organizations/{organization_id}/activities"
    filters = _BY_WORK
    by = Filter("time_slot", "time_slot", longest=7, months=6)
    updates = Feed(
        UPDATES,
        "/organizations/{organization_id}/activities/updates",
        Filter("updated", "updated_at", longest=7, days=45),
    )

    @override
    def _sync_slice(
        self, of: Slice, pages: Iterator[Fetched], counter: Counter, *, write_messages: bool
    ) -> Iterator[Record]:
        along = self._hubstaff.time_sessions.along(of, pages)
        yield from super()._sync_slice(of, along, counter, write_messages=write_messages)


class DailyActivities(WindowedStream):
    """Tracked time by day, and every later change of it."""

    name = "daily_activities"
    path = "/organizations/{organization_id}/activities/daily"
    filters = _BY_WORK
    by = Filter("date", "date", longest=31, months=36, by_day=True)
    updates = Feed(
        UPDATES,
        "/organizations/{organization_id}/activities/daily/updates",
        Filter("updated", "updated_at", longest=31, months=1),
    )


class ToolUsages(WindowedStream):
    """Applications and sites used, in slots of ten minutes; the vendor keeps a month."""

    name = "tool_usages"
    path = "/organizations/{organization_id}/tool_usages"
    filters = _BY_WORK
    by = Filter("time_slot", "time_slot", longest=7, months=1)


class DailyToolUsages(WindowedStream):
    """Applications and sites used, by day; the vendor keeps a month."""

    name = "daily_tool_usages"
    path = "/organizations/{organization_id}/tool_usages/daily"
    filters = _BY_WORK
    by = Filter("date", "date", longest=14, months=1, by_day=True)


class Screenshots(WindowedStream):
    """Screenshots: where and when they were taken, and the URLs of the pictures."""

    name = "screenshots"
    path = "/organizations/{organization_id}/screenshots"
    filters = frozenset({"user_ids", "project_ids"})
    by = Filter("time_slot", "time_slot", longest=7, months=6)


class Notes(WindowedStream):
    """Notes that members took on their work."""

    name = "notes"
    path = "/organizations/{organization_id}/notes"
    filters = _BY_WORK
    by = Filter("time_slot", "time_slot", longest=31, months=36)


class Locations(WindowedStream):
    """Where members were while they tracked time."""

    name = "locations"
    path = "/organizations/{organization_id}/locations"
    by = Filter("time_slot", "time_slot", longest=7)


class JobSiteVisits(WindowedStream):
    """Visits to job sites."""

    name = "job_site_visits"
    path = "/organizations/{organization_id}/job_site_visits"
    filters = _BY_MEMBER
    by = Filter("enter", "enter_at", longest=None)


class PassiveJobSiteVisits(WindowedStream):
    """Visits to job sites, told by the places where members were."""

    name = "passive_job_site_visits"
    path = "/organizations/{organization_id}/passive_job_site_visits"
    filters = _BY_MEMBER
    by = Filter("enter", "enter_at", longest=None)


class AttendanceShifts(WindowedStream):
    """Shifts, and how they were kept to.

    The vendor keeps them as long as the organization's plan says, and refuses to begin before: the first day that it
    takes is searched for then, and remembered in the state.
    """

    name = "attendance_shifts"
    path = "/organizations/{organization_id}/attendance_shifts"
    by = Filter("date", "date", longest=31, months=36, by_day=True, is_kept_by_plan=True)


class TimeEditLogs(WindowedStream):
    """Who changed tracked time by hand, and why."""

    name = "time_edit_logs"
    path = "/organizations/{organization_id}/time_edit_logs"
    filters = _BY_WORK
    by = Filter("created", "created_at", longest=31, months=36)


class SmartNotifications(WindowedStream):
    """Notifications that were sent to the owner of the credentials; the API shows no others."""

    name = "smart_notifications"
    path = "/organizations/{organization_id}/insights/smart_notifications"
    filters = _BY_MEMBER
    by = Filter("created", "created_at", longest=None)


class UnusualActivities(WindowedStream):
    """Activity that does not look like a person's."""

    name = "unusual_activities"
    path = "/organizations/{organization_id}/insights/unusual_activities"
    filters = _BY_MEMBER
    by = Filter("time_slot", "starts_at", longest=None)
