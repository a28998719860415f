"""Gives expressions the post before: "up 4.5 h on last week"."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from singer_http.http.errors import ForbiddenError

from target_harkster.layout.errors import RowError
from target_harkster.ledger.phases import Phase
from target_harkster.vendor.field_types import data_value
from target_harkster.vendor.posts import Content

if TYPE_CHECKING:
    from target_harkster.layout.layout import Layout
    from target_harkster.ledger.store import Entry, Ledger
    from target_harkster.vendor.client import HarksterApi
    from target_harkster.vendor.posts import Fields, RemotePost

_SHOWN = frozenset({Phase.PUBLISHED, Phase.UPDATING})
_UNSEEN = frozenset({Phase.BASELINE, Phase.DELETING, Phase.DELETED, Phase.REMOVED})


def is_of_same_row(shown: Content, content: Content, alone: Content) -> bool:
    """Whether a post that was found may be of the row that came. Compared with itself it would show no change.

    Args:
        shown: What it shows: also how it differed from a post before it that nobody knows any more.
        content: What the row gives with this post as the one before.
        alone: What the row gives without one.
    """
    fields, others, there = ({one.get("id"): one for one in each.fields} for each in (content, alone, shown))
    same = [at for at in {*fields, *others, *there} if fields.get(at) == others.get(at)]
    is_name_same = content.name != alone.name or content.name == shown.name
    return is_name_same and all(fields.get(at) == there.get(at) for at in same)


@dataclass(frozen=True, slots=True)
class PreviousPosts:
    """Finds the post before another one."""

    api: HarksterApi
    ledger: Ledger
    _places: dict[tuple[str, str], defaultdict[str, list[tuple[tuple[Any, ...], str]]]] = field(
        default_factory=dict, init=False
    )
    """By stream and channel, and what they share, the posts in order: what they are ordered by, and their markers."""

    def fields(self, layout: Layout, channel: str, marker: str, key: str) -> dict[str, Any] | None:
        """The values of the post before, by field id; None if there is no such post.

        Raises:
            RowError: It cannot be read.
        """
        if layout.previous_by is None:
            own = self.ledger.find(channel, [marker]).get(marker)
            found = self.shown(own) if own is not None and own.phase in _SHOWN else None
        else:
            entry = self._before(layout, channel, marker, key)
            found = None if entry is None else self.shown(entry)
        return None if found is None else {one["id"]: data_value(one) for one in found if one.get("id")}

    def _before(self, layout: Layout, channel: str, marker: str, key: str) -> Entry | None:
        """The nearest post before that of a key, which from now on can itself be the post before another."""
        if (place := layout.place(key)) is None:
            return None
        at = layout.stream, channel
        if at not in self._places:
            self._places[at] = defaultdict(list)
            for other, its_marker in self.ledger.keys(*at):
                if (its_place := layout.place(other)) is not None:
                    self._places[at][its_place[0]].append((its_place[1], its_marker))
            for known in self._places[at].values():
                known.sort()
        shared, order = place
        known = self._places[at][shared]
        if (order, marker) not in known:
            insort(known, (order, marker))
        for _, other in reversed(known[: bisect_left(known, (order, ""))]):
            entry = self.ledger.find(channel, [other]).get(other)
            if entry is not None and entry.phase not in _UNSEEN:
                return entry
        return None

    def found(self, channel: str, marker: str) -> Content | None:
        """What the post of a row shows that was found in the channel, so that nobody knows its row; None if known."""
        own = self.ledger.find(channel, [marker]).get(marker)
        if own is None or own.source or own.post_id is None or own.phase not in _SHOWN:
            return None
        remote = self._read(channel, own.post_id)
        return None if remote is None else remote.content

    def is_as_known(self, channel: str, marker: str) -> bool:
        """Whether the API shows a post as the ledger has it. If not, the ledger may be older.

        Raises:
            RowError: It cannot be read.
        """
        entry = self.ledger.find(channel, [marker]).get(marker)
        if entry is None or entry.post_id is None or entry.phase not in {Phase.PUBLISHED, Phase.DRAFT}:
            return True
        remote = self._read(channel, entry.post_id)
        return remote is not None and remote.hash == entry.hash

    def shown(self, entry: Entry) -> Fields | None:
        """The fields that a post has, or will have."""
        if entry.content is not None and entry.phase not in _SHOWN:
            return Content.decoded(entry.content).fields  # it waits, and goes out first
        remote = None if entry.post_id is None else self._read(entry.channel, entry.post_id)
        return None if remote is None else remote.content.fields

    def _read(self, channel: str, post_id: str) -> RemotePost | None:
        try:
            return self.api.post(channel, post_id)
        except ForbiddenError as error:  # the other channels go on
            raise RowError(None, f"needs a post that cannot be read: {str(error).removesuffix('.')}") from None
