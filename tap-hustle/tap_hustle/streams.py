"""The streams: every list of the Hustle v3 API."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from singer_http.http.errors import MalformedAnswerError
from singer_http.reading.pages import Slice
from singer_http.reading.reader import Reader
from singer_http.resume import START, ResumePoint, fingerprint
from singer_http.schemas import ApiSchema
from singer_http.stream import ApiStream
from singer_sdk import SchemaDirectory
from singer_sdk.singerlib.catalog import REPLICATION_INCREMENTAL
from typing_extensions import override

from tap_hustle import schemas
from tap_hustle.client import first_record, parse_page
from tap_hustle.cursor_prediction import predicted_cursor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from singer_http.reading.pages import Page
    from singer_http.run import Run
    from singer_sdk import Tap
    from singer_sdk.helpers.types import Context, Record
    from singer_sdk.singerlib import MetadataMapping

    from tap_hustle.organizations import VisibleOrganizations


class HustleSlice(Slice):
    """A chain of pages whose cursors may follow a pattern."""

    __slots__ = ()

    @override
    def predict(self, before: str, last: str) -> str | None:
        return predicted_cursor(before, last)


class HustleStream(ApiStream):
    """A list of the Hustle API."""

    schema: ClassVar[ApiSchema] = ApiSchema(SchemaDirectory(schemas))
    primary_keys: ClassVar[tuple[str, ...]] = ("id",)
    slice_type = HustleSlice
    incremental_key = "createdAt"
    interleave = 16
    # A list is read by organization only where every record belongs to one: asked for one organization, it leaves out
    # what belongs to the whole account.

    def __init__(self, tap: Tap, run: Run, organizations: VisibleOrganizations) -> None:
        super().__init__(tap, run)
        self._organizations = organizations

    @override
    def parse(self, body: bytes) -> Page:
        return parse_page(body)

    @override
    def query(self, partition: Mapping[str, Any] | None) -> dict[str, str | int]:
        return {"limit": self.config["page_size"], **(partition or {})}

    # A cursor leads to other rows where some before it are gone: it is kept with what its page began with.

    @override
    def _slice(self, partition: Mapping[str, Any] | None, point: ResumePoint = START) -> Slice:
        return replace(
            super()._slice(partition, point), is_as_left=lambda page: self._begins_with(page) == point.begins_with
        )

    @override
    def _point_behind(self, page: Page) -> ResumePoint | None:
        # With the page itself, which may have been filled up.
        return None if page.is_empty else ResumePoint(page.cursor, self._begins_with(page))

    def _begins_with(self, page: Page) -> str | None:
        """The fingerprint of a page's first key, None where it is empty."""
        first = first_record(page)
        return None if first is None else fingerprint([first.get(key) for key in self.primary_keys])

    @property
    @override
    def partitions(self) -> list[dict[str, Any]] | None:
        if not self.is_by_organization:
            return None
        return [{"organizationId": organization} for organization in self._organizations.ids]

    @property
    @override
    def bounds(self) -> Any:
        is_by_itself = self.is_by_organization and self.replication_method == REPLICATION_INCREMENTAL
        return None if is_by_itself else super().bounds  # each organization has a bookmark of its own

    @override
    def post_process(self, row: Record, context: Context | None = None) -> Record | None:
        wanted = self._organizations.wanted
        return row if context is not None or wanted is None or self.belongs(row, wanted) else None

    def belongs(self, row: Mapping[str, Any], organizations: frozenset[str]) -> bool:
        """Whether a record of a list that is read whole belongs to one of the organizations, or to all."""
        return row.get("organizationId") is None or row["organizationId"] in organizations


class Organizations(HustleStream):
    """The organizations that the credentials may read."""

    name = "organizations"
    path = "/organizations"
    is_never_empty = True

    def whole(self) -> Slice:
        """The list from its beginning."""
        return self._slice(None)

    @property
    @override
    def is_read_ahead(self) -> bool:
        return not self._organizations.are_listed

    @override
    def read(self) -> Iterator[tuple[Slice, Iterator[Page]]]:
        if not self._organizations.are_listed:
            yield from super().read()
            return
        for slice_ in self.slices():
            if slice_.start is None:
                yield slice_, self._organizations.pages()
            else:  # it goes on where an earlier run was, which the reader knows how to
                with Reader(self.run.session, [slice_]) as reader:
                    yield from reader

    @override
    def belongs(self, row: Mapping[str, Any], organizations: frozenset[str]) -> bool:
        return row["id"] in organizations


class Groups(HustleStream):
    """Groups, active or not."""

    name = "groups"
    path = "/groups"
    is_by_organization = True


class Agents(HustleStream):
    """Agents; the list cannot be asked for one organization."""

    name = "agents"
    path = "/agents"


class Leads(HustleStream):
    """Leads, by organization: asked for by group, those in no group would be missing and others come twice."""

    name = "leads"
    path = "/leads"
    is_by_organization = True


class Tags(HustleStream):
    """Tags of organizations and of the whole account."""

    name = "tags"
    path = "/tags"


class CustomFields(HustleStream):
    """Custom fields of organizations and of the whole account."""

    name = "custom_fields"
    path = "/custom_fields"


class Integrations(HustleStream):
    """Connections with other services."""

    name = "integrations"
    path = "/integrations"
    is_by_organization = True


class WebhookRegistrations(HustleStream):
    """Webhooks, for some organizations or the whole account."""

    name = "webhook_registrations"
    path = "/webhook_registrations"

    @property
    @override
    def metadata(self) -> MetadataMapping:
        metadata = super().metadata
        # It concerns a secret: it is there for those who ask for it.
        if (entry := metadata.get(("properties", "secretForHMAC"))) is not None:
            entry.selected_by_default = False
        return metadata

    @override
    def belongs(self, row: Mapping[str, Any], organizations: frozenset[str]) -> bool:
        try:
            scoped_to = ((row.get("config") or {}).get("scope") or {}).get("organizationIds")
            return scoped_to is None or not organizations.isdisjoint(scoped_to)
        except (AttributeError, TypeError):
            raise MalformedAnswerError(
                "A webhook came whose config does not tell its organizations: tell Hustle's support."
            ) from None


STREAMS: tuple[type[HustleStream], ...] = (
    Organizations,
    Groups,
    Agents,
    Leads,
    Tags,
    CustomFields,
    Integrations,
    WebhookRegistrations,
)
"""All streams, in the order of the documentation; a tap reads them by name."""
