"""Fields without configuration: from the SCHEMA of a stream, or from a template of the channel."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from target_harkster.layout.errors import LayoutError
from target_harkster.layout.schemas import Shape, shape
from target_harkster.vendor.field_types import FIELD_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

FieldConfig = dict[str, Any]

LONG = 120
"""Longer strings get more than one line."""
_NO_WORD = re.compile(r"[\W_]+")


def inferred_fields(schema: Mapping[str, Any]) -> list[FieldConfig]:
    """A field for each property of a SCHEMA. The name is the id, so that it never changes."""
    return [
        {"id": name, "type": "", "label": _label(name), "data": name} | _typed(shape(own, schema))
        for name, own in schema.get("properties", {}).items()
        if name and not name.startswith("_sdc_")
    ]


def _label(name: str) -> str:
    words = _NO_WORD.sub(" ", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)).strip()
    return words[:1].upper() + words[1:] or name


_SCALARS = frozenset({"string", "integer", "number", "boolean"})


def _typed(values: Shape) -> FieldConfig:
    """The type of field for a property, with the options that it needs."""
    kinds = values.kinds
    if kinds == {"string"}:
        return _string(values)
    if kinds == {"integer"}:
        return {"type": "counter"}
    if kinds and kinds <= {"integer", "number"}:
        return {"type": "number"}
    if kinds and kinds <= _SCALARS:
        return {"type": "number"} if "singer.decimal" in values.formats else {"type": "text"}
    if kinds == {"array"} and values.items is not None and values.items.kinds and values.items.kinds <= _SCALARS:
        return {"type": "bulletPoints"}
    return {"type": "snippet"}


def _string(values: Shape) -> FieldConfig:
    # A tap that allows date-time and any string means times that are not always well written.
    if "date-time" in values.formats:
        return {"type": "date", "timezone": "UTC"}
    if "date" in values.formats:
        return {"type": "date"}
    if "singer.decimal" in values.formats:
        return {"type": "number"}
    return {"type": "note" if values.longest > LONG else "text"}


_OWN_VALUE = " (shows the template's own value)"


@dataclass(frozen=True, slots=True)
class Template:
    """A template of a channel.

    Attributes:
        stream: The stream that it is for.
        name: The template's.
        fields: As the API gives them.
    """

    stream: str
    name: str
    fields: Sequence[Mapping[str, Any]]

    def filled(
        self, configs: Sequence[FieldConfig] | None, columns: Iterable[str]
    ) -> tuple[list[FieldConfig], list[str], list[str]]:
        """The fields of the template with what fills them, found by id, then by name, then by label.

        Args:
            configs: Fields of the settings, which name those of the template; None for the columns themselves.
            columns: The properties of the stream.

        Returns:
            The fields, the labels of those that nothing fills, with what they show then, and the columns that fill
            nothing.

        Raises:
            LayoutError: A field of the settings is not in the template, or nothing fills any.
        """
        fillers = configs if configs is not None else [{"id": column, "data": column} for column in columns]
        filling: dict[int, FieldConfig] = {}
        unused: list[str] = []
        for config in fillers:
            place = self._place(config, filling)
            if place is not None:
                filling[place] = config
            elif configs is None:
                unused.append(config["id"])
            else:
                named = config.get("id") or config.get("name") or config.get("label")
                raise LayoutError(self.stream, str(named), f"the template {self.name} has no such field")
        if not filling:
            raise LayoutError(self.stream, None, f"no column has the name of a field of the template {self.name}")
        unfilled = [
            str(field.get("label") or field.get("id")) + ("" if field.get("data") is None else _OWN_VALUE)
            for place, field in enumerate(self.fields)
            if place not in filling and self._takes_data(field)
        ]
        fields = [self._field(field, filling.get(place)) for place, field in enumerate(self.fields)]
        return fields, unfilled, unused

    def _place(self, config: FieldConfig, taken: Mapping[int, Any]) -> int | None:
        for ours, theirs in (("id", "id"), ("name", "name"), ("label", "label"), ("id", "name"), ("id", "label")):
            wanted = config.get(ours)
            if wanted is None:
                continue
            for place, field in enumerate(self.fields):
                if place not in taken and self._takes_data(field) and _same(wanted, field.get(theirs), theirs):
                    return place
        return None

    @staticmethod
    def _takes_data(field: Mapping[str, Any]) -> bool:
        kind = FIELD_TYPES.get(str(field.get("type")))
        return kind is not None and kind.encode is not None

    def _field(self, field: Mapping[str, Any], config: FieldConfig | None) -> FieldConfig:
        base = {key: field[key] for key in ("type", "id", "label", "name", "options") if field.get(key)}
        if not self._takes_data(field):
            return base
        if config is None:
            # Data of the template itself stays as plain text, not as an expression.
            data = field.get("data")
            kept = "{{ none }}" if data is None else "{{ " + repr(str(data)) + " }}"
            return {**base, "data": kept} | ({"input": "percent"} if base["type"] == "percentage" else {})
        return base | {key: value for key, value in config.items() if key not in {"type", "id", "label", "name"}}


def _same(wanted: str, found: Any, attribute: str) -> bool:
    if found is None:
        return False
    if attribute == "id":
        return wanted == str(found)
    return _NO_WORD.sub(" ", wanted).strip().casefold() == _NO_WORD.sub(" ", str(found)).strip().casefold()
