"""The base classes of the streams: lists of organizations that are read whole, and lists of one more owner each."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from singer_http.errors import ApiError
from singer_http.stream import ApiStream
from singer_sdk import SchemaDirectory, StreamSchema
from typing_extensions import override

from tap_hubstaff import schemas
from tap_hubstaff.client import parse_page

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from singer_http.pages import Page, Slice

    from tap_hubstaff.tap import TapHubstaff

    Partition = Mapping[str, Any]


class HubstaffStream(ApiStream):
    """A list of each organization.

    A subclass says what the vendor says: the path, what the list is called in the answer, and what it has to be
    asked for so that it hides nothing.
    """

    schema: ClassVar[StreamSchema] = StreamSchema(SchemaDirectory(schemas))
    primary_keys: ClassVar[tuple[str, ...]] = ("id",)
    cursor_param = "page_start_id"
    limit_param = "page_limit"
    envelope: ClassVar[tuple[str, ...]] = ()
    """What the list may be called in the answer; the stream's own name where this is empty."""
    asked_for: ClassVar[Mapping[str, str | int]] = {}
    """Parameters of every request: what would be hidden otherwise."""
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
        return {self.limit_param: self.page_limit, **self.asked_for, **chosen}

    @property
    @override
    def partitions(self) -> list[dict[str, Any]] | None:
        return [{"organization_id": organization} for organization in self._hubstaff.organization_ids]


class OwnedStream(HubstaffStream):
    """A list of each team, or of each of whatever else an organization has many of: a request at least for each."""

    owners: ClassVar[str]
    """The list of an organization that the owners are found in; it is the name of its stream too."""
    owner_key: ClassVar[str]
    """The property that an owner's id gets in the records."""

    @property
    @override
    def partitions(self) -> list[dict[str, Any]] | None:
        return [
            {**organization, self.owner_key: owner}
            for organization in super().partitions or ()
            for owner in self._owners_of(organization["organization_id"])
        ]

    def _owners_of(self, organization: int) -> Sequence[int]:
        """The owners of an organization; none where they cannot be listed, which a slice of its own says."""
        try:
            return self._hubstaff.owners(self.owners, organization)
        except ApiError:
            return ()

    @override
    def slices(self) -> Iterator[Slice]:
        for organization in self._hubstaff.organization_ids:
            try:
                self._hubstaff.owners(self.owners, organization)
            except ApiError as failure:
                # Of this organization nothing can be read, and the others' owners are known all the same.
                yield replace(
                    self._slice({"organization_id": organization, self.owner_key: "?"}, None), failure=failure
                )
        yield from super().slices()
