"""Compare what is in the warehouse with what the API knows to be true."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from demo.postgres import TableCount

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from demo.postgres import Postgres
    from demo.sandbox import Sandbox

HUSTLE_SCHEMA = "tap_hustle"
HUBSTAFF_SCHEMA = "tap_hubstaff"
SESSIONS = "time_sessions"
# What tells the records of a Hubstaff stream apart, where that is not their id.
_HUBSTAFF_KEYS = {
    "integration_project_links": ("integration_id", "project_id"),
    "integration_user_links": ("integration_id", "user_id"),
    "last_activities": ("organization_id", "user_id"),
    "members": ("organization_id", "user_id"),
    "project_members": ("project_id", "user_id"),
    "seats": ("organization_id",),
    "team_members": ("team_id", "user_id"),
    "team_projects": ("team_id", "project_id"),
    "time_off_balances": ("time_off_policy_id", "user_id"),
}
# A session begins with an activity up to which the same user had not worked on the same.
_SESSIONS = """
    SELECT count(*) FILTER (WHERE stopped IS NULL OR stopped < starts_at)
    FROM (
        SELECT starts_at, max(starts_at + tracked * interval '1 second') OVER (
            PARTITION BY organization_id, user_id, project_id, task_id ORDER BY starts_at, id
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS stopped
        FROM {}
    ) AS activities
"""


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


def compare(
    warehouse: Postgres, schema: str, truth: Mapping[str, int], keys: Mapping[str, Sequence[str]] | None = None
) -> list[StreamCount]:
    """Count every stream in the warehouse, beside its true number of records."""
    loaded = warehouse.counts(schema, {stream: (keys or {}).get(stream, ("id",)) for stream in truth})
    return [StreamCount(stream, loaded[stream], expected) for stream, expected in truth.items()]


def compare_hustle(warehouse: Postgres, sandbox: Sandbox) -> list[StreamCount]:
    """Count every stream of tap-hustle in the warehouse, and in the API."""
    return compare(warehouse, HUSTLE_SCHEMA, sandbox.hustle_counts())


def compare_hubstaff(warehouse: Postgres, sandbox: Sandbox) -> list[StreamCount]:
    """Count every stream of tap-hubstaff in the warehouse, and in the API.

    The API has no list of work sessions: those are compared with what SQL makes of the activities.
    """
    counts = compare(warehouse, HUBSTAFF_SCHEMA, sandbox.hubstaff_counts(), _HUBSTAFF_KEYS)
    return [*counts, _compare_sessions(warehouse)]


def _compare_sessions(warehouse: Postgres) -> StreamCount:
    counting = warehouse.count(HUBSTAFF_SCHEMA, SESSIONS, where="superseded_by IS NULL")
    if not warehouse.count(HUBSTAFF_SCHEMA, "activities").rows:
        return StreamCount(SESSIONS, counting, 0)
    with warehouse.connect() as connection:
        query = sql.SQL(_SESSIONS).format(sql.Identifier(HUBSTAFF_SCHEMA, "activities"))
        (expected,) = connection.execute(query).fetchone() or (0,)
    return StreamCount(SESSIONS, counting, expected)


def table(vendor: str, counts: Sequence[StreamCount]) -> str:
    """Lay out the counts of a vendor's streams, for a person to read."""
    loaded, truth = sum(count.loaded.rows for count in counts), sum(count.truth for count in counts)
    rows = [
        (vendor, "rows in PostgreSQL", "rows in the API", ""),
        *((count.stream, f"{count.loaded.rows:,}", f"{count.truth:,}", _remark(count)) for count in counts),
        ("all", f"{loaded:,}", f"{truth:,}", ""),
    ]
    return aligned(rows)


def aligned(rows: Sequence[tuple[str, str, str, str]]) -> str:
    """Lay out rows of a name, two figures and a remark."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        f"  {row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]}".rstrip() for row in rows
    )


def _remark(count: StreamCount) -> str:
    if not count.agrees:
        return f"<- differs: {count.loaded.ids:,} distinct ids"
    return "(built from activities)" if count.stream == SESSIONS else ""
