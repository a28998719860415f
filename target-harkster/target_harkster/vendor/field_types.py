"""The 13 types of fields: from a value of a record to the data of a field, or the reason why not.

Facts from the vendor's guide, Field Types: which types there are, which attributes each takes, that a counter is whole,
a text one line, a status null or one of four colours, a progress from 0 to 100. Its samples have all data as strings.
Reasons say what kind of value was found and never the value: they are logged, and records hold people's data.
"""

from __future__ import annotations

import datetime as dt
import re
import sys
import unicodedata
import zoneinfo
from dataclasses import dataclass, field
from decimal import Context, Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from singer_sdk.contrib.msgspec import encoder

from target_harkster.vendor.currencies import CURRENCIES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

STATUSES = frozenset({"grey", "green", "amber", "red"})
FULL_PROGRESS = 100
LARGEST_EXPONENT = 308
LARGEST = Decimal(sys.float_info.max)
"""The largest number that every reader of JSON can hold."""

NullPolicy = Literal["null", "omit", "reject"]
NULL_POLICIES: tuple[NullPolicy, ...] = ("null", "omit", "reject")

_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?", re.ASCII)
_LINE_ENDS = re.compile(r"\r\n|[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]")
_EXACT = Context(prec=2 * LARGEST_EXPONENT + 2)


class FieldError(ValueError):
    """A value cannot be the data of a field. The text continues a sentence that begins with the field."""


@dataclass(frozen=True, slots=True)
class Declared:
    """What a layout declares about the values of a field.

    Attributes:
        is_fraction: A percentage comes as a fraction: 0.5 is 50 %.
        zone: The time zone whose dates are shown.
        statuses: What values mean as a status; None is no status.
        clamps: A progress out of range is moved to the nearest end.
    """

    is_fraction: bool = False
    zone: dt.tzinfo = dt.timezone.utc
    statuses: Mapping[str, str | None] = field(default_factory=lambda: MappingProxyType({}))
    clamps: bool = False


@dataclass(frozen=True, slots=True)
class Option:
    """A setting of one type of field.

    Attributes:
        name: Of the setting.
        schema: Of its value, as JSON schema.
        says: What it is for, for people.
        needed: What it must say, where the type cannot do without it.
    """

    name: str
    schema: Mapping[str, Any]
    says: str
    needed: str | None = None


@dataclass(frozen=True, slots=True)
class FieldType:
    """A type of field. Settings, checks and documentation are made from it.

    Attributes:
        name: The vendor's.
        takes: Which values it takes, for people.
        encode: Makes the data of a value that is not null; None for a type without data.
        options: What it takes beside.
        nulls: What may become of a null; the first is the default.
        has_label: Whether it may have a label.
        is_number: Whether its data is a number, which may be sent as one.
    """

    name: str
    takes: str
    encode: Callable[[Any, Declared], str | None] | None
    options: tuple[Option, ...] = ()
    nulls: tuple[NullPolicy, ...] = NULL_POLICIES
    has_label: bool = True
    is_number: bool = False


def currency_code(value: Any) -> str:
    """Check the code of a currency.

    Raises:
        FieldError: It is none.
    """
    if isinstance(value, str) and value.strip().upper() in CURRENCIES:
        return value.strip().upper()
    raise FieldError("has no currency: the code must be one of ISO 4217, such as GBP")


def _kind(value: Any) -> str:
    for kind, name in _KINDS:
        if isinstance(value, kind):
            return name
    if callable(value):
        return "a method, whose brackets are missing"
    return f"of type {type(value).__name__}"


_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "a truth value"),
    ((int, float, Decimal), "a number"),
    (str, "text"),
    ((list, tuple), "an array"),
    (dict, "an object"),
    (dt.date, "a date"),
)


