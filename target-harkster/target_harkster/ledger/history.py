"""The runs of a ledger: when each was, what it did, and how it ended."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from target_harkster.ledger.model import RUNS

if TYPE_CHECKING:
    from singer_http.http.clock import Clock

    from target_harkster.ledger.database import Database


@dataclass(frozen=True, slots=True)
class Did:
    """What a run did.

    Attributes:
        rows: How many came.
        posted: Posts published.
        updated: Posts that got new content.
        deleted: Posts deleted.
        rejected: Rows rejected.
        quota: What is used of the quota behind it, in words.
        ended: How it ended, in words.
    """

    rows: int
    posted: int
    updated: int
    deleted: int
    rejected: int
    quota: str
    ended: str


@dataclass(frozen=True, slots=True)
class PastRun:
    """A run.

    Attributes:
        started_at: In seconds since the epoch.
        ended_at: Likewise; None while it goes on, and for one that was cut off.
        did: What it did.
    """

    started_at: float
    ended_at: float | None
    did: Did


_DID = ("rows", "posted", "updated", "deleted", "rejected", "quota", "ended")


class History:
    """The part of the ledger that knows the runs.

    Args:
        database: Keeps them.
        clock: Dates them.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._number: int | None = None

    def begin(self) -> None:
        """Note that a run has begun."""
        nothing = asdict(Did(0, 0, 0, 0, 0, "", "")) | {"started_at": self._clock.time()}
        with self._database.transaction() as connection:
            (self._number,) = connection.execute(RUNS.insert().values(nothing)).inserted_primary_key or (None,)

    def end(self, did: Did) -> None:
        """Note how the run has ended, if one has begun."""
        if self._number is not None:
            here = RUNS.c.number == self._number
            self._database.change(RUNS.update().where(here).values(asdict(did) | {"ended_at": self._clock.time()}))
            self._number = None

    def runs(self) -> list[PastRun]:
        """All runs, newest first."""
        query = sa.select(RUNS.c.started_at, RUNS.c.ended_at, *(RUNS.c[name] for name in _DID))
        rows = self._database.rows(query.order_by(RUNS.c.number.desc()))
        return [PastRun(row[0], row[1], Did(*row[2:])) for row in rows]
