"""The summary that a run logs at its end."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

from target_harkster.ledger.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from target_harkster.delivery.channels import Channels
    from target_harkster.delivery.moves import Moves
    from target_harkster.delivery.post_quota import PostQuota
    from target_harkster.ledger.store import Ledger

logger = logging.getLogger(__name__)

WORDS = {
    "create": "new",
    "update": "changed",
    "replace": "changed while they wait",
    "unchanged": "unchanged",
    "leave": "known",
    "superseded": "superseded by a later row",
    "gone": "marked as deleted",
    "baseline": "recorded and not posted",
    "left out": "left out (when)",
    "open": "groups not closed yet",
    "delete": "gone and deleted",
    "moved": "moved, and deleted in the old channel",
    "rejected": "rejected",
    "now published": "delivered",
    "now draft": "left as drafts",
    "now deferred": "put off",
    "kept": "kept for a later run",
    "now removed": "deleted there by people",
}
"""The names of the tally in words, in the order of the summary."""


def tell_rows(tally: Mapping[str, Counter[str]], rows: Mapping[str, int]) -> None:
    """Log by stream what became of the rows."""
    for stream, counts in tally.items():
        done = ", ".join(f"{counts[name]} {words}" for name, words in WORDS.items() if counts[name])
        logger.info("%s: %d rows: %s.", stream, rows.get(stream, 0), done or "nothing to do")


def tell_quota(channels: Channels, post_quota: PostQuota, ledger: Ledger) -> None:
    """Log how much quota was used, what is left, and what waits."""
    logger.info("Posts published in this run: %d.", post_quota.published)
    for channel in {channel.account_id: channel for channel in channels.opened.values()}.values():
        if post_quota.is_known(channel):
            logger.info("%s: %s.", channel.names[0], post_quota.in_words(channel))
    for channel in channels.opened.values():
        if waiting := len(ledger.unfinished(channel.id)):
            logger.warning("%s: posts that wait for a later run: %d.", channel.path, waiting)
        if moving := len(list(ledger.entries(channel.id, [Phase.MOVING]))):
            words = "posts that stay until they are published in the channel that their rows name now"
            logger.warning("%s: %s: %d.", channel.path, words, moving)


def tell_unnamed(streams: Iterable[str], channels: Channels, moves: Moves, ledger: Ledger) -> None:
    """Log what of some streams waits for channels that the settings do not name, or stays in them."""
    for stream in streams:
        waiting = {(channel, marker) for channel, marker, _ in ledger.digests.changed(stream)}
        for channel in ledger.channels_of(stream).difference(channels.opened):
            waiting |= {(channel, entry.marker) for entry in ledger.unfinished(channel, {stream})}
        for channel, posts in Counter(channel for channel, _ in waiting if channel not in channels.opened).items():
            logger.warning(
                "%s: posts that wait for the channel %s, which the settings do not name: %d. A run that names it"
                " publishes them, also if their rows have posts elsewhere by then. If they are not to be published,"
                " delete their drafts there, and run harkster adopt --channel %s.",
                stream,
                channels.name(channel),
                posts,
                channel,
            )
    for (stream, channel), posts in (+moves.stale).items():
        logger.warning(
            "%s: posts that stay in the channel %s, which the settings do not name, although their rows name another"
            " one: %d. Delete them there by hand. Posts move only if `allowed` has their old channel too.",
            stream,
            channels.name(channel),
            posts,
        )
