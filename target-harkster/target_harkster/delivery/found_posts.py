"""Posts of this target that are found in a channel: what the ledger knows of them, and what it learns from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from target_harkster.ledger.phases import Phase
from target_harkster.vendor.posts import stream_marker

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from target_harkster.ledger.store import Entry
    from target_harkster.vendor.client import HarksterApi
    from target_harkster.vendor.posts import RemotePost

_WITHOUT_POST = frozenset({Phase.DEFERRED, Phase.BASELINE, Phase.DELETED, Phase.RENEWING})
"""Phases in which a row has no post and may get one."""
_LEAVING = frozenset({Phase.MOVING, Phase.DELETING})
"""Phases in which a post is there that is to go."""
_OVER = frozenset({Phase.DELETED, Phase.REMOVED})
"""Phases in which there must be no post."""


def listed_posts(api: HarksterApi, channel_id: str, streams: Iterable[str]) -> dict[str, list[RemotePost]]:
    """The posts of some streams in a channel, by marker.

    If a post goes between the requests for two pages, the list may leave another one out, which would then be made
    again. So it is read until it shows nothing new.
    """
    prefixes = tuple(map(stream_marker, streams))
    found: dict[str, RemotePost] = {}
    before = -1
    while before < len(found):
        before = len(found)
        found |= {post.id: post for post in api.posts(channel_id) if (post.marker or "").startswith(prefixes)}
    listed: dict[str, list[RemotePost]] = {}
    for post in found.values():
        listed.setdefault(str(post.marker), []).append(post)
    return listed


def own_post(posts: Sequence[RemotePost], entry: Entry | None) -> RemotePost | None:
    """Choose which of several posts of one row stays."""
    public = next((post for post in posts if not post.is_draft), None)
    if entry is not None and entry.phase in _OVER:
        return public
    if entry is not None and entry.post_id is not None:
        return next((post for post in posts if post.id == entry.post_id), public)
    return public or posts[0]


def is_accounted_for(entry: Entry | None, post: RemotePost, *, is_in_doubt: bool) -> bool:
    """Whether the ledger knows of a post, so that no second one is made.

    Args:
        entry: What the ledger has of its row.
        post: The post.
        is_in_doubt: It may be from a request whose answer was lost.
    """
    if post.is_draft and is_in_doubt:
        return True
    if entry is None:
        return False
    if entry.phase is Phase.INTENT:
        # The target publishes only a post whose id the ledger has. Of one that it does not have, people did.
        return post.is_draft or is_in_doubt
    if entry.phase is Phase.DELETED and post.is_draft:
        return True  # of people, who copied the post while it was there
    return entry.post_id == post.id or entry.phase not in _WITHOUT_POST


def is_as_known(entry: Entry, post: RemotePost) -> bool:
    """Whether a post is as the ledger has it."""
    is_same = entry.hash == post.hash and entry.phase is (Phase.DRAFT if post.is_draft else Phase.PUBLISHED)
    return entry.post_id == post.id and (is_same or entry.phase in _LEAVING)


def stays(entry: Entry, post: RemotePost) -> bool:
    """Whether a post that is found stays as it is. Otherwise its row, which came after it, changes it."""
    return not entry.source or entry.hash == post.hash


def enter_shown(entry: Entry, remote: RemotePost) -> None:
    """Enter what a post shows: what the ledger had of it was older, or people changed it."""
    if entry.hash != remote.hash:
        entry.hash, entry.source = remote.hash, ""  # what the row says is seen when it comes again
    entry.post_id = remote.id
    entry.content = remote.content.encoded() if remote.is_draft else None
