"""Reads the SCHEMA of a stream, in any draft of JSON schema and any habit of taps."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NoReturn

import jsonschema_rs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    Validator = jsonschema_rs.Draft202012Validator | jsonschema_rs.Draft7Validator | jsonschema_rs.Draft4Validator

_DRAFTS = (jsonschema_rs.Draft202012Validator, jsonschema_rs.Draft7Validator, jsonschema_rs.Draft4Validator)
_NO_SCHEMA = (ValueError, jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError)
_MOST_VARIANTS = 50
"""A property with more variants counts as one of any type."""
_DEEPEST = 5
_ANYTHING: Mapping[str, Any] = {}
_TYPES: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "boolean"),
    (int, "integer"),
    ((float, Decimal), "number"),
    (str, "string"),
    (list, "array"),
    (dict, "object"),
)
_TELLING = {
    "properties": "object",
    "items": "array",
    "format": "string",
    "maxLength": "string",
    "minimum": "number",
    "maximum": "number",
}
"""Keywords that show a type if none is named."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What the values of a property look like.

    Attributes:
        kinds: Their JSON types, null left out; none at all where they may be anything.
        formats: Of those that are strings.
        longest: The most characters that a string may have; 0 if that is not told.
        items: Their items, where they are arrays and that is told.
    """

    kinds: frozenset[str] = frozenset()
    formats: frozenset[str] = frozenset()
    longest: int = 0
    items: Shape | None = None


def shape(schema: Any, root: Mapping[str, Any], depth: int = 0) -> Shape:
    """What a property's values look like."""
    variants = [it for it in _variants(schema, root) if _kinds(it) != set()]
    kinds = [_kinds(variant) for variant in variants]
    if depth > _DEEPEST or not variants or None in kinds:
        return Shape()
    inner = [items for variant in variants if (items := variant.get("items"))]
    items = itertools.chain.from_iterable(each if isinstance(each, list) else [each] for each in inner)
    return Shape(
        frozenset().union(*(found for found in kinds if found)),
        frozenset(str(variant["format"]) for variant in variants if variant.get("format")),
        max(_length(variant) for variant in variants),
        shape({"anyOf": list(items)}, root, depth + 1) if inner else None,
    )


class Sample(dict[str, Any]):
    """A row, or an object in it, with exactly the properties of the SCHEMA. All values are null."""


def sample(schema: Any, root: Mapping[str, Any], depth: int = 0) -> Any:
    """A sample value with the properties that a schema declares."""
    if depth > _DEEPEST:
        return None
    for variant in _variants(schema, root):
        properties = variant.get("properties")
        if isinstance(properties, dict) and properties and not variant.get("additionalProperties"):
            return Sample((name, sample(inner, root, depth + 1)) for name, inner in properties.items())
        if isinstance(variant.get("items"), dict):
            return [sample(variant["items"], root, depth + 1)]
    return None


def is_decimal_text(schema: Any, root: Mapping[str, Any]) -> bool:
    """Whether the values are numbers written as text."""
    return "singer.decimal" in shape(schema, root).formats


def _variants(schema: Any, root: Mapping[str, Any], seen: tuple[str, ...] = ()) -> list[Mapping[str, Any]]:
    """Resolve references and alternatives: everything a schema allows, one by one."""
    if not isinstance(schema, dict):
        return [] if schema is False else [_ANYTHING]
    found: list[Mapping[str, Any]] = [{key: value for key, value in schema.items() if key not in _COMBINING}]
    parts: list[list[Any]] = [[one] for one in _listed(schema, "allOf")]
    parts += [_listed(schema, several) for several in ("anyOf", "oneOf")]
    if isinstance(reference := schema.get("$ref"), str):
        parts.append([_pointed(reference, root) if reference not in seen else True])
        seen = (*seen, reference)
    for part in parts:
        if part:
            further = [variant for one in part for variant in _variants(one, root, seen)]
            found = [{**a, **b} for a, b in itertools.product(found, further)]
            if len(found) > _MOST_VARIANTS:
                return [_ANYTHING]
    return found


_COMBINING = frozenset({"$ref", "allOf", "anyOf", "oneOf"})


def _listed(schema: Mapping[str, Any], keyword: str) -> list[Any]:
    found = schema.get(keyword)
    return found if isinstance(found, list) else []


def _pointed(reference: str, root: Mapping[str, Any]) -> Any:
    at: Any = root
    if not reference.startswith("#"):
        return True
    for step in filter(None, reference[1:].split("/")):
        at = at.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(at, dict) else None
    return True if at is None else at


def _kinds(variant: Mapping[str, Any]) -> set[str] | None:
    """The types that a variant allows, without null; None if it allows any."""
    if "type" in variant:
        named = variant["type"]
        kinds = {named} if isinstance(named, str) else {one for one in named or () if isinstance(one, str)}
        return None if "any" in kinds else kinds - {"null"}
    values = variant["enum"] if isinstance(variant.get("enum"), list) else None
    if "const" in variant:
        values = [variant["const"]]
    if values is not None:
        return {name for value in values if value is not None for name in _types_of(value)}
    return next(({kind} for keyword, kind in _TELLING.items() if keyword in variant), None)


def _types_of(value: Any) -> Iterable[str]:
    return [name for kind, name in _TYPES if isinstance(value, kind)][:1]


def _length(variant: Mapping[str, Any]) -> int:
    named = variant.get("maxLength")
    return int(named) if isinstance(named, int | Decimal) else 0


# Checking rows


def checks(schema: Mapping[str, Any]) -> tuple[list[Validator], list[str]]:
    """What rows are checked by.

    Returns:
        Validators, mostly one, and the properties whose own schemas no draft understands: they are not checked.
    """
    if (whole := _compiled(schema)) is not None:
        return [whole], []
    shared = {key: schema[key] for key in ("definitions", "$defs") if key in schema}
    found: list[Validator] = []
    unknown: list[str] = []
    for name, own in schema["properties"].items():
        if (one := _compiled({**shared, "properties": {name: own}})) is not None:
            found.append(one)
        else:
            unknown.append(name)
    if (rest := _compiled({"required": schema.get("required", [])})) is not None:
        found.append(rest)
    return found, unknown


def faults(validators: Iterable[Validator], row: Mapping[str, Any]) -> Iterator[tuple[str | None, str]]:
    """Where a row breaks its SCHEMA: the path of a value and the keyword."""
    for validator in validators:
        if not validator.is_valid(row):
            for error in validator.iter_errors(row):
                path = ".".join(str(step) for step in error.instance_path)
                yield path or None, str(error.schema_path[-1]) if error.schema_path else "schema"


def _compiled(schema: Mapping[str, Any]) -> Validator | None:
    for draft in _DRAFTS:
        try:
            return draft(dict(schema), retriever=_no_retrieval, validate_formats=False)
        except _NO_SCHEMA:
            continue
    return None


def _no_retrieval(uri: str) -> NoReturn:
    raise ValueError(uri)
