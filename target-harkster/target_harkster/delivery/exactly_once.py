"""Delivers a post: creates a draft, notes it in the ledger, and then publishes it; never the same one twice.

It writes each step into the ledger before it takes it. After a lost answer, or a run that was cut off, it looks at the
channel before it sends anything again, and does only what is left to do. At worst it leaves a draft that nobody sees.
"""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from singer_http.http.errors import MalformedAnswerError, NotFoundError

from target_harkster.delivery.found_posts import enter_shown, listed_posts, own_post
from target_harkster.ledger.phases import Phase
from target_harkster.vendor.client import PostQuotaReachedError, PostRefusedError, UncertainError
from target_harkster.vendor.posts import Content

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from singer_http.http.clock import Clock

    from target_harkster.delivery.post_quota import PostQuota
    from target_harkster.ledger.store import Entry, Ledger
    from target_harkster.vendor.client import Channel, HarksterApi
    from target_harkster.vendor.posts import RemotePost, Spelling

logger = logging.getLogger(__name__)

TRIES = 8
"""A write whose answers are lost is tried so many times."""
MOST_SILENT = 2
"""After so many drafts that the API took without an id and does not list, the run ends."""
LONGEST_WAIT = 60.0
"""Seconds. The waits between tries double up to here."""
LATEST = 900.0
"""Seconds after which a lost request has been carried out or never will be."""


