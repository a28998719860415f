"""dlt's ``rest_api`` source, extract step alone: what its documentation leads to for this API.

Usage: dlt_source.py CONFIG DIRECTORY. What it extracted is then below DIRECTORY.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import dlt
from dlt.common.configuration.specs import configspec
from dlt.sources.helpers.rest_client.auth import OAuth2ClientCredentials
from dlt.sources.rest_api import RESTAPIConfig, rest_api_source

PAGE_SIZE = 1000


@configspec
class HustleAuth(OAuth2ClientCredentials):
    def build_access_token_request(self) -> dict[str, Any]:  # the API takes JSON rather than a form
        return {
            "json": {
                "grant_type": "client_credentials",
                "client_id": self.client_id,
                "client_secret": self.client_secret,
            },
        }


def source_of(config: dict[str, str]) -> RESTAPIConfig:
    """The leads of every organization."""
    return {
        "client": {
            "base_url": config["api_url"],
            "auth": HustleAuth(
                access_token_url=config["auth_url"],
                client_id=config["client_id"],
                client_secret=config["client_secret"],
            ),
            "paginator": {
                "type": "cursor",
                "cursor_path": "cursor",
                "cursor_param": "cursor",
                "has_more_path": "hasMore",
            },
        },
        "resource_defaults": {
            "primary_key": "id",
            "write_disposition": "replace",
            "endpoint": {"params": {"limit": PAGE_SIZE}, "data_selector": "items"},
        },
        "resources": [
            {"name": "organizations", "endpoint": "organizations"},
            {
                "name": "leads",
                "endpoint": {"path": "leads", "params": {"organizationId": "{resources.organizations.id}"}},
                # As its page on dependent resources says: the lists of several parents at once.
                "parallelized": True,
            },
        ],
    }


def main(config: dict[str, str], directory: str) -> None:
    pipeline = dlt.pipeline("hustle", destination="filesystem", pipelines_dir=directory)
    pipeline.extract(rest_api_source(source_of(config), name="hustle").with_resources("leads"))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), sys.argv[2])
