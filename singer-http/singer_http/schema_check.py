"""Checks all records of a page at once against their schema: nearly all fit."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Annotated, Any, Union

import msgspec

from singer_http.conversions import INTEGERS, kinds_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TYPES: Mapping[str, Any] = {
    "string": str,
    "integer": Annotated[int, msgspec.Meta(ge=INTEGERS.start, le=INTEGERS.stop - 1)],
    "number": int | float,
    "boolean": bool,
    "object": dict,
    "array": list,
    "null": None,
}
_DAYS = r"(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31"
_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?Z"
_FORMATS: Mapping[str, Any] = {
    "date": dt.date,
    "date-time": Annotated[str, msgspec.Meta(pattern=rf"^[1-9][0-9]{{3}}-(?:{_DAYS})T{_CLOCK}\Z")],
}
_TIME = Annotated[dt.datetime, msgspec.Meta(tz=True)]
"""Several times as fast as a pattern, but a small T or Z, or none, passes for a time too: loaders may not read that."""


class SchemaCheck:
    """Tells whether records fit a schema; it may be wrong about some that do, but not about any that does not."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._records = list[_struct(schema, {**_FORMATS, "date-time": _TIME})]  # type: ignore[misc]
        self._times = [name for name, found in schema["properties"].items() if found.get("format") == "date-time"]

    def __call__(self, records: Sequence[Mapping[str, Any]]) -> bool:
        """Whether all of some records fit."""
        try:
            msgspec.convert(records, self._records)
        except (msgspec.ValidationError, RecursionError):
            return False
        for name in self._times:
            for record in records:
                time = record.get(name)
                if type(time) is str and (time[10] != "T" or time[-1] != "Z"):
                    return False
        return True


def _struct(schema: Mapping[str, Any], formats: Mapping[str, Any]) -> Any:
    """The type of the objects that fit a schema; nothing has to be there."""
    names = {f"field_{number}": name for number, name in enumerate(schema["properties"])}
    types = [(field, _type(schema["properties"][name], formats), None) for field, name in names.items()]
    is_open = bool(schema.get("additionalProperties"))
    return msgspec.defstruct("Record", types, rename=names, forbid_unknown_fields=not is_open)


def _type(schema: Mapping[str, Any], formats: Mapping[str, Any]) -> Any:
    if "type" not in schema:
        return Any
    kinds = kinds_of(schema)
    types = {kind: _TYPES[kind] for kind in kinds if not (kind == "integer" and "number" in kinds)}
    if "string" in types:
        types["string"] = formats.get(schema.get("format", ""), str)
    if "object" in types and "properties" in schema:
        types["object"] = _struct(schema, _FORMATS)
    if "array" in types and "items" in schema:
        types["array"] = list[_type(schema["items"], _FORMATS)]  # type: ignore[misc]
    return Union[tuple(types.values())]  # noqa: UP007 - of types that are known at run time only
