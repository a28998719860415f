"""The ledger: what was posted, what is under way, and what waits. Nothing is done twice because it is asked first."""

from __future__ import annotations

import contextlib
import enum
import sqlite3
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import sqlalchemy as sa
from singer_http.errors import ApiError, ConfigurationError, FatalError
from sqlalchemy.dialects import postgresql, sqlite

from target_harkster.tables import DIGEST_ROWS, DIGESTS, POSTS, STREAMS, migrate

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from singer_http.clock import Clock

LOOK_UP = 500
"""Markers in one question to the database: SQLite allows 999 variables in its oldest versions."""


class Phase(str, enum.Enum):
    """How far a post has come."""

    DEFERRED = "deferred"
    """Nothing was sent: it waits for the quota."""
    INTENT = "intent"
    """A draft is to be created, or perhaps was."""
    DRAFT = "draft"
    """There is a draft: it waits for the quota, or for people where it is held."""
    PUBLISHING = "publishing"
    """The draft is to be published, or perhaps was."""
    PUBLISHED = "published"
    UPDATING = "updating"
    """The post is to get new content, or perhaps has."""
    DELETING = "deleting"
    """The post is to be deleted, or perhaps was."""
    DELETED = "deleted"
    """Its row is gone, and so is the post."""
    BASELINE = "baseline"
    """The row was there before the first run, and is not posted."""
    REMOVED = "removed"
    """People have deleted the post: it is not posted again."""


UNFINISHED = (Phase.DEFERRED, Phase.INTENT, Phase.DRAFT, Phase.PUBLISHING, Phase.UPDATING, Phase.DELETING)
"""Phases in which there is something left to do; of drafts, those that are not held."""


@dataclass(slots=True)
class Entry:
    """What is known of the post of a row; see the table for the columns.

    Attributes:
        hash: Of the content that the post has, or is to get.
        source: Of the row and the layout that the content was made of last: while it is the same, so is the content.
        content: That content, as JSON, for as long as it is not delivered.
        seq: Orders the posts of a channel, oldest first.
        held: The draft is left for people to publish.
        changed_at: When the entry was last written, in seconds since the epoch.
    """

    channel: str
    marker: str
    stream: str
    key: str
    phase: Phase
    hash: str
    seq: int
    post_id: str | None = None
    content: bytes | None = None
    version: int | None = None
    held: bool = False
    source: str = ""
    changed_at: float = 0.0


class LedgerError(FatalError):
    """The ledger cannot be used."""