def as_decimal(value: Any) -> Decimal:
    """A number exactly as it is written.

    Raises:
        FieldError: It is none, or one that not every reader of JSON can hold.
    """
    if isinstance(value, bool):
        raise FieldError("is a truth value, not a number")
    if isinstance(value, Decimal):
        number = value
    elif isinstance(value, int):
        number = Decimal(value)
    elif isinstance(value, float):
        number = Decimal(repr(value))
    elif isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        number = Decimal(value.strip())
    else:
        raise FieldError(f"is {_kind(value)}, not a number")
    if not number.is_finite():
        raise FieldError("is not finite")
    exponent = number.as_tuple().exponent
    if abs(number) > LARGEST or (isinstance(exponent, int) and exponent < -LARGEST_EXPONENT):
        raise FieldError("is beyond what a number can be")
    return number or abs(number)  # zero has no sign


def _number(value: Any, _declared: Declared) -> str:
    return format(as_decimal(value), "f")


def _percentage(value: Any, declared: Declared) -> str:
    number = as_decimal(value)
    if declared.is_fraction:
        number = number.scaleb(2, _EXACT)
    return format(number, "f")


def _counter(value: Any, _declared: Declared) -> str:
    number = as_decimal(value)
    whole = number.to_integral_value()
    if number != whole:
        raise FieldError("is not a whole number")
    return format(whole, "f")


def _progress(value: Any, declared: Declared) -> str:
    number = as_decimal(value)
    if not 0 <= number <= FULL_PROGRESS:
        if not declared.clamps:
            raise FieldError("is not from 0 to 100")
        number = Decimal(0) if number < 0 else Decimal(FULL_PROGRESS)
    return format(number, "f")


