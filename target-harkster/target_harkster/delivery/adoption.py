"""Enters the posts that a channel shows into a ledger that is lost or an older copy, and notices such a copy."""

from __future__ import annotations

import itertools
import logging
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from target_harkster.delivery.found_posts import enter_shown, is_accounted_for, is_as_known, stays
from target_harkster.ledger.database import LedgerError
from target_harkster.ledger.keys import spellings
from target_harkster.ledger.phases import Phase
from target_harkster.ledger.store import Entry
from target_harkster.vendor.posts import marker_of, prefix_of, stream_marker

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from target_harkster.delivery.exactly_once import Delivery
    from target_harkster.ledger.rejects import Rejects
    from target_harkster.ledger.store import Ledger
    from target_harkster.vendor.client import Channel, HarksterApi
    from target_harkster.vendor.posts import RemotePost

logger = logging.getLogger(__name__)

_IN_LEDGER_ALONE = (Phase.DEFERRED, Phase.INTENT, Phase.RENEWING)
"""Phases in which a post is made by the next run, of content that only the ledger has."""
NEWEST = 20
"""So many of the newest posts of a channel are compared with the ledger."""


def _oldest_first(posts: Mapping[str, RemotePost]) -> list[tuple[str, RemotePost]]:
    """Sort posts by age. Lists begin with the newest, unless the times of publication show otherwise."""
    listed = list(posts.items())
    times = [post.published_at for post in posts.values() if post.published_at is not None]
    return listed if times and times[0] < times[-1] else listed[::-1]


def _newest(posts: Iterator[RemotePost]) -> list[RemotePost]:
    """The newest of some posts of a list, which begins or ends with the newest."""
    first = list(itertools.islice(posts, NEWEST))
    times = [post.published_at for post in first if post.published_at is not None]
    return list(deque(posts, NEWEST)) or first if times and times[0] < times[-1] else first


@dataclass(frozen=True, slots=True, eq=False)
class Adoption:
    """Enters posts into the ledger that it does not know, or knows otherwise."""

    api: HarksterApi
    ledger: Ledger
    delivery: Delivery
    rejects: Rejects

    def check_age(self, channel: Channel, streams: Collection[str]) -> None:
        """Compare the ledger with the newest posts of streams, or with all if posts wait that only the ledger has.

        Raises:
            LedgerError: It does not know some of them: it is an older copy, and would post them again.
        """
        if not streams:
            return
        prefixes = tuple(map(stream_marker, streams))
        listed = (post for post in self.api.posts(channel.id) if post.marker and post.marker.startswith(prefixes))
        newest = list(listed) if any(self.ledger.entries(channel.id, _IN_LEDGER_ALONE)) else _newest(listed)
        posts = {str(post.marker): post for post in newest}
        known = self.ledger.find(channel.id, list(posts))
        doubts = self.ledger.doubts(channel.id)
        for marker, post in posts.items():
            if not is_accounted_for(known.get(marker), post, is_in_doubt=marker in doubts):
                raise LedgerError(
                    f"{channel.path}: there are posts that the ledger does not know, as if an older copy of it had been"
                    " put back. Nothing was posted there, lest they be posted again. Enter them with"
                    f" `harkster adopt --channel {channel.id}`. It drops what waits in the ledger alone, so let the tap"
                    " send all rows once after it, without its STATE: what waited is posted when its row comes again."
                )

    def adopt(self, channel: Channel) -> int:
        """Enter the posts of a channel into a ledger that may be an older copy. What the channel shows is newer.

        Posts of streams that the ledger does not know are entered when a run brings the stream. Posts that waited and
        are not there are dropped: they may have been published, and deleted, since.

        Returns:
            How many posts were entered: new ones, and those that the ledger knew with another content or phase.
        """
        self.rejects.load(channel.id)
        streams = self.ledger.streams(channel.id)
        ours = self.delivery.ours(channel, streams)
        waiting: list[str] = []
        for entry in self.ledger.unfinished(channel.id, streams):
            if entry.marker in ours:
                continue
            # The API may not list drafts.
            remote = None if entry.post_id is None else self.api.post(channel.id, entry.post_id)
            if remote is not None:
                ours[entry.marker] = remote
            elif entry.phase not in {Phase.UPDATING, Phase.DELETING}:
                waiting.append(entry.marker)
        changed = (group for stream in streams for group in self.ledger.digests.changed(stream))
        groups = [marker for at, marker, _ in changed if at == channel.id]
        waiting += set(groups).difference(ours, self.ledger.find(channel.id, groups))
        self.ledger.digests.distrust(channel.id, waiting)
        for marker in waiting:
            self.ledger.forget(channel.id, marker)
        self.ledger.forget_gone([channel.id])  # the rows may have come back since
        if waiting:
            logger.warning(
                "%s: %d posts that waited in the ledger are dropped, as they may have been posted and deleted since."
                " They are posted when their rows come again: let the tap send all rows once, without its STATE.",
                channel.path,
                len(waiting),
            )
        return self.enter(channel, streams, ours, is_newer=True)

    def enter(self, channel: Channel, streams: Iterable[str], ours: dict[str, RemotePost], *, is_newer: bool) -> int:
        """Enter posts that the ledger does not know, or knows otherwise.

        Args:
            channel: Where they are.
            streams: Whose posts they are.
            ours: The posts, by marker.
            is_newer: What they show is newer than what the ledger was to make of them.
        """
        known = self.ledger.find(channel.id, list(ours))
        names = {stream_marker(stream): stream for stream in streams}
        entries: list[Entry] = []
        for marker, remote in _oldest_first(ours):
            entry, stream = known.get(marker), names[prefix_of(marker)]
            if entry is None:
                entry = Entry(channel.id, marker, stream, "", Phase.DRAFT, remote.hash, self.ledger.next_seq())
            elif is_newer and is_as_known(entry, remote):
                continue
            entry.stream = stream
            if not is_newer or marker not in known:
                entry.held = remote.is_held
            if is_newer or stays(entry, remote):
                enter_shown(entry, remote)
                entry.phase = Phase.DRAFT if remote.is_draft else Phase.PUBLISHED
            else:
                entry.phase, entry.post_id = Phase.UPDATING, remote.id
            entries.append(entry)
        self.ledger.save(*entries)
        if is_newer:
            self.ledger.digests.distrust(channel.id, [entry.marker for entry in entries])
        adopted = {entry.marker for entry in entries}
        for reject in self.rejects.earlier:
            prefix = stream_marker(reject.stream)
            markers = {marker_of(prefix, spelling) for spelling in spellings(reject.key or "")}
            # A row is newer than its post if it was rejected by a run that could not look at the channel.
            if (reject.channel == channel.id and not adopted.isdisjoint(markers)) and (
                is_newer or self.ledger.is_first_run_over(reject.stream, channel.id)
            ):
                self.rejects.strike(reject.id)
        self.rejects.sync()
        if entries:
            logger.warning(
                "%s: %d posts of this target were found that the ledger did not know, or not as they are now; they are"
                " not posted again, and updated when their rows come.",
                channel.path,
                len(entries),
            )
        return len(entries)
