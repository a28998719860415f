"""Where an API's answers differ from what the plugins know of them: names of properties only, never values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jsonschema
from target_harkster.vendor.client import HarksterApi

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from singer_http.stream import ApiStream
    from singer_http.tap import ApiTap
    from target_harkster.target import TargetHarkster


def differences(record: Any, schema: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Say which properties of a record its schema does not know, and which are of another type."""
    if isinstance(record, list) and "items" in schema:
        for item in record:
            yield from differences(item, schema["items"], f"{path}[]")
    elif isinstance(record, dict) and "properties" in schema:
        for name, value in record.items():
            if (known := schema["properties"].get(name)) is None:
                yield f"{path}.{name} is unknown"
            else:
                yield from differences(value, known, f"{path}.{name}")
    elif not jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker()).is_valid(record):
        yield f"{path} is not of the type that is documented"


def of_tap(tap: ApiTap) -> list[str]:
    """Log in, read a page of organizations, and compare it with the stream's schema."""
    stream: ApiStream = next(stream for stream in tap.api_streams if stream.name == "organizations")
    session = tap.session
    try:
        session.log_in()
        page = session.get(stream.path, stream.query(None), stream.parse)
    finally:
        session.close()
    return sorted({found for record in page.decode() for found in differences(record, stream.schema, stream.name)})


def of_target(target: TargetHarkster) -> list[str]:
    """Read the list of channels, and say what the target needs of a channel and does not find."""
    api = HarksterApi({"user_agent": f"{target.name}/{target.plugin_version}", **target.config}, target.clock)
    try:
        channels = api.channels()
    finally:
        api.close()
    missing = {
        "accountId": not all(one.account_id for one in channels),
        "a name": not all(all(one.names) for one in channels),
    }
    return [f"channels: {name} is missing" for name, is_missing in missing.items() if is_missing]
