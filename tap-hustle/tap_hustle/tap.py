"""The tap: its settings, its streams, and the organizations that they are read by."""

from __future__ import annotations

import contextlib
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, cast

from singer_http.http.errors import ApiError, ConfigurationError, MalformedAnswerError
from singer_http.reading.reader import Reader
from singer_http.settings import LINE, api_errors, shared_settings
from singer_http.tap import ApiTap
from singer_sdk import typing as th
from typing_extensions import override

from tap_hustle.client import DEFAULT_URL, LONGEST_PAGE, REQUESTS_PER_SECOND, open_session, parse_page
from tap_hustle.streams import STREAMS, HustleStream, Organizations

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from singer_http.http.session import Session
    from singer_http.reading.pages import Page, Slice
    from singer_http.stream import ApiStream


class TapHustle(ApiTap):
    """Singer tap for the Hustle v3 API (peer-to-peer texting)."""

    name = "tap-hustle"

    config_jsonschema: ClassVar[dict[str, Any]] = th.PropertiesList(
        th.Property(
            "client_id",
            th.StringType(pattern=LINE),
            required=True,
            secret=True,
            title="Client ID",
            description="The client id that Hustle gave you; it has the form of an email address.",
        ),
        th.Property(
            "client_secret",
            th.StringType(pattern=LINE),
            required=True,
            secret=True,
            title="Client secret",
            description="The secret that belongs to the client id.",
        ),
        th.Property(
            "api_url",
            th.StringType,
            default=DEFAULT_URL,
            title="API URL",
            description="Base URL of the API, with its version.",
        ),
        th.Property(
            "auth_url",
            th.StringType,
            title="Token URL",
            description="URL that gives access tokens. The default is api_url followed by /oauth/token.",
        ),
        th.Property(
            "organization_ids",
            th.ArrayType(th.StringType(min_length=1)),
            title="Organization IDs",
            description=(
                "Read only these organizations, and what belongs to the whole account. The default is every"
                " organization that your credentials may read."
            ),
        ),
        th.Property(
            "page_size",
            th.IntegerType(minimum=1, maximum=LONGEST_PAGE),
            default=LONGEST_PAGE,
            title="Page size",
            description="Records in one page.",
        ),
        th.Property(
            "requests_per_second",
            th.IntegerType(minimum=1),
            default=REQUESTS_PER_SECOND,
            title="Requests per second",
            description=(
                "The most requests in any second. Hustle allows 25, which is also the most that you can set, except"
                " for an api_url on this machine. Set less if other programs use the same credentials."
            ),
        ),
        th.Property(
            "predict_cursors",
            th.BooleanType,
            default=True,
            title="Predict cursors",
            description=(
                "Ask for the next pages of a long list before their cursors are known, if the cursors follow a"
                " pattern. A page counts only if its cursor turns out right."
            ),
        ),
        *shared_settings(),
    ).to_dict()

    def __init__(self, **kwargs: Any) -> None:
        self._organizations: tuple[str, ...] | ApiError | None = None
        self._organization_pages: list[Page] = []
        super().__init__(**kwargs)

    @override
    def discover_streams(self) -> list[HustleStream]:
        return [stream(self) for stream in STREAMS]

    @property
    def hustle_streams(self) -> list[HustleStream]:
        """The streams, as what they are."""
        return [stream for stream in self.streams.values() if isinstance(stream, HustleStream)]

    @override
    def setting_errors(self, config: Mapping[str, Any]) -> Iterator[str]:
        return api_errors(config, "requests_per_second", REQUESTS_PER_SECOND)

    @cached_property
    @override
    def session(self) -> Session:
        user_agent = self.config.get("user_agent") or f"{self.name}/{self.plugin_version}"
        return open_session({**self.config, "user_agent": user_agent}, self.clock)

    @override
    def prepare(self) -> None:
        self.session.log_in()
        if wanted := self.wanted_organizations:
            unknown = sorted(wanted.difference(self._visible_organizations()))
            if unknown:
                raise ConfigurationError(
                    f"organization_ids names {', '.join(unknown)}, which these credentials do not show: check the ids."
                )
        elif any(stream.selected and stream.by_organization for stream in self.hustle_streams):
            # Here rather than ahead of the first stream that needs them, where every request would wait for it.
            with contextlib.suppress(ApiError):  # the streams themselves will say so
                self._visible_organizations()

    @override
    def check_connection(self) -> str:
        page = self.session.get("/organizations", {"limit": 1}, parse_page)
        if page.is_empty:
            return "the credentials work, but show no organization."
        return "the credentials work, and organizations can be read."

    @cached_property
    def wanted_organizations(self) -> frozenset[str] | None:
        """The organizations that the settings restrict the run to, None for all."""
        return frozenset(self.config.get("organization_ids") or ()) or None

    @property
    def organization_ids(self) -> tuple[str, ...]:
        """The organizations to read by, in the API's order.

        Raises:
            ApiError: They could not be listed.
        """
        wanted = self.wanted_organizations
        return tuple(
            organization for organization in self._visible_organizations() if wanted is None or organization in wanted
        )

    def _visible_organizations(self) -> tuple[str, ...]:
        """Every organization that the credentials show: listed once a run, whether that works or not."""
        if self._organizations is None:
            try:
                self._organizations = tuple(dict.fromkeys(self._list_organizations()))
            except ApiError as failure:
                self._organizations = failure
        if isinstance(self._organizations, ApiError):
            raise self._organizations
        return self._organizations

    def _list_organizations(self) -> Iterator[str]:
        with Reader(self.session, [cast("Organizations", self.streams[Organizations.name]).whole()]) as reader:
            for _, pages in reader:
                for page in pages:
                    self._organization_pages.append(page)
                    for organization in page.decode():
                        if not isinstance(organization.get("id"), str):
                            raise MalformedAnswerError("GET /organizations: an organization came without its id.")
                        yield organization["id"]

    # The list of organizations serves its stream too

    @override
    def read(self, stream: ApiStream) -> Iterator[tuple[Slice, Iterator[Page]]]:
        if not self._is_listed(stream):
            yield from super().read(stream)
            return
        for slice_ in stream.slices():
            if slice_.start is None:
                yield slice_, self._listed()
            else:  # it goes on where an earlier run was, which the reader knows how to
                with Reader(self.session, [slice_]) as reader:
                    yield from reader

    @override
    def _ahead(self) -> Iterator[Slice]:
        for stream in self.hustle_streams:
            if stream.selected and not self._is_listed(stream):
                yield from stream.slices()

    def _is_listed(self, stream: ApiStream) -> bool:
        return isinstance(stream, Organizations) and self._organizations is not None

    def _listed(self) -> Iterator[Page]:
        yield from self._organization_pages
        if isinstance(self._organizations, ApiError):
            raise self._organizations
