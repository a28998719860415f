"""Channels: found by their ids or names, and made ready to be posted to."""

from __future__ import annotations

import itertools
import logging
from collections import deque
from typing import TYPE_CHECKING, Any

from singer_http.http.errors import ConfigurationError, ForbiddenError, NotFoundError

from target_harkster.delivery.delivery import encode_content
from target_harkster.ledger.database import LedgerError
from target_harkster.ledger.store import Entry, Phase
from target_harkster.vendor.posts import stream_marker

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from target_harkster.delivery.attempts import Attempts
    from target_harkster.delivery.delivery import Delivery
    from target_harkster.delivery.quota import Allowance
    from target_harkster.ledger.rejects import Rejects
    from target_harkster.ledger.store import Ledger
    from target_harkster.vendor.client import Channel, HarksterApi
    from target_harkster.vendor.posts import RemotePost

logger = logging.getLogger(__name__)

_WITHOUT_POST = frozenset({Phase.DEFERRED, Phase.BASELINE, Phase.DELETED, Phase.RENEWING})
"""Phases in which there is no post, and one may be made."""
NEWEST = 20
"""Posts of a channel that the ledger is compared with."""
_CANDIDATES = 20
"""Channels that a message lists at most."""


def find_channel(wanted: str, channels: Sequence[Channel], setting: str) -> Channel:
    """The one channel of an id, or of its name after those of account and workspace.

    Names may hold slashes themselves, so they are compared as a whole and never taken apart.

    Args:
        wanted: Id or ``Account/Workspace/Channel``.
        channels: Those there are.
        setting: To name in a message.

    Raises:
        ConfigurationError: There is none, or more than one.
    """
    found = [channel for channel in channels if channel.id == wanted] or [
        channel for channel in channels if channel.path == wanted
    ]
    if len(found) == 1:
        return found[0]
    if found:
        listed = ", ".join(f"{channel.id} ({channel.path})" for channel in found)
        raise ConfigurationError(
            f"{setting} is ambiguous: {wanted} is the name of several channels; use an id: {listed}."
        )
    near = [channel for channel in channels if wanted.rsplit("/", 1)[-1].casefold() in channel.path.casefold()]
    told = (near or channels)[:_CANDIDATES]
    listed = ", ".join(f"{channel.path} ({channel.id})" for channel in told) or "none at all"
    more = f" and {len(channels) - len(told)} others: see harkster channels" if len(told) < len(channels) else ""
    raise ConfigurationError(f"{setting}: this token shows no channel {wanted}; it shows {listed}{more}.")


def _oldest_first(posts: Mapping[str, RemotePost]) -> list[tuple[str, RemotePost]]:
    """Posts in the order of their creation: lists begin with the newest, or else what was published tells."""
    listed = list(posts.items())
    times = [post.published_at for post in posts.values() if post.published_at is not None]
    return listed if times and times[0] < times[-1] else listed[::-1]


def _newest(posts: Iterator[RemotePost]) -> list[RemotePost]:
    """The newest posts, of a list that begins with them or ends with them."""
    first = list(itertools.islice(posts, NEWEST))
    times = [post.published_at for post in first if post.published_at is not None]
    return list(deque(posts, NEWEST)) or first if times and times[0] < times[-1] else first


def _is_accounted_for(entry: Entry | None, post: RemotePost) -> bool:
    """Whether what the ledger knows of a row leaves room for a post that is there, and makes no other one."""
    if entry is None:
        return False
    return entry.post_id == post.id or entry.phase not in _WITHOUT_POST


