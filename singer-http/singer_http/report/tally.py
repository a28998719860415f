"""Counts what was read and sent of each stream, and makes its part of the report."""

from __future__ import annotations

from array import array
from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from singer_sdk.mapper import RemoveRecordTransform

from singer_http.http.errors import ForbiddenError
from singer_http.messages import DELETED_AT
from singer_http.report.document import Ended, PartitionReport, StreamReport
from singer_http.report.keys import distinct, hasher
from singer_http.resume import bookmark_key, partition_key

if TYPE_CHECKING:
    import datetime as dt
    from collections import Counter
    from collections.abc import Callable, Mapping, Sequence

    from singer_sdk.mapper import StreamMap

    from singer_http.http.errors import ApiError
    from singer_http.reading.pages import Page, Slice
    from singer_http.report.document import Keys
    from singer_http.resume import Bookmarks

    Counts = tuple[Counter[str], Counter[str]]

_WORST: tuple[Ended, ...] = ("failed", "forbidden", "cut off", "in doubt", "complete")


@dataclass(slots=True)
class SentRows:
    """All rows of a partition that were sent under one name."""

    rows: int = 0
    deleted: int = 0
    hashes: array[int] = field(default_factory=lambda: array("Q"))
    gone: set[int] = field(default_factory=set)
    first: dt.datetime | None = None
    last: dt.datetime | None = None

    def add(self, at: dt.datetime, hashes: Sequence[int], gone: Sequence[bool]) -> None:
        """Count some more: when they were extracted, the hashes of their keys, and whether each was sent as deleted."""
        self.rows += len(hashes)
        self.deleted += sum(gone)
        self.first = min(self.first or at, at)
        self.last = max(self.last or at, at)
        self.hashes.extend(hashes)
        if self.deleted:
            for each, is_gone in zip(hashes, gone, strict=True):  # the last word on a key counts
                (self.gone.add if is_gone else self.gone.discard)(each)


@dataclass(slots=True)
class PartitionTally:
    """What was read and sent of a partition so far."""

    partition: Mapping[str, Any] | None
    label: str
    began: float
    bookmark_before: dict[str, Any]
    ended_at: float
    pages: int = 0
    ended: Ended = "cut off"
    remark: str | None = None
    resumed: bool = False
    sent: defaultdict[str, SentRows] = field(default_factory=lambda: defaultdict(SentRows))


class Tally:
    """What was read and sent of a stream so far.

    Args:
        name: Of the stream.
        maps: What it is sent as.
        bookmarks: Its part of STATE, as it was before the run.
        now: Tells how long things take.
        unwritten: Gets what is to be counted when the reader of stdout has taken the rows; None if rows do not count.
    """

    def __init__(
        self,
        name: str,
        maps: Sequence[StreamMap],
        bookmarks: Bookmarks,
        now: Callable[[], float],
        unwritten: list[Callable[[], None]] | None,
    ) -> None:
        self.name = name
        self.bookmarks = bookmarks
        self.began: float | None = None
        self.ended: float | None = None
        self.remark: str | None = "the run ended before it had read it"
        self.is_activated = False
        self.parts: dict[Any, PartitionTally] = {}
        self._now = now
        self._unwritten = unwritten
        state = bookmarks.stream
        self._before = {bookmark_key(one): scalars(one) for one in (state, *state.get("partitions", ()))}
        sent = [each for each in maps if not isinstance(each, RemoveRecordTransform)]
        self.keys = {each.stream_alias: list(each.transformed_key_properties or ()) for each in sent}
        self._hashers = {
            each.stream_alias: hasher(self.keys[each.stream_alias], each.transformed_schema["properties"])
            for each in sent
        }

    def begin(self) -> None:
        """Note that the stream is being read from now on."""
        self.began = self._now()
        self.remark = "the run ended while it was read"

    def end(self, remark: str | None, *, is_activated: bool) -> None:
        """Note that the stream was read, with or without failures.

        Args:
            remark: Why the rows may not be all that there is; None if they are.
            is_activated: Whether loaders were told to remove all other rows.
        """
        self.ended = self._now()
        self.remark = remark
        self.is_activated = is_activated

    def page(self, slice_: Slice, page: Page) -> None:
        """Note that a page was read and its rows were sent."""
        part = self._part(slice_)
        part.resumed |= not part.pages and page.cursor is not None
        part.pages += 1
        part.ended_at = self._now()
        if page.doubt is not None:
            part.ended, part.remark = "in doubt", page.doubt
        elif part.remark is None:
            part.ended = "complete" if page.next is None else "cut off"

    def fail(self, slice_: Slice, failure: ApiError) -> None:
        """Note that a list could not be read to its end."""
        part = self._part(slice_)
        part.ended, part.remark = "forbidden" if isinstance(failure, ForbiddenError) else "failed", str(failure)

    def sent(self, slice_: Slice, messages: Sequence[Mapping[str, Any]]) -> None:
        """Note that RECORD messages are about to be written."""
        if self._unwritten is None:
            return
        for name, hash_ in self._hashers.items():
            records = [message["record"] for message in messages if message["stream"] == name]
            if records:
                gone = [bool(record.get(DELETED_AT)) for record in records]
                rows = self._part(slice_).sent[name]
                count = partial(rows.add, messages[0]["time_extracted"], list(map(hash_, records)), gone)
                self._unwritten.append(count)

    def part(self, partition: Mapping[str, Any] | None) -> PartitionTally | None:
        """The tally of a partition; None before its first page."""
        return self.parts.get(partition_key(partition))

    def _part(self, slice_: Slice) -> PartitionTally:
        key = partition_key(slice_.partition)
        if key not in self.parts:
            now = self._now()
            bookmark = self.bookmarks.get(slice_.partition)
            before = self._before.get(bookmark_key(bookmark), {}) if bookmark else {}
            self.parts[key] = PartitionTally(slice_.partition, slice_.label, now, before, now)
        return self.parts[key]

    @property
    def how_ended(self) -> Ended:
        """How the worst of its lists ended."""
        if self.ended is None:
            return "not read" if self.began is None and not self.parts else "cut off"
        return _worst([part.ended for part in self.parts.values()], "complete")


