"""What becomes of a row, and of its posts, by what the ledger knows of it. Nothing here looks at anything else."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from target_harkster.ledger.store import Phase

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from target_harkster.layout.layout import Mode
    from target_harkster.ledger.store import Entry
    from target_harkster.vendor.posts import RemotePost


class Decision(enum.Enum):
    """What is to be done with a row."""

    CREATE = "create"
    UPDATE = "update"
    REPLACE = "replace"
    """The row has changed while it waits for the quota: the newer content waits in its place."""
    UNCHANGED = "unchanged"
    LEAVE = "leave"
    """The row is known, and that is enough."""


_UNSEEN = frozenset({Phase.BASELINE, Phase.DELETED})
"""Phases without a post, in which a row that changed, or came back, is news."""
_WAITING = frozenset({Phase.COUNTED, Phase.DEFERRED, Phase.INTENT, Phase.RENEWING})
"""Phases in which there is no post that stays."""
_OVER = frozenset({Phase.DELETED, Phase.REMOVED})
"""Phases in which there is to be no post."""


def decide(known: Entry | None, hashes: Collection[str], mode: Mode) -> Decision:
    """Decide on a row.

    Args:
        known: What the ledger has of it.
        hashes: Of what it comes to now, and of the row itself where there is no post of it.
        mode: Of its stream.
    """
    if known is None:
        return Decision.CREATE
    if mode == "append" or known.phase is Phase.REMOVED:
        return Decision.LEAVE
    if known.phase is Phase.DELETED:
        return Decision.CREATE
    if any(one in hashes for one in known.hash.split()):
        return Decision.UNCHANGED
    if known.phase in _UNSEEN:
        return Decision.CREATE
    return Decision.REPLACE if known.phase in _WAITING else Decision.UPDATE


def own_post(posts: Sequence[RemotePost], entry: Entry | None) -> RemotePost | None:
    """Of the posts of one row, drafts and others, the one that is to stay.

    Args:
        posts: Those that there are; at least one.
        entry: What the ledger has of the row.
    """
    public = next((post for post in posts if not post.is_draft), None)
    if entry is not None and entry.phase in _OVER:
        return public
    if entry is not None and entry.post_id is not None:
        return next((post for post in posts if post.id == entry.post_id), public)
    return public or posts[0]
