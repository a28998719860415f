"""Bookmarks of each filter: what a read by one filter has come to says nothing of another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_http.resume import Bookmarks
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Mapping


class FilteredBookmarks(Bookmarks):
    """The bookmarks of a stream that is read by a filter.

    Args:
        state: As for :class:`~singer_http.resume.Bookmarks`.
        by: What the bookmarks of this run are kept under besides their partition; empty for no filter.
    """

    def __init__(self, state: dict[str, Any], by: Mapping[str, Any]) -> None:
        super().__init__(state)
        self._by = by

    @override
    def of(self, partition: Mapping[str, Any] | None) -> dict[str, Any]:
        return super().of(None if partition is None else {**partition, **self._by})

    @override
    def get(self, partition: Mapping[str, Any] | None) -> dict[str, Any]:
        return super().get(None if partition is None else {**partition, **self._by})

    def beside(self, partition: Mapping[str, Any]) -> list[dict[str, Any]]:
        """All bookmarks of a partition, whatever else they are kept under."""
        return [one for one in self._partitions.values() if one["context"].items() >= partition.items()]

    def drop(self, bookmark: dict[str, Any]) -> None:
        """Forget a bookmark."""
        self.stream["partitions"].remove(bookmark)
        self._partitions = {key: one for key, one in self._partitions.items() if one is not bookmark}
