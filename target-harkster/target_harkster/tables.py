"""The tables of the ledger, and how those of an older version become those of this one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from singer_http.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

METADATA = sa.MetaData()

VERSION = sa.Table("harkster_ledger", METADATA, sa.Column("version", sa.Integer, nullable=False))

POSTS = sa.Table(
    "harkster_posts",
    METADATA,
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("marker", sa.Text, primary_key=True),
    sa.Column("stream", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("phase", sa.Text, nullable=False),
    sa.Column("held", sa.Boolean, nullable=False),
    sa.Column("post_id", sa.Text),
    sa.Column("hash", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("content", sa.LargeBinary),
    sa.Column("version", sa.BigInteger),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("changed_at", sa.Float, nullable=False),
    sa.Index("harkster_posts_phase", "channel", "phase", "seq"),
)
"""One row for every row, or digest, that was ever seen."""

STREAMS = sa.Table(
    "harkster_streams",
    METADATA,
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("stream", sa.Text, primary_key=True),
)
"""The streams whose first run into a channel came to its end."""

DIGESTS = sa.Table(
    "harkster_digests",
    METADATA,
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("marker", sa.Text, primary_key=True),
    sa.Column("stream", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("changed", sa.Boolean, nullable=False),
)
"""The groups of rows, and which of them have rows that their posts do not show."""

DIGEST_ROWS = sa.Table(
    "harkster_digest_rows",
    METADATA,
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("marker", sa.Text, primary_key=True),
    sa.Column("row_key", sa.Text, primary_key=True),
    sa.Column("record", sa.LargeBinary, nullable=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
)
"""The rows of the groups: a later run may bring some of a group's rows only."""


def _first(connection: sa.Connection) -> None:
    METADATA.create_all(connection)


MIGRATIONS: Sequence[Callable[[sa.Connection], None]] = (_first,)
"""What leads from each version to the next one. Never changed, only added to: ledgers of all ages are out there."""


def migrate(connection: sa.Connection) -> None:
    """Bring the tables up to this version.

    Raises:
        ConfigurationError: The ledger is of a later version than this.
    """
    VERSION.create(connection, checkfirst=True)
    version = connection.execute(sa.select(sa.func.max(VERSION.c.version))).scalar() or 0
    if version > len(MIGRATIONS):
        raise ConfigurationError(
            f"ledger_url: the ledger is of version {version}, and this target-harkster knows version"
            f" {len(MIGRATIONS)} at most; install a newer one."
        )
    for at, step in enumerate(MIGRATIONS[version:], version + 1):
        step(connection)
        connection.execute(VERSION.insert().values(version=at))
