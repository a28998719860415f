"""What a stream does without ``changes_only``: it sends every row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from singer_http.resume import Bookmarks

    Partition = Mapping[str, Any]
    Message = dict[str, Any]


class AllRows:
    """In the place of :class:`~singer_http.changes.changed_rows.ChangedRows`, whose methods it has."""

    is_known = False
    unchanged = 0

    def begin(self, bookmarks: Bookmarks) -> None:
        """Have no later run believe what STATE says of rows that were written: others will be."""
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
