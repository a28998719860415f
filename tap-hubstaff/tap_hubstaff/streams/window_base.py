"""The base class of streams that are read window by window, and continue where the last run ended.

What was covered, and what to read next, is decided in :mod:`tap_hubstaff.windows.window_resume`.
"""

from __future__ import annotations

import functools
import logging
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast

import msgspec
from singer_http.http.errors import ApiError
from singer_http.reading.reader import Reader
from singer_http.resume import RESUME, FullTable, Natural, fingerprint
from singer_sdk.singerlib.catalog import REPLICATION_FULL_TABLE
from typing_extensions import override

from tap_hubstaff.account import organization_of
from tap_hubstaff.settings import MOST_DAYS
from tap_hubstaff.streams.base import HubstaffBookmark, HubstaffStream
from tap_hubstaff.streams.window_slice import Feed, WindowSlice, time_of
from tap_hubstaff.times import DAY, EAST, WEST, midnight
from tap_hubstaff.windows.filtered_bookmarks import FilteredBookmarks
from tap_hubstaff.windows.plan import WindowPlan
from tap_hubstaff.windows.window import MOST_USERS, Window, WindowSpec
from tap_hubstaff.windows.window_resume import FOREVER, UPDATES, WINDOWS, Coverage, Read, Wanted

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from singer_http.reading.pages import Page, Slice
    from singer_http.tap import ApiTap
    from singer_sdk import metrics
    from singer_sdk.helpers.types import Context, Record

    from tap_hubstaff.account import Account

    Partition = Mapping[str, Any]
    Observer = Callable[["WindowSlice", Iterator[Page]], Iterator[Page]]

logger = logging.getLogger(__name__)
REREAD = "reread"
"""Reading again what was read before."""
BACKDATED = 31 * DAY
"""A first read looks for work that people enter of so long before they created their organization."""
KEPT_DAYS = "kept_days"
"""How many days an organization keeps a list, if that was searched for."""
DENSITY = "density"
"""How many rows lists brought in how many seconds, lately."""
LATELY = 31 * DAY
"""What was read before counts less and less."""


class WindowBookmark(HubstaffBookmark):
    """What STATE holds of an organization, and of a read of its windows that is not done."""

    resume: WindowBookmark | None = None
    start: str | None = None
    stop: str | None = None
    feed: str | None = None
    begin: str | None = None
    as_of: str | None = None
    claims: list[str | None] | None = None
    kept_days: Annotated[int, msgspec.Meta(ge=0, le=MOST_DAYS)] | None = None
    density: dict[str, tuple[Natural, Natural]] | None = None
    sessions: dict[str, Any] | None = None


