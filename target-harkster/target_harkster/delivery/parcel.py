"""What is on its way through the outbox: posts to be, and the STATEs behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from target_harkster.layout.layout import Mode
    from target_harkster.vendor.posts import Content

    Refused = Callable[[str | None, str], None]


@dataclass(slots=True)
class Parcel:
    """A row, or a digest of rows, on its way to become a post.

    Attributes:
        stream: Where it comes from.
        channel: Id of the channel that it is for.
        key: What it is known by, as JSON.
        marker: The same, short and of a fixed form: found again in the channel.
        source: Hash of what the content is made of.
        content: Makes the content, where it is needed; may raise :class:`~target_harkster.layout.errors.RowError`.
        mode: Of its stream.
        refused: Called with the field, if it is about one, and the reason, should it come to no post.
        first_run: What becomes of new rows: ``publish``, ``draft`` or ``baseline``.
        is_first: The first run of the stream into the channel is not over.
        version: The table version of the row, where posts go with their rows.
        others: Ids of the other channels that the row may have been in before.
        is_wanted: Whether it is to become a post if it is none; asked only then. None where every row is.
    """

    stream: str
    channel: str
    key: str
    marker: str
    source: str
    content: Callable[[], Content]
    mode: Mode
    refused: Refused
    first_run: str = "publish"
    is_first: bool = False
    version: int | None = None
    others: Sequence[str] = ()
    is_wanted: Callable[[], bool] | None = None


@dataclass(slots=True)
class State:
    """A STATE on its way out, behind the posts that it is about."""

    value: Any