@dataclass(slots=True, eq=False)
class Delivery:
    """Takes a post from phase to phase, until it is done or has to wait.

    Attributes:
        recalls: Deleted posts are taken out of the followers' timelines too.
        spelling: How posts are written.
        tries: Of each write.
        updated: How many published posts this run gave new content.
        deleted: How many published posts this run deleted, as their rows are gone or moved.
    """

    api: HarksterApi
    ledger: Ledger
    post_quota: PostQuota
    clock: Clock
    recalls: bool
    spelling: Spelling
    tries: int = TRIES
    updated: int = field(default=0, init=False)
    deleted: int = field(default=0, init=False)

    def clear_up(self, channel: Channel) -> dict[str, RemotePost]:
        """Look for drafts whose ids were lost, and delete second ones.

        Returns:
            The posts of the streams that the ledger knows, by marker; empty if no draft can have been lost.
        """
        doubts = self.ledger.doubts(channel.id)
        if not doubts:
            return {}
        found = self.ours(channel, self.ledger.streams(channel.id), doubts)
        self.ledger.trust(channel.id, [marker for marker, age in doubts.items() if age > LATEST])
        return found

    def overtaken(self, channel: Channel) -> list[Entry]:
        """Find posts whose content was replaced by an older one of a lost request, and note that they are updated."""
        late = self.ledger.late_updates(channel.id)
        entries = self.ledger.find(channel.id, list(late))
        found: list[Entry] = []
        for marker, entry in entries.items():
            newer = {one.hash: one.content for one in late[marker] if one.newest == entry.hash != one.hash}
            if entry.phase is not Phase.PUBLISHED or not newer:
                continue
            remote = self.api.post(channel.id, _id_of(entry))
            # What people wrote there stays.
            if remote is not None and (content := newer.get(remote.hash)) is not None:
                entry.phase, entry.content = Phase.UPDATING, content
                found.append(entry)
        self.ledger.save(*found)
        if late:
            self.ledger.trust_updates(channel.id, LATEST)
        return found

    def ours(self, channel: Channel, streams: Iterable[str], doubts: Collection[str] = ()) -> dict[str, RemotePost]:
        """The posts of some streams in a channel, by marker. Second drafts are deleted only of rows that are in doubt.

        Others are people's: whoever copies a post copies its marker.
        """
        listed = listed_posts(self.api, channel.id, streams)
        drafts = [marker for marker, posts in listed.items() if any(post.is_draft for post in posts)]
        known = self.ledger.find(channel.id, drafts)
        found: dict[str, RemotePost] = {}
        for marker, posts in listed.items():
            own = own_post(posts, known.get(marker))
            if own is not None:
                found[marker] = own
            for orphan in posts:
                if orphan is not own and orphan.is_draft and marker in doubts:
                    logger.info("%s: deleting a draft that is there twice.", channel.path)
                    self._delete(channel, orphan.id, recall=True)
        return found

    def finish(self, channel: Channel, entry: Entry, *, is_known: bool = True) -> None:
        """Do all that is left to do for a post.

        Args:
            channel: Its channel.
            entry: The post; its phase is in the ledger already.
            is_known: Whether the entry tells all that can have happened. Otherwise the API is asked first.

        Raises:
            PostRefusedError: The API does not take the post; the ledger has forgotten what was to be done.
            PostQuotaReachedError: There is no quota, and the run is to fail for it.
            ApiError: The run cannot go on.
        """
        self.clock.check()
        if entry.phase is Phase.DELETING:
            self._delete_post(channel, entry)
        elif entry.phase is Phase.UPDATING:
            self._update(channel, entry, is_known=is_known)
        elif not is_known:
            self._look(channel, entry)
        for wait in self._waits():
            if entry.phase in {Phase.DEFERRED, Phase.INTENT}:
                self._create(channel, entry)
            is_draft = entry.phase in {Phase.DRAFT, Phase.PUBLISHING} and not entry.held
            if not is_draft or not self._begin_publishing(channel, entry):
                return
            try:
                self._publish(channel, entry)
            except (UncertainError, NotFoundError) as error:
                self._wait(wait, error)
                self._look_again(channel, entry)

    def _look_again(self, channel: Channel, entry: Entry) -> None:
        """Check a draft that this run may have published."""
        before = self.post_quota.usage(channel)
        if self._refresh(channel, entry):
            self._renew(channel, entry)
        elif entry.phase is Phase.PUBLISHED:
            self.post_quota.count_published(channel, before)

    def _look(self, channel: Channel, entry: Entry) -> None:
        """Check a draft that an earlier run left."""
        if entry.phase in {Phase.PUBLISHING, Phase.RENEWING}:
            if self._refresh(channel, entry):
                self._renew(channel, entry)
        elif entry.phase is Phase.DRAFT and self._begin_publishing(channel, entry):
            self._refresh(channel, entry)

    # Creating

    def _create(self, channel: Channel, entry: Entry) -> None:
        needs_quota = not entry.held and entry.post_id is None and not self.post_quota.makes_drafts
        if needs_quota and not self.post_quota.left(channel):
            self._leave_for_later(channel, entry, Phase.DEFERRED)
            return
        self._note(entry, Phase.INTENT)
        if entry.post_id is None:
            try:
                self._create_draft(channel, entry)
            except PostQuotaReachedError:
                self._leave_for_later(channel, entry, Phase.DEFERRED)
                return
            except PostRefusedError:
                self.ledger.forget(channel.id, entry.marker)
                raise
        if entry.phase is not Phase.INTENT:
            return
        if entry.held or self.post_quota.left(channel):
            # The id of the draft and the next step are saved together.
            self._note(entry, Phase.DRAFT if entry.held else Phase.PUBLISHING)
        else:
            self._leave_for_later(channel, entry, Phase.DRAFT)

    def _create_draft(self, channel: Channel, entry: Entry) -> None:
        body = self._body(channel, entry, is_draft=True)
        silent = 0
        for wait in self._waits():
            try:
                entry.post_id = self.api.create(channel, body)
                silent += entry.post_id is None
            except UncertainError as error:
                self.ledger.doubt(channel.id, entry.marker)
                self._wait(wait, error)
            if entry.post_id is None:
                found = self.ours(channel, [entry.stream], [entry.marker]).get(entry.marker)
                if found is not None:
                    self.take_over(channel, entry, found)
            if entry.post_id is not None:
                return
            if silent == MOST_SILENT:
                raise MalformedAnswerError(
                    f"{channel.path}: the API took a draft, but tells no id and does not list it: tell"
                    " Harkster's support."
                )

    def take_over(self, channel: Channel, entry: Entry, found: RemotePost) -> None:
        """Continue with a post that was found in the channel."""
        entry.post_id = found.id
        if found.hash != entry.hash:
            self._note(entry, Phase.UPDATING)
            self._update(channel, entry, is_known=True)
        elif not found.is_draft:
            self._done(entry)

    # Publishing

    def _publish(self, channel: Channel, entry: Entry) -> None:
        """Publish a draft that is known to be one.

        Raises:
            UncertainError, NotFoundError: The post must be looked at.
        """
        post_id = _id_of(entry)
        before = self.post_quota.usage(channel)
        try:
            is_certain = self.api.publish(channel, post_id)
        except PostQuotaReachedError:
            self._leave_for_later(channel, entry, Phase.DRAFT)
            return
        except PostRefusedError:
            if self._refresh(channel, entry):
                self._delete(channel, post_id, recall=False)
                self.ledger.forget(channel.id, entry.marker)
                raise
            return
        if is_certain:
            self._done(entry)
        elif self._refresh(channel, entry):
            raise UncertainError(f"{channel.path}: the API did not say that it has published a post.")
        self.post_quota.count_published(channel, before)

    def _begin_publishing(self, channel: Channel, entry: Entry) -> bool:
        """Note that a draft is published next, or that it waits for quota. Returns which."""
        if self.post_quota.left(channel):
            self._note(entry, Phase.PUBLISHING)
            return True
        self._leave_for_later(channel, entry, Phase.DRAFT)
        return False

    def _refresh(self, channel: Channel, entry: Entry) -> bool:
        """Ask the API what became of a draft, and note it. Returns whether it still is one."""
        remote = self.api.post(channel.id, _id_of(entry))
        if remote is None and entry.phase is Phase.RENEWING:
            entry.post_id = None
            self._note(entry, Phase.INTENT)
        elif remote is None:
            self._removed(channel, entry)
        elif entry.phase is Phase.RENEWING:
            if not remote.is_draft:
                self.take_over(channel, entry, remote)
        else:
            enter_shown(entry, remote)
            if not remote.is_draft:
                self._done(entry)
        return remote is not None and remote.is_draft

    def _renew(self, channel: Channel, entry: Entry) -> None:
        """Delete a draft that a lost request may still publish or change, and begin a new one.

        A request that got no answer may be carried out long after it was given up. If the draft were published
        again, that would publish it twice; a draft that is gone it cannot do anything with.
        """
        self._note(entry, Phase.RENEWING)
        self._delete(channel, _id_of(entry), recall=True)
        entry.post_id = None
        self._note(entry, Phase.INTENT)

    # Changing

    def _update(self, channel: Channel, entry: Entry, *, is_known: bool) -> None:
        post_id, was_sent = _id_of(entry), False
        for wait in self._waits():
            remote = self.api.post(channel.id, post_id)
            if remote is None:
                self._removed(channel, entry)
                return
            if remote.is_draft and not is_known:
                self._renew(channel, entry)
                return
            try:
                if remote.hash != entry.hash:
                    was_sent = True
                    self._replace(channel, entry, remote)
            except (UncertainError, NotFoundError) as error:
                self.ledger.doubt_updates(entry)
                self._wait(wait, error)
                is_known = False
                continue
            except PostQuotaReachedError:
                self._leave_for_later(channel, entry, Phase.UPDATING)
                return
            except PostRefusedError:
                # Without its source the row counts as changed when it comes again.
                entry.hash, entry.source, entry.content = remote.hash, "", None
                self.ledger.note_newest(entry, remote.content.encoded())
                self._note(entry, Phase.DRAFT if remote.is_draft else Phase.PUBLISHED)
                raise
            if remote.is_draft:
                self._note(entry, Phase.DRAFT)
            else:
                self.updated += was_sent
                self.ledger.note_newest(entry, entry.content)
                self._done(entry)
            return

    def _replace(self, channel: Channel, entry: Entry, remote: RemotePost) -> None:
        """Replace the content of a post. If the answer says nothing, check that it was replaced."""
        body = self._body(channel, entry, is_draft=remote.is_draft)
        if not self.api.update(channel, remote.id, body):
            after = self.api.post(channel.id, remote.id)
            if after is not None and after.hash == remote.hash:
                raise UncertainError(f"{channel.path}: the API did not say that it has changed a post.")

    def _delete_post(self, channel: Channel, entry: Entry) -> None:
        if entry.post_id is not None:
            remote = self.api.post(channel.id, entry.post_id)
            was_there = self._delete(channel, entry.post_id, recall=self.recalls)
            self.deleted += was_there and remote is not None and not remote.is_draft
        entry.post_id = entry.content = None
        self._note(entry, Phase.DELETED)

    def _delete(self, channel: Channel, post_id: str, *, recall: bool) -> bool:
        """Delete a post. Returns whether this run did; otherwise it was not there."""
        was_sent = False
        for wait in self._waits():
            try:
                if self.api.delete(channel, post_id, recall=recall) or self.api.post(channel.id, post_id) is None:
                    return True
                raise UncertainError(f"{channel.path}: the API did not say that it has deleted a post.")  # noqa: TRY301
            except NotFoundError:
                break
            except UncertainError as error:
                was_sent = True
                self._wait(wait, error)
        return was_sent

    # What all have in common

    def _body(self, channel: Channel, entry: Entry, *, is_draft: bool) -> dict[str, Any]:
        if entry.content is None:
            raise LookupError(entry.marker)
        content = Content.decoded(entry.content)
        if self.spelling.heading == "auto" and any(field["type"] == "heading" for field in content.fields):
            self.spelling = replace(self.spelling, heading=self.api.heading_type(channel.id))
        return self.spelling.body(content, entry.marker, is_draft=is_draft, is_held=is_draft and entry.held)

    def _note(self, entry: Entry, phase: Phase) -> None:
        if entry.phase is not phase:
            entry.phase = phase
            self.ledger.save(entry)

    def _done(self, entry: Entry) -> None:
        entry.content = None
        entry.held = False
        self._note(entry, Phase.PUBLISHED)

    def _removed(self, channel: Channel, entry: Entry) -> None:
        logger.warning("%s: a post of %s was deleted there; it is not made again.", channel.path, entry.stream)
        entry.content = None
        self._note(entry, Phase.REMOVED)

    def _leave_for_later(self, channel: Channel, entry: Entry, phase: Phase) -> None:
        """Leave a post for a later run, if the settings allow that."""
        self.post_quota.stop(channel)
        self._note(entry, phase)
        self.post_quota.check_waiting()

    def _waits(self) -> Iterator[float]:
        """Seconds to wait after each failed try; -1 after the last."""
        return itertools.chain((min(2.0**at, LONGEST_WAIT) for at in range(self.tries - 1)), [-1.0])

    def _wait(self, seconds: float, error: Exception) -> None:
        if seconds < 0:
            raise error
        logger.info("%s Looking in %.0f s.", error, seconds)
        self.clock.sleep(seconds)


def _id_of(entry: Entry) -> str:
    if entry.post_id is None:
        raise LookupError(entry.marker)
    return entry.post_id
