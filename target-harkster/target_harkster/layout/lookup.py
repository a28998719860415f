"""Names for ids: what expressions look up in the rows of other streams."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import jinja2

from target_harkster.layout.errors import LayoutError
from target_harkster.layout.values import exact, shown, trimmed

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from target_harkster.ledger.lookups import Lookups

_TAKEN = frozenset({"mode", "key"})


def lookup_key(value: Any) -> str:
    """What a row is found by: an id is the same whether it comes as a number or as text."""
    value = exact(value)
    return shown(trimmed(value) if isinstance(value, Decimal) else value)


def key_column(stream: str, config: Mapping[str, Any], key_properties: Sequence[str]) -> str:
    """The column that the rows of a lookup stream are found by.

    Raises:
        LayoutError: There is not one, or the settings have what such a stream does not take.
    """
    key = config.get("key") or key_properties
    if refused := sorted(config.keys() - _TAKEN):
        raise LayoutError(stream, None, f"mode lookup takes no {refused[0]}: its rows are not posted")
    if len(key) != 1:
        raise LayoutError(stream, None, "mode lookup needs a key of one column")
    return str(key[0])


class Lookup:
    """The filter ``lookup``.

    Args:
        rows: Of the lookup streams.
        streams: Their names, from the settings.

    Attributes:
        columns: By stream, the columns that its SCHEMA has, where it has come.
    """

    def __init__(self, rows: Lookups, streams: Collection[str]) -> None:
        self._rows = rows
        self._streams = streams
        self.columns: dict[str, frozenset[str]] = {}

    def __call__(self, value: Any, stream: str, column: str) -> Any:
        """What the row of an id has in a column; null if no such row has come.

        Raises:
            UndefinedError: There is no such stream or column.
        """
        if stream not in self._streams:
            raise jinja2.UndefinedError(f"{stream} is no stream of mode lookup")
        if column not in self.columns.get(stream, {column}):
            raise jinja2.UndefinedError(f"there is no {column} in {stream}")
        row = None if value is None else self._rows.find(stream, lookup_key(value))
        return None if row is None else row.get(column)
