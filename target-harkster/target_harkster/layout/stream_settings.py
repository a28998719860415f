"""Checks the settings of a stream, as far as that needs neither its SCHEMA nor the API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from target_harkster.layout.errors import LayoutError
from target_harkster.layout.expressions import ExpressionError, is_expression
from target_harkster.layout.field import check_fields

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from target_harkster.layout.expressions import Expressions

_LOOKUP_TAKES = frozenset({"mode", "key"})
_CONDITIONS = ("when", "closed")


def check_stream(stream: str, settings: Mapping[str, Any], expressions: Expressions) -> None:
    """Check the settings of a stream, before the first request.

    Raises:
        LayoutError: They cannot work, whatever the SCHEMA and the API say.
    """
    for reason in _contradictions(settings):
        raise LayoutError(stream, None, reason)
    fields = settings.get("fields", ())
    if "template" not in settings:  # which has ids and types
        check_fields(stream, fields)
    group_by = settings.get("group_by")
    for field in fields:
        data = field.get("data")
        if group_by and data is not None and not is_expression(data) and data not in group_by:
            reason = f"a digest has many rows: {data} must be one of group_by or an expression"
            raise LayoutError(stream, field.get("id"), reason)
    for field_id, named, text in _expressions(settings):
        try:
            (expressions.condition if named in _CONDITIONS else expressions.value)(text)
        except ExpressionError as error:
            raise LayoutError(stream, field_id, f"{named} {error}") from None
    if group_by and "rows" in expressions.names(settings.get("when", "")):
        reason = "when chooses the rows of a digest one by one: set closed for what all of them must meet"
        raise LayoutError(stream, None, reason)


def _contradictions(settings: Mapping[str, Any]) -> Iterator[str]:
    """Say which settings exclude each other."""
    mode, group_by, key = (settings.get(name) for name in ("mode", "group_by", "key"))
    if mode == "lookup":
        if refused := sorted(settings.keys() - _LOOKUP_TAKES):
            yield f"mode lookup takes no {refused[0]}: its rows are not posted"
        if key and len(key) > 1:
            yield "mode lookup needs a key of one column"
        return
    if group_by and mode == "mirror":
        yield "mode mirror cannot be had with group_by: the post of a group stays, and shows the rows that are left"
    if group_by and not settings.keys() & {"fields", "template"}:
        yield "group_by needs fields: what is to be shown of many rows is not inferred"
    if not group_by and "closed" in settings:
        yield "closed is for digests: set group_by"
    for column in settings.get("previous_by", ()):
        if (columns := group_by or key) and column not in columns:
            yield f"previous_by names {column}, which is no part of the key"


def _expressions(settings: Mapping[str, Any]) -> Iterator[tuple[str | None, str, str]]:
    """The expressions of a stream, each with the id of its field and its name in a sentence."""
    for setting in ("name", *_CONDITIONS):
        if isinstance(text := settings.get(setting), str):
            yield None, setting, text
    for field in settings.get("fields", ()):
        for text in (field.get("label"), field.get("data"), (field.get("options") or {}).get("ccy")):
            if isinstance(text, str) and is_expression(text):
                yield field.get("id"), "it", text
