"""Keeps the rows of digests, as a later run may bring only some rows of a group. Packs them once the post shows them.

An unchanged row changes nothing. A changed row replaces its earlier version, however old its group is. A row that moved
to another group leaves the one where it was.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa
from singer_sdk.contrib.msgspec import decoder, encoder

from target_harkster.ledger.database import chunks, put
from target_harkster.ledger.keys import key_of, parts_of, spellings
from target_harkster.ledger.model import GROUP_INDEX, GROUP_NEWS, GROUP_SCHEMAS, GROUP_TIMES, GROUPS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from singer_http.http.clock import Clock

    from target_harkster.ledger.database import Database


@dataclass(frozen=True, slots=True)
class DigestRow:
    """A row on its way into a group.

    Attributes:
        stream: Where it comes from.
        channels: All channels that rows of the stream may go to.
        channel: The one that it goes to.
        marker: Of its group.
        key: Of its group, as JSON.
        row_key: Its own, as JSON.
        record: The row, as JSON; None for one that is gone, wherever it was.
    """

    stream: str
    channels: tuple[str, ...]
    channel: str
    marker: str
    key: str
    row_key: str
    record: bytes | None

    @property
    def number(self) -> int:
        """Its number in the index."""
        return row_number(self.channel, self.stream, self.row_key)

    @property
    def numbers(self) -> set[int]:
        """All that it may have: in any of the channels, and by its key as earlier versions may have written it."""
        keys = spellings(self.row_key)
        return {row_number(channel, self.stream, key) for channel in self.channels for key in keys}


@dataclass(frozen=True, slots=True)
class Digests:
    """The rows of digests."""

    database: Database
    clock: Clock

    def add(self, rows: Sequence[DigestRow]) -> None:
        """Keep rows, and make them durable."""
        if not rows:
            return
        latest = {(row.stream, row.row_key): row for row in rows}
        with self.database.transaction() as connection:
            seen = _seen(connection, {row.number for row in latest.values()})
            groups = _groups(connection, {row.marker for row in rows})
            if changed := [row for row in latest.values() if not _is_as_seen(row, seen, groups)]:
                self._add(connection, changed, seen, groups)

    def _add(
        self,
        connection: sa.Connection,
        changed: Sequence[DigestRow],
        seen: dict[int, tuple[int, int]],
        groups: dict[tuple[str, str], int],
    ) -> None:
        numbers = [(row.number, row.numbers) for row in changed]
        seen |= _seen(connection, {one for own, some in numbers for one in some - {own}})
        new = [
            {"channel": row.channel, "marker": row.marker, "stream": row.stream, "key": row.key}
            for row in changed
            if row.record is not None and (row.channel, row.marker) not in groups
        ]
        put(connection, GROUPS, new, ("channel", "marker"))
        groups |= _groups(connection, {row.marker for row in changed})
        news: list[dict[str, Any]] = []
        index: list[dict[str, Any]] = []
        left: set[int] = set()
        for row, (own, some) in zip(changed, numbers, strict=True):
            number = None if row.record is None else groups[row.channel, row.marker]
            left |= some & seen.keys()
            was = {seen[one] for one in some & seen.keys()}
            news += [self._new(other, row.row_key, None) for other in {group for group, _ in was} - {number}]
            if number is not None and row.record is not None:
                as_seen = (number, record_number(row.record))
                if {one for one in was if one[0] == number} != {as_seen}:
                    news.append(self._new(number, row.row_key, row.record))
                index.append({"row": own, "number": number, "record": as_seen[1]})
        # A row that is not shown yet keeps its place.
        put(connection, GROUP_NEWS, news, kept=("seq",))
        now = self.clock.time()
        put(connection, GROUP_TIMES, [{"number": at, "changed_at": now} for at in {new["number"] for new in news}])
        for part in chunks(left):
            connection.execute(GROUP_INDEX.delete().where(GROUP_INDEX.c.row.in_(part)))
        put(connection, GROUP_INDEX, index)

    def changed(self, stream: str) -> list[tuple[str, str, str]]:
        """The groups of a stream whose posts lack rows: channel, marker and key, oldest first."""
        return [(row[0], row[1], row[2]) for row in self.database.rows(_CHANGED, {"stream": stream})]

    def keep_schema(
        self, stream: str, channels: Collection[str], schema: Mapping[str, Any], key_properties: Sequence[str]
    ) -> None:
        """Keep the SCHEMA of a stream."""
        content = encoder.encode((schema, key_properties))
        with self.database.transaction() as connection:
            put(
                connection,
                GROUP_SCHEMAS,
                [{"channel": channel, "stream": stream, "content": content} for channel in channels],
            )

    def waiting(self) -> dict[str, tuple[dict[str, Any], list[str]]]:
        """The streams with groups whose posts lack rows, each with SCHEMA and primary key."""
        return {row[0]: decoder.decode(row[1]) for row in self.database.rows(_WAITING)}

    def rows(self, channel: str, marker: str) -> list[bytes]:
        """All rows of a group, in the order in which they first came."""
        with self.database.transaction() as connection:
            return list(_merged(connection, *_group(connection, channel, marker)).values())

    def quiet_for(self, channel: str, marker: str) -> float:
        """Seconds since a group last got a row that is new or changed."""
        now = self.clock.time()
        with self.database.transaction() as connection:
            here = GROUP_TIMES.c.number == _group(connection, channel, marker)[0]
            # A clock that was wrong once does not make the group wait until then.
            connection.execute(GROUP_TIMES.update().where(here, GROUP_TIMES.c.changed_at > now).values(changed_at=now))
            return now - (connection.scalar(sa.select(GROUP_TIMES.c.changed_at).where(here)) or 0.0)

    def shown(self, channel: str, marker: str) -> None:
        """Note that the post of a group shows all its rows, and pack them."""
        with self.database.transaction() as connection:
            number, packed = _group(connection, channel, marker)
            rows = _merged(connection, number, packed)
            connection.execute(GROUPS.update().where(GROUPS.c.number == number).values(rows=pack(rows)))
            connection.execute(GROUP_NEWS.delete().where(GROUP_NEWS.c.number == number))

    def distrust(self, channel: str, markers: Sequence[str]) -> None:
        """Note that posts may show newer rows than are known: only rows that come from now on change them."""
        lacking: list[str] = []
        with self.database.transaction() as connection:
            for some in chunks(markers):
                here = sa.and_(GROUPS.c.channel == channel, GROUPS.c.marker.in_(some))
                numbers = sa.select(GROUPS.c.number).where(here)
                connection.execute(GROUP_INDEX.update().where(GROUP_INDEX.c.number.in_(numbers)).values(record=0))
                has_news = GROUPS.c.number.in_(sa.select(GROUP_NEWS.c.number))
                lacking += connection.scalars(sa.select(GROUPS.c.marker).where(here, has_news))
        for marker in lacking:
            self.shown(channel, marker)

    def _new(self, number: int, row_key: str, record: bytes | None) -> dict[str, Any]:
        return {"number": number, "row_key": row_key, "record": record, "seq": self.database.next_seq()}


def _group(connection: sa.Connection, channel: str, marker: str) -> tuple[int, bytes | None]:
    row = connection.execute(_GROUP, {"channel": channel, "marker": marker}).one()
    return row[0], row[1]


def _merged(connection: sa.Connection, number: int, packed: bytes | None) -> dict[str, bytes]:
    rows = {_canonical(row_key): record for row_key, record in unpack(packed).items()}
    for row_key, record in connection.execute(_NEWS, {"number": number}):
        if record is None:
            rows.pop(_canonical(row_key), None)
        else:
            rows[_canonical(row_key)] = bytes(record)
    return rows


def _canonical(row_key: str) -> str:
    """The key of a row that an earlier version may have written in another way."""
    return key_of(parts_of(row_key)) if '"' in row_key else row_key


def _seen(connection: sa.Connection, numbers: Collection[int]) -> dict[int, tuple[int, int]]:
    """The last seen group and hash of rows, by their numbers."""
    found: dict[int, tuple[int, int]] = {}
    for some in chunks(numbers):
        found |= {row[0]: (row[1], row[2]) for row in connection.execute(_SEEN, {"rows": some})}
    return found


def _groups(connection: sa.Connection, markers: Collection[str]) -> dict[tuple[str, str], int]:
    """The numbers of groups, by channel and marker."""
    found: dict[tuple[str, str], int] = {}
    for some in chunks(markers):
        found |= {(row[0], row[1]): row[2] for row in connection.execute(_GROUPS, {"markers": some})}
    return found


_FIRST_NEWS = (
    sa.select(GROUP_NEWS.c.number, sa.func.min(GROUP_NEWS.c.seq).label("seq")).group_by(GROUP_NEWS.c.number).subquery()
)
_CHANGED = (
    sa.select(GROUPS.c.channel, GROUPS.c.marker, GROUPS.c.key)
    .join(_FIRST_NEWS, _FIRST_NEWS.c.number == GROUPS.c.number)
    .where(GROUPS.c.stream == sa.bindparam("stream"))
    .order_by(_FIRST_NEWS.c.seq)
)
_WAITING = (
    sa.select(GROUP_SCHEMAS.c.stream, GROUP_SCHEMAS.c.content)
    .where(GROUP_SCHEMAS.c.channel == GROUPS.c.channel, GROUP_SCHEMAS.c.stream == GROUPS.c.stream)
    .where(GROUPS.c.number.in_(sa.select(GROUP_NEWS.c.number)))
    .distinct()
)
_GROUP = sa.select(GROUPS.c.number, GROUPS.c.rows).where(
    GROUPS.c.channel == sa.bindparam("channel"), GROUPS.c.marker == sa.bindparam("marker")
)
_NEWS = (
    sa.select(GROUP_NEWS.c.row_key, GROUP_NEWS.c.record)
    .where(GROUP_NEWS.c.number == sa.bindparam("number"))
    .order_by(GROUP_NEWS.c.seq)
)
_SEEN = sa.select(GROUP_INDEX).where(GROUP_INDEX.c.row.in_(sa.bindparam("rows", expanding=True)))
_GROUPS = sa.select(GROUPS.c.channel, GROUPS.c.marker, GROUPS.c.number).where(
    GROUPS.c.marker.in_(sa.bindparam("markers", expanding=True))
)


def _is_as_seen(row: DigestRow, seen: Mapping[int, tuple[int, int]], groups: Mapping[tuple[str, str], int]) -> bool:
    group = groups.get((row.channel, row.marker))
    return row.record is not None and group is not None and seen.get(row.number) == (group, record_number(row.record))


# Rows as bytes

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[tuple[str, msgspec.Raw]]).decode


def row_number(channel: str, stream: str, row_key: str) -> int:
    """The number of a row in the index: 64 bits, so that no two of a million rows share one."""
    return _hash(_encode((channel, stream, row_key)))


def record_number(record: bytes) -> int:
    """A hash that tells an unchanged row from a changed one."""
    return _hash(record)


def pack(rows: Mapping[str, bytes]) -> bytes:
    """Pack the rows of a group."""
    return zlib.compress(_encode([(key, msgspec.Raw(record)) for key, record in rows.items()]))


def unpack(packed: bytes | None) -> dict[str, bytes]:
    """The packed rows, by their keys."""
    return {key: bytes(record) for key, record in _decode(zlib.decompress(packed))} if packed else {}


def _hash(content: bytes) -> int:
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "big", signed=True)
