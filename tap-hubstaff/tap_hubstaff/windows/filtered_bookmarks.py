"""Bookmarks by filter: each filter has its own, as a read with one filter brings nothing for another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_http.resume import Bookmarks, fingerprint
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Mapping

FILTERS = "filters"
MOST_FILTERS = 8
"""An organization keeps the bookmarks of so many filters, besides that of no filter."""


class FilteredBookmarks(Bookmarks):
    """The bookmarks of a stream that may be read by a filter.

    Args:
        state: The stream's part of the state, as for :class:`~singer_http.resume.Bookmarks`.
        chosen: The ids that this run reads, by setting; empty for all.
    """

    def __init__(self, state: dict[str, Any], chosen: Mapping[str, Any]) -> None:
        super().__init__(state)
        self._filter = {FILTERS: fingerprint(chosen)} if chosen else {}

    @override
    def of(self, partition: Mapping[str, Any] | None) -> dict[str, Any]:
        return super().of(None if partition is None else {**partition, **self._filter})

    @override
    def get(self, partition: Mapping[str, Any] | None) -> dict[str, Any]:
        return super().get(None if partition is None else {**partition, **self._filter})

    def beside(self, partition: Mapping[str, Any] | None) -> list[dict[str, Any]]:
        """All bookmarks of a partition, whatever the filter."""
        return [one for one in self._partitions.values() if one["context"].items() >= (partition or {}).items()]

    def of_others(self, partition: Mapping[str, Any]) -> list[dict[str, Any]]:
        """All bookmarks of other partitions, whatever the filter."""
        return [one for one in self._partitions.values() if not one["context"].items() >= partition.items()]

    def drop_old_filters(self, partition: Mapping[str, Any] | None) -> None:
        """Forget the filters that were not read by for longest; never that of this run."""
        if not self._filter:
            return  # only runs with a filter add one
        filtered = [one for one in self.beside(partition) if FILTERS in one["context"]]
        filtered.sort(key=lambda one: (one is self.get(partition), one.get("replication_key_value", "")))
        for old in filtered[:-MOST_FILTERS]:
            self.stream["partitions"].remove(old)
            self._partitions = {key: one for key, one in self._partitions.items() if one is not old}
