"""The bookmarks of one stream: where each partition goes on, in this run's state and the next one's.

While a FULL_TABLE stream is being read, its state holds what a run that is cut off needs to go on::

    {"resume": {"version": 1732222800, "limit": 1000},
     "partitions": [{"context": {"organizationId": "a"}, "resume": {"done": true}},
                    {"context": {"organizationId": "b"}, "resume": {"cursor": "WzQsMTAwMF0"}}]}

A stream that is complete has ``{"resume": {"version": …, "limit": …, "done": true}}`` until the run is at its
end, and nothing of it after that. An INCREMENTAL stream keeps ``cursor`` and ``limit`` in each
partition, beside ``replication_key`` and ``replication_key_value``. Unpartitioned streams hold the same keys at
the top.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

Bookmark = dict[str, Any]

RESUME = "resume"
_SDK_MARKERS = ("progress_markers", "replication_key_signpost", "starting_replication_value")


def sound(state: Mapping[str, Any]) -> Bookmark:
    """A stream's state as it was handed to the tap, without whatever is not as this module writes it."""
    partitions = state.get("partitions")
    kept = {**_bookmark(state), "partitions": []}
    for bookmark in partitions if isinstance(partitions, list) else []:
        if isinstance(bookmark, dict) and _is_context(bookmark.get("context")):
            kept["partitions"].append(_bookmark(bookmark))
    return {key: value for key, value in kept.items() if value or key != "partitions"}


def _bookmark(bookmark: Mapping[str, Any]) -> Bookmark:
    return {key: value for key, value in bookmark.items() if key != RESUME or isinstance(value, dict)}


def _is_context(context: Any) -> bool:
    return isinstance(context, dict) and all(isinstance(value, str | int) for value in context.values())


class Bookmarks:
    """A stream's part of the state, with its partitions found at once instead of searched for.

    Args:
        state: The stream's own, writable part of the tap's state, a :func:`sound` one.
    """

    def __init__(self, state: Bookmark) -> None:
        self._state = state
        self._partitions: dict[Hashable, Bookmark] = {
            _key(bookmark["context"]): bookmark for bookmark in state.get("partitions", [])
        }

    @property
    def stream(self) -> Bookmark:
        """What is said of the stream as a whole."""
        return self._state

    def of(self, partition: Mapping[str, Any] | None) -> Bookmark:
        """The bookmark of a partition, made where there is none yet; the stream's own for None."""
        if partition is None:
            return self._state
        key = _key(partition)
        if key not in self._partitions:
            self._partitions[key] = {"context": dict(partition)}
            self._state.setdefault("partitions", []).append(self._partitions[key])
        return self._partitions[key]

    def get(self, partition: Mapping[str, Any] | None) -> Bookmark:
        """Like :meth:`of`, without making one."""
        return self._state if partition is None else self._partitions.get(_key(partition), {})

    def complete(self) -> None:
        """Note that the whole stream has been read, for a later run that goes on with other streams."""
        for bookmark in self._partitions.values():
            bookmark.pop(RESUME, None)
        if RESUME in self._state:
            self._state[RESUME].pop("cursor", None)
            self._state[RESUME]["done"] = True

    def clear_progress(self, *, failed: bool) -> None:
        """Forget a read, as the run has come to its end.

        Args:
            failed: A partition failed: it keeps its resume point and the stream its version, while the
                partitions that are done are to be read again by the next run.
        """
        for bookmark in (*self._partitions.values(), self._state):
            for marker in _SDK_MARKERS:
                bookmark.pop(marker, None)
            if not failed or bookmark.get(RESUME, {}).get("done"):
                bookmark.pop(RESUME, None)


def _key(context: Mapping[str, Any]) -> Hashable:
    return tuple(sorted(context.items()))
