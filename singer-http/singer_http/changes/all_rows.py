"""What a stream does without ``changes_only``: it sends every row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from singer_http.resume import Bookmarks

    Partition = Mapping[str, Any]
    Message = dict[str, Any]


class AllRows:
    """Stands in for :class:`~singer_http.changes.changed_rows.ChangedRows`, with the same methods."""

    is_known = False
    unchanged = 0

    def begin(self, bookmarks: Bookmarks) -> None:
        """Forget in STATE which rows were written: this run sends all."""
        bookmarks.forget_written()

    def select(self, _partition: Partition | None, messages: list[Message]) -> list[Message]:
        """Choose all."""
        return messages

    def complete(self, partition: Partition | None) -> None:
        """Do nothing."""

    def leave_out(self) -> None:
        """Do nothing."""

    def gone(self, _partitions: int) -> Iterator[tuple[Partition | None, list[Message]]]:
        """Give nothing."""
        return iter(())

    def mark_written(self) -> None:
        """Do nothing."""
