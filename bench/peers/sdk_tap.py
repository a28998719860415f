"""The plain singer-sdk tap: what the SDK's cookiecutter template and its guides lead to for this API."""

from __future__ import annotations

import json
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from singer_sdk import RESTStream, Tap
from singer_sdk import typing as th
from singer_sdk.authenticators import OAuthAuthenticator

if TYPE_CHECKING:
    from singer_sdk.helpers.types import Context

PAGE_SIZE = 1000


class HustleAuthenticator(OAuthAuthenticator):
    @property
    def oauth_request_body(self) -> dict[str, Any]:
        return {
            "grant_type": "client_credentials",
            "client_id": self.client_id,
            "client_secret": self.client_secret,
        }

    @property
    def oauth_request_payload(self) -> str:  # the API takes JSON rather than a form
        return json.dumps(self.oauth_request_body)


class HustleStream(RESTStream[str]):
    records_jsonpath = "$.items[*]"
    next_page_token_jsonpath = "$.cursor"  # the template's paginator, which knows nothing of hasMore
    primary_keys: ClassVar[tuple[str, ...]] = ("id",)

    @property
    def url_base(self) -> str:
        return self.config["api_url"]

    @cached_property
    def authenticator(self) -> HustleAuthenticator:
        return HustleAuthenticator(
            client_id=self.config["client_id"],
            client_secret=self.config["client_secret"],
            auth_endpoint=self.config["auth_url"],
            oauth_headers={"Content-Type": "application/json"},
        )

    def get_url_params(self, context: Context | None, next_page_token: str | None) -> dict[str, Any]:
        params: dict[str, Any] = {"limit": PAGE_SIZE, **(context or {})}
        if next_page_token:
            params["cursor"] = next_page_token
        return params


class OrganizationsStream(HustleStream):
    name = "organizations"
    path = "/organizations"
    schema = th.PropertiesList(
        th.Property("id", th.StringType, required=True),
        th.Property("type", th.StringType),
        th.Property("name", th.StringType),
        th.Property("createdAt", th.DateTimeType),
    ).to_dict()

    def get_child_context(self, record: dict[str, Any], context: Context | None) -> dict[str, Any]:  # noqa: ARG002
        return {"organizationId": record["id"]}


class LeadsStream(HustleStream):
    name = "leads"
    path = "/leads"
    parent_stream_type = OrganizationsStream
    schema = th.PropertiesList(
        th.Property("id", th.StringType, required=True),
        th.Property("type", th.StringType),
        th.Property("phoneNumber", th.StringType),
        th.Property("organizationId", th.StringType),
        th.Property("activeGroupIds", th.ArrayType(th.StringType)),
        th.Property("inactiveGroupIds", th.ArrayType(th.StringType)),
        th.Property("customFields", th.ObjectType(additional_properties=True)),
        th.Property("firstName", th.StringType),
        th.Property("lastName", th.StringType),
        th.Property("notes", th.StringType),
        th.Property("followUp", th.StringType),
        th.Property("email", th.StringType),
        th.Property("postalCode", th.StringType),
        th.Property("phoneNumberType", th.StringType),
        th.Property("tagIds", th.ArrayType(th.StringType)),
        th.Property("globalOptedOut", th.BooleanType),
        th.Property("createdAt", th.DateTimeType),
    ).to_dict()


class TapHustle(Tap):
    name = "tap-hustle-plain"
    config_jsonschema = th.PropertiesList(
        th.Property("api_url", th.StringType, required=True),
        th.Property("auth_url", th.StringType, required=True),
        th.Property("client_id", th.StringType, required=True),
        th.Property("client_secret", th.StringType, required=True, secret=True),
    ).to_dict()

    def discover_streams(self) -> list[HustleStream]:
        return [OrganizationsStream(self), LeadsStream(self)]


if __name__ == "__main__":
    TapHustle.cli()
