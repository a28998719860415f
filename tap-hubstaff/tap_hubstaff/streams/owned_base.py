"""The base class of streams that have a list for each owner, such as a team."""

from __future__ import annotations

import datetime as dt
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from singer_http.http.errors import ApiError
from singer_http.resume import START, Incremental, ResumePoint
from singer_sdk.singerlib.catalog import REPLICATION_FULL_TABLE, REPLICATION_INCREMENTAL
from typing_extensions import override

from tap_hubstaff.account import list_path
from tap_hubstaff.streams.base import HubstaffBookmark, HubstaffStream, age
from tap_hubstaff.times import iso

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from singer_http.reading.pages import Page, Slice
    from singer_http.tap import ApiTap
    from singer_sdk.helpers.types import Record
    from singer_sdk.singerlib import Catalog

    from tap_hubstaff.account import Account, Owner


class OwnerBookmark(HubstaffBookmark):
    """What STATE holds of an owner."""

    owner: str | None = None


class OwnedStream(HubstaffStream):
    """A list of each owner, such as a team: each takes a request at least.

    After the first run, a list is read again if its owner is new, or is listed with any change (of ``updated_at``,
    say), or if the list was read longer ago than ``links_max_age``: the vendor does not say that a change in a team's
    list shows in the team. The bookmark of an owner says how the owner was listed, and when its list was read::

        {"context": {"organization_id": 7, "team_id": 3}, "owner": "81f5c4b2a5e0", "read_at": "2026-01-31T11:40:00Z"}
    """

    owners: ClassVar[str]
    """The list of an organization's owners; its stream has the same name."""
    owner_key: ClassVar[str]
    """The property of the records that holds the owner's id."""
    incremental_key = "updated_at"
    bookmark = OwnerBookmark

    def __init__(self, tap: ApiTap, account: Account) -> None:
        super().__init__(tap, account)
        if not self.config["emit_activate_version_messages"]:  # a table has a version only as a whole
            self.replication_key = self.incremental_key

    @override
    def apply_catalog(self, catalog: Catalog) -> None:
        super().apply_catalog(catalog)
        if self.config["emit_activate_version_messages"]:
            self.forced_replication_method, self.replication_key = REPLICATION_FULL_TABLE, None

    @property
    @override
    def partitions(self) -> list[dict[str, Any]] | None:
        return [partition for partition, _ in self._owned()]

    def _owned(self) -> Iterator[tuple[dict[str, Any], Owner]]:
        """The owners of all organizations that can list theirs."""
        for organization in self.due:
            with suppress(ApiError):  # slices() reports it
                for owner in self._account.owners(self.owners, organization):
                    yield {"organization_id": organization, self.owner_key: owner.id}, owner

    @override
    def slices(self) -> Iterator[Slice]:
        for organization in self.due:
            try:
                self._account.owners(self.owners, organization)
            except ApiError as failure:
                # Nothing of this organization can be read; the others go on.
                yield replace(self._slice({"organization_id": organization, self.owner_key: "?"}), failure=failure)
        if self.replication_method != REPLICATION_INCREMENTAL:
            yield from super().slices()
            return
        for partition, owner in self._owned():
            if self._may_have_changed(self.bookmarks.get(partition), owner):
                yield self._slice(partition, self.resume.point(partition) or START)

    def _may_have_changed(self, bookmark: Mapping[str, Any], owner: Owner) -> bool:
        """Whether an owner's list may have changed since it was read, or was read otherwise or not to its end."""
        if "cursor" in bookmark or bookmark.get("owner") != owner.fingerprint:
            return True
        if bookmark.get("fingerprint") != self.resume.fingerprint:
            return True
        read = age(bookmark, self._account.began)
        return read is None or read >= dt.timedelta(seconds=self.config["links_max_age"])

    @override
    def forecast(self, organization: int) -> int:
        if self._account.is_read(list_path(self.owners, organization)):
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
        if slice_.start is None:  # otherwise the bookmark is from when the first page was read
            owner = next(owner for partition, owner in self._owned() if partition == slice_.partition)
            self.bookmarks.of(slice_.partition).update(owner=owner.fingerprint, read_at=iso(self._account.began))
        self.resume.turn(slice_.partition, ResumePoint(page.next))
        self.state_manager.is_flushed = False
