"""Decides which rows of a stream a loader lacks, and which it has that are gone.

A row is left out only if all of this holds: the store knows it in this form and this partition, and since a run that
STATE covers. What was sent is in the store before it is written, so whatever a loader may have been given is known;
what is in STATE alone says what it certainly has. So a store or a STATE that is lost, old or
not ours can only cause rows to be sent again.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from hashlib import blake2b
from itertools import chain
from typing import TYPE_CHECKING, Any

import msgspec
from singer_sdk.contrib.msgspec import encoder
from singer_sdk.mapper import RemoveRecordTransform

from singer_http.http.errors import ConfigurationError, TooManyGoneError
from singer_http.messages import DELETED_AT
from singer_http.resume import fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from singer_sdk.mapper import StreamMap

    from singer_http.changes.store import RecordedRun, Row, Store
    from singer_http.resume import Bookmarks

    Partition = Mapping[str, Any]
    Message = dict[str, Any]

_DELETED_AT_SCHEMA = {"type": ["string", "null"], "format": "date-time"}
FEW = 10
"""So many rows of a partition may go whatever share of it they are: small lists change by large shares."""
_HASH_BYTES = 8
_UNKNOWN: Row = (b"", -1, None, 0, 0)
_encode = msgspec.json.Encoder().encode


class ChangedRows:
    """The rows of one stream that are new, changed or gone.

    Args:
        store: Remembers what was sent.
        list_id: Which list is read, with which settings.
        maps: What becomes of each record. Their schemas are given the property that says since when a row is gone.
        bookmarks: The stream's part of STATE.
        now: Seconds since 1970.
        most_share: How large a share of a partition may be gone.

    Attributes:
        is_known: Whether the store knows the run that STATE is from, and what was written then. All rows are sent
            otherwise, and nobody knows which ones have gone meanwhile.
        unchanged: How many rows were not sent.
    """

    def __init__(  # noqa: PLR0913 - each is one thing
        self,
        store: Store,
        list_id: str,
        maps: Iterable[StreamMap],
        bookmarks: Bookmarks,
        *,
        now: float,
        most_share: float,
    ) -> None:
        sent = [one for one in maps if not isinstance(one, RemoveRecordTransform)]
        if keyless := [one.stream_alias for one in sent if not one.transformed_key_properties]:
            raise ConfigurationError(
                f"changes_only needs keys, and {keyless[0]} has none: leave them in stream_maps, or set it to false."
            )
        for one in sent:
            properties = {**one.transformed_schema["properties"], DELETED_AT: _DELETED_AT_SCHEMA}
            one.transformed_schema = {**one.transformed_schema, "properties": properties}
        keys = {one.stream_alias: one.transformed_key_properties or () for one in sent}
        written = [keys, *(one.transformed_schema for one in sent)]
        self._store = store
        self._bookmarks = bookmarks
        self._run = store.begin(list_id, bookmarks.stream.get("changes"), fingerprint(written), now)
        # A run that knew nothing, and was killed, has left no more than its number.
        self.is_known = self._run.believed > 0 and bookmarks.is_any_written
        if not self._run.is_same:
            bookmarks.forget_written()
        self._tables = {alias: _Table(store, self._run, alias, own) for alias, own in keys.items()}
        self._most_share = most_share
        self.unchanged = 0
        self._whole: list[Partition | None] = []
        self._complete: list[Partition | None] = []
        self._left_out = 0

    def begin(self, bookmarks: Bookmarks) -> None:
        """Note in STATE which run it is from: no other store can then vouch for it."""
        bookmarks.stream["changes"] = self._run.id

    def complete(self, partition: Partition | None) -> None:
        """Note that this run has read a partition from its beginning to its end."""
        self._whole.append(partition)

    def leave_out(self) -> None:
        """Note that a partition cannot be read, and is not meant to be."""
        self._left_out += 1

    def select(self, partition: Partition | None, messages: Sequence[Message]) -> list[Message]:
        """Leave out the RECORD messages of a page that the loader has had. The store knows the others on return.

        Raises:
            FatalError: Another run reads the stream, or the store fails.
        """
        part, covered = _partition_hash(partition), self._covered(partition)
        kept: list[Message] = []
        for alias, table in self._tables.items():
            own = [message for message in messages if message["stream"] == alias]
            kept += self._select(table, part, covered, own)
        self.unchanged += len(messages) - len(kept)
        return kept

    def _select(self, table: _Table, part: int, covered: int, messages: Sequence[Message]) -> list[Message]:
        records = [message["record"] for message in messages]
        keys, lines = table.keys_of(records), encoder.encode_lines(records).split(b"\n")
        known = self._store.find(table.id, keys) if table.known else {}
        kept: list[Message] = []
        news: list[Row] = []
        seen, run = table.seen, self._run.number
        for key, line, message in zip(keys, lines, messages, strict=False):
            row_hash = blake2b(line, digest_size=_HASH_BYTES).digest()
            _, place, last, number, last_part = known.get(key, _UNKNOWN)
            if last != row_hash or last_part != part:
                if place < 0:
                    place = len(seen)
                    seen.append(1)
                number = run
                known[key] = row = key, place, row_hash, run, part
                news.append(row)
            seen[place] = 1
            if number > covered:
                kept.append(message)
        if news:
            self._store.put(self._run, table.id, news)
        return kept

    def gone(self, partitions: int) -> Iterator[tuple[Partition | None, list[Message]]]:
        """Give RECORD messages of the rows that are gone, by partition, once all that can be read was.

        A row that is missing in one partition may have moved to another: if not all were read whole, none is gone.

        Args:
            partitions: How many there are; 0 if some of them could not be read.

        Raises:
            TooManyGoneError: Too many rows are gone; none was given.
            FatalError: Another run reads the stream, or the store fails.
        """
        is_everything = 0 < partitions == len(self._whole) + self._left_out
        parts = {_partition_hash(partition): partition for partition in self._whole}
        covered = {part: self._covered(partition) for part, partition in parts.items()}
        lacking: set[int] = set()
        for table in self._tables.values():
            self._store.put_in_order(self._run, table.id)
            count: Counter[int] = Counter()
            for row in chain.from_iterable(self._missing(table, covered)):
                *_, row_hash, _, part = row
                lacking.add(part)
                count[part] += row_hash is not None
            for part, gone in count.items():
                if is_everything and gone > max(FEW, self._most_share * table.known[part]):
                    raise TooManyGoneError(
                        f"{gone} of {table.known[part]} rows of {table.alias} are gone, more than max_deleted_share"
                        " allows: none is marked as deleted. If they are meant to be gone, run once with a larger"
                        " share.",
                        parts[part],
                    )
        if is_everything and lacking:
            for part, messages in chain.from_iterable(self._gone(table, covered) for table in self._tables.values()):
                yield parts[part], messages
            lacking = set()
        self._complete = [partition for partition in self._whole if _partition_hash(partition) not in lacking]

    def mark_written(self) -> None:
        """Note in STATE that the loader has everything of the partitions that were read whole."""
        for partition in self._complete:
            self._bookmarks.of(partition)["written"] = self._run.number

    def _covered(self, partition: Partition | None) -> int:
        """The number of the run up to which STATE says that everything of a partition was written."""
        return min(int(self._bookmarks.get(partition).get("written", 0)), self._run.believed)

    def _missing(self, table: _Table, covered: Mapping[int, int]) -> Iterator[list[Row]]:
        """The rows of the partitions that were read which are gone, and STATE does not cover that they are."""
        for rows in self._store.at(table.id, table.unseen()):
            yield [
                (key, place, row_hash, number, part)
                for key, place, row_hash, number, part in rows
                if part in covered and (row_hash is not None or number > covered[part])
            ]

    def _gone(self, table: _Table, covered: Mapping[int, int]) -> Iterator[tuple[int, list[Message]]]:
        run = self._run.number
        for rows in self._missing(table, covered):
            gone: defaultdict[int, list[Message]] = defaultdict(list)
            for key, *_, part in rows:
                gone[part].append(table.deletion(key))
            marks = [(key, place, None, run, part) for key, place, row_hash, _, part in rows if row_hash is not None]
            self._store.put(self._run, table.id, marks)
            yield from gone.items()


def _partition_hash(partition: Partition | None) -> int:
    return int(fingerprint(partition), 16)


class _Table:
    """What a loader keeps of a stream, under one name."""

    def __init__(self, store: Store, run: RecordedRun, alias: str, keys: Sequence[str]) -> None:
        self.alias = alias
        self.id = int(fingerprint(run.list_id, alias, keys), 16)
        places, self.known = store.survey(run, self.id)  # how many rows a partition had before this run
        self.seen = bytearray(places)  # by place, whether a row is there
        self._keys = keys

    def keys_of(self, records: Sequence[Mapping[str, Any]]) -> list[bytes]:
        """The keys of records."""
        return [_encode([record.get(name) for name in self._keys]) for record in records]

    def unseen(self) -> Iterator[int]:
        """The places of rows that are not there."""
        place = -1
        while (place := self.seen.find(0, place + 1)) >= 0:
            yield place

    def deletion(self, key: bytes) -> Message:
        """The RECORD message of a row that is gone."""
        now = dt.datetime.now(dt.timezone.utc)
        record = {**dict(zip(self._keys, msgspec.json.decode(key), strict=True)), DELETED_AT: now}
        return {"type": "RECORD", "stream": self.alias, "record": record, "time_extracted": now}
