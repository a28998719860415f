"""The base classes of the streams: lists of organizations that are read whole, and lists of one more owner each."""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from singer_http.http.errors import ApiError, ServerFailedError
from singer_http.reading.pages import Slice
from singer_http.resume import START, Bookmark, Incremental, Place
from singer_http.stream import ApiStream
from singer_sdk import SchemaDirectory, StreamSchema
from singer_sdk.singerlib.catalog import REPLICATION_INCREMENTAL
from typing_extensions import Self, override

from tap_hubstaff import schemas
from tap_hubstaff.client import parse_page
from tap_hubstaff.windows import iso, parse_iso

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from singer_http.reading.pages import Page
    from singer_http.reading.track import Fetched
    from singer_sdk.helpers.types import Record
    from singer_sdk.metrics import Counter

    from tap_hubstaff.tap import TapHubstaff

    Partition = Mapping[str, Any]

logger = logging.getLogger(__name__)

LIMIT = "page_limit"
SMALLEST_PAGE = 60
"""No page is halved to fewer records than this: so few are not what takes the API too long."""
REMEMBERED = dt.timedelta(days=7)
"""For so long a list is asked for pages as small as the API could give; then larger ones are tried again."""


class ListSlice(Slice):
    """A list whose pages are halved where the API fails at them: a ``page_start_id`` is good with any limit."""

    __slots__ = ()

    @property
    def rows(self) -> int:
        """Records asked for in a page; 0 for what is no list."""
        return int(self.params.get(LIMIT, 0))

    @override
    def is_divisible(self, cursor: str | None) -> bool:
        return self.rows // 2 >= SMALLEST_PAGE

    @override
    def instead(self, cursor: str | None, failure: ApiError) -> str | None:
        if not isinstance(failure, ServerFailedError) or not ListSlice.is_divisible(self, cursor):
            raise failure
        self.params[LIMIT] = self.rows // 2
        logger.info("%s: too much for one request; asking for pages of %d.", self.label, self.rows)
        return cursor


class HubstaffBookmark(Bookmark):
    """What STATE holds of an organization."""

    page_limit: dict[str, Any] | None = None


class HubstaffStream(ApiStream):
    """A list of each organization.

    A subclass says what the vendor says: the path, what the list is called in the answer, and what it has to be
    asked for so that it hides nothing.
    """

    schema: ClassVar[StreamSchema] = StreamSchema(SchemaDirectory(schemas))
    primary_keys: ClassVar[tuple[str, ...]] = ("id",)
    cursor_param = "page_start_id"
    limit_param = LIMIT
    slice_type = ListSlice
    pages_move = False  # they begin at ids
    bookmark: ClassVar[type[Bookmark]] = HubstaffBookmark
    envelope: ClassVar[tuple[str, ...]] = ()
    """What the list may be called in the answer; the stream's own name where this is empty."""
    asked_for: ClassVar[Mapping[str, str | int]] = {}
    """Parameters of every request: what would be hidden otherwise."""
    shares: ClassVar[str | None] = None
    """The stream whose list this one is read from too, once a run: see :mod:`tap_hubstaff.organizations`."""
    filters: ClassVar[frozenset[str]] = frozenset()
    """The settings ``user_ids``, ``project_ids`` and ``task_ids`` that the list can be asked by."""

    def __init__(self, tap: TapHubstaff) -> None:
        super().__init__(tap)
        self._hubstaff = tap

    @override
    def parse(self, body: bytes) -> Page:
        return parse_page(body, self.envelope or (self.name,))

    @property
    @override
    def page_limit(self) -> int:
        return int(self.config["page_size"])

    @override
    def query(self, partition: Partition | None) -> dict[str, str | int]:
        # Lists of ids are joined by commas: what Swagger 2.0 means where it does not say otherwise.
        chosen = {
            setting: ",".join(map(str, self.config[setting]))
            for setting in sorted(self.filters)
            if self.config.get(setting)
        }
        return {LIMIT: self._rows_a_page(partition), **self.asked_for, **chosen}

    def _rows_a_page(self, partition: Partition | None) -> int:
        """As many as the settings say, or as the API could give of this list of late."""
        remembered: Any = self.bookmarks.get(partition).get(LIMIT)
        try:
            is_recent = parse_iso(remembered["until"]) > self._hubstaff.now()
            return min(int(remembered["rows"]), self.page_limit) if is_recent else self.page_limit
        except (LookupError, TypeError, ValueError, AttributeError):
            return self.page_limit

    @override
    def _sync_slice(
        self, of: Slice, pages: Iterator[Fetched], counter: Counter, *, write_messages: bool
    ) -> Iterator[Record]:
        try:
            yield from super()._sync_slice(of, pages, counter, write_messages=write_messages)
        finally:
            self.remember(of)

    def remember(self, of: Slice) -> None:
        """Keep for the next runs what was found out of how a list can be asked for."""
        if isinstance(of, ListSlice) and 0 < of.rows < self._rows_a_page(of.partition):
            until = iso(self._hubstaff.began + REMEMBERED)
            self.bookmarks.of(of.partition)[LIMIT] = {"rows": of.rows, "until": until}
            self.state_manager.is_flushed = False

    @property
    @override
    def bounds(self) -> Any:
        # What is not read whole has a bookmark for each organization.
        return None if self.replication_method == REPLICATION_INCREMENTAL else super().bounds

    @property
    @override
    def partitions(self) -> list[dict[str, Any]] | None:
        return [{"organization_id": organization} for organization in self._hubstaff.organizations.ids]

    def whole(self, partition: Partition | None) -> Slice:
        """The list of a partition from its beginning."""
        return self._slice(partition)

    @override
    def _begin(self) -> None:
        super()._begin()
        if self._hubstaff.organizations.is_any_left_out:
            self._doubt = "an organization was left out"

    def requests_at_least(self) -> int:
        """The requests that a run takes if each list, and each window of one, is a single page."""
        return 0 if self.shares else sum(of.failure is None for of in self.slices())


