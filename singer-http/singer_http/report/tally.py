"""Counts what was read and sent of each stream, and makes its part of the report."""

from __future__ import annotations

from array import array
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from singer_sdk.mapper import RemoveRecordTransform

from singer_http.messages import DELETED_AT
from singer_http.report.document import Ended, PartitionReport, StreamReport
from singer_http.report.keys import distinct, hasher
from singer_http.resume import FullTable

if TYPE_CHECKING:
    import datetime as dt
    from collections import Counter
    from collections.abc import Iterable, Mapping, Sequence

    from singer_sdk.mapper import StreamMap

    from singer_http.changes.all_rows import AllRows
    from singer_http.changes.changed_rows import ChangedRows
    from singer_http.report.document import Keys
    from singer_http.resume import Bookmarks, Incremental

_WORST: tuple[Ended, ...] = ("failed", "forbidden", "cut off", "in doubt", "complete")


class Reported(Protocol):
    """A stream, as far as the report looks at it."""

    name: str
    failed: bool
    changes: AllRows | ChangedRows

    @property
    def stream_maps(self) -> list[StreamMap]:
        """What it is sent as."""

    @property
    def bookmarks(self) -> Bookmarks:
        """Its part of the state."""

    @property
    def resume(self) -> FullTable | Incremental:
        """Where this run goes on with it."""

    @property
    def doubt(self) -> str | None:
        """Why a read that failed nowhere may not have given all that there is; None if it has."""


@dataclass(frozen=True, slots=True)
class SentRows:
    """Rows of one page that were sent under one name.

    Attributes:
        name: The name of the stream after stream maps.
        at: When they were extracted.
        hashes: Of their keys.
        gone: Whether each was sent as deleted; empty if none was.
    """

    name: str
    at: dt.datetime
    hashes: list[int]
    gone: list[bool]


@dataclass(slots=True)
class SentTotal:
    """All rows of a partition that were sent under one name."""

    rows: int = 0
    deleted: int = 0
    hashes: array[int] = field(default_factory=lambda: array("Q"))
    gone: set[int] = field(default_factory=set)
    first: dt.datetime | None = None
    last: dt.datetime | None = None

    def add(self, rows: SentRows) -> None:
        """Count some more."""
        self.rows += len(rows.hashes)
        self.deleted += sum(rows.gone)
        self.first = min(self.first or rows.at, rows.at)
        self.last = max(self.last or rows.at, rows.at)
        for each, is_gone in zip(rows.hashes, rows.gone, strict=False):  # the last word on a key counts
            (self.gone.add if is_gone else self.gone.discard)(each)
        self.hashes.extend(rows.hashes)
        if self.gone and not rows.gone:
            self.gone.difference_update(rows.hashes)


@dataclass(slots=True)
class Part:
    """What is known of a partition so far."""

    partition: Mapping[str, Any] | None
    label: str
    began: float
    bookmark_before: dict[str, Any]
    ended_at: float
    pages: int = 0
    ended: Ended = "cut off"
    remark: str | None = None
    resumed: bool = False
    sent: defaultdict[str, SentTotal] = field(default_factory=lambda: defaultdict(SentTotal))


class Tally:
    """What is known of a stream of the tap so far."""

    def __init__(self, stream: Reported, bounds: Sequence[str], now: float) -> None:
        self.stream = stream
        self.bounds = bounds  # the settings by which a part of the account is read
        self.began = now
        self.ended: float | None = None
        self.is_begun = False
        self.parts: dict[Any, Part] = {}
        state = stream.bookmarks.stream
        self._before = {_key(one): scalars(one) for one in (state, *state.get("partitions", ()))}
        sent = [each for each in stream.stream_maps if not isinstance(each, RemoveRecordTransform)]
        self.keys = {each.stream_alias: list(each.transformed_key_properties or ()) for each in sent}
        self._hashers = {
            each.stream_alias: hasher(self.keys[each.stream_alias], each.transformed_schema["properties"])
            for each in sent
        }

    @property
    def names(self) -> Iterable[str]:
        """What it is sent as."""
        return self.keys

    def part(self, partition: Mapping[str, Any] | None, label: str, now: float) -> Part:
        """What is known of a partition."""
        key = tuple(sorted((partition or {}).items()))
        if key not in self.parts:
            bookmark = self.stream.bookmarks.get(partition)
            before = self._before.get(_key(bookmark), {}) if bookmark else {}
            self.parts[key] = Part(partition, label, now, before, now)
        return self.parts[key]

    def rows(self, messages: Sequence[Mapping[str, Any]]) -> Iterable[SentRows]:
        """The rows of the RECORD messages of a page, by name."""
        for name, hash_ in self._hashers.items():
            records = [message["record"] for message in messages if message["stream"] == name]
            if records:
                hashes = list(map(hash_, records))
                is_any_gone = any(record.get(DELETED_AT) for record in records)
                gone = [bool(record.get(DELETED_AT)) for record in records] if is_any_gone else []
                yield SentRows(name, messages[0]["time_extracted"], hashes, gone)


