"""The rows of digests: kept, as a later run may bring some of a group's rows only, and packed once they are shown.

A row that is the same as when it was last seen changes nothing. One that has changed, even in a group of long ago, is
put into its place among the others; one that has moved to another group leaves the group where it was.
"""

from __future__ import annotations

import itertools
import zlib
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import sqlalchemy as sa

from target_harkster.ledger.model import GROUP_INDEX, GROUP_NEWS, GROUPS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from target_harkster.ledger.store import Ledger

T = TypeVar("T")

LOOK_UP = 500
"""Keys in one question to the database."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[tuple[str, msgspec.Raw]]).decode


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
        record: The row, as JSON.
    """

    stream: str
    channels: tuple[str, ...]
    channel: str
    marker: str
    key: str
    row_key: str
    record: bytes

    @property
    def number(self) -> int:
        """What it is found by in the index."""
        return row_number(self.channel, self.stream, self.row_key)


def row_number(channel: str, stream: str, row_key: str) -> int:
    """What a row is found by in the index: of 64 bits, so that two of a million rows do not meet."""
    return _hash(_encode((channel, stream, row_key)))


def record_number(record: bytes) -> int:
    """What a row is recognised by if it has not changed."""
    return _hash(record)


def _hash(content: bytes) -> int:
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "big", signed=True)


def pack(rows: Mapping[str, bytes]) -> bytes:
    """The rows of a group, by their keys, as the ledger keeps them."""
    return zlib.compress(_encode([(key, msgspec.Raw(record)) for key, record in rows.items()]))


def unpack(packed: bytes | None) -> dict[str, bytes]:
    """The rows that were packed, by their keys."""
    return {key: bytes(record) for key, record in _decode(zlib.decompress(packed))} if packed else {}


class Digests:
    """The part of the ledger that knows the rows of digests.

    Args:
        ledger: Keeps them.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def add(self, rows: Sequence[DigestRow]) -> None:
        """Keep rows, and make them durable."""
        latest = {(row.stream, row.row_key): row for row in rows}
        seen = self._seen({row_number(channel, row.stream, row.row_key) for row in rows for channel in row.channels})
        groups = self._groups({row.marker for row in rows})
        changed = [row for row in latest.values() if not _is_as_seen(row, seen, groups)]
        if not changed:
            return
        self._ledger.put(
            GROUPS,
            [
                {"channel": row.channel, "marker": row.marker, "stream": row.stream, "key": row.key}
                for row in changed
                if (row.channel, row.marker) not in groups
            ],
            ("channel", "marker"),
        )
        groups |= self._groups({row.marker for row in changed})
        news: list[dict[str, Any]] = []
        index: list[dict[str, Any]] = []
        left: set[int] = set()
        for row in changed:
            number = groups[row.channel, row.marker]
            places = {row_number(channel, row.stream, row.row_key) for channel in row.channels} & seen.keys()
            news += [self._new(seen[place][0], row.row_key, None) for place in places if seen[place][0] != number]
            news.append(self._new(number, row.row_key, row.record))
            index.append({"row": row.number, "number": number, "record": record_number(row.record)})
            left |= places - {row.number}
        # A row that is news already keeps its place among the news.
        self._ledger.put(GROUP_NEWS, news, kept=("seq",))
        for some in _chunks(left):
            self._ledger.execute(GROUP_INDEX.delete().where(GROUP_INDEX.c.row.in_(some)))
        self._ledger.put(GROUP_INDEX, index)
        self._ledger.commit()

    def changed(self, stream: str) -> list[tuple[str, str, str]]:
        """The groups of a stream whose posts do not show all rows: channel, marker and key, oldest first."""
        news = sa.select(GROUP_NEWS.c.number, sa.func.min(GROUP_NEWS.c.seq).label("seq"))
        first = news.group_by(GROUP_NEWS.c.number).subquery()
        query = sa.select(GROUPS.c.channel, GROUPS.c.marker, GROUPS.c.key).join(
            first, first.c.number == GROUPS.c.number
        )
        rows = self._ledger.execute(query.where(GROUPS.c.stream == stream).order_by(first.c.seq))
        return [(row[0], row[1], row[2]) for row in rows]

    def rows(self, channel: str, marker: str) -> list[bytes]:
        """All rows of a group, in the order in which they first came."""
        return list(self._merged(*self._group(channel, marker)).values())

    def shown(self, channel: str, marker: str) -> None:
        """Note that the post of a group shows all its rows, and pack them together."""
        number, packed = self._group(channel, marker)
        rows = self._merged(number, packed)
        self._ledger.execute(GROUPS.update().where(GROUPS.c.number == number).values(rows=pack(rows)))
        self._ledger.execute(GROUP_NEWS.delete().where(GROUP_NEWS.c.number == number))
        self._ledger.commit()

    def _group(self, channel: str, marker: str) -> tuple[int, bytes | None]:
        query = sa.select(GROUPS.c.number, GROUPS.c.rows)
        row = self._ledger.execute(query.where(GROUPS.c.channel == channel, GROUPS.c.marker == marker)).one()
        return row[0], row[1]

    def _merged(self, number: int, packed: bytes | None) -> dict[str, bytes]:
        rows = unpack(packed)
        query = sa.select(GROUP_NEWS.c.row_key, GROUP_NEWS.c.record).where(GROUP_NEWS.c.number == number)
        for row_key, record in self._ledger.execute(query.order_by(GROUP_NEWS.c.seq)):
            if record is None:
                rows.pop(row_key, None)
            else:
                rows[row_key] = bytes(record)
        return rows

    def _new(self, number: int, row_key: str, record: bytes | None) -> dict[str, Any]:
        return {"number": number, "row_key": row_key, "record": record, "seq": self._ledger.next_seq()}

    def _seen(self, numbers: Collection[int]) -> dict[int, tuple[int, int]]:
        """Group and hash of rows, as they were last seen, by what they are found by."""
        found: dict[int, tuple[int, int]] = {}
        for some in _chunks(numbers):
            found |= {row[0]: (row[1], row[2]) for row in self._ledger.execute(_SEEN, {"rows": some})}
        return found

    def _groups(self, markers: Collection[str]) -> dict[tuple[str, str], int]:
        """The numbers of groups, by channel and marker."""
        found: dict[tuple[str, str], int] = {}
        for some in _chunks(markers):
            found |= {(row[0], row[1]): row[2] for row in self._ledger.execute(_GROUPS, {"markers": some})}
        return found


_SEEN = sa.select(GROUP_INDEX).where(GROUP_INDEX.c.row.in_(sa.bindparam("rows", expanding=True)))
_GROUPS = sa.select(GROUPS.c.channel, GROUPS.c.marker, GROUPS.c.number).where(
    GROUPS.c.marker.in_(sa.bindparam("markers", expanding=True))
)


def _is_as_seen(row: DigestRow, seen: Mapping[int, tuple[int, int]], groups: Mapping[tuple[str, str], int]) -> bool:
    group = groups.get((row.channel, row.marker))
    return group is not None and seen.get(row.number) == (group, record_number(row.record))


def _chunks(items: Iterable[T]) -> Iterator[list[T]]:
    remaining = iter(items)
    while some := list(itertools.islice(remaining, LOOK_UP)):
        yield some
