"""Makes RECORD messages of records, through stream maps where there are any."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_sdk.mapper import SameRecordTransform

from singer_http.http.errors import ConfigurationError, MalformedAnswerError

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from singer_sdk.helpers.types import Record
    from singer_sdk.mapper import StreamMap

DELETED_AT = "_sdc_deleted_at"
"""The property that says since when a row is gone, by the convention of singer-sdk."""


def record_messages(
    stream: str, maps: Sequence[StreamMap], records: Sequence[Record], version: int | None, at: dt.datetime
) -> list[dict[str, Any]]:
    """Make RECORD messages, as the dictionaries that they are encoded from.

    Args:
        stream: The tap's name for it.
        maps: What becomes of each record.
        records: Conformed.
        version: Of the table; None for none.
        at: When they were read.

    Raises:
        ConfigurationError: An expression fails.
        MalformedAnswerError: A record is nested too deep.
    """
    rest = {**({} if version is None else {"version": version}), "time_extracted": at}
    first, *others = maps
    if not others and type(first) is SameRecordTransform and not first.flattening_enabled:
        return [{"type": "RECORD", "stream": first.stream_alias, "record": record, **rest} for record in records]
    try:
        return [
            {"type": "RECORD", "stream": one.stream_alias, "record": mapped, **rest}
            for record in records
            for one in maps
            if (mapped := one.transform(record)) is not None
        ]
    except RecursionError:  # of what could just be read
        raise MalformedAnswerError(
            "A record is nested too deep to be flattened or mapped: deselect the property."
        ) from None
    except Exception as error:  # noqa: BLE001 - an expression may raise anything
        raise ConfigurationError(
            f"stream_maps: {stream}: an expression fails on a record ({map_failure(error)})."
        ) from None


def map_failure(error: Exception) -> str:
    """Why an expression of a stream map fails. The error's own text can quote the record and the expression."""
    cause = error.__cause__ or error
    kind = type(cause).__name__
    if kind == "NameNotDefined" and getattr(cause, "name", None) == "fake":
        return f"{kind}: fake needs the package faker, which is not installed"
    return kind
