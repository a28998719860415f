"""How the tables of an older ledger become those of this version."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from singer_http.http.errors import ConfigurationError

from target_harkster.ledger.model import (
    DOUBTS,
    GROUP_INDEX,
    GROUP_NEWS,
    GROUP_SCHEMAS,
    GROUP_TIMES,
    GROUPS,
    LEASES,
    LOOKUPS,
    POSTS,
    REJECTS,
    RUNS,
    STREAMS,
    VERSION,
)
from target_harkster.ledger.packing import pack, record_number, row_number

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_FIRST = sa.MetaData()

_DIGESTS = sa.Table(
    "harkster_digests",
    _FIRST,
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("marker", sa.Text, primary_key=True),
    sa.Column("stream", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("changed", sa.Boolean, nullable=False),
)
_DIGEST_ROWS = sa.Table(
    "harkster_digest_rows",
    _FIRST,
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("marker", sa.Text, primary_key=True),
    sa.Column("row_key", sa.Text, primary_key=True),
    sa.Column("record", sa.LargeBinary, nullable=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
)


def _first(connection: sa.Connection) -> None:
    for table in (POSTS, STREAMS, _DIGESTS, _DIGEST_ROWS):
        table.create(connection, checkfirst=True)


def _second(connection: sa.Connection) -> None:
    """Pack the rows of digests, index them, and know of the channels that are in doubt."""
    for table in (DOUBTS, GROUPS, GROUP_NEWS, GROUP_INDEX):
        table.create(connection)
    for number, (channel, marker, stream, key, changed) in enumerate(connection.execute(sa.select(_DIGESTS)).all(), 1):
        here = sa.and_(_DIGEST_ROWS.c.channel == channel, _DIGEST_ROWS.c.marker == marker)
        columns = (_DIGEST_ROWS.c.row_key, _DIGEST_ROWS.c.record, _DIGEST_ROWS.c.seq)
        rows = connection.execute(sa.select(*columns).where(here).order_by(_DIGEST_ROWS.c.seq)).all()
        # Of a group that has changed it is not known which rows its post shows: they are all news.
        packed = None if changed else pack({row[0]: bytes(row[1]) for row in rows})
        connection.execute(
            GROUPS.insert().values(channel=channel, marker=marker, stream=stream, key=key, rows=packed, number=number)
        )
        if changed:
            connection.execute(
                GROUP_NEWS.insert(),
                [{"number": number, "row_key": row[0], "record": row[1], "seq": row[2]} for row in rows],
            )
        for row in rows:
            values = {
                "row": row_number(channel, stream, row[0]),
                "number": number,
                "record": record_number(bytes(row[1])),
            }
            # A row that moved was left in both groups: which is the right one, it tells when it comes again.
            connection.execute(GROUP_INDEX.delete().where(GROUP_INDEX.c.row == values["row"]))
            connection.execute(GROUP_INDEX.insert().values(values))
    if connection.dialect.name == "postgresql":
        # The numbers above were not drawn from the sequence.
        column = sa.func.pg_get_serial_sequence(GROUPS.name, "number")
        most = sa.select(sa.func.coalesce(sa.func.max(GROUPS.c.number), 0) + 1).scalar_subquery()
        connection.execute(sa.select(sa.func.setval(column, most, False)))  # noqa: FBT003 - how PostgreSQL has it
    for table in (_DIGEST_ROWS, _DIGESTS):
        table.drop(connection)


def _third(connection: sa.Connection) -> None:
    """Keep leases, rejects and runs."""
    for table in (LEASES, REJECTS, RUNS):
        table.create(connection)


def _fourth(connection: sa.Connection) -> None:
    """Keep what ids are looked up in, and when groups changed."""
    for table in (GROUP_TIMES, LOOKUPS):
        table.create(connection)


def _fifth(connection: sa.Connection) -> None:
    """Keep what the rows of groups look like."""
    GROUP_SCHEMAS.create(connection)


MIGRATIONS: Sequence[Callable[[sa.Connection], None]] = (_first, _second, _third, _fourth, _fifth)
"""What leads from each version to the next one. Never changed, only added to: ledgers of all ages are out there. Who
changes a table copies the earlier one to here first."""

_LOCK = 0x6861726B73746572
"""Of PostgreSQL: two that start at once do not both make the tables."""


def migrate(connection: sa.Connection) -> int:
    """Bring the tables up to this version, in one transaction that nobody else is in; committing is the caller's.

    Returns:
        The version that they had; 0 if there were none.

    Raises:
        ConfigurationError: The ledger is of a later version than this.
    """
    if sa.inspect(connection).has_table(VERSION.name) and _version(connection) == len(MIGRATIONS):
        return len(MIGRATIONS)
    connection.rollback()
    if connection.dialect.name == "sqlite":
        # Of itself Python's module would begin none for what changes tables.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    VERSION.create(connection, checkfirst=True)
    before = _version(connection)
    for at, step in enumerate(MIGRATIONS[before:], before + 1):
        step(connection)
        connection.execute(VERSION.insert().values(version=at))
    return before


def _version(connection: sa.Connection) -> int:
    version: int = connection.execute(sa.select(sa.func.max(VERSION.c.version))).scalar() or 0
    if version > len(MIGRATIONS):
        raise ConfigurationError(
            f"ledger_url: the ledger is of version {version}, and this target-harkster knows version"
            f" {len(MIGRATIONS)} at most; install a newer one."
        )
    return version
