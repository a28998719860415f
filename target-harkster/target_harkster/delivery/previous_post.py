"""Gives expressions the post before: "up 4.5 h on last week"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from target_harkster.ledger.store import Phase
from target_harkster.vendor.field_types import data_value
from target_harkster.vendor.posts import Content

if TYPE_CHECKING:
    from target_harkster.layout.layout import Layout
    from target_harkster.ledger.store import Entry, Ledger
    from target_harkster.vendor.client import HarksterApi
    from target_harkster.vendor.posts import Fields

_SHOWN = frozenset({Phase.PUBLISHED, Phase.UPDATING})
_UNSEEN = frozenset({Phase.BASELINE, Phase.DELETING, Phase.DELETED, Phase.REMOVED})


@dataclass(frozen=True, slots=True)
class PreviousPosts:
    """Finds the post before another one."""

    api: HarksterApi
    ledger: Ledger

    def fields(self, layout: Layout, channel: str, marker: str, key: str) -> dict[str, Any] | None:
        """The values of the post before, by field id; None if there is no such post."""
        own = self.ledger.find(channel, [marker]).get(marker)
        if layout.previous_by is None:
            found = self.shown(own) if own is not None and own.phase in _SHOWN else None
        else:
            before = self.ledger.before(layout.stream, channel, None if own is None else own.seq)
            earlier = (entry for entry in before if entry.phase not in _UNSEEN and layout.goes_before(entry.key, key))
            entry = next(earlier, None)
            found = None if entry is None else self.shown(entry)
        return None if found is None else {field["id"]: data_value(field) for field in found if field.get("id")}

    def is_as_known(self, channel: str, marker: str) -> bool:
        """Whether the API shows a post as the ledger has it. If not, the ledger may be older."""
        entry = self.ledger.find(channel, [marker]).get(marker)
        if entry is None or entry.post_id is None or entry.phase not in {Phase.PUBLISHED, Phase.DRAFT}:
            return True
        remote = self.api.post(channel, entry.post_id)
        return remote is not None and remote.hash == entry.hash

    def shown(self, entry: Entry) -> Fields | None:
        """The fields that a post has, or will have."""
        if entry.content is not None and entry.phase not in _SHOWN:
            return Content.decoded(entry.content).fields  # it waits, and goes out first
        remote = None if entry.post_id is None else self.api.post(entry.channel, entry.post_id)
        return None if remote is None else remote.content.fields
