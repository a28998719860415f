"""Follows rows that go to another channel: their old posts are deleted once the new ones are published."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from target_harkster.ledger.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from target_harkster.delivery.courier import Courier
    from target_harkster.delivery.parcel import Parcel
    from target_harkster.ledger.store import Entry, Ledger
    from target_harkster.vendor.client import Channel

logger = logging.getLogger(__name__)

_STAYING = frozenset({Phase.PUBLISHED, Phase.UPDATING, Phase.MOVING, Phase.BASELINE})
"""Phases of what people see, or never will. As for drafts that are held, people may have published them."""


@dataclass(slots=True, eq=False)
class Moves:
    """Follows rows from channel to channel.

    Attributes:
        channels: By id.
        on_move: What becomes of old posts: ``delete`` or ``keep``, but for those that nobody has seen.
        deleted: Published posts that were deleted, by stream.
        stale: How many posts stay although their rows went elsewhere, by stream and id of a channel that the settings
            no longer name.
    """

    courier: Courier
    ledger: Ledger
    channels: Mapping[str, Channel]
    on_move: str
    deleted: Counter[str] = field(default_factory=Counter, init=False)
    stale: Counter[tuple[str, str]] = field(default_factory=Counter, init=False)
    _left: dict[tuple[str, str], list[Entry]] = field(default_factory=dict, init=False)
    _withdrawn: defaultdict[tuple[str, str], list[Entry]] = field(default_factory=lambda: defaultdict(list), init=False)

    def elsewhere(self, parcels: Iterable[Parcel]) -> Mapping[str, list[Entry]]:
        """The posts, or future posts, that rows have in other channels, by marker."""
        had: defaultdict[str, list[Entry]] = defaultdict(list)
        others = {parcel.marker: parcel.lane.others for parcel in parcels if parcel.lane.others}
        channels = {channel for some in others.values() for channel in some}
        for entry in self.ledger.elsewhere(channels, list(others)) if others else ():
            if entry.channel in others[entry.marker]:
                had[entry.marker].append(entry)
        return had

    def leave(self, parcel: Parcel, entries: list[Entry]) -> list[Entry]:
        """Note that a row has left its old posts. Returns those that the ledger is to save."""
        left: list[Entry] = []
        for entry in entries:
            if self.on_move == "delete" or not (entry.held or entry.phase in _STAYING):
                if entry.phase is Phase.UPDATING:
                    entry.content = None  # the post stays as it was
                entry.phase = Phase.MOVING
                left.append(entry)
                continue
            entry.source = ""  # so that its row counts as changed when it comes back, and leaves what waits elsewhere
            if entry.post_id is not None:
                logger.warning(
                    "%s, %s: a post (%s) is stale: its row went to %s.",
                    self.channels[entry.channel].path,
                    parcel.lane.stream,
                    entry.marker,
                    self.channels[parcel.lane.channel].path,
                )
        if left:
            self._left[parcel.lane.channel, parcel.marker] = left
        return entries

    def note_stale(self, parcel: Parcel) -> None:
        """Count the posts of a row, new in its channel, that stay in channels that the settings no longer name."""
        lane = parcel.lane
        for entry in self.ledger.elsewhere(lane.former, [parcel.marker]) if lane.former else ():
            self.stale[lane.stream, entry.channel] += entry.phase in {Phase.PUBLISHED, Phase.UPDATING, Phase.MOVING}

    def withdraw(self, channel: str, entries: Iterable[Entry]) -> None:
        """Take what nobody has seen of rows that went to a channel, and are to have no post there."""
        for entry in entries:
            self._withdrawn[channel, entry.marker].append(entry)

    def finish(self, channel: str, marker: str) -> None:
        """Delete the old posts of a row if its new one, in this channel, is published, and what was withdrawn of it."""
        self._delete(self._withdrawn.pop((channel, marker), ()))
        left = self._left.get((channel, marker))
        if left and _replaces(self.ledger.find(channel, [marker]).get(marker)):
            self._delete(self._left.pop((channel, marker)))

    def resume(self, stream: str, channels: Collection[str]) -> None:
        """Finish what earlier runs left of a stream."""
        moving: defaultdict[str, list[Entry]] = defaultdict(list)
        for channel in channels:
            for entry in self.ledger.entries(channel, [Phase.MOVING]):
                # Only what waited has its content in the ledger.
                if entry.stream == stream and (self.on_move == "delete" or entry.content is not None):
                    moving[entry.marker].append(entry)
        for channel in channels if moving else ():
            for marker, entry in self.ledger.find(channel, list(moving)).items():
                if _replaces(entry):
                    self._delete(moving.pop(marker))

    def _delete(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self.deleted[entry.stream] += self.courier.remove(self.channels[entry.channel], entry)


def _replaces(new: Entry | None) -> bool:
    """Whether a new post has taken the place of the old ones, so that these can be deleted."""
    if new is None:
        return False
    return new.phase in {Phase.PUBLISHED, Phase.REMOVED} or (new.phase is Phase.DRAFT and new.held)
