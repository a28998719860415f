"""The streams that are read by windows of time: what members did, and when.

The Swagger says of each: by what it is asked, the longest window, and how far back it reaches. If it names no longest
window, one window holds everything, and is halved only when the API fails at it.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, cast

from typing_extensions import override

from tap_hubstaff.streams.named_base import NamedStream
from tap_hubstaff.streams.window_base import WindowStream
from tap_hubstaff.streams.window_slice import Feed, WindowSlice
from tap_hubstaff.times import DAY, EAST, midnight, months_before, parse_iso
from tap_hubstaff.windows.window import WindowSpec
from tap_hubstaff.windows.window_resume import UPDATES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from singer_http.reading.pages import Page, Slice
    from singer_sdk.helpers.types import Record
    from singer_sdk.metrics import Counter

    from tap_hubstaff.streams.changed_work import WorkUpdates

NEAR = dt.timedelta(days=3)
"""Days of changed work that are no further apart share a request."""
LONGEST = dt.timedelta(days=31)
"""The longest stretch of days in one request."""
_BY_MEMBER = frozenset({"user_ids"})
_BY_WORK = frozenset({"user_ids", "project_ids", "task_ids"})


class Activities(NamedStream):
    """Tracked time in slots of ten minutes, and every later change of it."""

    name = "activities"
    filters = _BY_WORK
    spec = WindowSpec("time_slot", "time_slot", longest=7, months=6)
    updates = Feed(
        UPDATES,
        "/organizations/{organization_id}/activities/updates",
        WindowSpec("updated", "updated_at", longest=7, days=45),
    )


class DailyActivities(NamedStream):
    """Tracked time by day, and every later change of it."""

    work_updates: WorkUpdates
    """Tells which days to read again."""
    name = "daily_activities"
    path = "/organizations/{organization_id}/activities/daily"
    filters = _BY_WORK
    spec = WindowSpec("date", "date", longest=31, months=36, by_day=True)
    updates = Feed(
        UPDATES,
        "/organizations/{organization_id}/activities/daily/updates",
        WindowSpec("updated", "updated_at", longest=31, months=1),
    )

    @override
    def _sync_slice(
        self, slice_: Slice, pages: Iterator[Page], counter: Counter, *, write_messages: bool
    ) -> Iterator[Record]:
        slice_ = cast("WindowSlice", slice_)
        if slice_.feed.name == UPDATES and slice_.start is None and slice_.partition not in self._broken:
            for again in self._older_days(slice_):
                yield from super()._sync_slice(again, self.read_now(again), counter, write_messages=write_messages)
        yield from super()._sync_slice(slice_, pages, counter, write_messages=write_messages)

    def _older_days(self, slice_: WindowSlice) -> Iterator[WindowSlice]:
        """The days of changed work that are older than the list of updates reaches: a month."""
        began = self._account.began
        month = (months_before(midnight(began + EAST), 1) + DAY).date()
        first = max(self._wanted.start, self.spec.earliest(began)).date()
        changed = self.work_updates.since(slice_.partition, slice_.plan.start).days
        stretches: list[tuple[dt.date, dt.date, set[int]]] = []
        for day, user in sorted(place for place in changed if first <= place[0] <= month):
            begin, stop, users = stretches[-1] if stretches else (day, day, set())
            if not stretches or day - stop > NEAR or day - begin >= LONGEST:
                stretches.append((day, day, {user}))
            else:
                stretches[-1] = (begin, day, users | {user})
        for begin, stop, users in stretches:
            yield self.again(slice_.partition, parse_iso(begin.isoformat()), parse_iso(stop.isoformat()) + DAY, users)

    @override
    def forecast(self, organization: int) -> int:
        needs_updates = bool(self.bookmarks.get({"organization_id": organization}))
        return super().forecast(organization) + (needs_updates and self.work_updates.is_asked_by(self))


class ToolUsages(WindowStream):
    """Applications and sites used, in slots of ten minutes. The vendor keeps a month."""

    name = "tool_usages"
    filters = _BY_WORK
    spec = WindowSpec("time_slot", "time_slot", longest=7, months=1)


class DailyToolUsages(WindowStream):
    """Applications and sites used, by day. The vendor keeps a month."""

    name = "daily_tool_usages"
    path = "/organizations/{organization_id}/tool_usages/daily"
    filters = _BY_WORK
    spec = WindowSpec("date", "date", longest=14, months=1, by_day=True)


class Screenshots(WindowStream):
    """Screenshots: where and when they were taken, and the URLs of the pictures."""

    name = "screenshots"
    filters = frozenset({"user_ids", "project_ids"})
    spec = WindowSpec("time_slot", "time_slot", longest=7, months=6)


class Notes(WindowStream):
    """Notes of members on their work."""

    name = "notes"
    filters = _BY_WORK
    spec = WindowSpec("time_slot", "time_slot", longest=31, months=36)


class Locations(WindowStream):
    """Where members were while they tracked time."""

    name = "locations"
    spec = WindowSpec("time_slot", "time_slot", longest=7)


class JobSiteVisits(WindowStream):
    """Visits to job sites."""

    name = "job_site_visits"
    filters = _BY_MEMBER
    spec = WindowSpec("enter", "enter_at", longest=None)


class PassiveJobSiteVisits(WindowStream):
    """Visits to job sites, recognised by where members were."""

    name = "passive_job_site_visits"
    filters = _BY_MEMBER
    spec = WindowSpec("enter", "enter_at", longest=None)


class AttendanceShifts(WindowStream):
    """Shifts, and whether they were kept.

    The vendor keeps them as long as the organization's plan says, and refuses windows that begin earlier. Then the
    first day that it accepts is searched for, and STATE remembers it.
    """

    name = "attendance_shifts"
    spec = WindowSpec("date", "date", longest=31, months=36, by_day=True, is_kept_by_plan=True)


class TimeEditLogs(WindowStream):
    """Who changed tracked time by hand, and why."""

    name = "time_edit_logs"
    filters = _BY_WORK
    spec = WindowSpec("created", "created_at", longest=31, months=36)


class SmartNotifications(WindowStream):
    """Notifications to the owner of the credentials; the API shows no others."""

    name = "smart_notifications"
    path = "/organizations/{organization_id}/insights/smart_notifications"
    filters = _BY_MEMBER
    spec = WindowSpec("created", "created_at", longest=None)


class UnusualActivities(WindowStream):
    """Activity that does not look human."""

    name = "unusual_activities"
    path = "/organizations/{organization_id}/insights/unusual_activities"
    filters = _BY_MEMBER
    spec = WindowSpec("time_slot", "starts_at", longest=None)