class Ledger:
    """A ledger in a database.

    Args:
        url: Of the database.
        clock: Dates the changes.
        is_dry: Nothing is kept: a dry run sees its own changes and takes them back.

    Raises:
        LedgerError: The database cannot be used.
    """

    def __init__(self, url: str, clock: Clock, *, is_dry: bool = False) -> None:
        self._clock = clock
        self._is_dry = is_dry
        self._locks = contextlib.ExitStack()
        try:
            self._url = sa.make_url(url)
            if self._url.drivername == "postgresql":
                self._url = self._url.set(drivername="postgresql+psycopg")
            self._is_sqlite = self._url.get_backend_name() == "sqlite"
            # One connection for all: a lock that it holds cannot be lost without the next step failing.
            self._connection = self._connected()
            migrate(self._connection)
            self.commit()
            self._seq: int = self._connection.execute(sa.select(sa.func.max(POSTS.c.seq))).scalar() or 0
        except (sa.exc.SQLAlchemyError, sqlite3.Error, ImportError) as error:
            raise _unusable(error) from None

    def _connected(self) -> sa.Connection:
        path = self._url.database
        if not self._is_sqlite:
            return sa.create_engine(self._url, poolclass=sa.NullPool, hide_parameters=True).connect()
        if self._is_dry and path and path != ":memory:":
            memory = sqlite3.connect(":memory:", check_same_thread=False)
            if Path(path).exists():
                # Where nobody writes, without the files beside it that even a reader would make.
                access = "mode=ro" if Path(f"{path}-wal").exists() else "mode=ro&immutable=1"
                uri = f"{Path(path).absolute().as_uri()}?{access}"
                with contextlib.closing(sqlite3.connect(uri, uri=True)) as source:
                    source.backup(memory)
            return sa.create_engine("sqlite://", creator=lambda: memory, poolclass=sa.StaticPool).connect()
        connection = sa.create_engine(self._url, poolclass=sa.StaticPool, hide_parameters=True).connect()
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        connection.exec_driver_sql("PRAGMA synchronous=FULL")
        return connection

    def close(self) -> None:
        """Let go of the database and of the channels."""
        self._locks.close()
        self._connection.rollback()
        self._connection.close()
        self._connection.engine.dispose()

    def commit(self) -> None:
        """Make all that was written durable."""
        if not self._is_dry or self._is_sqlite:
            self._connection.commit()

    def hold(self, channel: str) -> None:
        """Be the only writer of a channel, until the ledger is closed.

        Raises:
            LedgerError: Another one is.
        """
        if self._is_dry:
            return
        if not self._is_sqlite:
            number = int.from_bytes(blake2b(f"harkster {channel}".encode(), digest_size=8).digest(), "big", signed=True)
            held = self._execute(sa.select(sa.func.pg_try_advisory_lock(number))).scalar()
            self.commit()
        elif self._url.database in {None, "", ":memory:"}:
            held = True
        else:
            lock = filelock.FileLock(f"{self._url.database}.{channel}.lock")
            try:
                self._locks.enter_context(lock.acquire(blocking=False))
                held = True
            except filelock.Timeout:
                held = False
        if not held:
            raise LedgerError(f"Another run writes to the channel {channel}: wait until it has ended.")

    def next_seq(self) -> int:
        """The place of one more post."""
        self._seq += 1
        return self._seq

    def find(self, channel: str, markers: Sequence[str]) -> dict[str, Entry]:
        """What is known of some posts, by marker."""
        found: dict[str, Entry] = {}
        for start in range(0, len(markers), LOOK_UP):
            some = markers[start : start + LOOK_UP]
            rows = self._execute(_FIND, {"channel": channel, "markers": some})
            found |= {row[1]: _entry(row) for row in rows}
        return found

    def sources(self, channel: str, markers: Sequence[str]) -> dict[str, str]:
        """What the posts that are known, and not deleted, were made of last, by marker."""
        found: dict[str, str] = {}
        for start in range(0, len(markers), LOOK_UP):
            rows = self._execute(_SOURCES, {"channel": channel, "markers": markers[start : start + LOOK_UP]})
            found.update(rows.tuples().all())
        return found

    def entries(self, channel: str | None = None, phases: Iterable[Phase] | None = None) -> Iterator[Entry]:
        """Posts in the order in which they came.

        Args:
            channel: Of this channel only.
            phases: In these phases only.
        """
        query = _SELECT.order_by(POSTS.c.seq)
        if channel is not None:
            query = query.where(POSTS.c.channel == channel)
        if phases is not None:
            query = query.where(POSTS.c.phase.in_([phase.value for phase in phases]))
        for row in self._execute(query).all():
            yield _entry(row)

    def unfinished(self, channel: str) -> list[Entry]:
        """The posts of a channel with something left to do, oldest first."""
        return [
            entry for entry in self.entries(channel, UNFINISHED) if not entry.held or entry.phase is not Phase.DRAFT
        ]

    def save(self, *entries: Entry) -> None:
        """Write entries, new or known, and make them durable."""
        if entries:
            now = self._clock.time()
            rows = [{**asdict(entry), "phase": entry.phase.value, "changed_at": now} for entry in entries]
            self._put(POSTS, rows)
            self.commit()

    def forget(self, entry: Entry) -> None:
        """Strike an entry out, and make that durable."""
        self._execute(
            POSTS.delete().where(POSTS.c.channel == entry.channel, POSTS.c.marker == entry.marker),
        )
        self.commit()

    def is_empty(self, channel: str) -> bool:
        """Whether nothing at all is known of a channel."""
        return self._execute(sa.select(POSTS.c.marker).where(POSTS.c.channel == channel).limit(1)).first() is None

    # Streams

    def claim(self, stream: str, prefix: str) -> None:
        """Name the stream of the posts that were found by their markers alone."""
        of_stream = sa.and_(POSTS.c.stream == "", POSTS.c.marker.startswith(prefix, autoescape=True))
        self._execute(POSTS.update().where(of_stream).values(stream=stream))
        self.commit()

    def is_settled(self, stream: str, channel: str) -> bool:
        """Whether the first run of a stream into a channel is over."""
        query = sa.select(STREAMS.c.stream).where(STREAMS.c.stream == stream, STREAMS.c.channel == channel)
        return self._execute(query).first() is not None

    def settle(self, stream: str, channel: str) -> None:
        """Note that the first run of a stream into a channel is over."""
        self._put(STREAMS, [{"channel": channel, "stream": stream}])
        self.commit()

    def touch(self, channel: str, markers: Sequence[str], version: int) -> None:
        """Note that rows were seen in a version of their table."""
        for start in range(0, len(markers), LOOK_UP):
            here = POSTS.c.marker.in_(markers[start : start + LOOK_UP])
            self._execute(POSTS.update().where(POSTS.c.channel == channel, here).values(version=version))
        self.commit()

    def gone(self, stream: str, version: int, channels: Collection[str]) -> tuple[list[Entry], int]:
        """The posts of a stream whose rows were not seen in a version of the table, and how many posts there are.

        Args:
            stream: Of the posts.
            version: Of the table.
            channels: Posts in other channels are left out of both.
        """
        over = [phase.value for phase in (Phase.DELETED, Phase.REMOVED)]
        query = _SELECT.where(POSTS.c.stream == stream, POSTS.c.channel.in_(channels), POSTS.c.phase.not_in(over))
        total = self._execute(sa.select(sa.func.count()).select_from(query.subquery())).scalar() or 0
        unseen = sa.or_(POSTS.c.version.is_(None), POSTS.c.version != version)
        rows = self._execute(query.where(unseen).order_by(POSTS.c.seq)).all()
        return [_entry(row) for row in rows], total

    # Digests

    def add_rows(self, stream: str, rows: Sequence[tuple[str, str, str, str, bytes]]) -> None:
        """Keep rows of groups, each as channel, marker, key of the group, key of the row, and record."""
        known: dict[tuple[str, str, str], tuple[bytes, int]] = {}
        for start in range(0, len(rows), LOOK_UP):
            some = rows[start : start + LOOK_UP]
            query = sa.select(DIGEST_ROWS).where(
                DIGEST_ROWS.c.marker.in_({row[1] for row in some}), DIGEST_ROWS.c.row_key.in_({row[3] for row in some})
            )
            known |= {(row[0], row[1], row[2]): (row[3], row[4]) for row in self._execute(query)}
        changed = {}
        for channel, marker, key, row_key, record in rows:
            before = known.get((channel, marker, row_key))
            if before is None or before[0] != record:
                changed[channel, marker, row_key] = (record, before[1] if before else self.next_seq(), key)
        self._put(
            DIGEST_ROWS,
            [
                {"channel": at[0], "marker": at[1], "row_key": at[2], "record": record, "seq": seq}
                for at, (record, seq, _) in changed.items()
            ],
        )
        groups = {(at[0], at[1]): key for at, (_, _, key) in changed.items()}
        self._put(
            DIGESTS,
            [
                {"channel": channel, "marker": marker, "stream": stream, "key": key, "changed": True}
                for (channel, marker), key in groups.items()
            ],
        )
        self.commit()

    def changed_digests(self, stream: str) -> list[tuple[str, str, str]]:
        """The groups of a stream whose posts do not show all rows: channel, marker and key, oldest first."""
        query = sa.select(DIGESTS.c.channel, DIGESTS.c.marker, DIGESTS.c.key)
        rows = sa.select(sa.func.min(DIGEST_ROWS.c.seq)).where(
            DIGEST_ROWS.c.channel == DIGESTS.c.channel, DIGEST_ROWS.c.marker == DIGESTS.c.marker
        )
        query = query.where(DIGESTS.c.stream == stream, DIGESTS.c.changed).order_by(rows.scalar_subquery())
        return [(row[0], row[1], row[2]) for row in self._execute(query)]

    def rows_of(self, channel: str, marker: str) -> list[bytes]:
        """The rows of a group, in the order in which they first came."""
        query = sa.select(DIGEST_ROWS.c.record).where(DIGEST_ROWS.c.channel == channel, DIGEST_ROWS.c.marker == marker)
        return [bytes(row[0]) for row in self._execute(query.order_by(DIGEST_ROWS.c.seq))]

    def shown(self, channel: str, marker: str) -> None:
        """Note that the post of a group shows all its rows."""
        here = sa.and_(DIGESTS.c.channel == channel, DIGESTS.c.marker == marker)
        self._execute(DIGESTS.update().where(here).values(changed=False))
        self.commit()

    # The database

    def _put(self, table: sa.Table, rows: Sequence[dict[str, Any]]) -> None:
        """Insert rows, or replace those of the same key."""
        if not rows:
            return
        insert = _INSERTS[self._is_sqlite](table)
        key = [column.name for column in table.primary_key]
        rest = {column.name: insert.excluded[column.name] for column in table.columns if column.name not in key}
        if rest:
            self._execute(insert.on_conflict_do_update(index_elements=key, set_=rest), rows)
        else:
            self._execute(insert.on_conflict_do_nothing(index_elements=key), rows)

    def _execute(self, statement: sa.Executable, parameters: Any = None) -> sa.CursorResult[Any]:
        try:
            return self._connection.execute(statement, parameters)
        except sa.exc.SQLAlchemyError as error:
            raise _unusable(error) from None


