"""The runs of a ledger: when each was, what it did, and how it ended."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from target_harkster.ledger.model import RUNS

if TYPE_CHECKING:
    from singer_http.http.clock import Clock

    from target_harkster.ledger.database import Database


@dataclass(frozen=True, slots=True)
class RunResult:
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

    rows: int = 0
    posted: int = 0
    updated: int = 0
    deleted: int = 0
    rejected: int = 0
    quota: str = ""
    ended: str = ""


@dataclass(slots=True, eq=False)
class History:
    """The runs."""

    database: Database
    clock: Clock
    _number: int | None = field(default=None, init=False)

    def begin(self) -> None:
        """Note that a run has begun."""
        nothing = asdict(RunResult()) | {"started_at": self.clock.time()}
        with self.database.transaction() as connection:
            (self._number,) = connection.execute(RUNS.insert(), nothing).inserted_primary_key or (None,)

    def end(self, result: RunResult) -> None:
        """Note how the run has ended, if one has begun."""
        if self._number is not None:
            ended = {"run": self._number, "ended_at": self.clock.time()}
            # Also of a run that another one has taken its channels from.
            with self.database.transaction(is_confirmed=False) as connection:
                connection.execute(_END, asdict(result) | ended)
            self._number = None

    def runs(self) -> list[dict[str, Any]]:
        """All runs, newest first, by column; ``ended_at`` is None while one goes on, and for one that was cut off."""
        columns = [column for column in RUNS.c if column is not RUNS.c.number]
        rows = self.database.rows(sa.select(*columns).order_by(RUNS.c.number.desc()))
        return [dict(row._mapping) for row in rows]  # noqa: SLF001 - the documented way to the columns by name


_END = RUNS.update().where(RUNS.c.number == sa.bindparam("run"))
