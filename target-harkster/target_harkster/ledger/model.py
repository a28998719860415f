"""The tables of the ledger."""

from __future__ import annotations

import sqlalchemy as sa

METADATA = sa.MetaData()
LEDGER_VERSION = 1
"""Raise it with each change of a table, and add a way to upgrade released ledgers. New tables need no other version."""

UNVERSIONED = 0
"""Stands for the table version of a row that came without one."""
GONE = -1
"""Stands for the table version of a row that came as deleted."""
EARLIER = -2
"""Stands for the table version of a row that came without one before its table was sent with versions."""


def _keys(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, primary_key=True) for name in names]


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, nullable=False) for name in names]


VERSION = sa.Table("harkster_ledger", METADATA, sa.Column("version", sa.Integer, nullable=False))

POSTS = sa.Table(
    "harkster_posts",
    METADATA,
    *_keys("channel", "marker"),
    *_texts("stream", "key", "phase", "hash"),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("post_id", sa.Text),
    sa.Column("content", sa.LargeBinary),
    sa.Column("version", sa.BigInteger),
    sa.Column("held", sa.Boolean, nullable=False),
    *_texts("source"),
    sa.Column("changed_at", sa.Float, nullable=False),
    sa.Index("harkster_posts_phase", "channel", "phase", "seq"),
)
"""One row for each row or digest ever seen. The columns follow the order of ``Entry``."""

STREAMS = sa.Table("harkster_streams", METADATA, *_keys("channel", "stream"))
"""The streams whose first run into a channel is over."""

KEYS = sa.Table("harkster_keys", METADATA, *_keys("channel", "stream"), *_texts("columns"))
"""The columns by which the rows of a stream are one post, as JSON."""

FIRST_POSTS = sa.Table(
    "harkster_first_posts", METADATA, *_keys("channel", "stream"), sa.Column("posts", sa.Integer, nullable=False)
)
"""How many posts first runs have made, also those that were cut off."""

CHANNEL_NAMES = sa.Table("harkster_channel_names", METADATA, *_keys("name"), *_texts("channel"))
"""Which channel a name stood for when a run last used it."""

LOST_DRAFTS = sa.Table(
    "harkster_lost_drafts", METADATA, *_keys("channel", "marker"), sa.Column("since", sa.Float, nullable=False)
)
"""The posts of which drafts of lost requests may appear, and since when."""

LATE_UPDATES = sa.Table(
    "harkster_late_updates",
    METADATA,
    *_keys("channel", "marker", "hash"),
    sa.Column("since", sa.Float, nullable=False),
    sa.Column("newest", sa.Text),
    sa.Column("content", sa.LargeBinary),
)
"""The contents that lost requests may still give a post, and since when; and what the post was given after them."""

GROUPS = sa.Table(
    "harkster_groups",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True),
    *_texts("channel", "marker", "stream", "key"),
    sa.Column("rows", sa.LargeBinary),
    sa.UniqueConstraint("channel", "marker"),
)
"""The groups, one post each, with the packed rows that the post shows."""

GROUP_NEWS = sa.Table(
    "harkster_group_news",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    *_keys("row_key"),
    sa.Column("record", sa.LargeBinary),
    sa.Column("seq", sa.BigInteger, nullable=False),
)
"""Rows that posts of groups do not show yet. One without a record has left the group."""

GROUP_INDEX = sa.Table(
    "harkster_group_index",
    METADATA,
    # In SQLite an INTEGER key is the row number itself and takes no room.
    sa.Column("row", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("record", sa.BigInteger, nullable=False),
)
"""By the hash of a row's key: its group, and the hash of its record when last seen."""

GROUP_TIMES = sa.Table(
    "harkster_group_times",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("changed_at", sa.Float, nullable=False),
)
"""When a group last got a row that is new or changed, in seconds since the epoch."""

GROUP_SCHEMAS = sa.Table(
    "harkster_group_schemas",
    METADATA,
    *_keys("channel", "stream"),
    sa.Column("content", sa.LargeBinary, nullable=False),
)
"""The SCHEMAs of digests, so that waiting ones can be made without their tap."""

LOOKUPS = sa.Table(
    "harkster_lookups", METADATA, *_keys("stream", "key"), sa.Column("record", sa.LargeBinary, nullable=False)
)
"""The rows of lookup streams."""

LEASES = sa.Table(
    "harkster_leases", METADATA, *_keys("channel"), *_texts("owner"), sa.Column("until", sa.Float, nullable=False)
)
"""Which run has locked a channel in PostgreSQL, and until when by the clock of the database."""

REJECTS = sa.Table(
    "harkster_rejects",
    METADATA,
    # The row is a hash: a key may be too long for an index.
    *_keys("channel", "stream", "row", "kind"),
    sa.Column("key", sa.Text),
    sa.Column("field", sa.Text),
    *_texts("reason"),
    sa.Column("content", sa.LargeBinary, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("changed_at", sa.Float, nullable=False),
)
"""What could not be posted. Rows are kept with their content; posts and digests are elsewhere in the ledger."""

RUNS = sa.Table(
    "harkster_runs",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("started_at", sa.Float, nullable=False),
    sa.Column("ended_at", sa.Float),
    *(sa.Column(count, sa.Integer, nullable=False) for count in ("rows", "posted", "updated", "deleted", "rejected")),
    *_texts("quota", "ended"),
)
"""The runs and how each ended. A run without an end still goes on or was cut off."""
