"""Turns values into what a schema says, if nothing is lost by it."""

from __future__ import annotations

import datetime as dt
import re
from contextlib import suppress
from decimal import Decimal
from types import NoneType
from typing import TYPE_CHECKING, Any

import msgspec

from singer_http.reading.text import number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

KINDS: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float, Decimal),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
    "null": (NoneType,),
}
"""The types of JSON, and what their values are decoded to."""
INTEGERS = range(-(2**63), 2**63)
"""The whole numbers that databases have room for."""
_INTEGER = r"-?(?:0|[1-9][0-9]{0,17})"
_NUMBER = re.compile(rf"{_INTEGER}(?:\.[0-9]+)?")
_DAY = r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
_CLOCK = r"[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?"
_ZONE = r"(?:[Zz]|([+-][0-9]{2}):?([0-9]{2}))?"
_TIME = re.compile(rf"{_DAY}[Tt ]({_CLOCK}){_ZONE}")
_MIDNIGHT = re.compile(rf"{_DAY}(?:[Tt ]00:00:00(?:\.0+)?{_ZONE})?")


def kinds_of(schema: Mapping[str, Any]) -> Sequence[str]:
    """The types that a schema allows, all where it names none."""
    said: Sequence[str] = schema.get("type", [*KINDS])
    return [said] if isinstance(said, str) else said


def converted(value: Any, schema: Mapping[str, Any]) -> Any:
    """Return a value, which is not inside an object or array, as the schema wants it.

    Raises:
        ValueError: If that would lose some of it.
    """
    kinds, in_format = kinds_of(schema), FORMATS.get(schema.get("format", ""))
    conversions = {kind: _CONVERSIONS[kind] for kind in _CONVERSIONS if kind in kinds}
    if "string" in kinds and in_format is not None:
        conversions["string"] = in_format
    own = [kind for kind in kinds if type(value) in KINDS[kind]]
    if own and own[0] not in conversions:
        return value
    for kind in own or conversions:
        with suppress(ValueError):
            return conversions[kind](value)
    raise ValueError


def to_integer(value: Any) -> int:
    """A whole number: of a text, or of a number with nothing behind its point."""
    if isinstance(value, str) and re.fullmatch(_INTEGER, value):
        return int(value)
    is_number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    if is_number and INTEGERS.start <= value < INTEGERS.stop and value == int(value):
        return int(value)
    raise ValueError


def to_number(value: Any) -> int | float | Decimal:
    """A number: of a text."""
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return number(value) if "." in value else int(value)
    raise ValueError


def to_boolean(value: Any) -> bool:
    """A boolean: of 0, 1, "true" or "false"."""
    found = {"true": True, "false": False}.get(value.lower()) if isinstance(value, str) else value
    if isinstance(found, bool | int | float | Decimal) and found in {0, 1}:
        return bool(found)
    raise ValueError


def to_text(value: Any) -> str:
    """A text: of anything but null, its JSON."""
    if value is None:
        raise ValueError
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, Decimal) else msgspec.json.encode(value).decode()


def to_date(value: Any) -> str:
    """A day: of a time, if that is its beginning."""
    if isinstance(value, str) and (found := _MIDNIGHT.fullmatch(value)):
        return dt.date.fromisoformat(found[1]).isoformat()
    raise ValueError


def to_date_time(value: Any) -> str:
    """A time with its time zone: UTC if it names none, as the vendors say; of a day, its beginning."""
    found = isinstance(value, str) and (_TIME.fullmatch(value) or _TIME.fullmatch(f"{value}T00:00:00"))
    if not found:
        raise ValueError
    day, clock, hours, minutes = found.groups()
    time = f"{day}T{clock}{f'{hours}:{minutes}' if hours else 'Z'}"
    msgspec.convert(time, dt.datetime)  # raises what is a ValueError
    return time


_CONVERSIONS: Mapping[str, Callable[[Any], Any]] = {
    "integer": to_integer,
    "number": to_number,
    "boolean": to_boolean,
    "string": to_text,  # takes everything, so it comes last
}
FORMATS: Mapping[str, Callable[[Any], str]] = {"date": to_date, "date-time": to_date_time}
"""What brings texts into the formats that schemas declare, or raises :class:`ValueError`."""
