"""Layouts: which property of a record becomes which field of a post.

A layout is checked whole against the SCHEMA of its stream, so that what is wrong with it is said before the first
record, with stream, field and reason.
"""

from __future__ import annotations

import datetime as dt
import itertools
import zoneinfo
from dataclasses import dataclass
from decimal import Decimal
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal

from singer_http.http.errors import ConfigurationError
from singer_sdk.contrib.msgspec import encoder

from target_harkster.layout.expressions import ExpressionError, compile_text, compile_value, is_expression, names_in
from target_harkster.layout.fields import FIELD_TYPES, STATUSES, Declared, FieldError, as_number, currency_code
from target_harkster.vendor.posts import Content, is_marker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from target_harkster.layout.expressions import Source
    from target_harkster.layout.fields import FieldType
    from target_harkster.vendor.posts import Fields

_MAPPING = 1
"""To be raised with every change of what values become, so that rows are mapped anew."""

Mode = Literal["append", "upsert", "mirror"]

_ROW_NAMES = frozenset({"row"})
_DIGEST_NAMES = frozenset({"rows", "group"})


class RowError(ValueError):
    """Why a row cannot become a post.

    Attributes:
        field: Id of the field that it is about, if it is about one.
        reason: What is wrong.
    """

    def __init__(self, field: str | None, reason: str) -> None:
        super().__init__(f"{field} {reason}" if field else reason)
        self.field = field
        self.reason = reason


