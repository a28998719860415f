"""The base class of the streams of which an owner, such as a team, has a list each."""

from __future__ import annotations

import datetime as dt
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from singer_http.http.errors import ApiError
from singer_http.resume import START, Incremental, Place
from singer_sdk.singerlib.catalog import REPLICATION_INCREMENTAL
from typing_extensions import override

from tap_hubstaff.streams.hubstaff_stream import HubstaffBookmark, HubstaffStream, age
from tap_hubstaff.times import iso

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from singer_http.reading.pages import Page, Slice
    from singer_http.tap import ApiTap
    from singer_sdk.helpers.types import Record

    from tap_hubstaff.account import Account, Owner


class OwnerBookmark(HubstaffBookmark):
    """What STATE holds of an owner."""

    owner: str | None = None


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

    def __init__(self, tap: ApiTap, account: Account) -> None:
        super().__init__(tap, account)
        if not self.config["emit_activate_version_messages"]:  # a version of a table is that of a whole one
            self.replication_key = self.incremental_key

    @property
    @override
    def partitions(self) -> list[dict[str, Any]] | None:
        return [partition for partition, _ in self._owned()]

    def _owned(self) -> Iterator[tuple[dict[str, Any], Owner]]:
        """The owners of all organizations, less those of organizations that cannot list theirs."""
        for organization in self.due:
            with suppress(ApiError):  # a slice of its own says so
                for owner in self._account.owners(self.owners, organization):
                    yield {"organization_id": organization, self.owner_key: owner.id}, owner

    @override
    def slices(self) -> Iterator[Slice]:
        for organization in self.due:
            try:
                self._account.owners(self.owners, organization)
            except ApiError as failure:
                # Of this organization nothing can be read, and the others' owners are known all the same.
                yield replace(self._slice({"organization_id": organization, self.owner_key: "?"}), failure=failure)
        if self.replication_method != REPLICATION_INCREMENTAL:
            yield from super().slices()
            return
        for partition, owner in self._owned():
            if self._may_have_changed(self.bookmarks.get(partition), owner):
                yield self._slice(partition, self.resume.place(partition) or START)

    def _may_have_changed(self, bookmark: Mapping[str, Any], owner: Owner) -> bool:
        """Whether an owner's list may have changed since it was read, or was not read to its end, or otherwise."""
        if "cursor" in bookmark or bookmark.get("owner") != owner.fingerprint:
            return True
        if bookmark.get("fingerprint") != self.resume.fingerprint:
            return True
        read = age(bookmark, self._account.began)
        return read is None or read >= dt.timedelta(seconds=self.config["links_max_age"])

    @override
    def forecast(self, organization: int) -> int:
        if self._account.is_read(self.owners, organization):
            return sum((slice_.partition or {}).get("organization_id") == organization for slice_ in self.slices())
        longest = dt.timedelta(seconds=self.config["links_max_age"])
        ages = [
            age(bookmark, self._account.began)
            for bookmark in self.bookmarks.stream.get("partitions", ())
            if bookmark["context"].get("organization_id") == organization and self.owner_key in bookmark["context"]
        ]
        return sum(read is None or read >= longest for read in ages)

    @override
    def _turn_page(self, slice_: Slice, page: Page, records: Sequence[Record]) -> None:
        if not isinstance(self.resume, Incremental):
            super()._turn_page(slice_, page, records)
            return
        if slice_.start is None:  # and otherwise it is as it was when the first of the pages was read
            owner = next(owner for partition, owner in self._owned() if partition == slice_.partition)
            self.bookmarks.of(slice_.partition).update(owner=owner.fingerprint, read_at=iso(self._account.began))
        self.resume.turn(slice_.partition, Place(page.next))
        self.state_manager.is_flushed = False
