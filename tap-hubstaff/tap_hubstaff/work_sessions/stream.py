"""The stream of work sessions: reads activities window by window, and builds sessions of them.

The activities of a window come in the order of their ids, so its sessions are known only after its last page. STATE
holds the sessions that continue from window to window and from run to run::

    {"replication_key_value": "2026-01-31T11:40:00Z",
     "sessions": {"at": 1769686800, "open": [[11, 5, 3, null, 1769686500, 1769687100, 600, 1, 1769687400,
                                            {"2026-01-29": 600}, 600, 430, "normal", null]],
                  "given": {"1769691600": [12, 13]},
                  "since": 1769859600, "late": [[1765843200, 1765929600, 1769773200, [5]]]}}

A first run looks for the sessions that are going on where it begins, and builds all others of the pages that
``activities`` reads: no page is read twice. Every later run begins with late changes: see
:mod:`tap_hubstaff.work_sessions.late_changes`.
"""

from __future__ import annotations

import datetime as dt
import functools
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from singer_http.http.errors import ApiError, FatalError
from singer_http.resume import RESUME
from singer_sdk.singerlib.catalog import REPLICATION_INCREMENTAL
from typing_extensions import override

from tap_hubstaff.account import organization_of
from tap_hubstaff.streams.named_base import NamedStream
from tap_hubstaff.streams.window_streams import Activities
from tap_hubstaff.times import BEGINNING, DAY, parse_iso
from tap_hubstaff.windows.window import Window, WindowSpec
from tap_hubstaff.windows.window_resume import DELAY, FOREVER, WINDOWS, Coverage, Read
from tap_hubstaff.work_sessions import late_changes
from tap_hubstaff.work_sessions.carryover_json import (
    flat_builder,
    flat_carryover,
    flat_regions,
    given_in,
    take_out,
    unflat_builder,
    unflat_carryover,
    unflat_regions,
)
from tap_hubstaff.work_sessions.model import Activity, Builder, Carryover, Reading
from tap_hubstaff.work_sessions.names import Names
from tap_hubstaff.work_sessions.rows import NEVER, activity_of, gone, judged, moment, record_of, seconds

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from singer_http.reading.pages import Page, Slice
    from singer_http.tap import ApiTap
    from singer_sdk.helpers.types import Record
    from singer_sdk.metrics import Counter

    from tap_hubstaff.account import Account
    from tap_hubstaff.streams.changed_work import WorkUpdates
    from tap_hubstaff.streams.window_base import WindowStream
    from tap_hubstaff.streams.window_slice import WindowSlice
    from tap_hubstaff.work_sessions.model import WorkSession

SESSIONS = "sessions"
LATE = "late"
"""What remains to be read again because of changes."""


