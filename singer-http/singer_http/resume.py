"""Decides where a read goes on: what STATE holds, and when a read may continue from it.

STATE holds one bookmark for each partition, and for the stream as a whole; docs/state.md says how they look. A read
continues at a page only if the fingerprint is the same, which covers all that decides which rows the list gives and how
they are written, and if the page still begins with the same key: otherwise rows have moved.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from singer_http.merged_state import unsealed

if TYPE_CHECKING:
    from collections.abc import Mapping

    _Key = tuple[Any, ...]

logger = logging.getLogger(__name__)

RESUME = "resume"
Natural = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
FUTURE = 60  # seconds by which a time in STATE may be ahead of the API's clock, which is known to the second
_TOO_OLD = "it began longer ago than resume_max_age"


class Bookmark(msgspec.Struct, omit_defaults=True, kw_only=True):
    """What STATE holds of a partition, a whole stream or a read under way; anything else in it is ignored."""

    context: dict[str, str | int] | None = None
    resume: Bookmark | None = None
    cursor: str | None = None
    begins_with: str | None = None
    fingerprint: str | None = None
    version: Natural | None = None
    done: bool = False
    changes: str | None = None
    written: Natural | None = None
    replication_key: str | None = None
    replication_key_value: str | None = None


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """The page at which a read continues."""

    cursor: str | None = None  # None for the beginning of the list
    begins_with: str | None = None  # the fingerprint of its first key; None where pages do not move, or it is empty


START = ResumePoint()


def fingerprint(*parts: Any) -> str:
    """Return a short text that changes with anything in the arguments."""
    return hashlib.sha256(msgspec.json.encode(parts, order="sorted", enc_hook=str)).hexdigest()[:12]


def validated(name: str, state: Any, kind: type[Bookmark]) -> dict[str, Any]:
    """Keep of a stream's incoming state only what this tap could have written."""
    state = unsealed(state)
    rows = state.get("partitions") if isinstance(state, dict) else None
    of_stream = _validated(state, kind)
    found: dict[_Key, dict[str, Any] | None] = {}
    for row in rows if isinstance(rows, list) else [rows] if rows else []:
        bookmark = _validated(row, kind)
        key = bookmark_key(bookmark)
        # Of two that contradict each other neither is believed.
        found[key] = bookmark if found.get(key, bookmark) == bookmark else None
    partitions = [bookmark for key, bookmark in found.items() if key and bookmark is not None]
    if of_stream is None or len(partitions) < len(found):
        logger.warning("%s: parts of its STATE are not valid; they are read from the beginning.", name)
    return {**(of_stream or {}), **({"partitions": partitions} if partitions else {})}


def _validated(bookmark: Any, kind: type[Bookmark]) -> dict[str, Any] | None:
    try:
        kept: dict[str, Any] = msgspec.to_builtins(msgspec.convert(bookmark, kind))
    except msgspec.ValidationError:
        return None
    return kept


