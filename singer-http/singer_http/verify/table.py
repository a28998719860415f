"""Asks PostgreSQL what a table holds of a run: one aggregate over the table, whatever its size."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from singer_http.messages import DELETED_AT
from singer_http.report.document import Keys, StreamReport
from singer_http.report.keys import SEPARATOR, checksum

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import psycopg

EXTRACTED_AT = "_sdc_extracted_at"
# The text of a value as singer_http.report.keys has it, its hash, and how hashes are summed up.
_TEXT = sql.SQL("coalesce({}::text, '')")
_TIME_TEXT = sql.SQL("""coalesce(to_char({}, 'YYYY-MM-DD"T"HH24:MI:SS.US'), '')""")
_HASH = sql.SQL("('x' || encode(substr(sha256(convert_to(concat_ws({}, {}), 'UTF8')), 1, 8), 'hex'))::bit(64)::bigint")
_SUMS = sql.SQL("""
    count(*) FILTER (WHERE _v_there AND _v_ours), sum(_v_hash) FILTER (WHERE _v_there AND _v_ours),
    count(*) FILTER (WHERE _v_there), sum(_v_hash) FILTER (WHERE _v_there),
    count(*) FILTER (WHERE _v_there AND _v_at < {first}), count(*) FILTER (WHERE _v_at > {last}),
    count(*) FILTER (WHERE _v_there AND _v_at IS NULL)
""")
# A time without its zone is in UTC, or in the zone of the database: target-postgres stores the one with COPY, the other
# with INSERT.
_NO_ZONE = sql.SQL("""CASE WHEN {local} BETWEEN {first} AND {last} THEN {local} ELSE {name} END""")
_LOCAL = sql.SQL("({} AT TIME ZONE (SELECT reset_val FROM pg_settings WHERE name = 'TimeZone'))::timestamp")
_ROWS = sql.SQL("""
    SELECT {columns}{sums}
    FROM (SELECT *, _v_at BETWEEN {first} AND {last} AS _v_ours
          FROM (SELECT *, {hash} AS _v_hash, {at} AS _v_at, {there} AS _v_there FROM {table}) AS dated) AS hashed
""")

Partition = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Holding:
    """What a table, or a partition of it, holds, without rows that are marked as deleted."""

    ours: Keys  # extracted while the run extracted
    all: Keys
    older: int  # rows extracted before
    newer: int  # rows extracted later, deleted ones included
    undated: int  # rows that do not tell when they were extracted


@dataclass(frozen=True, slots=True)
class Table:
    """The table of a stream."""

    connection: psycopg.Connection  # in a transaction of its own
    schema: str
    name: str
    columns: Mapping[str, str]  # their types, by name; empty if there is no such table
    began: str  # when the run began

    @classmethod
    def find(cls, connection: psycopg.Connection, schema: str, stream: str, began: str) -> Table:
        """Find it as ``target-postgres`` names it."""
        name = stream.rpartition("-")[2]
        query = (
            "SELECT column_name, data_type FROM information_schema.columns WHERE (table_schema, table_name) = (%s, %s)"
        )
        return cls(connection, schema, name, dict(connection.execute(query, [schema, name]).fetchall()), began)

    def holding(self, stream: StreamReport) -> Holding:
        """What it holds of what a report says was sent."""
        return self.by_partition(stream, ())[()]

    def by_partition(self, stream: StreamReport, columns: tuple[str, ...]) -> dict[Partition, Holding]:
        """The same, by the values of some columns."""
        # Some columns keep milliseconds only.
        began, ended = _utc(stream.first or self.began), _utc(stream.last or self.began)
        first = sql.Literal(began.replace(microsecond=began.microsecond // 1000 * 1000))
        last = sql.Literal(ended + dt.timedelta(microseconds=-ended.microsecond % 1000))
        grouped = [sql.SQL("{}::text").format(sql.Identifier(name)) for name in columns]
        query = _ROWS.format(
            columns=sql.SQL("").join(sql.SQL("{}, ").format(column) for column in grouped),
            sums=_SUMS.format(first=first, last=last),
            first=first,
            last=last,
            hash=self._hash(stream.key),
            at=self._extracted_at(first, last),
            there=sql.SQL("{} IS NULL").format(self._column(DELETED_AT)),
            table=sql.Identifier(self.schema, self.name),
        )
        if grouped:
            query += sql.SQL(" GROUP BY {}").format(sql.SQL(", ").join(grouped))
        found = {}
        for *ids, ours, our_sum, every, every_sum, older, newer, undated in self.connection.execute(query):
            keys = Keys(ours, checksum(int(our_sum or 0))), Keys(every, checksum(int(every_sum or 0)))
            found[tuple(zip(columns, ids, strict=True))] = Holding(*keys, older, newer, undated)
        return found

    def _hash(self, key: Sequence[str]) -> sql.Composable:
        texts = [
            (_TIME_TEXT if self.columns[name].startswith("timestamp") else _TEXT).format(sql.Identifier(name))
            for name in key
        ]
        return _HASH.format(sql.Literal(SEPARATOR), sql.SQL(", ").join(texts)) if key else sql.SQL("0")

    def _extracted_at(self, first: sql.Literal, last: sql.Literal) -> sql.Composable:
        """When a row was extracted, in UTC."""
        column = self._column(EXTRACTED_AT)
        if self.columns.get(EXTRACTED_AT) == "timestamp without time zone":
            return _NO_ZONE.format(local=_LOCAL.format(column), first=first, last=last, name=column)
        return sql.SQL("{}::timestamp").format(column)

    def _column(self, name: str) -> sql.Composable:
        return sql.Identifier(name) if name in self.columns else sql.NULL


def _utc(moment: str) -> dt.datetime:
    """A time as loaders store it: in UTC, without saying so."""
    return dt.datetime.fromisoformat(moment).astimezone(dt.timezone.utc).replace(tzinfo=None)
