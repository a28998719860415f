"""The tables of the ledger, as this version has them; :mod:`target_harkster.ledger.migrations` makes them."""

from __future__ import annotations

import sqlalchemy as sa

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
