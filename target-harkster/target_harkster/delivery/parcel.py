"""What is on its way through the outbox: posts to be, and the STATEs behind them."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from target_harkster.ledger.store import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from target_harkster.layout.layout import Mode
    from target_harkster.ledger.store import Entry
    from target_harkster.vendor.posts import Content

    Refused = Callable[[str | None, str], None]


@dataclass(frozen=True, slots=True)
class Lane:
    """What all rows of a stream that go to one channel have in common.

    Attributes:
        stream: Name of the stream.
        channel: Id of the channel.
        mode: Of the stream.
        first_run: What becomes of new rows: ``publish``, ``draft`` or ``baseline``.
        is_first: The first run of the stream into the channel is not over.
        others: Ids of the other channels that the rows may have been in before.
        is_conditional: Not every row becomes a post.
    """

    stream: str
    channel: str
    mode: Mode
    first_run: str = "publish"
    is_first: bool = False
    others: Sequence[str] = ()
    is_conditional: bool = False


@dataclass(slots=True)
class Parcel(abc.ABC):
    """A row, or a digest of rows, on its way to become a post.

    Attributes:
        lane: Where it comes from and goes to.
        key: What it is known by, as JSON.
        marker: The same, short and of a fixed form: found again in the channel.
        source: Hash of what the content is made of.
        version: The table version of the row.
    """

    lane: Lane
    key: str
    marker: str
    source: str
    version: int

    @abc.abstractmethod
    def row(self) -> bytes:
        """The row, or the rows, as JSON."""

    def row_hash(self, known: Entry | None) -> list[str]:
        """The hash of the row, where what is known of it tells of the row and of no post."""
        if known is None or known.phase is not Phase.BASELINE:
            return []
        return [blake2b(self.row(), digest_size=16).hexdigest()]

    @abc.abstractmethod
    def content(self) -> Content:
        """What the post shows.

        Raises:
            RowError: The row comes to no post.
        """

    @abc.abstractmethod
    def refuse(self, field: str | None, reason: str) -> None:
        """Note that it comes to no post: the id of the field, if it is about one, and why."""

    def is_wanted(self) -> bool:
        """Whether it is to become a post if it is none yet."""
        return True


@dataclass(slots=True)
class State:
    """A STATE on its way out, behind the posts that it is about."""

    value: Any