def stream_report(
    name: str,
    tallies: Sequence[Tally],
    requests: Counter[str],
    throttled: Counter[str],
    warnings: Mapping[str, list[str]],
) -> StreamReport:
    """Make the report of all that was sent under one name, by one stream or by several."""
    key = tallies[0].keys[name]

    def partition_report(tally: Tally, part: Part) -> PartitionReport:
        sent = part.sent[name]
        return PartitionReport(
            partition=None if part.partition is None else {**part.partition},
            rows=sent.rows,
            pages=part.pages,
            requests=requests[part.label],
            throttled=throttled[part.label],
            ended=part.ended,
            resumed=part.resumed,
            remark=part.remark,
            keys=_keys(key, [sent]),
            bookmark_before=part.bookmark_before,
            bookmark_after=scalars(tally.stream.bookmarks.get(part.partition)),
            warnings=warnings.get(part.label, []) if part.partition else [],
            seconds=round(part.ended_at - part.began, 3),
        )

    parts = [(tally, part) for tally in tallies for part in tally.parts.values()]
    sent = [part.sent[name] for _, part in parts]
    times = [moment for one in sent for moment in (one.first, one.last) if moment]
    ends = [_ended(tally) for tally in tallies]
    remark = next((found for tally in tallies if (found := _why_not_whole(tally))), None)
    return StreamReport(
        sources=[tally.stream.name for tally in tallies],
        key=key,
        rows=sum(one.rows for one in sent),
        deleted=sum(one.deleted for one in sent),
        keys=_keys(key, sent),
        first=min(times).isoformat() if times else None,
        last=max(times).isoformat() if times else None,
        ended=next((one for one in _WORST if one in ends), "not read"),
        whole=remark is None,
        remark=remark,
        activated=all(tally.is_begun and _is_activated(tally.stream) for tally in tallies),
        warnings=[text for tally in tallies for text in warnings.get(tally.stream.name, ())],
        seconds=round(sum((tally.ended or tally.began) - tally.began for tally in tallies), 3),
        partitions=[partition_report(*one) for one in parts],
    )


def _keys(key: Sequence[str], sent: Sequence[SentTotal]) -> Keys | None:
    return distinct([one.hashes for one in sent], set().union(*(one.gone for one in sent))) if key else None


def _ended(tally: Tally) -> Ended:
    if tally.ended is None:
        return "cut off" if tally.is_begun or tally.parts else "not read"
    ends = {part.ended for part in tally.parts.values()}
    return next((one for one in _WORST if one in ends), "complete")


def _why_not_whole(tally: Tally) -> str | None:
    if tally.ended is None:
        return "the run ended before it had read it" if not tally.is_begun else "the run ended while it was read"
    stream = tally.stream
    if stream.failed:
        return "a part of it could not be read"
    if not isinstance(stream.resume, FullTable):
        return "only what is new or changed was asked for"
    if stream.changes.unchanged:
        return "only what is new, changed or gone was sent"
    if stream.resume.is_resumed:
        return "it goes on with the read of an earlier run"
    return stream.doubt or (f"{' and '.join(tally.bounds)} chose a part of the account" if tally.bounds else None)


def _is_activated(stream: Reported) -> bool:
    return isinstance(stream.resume, FullTable) and stream.bookmarks.stream.get("version") == stream.resume.version


def _key(bookmark: Mapping[str, Any]) -> Any:
    return tuple(sorted(bookmark.get("context", {}).items()))


def scalars(bookmark: Mapping[str, Any]) -> dict[str, Any]:
    """What of a bookmark is no list and no object, but for its ``resume``: those may hold what people did."""
    found = {name: value for name, value in bookmark.items() if isinstance(value, str | int | float)}
    return found | ({"resume": scalars(bookmark["resume"])} if "resume" in bookmark else {})
