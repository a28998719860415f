"""Makes the fields of a layout from the settings, checks them by their types, and fills them from rows."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from target_harkster.layout.errors import LayoutError
from target_harkster.layout.expressions import is_expression
from target_harkster.vendor.field_types import (
    FIELD_TYPES,
    Declared,
    FieldError,
    as_line,
    as_number,
    currency_code,
    number_text,
    time_zone,
)
from target_harkster.vendor.posts import is_marker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from target_harkster.layout.expressions import Source
    from target_harkster.vendor.field_types import FieldType, NullPolicy


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a layout.

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
    null: NullPolicy
    declared: Declared
    currency: Source | None

    def filled(self, row: Mapping[str, Any], *, numbers: bool) -> dict[str, Any] | None:
        """The field of a row; None if it is left out.

        Raises:
            FieldError: The row's value is not one for this field.
        """
        field: dict[str, Any] = {"type": self.kind.name, "id": self.id}
        if self.label is not None and (label := as_line(self.label(row))):
            field["label"] = label
        if self.value is None or self.kind.encode is None:
            return field if "label" in field or not self.kind.has_label else None
        value = self.value(row)
        data = None if value is None else self.kind.encode(value, self.declared)
        code = None if self.currency is None else self.currency(row)
        if data is not None:
            field["data"] = number_text(as_number(data)) if numbers and self.kind.is_number else data
        elif self.null == "reject":
            raise FieldError("is null")
        elif self.null == "omit" or (self.currency is not None and code is None):
            return None  # without a currency not even a null amount can be shown
        if self.name:
            field["name"] = self.name
        if self.currency is not None:
            field["options"] = {"ccy": currency_code(code)}
        return field


@dataclass(frozen=True, slots=True)
class FieldMaker:
    """Makes the fields of a layout.

    Attributes:
        stream: The stream that the layout is for, to be named in what is wrong.
        columns: Of the stream.
        source: Compiles the data of a field: a column or an expression.
        text: Compiles text with expressions in it.
    """

    stream: str
    columns: frozenset[str]
    source: Callable[[str | None, str], Source]
    text: Callable[[str | None, str], Source]

    def fields(self, configs: Sequence[Mapping[str, Any]]) -> Iterator[Field]:
        """The fields of the settings.

        Raises:
            LayoutError: One cannot work.
        """
        check_fields(self.stream, configs)
        for config in configs:
            yield self._field(str(config["id"]), config)

    def _field(self, field_id: str, config: Mapping[str, Any]) -> Field:
        kind = _kind(self.stream, field_id, config)
        return Field(
            id=field_id,
            kind=kind,
            label=None if config.get("label") is None else self.text(field_id, config["label"]),
            name=config.get("name") and as_line(config["name"]),
            value=None if kind.encode is None else self.source(field_id, config["data"]),
            null=config.get("null", kind.nulls[0]),
            declared=self._declared(config),
            currency=self._currency(field_id, config["options"]["ccy"]) if kind.name == "currency" else None,
        )

    @staticmethod
    def _declared(config: Mapping[str, Any]) -> Declared:
        zone = time_zone(config["timezone"]) if config.get("timezone") else dt.timezone.utc
        return Declared(config.get("input") == "fraction", zone, config.get("values", {}), bool(config.get("clamp")))

    def _currency(self, field_id: str, code: str) -> Source:
        if code in self.columns or is_expression(code):
            return self.source(field_id, code)
        try:
            constant = currency_code(code)
        except FieldError:
            raise LayoutError(
                self.stream, field_id, f"options.ccy is {code}, neither a code of ISO 4217 nor a column"
            ) from None
        return lambda _: constant


def check_fields(stream: str, configs: Sequence[Mapping[str, Any]]) -> None:
    """Check the fields of the settings by themselves.

    Raises:
        LayoutError: One cannot work, whatever the columns are.
    """
    seen: set[str] = set()
    for place, config in enumerate(configs, 1):
        field_id = str(config.get("id") or f"number {place}")
        if not config.get("id"):
            raise LayoutError(stream, field_id, "there is no id")
        if field_id in seen:
            raise LayoutError(stream, field_id, "another field has the same id")
        if is_marker(field_id):
            raise LayoutError(stream, field_id, "the id has the form that marks the posts of this target")
        seen.add(field_id)
        if wrong := _wrong(_kind(stream, field_id, config), config):
            raise LayoutError(stream, field_id, wrong)
        try:
            _ = config.get("timezone") and time_zone(config["timezone"])
        except FieldError:
            reason = f"the timezone {config['timezone']} is unknown; one is Europe/London"
            raise LayoutError(stream, field_id, reason) from None


def _kind(stream: str, field_id: str, config: Mapping[str, Any]) -> FieldType:
    name = config.get("type")
    kind = FIELD_TYPES.get("heading" if name == "header" else str(name))
    if kind is None:
        raise LayoutError(stream, field_id, f"the type {name} is unknown, there are {', '.join(FIELD_TYPES)}")
    return kind


def _wrong(kind: FieldType, config: Mapping[str, Any]) -> str | None:
    """What the settings of a field have too much or lack, by its type."""
    article = "an" if kind.name[0] in "aeiou" else "a"
    options = {option.name for option in kind.options}
    taken = {"id", "type", *options}
    taken |= {"label"} if kind.has_label else set()
    taken |= {"data", "name", "null"} if kind.encode is not None else set()
    if refused := [attribute for attribute in config if config[attribute] is not None and attribute not in taken]:
        return f"{kind.name} takes no {refused[0]}"
    if kind.encode is None:
        return f"{article} {kind.name} needs a label" if kind.has_label and not config.get("label") else None
    for option in kind.options:
        if option.needed and config.get(option.name) is None:
            return f"{article} {kind.name} needs {option.name}, {option.needed}"
    if config.get("data") is None:
        return "there is no data: a column or an expression"
    if config.get("null", kind.nulls[0]) not in kind.nulls:
        return f"{article} {kind.name} is never {config['null']}: null must be {' or '.join(kind.nulls)}"
    return None