@dataclass(frozen=True, slots=True)
class Owner:
    """A team, say, that has lists of its own.

    Attributes:
        id: Its id.
        fingerprint: Of all that its organization's list tells of it.
    """

    id: int
    fingerprint: str

    @classmethod
    def of(cls, own: int, row: Mapping[str, Any]) -> Self:
        """The owner of an id, by what its organization's list tells of it."""
        told = msgspec.json.encode(row, order="sorted")
        return cls(own, hashlib.sha256(told).hexdigest()[:12])


class OwnerBookmark(HubstaffBookmark):
    """What STATE holds of an owner."""

    owner: str | None = None
    read_at: str | None = None


class OwnedStream(HubstaffStream):
    """A list of each team, or of each of whatever else an organization has many of: a request at least for each.

    After the first run, the lists are read of those owners that are new or are listed with anything changed (their own
    ``updated_at`` included), and of all whose lists were read longer ago than ``links_max_age``: the vendor does not
    say that a change in a team's list shows in the team. The bookmark of an owner says how it was listed, and when::

        {"context": {"organization_id": 7, "team_id": 3}, "owner": "81f5c4b2a5e0", "read_at": "2026-01-31T11:40:00Z"}
    """

    owners: ClassVar[str]
    """The list of an organization that the owners are found in; it is the name of its stream too."""
    owner_key: ClassVar[str]
    """The property that an owner's id gets in the records."""
    incremental_key = "updated_at"
    bookmark = OwnerBookmark

    def __init__(self, tap: TapHubstaff) -> None:
        super().__init__(tap)
        if not self.config["emit_activate_version_messages"]:  # a version of a table is that of a whole one
            self.replication_key = self.incremental_key

    @property
    @override
    def partitions(self) -> list[dict[str, Any]] | None:
        return [partition for partition, _ in self._owned()]

    def _owned(self) -> Iterator[tuple[dict[str, Any], Owner]]:
        """The owners of all organizations, less those of organizations that cannot list theirs."""
        for organization in self._hubstaff.organizations.ids:
            with suppress(ApiError):  # a slice of its own says so
                for owner in self._hubstaff.organizations.owners(self.owners, organization):
                    yield {"organization_id": organization, self.owner_key: owner.id}, owner

    @override
    def slices(self) -> Iterator[Slice]:
        for organization in self._hubstaff.organizations.ids:
            try:
                self._hubstaff.organizations.owners(self.owners, organization)
            except ApiError as failure:
                # Of this organization nothing can be read, and the others' owners are known all the same.
                yield replace(self._slice({"organization_id": organization, self.owner_key: "?"}), failure=failure)
        if self.replication_method != REPLICATION_INCREMENTAL:
            yield from super().slices()
            return
        for partition, owner in self._owned():
            if self._is_due(self.bookmarks.get(partition), owner):
                yield self._slice(partition, self.resume.place(partition) or START)

    def _is_due(self, bookmark: Mapping[str, Any], owner: Owner) -> bool:
        """Whether an owner's list may have changed since it was read, or was not read to its end, or otherwise."""
        if "cursor" in bookmark or bookmark.get("owner") != owner.fingerprint:
            return True
        if bookmark.get("fingerprint") != self.resume.fingerprint:
            return True
        try:
            age = self._hubstaff.began - parse_iso(bookmark["read_at"])
        except (LookupError, ValueError, TypeError, AttributeError):
            return True
        return not dt.timedelta(0) <= age < dt.timedelta(seconds=self.config["links_max_age"])

    @override
    def _turn_page(self, of: Slice, fetched: Fetched, records: Sequence[Record]) -> None:
        if not isinstance(self.resume, Incremental):
            super()._turn_page(of, fetched, records)
            return
        if of.start is None:  # and otherwise it is as it was when the first of the pages was read
            owner = next(owner for partition, owner in self._owned() if partition == of.partition)
            self.bookmarks.of(of.partition).update(owner=owner.fingerprint, read_at=iso(self._hubstaff.began))
        self.resume.turn(of.partition, Place(fetched.page.next))
        self.state_manager.is_flushed = False
