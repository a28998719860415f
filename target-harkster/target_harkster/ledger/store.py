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
from singer_http.http.errors import ApiError, ConfigurationError, FatalError
from sqlalchemy.dialects import postgresql, sqlite

from target_harkster.ledger.digests import Digests
from target_harkster.ledger.migrations import migrate
from target_harkster.ledger.model import DOUBTS, GROUP_NEWS, POSTS, STREAMS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from singer_http.http.clock import Clock

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
    RENEWING = "renewing"
    """The draft is to be deleted, or perhaps was, and another one takes its place."""
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


UNFINISHED = (
    Phase.DEFERRED,
    Phase.INTENT,
    Phase.DRAFT,
    Phase.PUBLISHING,
    Phase.RENEWING,
    Phase.UPDATING,
    Phase.DELETING,
)
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
            self._seq = self._last_seq()
            self.commit()
        except (sa.exc.SQLAlchemyError, sqlite3.Error, ImportError) as error:
            raise _unusable(error) from None
        self.digests = Digests(self)
        """The rows of digests."""

    def _last_seq(self) -> int:
        query = sa.union_all(sa.select(sa.func.max(POSTS.c.seq)), sa.select(sa.func.max(GROUP_NEWS.c.seq)))
        return max(last or 0 for last in self._connection.execute(query).scalars())

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
            held = self.execute(sa.select(sa.func.pg_try_advisory_lock(number))).scalar()
            self.commit()
        elif self._url.database in {None, "", ":memory:"}:
            held = True
        else:
            # The id is the vendor's, and not every text is the name of a file; a link names the same file.
            digest = blake2b(channel.encode(), digest_size=8).hexdigest()
            lock = filelock.FileLock(f"{Path(str(self._url.database)).resolve()}.{digest}.lock")
            try:
                self._locks.enter_context(lock.acquire(blocking=False))
                held = True
            except filelock.Timeout:
                held = False
        if not held:
            raise LedgerError(f"Another run writes to the channel {channel}: wait until it has ended.")
        # Whoever held it until now may have written since this ledger was opened.
        self._seq = max(self._seq, self._last_seq())

    def next_seq(self) -> int:
        """The place of one more post."""
        self._seq += 1
        return self._seq

    def find(self, channel: str, markers: Sequence[str]) -> dict[str, Entry]:
        """What is known of some posts, by marker."""
        found: dict[str, Entry] = {}
        for start in range(0, len(markers), LOOK_UP):
            some = markers[start : start + LOOK_UP]
            rows = self.execute(_FIND, {"channel": channel, "markers": some})
            found |= {row[1]: _entry(row) for row in rows}
        return found

    def sources(self, channel: str, markers: Sequence[str]) -> dict[str, str]:
        """What the posts that are known, and not deleted, were made of last, by marker."""
        found: dict[str, str] = {}
        for start in range(0, len(markers), LOOK_UP):
            rows = self.execute(_SOURCES, {"channel": channel, "markers": markers[start : start + LOOK_UP]})
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
        for row in self.execute(query).all():
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
            self.put(POSTS, rows)
            self.commit()

    def forget(self, entry: Entry) -> None:
        """Strike an entry out, and make that durable."""
        self.execute(
            POSTS.delete().where(POSTS.c.channel == entry.channel, POSTS.c.marker == entry.marker),
        )
        self.commit()

    def is_empty(self, channel: str) -> bool:
        """Whether nothing at all is known of a channel."""
        return self.execute(sa.select(POSTS.c.marker).where(POSTS.c.channel == channel).limit(1)).first() is None

    # Streams

    def claim(self, stream: str, prefix: str) -> None:
        """Name the stream of the posts that were found by their markers alone."""
        of_stream = sa.and_(POSTS.c.stream == "", POSTS.c.marker.startswith(prefix, autoescape=True))
        self.execute(POSTS.update().where(of_stream).values(stream=stream))
        self.commit()

    def is_settled(self, stream: str, channel: str) -> bool:
        """Whether the first run of a stream into a channel is over."""
        query = sa.select(STREAMS.c.stream).where(STREAMS.c.stream == stream, STREAMS.c.channel == channel)
        return self.execute(query).first() is not None

    def settle(self, stream: str, channel: str) -> None:
        """Note that the first run of a stream into a channel is over."""
        self.put(STREAMS, [{"channel": channel, "stream": stream}])
        self.commit()

    def touch(self, channels: Sequence[str], markers: Sequence[str], version: int) -> None:
        """Note that rows were seen in a version of their table."""
        for start in range(0, len(markers), LOOK_UP):
            here = sa.and_(POSTS.c.channel.in_(channels), POSTS.c.marker.in_(markers[start : start + LOOK_UP]))
            self.execute(POSTS.update().where(here).values(version=version))
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
        total = self.execute(sa.select(sa.func.count()).select_from(query.subquery())).scalar() or 0
        unseen = sa.or_(POSTS.c.version.is_(None), POSTS.c.version != version)
        rows = self.execute(query.where(unseen).order_by(POSTS.c.seq)).all()
        return [_entry(row) for row in rows], total

    # Doubts

    def doubt(self, channel: str) -> None:
        """Note that a draft may turn up in a channel that nobody was told of."""
        self.put(DOUBTS, [{"channel": channel, "since": self._clock.time()}])
        self.commit()

    def in_doubt(self, channel: str) -> float | None:
        """Since how many seconds a channel has been in doubt; None if it is not."""
        since = self.execute(sa.select(DOUBTS.c.since).where(DOUBTS.c.channel == channel)).scalar()
        return None if since is None else self._clock.time() - since

    def trust(self, channel: str) -> None:
        """Note that a channel is in doubt no longer."""
        self.execute(DOUBTS.delete().where(DOUBTS.c.channel == channel))
        self.commit()

    # The database

    def put(
        self, table: sa.Table, rows: Sequence[Mapping[str, Any]], key: Sequence[str] = (), kept: Sequence[str] = ()
    ) -> None:
        """Insert rows, or change those of the same key; :meth:`commit` makes it durable.

        Args:
            table: Where to.
            rows: All with the same columns.
            key: The primary key if empty.
            kept: Columns that are left as they are.
        """
        if not rows:
            return
        insert = _INSERTS[self._is_sqlite](table)
        key = key or [column.name for column in table.primary_key]
        rest = {name: insert.excluded[name] for name in rows[0] if name not in key and name not in kept}
        if rest:
            self.execute(insert.on_conflict_do_update(index_elements=key, set_=rest), rows)
        else:
            self.execute(insert.on_conflict_do_nothing(index_elements=key), rows)

    def execute(self, statement: sa.Executable, parameters: Any = None) -> sa.CursorResult[Any]:
        """Put a question to the database.

        Raises:
            LedgerError: It cannot be answered.
        """
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
