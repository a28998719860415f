"""The filter that finds the name of an id in the rows of another stream."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import jinja2

from target_harkster.layout.arithmetic import exact, shown, trimmed
from target_harkster.layout.errors import LayoutError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from target_harkster.ledger.lookup_rows import LookupRows


def lookup_key(value: Any) -> str:
    """The key of a lookup row. A number and the same number as text are one key."""
    value = exact(value)
    return shown(trimmed(value) if isinstance(value, Decimal) else value)


def key_column(stream: str, config: Mapping[str, Any], key_properties: Sequence[str]) -> str:
    """The key column of a lookup stream.

    Raises:
        LayoutError: There is not one.
    """
    key = config.get("key") or key_properties
    if len(key) != 1:
        raise LayoutError(stream, None, "mode lookup needs a key of one column")
    return str(key[0])


@dataclass(frozen=True, slots=True)
class Lookup:
    """The filter ``lookup``.

    Attributes:
        rows: Of the lookup streams.
        streams: Their names, from the settings.
        columns: By stream, the columns that its SCHEMA has, where it has come.
    """

    rows: LookupRows
    streams: Collection[str]
    columns: dict[str, frozenset[str]] = field(default_factory=dict, init=False)

    def __call__(self, value: Any, stream: str, column: str) -> Any:
        """The value of a column in the row of an id; null if that row has not come.

        Raises:
            UndefinedError: There is no such stream or column.
        """
        if stream not in self.streams:
            raise jinja2.UndefinedError(f"{stream} is no stream of mode lookup")
        if column not in self.columns.get(stream, {column}):
            raise jinja2.UndefinedError(f"there is no {column} in {stream}")
        row = None if value is None else self.rows.find(stream, lookup_key(value))
        return None if row is None else row.get(column)
