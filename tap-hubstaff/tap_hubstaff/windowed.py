"""The base class of the streams that are read window by window, and gone on with where the last run ended.

The bookmark of an organization is the end of the last window, less the 20 minutes by which the vendor delays data::

    {"context": {"organization_id": 7},
     "replication_key": "updated_at", "replication_key_value": "2026-01-31T11:40:00Z"}

and while its windows are being read it holds, besides, where to go on: a window, and a page in it::

    {"resume": {"feed": "windows", "stop": "2026-01-31T12:00:00Z",
                "cursor": "2026-01-04T00:00:00Z/2026-01-11T00:00:00Z/8800123"}}
"""

from __future__ import annotations

import datetime as dt
import functools
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

import msgspec
from singer_http.http.errors import RefusedRequestError, ServerFailedError
from singer_http.reading.pages import Page, Slice
from singer_http.resume import RESUME, START, FullTable, Place
from singer_sdk.singerlib.catalog import REPLICATION_FULL_TABLE
from typing_extensions import override

from tap_hubstaff.stream import LIMIT, HubstaffBookmark, HubstaffStream, ListSlice
from tap_hubstaff.windows import DAY, EAST, WEST, Filter, Plan, Window, iso, midnight, parse_iso

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from singer_http.http.errors import ApiError
    from singer_http.reading.track import Fetched
    from singer_sdk.helpers.types import Context, Record

    from tap_hubstaff.tap import TapHubstaff

    Partition = Mapping[str, Any]

logger = logging.getLogger(__name__)
DELAY = dt.timedelta(minutes=20)
"""The vendor: data may be delayed so long."""
WINDOWS = "windows"
"""Reading by when things happened."""
UPDATES = "updates"
"""Reading what was changed since."""
REREAD = "reread"
"""Reading the last days once more."""
KEPT_DAYS = "kept_days"
"""For how many days an organization keeps a list, where that was found out."""


@dataclass(frozen=True, slots=True)
class Feed:
    """One way to read a stream by windows.

    Attributes:
        name: What the state calls it.
        path: The list.
        by: How it is asked for a window.
    """

    name: str
    path: str
    by: Filter


class WindowBookmark(HubstaffBookmark):
    """What STATE holds of an organization, and of its windows while they are being read."""

    resume: WindowBookmark | None = None
    feed: str | None = None
    stop: str | None = None
    kept_days: int | None = None
    sessions: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSlice(ListSlice):
    """The windows of one organization, as one chain of pages: a cursor is a window and a page in it.

    Attributes:
        feed: What is read.
        plan: Which windows.
        now: Tells the time.
    """

    feed: Feed
    plan: Plan
    now: Callable[[], dt.datetime]

    @override
    def query(self, cursor: str | None) -> dict[str, str | int]:
        window = self._window(cursor)
        if window.is_search:
            return {**self.params, **self.feed.by.params(self.plan.probe(window)), LIMIT: 1}
        page: dict[str, str | int] = {} if window.page is None else {self.cursor_param: window.page}
        return {**self.params, **self.feed.by.params(window), **page}

    @override
    def page(self, body: bytes, cursor: str | None) -> Page:
        page = self.parse(body)
        window = self._window(cursor)
        if window.is_search:
            return Page(msgspec.Raw(b"[]"), self._searched(self.plan.after_acceptance(window)))
        self.plan.saw(window, _times(page.records, self.feed.by.field))
        if page.next is not None:
            return Page(page.records, str(self.plan.onward(window, page.next)))
        following = self.plan.after(window)
        return Page(page.records, None if following is None else str(following))

    @override
    def is_divisible(self, cursor: str | None) -> bool:
        return self.plan.narrower(self._window(cursor)) is not None or ListSlice.is_divisible(self, cursor)

    @override
    def instead(self, cursor: str | None, failure: ApiError) -> str | None:
        window = self._window(cursor)
        if isinstance(failure, RefusedRequestError) and (following := self.plan.after_refusal(window)):
            return self._searched(following)
        if isinstance(failure, ServerFailedError) and (half := self.plan.narrower(window)):
            logger.info("%s: too much for one request; asking for a shorter window.", self.label)
            return str(half)
        return ListSlice.instead(self, cursor, failure)

    def _searched(self, window: Window) -> str:
        if self.plan.kept_from is not None and not window.is_search:
            kept_from = self.plan.kept_from.date()
            logger.warning("%s: the organization keeps nothing of before %s; read from there.", self.label, kept_from)
        return str(window)

    def _window(self, cursor: str | None) -> Window:
        """The window that a cursor stands for; without one, the first that there is now."""
        return self.plan.first(self.now()) if cursor is None else Window.parse(cursor)