class Bookmarks:
    """A stream's part of the state, writable and :func:`validated`; finds partitions at once."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.stream = state
        self._partitions: dict[_Key, dict[str, Any]] = {
            bookmark_key(bookmark): bookmark for bookmark in state.get("partitions", [])
        }

    def of(self, partition: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return the bookmark of a partition, a new one where there is none; the stream's own for None."""
        if partition is None:
            return self.stream
        key = partition_key(partition)
        if key not in self._partitions:
            self._partitions[key] = {"context": {**partition}}
            self.stream.setdefault("partitions", []).append(self._partitions[key])
        return self._partitions[key]

    def get(self, partition: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return the bookmark of a partition, empty where there is none."""
        return self.stream if partition is None else self._partitions.get(partition_key(partition), {})

    @property
    def is_any_written(self) -> bool:
        """Whether of any part it is known what is written, by :mod:`singer_http.changes`."""
        return any("written" in bookmark for bookmark in (*self._partitions.values(), self.stream))

    def forget_written(self) -> None:
        """Forget how much of what :mod:`singer_http.changes` remembers is written."""
        for bookmark in (*self._partitions.values(), self.stream):
            bookmark.pop("written", None)
        self.stream.pop("changes", None)

    def forget(self, *, done_only: bool = False, incremental: bool = False) -> None:
        """Forget the read of a full table, or what of it is done; and for ``incremental``, INCREMENTAL reads."""
        for bookmark in (*self._partitions.values(), self.stream):
            if incremental:
                _put(bookmark, START)
                bookmark.pop("fingerprint", None)
            if not done_only or bookmark.get(RESUME, {}).get("done"):
                bookmark.pop(RESUME, None)


class FullTable:
    """The read of a whole table: by one run, or by several where runs are cut off.

    Its version is when it began, in milliseconds since 1970: what it gives is as of then or later.

    Args:
        fingerprint: Of all that decides which rows the read gives, and how they are written.
        now: Seconds since 1970, by the API's clock.
        longest: Seconds that a read may take, the time between its runs included.
    """

    def __init__(self, name: str, bookmarks: Bookmarks, fingerprint: str, now: float, longest: int) -> None:
        self._bookmarks = bookmarks
        self.fingerprint = fingerprint
        left = bookmarks.stream.get(RESUME, {})
        reason = _reason_to_drop(left, fingerprint, now, longest)
        if left and reason and not (left.get("done") and reason == _TOO_OLD):
            logger.warning("%s: an earlier read that did not complete starts over, as %s.", name, reason)
        self.is_resumed = not reason
        self.is_done = self.is_resumed and left.get("done", False)
        """Whether an earlier run has read it to its end, and was cut off in another stream."""
        # Two reads must not have the same version, however little time goes by between them.
        following = max(int(now * 1000), bookmarks.stream.get("version", 0) + 1)
        self.version = left["version"] if self.is_resumed else following

    @property
    def remark(self) -> str | None:
        """Why the rows of this run may not be all that there is; None if they are."""
        return "it goes on with the read of an earlier run" if self.is_resumed else None

    @property
    def is_activated(self) -> bool:
        """Whether its version was sent for activation."""
        return bool(self._bookmarks.stream.get("version") == self.version)

    def point(self, partition: Mapping[str, Any] | None) -> ResumePoint | None:
        """Return where a partition continues; None if it is done."""
        left = self._bookmarks.get(partition).get(RESUME, {}) if self.is_resumed else {}
        return None if left.get("done") else _point(left)

    def begin(self) -> None:
        """Note that the table is being read."""
        if not self.is_resumed:
            self._bookmarks.forget(incremental=True)  # its version may remove rows that INCREMENTAL reads have read
            self._bookmarks.stream[RESUME] = {"version": self.version, "fingerprint": self.fingerprint}

    def turn(self, partition: Mapping[str, Any] | None, point: ResumePoint | None, *, is_last: bool) -> None:
        """Note that a page is written: the next run continues at this point, for None where this one did."""
        left = self._bookmarks.of(partition).setdefault(RESUME, {})
        if is_last:
            _put(left, START)
            left["done"] = True
        elif point is not None:
            _put(left, point)

    def end(self, *, is_activated: bool) -> None:
        """Note that the table has been read to its end, and whether its version was sent for activation."""
        for bookmark in self._bookmarks.stream.get("partitions", ()):
            bookmark.pop(RESUME, None)
        _put(self._bookmarks.stream[RESUME], START)
        self._bookmarks.stream[RESUME]["done"] = True
        if is_activated:
            self._bookmarks.stream["version"] = self.version


class Incremental:
    """The read of what is new in a list: it goes on with the last page that held anything, which may have grown."""

    is_done = is_activated = False
    remark = "only what is new or changed was asked for"

    def __init__(self, name: str, bookmarks: Bookmarks, fingerprint: str) -> None:
        self._name = name
        self._bookmarks = bookmarks
        self.fingerprint = fingerprint
        self._has_warned = False

    def point(self, partition: Mapping[str, Any] | None) -> ResumePoint:
        """Return where a partition continues."""
        bookmark = self._bookmarks.get(partition)
        if bookmark.get("fingerprint") == self.fingerprint:
            return _point(bookmark)
        if not self._has_warned and "cursor" in bookmark:
            self._has_warned = True
            reason = "as the last run read it with other settings or another version"
            logger.warning("%s: read from the beginning, %s.", self._name, reason)
        return START

    def begin(self) -> None:
        """Note that the list is being read."""
        self._bookmarks.forget()

    def turn(
        self, partition: Mapping[str, Any] | None, point: ResumePoint | None, key: str = "", newest: str = ""
    ) -> None:
        """Note that a page is written, and its newest key. The next run continues at the point; None if it is empty."""
        if point is None:
            return
        bookmark = self._bookmarks.of(partition)
        _put(bookmark, point)
        bookmark["fingerprint"] = self.fingerprint
        if newest:
            bookmark["replication_key"] = key
            bookmark["replication_key_value"] = max(newest, bookmark.get("replication_key_value") or "")


def _reason_to_drop(left: Mapping[str, Any], fingerprint: str, now: float, longest: int) -> str | None:
    if "version" not in left or left.get("fingerprint") != fingerprint:
        return "settings that decide what is read have changed since, or the version of the tap"
    age = now - left["version"] / 1000
    if age < -FUTURE:
        return "it began in the future"
    return None if max(age, 0.0) < longest else _TOO_OLD


def _point(left: Mapping[str, Any]) -> ResumePoint:
    return ResumePoint(left.get("cursor"), left.get("begins_with"))


def _put(left: dict[str, Any], point: ResumePoint) -> None:
    for name in ("cursor", "begins_with"):
        left.pop(name, None)
        if (value := getattr(point, name)) is not None:
            left[name] = value


def partition_key(partition: Mapping[str, Any] | None) -> _Key:
    """What a partition is known by, whatever the order of its properties; None is the whole stream."""
    return tuple(sorted((partition or {}).items()))


def bookmark_key(bookmark: Mapping[str, Any] | None) -> _Key:
    """What the partition of a bookmark is known by, its filter included."""
    return partition_key((bookmark or {}).get("context"))