class LayoutError(ConfigurationError):
    """A layout that cannot work; names the stream and, where it is about one, the field."""

    def __init__(self, stream: str, field: str | None, reason: str) -> None:
        where = f"streams.{stream}, field {field}" if field else f"streams.{stream}"
        super().__init__(f"{where}: {reason}.")


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a layout, ready to be filled.

    Attributes:
        id: Ties the field together over time, so it comes from the layout.
        kind: Its type.
        label: Text, which may have expressions.
        name: Likewise text, for information.
        value: Where the data comes from; None for a type without data.
        null: What becomes of a null.
        declared: What is declared of the values.
        currency: Where the code of the currency comes from, for a currency.
    """

    id: str
    kind: FieldType
    label: Source | None
    name: str | None
    value: Source | None
    null: Literal["null", "omit", "reject"]
    declared: Declared
    currency: Source | None

    def filled(self, row: Mapping[str, Any], *, numbers: bool) -> dict[str, Any] | None:
        """The field of a row; None if it is to be left out.

        Raises:
            FieldError: The row's value is not one for this field.
        """
        field: dict[str, Any] = {"type": self.kind.name, "id": self.id}
        if self.label is not None and (label := self.label(row)):
            field["label"] = label
        if self.value is None:
            return field
        value = self.value(row)
        if value is not None:
            text = self.kind.encode(value, self.declared) if self.kind.encode else None
            if text is not None:
                field["data"] = str(as_number(text)) if numbers and self.kind.is_number else text
        elif self.null == "omit":
            return None
        elif self.null == "reject":
            raise FieldError("is null")
        if self.name:
            field["name"] = self.name
        if self.currency is not None:
            field["options"] = {"ccy": currency_code(self.currency(row))}
        return field


class Layout:
    """How the rows of a stream become posts.

    Args:
        stream: The stream.
        config: Its part of the setting ``streams``, with all its fields.
        columns: The properties of its SCHEMA.
        key_properties: Its primary key, for where no key is set.
        numbers: Whether numbers are sent as numbers.

    Raises:
        LayoutError: It cannot work.
    """

    def __init__(
        self,
        stream: str,
        config: Mapping[str, Any],
        columns: Sequence[str],
        key_properties: Sequence[str],
        *,
        numbers: bool = False,
    ) -> None:
        self.stream = stream
        self.mode: Mode = config.get("mode", "append")
        self.group_by: tuple[str, ...] = tuple(config.get("group_by", ()))
        self.key: tuple[str, ...] = self.group_by or tuple(config.get("key") or key_properties)
        self.row_key: tuple[str, ...] = tuple(config.get("key") or key_properties)
        self._columns = frozenset(columns)
        self._nulls = dict.fromkeys(columns)
        self._numbers = numbers
        self._check_columns("key", self.row_key)
        self._check_columns("group_by", self.group_by)
        if self.mode != "append" and not self.key:
            raise LayoutError(stream, None, f"mode {self.mode} needs a key, and the stream has no primary key")
        if self.mode == "mirror" and self.group_by:
            raise LayoutError(stream, None, "mode mirror cannot be had with group_by")
        self._name = self._text(None, config.get("name", stream))
        self.fields = tuple(self._fields(config["fields"]))
        if not self.fields:
            raise LayoutError(stream, None, "there are no fields")
        self._needs_context = self._has_expressions(config)
        self._fingerprint = blake2b(encoder.encode((_MAPPING, numbers, config)), digest_size=16).digest()

    def source_of(self, row: Mapping[str, Any]) -> str:
        """A hash of a row and of this layout: while it is the same, so is the content."""
        return blake2b(encoder.encode(row), digest_size=12, key=self._fingerprint).hexdigest()

    def content(self, row: Mapping[str, Any]) -> Content:
        """What a row comes to.

        Raises:
            RowError: It comes to no post.
        """
        context = {**self._nulls, **row, "row": row} if self._needs_context else row
        return self._content(context)

    def digest(self, group: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Content:
        """What the rows of a group come to.

        Raises:
            RowError: They come to no post.
        """
        whole = [{**self._nulls, **row} for row in rows]
        return self._content({**group, "group": group, "rows": whole})

    def _content(self, context: Mapping[str, Any]) -> Content:
        fields: Fields = []
        for field in self.fields:
            try:
                filled = field.filled(context, numbers=self._numbers)
            except FieldError as error:
                raise RowError(field.id, str(error)) from None
            if filled is not None:
                fields.append(filled)
        if not fields:
            raise RowError(None, "no field is left of the row")
        try:
            return Content.of(str(self._name(context)), fields)
        except FieldError as error:
            raise RowError("name", str(error)) from None

    def key_of(self, row: Mapping[str, Any]) -> str:
        """What a row, or the group of a row, is known by: as JSON.

        Raises:
            RowError: A part of the key is null.
        """
        if not self.key:
            # Nothing tells two rows apart but their content: one that comes again is the same row.
            return encoder.encode(dict(sorted(row.items()))).decode()
        values = [row.get(column) for column in self.key]
        if None in values:
            raise RowError(self.key[values.index(None)], "is null, and a part of the key")
        return encoder.encode([_plain(value) for value in values]).decode()

    def own_key_of(self, row: Mapping[str, Any]) -> str:
        """What a row is known by, also within its group.

        Raises:
            RowError: A part of the key is null, and the row has a post of its own.
        """
        if not self.group_by:
            return self.key_of(row)
        values = [_plain(row.get(column)) for column in self.row_key]
        return encoder.encode(values if self.row_key else dict(sorted(row.items()))).decode()

    # Checks

    def _check_columns(self, setting: str, columns: Sequence[str]) -> None:
        for column in columns:
            if column not in self._columns:
                raise LayoutError(self.stream, None, f"{setting} names the column {column}, which the stream has not")

    def _fields(self, configs: Sequence[Mapping[str, Any]]) -> Iterator[Field]:
        seen: set[str] = set()
        for place, config in enumerate(configs, 1):
            field_id = str(config.get("id") or f"number {place}")
            if not config.get("id"):
                raise LayoutError(self.stream, field_id, "there is no id")
            if field_id in seen:
                raise LayoutError(self.stream, field_id, "another field has the same id")
            if is_marker(field_id):
                raise LayoutError(self.stream, field_id, "the id has the form that marks the posts of this target")
            seen.add(field_id)
            yield self._field(field_id, config)

    def _field(self, field_id: str, config: Mapping[str, Any]) -> Field:
        name = "heading" if config.get("type") == "header" else config.get("type")
        kind = FIELD_TYPES.get(str(name))
        if kind is None:
            known = ", ".join(FIELD_TYPES)
            raise LayoutError(self.stream, field_id, f"the type {name} is unknown, there are {known}")
        label = config.get("label")
        if kind.name == "heading" and not label:
            raise LayoutError(self.stream, field_id, "a heading needs a label")
        if kind.name == "percentage" and config.get("input") is None:
            raise LayoutError(self.stream, field_id, "a percentage needs input, which is fraction or percent")
        for attribute in ("data", "name", "null"):
            if kind.encode is None and config.get(attribute) is not None:
                raise LayoutError(self.stream, field_id, f"{kind.name} takes no {attribute}")
        if not kind.has_label and label:
            raise LayoutError(self.stream, field_id, f"{kind.name} takes no label")
        if kind.encode is not None and config.get("data") is None:
            raise LayoutError(self.stream, field_id, "there is no data: a column or an expression")
        return Field(
            id=field_id,
            kind=kind,
            label=None if label is None else self._text(field_id, label),
            name=config.get("name"),
            value=None if kind.encode is None else self._source(field_id, config["data"]),
            null=config.get("null", "null"),
            declared=self._declared(field_id, kind, config),
            currency=self._currency(field_id, kind, config),
        )

    def _declared(self, field_id: str, kind: FieldType, config: Mapping[str, Any]) -> Declared:
        for attribute, kinds in _ONLY_FOR.items():
            if config.get(attribute) is not None and kind.name not in kinds:
                raise LayoutError(self.stream, field_id, f"{kind.name} takes no {attribute}")
        statuses = config.get("values", {})
        for meaning in statuses.values():
            if meaning is not None and meaning not in STATUSES:
                raise LayoutError(self.stream, field_id, f"values leads to {meaning}, which is no status")
        zone: dt.tzinfo = dt.timezone.utc
        if config.get("timezone"):
            try:
                zone = zoneinfo.ZoneInfo(config["timezone"])
            except (KeyError, ValueError, OSError):
                raise LayoutError(
                    self.stream, field_id, f"the timezone {config['timezone']} is unknown; one is Europe/London"
                ) from None
        return Declared(config.get("input") == "fraction", zone, statuses, bool(config.get("clamp")))

    def _currency(self, field_id: str, kind: FieldType, config: Mapping[str, Any]) -> Source | None:
        code = (config.get("options") or {}).get("ccy")
        if kind.name != "currency":
            return None
        if code is None:
            raise LayoutError(self.stream, field_id, "a currency needs options with ccy: a code, a column or more")
        if code in self._columns or is_expression(code):
            return self._source(field_id, code)
        try:
            constant = currency_code(code)
        except FieldError:
            raise LayoutError(
                self.stream, field_id, f"options.ccy is {code}, neither a code of ISO 4217 nor a column"
            ) from None
        return lambda _: constant

    def _source(self, field_id: str, data: str) -> Source:
        if is_expression(data):
            return self._expression(field_id, data, compile_value)
        if self.group_by and data not in self.group_by:
            raise LayoutError(
                self.stream, field_id, f"a digest has many rows: {data} must be one of group_by or an expression"
            )
        if data not in self._columns:
            raise LayoutError(self.stream, field_id, f"data names the column {data}, which the stream has not")
        return lambda row: row.get(data)

    def _text(self, field_id: str | None, text: str) -> Source:
        return self._expression(field_id, text, compile_text) if is_expression(text) else lambda _: text

    def _expression(self, field_id: str | None, text: str, compiled: Callable[[str], Source]) -> Source:
        known = _DIGEST_NAMES.union(self.group_by) if self.group_by else _ROW_NAMES | self._columns
        try:
            unknown = sorted(names_in(text) - known)
            if unknown:
                reason = f"the expression asks for {', '.join(unknown)}, which the stream has not"
                raise LayoutError(self.stream, field_id, reason)
            return compiled(text)
        except ExpressionError as error:
            raise LayoutError(self.stream, field_id, f"it {error}") from None

    @staticmethod
    def _has_expressions(config: Mapping[str, Any]) -> bool:
        texts = (str(value) for field in config["fields"] for value in field.values())
        return any(map(is_expression, itertools.chain(texts, [config.get("name", "")])))


def _plain(value: Any) -> Any:
    """A part of a key: numbers that are equal are the same, however they are written."""
    if not isinstance(value, Decimal) or abs(value.adjusted()) > _LONGEST:
        return value
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return Decimal(text) if "." in text else int(text)


_LONGEST = 40
"""Digits of a number that is compared as a number."""

_ONLY_FOR: Mapping[str, frozenset[str]] = {
    "input": frozenset({"percentage"}),
    "timezone": frozenset({"date"}),
    "values": frozenset({"status"}),
    "clamp": frozenset({"progress"}),
    "options": frozenset({"currency"}),
}
"""What only some types take."""