class WindowStream(HubstaffStream):
    """A list that is asked for a window of time.

    Without a bookmark it is read from ``start_date``, or from as far back as the vendor keeps. With one, a run reads
    the list of updates since then, if the API has one; else what happened since then and in the ``lookback_days``
    before.

    Lists of updates do not tell what was deleted. ``reread_days`` reads so many days again: rows of those days that do
    not come again are gone, and work sessions are built without them.
    """

    bookmark = WindowBookmark
    is_kept = False
    spec: ClassVar[WindowSpec]
    """How the list is asked for a window."""
    updates: ClassVar[Feed | None] = None
    """The list of what was changed, if there is one."""

    def __init__(self, tap: ApiTap, account: Account) -> None:
        super().__init__(tap, account)
        self.observers: list[Observer] = []
        """They see each page before it is written."""
        self.incremental_key = self._key_spec.field  # type: ignore[misc] # of this class, but for its name
        self.replication_key = self.incremental_key
        self._broken: list[Partition | None] = []

    @property
    @override
    def bounds(self) -> Any:
        return super().bounds, self.config.get("start_date"), self.config.get("end_date")

    @cached_property
    @override
    def bookmarks(self) -> FilteredBookmarks:
        chosen = {name: sorted(set(self.config[name])) for name in self.filters if self.config.get(name)}
        return FilteredBookmarks(self.stream_state, chosen)

    @property
    def _key_spec(self) -> WindowSpec:
        return self.spec if self.updates is None else self.updates.spec

    @property
    def lookback(self) -> dt.timedelta:
        """How much before the bookmark is read again, if there are no updates."""
        return cast("int", self.config["lookback_days"]) * DAY

    @property
    @override
    def read_as(self) -> str:
        return fingerprint(super().read_as, self.config["lookback_days"], self.config["reread_days"])

    @override
    def slices(self) -> Iterator[Slice]:
        if self.resume.is_done:
            return
        for partition in self.partitions or ():
            if isinstance(self.resume, FullTable) and self.resume.point(partition) is None:
                continue
            yield from self._due(partition)

    def _due(self, partition: Partition) -> list[WindowSlice]:
        """What to read of an organization, in order. STATE is looked at once, before any of it is read."""
        reads = list(self._reads(self.bookmarks.get(partition)))
        found = [self.window_slice(partition, self._feed(read), read.begin, read.stop, read) for read in reads]
        if reads[-1].feed == UPDATES and self.config["reread_days"]:
            found.append(self._last_days(partition))
        return [
            slice_
            for slice_ in found
            if slice_.plan.start < slice_.plan.stop and slice_.plan.stop > slice_.feed.spec.earliest(slice_.now())
        ]

    def _feed(self, read: Read) -> Feed:
        is_of_updates = read.feed == UPDATES and self.updates is not None
        return self.updates if is_of_updates and self.updates else Feed(read.feed, self.path, self.spec)

    def _reads(self, bookmark: Mapping[str, Any]) -> Iterator[Read]:
        covered = Coverage.of(bookmark)
        cut_off = self._cut_off(bookmark, covered)
        if isinstance(self.resume, FullTable):
            yield (self.resume.is_resumed and cut_off) or self._wanted.everything
            return
        self._say_what_is_not_believed(bookmark, covered, cut_off)
        yield from self._wanted.reads(covered, cut_off)

    def _cut_off(self, bookmark: Mapping[str, Any], covered: Coverage | None) -> Read | None:
        """What the last run was reading when it was cut off."""
        return Read.cut_off(bookmark.get(RESUME, {}), covered)

    def _say_what_is_not_believed(
        self, bookmark: Mapping[str, Any], covered: Coverage | None, cut_off: Read | None
    ) -> None:
        wanted = self._wanted
        if any(moment > wanted.now for moment in (covered and covered.as_of, cut_off and cut_off.as_of) if moment):
            self._say_once("A bookmark is of the future")
        elif covered is not None and wanted.is_too_long_ago(covered):
            self._say_once("The last run is longer ago than the list of updates reaches back")
        elif (covered is None and "replication_key_value" in bookmark) or (cut_off is None and RESUME in bookmark):
            self._say_once("A bookmark does not say what it covers")

    @functools.cache  # noqa: B019 - a stream lives as long as the run
    def _say_once(self, reason: str) -> None:
        self.logger.warning("%s: %s. Everything is read again.", self.name, reason)

    @cached_property
    def _wanted(self) -> Wanted:
        end = self._account.end_date
        return Wanted(
            spec=self.spec,
            updates=None if self.updates is None else self.updates.spec,
            start=self._start(self.spec),
            stop=FOREVER if end is None else midnight(end) + DAY,
            end=self._end(self.spec),
            now=self._account.began.replace(microsecond=0),
            lookback=self.lookback,
        )

    def _last_days(self, partition: Partition) -> WindowSlice:
        """The last days again: no list of updates tells what was deleted."""
        begin = max(self._start(self.spec), midnight(self._account.began - self.config["reread_days"] * DAY))
        return self.again(partition, begin, self._end(self.spec))

    def again(
        self, partition: Partition | None, begin: dt.datetime, stop: dt.datetime, users: Collection[int] = ()
    ) -> WindowSlice:
        """What happened between two moments, read again: of some users, or of all if none is given."""
        slice_ = self.window_slice(partition, Feed(REREAD, self.path, self.spec), begin, stop)
        named = {"user_ids": ",".join(map(str, sorted(users)))} if 0 < len(users) <= MOST_USERS else {}
        return replace(slice_, params={**slice_.params, **named})

    @override
    def forecast(self, organization: int) -> int:
        partition = {"organization_id": organization}
        alike = (one for one in self._tap.streams.values() if isinstance(one, WindowStream) and one.path == self.path)
        found = (one.bookmarks.get(partition).get(DENSITY) for one in (self, *alike))
        density: dict[str, tuple[int, int]] = next(filter(None, found), {})
        requests = 0
        for slice_ in self._due(partition):
            rows, seconds = density.get(_kind(slice_)) or density.get(WINDOWS) or (0, 1)
            requests += slice_.plan.requests(self._account.now(), rows, seconds)
        return requests

    def read_now(self, slice_: Slice) -> Iterator[Page]:
        """The pages of a slice, fetched at once, while another one is being written."""
        with Reader(self.run.session, [slice_]) as reader:
            for _, pages in reader:
                yield from pages

    @property
    def _is_full(self) -> bool:
        return self.replication_method == REPLICATION_FULL_TABLE

    def window_slice(
        self, partition: Partition | None, feed: Feed, begin: dt.datetime, stop: dt.datetime, read: Read | None = None
    ) -> WindowSlice:
        """The windows of a feed between two moments, from the first or from where an earlier run was cut off."""
        created = self._account.created(organization_of(partition))
        if created < self._account.began and feed.name != REREAD:  # otherwise it is not believed
            begin = max(begin, midnight(created - BACKDATED - WEST))  # a later hour would cut off a slot or a day
        if feed.spec.is_kept_by_plan and isinstance(days := self.bookmarks.get(partition).get(KEPT_DAYS), int):
            begin = max(begin, midnight(self._account.began) - days * DAY)
        plan = WindowPlan(feed.spec, begin, stop, self._rows_a_page(partition))
        left = None if read is None or read.left is None else Window.parse(read.left)
        return WindowSlice(
            stream=self.name,
            partition=partition,
            path=feed.path.format_map(partition or {}),
            params=self.query(partition),
            cursor_param=self.cursor_param,
            start=None if left is None else str(plan.clamped(left, self._account.now())),
            parse=self.parse,
            feed=feed,
            read=read,
            plan=plan,
            now=self._account.now,
        )

    def _start(self, spec: WindowSpec) -> dt.datetime:
        start = self._account.start_date
        return midnight(start) if spec.by_day else start

    def _end(self, spec: WindowSpec) -> dt.datetime:
        """Where the windows end: with ``end_date``, or with the last day that has begun anywhere."""
        began = self._account.began
        now = midnight(began + EAST) + DAY if spec.by_day else began.replace(microsecond=0)
        end = self._account.end_date
        return now if end is None else min(now, midnight(end) + DAY)

    @override
    def _begin(self) -> None:
        if self._is_full:
            super()._begin()

    @override
    def remember(self, slice_: Slice) -> None:
        super().remember(slice_)
        if not isinstance(slice_, WindowSlice):
            return
        if slice_.plan.read:
            density = self.bookmarks.of(slice_.partition).setdefault(DENSITY, {})
            rows, seconds = density.get(_kind(slice_)) or (0, 0)
            rows, seconds = rows + slice_.plan.rows, seconds + slice_.plan.read.total_seconds()
            share = min(1, LATELY.total_seconds() / seconds)
            density[_kind(slice_)] = round(rows * share), round(seconds * share)
        if slice_.plan.kept_from is not None:
            days = (midnight(self._account.began) - slice_.plan.kept_from) // DAY
            self.bookmarks.of(slice_.partition)[KEPT_DAYS] = days

    @override
    def post_process(self, row: Record, context: Context | None = None) -> Record | None:
        moment = None if self.updates is None else time_of(row.get(self.spec.field))
        is_wanted = moment is None or self._wanted.start <= moment < self._wanted.stop
        return row if is_wanted else None  # updates are of any time

    @override
    def _sync_slice(
        self, slice_: Slice, pages: Iterator[Page], counter: metrics.Counter, *, write_messages: bool
    ) -> Iterator[Record]:
        if slice_.partition in self._broken:
            return  # what failed before has to be read first
        for observe in self.observers:
            pages = observe(cast("WindowSlice", slice_), pages)
        try:
            yield from super()._sync_slice(slice_, pages, counter, write_messages=write_messages)
        except ApiError:
            self._broken.append(slice_.partition)
            raise

    @override
    def _turn_page(self, slice_: Slice, page: Page, records: Sequence[Record]) -> None:
        read = cast("WindowSlice", slice_).read
        if read is None:
            return  # every run reads it from the beginning
        bookmark = self.bookmarks.of(slice_.partition)
        if page.next is not None:
            bookmark[RESUME] = read.to_resume(page.next)
        elif self._is_full:
            bookmark[RESUME] = {"done": True}
        else:
            for name in (RESUME, "stop"):
                bookmark.pop(name, None)
            bookmark |= {"replication_key": self.replication_key, **read.claim.to_bookmark()}
        if page.next is None:
            self.bookmarks.drop_old_filters(slice_.partition)
        self.state_manager.is_flushed = False


def _kind(slice_: WindowSlice) -> str:
    """By what its list is asked: lists of updates have other densities."""
    return UPDATES if slice_.feed.name == UPDATES else WINDOWS
