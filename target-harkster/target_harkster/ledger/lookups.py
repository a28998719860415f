"""The rows of lookup streams: kept, not posted, and asked for by expressions that want a name for an id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from singer_sdk.contrib.msgspec import decoder

from target_harkster.ledger.database import put
from target_harkster.ledger.model import LOOKUPS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from target_harkster.ledger.database import Database

MOST_KEPT = 10_000
"""Rows in memory; the others are asked for again."""


@dataclass(frozen=True, slots=True)
class LookupRow:
    """A row that ids are looked up in.

    Attributes:
        stream: Where it comes from.
        key: What it is found by.
        record: The row, as JSON.
    """

    stream: str
    key: str
    record: bytes


class Lookups:
    """The part of the ledger that knows the rows of lookup streams.

    Args:
        database: Keeps them.

    Attributes:
        missed: How often a row was asked for that has not come yet.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._found: dict[tuple[str, str], dict[str, Any] | None] = {}
        self.missed = 0

    def add(self, rows: Sequence[LookupRow]) -> None:
        """Keep rows, and make them durable; of each the last one counts."""
        if not rows:
            return
        latest = {(row.stream, row.key): {"stream": row.stream, "key": row.key, "record": row.record} for row in rows}
        with self._database.transaction() as connection:
            put(connection, LOOKUPS, list(latest.values()))
        self._found.clear()

    def find(self, stream: str, key: str) -> dict[str, Any] | None:
        """A row; None if none has come."""
        at = (stream, key)
        if at not in self._found:
            if len(self._found) >= MOST_KEPT:
                self._found.clear()
            query = sa.select(LOOKUPS.c.record).where(LOOKUPS.c.stream == stream, LOOKUPS.c.key == key)
            rows = self._database.rows(query)
            self._found[at] = decoder.decode(rows[0][0]) if rows else None
        self.missed += self._found[at] is None
        return self._found[at]
