"""The stream of work sessions: activities read window by window, of which sessions are built.

The activities of a window come in the order of their ids, so nothing can be said before the last page of the window.
What goes on from window to window and from run to run is kept in the state::

    {"replication_key_value": "2026-01-31T11:40:00Z",
     "sessions": {"at": 1769686800, "open": [[11, 5, 3, null, 1769686500, 1769687100, 600, 1]], "given": [12, 13]}}

A first run does not ask for pages twice: sessions are then built of the pages that ``activities`` reads.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from singer_http.bookmarks import RESUME
from singer_http.errors import MalformedAnswerError
from singer_sdk.singerlib.catalog import REPLICATION_INCREMENTAL
from typing_extensions import override

from tap_hubstaff.sessions import Activity, Builder, Ledger, Session
from tap_hubstaff.windowed import WINDOWS, WindowedStream, WindowSlice
from tap_hubstaff.windows import BEGINNING, Filter, Window, iso, parse_iso

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from singer_http.bookmarks import Bookmark
    from singer_http.pages import Page, Slice
    from singer_http.track import Fetched
    from singer_sdk.helpers.types import Record

    from tap_hubstaff.tap import TapHubstaff

SESSIONS = "sessions"


@dataclass(slots=True)
class _Reading:
    """The organization that is being read.

    Attributes:
        builder: Makes the sessions.
        activities: Those of the window so far, by id: a window that was too much is begun again.
    """

    builder: Builder
    activities: dict[int, Activity]


class TimeSessions(WindowedStream):
    """Exact start and stop of each stretch of work, built from activities.

    Activities that are uploaded or changed later than ``lookback_days`` before a run are not seen any more.
    """

    name = "time_sessions"
    path = "/organizations/{organization_id}/activities"
    envelope = ("activities",)
    by = Filter("time_slot", "time_slot", longest=7, months=6)
    filters = frozenset({"user_ids", "project_ids", "task_ids"})

    def __init__(self, tap: TapHubstaff) -> None:
        super().__init__(tap)
        self._reading: dict[int, _Reading] = {}
        self._following: set[int] = set()
        self._is_described = False

    def follow(self, activities: WindowedStream) -> None:
        """Decide, before anything is read, where the pages that ``activities`` reads anyway will do.

        That is where both have everything before them. A run that is cut off leaves each its own place to go on at.
        """
        methods = {self.replication_method, activities.replication_method}
        if not (self.selected and activities.selected and methods == {REPLICATION_INCREMENTAL}):
            return
        if self.config.get("batch_config"):
            return  # records are then not written where they are read
        for partition in self.partitions or ():
            known = self.bookmarks.get(partition).keys() | activities.bookmarks.get(partition).keys()
            if not known & {RESUME, "replication_key_value"}:
                self._following.add(partition["organization_id"])

    def along(self, of: Slice, pages: Iterator[Fetched]) -> Iterator[Fetched]:
        """The pages of activities, of which sessions are built as they go by."""
        of = cast("WindowSlice", of)
        if cast("dict[str, Any]", of.partition)["organization_id"] not in self._following or of.feed.name != WINDOWS:
            yield from pages
            return
        ours = replace(of, stream=self.name)
        is_complete = False
        try:
            for fetched in pages:
                yield fetched
                records = self._records(fetched.page, ours)
                if not self._is_described:
                    self._write_schema_message()
                    self._is_described = True
                self._api_tap.writer.write_records(self._messages(records, fetched.at))
                self._turn_page(ours, fetched, records)
            is_complete = True
        finally:
            # What is missing is named with the activities; here it keeps its place for the next run.
            self._failed = self._failed or not is_complete

    @override
    def slices(self) -> Iterator[Slice]:
        for of in super().slices():
            if cast("dict[str, Any]", of.partition)["organization_id"] not in self._following:
                yield of

    @property
    @override
    def _followed(self) -> Filter:
        return Filter("time_slot", "started_at", self.by.longest)

    @override
    def _due(self, bookmark: Bookmark) -> Any:
        feed, begin, stop = super()._due(bookmark)
        before = self._before(bookmark)
        if before is not None and self._since(bookmark) is not None:
            # Exactly where the last run's ledger begins.
            begin = BEGINNING + dt.timedelta(seconds=before.at)
        return feed, begin, stop

    def _before(self, bookmark: Bookmark) -> Ledger | None:
        """What the last run left, None where that is nothing that can be gone on with."""
        try:
            ledger = None if self._is_full else _unflat_ledger(bookmark[SESSIONS])
        except (LookupError, ValueError, TypeError):
            return None
        # What the vendor no longer gives is not gone: sessions from before that stay as they are.
        earliest = _seconds(self.by.earliest(self._hubstaff.now()))
        return ledger if ledger is not None and ledger.at >= earliest else None

    @override
    def _records(self, page: Page, of: Slice) -> list[Record]:
        of = cast("WindowSlice", of)
        partition = cast("dict[str, Any]", of.partition)
        reading = self._reading.get(partition["organization_id"])
        if reading is None:
            reading = self._reading[partition["organization_id"]] = _Reading(self._builder(of), {})
        for row in page.decode():
            reading.activities[row.get("id", 0)] = self._activity(row, of)
        window = None if page.next is None else Window.parse(page.next)
        if window is not None and window.page is not None:
            return []
        stop = _seconds(of.plan.stop if window is None else window.start)
        within = [activity for activity in reading.activities.values() if activity.slot < stop]
        sessions = reading.builder.window(within, stop)
        reading.activities = {}
        made = [{**_record(session), **partition} for session in sessions]
        if window is None:
            made += [
                {"id": gone, "tracked": 0, "activities": 0, "superseded_by": gone, **partition}
                for gone in sorted(reading.builder.given)
            ]
        return [self._conform(record) for row in made if (record := self.post_process(row, partition)) is not None]

    @override
    def _turn_page(self, of: Slice, fetched: Fetched, records: Sequence[Record]) -> None:
        following = fetched.page.next
        if following is not None and Window.parse(following).page is not None:
            return  # nothing of the window has been written yet: a run that is cut off begins it again
        super()._turn_page(of, fetched, records)
        bookmark = self.bookmarks.of(of.partition)
        reading = self._reading[cast("dict[str, Any]", of.partition)["organization_id"]]
        if following is not None:
            bookmark[RESUME][SESSIONS] = _flat(reading.builder)
        elif not self._is_full:
            bookmark[SESSIONS] = _flat_ledger(reading.builder.after)

    def _builder(self, of: WindowSlice) -> Builder:
        bookmark = self.bookmarks.get(of.partition)
        resume = bookmark.get(RESUME, {})
        if of.start is not None and SESSIONS in resume:
            return _unflat(resume[SESSIONS])
        before = self._before(bookmark) or Ledger(0)
        reread_from = self.bookmark_after(of.plan) - self.lookback
        return Builder.following(before, _seconds(reread_from))

    def _activity(self, row: Record, of: Slice) -> Activity:
        try:
            return Activity(
                id=row["id"],
                owner=(row["user_id"], row.get("project_id"), row.get("task_id")),
                starts=_seconds(parse_iso(row["starts_at"])),
                tracked=row["tracked"],
                slot=_seconds(parse_iso(row["time_slot"])),
            )
        except (LookupError, ValueError, TypeError, AttributeError):
            raise MalformedAnswerError(f"{of.label}: an activity came without its times.") from None


def _seconds(moment: dt.datetime) -> int:
    return int(moment.timestamp())


def _record(session: Session) -> Record:
    user, project, task = session.owner
    return {
        "id": session.id,
        "user_id": user,
        "project_id": project,
        "task_id": task,
        "started_at": iso(BEGINNING + dt.timedelta(seconds=session.starts)),
        "stopped_at": iso(BEGINNING + dt.timedelta(seconds=session.stops)),
        "tracked": session.tracked,
        "activities": session.activities,
        "superseded_by": session.superseded_by,
    }


def _flat_session(session: Session) -> list[int | None]:
    return [session.id, *session.owner, session.starts, session.stops, session.tracked, session.activities]


def _sessions(rows: Any) -> Iterator[Session]:
    for number, user, project, task, *rest in rows:
        yield Session(number, (user, project, task), *rest)


def _flat_ledger(ledger: Ledger) -> dict[str, Any]:
    return {"at": ledger.at, "open": [_flat_session(session) for session in ledger.open], "given": [*ledger.given]}


def _unflat_ledger(kept: dict[str, Any]) -> Ledger:
    return Ledger(kept["at"], list(_sessions(kept["open"])), list(kept["given"]))


def _flat(builder: Builder) -> dict[str, Any]:
    return {
        "after": _flat_ledger(builder.after),
        "open": [_flat_session(session) for session in builder.open],
        "given": sorted(builder.given),
        "is_past": builder.is_past,
    }


def _unflat(kept: dict[str, Any]) -> Builder:
    after = _unflat_ledger(kept["after"])
    return Builder(after, list(_sessions(kept["open"])), set(kept["given"]), is_past=kept["is_past"])
