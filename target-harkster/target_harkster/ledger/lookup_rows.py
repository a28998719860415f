"""The rows of lookup streams, in which expressions find the name of an id. They are not posted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from singer_sdk.contrib.msgspec import decoder, encoder

from target_harkster.ledger.database import put
from target_harkster.ledger.model import LOOKUPS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from target_harkster.ledger.database import Database

MOST_KEPT = 10_000
"""So many rows stay in memory."""


@dataclass(frozen=True, slots=True)
class LookupRow:
    """A row of a lookup stream.

    Attributes:
        stream: Where it comes from.
        key: What it is found by.
        record: The row, as JSON.
    """

    stream: str
    key: str
    record: bytes


def _stored(key: str) -> str:
    """A key as it is stored. PostgreSQL stores no NUL, so such keys are stored as JSON, and those that look like it."""
    return encoder.encode(key).decode() if "\0" in key or "\\u0000" in key else key


@dataclass(slots=True, eq=False)
class LookupRows:
    """The rows of lookup streams.

    Attributes:
        missed: How often a row was asked for that has not come yet.
    """

    database: Database
    missed: int = field(default=0, init=False)
    _found: dict[tuple[str, str], dict[str, Any] | None] = field(default_factory=dict, init=False)

    def add(self, rows: Sequence[LookupRow]) -> None:
        """Make rows durable. The last one of each key counts."""
        if not rows:
            return
        latest = {(row.stream, _stored(row.key)): row.record for row in rows}
        with self.database.transaction() as connection:
            kept = [{"stream": stream, "key": key, "record": record} for (stream, key), record in latest.items()]
            put(connection, LOOKUPS, kept)
        self._found.clear()

    def find(self, stream: str, key: str) -> dict[str, Any] | None:
        """A row; None if none has come."""
        at = (stream, key)
        if at not in self._found:
            if len(self._found) >= MOST_KEPT:
                self._found.clear()
            query = sa.select(LOOKUPS.c.record).where(LOOKUPS.c.stream == stream, LOOKUPS.c.key == _stored(key))
            rows = self.database.rows(query)
            self._found[at] = decoder.decode(rows[0][0]) if rows else None
        self.missed += self._found[at] is None
        return self._found[at]
