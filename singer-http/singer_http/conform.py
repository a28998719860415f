"""Conforms records to their schema as singer-sdk does, but compiles each schema once.

The results are those of ``pop_deselected_record_properties`` followed by ``conform_record_data_types`` at the
level ``RECURSIVE``, for records that come from JSON (objects, arrays, strings, finite numbers, booleans, null).
Most properties of such a record stay as they are, so a conformer knows which names belong, and changes only
the few properties whose schema asks for it, in place.
"""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from singer_sdk.helpers._typing import is_object_type, is_uniform_list

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from singer_sdk.singerlib import SelectionMask

    _Change = Callable[[Any], Any]

Schema = dict[str, Any]
Record = dict[str, Any]
Breadcrumb = tuple[str, ...]

MOST_NAMES, LONGEST_NAME, OTHERS = 50, 100, "others"  # how many names are told, how long, and what stands for the rest


class Conformer:
    """Prepares the records of one stream for their messages, by its schema and by which properties are selected."""

    def __init__(self, schema: Schema, mask: SelectionMask) -> None:
        self.unknown: Counter[str] = Counter()  # how often each property came that the schema does not know
        self._conform = self._object(schema, mask, (), "")

    def __call__(self, record: Record) -> Record:
        """Drop what is deselected or unknown and convert the rest, in place."""
        self._conform(record)
        return record

    def _object(self, schema: Schema, mask: SelectionMask | None, at: Breadcrumb, path: str) -> _Change:
        """Compile an object schema; ``mask`` is None below arrays, where nothing can be deselected."""
        properties: Mapping[str, Schema] = schema["properties"]
        is_open = bool(schema.get("additionalProperties"))
        deselected = {name for name in properties if mask is not None and not mask[(*at, "properties", name)]}
        changes = [
            (name, change)
            for name, property_schema in properties.items()
            if name not in deselected
            and (change := self._value(property_schema, mask, (*at, "properties", name), f"{path}{name}")) is not None
        ]
        known = properties.keys() - deselected
        unknown = self.unknown

        def conform(record: Record) -> None:
            if not record.keys() <= known:
                for name in record.keys() - known:
                    if name in deselected:
                        del record[name]
                    elif not is_open:
                        del record[name]
                        told = f"{path}{name}"[:LONGEST_NAME]
                        unknown[told if told in unknown or len(unknown) < MOST_NAMES else OTHERS] += 1
            for name, change in changes:
                if name in record:
                    record[name] = change(record[name])

        return conform

    def _value(self, schema: Schema, mask: SelectionMask | None, at: Breadcrumb, path: str) -> _Change | None:
        """Compile one property's schema; None where every value stays as it is."""
        nested = self._object(schema, mask, at, f"{path}.") if _has_properties(schema) else None
        items = self._items(schema, path)
        primitive = _to_boolean if _is_boolean_only(schema) else None
        if nested is None and items is None:
            return primitive

        def conform(value: Any) -> Any:
            if nested is not None and isinstance(value, dict):
                nested(value)
                return value
            if items is not None and isinstance(value, list):
                return items(value)
            return value if primitive is None else primitive(value)

        return conform

    def _items(self, schema: Schema, path: str) -> _Change | None:
        """Compile what becomes of an array's items; None where they stay as they are."""
        if not ("type" in schema or "anyOf" in schema) or not is_uniform_list(schema):
            return None
        item_schema: Schema = schema["items"]
        if _has_properties(item_schema):
            nested = self._object(item_schema, None, (), f"{path}.")

            def conform(items: list[Any]) -> list[Any]:
                for item in items:
                    if isinstance(item, dict):
                        nested(item)
                return items

            return conform
        if _is_boolean_only(item_schema):
            return lambda items: [_to_boolean(item) for item in items]
        return None


def _has_properties(schema: Schema) -> bool:
    return bool(is_object_type(schema)) and "properties" in schema


def _is_boolean_only(schema: Schema) -> bool:
    types = schema.get("type")
    return types == "boolean" or (isinstance(types, list) and set(types) in ({"boolean"}, {"boolean", "null"}))


def _to_boolean(value: Any) -> Any:
    # The SDK looks for fractions before it looks at the schema.
    return value if value is None or isinstance(value, float | Decimal) else value != 0
