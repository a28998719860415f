"""Compare what is in the warehouse with what the API knows to be true."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from demo.postgres import TableCount

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from demo.postgres import Postgres

HUSTLE_SCHEMA = "tap_hustle"


@dataclass(frozen=True)
class StreamCount:
    """One stream, counted on both sides.

    Attributes:
        stream: Its name.
        loaded: What the warehouse has of it.
        truth: How many records the API has of it.
    """

    stream: str
    loaded: TableCount
    truth: int

    @property
    def agrees(self) -> bool:
        """Whether each record is in the warehouse exactly once."""
        return self.loaded == TableCount(rows=self.truth, ids=self.truth)


def compare(warehouse: Postgres, schema: str, truth: Mapping[str, int]) -> list[StreamCount]:
    """Count every stream in the warehouse, beside its true number of records."""
    return [StreamCount(stream, warehouse.count(schema, stream), expected) for stream, expected in truth.items()]


def table(counts: Sequence[StreamCount], seconds: float) -> str:
    """Lay out the counts of a run, and how long it took, for a person to read."""
    loaded, truth = sum(count.loaded.rows for count in counts), sum(count.truth for count in counts)
    rows = [
        ("stream", "rows in PostgreSQL", "rows in the API", ""),
        *((count.stream, f"{count.loaded.rows:,}", f"{count.truth:,}", _remark(count)) for count in counts),
        ("all", f"{loaded:,}", f"{truth:,}", f"in {seconds:.1f} seconds"),
    ]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        f"  {row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]}".rstrip() for row in rows
    )


def _remark(count: StreamCount) -> str:
    if count.agrees:
        return ""
    return f"<- differs: {count.loaded.ids:,} distinct ids"
