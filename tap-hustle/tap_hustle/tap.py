"""The tap: its settings and its streams."""

from __future__ import annotations

import contextlib
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, cast

from singer_http.checked_settings import api_errors
from singer_http.http.errors import ApiError, ConfigurationError
from singer_http.http.shard import Shard
from singer_http.settings import LINE, shared_settings
from singer_http.tap import ApiTap
from singer_sdk import typing as th
from typing_extensions import override

from tap_hustle.client import DEFAULT_URL, LONGEST_PAGE, REQUESTS_PER_SECOND, open_session, parse_page
from tap_hustle.organizations import VisibleOrganizations
from tap_hustle.streams import STREAMS, HustleStream, Organizations

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from singer_http.http.session import Session


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
            th.IntegerType(minimum=1, maximum=1_000_000),
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
        th.Property(
            "share_login",
            th.BooleanType,
            default=False,
            title="Share the login",
            description=(
                "Log in once for all runs that count their requests together. The access token, a secret that lasts two"
                " hours, is kept where they count them: in the user's state directory, or in budget_url. If the API"
                " refuses the credentials, the others do not try them for 60 seconds."
            ),
        ),
        *shared_settings(),
    ).to_dict()

    @override
    def discover_streams(self) -> list[HustleStream]:
        return [stream(self, self.run, self.organizations) for stream in STREAMS]

    @cached_property
    def organizations(self) -> VisibleOrganizations:
        """The organizations that the credentials show."""
        wanted = self.config.get("organization_ids")
        return VisibleOrganizations(
            self.run,
            wanted,
            Shard.of(self.config),
            lambda: cast("Organizations", self.streams[Organizations.name]).whole(),
        )

    @override
    def setting_errors(self, config: Mapping[str, Any]) -> Iterator[str]:
        return api_errors(config, "requests_per_second", REQUESTS_PER_SECOND)

    @override
    def open_session(self, config: Mapping[str, Any]) -> Session:
        return open_session(config, self.clock)

    @override
    def prepare(self) -> None:
        self.session.log_in()
        if wanted := self.organizations.wanted:
            if unknown := sorted(wanted.difference(self.organizations.visible())):
                raise ConfigurationError(
                    f"organization_ids names {', '.join(unknown)}, which these credentials do not show: check the ids."
                )
        elif any(
            isinstance(stream, HustleStream) and stream.selected and stream.is_by_organization
            for stream in self.api_streams
        ):
            # Here rather than ahead of the first stream that needs them, where every request would wait for it.
            with contextlib.suppress(ApiError):  # the streams themselves will say so
                self.organizations.visible()

    @override
    def check_connection(self) -> str:
        page = self.session.get("/organizations", {"limit": 1}, parse_page)
        if page.is_empty:
            return "the credentials work, but show no organization."
        return "the credentials work, and organizations can be read."
