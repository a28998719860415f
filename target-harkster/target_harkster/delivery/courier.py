"""Delivers posts, and leaves in the ledger what cannot be delivered, so that the rest goes on."""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from singer_http.http.errors import ForbiddenError, NotFoundError, ServerFailedError

from target_harkster.delivery.exactly_once import TRIES
from target_harkster.delivery.found_posts import enter_shown
from target_harkster.ledger.model import GONE
from target_harkster.ledger.phases import UNFINISHED, Phase
from target_harkster.ledger.rejects import Reject, row_of
from target_harkster.vendor.client import PostRefusedError, UncertainError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from singer_http.http.errors import ApiError

    from target_harkster.delivery.exactly_once import Delivery
    from target_harkster.ledger.rejects import Kind, RejectId, Rejects
    from target_harkster.ledger.store import Entry, Ledger
    from target_harkster.vendor.client import Channel
    from target_harkster.vendor.posts import RemotePost

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Courier:
    """Delivers posts one by one.

    Attributes:
        delivered: Told of each post as it was, and as it is when all was done for it.
        closed: By id, the channels that may not be posted to, each with the reason.
        aside: The posts that the API did not take in all tries, in words.
    """

    delivery: Delivery
    ledger: Ledger
    rejects: Rejects
    delivered: Callable[[Entry, Entry], None]
    closed: dict[str, str] = field(default_factory=dict, init=False)
    aside: list[str] = field(default_factory=list, init=False)
    _has_failed: bool = field(default=False, init=False)
    _held_back: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list), init=False)

    def close(self, channel: Channel, error: ApiError) -> None:
        """Stop delivering to a channel for the rest of the run."""
        self.closed[channel.id] = f"{channel.path}: {error}"
        logger.error("%s: %s Its posts wait in the ledger, and the other channels go on.", channel.path, error)

    def forecast(self, channel: Channel, posts: int) -> None:
        """Log how far the quota reaches for the posts that come next."""
        if channel.id not in self.closed:
            self.delivery.post_quota.forecast(channel, posts)

    def deliver(
        self, channel: Channel, entry: Entry, *, found: RemotePost | None = None, is_known: bool = True
    ) -> bool:
        """Do all that is left to do for a post, or leave it in the ledger for a later run.

        If the API fails on a post in all tries, the post is set aside, and each later run tries it once. If the next
        post fails in the same way, the API itself is failing, and the run ends.

        Args:
            channel: Its channel.
            entry: The post.
            found: A post of the same row that was found in the channel.
            is_known: As for :meth:`~target_harkster.delivery.exactly_once.Delivery.finish`.

        Returns:
            Whether it was done.

        Raises:
            PostRefusedError: The API does not take the post.
            ApiError: The run cannot go on.
        """
        if channel.id in self.closed:
            return False
        aside_id = _reject_id(entry, "aside")
        is_aside = self.rejects.has(aside_id)
        before = replace(entry)
        self.delivery.tries = 1 if is_aside else TRIES
        try:
            if found is not None:
                self.delivery.take_over(channel, entry, found)
            self.delivery.finish(channel, entry, is_known=is_known)
        except (ForbiddenError, NotFoundError) as error:
            self.close(channel, error)
            return False
        except (UncertainError, ServerFailedError) as error:
            if self._has_failed and not is_aside:
                raise
            self._has_failed = not is_aside
            self._set_aside(channel, entry, error)
            return False
        finally:
            self.delivery.tries = TRIES
        self._has_failed = False
        self.rejects.strike(aside_id)
        self.delivered(before, entry)
        return True

    def remove(self, channel: Channel, entry: Entry) -> int:
        """Delete a post. Returns how many published posts were deleted: a draft is none."""
        entry.phase = Phase.DELETING
        self.ledger.save(entry)
        before = self.delivery.deleted
        self.deliver(channel, entry)
        return self.delivery.deleted - before

    def resume(self, channel: Channel, streams: Collection[str]) -> None:
        """Finish what earlier runs have begun or put off of some streams, oldest first.

        What the API does not take stays in the ledger, and is tried again by the next run, as nothing else may know
        of it any more.
        """
        unfinished: list[Entry] = []
        for entry in self.ledger.unfinished(channel.id, streams):
            if self._is_outdated(entry):
                self._held_back[channel.id].append(entry.marker)
            else:
                unfinished.append(entry)
        drafts = self.delivery.clear_up(channel)
        unfinished = [*self.delivery.overtaken(channel), *unfinished]
        if unfinished:
            logger.info("%s: going on with %d posts of earlier runs.", channel.path, len(unfinished))
            self.forecast(channel, sum(entry.phase not in {Phase.UPDATING, Phase.DELETING} for entry in unfinished))
        self._go_on(channel, unfinished, drafts)

    def clear_up(self, channel: Channel) -> None:
        """Mend what lost requests have done since, and finish what was held back until its row came.

        Lost requests leave drafts that are there twice, and posts with older content.
        """
        self.delivery.clear_up(channel)
        held_back = self.ledger.find(channel.id, self._held_back[channel.id]).values()
        ready = [entry for entry in held_back if entry.waits and not self._is_outdated(entry)]
        ready.sort(key=lambda entry: entry.seq)
        self._go_on(channel, [*self.delivery.overtaken(channel), *ready], {})

    def _go_on(self, channel: Channel, unfinished: Iterable[Entry], drafts: Mapping[str, RemotePost]) -> None:
        for entry in unfinished:
            before = replace(entry)
            found = drafts.get(entry.marker) if entry.phase is Phase.INTENT else None
            if found is not None and not found.is_draft:
                enter_shown(entry, found)  # people published the draft, as it is
            try:
                is_done = self.deliver(channel, entry, found=found, is_known=False)
            except PostRefusedError as error:
                logger.warning("%s: a post of %s %s.", channel.path, entry.stream, error)
                if before.content is not None:
                    if before.phase is not Phase.UPDATING:
                        before.phase, before.post_id = Phase.DEFERRED, None
                    before.source = ""
                    self.ledger.save(before)
                # Only the ledger has its row now, so the ledger tries it again.
                self.rejects.keep(Reject(entry.channel, entry.stream, entry.key, "post", None, str(error)))
            else:
                if is_done and entry.phase not in UNFINISHED:
                    self.rejects.strike(_reject_id(entry, "post"))

    def _is_outdated(self, entry: Entry) -> bool:
        """Whether a post that waits stays unseen: its row is gone, or a newer version of it is rejected.

        Without a source, as in mode append, no later version counts.
        """
        if not entry.waits or entry.version == GONE:
            return entry.waits
        if not entry.source or not self.rejects.has_row(entry.stream, entry.key):
            return False
        # The key of a digest may look like the key of a row.
        return '"group_by"' not in (self.ledger.key_columns(entry.stream, entry.channel) or "")

    def _set_aside(self, channel: Channel, entry: Entry, error: ApiError) -> None:
        self.aside.append(f"{channel.path}, {entry.stream}: a post ({entry.marker}) is set aside. {error}")
        logger.error("%s", self.aside[-1])
        reason = f"is set aside, and tried once by each run. {str(error).removesuffix('.')}"
        self.rejects.keep(Reject(entry.channel, entry.stream, entry.key, "aside", None, reason))


def _reject_id(entry: Entry, kind: Kind) -> RejectId:
    return entry.channel, entry.stream, row_of(entry.key), kind