def as_text(value: Any, wanted: str = "text") -> str:
    """A single value as text.

    Raises:
        FieldError: It is not a single value.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float | Decimal):
        return format(as_decimal(value), "f")
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    raise FieldError(f"is {_kind(value)}, not {wanted}")


def _visible(text: str) -> str:
    """Without control characters, which no reader sees and not every API takes."""
    if text.isprintable():
        return text
    return "".join(char for char in text if char in "\n\t" or unicodedata.category(char) != "Cc")


def as_line(value: Any, wanted: str = "text") -> str:
    """A single value as one line of text, without control characters.

    Raises:
        FieldError: It is not a single value.
    """
    text = as_text(value, wanted)
    return text if text.isprintable() else _visible(_LINE_ENDS.sub(" ", text)).replace("\t", " ")


def _lines(value: Any, wanted: str = "text") -> str:
    text = as_text(value, wanted)
    return text if text.isprintable() else _visible(_LINE_ENDS.sub("\n", text))


def _bullets(value: Any, _declared: Declared) -> str:
    if not isinstance(value, list | tuple):
        # A line end behind the last line makes no further bullet.
        return _lines(value, "an array or text").strip("\n")
    return "\n".join(_bullet(item) for item in value if item is not None)


def _bullet(item: Any) -> str:
    try:
        return as_line(item)
    except FieldError as error:
        raise FieldError(f"has an item that {error}") from None


def _snippet(value: Any, _declared: Declared) -> str:
    if isinstance(value, list | tuple | dict):
        try:
            return msgspec.json.format(encoder.encode(value), indent=2).decode()
        except msgspec.DecodeError:
            raise FieldError("holds a number that is not finite") from None
    return _lines(value)


def _date(value: Any, declared: Declared) -> str:
    moment = as_moment(value)
    if not isinstance(moment, dt.datetime):
        return moment.isoformat()
    try:
        # A time without a zone counts as one of the declared zone.
        return (moment if moment.tzinfo is None else moment.astimezone(declared.zone)).date().isoformat()
    except (OverflowError, ValueError):
        raise FieldError("is beyond what a date can be") from None


def as_moment(value: Any) -> dt.date | dt.datetime:
    """A date or a time, also from text.

    Raises:
        FieldError: It is neither.
    """
    if isinstance(value, dt.date):
        return value
    if not isinstance(value, str):
        raise FieldError(f"is {_kind(value)}, not a date")
    for parse in (dt.date.fromisoformat, dt.datetime.fromisoformat):
        try:
            return parse(value.strip().upper())  # RFC 3339 allows t and z
        except ValueError:
            continue
    raise FieldError("is text, not a date")


def time_zone(name: str) -> dt.tzinfo:
    """The time zone of a name. UTC needs no time zone data on the machine.

    Raises:
        FieldError: There is none.
    """
    if name.upper() in {"UTC", "ETC/UTC", "GMT", "Z"}:
        return dt.timezone.utc
    try:
        return zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise FieldError("is no timezone, such as Europe/London") from None


def _status(value: Any, declared: Declared) -> str | None:
    try:
        text = as_line(value).strip()
    except FieldError as error:
        raise FieldError(str(error).replace("not text", "not a status")) from None
    if text in declared.statuses:
        return declared.statuses[text]
    colour = text.lower().replace("gray", "grey")
    if colour not in STATUSES:
        raise FieldError("is not a status: it must be grey, green, amber or red, or null")
    return colour


_TEXT = {"type": "string", "minLength": 1}
_CURRENCY = Option(
    "options",
    {"type": "object", "additionalProperties": False, "required": ["ccy"], "properties": {"ccy": _TEXT}},
    '`{"ccy": ...}`: a code of ISO 4217, a column or an expression',
    needed="with ccy: a code, a column or more",
)
_INPUT = Option(
    "input",
    {"enum": ["fraction", "percent"]},
    "`percent` (50 is 50 %) or `fraction` (0.5 is)",
    needed="which is fraction or percent",
)
_TIMEZONE = Option("timezone", _TEXT, "whose date is shown, such as `Europe/London`; UTC without")
_VALUES = Option(
    "values",
    {"type": "object", "additionalProperties": {"enum": [*sorted(STATUSES), None]}},
    "what other values mean",
)
_CLAMP = Option("clamp", {"type": "boolean"}, "moves what is beyond to the nearest end")

FIELD_TYPES: Mapping[str, FieldType] = {
    kind.name: kind
    for kind in (
        FieldType("number", "a number, also as text", _number, is_number=True),
        FieldType("currency", "a number; without a currency a null is left out", _number, (_CURRENCY,), is_number=True),
        FieldType("percentage", "a number", _percentage, (_INPUT,), is_number=True),
        FieldType("counter", "a whole number; 3.0 is 3, and 3.5 is refused", _counter, is_number=True),
        FieldType("text", "a single value; line ends become blanks", lambda value, _: as_line(value)),
        FieldType("note", "a single value, with its lines", lambda value, _: _lines(value)),
        FieldType("bulletPoints", "an array, or text with a bullet on each line", _bullets),
        FieldType("snippet", "anything; arrays and objects are shown as JSON", _snippet),
        FieldType("heading", "a label alone; `heading_type` (a setting) says what it is called", None),
        FieldType("divider", "nothing", None, has_label=False),
        FieldType("date", "a date or a time", _date, (_TIMEZONE,)),
        FieldType("status", "`grey`, `green`, `amber`, `red`", _status, (_VALUES,)),
        # By the guide a status may be null, and a progress is a number.
        FieldType("progress", "a number from 0 to 100", _progress, (_CLAMP,), nulls=("omit", "reject"), is_number=True),
    )
}
"""All types, by the vendor's name."""

OPTIONS: Mapping[str, Option] = {option.name: option for kind in FIELD_TYPES.values() for option in kind.options}
"""The options of all types, by name."""


def as_number(text: str) -> int | float:
    """The number that the data of a numeric field stands for."""
    number = Decimal(text)
    return int(number) if number == number.to_integral_value() else float(number)


def data_value(field: Mapping[str, Any]) -> Any:
    """The value of a field of a post: a number as a number, the rest as text."""
    kind, data = FIELD_TYPES.get(str(field.get("type"))), field.get("data")
    try:
        return as_decimal(data) if kind is not None and kind.is_number and data is not None else data
    except FieldError:
        return data


def number_text(number: float | str) -> str:
    """A number as the data of a field: without an exponent, and whole if it is."""
    exact = Decimal(number if isinstance(number, str) else repr(number))
    return format(exact.to_integral_value() if exact == exact.to_integral_value() else exact, "f")