_INSERTS: tuple[Any, Any] = (postgresql.insert, sqlite.insert)

_SELECT = sa.select(
    POSTS.c.channel,
    POSTS.c.marker,
    POSTS.c.stream,
    POSTS.c.key,
    POSTS.c.phase,
    POSTS.c.hash,
    POSTS.c.seq,
    POSTS.c.post_id,
    POSTS.c.content,
    POSTS.c.version,
    POSTS.c.held,
    POSTS.c.source,
    POSTS.c.changed_at,
)
_SOURCES = sa.select(POSTS.c.marker, POSTS.c.source).where(
    POSTS.c.channel == sa.bindparam("channel"),
    POSTS.c.marker.in_(sa.bindparam("markers", expanding=True)),
    POSTS.c.phase != Phase.DELETED.value,
)
_FIND = _SELECT.where(
    POSTS.c.channel == sa.bindparam("channel"), POSTS.c.marker.in_(sa.bindparam("markers", expanding=True))
)


def _entry(row: Sequence[Any]) -> Entry:
    entry = Entry(*row)
    entry.phase = Phase(entry.phase)
    return entry


def _unusable(error: Exception) -> ApiError:
    if isinstance(error, sa.exc.ArgumentError | ImportError):
        return ConfigurationError(
            "ledger_url is not a URL of a database that can be used here: SQLite, or PostgreSQL where"
            " target-harkster[postgres] is installed."
        )
    cause = getattr(error, "orig", None) or error
    return LedgerError(f"The ledger cannot be used ({type(cause).__name__}); check ledger_url and the database.")
