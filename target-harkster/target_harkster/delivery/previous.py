"""What was posted before, for expressions to compare with: "up 4.5 h on last week"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from target_harkster.delivery.delivery import decode_content
from target_harkster.layout.fields import data_value
from target_harkster.ledger.store import Phase

if TYPE_CHECKING:
    from target_harkster.layout.layout import Layout
    from target_harkster.ledger.store import Entry, Ledger
    from target_harkster.vendor.client import HarksterApi
    from target_harkster.vendor.posts import Fields

_SHOWN = frozenset({Phase.PUBLISHED, Phase.UPDATING})
_UNSEEN = frozenset({Phase.BASELINE, Phase.DELETING, Phase.DELETED, Phase.REMOVED})


class Previous:
    """Finds the posts that go before others.

    Args:
        api: Tells what is in a post.
        ledger: Knows which posts there are, and what waits.
    """

    def __init__(self, api: HarksterApi, ledger: Ledger) -> None:
        self._api = api
        self._ledger = ledger

    def fields(self, layout: Layout, channel: str, marker: str, key: str) -> dict[str, Any] | None:
        """The values last posted, by the ids of their fields; None if there are none.

        Args:
            layout: Of the stream; says which post goes before.
            channel: Id of the channel.
            marker: Of the post that is being made.
            key: What its row or group is known by.
        """
        own = self._ledger.find(channel, [marker]).get(marker)
        if layout.previous_by is None:
            found = self.shown(own) if own is not None and own.phase in _SHOWN else None
        else:
            before = self._ledger.before(layout.stream, channel, None if own is None else own.seq)
            earlier = (entry for entry in before if entry.phase not in _UNSEEN and layout.goes_before(entry.key, key))
            entry = next(earlier, None)
            found = None if entry is None else self.shown(entry)
        return None if found is None else {field["id"]: data_value(field) for field in found if field.get("id")}

    def is_as_known(self, channel: str, marker: str) -> bool:
        """Whether a post, if there is one, is as the ledger has it: otherwise what the ledger has may be older."""
        entry = self._ledger.find(channel, [marker]).get(marker)
        if entry is None or entry.post_id is None or entry.phase not in {Phase.PUBLISHED, Phase.DRAFT}:
            return True
        remote = self._api.post(channel, entry.post_id)
        return remote is not None and remote.hash == entry.hash

    def shown(self, entry: Entry) -> Fields | None:
        """The fields of a post as they are, or wait to be."""
        if entry.content is not None and entry.phase not in _SHOWN:
            return decode_content(entry.content)[1]  # waits, and will be there before the other one
        remote = None if entry.post_id is None else self._api.post(entry.channel, entry.post_id)
        return None if remote is None else remote.content.fields
