"""Keeps what could not be posted: durable before any STATE behind it, tried again later, struck out when done."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa
from singer_http.http.errors import FatalError
from singer_sdk.contrib.msgspec import decoder, encoder

from target_harkster.ledger.database import put
from target_harkster.ledger.keys import spellings
from target_harkster.ledger.model import EARLIER, REJECTS, UNVERSIONED
from target_harkster.ledger.redaction import REDACTED

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from singer_http.http.clock import Clock

    from target_harkster.ledger.database import Database
    from target_harkster.ledger.redaction import Redaction

Kind = Literal["row", "stray", "post", "aside"]
"""``row``: a row. ``stray``: a row that names no allowed channel. ``post``: a post in the ledger that the API refused.
``aside``: a post in the ledger that is set aside, because the API fails on it."""
RejectId = tuple[str, str, str, Kind]
"""What a reject is known by: channel, stream, what stands for the key, and kind. There is one of each."""


class TooManyRejectsError(FatalError):
    """Too many rows were rejected: something other than the rows must be wrong."""


@dataclass(frozen=True, slots=True)
class Reject:
    """A row, or a digest, that could not be posted.

    Attributes:
        channel: Where it was to be posted; of a stray the first channel of its stream.
        stream: Of the row.
        key: Of the row, as JSON; None where it has none.
        kind: See :data:`Kind`.
        field: Id of the field or name of the property that is wrong, if it is one.
        reason: What is wrong, without the value.
        record: The row; None where the ledger has it elsewhere, as of a digest.
        redacted: The properties of it that were blacked out, and keep it from being tried again.
        schema: What the row was checked against, so that it can be tried again without its tap.
        key_properties: The primary key of its stream.
        first_run: What becomes of the row when it can be posted: ``publish``, ``draft`` or ``baseline``.
        version: The table version that the row was last seen in.
        changed_at: When it was rejected, in seconds since the epoch.
        key_columns: What the key is made of: nothing where it is the whole row, None where that is not known.
        row: What stands for the key: short, and for a row without one made of the whole of it.
    """

    channel: str
    stream: str
    key: str | None
    kind: Kind
    field: str | None
    reason: str
    record: Mapping[str, Any] | None = None
    redacted: Sequence[str] = ()
    schema: Mapping[str, Any] | None = None
    key_properties: Sequence[str] = ()
    first_run: str = "publish"
    version: int = UNVERSIONED
    changed_at: float = 0.0
    key_columns: Sequence[str] | None = None
    row: str = ""

    def __post_init__(self) -> None:
        if not self.row:
            made_of = encoder.encode(self.record).decode() if self.key is None else self.key
            object.__setattr__(self, "row", row_of(made_of))

    @property
    def id(self) -> RejectId:
        """What it is known by."""
        return self.channel, self.stream, self.row, self.kind

    @property
    def sentence(self) -> str:
        """The reason as a sentence without a full stop."""
        return f"{self.field or 'it'} {self.reason}"

    def without(self, redaction: Redaction) -> Reject:
        """The reject without the values of some properties, in its key too."""
        if not redaction.names:
            return self
        hidden = sorted({*self.redacted, *redaction.found(self.record)})
        return replace(
            self, key=self._key_without(redaction), record=redaction.blacked_out(self.record), redacted=hidden
        )

    def _key_without(self, redaction: Redaction) -> str | None:
        if self.key is None:
            return None
        if self.key_columns is None:
            return REDACTED
        values = decoder.decode(self.key)
        if isinstance(values, list):
            values = dict(zip(self.key_columns, values, strict=True))
            return encoder.encode([*redaction.blacked_out(values).values()]).decode()
        return encoder.encode(redaction.blacked_out(values)).decode()

    def line(self) -> bytes:
        """The reject as JSON, as it is exported."""
        columns = {name: getattr(self, name) for name in _EXPORTED}
        return encoder.encode(columns)


_EXPORTED = ("channel", "stream", "key", "kind", "field", "reason", "record", "redacted", "schema", "key_properties")
_CONTENT = ("record", "redacted", "schema", "key_properties", "first_run", "key_columns")
_COLUMNS = ("channel", "stream", "row", "key", "kind", "field", "reason", "version", "changed_at")
_KEPT = sa.select(*(REJECTS.c[name] for name in (*_COLUMNS, "content"))).order_by(
    REJECTS.c.changed_at, REJECTS.c.stream, REJECTS.c.row
)
_KEPT_OF_CHANNEL = _KEPT.where(REJECTS.c.channel == sa.bindparam("channel"))


def row_of(key: str) -> str:
    """The hash of a key, which may be too long for an index."""
    return blake2b(key.encode(), digest_size=16).hexdigest()


@dataclass(slots=True)
class _Changes:
    added: dict[RejectId, Reject] = field(default_factory=dict)
    struck: set[RejectId] = field(default_factory=set)


@dataclass(slots=True, eq=False)
class Rejects:
    """The rejects of the channels that a run has locked.

    Attributes:
        redaction: Of the properties whose values are not kept.
        superseded: By stream, how many rows of this run were rejected and came again.
    """

    database: Database
    clock: Clock
    redaction: Redaction
    superseded: Counter[str] = field(default_factory=Counter, init=False)
    _standing: dict[tuple[str, str], dict[RejectId, Reject]] = field(default_factory=dict, init=False)
    _earlier: dict[RejectId, None] = field(default_factory=dict, init=False)
    _own: dict[RejectId, None] = field(default_factory=dict, init=False)
    _changes: _Changes = field(default_factory=_Changes, init=False)

    @property
    def earlier(self) -> list[Reject]:
        """The rejects of earlier runs that still stand."""
        return [self._standing[one[1:3]][one] for one in self._earlier]

    @property
    def rejected(self) -> Counter[str]:
        """By stream, how many rows of this run are rejected."""
        return Counter(stream for _, stream, _, _ in self._own)

    @property
    def count(self) -> int:
        """How many rows of this run are rejected."""
        return len(self._own)

    def load(self, channel: str) -> None:
        """Load the rejects of a channel that this run has locked."""
        for kept in self._kept(channel):
            reject = kept.without(self.redaction)
            if reject != kept:  # it was rejected before something of it was to be left out
                self._changes.added[reject.id] = reject
            self._standing.setdefault((reject.stream, reject.row), {})[reject.id] = reject
            self._earlier[reject.id] = None

    def stored(self, channel: str | None = None) -> Iterator[Reject]:
        """What is durable of a channel, or of all: oldest first, and without what is to be left out."""
        yield from (reject.without(self.redaction) for reject in self._kept(channel))

    def _kept(self, channel: str | None) -> Iterator[Reject]:
        for row in self.database.rows(_KEPT if channel is None else _KEPT_OF_CHANNEL, {"channel": channel}):
            columns = dict(row._mapping)  # noqa: SLF001 - the documented way to the columns by name
            yield Reject(**columns | decoder.decode(columns.pop("content")))

    def has(self, reject_id: RejectId) -> bool:
        """Whether there is a reject."""
        return reject_id in self._standing.get(reject_id[1:3], ())

    def has_row(self, stream: str, key: str) -> bool:
        """Whether a row is rejected, in whatever channel of its stream."""
        return any(reject_id[3] in {"row", "stray"} for reject_id in self._standing.get((stream, row_of(key)), ()))

    def add(self, reject: Reject) -> None:
        """Take a reject of this run. It replaces an older one of the same row, and is durable after :meth:`sync`."""
        self.keep(reject)
        self._own[reject.without(self.redaction).id] = None

    def keep(self, reject: Reject) -> None:
        """Take a reject like :meth:`add`, whose row did not come in this run."""
        reject = replace(reject.without(self.redaction), changed_at=self.clock.time())
        self.strike(reject.id)
        self._standing.setdefault((reject.stream, reject.row), {})[reject.id] = reject
        self._changes.added[reject.id] = reject

    def came_again(self, stream: str, key: str, channels: Collection[str], kinds: Collection[Kind]) -> None:
        """Strike out the rejects of a row that came again, in all channels of its stream."""
        if self._standing:
            rows = [row_of(spelling) for spelling in spellings(key)]
            for reject_id in [known for row in rows for known in self._standing.get((stream, row), ())]:
                if reject_id[0] in channels and reject_id[3] in kinds:
                    self.strike(reject_id)

    def begin_table(self, stream: str, channels: Collection[str]) -> None:
        """Note that a table is being sent with its version: rows that came without one belong to no table."""
        for reject in self._rows_of(stream, channels):
            if reject.version == UNVERSIONED:
                self._reversion(reject, EARLIER)

    def judge(self, stream: str, channels: Collection[str], version: int) -> None:
        """Strike out the rows that are not in a table that was read completely."""
        for reject in self._rows_of(stream, channels):
            if reject.version not in {version, UNVERSIONED}:
                self.strike(reject.id)
            elif reject.version == UNVERSIONED:
                self._reversion(reject, version)

    def _rows_of(self, stream: str, channels: Collection[str]) -> list[Reject]:
        return [
            one
            for found in self._standing.values()
            for one in found.values()
            if one.stream == stream and one.channel in channels and one.kind in {"row", "stray"}
        ]

    def _reversion(self, reject: Reject, version: int) -> None:
        seen = self._changes.added[reject.id] = replace(reject, version=version)
        self._standing[reject.stream, reject.row][reject.id] = seen

    def strike(self, *ids: RejectId) -> None:
        """Strike rejects out. They leave the database with :meth:`sync`."""
        for reject_id in ids:
            found = self._standing.get(reject_id[1:3], {})
            if found.pop(reject_id, None) is not None:
                self._changes.struck.add(reject_id)
                if not found:
                    del self._standing[reject_id[1:3]]
            self._changes.added.pop(reject_id, None)
            self._earlier.pop(reject_id, None)
            if reject_id in self._own:
                del self._own[reject_id]
                self.superseded[reject_id[1]] += 1

    def sync(self) -> None:
        """Make all changes durable in one step."""
        changes, self._changes = self._changes, _Changes()
        if not changes.added and not changes.struck:
            return
        with self.database.transaction() as connection:
            for channel, stream, row, kind in changes.struck - changes.added.keys():
                here = sa.and_(REJECTS.c.channel == channel, REJECTS.c.stream == stream, REJECTS.c.row == row)
                connection.execute(REJECTS.delete().where(here, REJECTS.c.kind == kind))
            put(connection, REJECTS, [_row(reject) for reject in changes.added.values()])


def _row(reject: Reject) -> dict[str, Any]:
    content = encoder.encode({name: getattr(reject, name) for name in _CONTENT})
    row = {name: getattr(reject, name) for name in _COLUMNS} | {"content": content}
    # PostgreSQL stores no NUL, which the name of a property may have.
    return row | {name: text and text.replace("\0", "\\u0000") for name in ("field", "reason") if (text := row[name])}