class TimeSessions(NamedStream):
    """Exact start and stop of each stretch of work, built from activities.

    Builds them again after every later change. What was deleted is noticed in the ``lookback``.
    """

    work_updates: WorkUpdates  # tells which sessions to build again
    name = "time_sessions"
    path = "/organizations/{organization_id}/activities"
    envelope = ("activities",)
    always_sent = ("superseded_by",)  # without it, a session that became a part of another would count twice
    spec = WindowSpec("time_slot", "time_slot", longest=7, months=6)
    filters = frozenset({"user_ids", "project_ids", "task_ids"})

    def __init__(self, tap: ApiTap, account: Account) -> None:
        super().__init__(tap, account)
        self._reading: dict[int, Reading] = {}
        self._names: defaultdict[int, Names] = defaultdict(Names)
        self._sharing: set[int] = set()
        self._is_described = False

    def share_pages(self, activities: WindowStream) -> None:
        """Decide, before anything is read, in which organizations the pages of ``activities`` serve both streams.

        That is where both streams begin. A run that is cut off leaves each its own place to continue at.
        """
        methods = {self.replication_method, activities.replication_method}
        has_batches = self.config.get("batch_config")  # records are then written later than they are read
        if has_batches or not (self.selected and activities.selected and methods == {REPLICATION_INCREMENTAL}):
            return
        for partition in self.partitions or ():
            known = self.bookmarks.get(partition).keys() | activities.bookmarks.get(partition).keys()
            if not known & {RESUME, "replication_key_value"}:
                self._sharing.add(partition["organization_id"])

    def build_along(self, slice_: WindowSlice, pages: Iterator[Page]) -> Iterator[Page]:
        """Build sessions of the pages of activities while these pass by."""
        if organization_of(slice_.partition) not in self._sharing or slice_.feed.name != WINDOWS:
            yield from pages
            return
        ours = replace(slice_, stream=self.name)
        can_go_on = True
        try:
            for page in pages:
                yield page
                can_go_on = can_go_on and self._build_from(ours, page)
        except BaseException as failure:  # or the run ends, or the activities fail at what is in a page
            if not isinstance(failure, ApiError) or isinstance(failure, FatalError):
                self.not_done = ApiError.not_done
            elif can_go_on:
                self._leave_out(ours, failure)
            self._not_read.add(organization_of(ours.partition))
            raise

    def _build_from(self, ours: WindowSlice, page: Page) -> bool:
        """Build sessions of a page of activities; False where these fail alone."""
        try:
            records = self._records(page, ours)
        except FatalError:
            raise
        except ApiError as failure:
            self._leave_out(ours, failure)
            self._reading.pop(organization_of(ours.partition), None)
            return False
        if not self._is_described:
            self._write_schema_message()
            self._is_described = True
        for _ in self._sent(ours, records, page.at, is_written=True):
            pass
        self._turn_page(ours, page, records)
        self.tally.page(ours, page)
        return True

    @override
    def forecast(self, organization: int) -> int:
        partition = {"organization_id": organization}
        looks_before = any(map(self._begins_in_the_middle, self._due(partition)))
        if organization in self._sharing:
            return int(looks_before)
        needs_updates = self._before(self.bookmarks.get(partition)) is not None
        return super().forecast(organization) + looks_before + (needs_updates and self.work_updates.is_asked_by(self))

    @override
    def slices(self) -> Iterator[Slice]:
        yield from (one for one in super().slices() if organization_of(one.partition) not in self._sharing)

    @override
    def read(self) -> Iterator[tuple[Slice, Iterator[Page]]]:
        # Where end_date is before what a run reads anyway, what came late is all there is to read.
        idle = []
        for partition in () if self._is_full else self.partitions or ():
            *_, last = self._reads(self.bookmarks.get(partition))
            if last.begin >= last.stop:
                idle.append(self.window_slice(partition, self._feed(last), last.begin, last.stop, last))
        yield from super().read()
        for slice_ in idle:
            yield slice_, iter(())

    @property
    @override
    def lookback(self) -> dt.timedelta:
        return max(super().lookback, cast("int", self.config["reread_days"]) * DAY)

    @property
    @override
    def _key_spec(self) -> WindowSpec:
        return WindowSpec("time_slot", "started_at", self.spec.longest)

    @override
    def _reads(self, bookmark: Mapping[str, Any]) -> Iterator[Read]:
        if self._is_full:
            yield from super()._reads(bookmark)
            return
        wanted, covered = self._wanted, Coverage.of(bookmark)
        cut_off, before = self._cut_off(bookmark, covered), self._before(bookmark)
        self._say_what_is_not_believed(bookmark, covered, cut_off)
        # Exactly where the last run's carryover begins: elsewhere, sessions would begin in their middle.
        begin = None if before is None else before.at
        start = covered.start if covered is not None and before is not None else wanted.start
        if (
            cut_off is not None
            and (before is None) == (cut_off.begin <= cut_off.claim.start)
            and not self._begins_earlier_than(cut_off.claim)
            and cut_off.as_of <= wanted.now
            and cut_off.stop <= wanted.end
            and not self._is_too_long_ago(after := unflat_builder(cut_off.sessions or {}).after)
        ):
            yield cut_off
            begin, start = after.at, cut_off.claim.start
        claim = replace(wanted.claim, start=start)
        yield wanted.everything if begin is None else Read(WINDOWS, moment(begin), wanted.end, wanted.now, claim)

    @override
    def _cut_off(self, bookmark: Mapping[str, Any], covered: Coverage | None) -> Read | None:
        cut_off = super()._cut_off(bookmark, covered)
        try:
            unflat_builder((cut_off and cut_off.sessions) or {})
        except (LookupError, ValueError, TypeError, AttributeError):
            return None
        return cut_off

    @override
    def _sync_slice(
        self, slice_: Slice, pages: Iterator[Page], counter: Counter, *, write_messages: bool
    ) -> Iterator[Record]:
        slice_ = cast("WindowSlice", slice_)
        bookmark = self.bookmarks.get(slice_.partition)
        is_from_beginning = slice_.start is None and slice_.partition not in self._broken
        carryover = self._before(bookmark) if is_from_beginning else None
        if carryover is not None:
            regions = unflat_regions(bookmark[SESSIONS].get(LATE, ()))
            for records in self._late_sessions(slice_, carryover, regions):
                yield from self._sent(slice_, records, dt.datetime.now(dt.timezone.utc), is_written=write_messages)
                counter.increment(len(records))
        if slice_.plan.start < slice_.plan.stop:
            yield from super()._sync_slice(slice_, pages, counter, write_messages=write_messages)

    # Late changes

    def _late_sessions(
        self, slice_: WindowSlice, carryover: Carryover, regions: list[late_changes.Region]
    ) -> Iterator[list[Record]]:
        """The sessions that are different because of changes before what is read anyway, region by region.

        Args:
            slice_: What is read anyway.
            carryover: What the last run left.
            regions: What it did not come to.
        """
        bookmark = self.bookmarks.of(slice_.partition)
        earliest = seconds(self.spec.earliest(self._account.began))
        changed = self.work_updates.since(slice_.partition, moment(carryover.since))
        # Sessions that reach into what is wanted may have begun before.
        from_ = seconds(parse_iso(bookmark["start"])) - late_changes.DAY
        touched = {place for place, slot in changed.slots.items() if from_ <= place[0] and slot < carryover.at}
        regions += late_changes.regions(touched, carryover.since, earliest, carryover.at, self.page_limit)
        carryover.since = seconds(min(changed.stop, self._account.began) - DELAY)
        own = self.bookmarks.beside(slice_.partition)
        seen = max((covered.as_of + DELAY for one in own if (covered := Coverage.of(one))), default=BEGINNING)
        while True:
            # From here on, a run that is cut off can continue.
            bookmark[SESSIONS] = {**flat_carryover(carryover), **({LATE: flat_regions(regions)} if regions else {})}
            self.state_manager.is_flushed = False
            self.write_due_state()
            if not regions:
                return
            read = functools.partial(self._read_again, slice_, regions[0], seconds(seen))
            region, found = late_changes.closed(regions[0], earliest, carryover.at, read)
            sessions = [*late_changes.repair(carryover, region, found), *found.superseded]
            yield self._made(sessions, carryover.open, organization_of(slice_.partition))
            regions = regions[1:]

    def _read_again(
        self, slice_: WindowSlice, region: late_changes.Region, seen: int, begin: int, stop: int
    ) -> list[Activity]:
        """The activities between two moments of the users of a region; ``seen`` is when the last run began."""
        return [judged(one, region, seen) for one in self._between(slice_, begin, stop, region.users)]

    def _between(self, slice_: WindowSlice, begin: int, stop: int, users: Collection[int]) -> list[Activity]:
        """The activities between two moments: of some users, or of all if none is given."""
        again = self.again(slice_.partition, moment(begin), moment(stop), users)
        rows = (row for page in self.read_now(again) for row in page.decode())
        return list({one.id: one for one in (self._activity(row, slice_) for row in rows)}.values())

    # What is read anyway

    def _before(self, bookmark: Mapping[str, Any]) -> Carryover | None:
        """What the last run left; None if this run cannot continue from it."""
        carryover, covered = self._carryover(bookmark), Coverage.of(bookmark)
        if carryover is None or covered is None or covered.as_of > self._wanted.now:
            return None
        return None if self._begins_earlier_than(covered) or self._is_too_long_ago(carryover) else carryover

    def _begins_earlier_than(self, covered: Coverage) -> bool:
        """Whether more is wanted than what began with ``covered`` can bring: it continues in the order of time."""
        if covered.start <= max(self._wanted.start, self.spec.earliest(self._account.now())):
            return False
        self._say_once("It now begins earlier than before (start_date)")
        return True

    def _is_too_long_ago(self, carryover: Carryover) -> bool:
        """Whether nothing tells any more what was changed since."""
        if moment(carryover.since) >= Activities.updates.spec.earliest(self._account.began):
            return False
        self._say_once("The last run is longer ago than the list of updates reaches back")
        return True

    def _carryover(self, bookmark: Mapping[str, Any]) -> Carryover | None:
        """What the last run left; None if nothing."""
        if self._is_full or SESSIONS not in bookmark:
            return None
        try:
            carryover = unflat_carryover(bookmark[SESSIONS])
            unflat_regions(bookmark[SESSIONS].get(LATE, ()))
        except (LookupError, ValueError, TypeError, AttributeError):
            self.logger.warning(
                "%s: STATE holds sessions that this tap did not write. Everything is read again.", self.name
            )
            return None
        # Sessions stay as they are when the vendor no longer gives their activities.
        return carryover if moment(carryover.at) >= self.spec.earliest(self._account.now()) else None

    @override
    def _records(self, page: Page, slice_: Slice) -> list[Record]:
        slice_ = cast("WindowSlice", slice_)
        organization = organization_of(slice_.partition)
        reading = self._reading.get(organization)
        if reading is None:
            reading = self._reading[organization] = self._begin_reading(slice_)
            reading.builder.elsewhere = given_in(self.bookmarks.beside(slice_.partition))
        for row in page.decode():
            activity = self._activity(row, slice_)
            reading.activities[activity.id] = activity
        window = None if page.next is None else Window.parse(page.next)
        if window is not None and window.page is not None:
            return []
        stop = seconds(slice_.plan.stop if window is None else window.start)
        sessions = late_changes.reaching(reading.end_window(stop), seconds(slice_.plan.start))
        made = self._made(sessions, reading.builder.open, organization)
        if window is None:
            has_end = slice_.plan.stop < cast("Read", slice_.read).as_of  # the next run may see what is behind end_date
            left = reading.builder.gone(stop if has_end else NEVER)
            made += self._conform([{**gone(number), "organization_id": organization} for number in left])
        return made

    def _made(
        self, sessions: Sequence[WorkSession], going_on: Sequence[WorkSession], organization: int
    ) -> list[Record]:
        """The rows of sessions; keeps the names of those that continue."""
        names, own = self._names[organization], {"organization_id": organization}
        # Work that moved here, as with its project, kept its ids: where it was, it must not be called gone.
        take_out(self.bookmarks.of_others(own), sessions)
        rows = [{**record_of(session), **names.of(session.work), **own} for session in sessions]
        names.keep([session.work for session in going_on])
        return self._conform(rows)

    @override
    def _turn_page(self, slice_: Slice, page: Page, records: Sequence[Record]) -> None:
        following = page.next
        if following is not None and Window.parse(following).page is not None:
            return  # nothing of the window is written yet: a run that is cut off begins it again
        super()._turn_page(slice_, page, records)
        bookmark = self.bookmarks.of(slice_.partition)
        organization = organization_of(slice_.partition)
        builder = self._reading[organization].builder
        if following is not None:
            bookmark[RESUME][SESSIONS] = flat_builder(builder)
            return
        del self._reading[organization]
        if not self._is_full:
            bookmark[SESSIONS] = flat_carryover(builder.after)

    def _begins_in_the_middle(self, slice_: WindowSlice) -> bool:
        """Whether sessions may be going on where a read begins, and where the last run left none."""
        is_first = slice_.start is None and self._before(self.bookmarks.get(slice_.partition)) is None
        return is_first and self.spec.earliest(self._account.now()) < slice_.plan.start == self._wanted.start

    def _begin_reading(self, slice_: WindowSlice) -> Reading:
        read, bookmark = cast("Read", slice_.read), self.bookmarks.get(slice_.partition)
        earliest = seconds(self.spec.earliest(self._account.now()))
        if slice_.start is not None and read.left is not None and read.sessions:
            builder = unflat_builder(read.sessions)
            if Window.parse(slice_.start).start > Window.parse(read.left).start:
                builder.cut = late_changes.known_from(earliest)  # the vendor no longer gives what is between
            return Reading(builder)
        before, covered = self._before(bookmark), Coverage.of(bookmark)
        reread_from = seconds(min(slice_.plan.stop, read.as_of) - DELAY - self.lookback)
        if before is not None and covered is not None:
            # Behind an end_date this filter has read nothing, but another one may have.
            since = seconds(covered.as_of) if covered.stop == FOREVER else 0
            return Reading(Builder.continuing(before, reread_from, since))
        last, begin = self._carryover(bookmark), seconds(slice_.plan.start)
        read_between = functools.partial(self._between, slice_)
        leading = late_changes.leading_to(begin, earliest, read_between) if self._begins_in_the_middle(slice_) else []
        # Of a read that begins later, the last run's sessions may not come again, but they are there.
        given = last.given if last and begin <= last.at else {}
        first = Carryover(begin, given=given, since=seconds(read.as_of - DELAY))
        builder = Builder.continuing(first, reread_from, cut=late_changes.known_from(earliest))
        return Reading(builder, {activity.id: activity for activity in leading})

    def _activity(self, row: Record, slice_: Slice) -> Activity:
        activity = activity_of(row)
        self._names[organization_of(slice_.partition)].see(row, activity.work)
        if row["tracked"] is None:
            self._say_untimed()
        return activity

    @functools.cache  # noqa: B019 - a stream lives as long as the run
    def _say_untimed(self) -> None:
        self.logger.warning("%s: activities came without tracked time. They count as 0 seconds.", self.name)
