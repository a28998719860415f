"""A complete tap on singer-http, for the made-up API of a parcel service; see new-tap.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from singer_http.checked_settings import url_errors
from singer_http.http.auth import fixed_token
from singer_http.http.budget import Budget
from singer_http.http.session import Session
from singer_http.http.transport import Transport
from singer_http.operator_errors import exit_on_operator_error
from singer_http.reading.pages import Page
from singer_http.settings import shared_settings
from singer_http.stream import ApiStream
from singer_http.tap import ApiTap
from singer_sdk import typing as th
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class ParcelList(msgspec.Struct):
    """What the API answers: parcels, and the cursor of the next page."""

    parcels: msgspec.Raw
    after: str | None


class Parcels(ApiStream):
    """All parcels."""

    name = "parcels"
    path = "/parcels"
    cursor_param = "after"
    primary_keys: ClassVar[tuple[str, ...]] = ("id",)
    schema: ClassVar[dict[str, Any]] = th.PropertiesList(
        th.Property("id", th.IntegerType), th.Property("weight", th.NumberType, description="In kilograms.")
    ).to_dict()

    @override
    def parse(self, body: bytes) -> Page:
        answer = msgspec.json.decode(body, type=ParcelList)
        return Page(answer.parcels, next=answer.after)

    @override
    def query(self, partition: Mapping[str, Any] | None) -> dict[str, str | int]:
        return {"limit": 100}


class TapParcels(ApiTap):
    """Singer tap for the parcel service."""

    name = "tap-parcels"
    package_name = "singer-http"  # a real tap has a distribution of its own
    config_jsonschema: ClassVar[dict[str, Any]] = th.PropertiesList(
        th.Property("token", th.StringType, required=True, secret=True, description="Your token."),
        th.Property("api_url", th.StringType, required=True, description="Base URL of the API."),
        *shared_settings(),
    ).to_dict()

    @override
    def discover_streams(self) -> list[Parcels]:
        return [Parcels(self, self.run)]

    @override
    def setting_errors(self, config: Mapping[str, Any]) -> Iterator[str]:
        return url_errors("api_url", config["api_url"])

    @override
    def open_session(self, config: Mapping[str, Any]) -> Session:
        timeout, parallel = config["request_timeout"], config["max_parallel_requests"]
        transport = Transport(config["user_agent"], timeout, parallel, self.clock)
        tokens = fixed_token(config["token"], "token", self.clock)
        return Session(config["api_url"], transport, tokens, Budget(10, 1.0, self.clock), self.clock)

    @override
    def prepare(self) -> None:
        self.session.log_in()

    @override
    def check_connection(self) -> str:
        self.session.get("/parcels", {"limit": 1}, Parcels(self, self.run).parse)
        return "the token works."


def main() -> None:
    """Run the tap."""
    with exit_on_operator_error(TapParcels.logger):
        TapParcels.cli()


if __name__ == "__main__":
    main()
