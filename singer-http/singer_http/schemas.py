"""The schemas of streams, from the files of a plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_sdk import StreamSchema
from typing_extensions import override

from singer_http.conform import UNKNOWN_FIELDS

if TYPE_CHECKING:
    from singer_sdk import Stream

UNKNOWN_FIELDS_SCHEMA: dict[str, Any] = {
    "type": ["object", "null"],
    "additionalProperties": True,
    "x-pii": True,
    "description": "What the schema has no place for: by its path, the value as it came.",
}


class ApiSchema(StreamSchema[str]):
    """The schema of a stream, with a column for what is unknown if the settings want it to be kept."""

    @override
    def get_stream_schema(self, stream: Stream, stream_class: type[Stream]) -> dict[str, Any]:
        schema = super().get_stream_schema(stream, stream_class)
        if stream.config["unknown_fields"] != "keep" or UNKNOWN_FIELDS in schema["properties"]:
            return schema
        return {**schema, "properties": {**schema["properties"], UNKNOWN_FIELDS: UNKNOWN_FIELDS_SCHEMA}}
