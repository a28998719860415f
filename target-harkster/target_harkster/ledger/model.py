"""The tables of the ledger, as this version has them; :mod:`target_harkster.ledger.migrations` makes them."""

from __future__ import annotations

import sqlalchemy as sa

METADATA = sa.MetaData()

UNVERSIONED = 0
"""In the place of a table version: the row came without one since a version of its table was last complete."""
GONE = -1
"""In the place of a table version: the row was marked as deleted."""

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

DOUBTS = sa.Table(
    "harkster_doubts",
    METADATA,
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("since", sa.Float, nullable=False),
)
"""The channels in which drafts may turn up that nobody was told of, and since when."""

GROUPS = sa.Table(
    "harkster_groups",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("marker", sa.Text, nullable=False),
    sa.Column("stream", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("rows", sa.LargeBinary),
    sa.UniqueConstraint("channel", "marker"),
)
"""The groups of rows that are one post each, with the rows that the post shows, packed together."""

GROUP_NEWS = sa.Table(
    "harkster_group_news",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("row_key", sa.Text, primary_key=True),
    sa.Column("record", sa.LargeBinary),
    sa.Column("seq", sa.BigInteger, nullable=False),
)
"""What is new in the groups and not shown yet: rows, and without a record those that went to another group."""

GROUP_INDEX = sa.Table(
    "harkster_group_index",
    METADATA,
    # In SQLite an INTEGER is the row's own number, and takes no further room.
    sa.Column("row", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("record", sa.BigInteger, nullable=False),
)
"""By the hash of a row's key: its group, and the hash of its record as it was last seen."""

GROUP_TIMES = sa.Table(
    "harkster_group_times",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("changed_at", sa.Float, nullable=False),
)
"""When something new came into a group last, in seconds since the epoch."""

GROUP_SCHEMAS = sa.Table(
    "harkster_group_schemas",
    METADATA,
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("stream", sa.Text, primary_key=True),
    sa.Column("content", sa.LargeBinary, nullable=False),
)
"""What the rows of groups look like, so that what waits can be made without their tap."""

LOOKUPS = sa.Table(
    "harkster_lookups",
    METADATA,
    sa.Column("stream", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("record", sa.LargeBinary, nullable=False),
)
"""The rows that are not posted and give names for ids."""

LEASES = sa.Table(
    "harkster_leases",
    METADATA,
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("until", sa.Float, nullable=False),
)
"""Which run holds a channel, and until when if it does not say so again; of a PostgreSQL, by its own clock."""

REJECTS = sa.Table(
    "harkster_rejects",
    METADATA,
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("stream", sa.Text, primary_key=True),
    # A key may be longer than what an index takes.
    sa.Column("row", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("key", sa.Text),
    sa.Column("field", sa.Text),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("changed_at", sa.Float, nullable=False),
)
"""What could not be posted: rows with their content, and posts and digests of which the ledger itself has it."""

RUNS = sa.Table(
    "harkster_runs",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("started_at", sa.Float, nullable=False),
    sa.Column("ended_at", sa.Float),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("posted", sa.Integer, nullable=False),
    sa.Column("updated", sa.Integer, nullable=False),
    sa.Column("deleted", sa.Integer, nullable=False),
    sa.Column("rejected", sa.Integer, nullable=False),
    sa.Column("quota", sa.Text, nullable=False),
    sa.Column("ended", sa.Text, nullable=False),
)
"""The runs, and how each ended; one that has no end goes on, or was cut off."""