class Channels:
    """The channels of a run.

    Args:
        api: Lists them.
        ledger: Knows what was posted to them.
        allowance: Knows what may be.
        delivery: Finds the posts of this target.
        config: The target's settings.
        rejects: What could not be posted to them.
        attempts: Finish what earlier runs have left.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what it takes to open one
        self,
        api: HarksterApi,
        ledger: Ledger,
        allowance: Allowance,
        delivery: Delivery,
        config: Mapping[str, Any],
        rejects: Rejects,
        attempts: Attempts,
    ) -> None:
        self._api = api
        self._ledger = ledger
        self._allowance = allowance
        self._delivery = delivery
        self._rejects = rejects
        self._attempts = attempts
        self._first_run: str = config["first_run"]
        self._listed: list[Channel] | None = None
        self._first: dict[tuple[str, str], bool] = {}
        self.opened: dict[str, Channel] = {}
        """Those that posts may be delivered to, by id."""

    def find(self, wanted: str, setting: str) -> Channel:
        """The channel of an id or name, see :func:`find_channel`."""
        if self._listed is None:
            self._listed = self._api.channels()
        return find_channel(wanted, self._listed, setting)

    def open(self, channel: Channel) -> None:
        """Make a channel ready: nobody else writes to it, and nothing is left unfinished in it."""
        if channel.id in self.opened:
            return
        self._ledger.hold(channel.id)
        self._rejects.load(channel.id)
        self.opened[channel.id] = channel
        try:
            self._allowance.open(channel)
            if self._ledger.is_empty(channel.id):
                # A ledger that is empty may be a ledger that was lost: the channel itself knows better.
                self.adopt(channel)
            else:
                self._check_age(channel)
            self._attempts.resume(channel)
        except (ForbiddenError, NotFoundError) as error:
            self._attempts.close(channel, error)

    def clear_up(self) -> None:
        """Delete drafts that are there twice, as far as they can be seen by now."""
        for channel in self.opened.values():
            if channel.id not in self._attempts.closed:
                self._delivery.clear_up(channel)

    def _check_age(self, channel: Channel) -> None:
        """Compare the ledger with the newest posts of a channel.

        Raises:
            LedgerError: Some were made after what it knows: it is an older copy, and would post them again.
        """
        posts = {post.marker: post for post in _newest(self._api.posts(channel.id)) if post.marker is not None}
        known = self._ledger.find(channel.id, list(posts))
        is_in_doubt = self._ledger.in_doubt(channel.id) is not None
        for marker, post in posts.items():
            if is_in_doubt and post.is_draft:
                continue  # from a request that nobody got an answer to, perhaps
            entry = known.get(marker)
            # Markers of a stream that the ledger knows nothing of here are those of another job.
            is_ours = entry is not None or self._ledger.has_marker_like(channel.id, marker)
            if is_ours and not _is_accounted_for(entry, post):
                raise LedgerError(
                    f"{channel.path}: there are posts that the ledger does not know, as if an older copy of it had been"
                    f" put back. Enter them with `harkster adopt --channel {channel.id}`, lest they be posted again."
                )

    def adopt(self, channel: Channel) -> int:
        """Enter posts into the ledger that this target made and the ledger does not know of.

        Returns:
            How many there were.
        """
        ours = self._delivery.ours(channel)
        known = self._ledger.find(channel.id, list(ours))
        entries: list[Entry] = []
        for marker, remote in _oldest_first(ours):
            if (entry := known.get(marker)) is None:
                entry = Entry(channel.id, marker, "", "", Phase.DRAFT, remote.hash, self._ledger.next_seq())
                entry.held = remote.is_held
            elif entry.phase is not Phase.INTENT and _is_accounted_for(entry, remote):
                continue
            elif entry.content is None:
                entry.hash, entry.source = remote.hash, ""  # what has changed since is seen when its row comes
            if entry.hash == remote.hash:
                entry.phase = Phase.DRAFT if remote.is_draft else Phase.PUBLISHED
                entry.content = encode_content(remote.content) if remote.is_draft else None
            else:
                entry.phase = Phase.UPDATING
            entry.post_id = remote.id
            entries.append(entry)
        self._ledger.save(*entries)
        # What the ledger knows of the rows of these is older than their posts.
        self._rejects.outdated(channel.id, {entry.marker for entry in entries})
        if entries:
            logger.warning(
                "%s: %d posts of this target were found that the ledger did not know; they are not posted again.",
                channel.path,
                len(entries),
            )
        return len(entries)

    def first_run(self, stream: str, channel: Channel) -> str:
        """What becomes of new rows: ``publish``, but as it is set in a first run."""
        return self._first_run if self.is_first(stream, channel) else "publish"

    def is_first(self, stream: str, channel: Channel) -> bool:
        """Whether the first run of a stream into a channel is not over."""
        at = (stream, channel.id)
        if at not in self._first:
            self._ledger.claim(stream, stream_marker(stream))
            self._first[at] = not self._ledger.is_settled(stream, channel.id)
        return self._first[at]

    @property
    def begun(self) -> list[tuple[str, str]]:
        """The streams of which rows came, each with the id of a channel."""
        return list(self._first)

    def settle(self, streams: Iterable[tuple[str, str]]) -> None:
        """Note that the run came to its end: what comes of these streams into these channels from now on is news."""
        for stream, channel in streams:
            if channel not in self._attempts.closed and not self._ledger.is_settled(stream, channel):
                self._ledger.settle(stream, channel)
