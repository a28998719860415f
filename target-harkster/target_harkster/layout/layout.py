"""Layouts: which property of a record becomes which field of a post.

A layout is checked whole against the SCHEMA of its stream, so that what is wrong with it is said before the first
record, with stream, field and reason. What is wrong by itself is said earlier, see ``stream_settings``.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal

from singer_sdk.contrib.msgspec import encoder

from target_harkster.layout.arithmetic import exact, in_order, number
from target_harkster.layout.errors import LayoutError, RowError, TooCostlyError, UnknownNameError
from target_harkster.layout.expressions import ExpressionError, is_expression
from target_harkster.layout.field import FieldMaker
from target_harkster.layout.schemas import Sample, is_decimal_text, sample, shape
from target_harkster.ledger.keys import key_of, parts_of, text_of
from target_harkster.vendor.field_types import FieldError, as_line
from target_harkster.vendor.posts import Content

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from target_harkster.layout.expressions import Expressions, Source
    from target_harkster.vendor.posts import Fields

_IS_TEXT = "gives a text, which is neither true nor false: compare it, such as in {{ state == 'done' }}"
_MAPPING = 3
"""Raise it with each change of what values become, so that all rows are mapped again."""

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
        # A digest must follow its rows, so it is upsert by default.
        self.mode: Mode = config.get("mode", "upsert" if self.group_by else "append")
        self.row_key: tuple[str, ...] = tuple(config.get("key") or key_properties)
        self.key: tuple[str, ...] = self.group_by or self.row_key
        columns = {name: own for name, own in schema["properties"].items() if not name.startswith("_sdc_")}
        self._columns = frozenset(columns)
        self._texts = {name for name, own in columns.items() if shape(own, schema).kinds == {"string"}}
        self.uses_previous = False
        """Whether expressions use the post before."""
        self._nulls = dict.fromkeys(columns)
        self._decimal_texts = [name for name, own in columns.items() if is_decimal_text(own, schema)]
        self._numbers = numbers
        self._expressions = expressions
        self._check_columns("key", self.row_key)
        self._check_columns("group_by", self.group_by)
        if isinstance(channel := config.get("channel"), dict):
            self._check_columns("channel", [channel["column"]])
        self.previous_by = self._previous_by(config)
        if self.group_by and not self.row_key:
            raise LayoutError(stream, None, "group_by needs a key, which tells a row that has changed from another one")
        if self.mode != "append" and not self.row_key:
            raise LayoutError(stream, None, f"mode {self.mode} needs a key, and the stream has no primary key")
        one = Sample((name, sample(own, schema)) for name, own in columns.items())
        before = Sample((str(field.get("id")), None) for field in config["fields"])
        named = Sample((column, one[column]) for column in self.group_by)
        own_names = {**named, "group": named, "rows": [one]} if self.group_by else {**one, "row": one}
        self._sample = Sample({"previous": before, **own_names})
        self._name = self._text(None, config.get("name", stream))
        self.fields = tuple(FieldMaker(stream, self._columns, self._source, self._text).fields(config["fields"]))
        if not self.fields:
            raise LayoutError(stream, None, "there are no fields")
        self._needs_context = self._has_expressions(config)
        of_group = Sample({**_moment(0.0), **one, **self._sample})
        of_row = Sample({**_moment(0.0), **one, "row": one}) if self.group_by else of_group
        self._when = self._condition("when", config.get("when"), of_row)
        closed = config.get("closed")
        self._closed = self._condition("closed", closed, of_group) if isinstance(closed, str) else None
        self._quiet_hours: float | None = closed["quiet_hours"] if isinstance(closed, dict) else None
        self._fingerprint = blake2b(encoder.encode((_MAPPING, numbers, config)), digest_size=16).digest()

    def source_of(self, row: bytes) -> str:
        """A hash of a row, given as JSON, and of this layout. As long as it is the same, so is the content."""
        return blake2b(row, digest_size=12, key=self._fingerprint).hexdigest()

    def context(self, row: Mapping[str, Any], previous: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        """The variables of expressions for a row."""
        if not self._needs_context and self._when is None:
            return row
        whole = self._whole(row)
        return {"previous": previous, **whole, "row": whole}

    def context_of_group(
        self, group: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], previous: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any]:
        """The variables of expressions for a group, see :meth:`context`."""
        return {"previous": previous, **group, "group": group, "rows": [self._whole(row) for row in rows]}

    def content(self, context: Mapping[str, Any]) -> Content:
        """The content of a row or a group.

        Raises:
            RowError: It cannot become a post.
        """
        fields: Fields = []
        for field in self.fields:
            try:
                filled = field.filled(context, numbers=self._numbers)
            except FieldError as error:
                raise RowError(field.id, str(error)) from None
            if filled is not None:
                fields.append(filled)
        if not fields:
            raise RowError(None, "has no field left")
        try:
            return Content.hashed(as_line(self._name(context)), fields)
        except FieldError as error:
            raise RowError("name", str(error)) from None

    @property
    def is_conditional(self) -> bool:
        """Whether ``when`` chooses the rows that count."""
        return self._when is not None

    def is_wanted(self, context: Mapping[str, Any], now: float) -> bool:
        """Whether a row is to become a post, or a part of its digest.

        Raises:
            RowError: That cannot be told.
        """
        return self._is_met("when", self._when, context, now)

    def is_closed(self, context: Mapping[str, Any], now: float, quiet_for: float) -> bool:
        """Whether a group has all its rows.

        Raises:
            RowError: That cannot be told.
        """
        if self._quiet_hours is not None:
            return quiet_for >= self._quiet_hours * 3600
        last = context["rows"][-1] if context["rows"] else {}
        return self._is_met("closed", self._closed, {**last, **context}, now)

    @staticmethod
    def _is_met(setting: str, condition: Source | None, context: Mapping[str, Any], now: float) -> bool:
        try:
            met = condition is None or condition({**_moment(now), **context})
        except FieldError as error:
            raise RowError(setting, str(error)) from None
        if isinstance(met, str) and met:
            raise RowError(setting, _IS_TEXT)
        return bool(met)

    def place(self, key: str) -> tuple[str, tuple[Any, ...]] | None:
        """Where the post of a key stands: what it shares with the posts before and after it, and its order among them.

        None for a key that is not made of the columns that it is made of now, and if no such posts are wanted.
        """
        parts = parts_of(key)
        if self.previous_by is None or not parts or len(parts) != len(self.key):
            return None
        values = dict(zip(self.key, parts, strict=True))
        shared = key_of(values[column] for column in self.previous_by)
        rest = (value for column, value in values.items() if column not in self.previous_by)
        plain = (key_of([value]) if isinstance(value, list | dict) else value for value in rest)
        return shared, tuple(in_order(value, case_sensitive=True) for value in plain)

    def _whole(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """A row with all its columns and exact numbers."""
        whole = {**self._nulls, **exact(row)}
        for column in self._decimal_texts:
            try:
                whole[column] = None if whole[column] is None else number(whole[column])
            except FieldError:
                continue  # its field says what is wrong
        return whole

    def group_of(self, key: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The columns of a group by its key. What its rows have as text is text."""
        last = rows[-1] if rows else dict.fromkeys(self._texts, "")
        values = zip(self.group_by, parts_of(key), strict=True)
        return {name: text_of(value) if isinstance(last.get(name), str) else value for name, value in values}

    def key_of(self, row: Mapping[str, Any]) -> str:
        """The key of the post of a row, its own or that of its group, as JSON.

        Raises:
            RowError: A part of the key is null or missing.
        """
        return self._key(self.key, row)

    def own_key_of(self, row: Mapping[str, Any]) -> str:
        """The key of a row itself, as JSON.

        Raises:
            RowError: A part of the key is null or missing.
        """
        return self._key(self.row_key, row)

    def _key(self, key: Sequence[str], row: Mapping[str, Any]) -> str:
        if not key:
            # Without a key only the content tells rows apart: an equal row is the same row.
            return encoder.encode(dict(sorted(row.items()))).decode()
        for column in key:
            if row.get(column) is None:
                raise RowError(column, f"is {'null' if column in row else 'missing'}, and a part of the key")
        return key_of(row[column] for column in key)

    @property
    def key_columns(self) -> str:
        """The columns that say which rows are one post, as in the settings."""
        of_group = {"group_by": self.group_by} if self.group_by else {}
        return encoder.encode({**of_group, "key": self.row_key}).decode()

    # Checks

    def _previous_by(self, config: Mapping[str, Any]) -> tuple[str, ...] | None:
        """The columns that a post shares with the post before it; None if that is its own last content."""
        chosen = config.get("previous_by")
        if chosen is None:
            return self.group_by[:-1] if self.group_by else None
        for column in chosen:
            if column not in self.key:
                raise LayoutError(self.stream, None, f"previous_by names {column}, which is no part of the key")
        return tuple(chosen)

    def _condition(self, setting: str, text: str | None, sample: Mapping[str, Any]) -> Source | None:
        if text is None:
            return None
        condition = self._expression(None, text, self._expressions.condition, sample)
        texts = dict.fromkeys(self._texts.difference(self._decimal_texts), "text")
        with contextlib.suppress(FieldError):  # a value is at fault: that is checked row by row
            if isinstance(condition({**sample, **texts}), str):
                raise LayoutError(self.stream, None, f"{setting} {_IS_TEXT}")
        return condition

    def _check_columns(self, setting: str, columns: Sequence[str]) -> None:
        for column in columns:
            if column not in self._columns:
                raise LayoutError(self.stream, None, f"{setting} names the column {column}, which the stream has not")

    def _source(self, field_id: str | None, data: str) -> Source:
        if is_expression(data):
            return self._expression(field_id, data, self._expressions.value, self._sample)
        if data not in self._columns:
            raise LayoutError(self.stream, field_id, f"data names the column {data}, which the stream has not")
        return lambda row: row.get(data)

    def _text(self, field_id: str | None, text: str) -> Source:
        return self._expression(field_id, text, self._expressions.text, self._sample)

    def _expression(
        self, field_id: str | None, text: str, compiled: Callable[[str], Source], sample: Mapping[str, Any]
    ) -> Source:
        try:
            source = compiled(text)
            names = self._expressions.names(text)
            self.uses_previous |= "previous" in names - self._columns
            if unknown := sorted(names - sample.keys()):
                reason = f"the expression asks for {', '.join(unknown)}, which the stream has not"
                raise LayoutError(self.stream, field_id, reason)
            source(sample)
        except (ExpressionError, UnknownNameError, TooCostlyError) as error:
            raise LayoutError(self.stream, field_id, f"it {error}") from None
        except FieldError:
            pass  # a value is at fault: that is checked row by row
        return source

    @staticmethod
    def _has_expressions(config: Mapping[str, Any]) -> bool:
        texts = (str(value) for field in config["fields"] for value in field.values())
        return any(map(is_expression, itertools.chain(texts, [config.get("name", "")])))


def _moment(now: float) -> dict[str, str]:
    """The variables of conditions for the time, in UTC."""
    moment = dt.datetime.fromtimestamp(now, dt.timezone.utc)
    return {"now": moment.isoformat(timespec="seconds"), "today": moment.date().isoformat()}
