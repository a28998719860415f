"""Checks what a catalog asks for: streams, replication methods, and the keys that every record needs."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec
from singer_sdk.singerlib.catalog import REPLICATION_FULL_TABLE, REPLICATION_INCREMENTAL, Metadata

from singer_http.http.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from singer_sdk.singerlib import CatalogEntry, MetadataMapping


class _Metadata(msgspec.Struct, rename="kebab"):
    selected: bool | None = None
    replication_key: str | None = None
    replication_method: str | None = None


class _Entry(msgspec.Struct):
    breadcrumb: list[str]
    metadata: _Metadata


class _Schema(msgspec.Struct):
    properties: dict[str, dict[str, Any]]


class _Stream(msgspec.Struct):
    tap_stream_id: str
    schema: _Schema
    stream: str | None = None
    metadata: list[_Entry] = []
    key_properties: list[str] | None = None
    replication_key: str | None = None
    replication_method: str | None = None


class _Catalog(msgspec.Struct):
    """The parts of a catalog that are read, with their types."""

    streams: list[_Stream]


def with_chosen_methods(catalog: dict[str, Any]) -> dict[str, Any]:
    """Put each stream's replication method where the SDK looks for it.

    The Singer specification puts it into the stream's metadata, as ``replication-method``, which the SDK drops. Raises
    :class:`ConfigurationError` where the catalog is not valid, or contradicts itself.
    """
    try:
        streams = msgspec.convert(catalog, _Catalog).streams
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"The catalog is not valid: {error}. Discover it again.") from None
    if twice := [name for name, times in Counter(stream.tap_stream_id for stream in streams).items() if times > 1]:
        raise ConfigurationError(f"The catalog lists {', '.join(twice)} more than once: leave one of them.")
    catalog = {**catalog, "streams": [dict(stream) for stream in catalog["streams"]]}
    for stream, one in zip(catalog["streams"], streams, strict=True):
        for entry in one.metadata:
            if not entry.breadcrumb and entry.metadata.replication_method:
                stream["replication_method"] = entry.metadata.replication_method
    return catalog


def chosen_key(stream: str, method: str, key: str | None, possible: str | None) -> str | None:
    """Return the replication key that a catalog chooses, None for a full table.

    Raises :class:`ConfigurationError` where the stream cannot be read so.
    """
    if method == REPLICATION_FULL_TABLE:
        return None
    if method != REPLICATION_INCREMENTAL or possible is None:
        raise ConfigurationError(
            f"The catalog asks for replication method {method} in stream {stream}, which can be read as"
            f" FULL_TABLE{' or INCREMENTAL' if possible else ' only'}."
        )
    if key not in {None, possible}:
        raise ConfigurationError(f"The catalog has replication key {key} for stream {stream}; it is {possible}.")
    return possible


def with_keys(metadata: MetadataMapping, keys: Iterable[str | None]) -> MetadataMapping:
    """Mark keys as always included, whatever is selected; empty metadata stays empty."""
    for key in keys if metadata else ():
        if key is not None:
            metadata.setdefault(("properties", key), Metadata()).inclusion = Metadata.InclusionType.AUTOMATIC
    return metadata


def set_primary_keys(entry: CatalogEntry | None, keys: Sequence[str]) -> None:
    """Give a stream of a catalog its primary keys, which are the API's and no choice.

    Raises :class:`ConfigurationError` where the catalog has others.
    """
    if entry is None:
        return
    for asked in (entry.key_properties, entry.metadata.root.table_key_properties):
        if asked is not None and set(asked) != set(keys):
            raise ConfigurationError(
                f"The catalog has {', '.join(asked) or 'no property'} as the key of stream {entry.tap_stream_id}; it is"
                f" {', '.join(keys)}: discover the catalog again."
            )
    entry.key_properties = list(keys)


def check_keys(stream: str, keys: Iterable[str | None], known: Container[str]) -> None:
    """Raise :class:`ConfigurationError` where a catalog leaves a key of a stream out of its schema."""
    if missing := [key for key in keys if key is not None and key not in known]:
        raise ConfigurationError(
            f"The catalog leaves {' and '.join(missing)} out of the schema of stream {stream}, which cannot be read"
            " without: discover the catalog again."
        )