class WindowedStream(HubstaffStream):
    """A list that is asked for a window of time.

    Without a bookmark it is read from ``start_date`` on, or from where the vendor's own reach begins. With one, the
    updates since then are read where the API has a list of them, and else what happened since then and in the
    ``lookback_days`` before.

    The lists of updates do not tell of what was deleted. Where ``reread_days`` asks for it, so many days are read again
    besides: rows of those days that a target has not received in this run are gone.
    """

    bookmark = WindowBookmark
    by: ClassVar[Filter]
    """How the list is asked for a window."""
    updates: ClassVar[Feed | None] = None
    """The list of what was changed, where there is one."""

    def __init__(self, tap: TapHubstaff) -> None:
        super().__init__(tap)
        self.incremental_key = self._followed.field  # type: ignore[misc] # of this class, but for its name
        self.replication_key = self.incremental_key

    @property
    def _followed(self) -> Filter:
        return self.by if self.updates is None else self.updates.by

    @property
    def lookback(self) -> dt.timedelta:
        """How much before the bookmark is read again."""
        return cast("int", self.config["lookback_days"]) * DAY

    @override
    def slices(self) -> Iterator[Slice]:
        if self.resume.is_done:
            return
        for partition in self.partitions or ():
            if isinstance(self.resume, FullTable) and self.resume.place(partition) is None:
                continue
            of = self._slice(partition)
            if of.plan.start < of.plan.stop:
                yield of
            if of.feed.name == UPDATES and self.config["reread_days"]:
                yield self._again(partition)

    def _again(self, partition: Partition) -> WindowSlice:
        """The last days once more, as what was deleted is in no list of updates."""
        begin = max(self._start(self.by), midnight(self._hubstaff.began - self.config["reread_days"] * DAY))
        return self._windows(partition, Feed(REREAD, self.path, self.by), begin, self._end(self.by), None)

    @override
    def requests_at_least(self) -> int:
        now = self._hubstaff.now()
        return sum(of.plan.windows(now) for of in self.slices() if isinstance(of, WindowSlice))

    @property
    def _is_full(self) -> bool:
        return self.replication_method == REPLICATION_FULL_TABLE

    @override
    def _slice(self, partition: Partition | None, place: Place = START) -> WindowSlice:
        bookmark = self.bookmarks.get(partition)
        feed, begin, stop = self._due(bookmark)
        # Nothing happened before the organization was created.
        created = self._hubstaff.organizations.created(cast("dict[str, Any]", partition)["organization_id"])
        begin = max(begin, midnight(created - WEST) if feed.by.by_day else created)
        if feed.by.is_kept_by_plan and isinstance(days := bookmark.get(KEPT_DAYS), int):
            begin = max(begin, midnight(self._hubstaff.began) - days * DAY)
        is_begun_anew = isinstance(self.resume, FullTable) and not self.resume.is_resumed
        resume = {} if is_begun_anew else bookmark.get(RESUME, {})
        at = self._resume_at(feed, resume)
        if at is not None and feed.name == WINDOWS and self.updates is not None:
            # What was read is good as of then: the updates since are the next run's.
            stop = parse_iso(resume["stop"])
        return self._windows(partition, feed, begin, stop, at)

    def _windows(
        self, partition: Partition | None, feed: Feed, begin: dt.datetime, stop: dt.datetime, at: Window | None
    ) -> WindowSlice:
        """The windows of a feed from a moment to another, begun at the first or where an earlier run was cut off."""
        plan = Plan(feed.by, begin, stop, self._rows_a_page(partition))
        return WindowSlice(
            stream=self.name,
            partition=partition,
            path=feed.path.format_map(partition or {}),
            params=self.query(partition),
            cursor_param=self.cursor_param,
            start=None if at is None else str(plan.clamped(at, self._hubstaff.now())),
            parse=self.parse,
            feed=feed,
            plan=plan,
            now=self._hubstaff.now,
        )

    def _due(self, bookmark: Mapping[str, Any]) -> tuple[Feed, dt.datetime, dt.datetime]:
        """What is to be read for an organization, from when, and up to when."""
        windows = Feed(WINDOWS, self.path, self.by)
        began = self._hubstaff.began
        since = None if self._is_full else self._since(bookmark)
        if since is None:
            return windows, self._start(self.by), self._end(self.by)
        if self.updates is None:
            since -= self.lookback
            return windows, midnight(since - WEST) if self.by.by_day else since, self._end(self.by)
        if since >= self.updates.by.earliest(began):
            return self.updates, since, self._end(self.updates.by)
        self._say_too_long_ago()
        return windows, self._start(self.by), self._end(self.by)

    def _since(self, bookmark: Mapping[str, Any]) -> dt.datetime | None:
        """Where the last run ended, None where there was none."""
        value = bookmark.get("replication_key_value")
        try:
            return None if value is None else parse_iso(value)
        except (ValueError, TypeError, AttributeError):
            self.logger.warning("%s: a bookmark is none of this tap's, so all is read again.", self.name)
            return None

    @functools.cache  # noqa: B019 - a stream lives as long as the run
    def _say_too_long_ago(self) -> None:
        self.logger.warning(
            "%s: the last run was longer ago than the vendor's list of updates reaches, so all is read again.",
            self.name,
        )

    def _resume_at(self, feed: Feed, resume: Mapping[str, Any]) -> Window | None:
        """Where a run that was cut off goes on, None where there is no such place."""
        if resume.get("feed") != feed.name:
            return None
        try:
            parse_iso(resume["stop"])
            return Window.parse(resume["cursor"])
        except (LookupError, ValueError, AttributeError, TypeError):
            self.logger.warning("%s: the resume point is none of this tap's; its windows are read again.", self.name)
            return None

    def _start(self, by: Filter) -> dt.datetime:
        start = self._hubstaff.start_date
        return midnight(start) if by.by_day else start

    def _end(self, by: Filter) -> dt.datetime:
        """Where the windows end, ``end_date`` included; days go on to the last that has begun anywhere."""
        began = self._hubstaff.began
        now = midnight(began + EAST) + DAY if by.by_day else began.replace(microsecond=0)
        end = self._hubstaff.end_date
        return now if end is None else min(now, midnight(end) + DAY)

    @override
    def _begin(self) -> None:
        if self._is_full:
            super()._begin()

    @override
    def get_records(self, context: Context | None) -> Iterator[Record]:
        partition = dict(context or {})
        for of, pages in self._hubstaff.read(self):
            for fetched in pages if of.partition == partition else ():
                yield from fetched.page.decode()

    @override
    def remember(self, of: Slice) -> None:
        super().remember(of)
        if isinstance(of, WindowSlice) and of.plan.kept_from is not None:
            days = (midnight(self._hubstaff.began) - of.plan.kept_from) // DAY
            self.bookmarks.of(of.partition)[KEPT_DAYS] = days

    @override
    def _turn_page(self, of: Slice, fetched: Fetched, records: Sequence[Record]) -> None:
        of = cast("WindowSlice", of)
        if of.feed.name == REREAD:
            return  # it is begun anew by every run
        bookmark = self.bookmarks.of(of.partition)
        if fetched.page.next is not None:
            bookmark.setdefault(RESUME, {}).update(feed=of.feed.name, stop=iso(of.plan.stop), cursor=fetched.page.next)
        elif self._is_full:
            bookmark[RESUME] = {"done": True}
        else:
            bookmark.pop(RESUME, None)
            bookmark["replication_key"] = self.replication_key
            bookmark["replication_key_value"] = iso(self.bookmark_after(of.plan))
        self.state_manager.is_flushed = False

    def bookmark_after(self, plan: Plan) -> dt.datetime:
        """From when on the next run has to read."""
        return min(plan.stop, self._hubstaff.began) - DELAY


@functools.cache
def _rows_of(field: str) -> msgspec.json.Decoder[list[Any]]:
    row = msgspec.defstruct("Row", [("moment", Any, None)], rename={"moment": field})
    return msgspec.json.Decoder(list[row])  # type: ignore[valid-type] # made just now


def _times(records: msgspec.Raw, field: str) -> list[dt.datetime | None]:
    """The times of the rows of a page, None of rows that do not tell."""
    return [_time(row.moment) for row in _rows_of(field).decode(records)]


def _time(moment: Any) -> dt.datetime | None:
    try:
        return parse_iso(moment)
    except (TypeError, ValueError, AttributeError):
        return None