def stream_report(
    name: str, tallies: Sequence[Tally], counts: Counts, warnings: Mapping[str, list[str]]
) -> StreamReport:
    """Make the report of all that was sent under one name, by one stream or by several.

    Args:
        name: The name.
        tallies: Of those streams.
        counts: Of requests, and of answers with HTTP 429 among them, by label.
        warnings: By label.
    """
    requests, throttled = counts
    key = tallies[0].keys[name]

    def partition_report(tally: Tally, part: PartitionTally) -> PartitionReport:
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
            bookmark_after=scalars(tally.bookmarks.get(part.partition)),
            warnings=warnings.get(part.label, []) if part.partition else [],
            seconds=round(part.ended_at - part.began, 3),
        )

    parts = [(tally, part) for tally in tallies for part in tally.parts.values()]
    sent = [part.sent[name] for _, part in parts]
    times = [moment for one in sent for moment in (one.first, one.last) if moment]
    remark = next(filter(None, (tally.remark for tally in tallies)), None)
    return StreamReport(
        sources=[tally.name for tally in tallies],
        key=key,
        rows=sum(one.rows for one in sent),
        deleted=sum(one.deleted for one in sent),
        keys=_keys(key, sent),
        first=min(times).isoformat() if times else None,
        last=max(times).isoformat() if times else None,
        ended=_worst([tally.how_ended for tally in tallies], "not read"),
        whole=remark is None,
        remark=remark,
        activated=all(tally.is_activated for tally in tallies),
        warnings=[text for tally in tallies for text in warnings.get(tally.name, ())],
        seconds=round(sum((one.ended or one.began or 0) - (one.began or 0) for one in tallies), 3),
        partitions=[partition_report(*one) for one in parts],
    )


def _keys(key: Sequence[str], sent: Sequence[SentRows]) -> Keys | None:
    return distinct([one.hashes for one in sent], set().union(*(one.gone for one in sent))) if key else None


def _worst(ends: Sequence[Ended], otherwise: Ended) -> Ended:
    return next((one for one in _WORST if one in ends), otherwise)


def scalars(bookmark: Mapping[str, Any]) -> dict[str, Any]:
    """The plain values of a bookmark and of its ``resume``: lists and objects may hold what people did."""
    found = {name: value for name, value in bookmark.items() if isinstance(value, str | int | float)}
    return found | ({"resume": scalars(bookmark["resume"])} if "resume" in bookmark else {})
