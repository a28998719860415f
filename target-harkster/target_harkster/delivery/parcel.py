"""What travels through the queue: future posts, and the STATEs behind them."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Protocol

from singer_sdk.contrib.msgspec import encoder

from target_harkster.ledger.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from target_harkster.layout.layout import Mode
    from target_harkster.ledger.store import Entry
    from target_harkster.vendor.posts import Content

    Refused = Callable[[str | None, str], None]


LEFT_OUT = "is left out by the setting `when`"
"""What is said of a row that was rejected, and that does not meet its condition when it is tried again."""


@dataclass(frozen=True, slots=True)
class Lane:
    """The way of one stream into one channel: what all its rows share.

    Attributes:
        stream: Name of the stream.
        channel: Id of the channel.
        mode: Of the stream.
        first_run: What becomes of new rows: ``publish``, ``draft`` or ``baseline``.
        is_first: The first run of the stream into the channel is not over.
        others: Ids of the other channels that the rows may have been in before.
        former: Ids of channels that had rows of the stream, and that the settings no longer name beside those.
        is_conditional: Not every row becomes a post.
    """

    stream: str
    channel: str
    mode: Mode
    first_run: str = "publish"
    is_first: bool = False
    others: Sequence[str] = ()
    former: Collection[str] = ()
    is_conditional: bool = False


class Maker(Protocol):
    """Makes the posts of rows."""

    def content(self, parcel: Parcel) -> Content:
        """What the post of a row shows; raises RowError if the row cannot become a post."""
        ...

    def is_wanted(self, parcel: Parcel) -> bool:
        """Whether a row without a post is to get one."""
        ...

    def refuse(self, parcel: Parcel, field: str | None, reason: str) -> None:
        """Note that a row cannot become a post, why, and the id of the field at fault, if one is."""
        ...


@dataclass(slots=True)
class Parcel:
    """A row, or a digest of rows, on its way to become a post.

    Attributes:
        lane: Where it comes from and goes to.
        key: What it is known by, as JSON.
        marker: The same, short and of a fixed form: found again in the channel.
        source: Hash of what the content is made of.
        version: The table version of the row.
        maker: Makes its content when it is needed.
        record: The row; for a digest its rows.
        made: The content, where it is made already.
        refused: Called instead of the maker if it cannot become a post.
    """

    lane: Lane
    key: str
    marker: str
    source: str
    version: int
    maker: Maker
    record: Any
    made: Content | None = None
    refused: Refused | None = None

    def content(self) -> Content:
        """What the post shows, see :meth:`Maker.content`."""
        return self.maker.content(self) if self.made is None else self.made

    def is_wanted(self) -> bool:
        """See :meth:`Maker.is_wanted`."""
        return self.maker.is_wanted(self)

    def row_hash(self, known: Entry | None) -> list[str]:
        """The hash of the row, if it was only recorded and has no post to compare with."""
        if known is None or known.phase is not Phase.BASELINE:
            return []
        return [blake2b(encoder.encode(self.record), digest_size=16).hexdigest()]

    def leave_out(self) -> None:
        """Note that the row does not meet its condition. One that was rejected is kept, as it may meet it later."""
        if self.refused is not None:
            self.refused(None, LEFT_OUT)

    def refuse(self, field: str | None, reason: str) -> None:
        """See :meth:`Maker.refuse`."""
        if self.refused is None:
            self.maker.refuse(self, field, reason)
        else:
            self.refused(field, reason)


@dataclass(slots=True)
class State:
    """A STATE behind the posts that it covers."""

    value: Any
