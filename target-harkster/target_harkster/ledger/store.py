"""The ledger: what was posted, what is under way and what waits. A run asks it before each step."""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from target_harkster.ledger import statements
from target_harkster.ledger.database import Database, LedgerError, chunks, put
from target_harkster.ledger.digests import Digests
from target_harkster.ledger.history import History
from target_harkster.ledger.locks import FileLocks, Leases
from target_harkster.ledger.lookup_rows import LookupRows
from target_harkster.ledger.model import (
    CHANNEL_NAMES,
    EARLIER,
    FIRST_POSTS,
    GONE,
    KEYS,
    LATE_UPDATES,
    LOST_DRAFTS,
    POSTS,
    STREAMS,
    UNVERSIONED,
)
from target_harkster.ledger.phases import UNFINISHED, Phase

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from singer_http.http.clock import Clock


@dataclass(slots=True)
class Entry:
    """What the ledger knows of the post of a row.

    Attributes:
        hash: Of the content that the post has, or is to get.
        source: Of the row and the layout that the content was made of last: while it is the same, so is the content.
            Empty if that is not known, or if the row changes no post that is there (mode append).
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

    @property
    def waits(self) -> bool:
        """Whether the post waits for the quota, and nobody has seen it."""
        return self.phase in {Phase.DEFERRED, Phase.DRAFT} and not self.held

    @property
    def is_unseen(self) -> bool:
        """Whether nobody has seen the post: it waits, or has waited until its row went to another channel."""
        has_waited = self.phase is Phase.MOVING and self.content is not None
        return self.waits or self.phase is Phase.COUNTED or (has_waited and not self.held)


@dataclass(frozen=True, slots=True)
class LateUpdate:
    """A content that a lost request may still give a post.

    Attributes:
        hash: Of that content.
        since: When the request was given up, in seconds since the epoch.
        newest: Hash of what the post was given after it.
        content: The same, as JSON; None if nothing is known to have reached the post since.
    """

    hash: str
    since: float
    newest: str | None
    content: bytes | None


class Ledger:
    """A ledger in a database.

    Args:
        url: Of the database.
        clock: Dates the changes.
        is_dry: Nothing is kept: a dry run sees its own changes and takes them back.

    Attributes:
        database: The database.
        digests: The rows of digests.
        history: The runs.
        lookups: The rows that ids are looked up in.

    Raises:
        LedgerError: The database cannot be used.
    """

    def __init__(self, url: str, clock: Clock, *, is_dry: bool = False) -> None:
        self._clock = clock
        self.database = Database(url, is_dry=is_dry)
        self._locks = FileLocks(self.database.path) if self.database.is_sqlite else Leases(self.database, clock)
        self.history = History(self.database, clock)
        self.digests = Digests(self.database, clock)
        self.lookups = LookupRows(self.database)

    def close(self) -> None:
        """Free the channels and close the database."""
        self._locks.close()
        self.database.close()

    def lock(self, channel: str) -> None:
        """Lock a channel: be its only writer until the ledger is closed.

        Raises:
            LedgerError: Another one is.
        """
        if not self._locks.lock(channel):
            raise LedgerError(f"Another run writes to the channel {channel}: wait until it has ended.")
        # Another run may have written since this ledger was opened.
        self.database.catch_up()
        # Rows that a run only counted are new again.
        self.database.change(statements.UNCOUNT, {"channel": channel})
        # What it was about to change it may have sent.
        self.doubt_updates(*self.entries(channel, [Phase.UPDATING]))
        # Drafts are created one by one, oldest first: only one can have been cut off that is not in doubt yet.
        doubts = self.doubts(channel)
        begun = (entry.marker for entry in self.entries(channel, [Phase.INTENT]) if entry.marker not in doubts)
        self.doubt(channel, *itertools.islice(begun, 1))

    def next_seq(self) -> int:
        """The next number in the order of posts."""
        return self.database.next_seq()

    def find(self, channel: str, markers: Sequence[str]) -> dict[str, Entry]:
        """The entries of some markers."""
        found: dict[str, Entry] = {}
        for some in chunks(markers):
            rows = self.database.rows(statements.FIND, {"channel": channel, "markers": some})
            found |= {row[1]: _entry(row) for row in rows}
        return found

    def elsewhere(self, channels: Collection[str], markers: Sequence[str]) -> list[Entry]:
        """The posts, or future posts, of rows in these channels."""
        over = [phase.value for phase in (Phase.DELETING, Phase.DELETED, Phase.REMOVED)]
        found: list[Entry] = []
        for some in chunks(markers):
            query = sa.select(POSTS).where(
                POSTS.c.channel.in_(channels), POSTS.c.marker.in_(some), POSTS.c.phase.not_in(over)
            )
            found += map(_entry, self.database.rows(query))
        return found

    def sources(self, channel: str, markers: Sequence[str]) -> dict[str, str]:
        """The sources of known posts that are neither deleted nor left by their rows, by marker."""
        found: dict[str, str] = {}
        for some in chunks(markers):
            found.update(self.database.rows(statements.SOURCES, {"channel": channel, "markers": some}))  # type: ignore[arg-type]
        return found

    def entries(self, channel: str | None = None, phases: Iterable[Phase] = tuple(Phase)) -> Iterator[Entry]:
        """Posts in the order in which they came."""
        query = statements.ENTRIES if channel is None else statements.ENTRIES_OF_CHANNEL
        parameters = {"channel": channel, "phases": [phase.value for phase in phases]}
        yield from map(_entry, self.database.rows(query, parameters))

    def old_markers(self, prefix: str, channels: Collection[str]) -> set[str]:
        """The markers of a stream that an earlier version may have made of a key with numbers as text.

        They are told by the key. A post that was found by its marker has none before its row comes.
        """
        found: set[str] = set()
        for query in statements.OLD_MARKERS:
            rows = self.database.rows(query, {"channels": channels, "prefix": prefix})
            found.update((rows[0][0] or "").split())
        return found

    def keys(self, stream: str, channel: str) -> Iterator[tuple[str, str]]:
        """The keys of the posts of a stream in a channel, each with its marker."""
        query = sa.select(POSTS.c.key, POSTS.c.marker)
        for row in self.database.rows(query.where(POSTS.c.stream == stream, POSTS.c.channel == channel)):
            yield row[0], row[1]

    def unfinished(self, channel: str, streams: Collection[str] | None = None) -> list[Entry]:
        """The posts of some streams, or of all, in a channel with something left to do, oldest first."""
        return [
            entry
            for entry in self.entries(channel, UNFINISHED)
            if (streams is None or entry.stream in streams) and not (entry.held and entry.phase is Phase.DRAFT)
        ]

    def save(self, *entries: Entry) -> None:
        """Make entries durable, new or changed."""
        if entries:
            now = self._clock.time()
            rows = [{**asdict(entry), "phase": entry.phase.value, "changed_at": now} for entry in entries]
            with self.database.transaction() as connection:
                put(connection, POSTS, rows)

    def forget(self, channel: str, marker: str) -> None:
        """Delete an entry."""
        here = sa.and_(POSTS.c.channel == channel, POSTS.c.marker == marker)
        self.database.change(POSTS.delete().where(here))

    # Streams

    def streams(self, channel: str) -> dict[str, bool]:
        """The streams that runs with this ledger have brought to a channel.

        Returns:
            By stream, whether posts are known, and not only what is still to be done. Otherwise the ledger may never
            have seen its posts.
        """
        return {row[0]: bool(row[1]) for row in self.database.rows(statements.KNOWN_STREAMS, {"channel": channel})}

    def key_columns(self, stream: str, channel: str) -> str | None:
        """The columns by which a stream's posts, groups and rejects in a channel are known; None if there are none."""
        rows = self.database.rows(statements.KEY_COLUMNS, {"channel": channel, "stream": stream})
        return rows[0][0] if rows else None

    def note_key_columns(self, stream: str, channel: str, columns: str) -> None:
        """Note by which columns the posts of a stream in a channel are made."""
        with self.database.transaction() as connection:
            put(connection, KEYS, [{"channel": channel, "stream": stream, "columns": columns}])

    def channels_of(self, stream: str) -> set[str]:
        """Ids of the channels where the ledger knows posts of a stream, or future posts."""
        return {row[0] for row in self.database.rows(statements.CHANNELS, {"stream": stream})}

    def is_first_run_over(self, stream: str, channel: str) -> bool:
        """Whether the first run of a stream into a channel is over."""
        return bool(self.database.rows(statements.FIRST_RUN_OVER, {"channel": channel, "stream": stream}))

    def end_first_run(self, stream: str, channel: str) -> None:
        """Note that the first run of a stream into a channel is over."""
        with self.database.transaction() as connection:
            put(connection, STREAMS, [{"channel": channel, "stream": stream}])

    def first_posts(self, stream: str, channel: str) -> int:
        """How many posts the first run of a stream into a channel has made so far."""
        return sum(row[0] for row in self.database.rows(statements.MADE_FIRST, {"channel": channel, "stream": stream}))

    def add_first_posts(self, stream: str, channel: str, posts: int) -> None:
        """Count posts that the first run of a stream into a channel makes."""
        so_far = self.first_posts(stream, channel)
        with self.database.transaction() as connection:
            put(connection, FIRST_POSTS, [{"channel": channel, "stream": stream, "posts": so_far + posts}])

    def channel_of(self, name: str) -> str | None:
        """The channel that a name stood for when a run last used it; None if none did."""
        rows = self.database.rows(statements.NAMED, {"name": name})
        return rows[0][0] if rows else None

    def name_channel(self, name: str, channel: str) -> None:
        """Note which channel a name stands for."""
        with self.database.transaction() as connection:
            put(connection, CHANNEL_NAMES, [{"name": name, "channel": channel}])

    def touch(self, channels: Collection[str], markers: Iterable[str], version: int) -> None:
        """Note the table version in which rows were seen."""
        with self.database.transaction() as connection:
            for some in chunks(markers):
                here = sa.and_(POSTS.c.channel.in_(channels), POSTS.c.marker.in_(some))
                connection.execute(POSTS.update().where(here).values(version=version))

    def begin_table(self, stream: str, channels: Collection[str]) -> None:
        """Note that a table is being sent with its version: rows that came without one belong to no table."""
        self._reversion(stream, channels, EARLIER)

    def complete(self, stream: str, channels: Collection[str], version: int, *, is_mirrored: bool) -> None:
        """Note that a table version is complete. Rows that came without a version belong to it.

        In mode mirror, the others are gone.
        """
        if is_mirrored:
            seen = POSTS.c.version.in_((version, UNVERSIONED))
            of_stream = sa.and_(POSTS.c.stream == stream, POSTS.c.channel.in_(channels))
            unseen = sa.or_(POSTS.c.version.is_(None), sa.not_(seen))
            self.database.change(POSTS.update().where(of_stream, unseen).values(version=GONE))
        self._reversion(stream, channels, version)

    def _reversion(self, stream: str, channels: Collection[str], version: int) -> None:
        of_stream = sa.and_(POSTS.c.stream == stream, POSTS.c.channel.in_(channels), POSTS.c.version == UNVERSIONED)
        self.database.change(POSTS.update().where(of_stream).values(version=version))

    def gone(self, stream: str, channels: Collection[str]) -> tuple[list[Entry], int]:
        """The posts of a stream in these channels whose rows are gone, and the number of all its posts there."""
        over = [phase.value for phase in (Phase.DELETING, Phase.DELETED, Phase.REMOVED)]
        query = sa.select(POSTS).where(
            POSTS.c.stream == stream, POSTS.c.channel.in_(channels), POSTS.c.phase.not_in(over)
        )
        total = self.database.rows(sa.select(sa.func.count()).select_from(query.subquery()))[0][0]
        rows = self.database.rows(query.where(POSTS.c.version == GONE).order_by(POSTS.c.seq))
        return [_entry(row) for row in rows], total

    def forget_gone(self, channels: Collection[str], stream: str | None = None) -> None:
        """Forget which rows are gone: of a stream, or of all. A table that is complete tells it anew."""
        statement = statements.FORGET_GONE if stream is None else statements.FORGET_GONE_OF_STREAM
        self.database.change(statement, {"channels": channels, "of": stream})

    # Doubts

    def doubt(self, channel: str, *markers: str) -> None:
        """Note that drafts of lost requests may appear for posts."""
        now = self._clock.time()
        if markers:
            with self.database.transaction() as connection:
                put(connection, LOST_DRAFTS, [{"channel": channel, "marker": one, "since": now} for one in markers])

    def doubts(self, channel: str) -> dict[str, float]:
        """The posts of which drafts may still appear, by marker, and for how many seconds they have been in doubt."""
        now = self._clock.time()
        return {row[0]: now - row[1] for row in self.database.rows(statements.LOST_DRAFTS_OF, {"channel": channel})}

    def trust(self, channel: str, markers: Sequence[str]) -> None:
        """Note that no more drafts appear for posts."""
        for some in chunks(markers):
            here = sa.and_(LOST_DRAFTS.c.channel == channel, LOST_DRAFTS.c.marker.in_(some))
            self.database.change(LOST_DRAFTS.delete().where(here))

    def doubt_updates(self, *entries: Entry) -> None:
        """Note that lost requests may still give posts these contents."""
        now = self._clock.time()
        rows = [{"channel": one.channel, "marker": one.marker, "hash": one.hash, "since": now} for one in entries]
        if rows:
            with self.database.transaction() as connection:
                put(connection, LATE_UPDATES, rows)

    def note_newest(self, entry: Entry, content: bytes | None) -> None:
        """Keep the content of a post for as long as a lost request may replace it by an older one."""
        if self.database.rows(statements.IS_LATE, {"channel": entry.channel, "marker": entry.marker}):
            of_post = sa.and_(LATE_UPDATES.c.channel == entry.channel, LATE_UPDATES.c.marker == entry.marker)
            self.database.change(LATE_UPDATES.update().where(of_post).values(newest=entry.hash, content=content))

    def late_updates(self, channel: str) -> dict[str, list[LateUpdate]]:
        """What lost requests may still do to the posts of a channel, by marker."""
        found: dict[str, list[LateUpdate]] = {}
        for row in self.database.rows(statements.LATE_UPDATES_OF, {"channel": channel}):
            found.setdefault(row[1], []).append(LateUpdate(*row[2:]))
        return found

    def trust_updates(self, channel: str, age: float) -> None:
        """Forget the lost requests of so many seconds ago."""
        is_old = LATE_UPDATES.c.since < self._clock.time() - age
        self.database.change(LATE_UPDATES.delete().where(LATE_UPDATES.c.channel == channel, is_old))


def _entry(row: Sequence[Any]) -> Entry:
    entry = Entry(*row)
    entry.phase = Phase(entry.phase)
    return entry
