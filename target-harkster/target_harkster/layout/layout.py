"""Layouts: which property of a record becomes which field of a post.

A layout is checked whole against the SCHEMA of its stream, so that what is wrong with it is said before the first
record, with stream, field and reason.
"""

from __future__ import annotations

import itertools
from decimal import Decimal
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal

from singer_sdk.contrib.msgspec import encoder

from target_harkster.layout.errors import FieldError, LayoutError, RowError, UnknownNameError
from target_harkster.layout.expressions import ExpressionError, is_expression
from target_harkster.layout.field import FieldMaker
from target_harkster.layout.schemas import Sample, is_decimal_text, sample
from target_harkster.layout.values import exact, number
from target_harkster.vendor.posts import Content

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from target_harkster.layout.expressions import Expressions, Source
    from target_harkster.vendor.posts import Fields

_MAPPING = 2
"""To be raised with every change of what values become, so that rows are mapped anew."""

Mode = Literal["append", "upsert", "mirror"]


class Layout:
    """What the rows of a stream become.

    Args:
        stream: The stream.
        config: Its settings, with fields.
        schema: Its SCHEMA.
        key_properties: Its primary key, for where no key is set.
        expressions: Compiles expressions.
        numbers: Whether numbers are sent as numbers.

    Raises:
        LayoutError: It cannot work.
    """

    def __init__(  # noqa: PLR0913 - what a layout is made of
        self,
        stream: str,
        config: Mapping[str, Any],
        schema: Mapping[str, Any],
        key_properties: Sequence[str],
        expressions: Expressions,
        *,
        numbers: bool = False,
    ) -> None:
        self.stream = stream
        self.group_by: tuple[str, ...] = tuple(config.get("group_by", ()))
        # A digest of some of its rows is wrong as soon as another one comes.
        self.mode: Mode = config.get("mode", "upsert" if self.group_by else "append")
        self.row_key: tuple[str, ...] = tuple(config.get("key") or key_properties)
        self.key: tuple[str, ...] = self.group_by or self.row_key
        columns = {name: own for name, own in schema["properties"].items() if not name.startswith("_sdc_")}
        self._columns = frozenset(columns)
        self._nulls = dict.fromkeys(columns)
        self._decimal_texts = [name for name, own in columns.items() if is_decimal_text(own, schema)]
        self._numbers = numbers
        self._expressions = expressions
        self._check_columns("key", self.row_key)
        self._check_columns("group_by", self.group_by)
        if self.mode != "append" and not self.row_key:
            raise LayoutError(stream, None, f"mode {self.mode} needs a key, and the stream has no primary key")
        if self.group_by and not self.row_key:
            raise LayoutError(stream, None, "group_by needs a key, which tells a row that has changed from another one")
        if self.mode == "mirror" and self.group_by:
            raise LayoutError(stream, None, "mode mirror cannot be had with group_by")
        one = Sample((name, sample(own, schema)) for name, own in columns.items())
        self._sample = self._context_of_group(one, [one]) if self.group_by else {**one, "row": one}
        if self.group_by:
            self._sample["group"] = Sample(self._sample["group"])
        self._name = self._text(None, config.get("name", stream))
        self.fields = tuple(FieldMaker(stream, self._columns, self._source, self._text).fields(config["fields"]))
        if not self.fields:
            raise LayoutError(stream, None, "there are no fields")
        self._needs_context = self._has_expressions(config)
        self._fingerprint = blake2b(encoder.encode((_MAPPING, numbers, config)), digest_size=16).digest()

    def source_of(self, row: bytes) -> str:
        """A hash of a row, as JSON, and of this layout: while it is the same, so is the content."""
        return blake2b(row, digest_size=12, key=self._fingerprint).hexdigest()

    def content(self, row: Mapping[str, Any]) -> Content:
        """What a row comes to.

        Raises:
            RowError: It comes to no post.
        """
        if not self._needs_context:
            return self._content(row)
        whole = self._whole(row)
        return self._content({**whole, "row": whole})

    def digest(self, group: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Content:
        """What the rows of a group come to.

        Raises:
            RowError: They come to no post.
        """
        return self._content(self._context_of_group(group, [self._whole(row) for row in rows]))

    def _whole(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """A row with all its columns, and its numbers exactly as they are written."""
        whole = {**self._nulls, **exact(row)}
        for column in self._decimal_texts:
            try:
                whole[column] = None if whole[column] is None else number(whole[column])
            except FieldError:
                continue  # the field that it goes into says what it is instead
        return whole

    def _context_of_group(self, group: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        named = {column: group[column] for column in self.group_by}
        return {**named, "group": named, "rows": rows}

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
        return self._key(self.key, row)

    def own_key_of(self, row: Mapping[str, Any]) -> str:
        """What a row is known by, also within its group.

        Raises:
            RowError: A part of the key is null.
        """
        return self._key(self.row_key, row)

    @staticmethod
    def _key(key: Sequence[str], row: Mapping[str, Any]) -> str:
        if not key:
            # Nothing tells two rows apart but their content: one that comes again is the same row.
            return encoder.encode(dict(sorted(row.items()))).decode()
        values = [row.get(column) for column in key]
        if None in values:
            raise RowError(key[values.index(None)], "is null, and a part of the key")
        return encoder.encode([_plain(value) for value in values]).decode()

    # Checks

    def _check_columns(self, setting: str, columns: Sequence[str]) -> None:
        for column in columns:
            if column not in self._columns:
                raise LayoutError(self.stream, None, f"{setting} names the column {column}, which the stream has not")

    def _source(self, field_id: str | None, data: str) -> Source:
        if is_expression(data):
            return self._expression(field_id, data, self._expressions.value)
        if self.group_by and data not in self.group_by:
            raise LayoutError(
                self.stream, field_id, f"a digest has many rows: {data} must be one of group_by or an expression"
            )
        if data not in self._columns:
            raise LayoutError(self.stream, field_id, f"data names the column {data}, which the stream has not")
        return lambda row: row.get(data)

    def _text(self, field_id: str | None, text: str) -> Source:
        return self._expression(field_id, text, self._expressions.text)

    def _expression(self, field_id: str | None, text: str, compiled: Callable[[str], Source]) -> Source:
        try:
            source = compiled(text)
            if unknown := sorted(self._expressions.names(text) - self._sample.keys()):
                reason = f"the expression asks for {', '.join(unknown)}, which the stream has not"
                raise LayoutError(self.stream, field_id, reason)
            source(self._sample)
        except ExpressionError as error:
            raise LayoutError(self.stream, field_id, f"it {error}") from None
        except UnknownNameError as error:
            raise LayoutError(self.stream, field_id, f"it {error}") from None
        except FieldError:
            pass  # what the values of a row make of it is that row's
        return source

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
