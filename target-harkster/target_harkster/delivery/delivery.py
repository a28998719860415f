"""Delivery: a post is created as a draft, noted in the ledger, and then published; never the same one twice.

Every step is written down before it is taken. Where an answer is lost, or a run was cut off, the API is looked at
before anything is sent again, and only what has not been done is done. At worst a draft is left over that nobody sees.
"""

from __future__ import annotations

import itertools
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
from singer_http.http.errors import MalformedAnswerError, NotFoundError

from target_harkster.delivery.decision import own_post
from target_harkster.ledger.store import Phase
from target_harkster.vendor.client import PostRefusedError, QuotaReachedError, UncertainError
from target_harkster.vendor.posts import Content

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from singer_http.http.clock import Clock

    from target_harkster.delivery.quota import Allowance
    from target_harkster.ledger.store import Entry, Ledger
    from target_harkster.vendor.client import Channel, HarksterApi
    from target_harkster.vendor.posts import RemotePost, Spelling

logger = logging.getLogger(__name__)

TRIES = 8
"""Times that a write is tried whose answers are lost."""
MOST_SILENT = 2
"""Drafts that an API may take without a word, and without listing them, until that is the API's way."""
LONGEST_WAIT = 60.0
"""Seconds; the waits between the tries double up to here."""
LATEST = 900.0
"""Seconds after which what an API was asked to do is either done or never will be."""

decode_content = msgspec.json.Decoder(tuple[str, list[dict[str, Any]]]).decode
"""Name and fields of content as the ledger keeps it."""


def encode_content(content: Content) -> bytes:
    """Content as the ledger keeps it."""
    return msgspec.json.encode((content.name, content.fields))


class Delivery:
    """Brings posts from one phase to the next, until there is nothing left to do or they have to wait.

    Args:
        api: The API.
        ledger: Notes every step.
        allowance: How many posts may be published.
        spelling: How posts are written.
        config: The target's settings.
        clock: Waits.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what delivering takes
        self,
        api: HarksterApi,
        ledger: Ledger,
        allowance: Allowance,
        spelling: Spelling,
        config: Mapping[str, Any],
        clock: Clock,
    ) -> None:
        self._api = api
        self._ledger = ledger
        self._allowance = allowance
        self._on_quota: str = config["on_quota"]
        self._recall: bool = config["mirror_recall"]
        self._clock = clock
        self.spelling = spelling
        self.tries = TRIES
        """Of each write."""

    def clear_up(self, channel: Channel) -> dict[str, RemotePost]:
        """Look for drafts that nobody was told of, where there may be any, and delete those that are there twice.

        Returns:
            The posts that this target made, by marker; nothing where there is no doubt.
        """
        since = self._ledger.in_doubt(channel.id)
        if since is None:
            return {}
        found = self.ours(channel)
        if since > LATEST:
            self._ledger.trust(channel.id)
        return found

    def forecast(self, channel: Channel, posts: int) -> None:
        """Say how far the quota goes with posts that are about to be published."""
        self._allowance.forecast(channel, posts)

    def ours(self, channel: Channel) -> dict[str, RemotePost]:
        """The posts of the channel that this target made, by marker; drafts that are there twice are deleted."""
        listed: dict[str, list[RemotePost]] = {}
        for remote in self._api.posts(channel.id):
            if remote.marker is not None:
                listed.setdefault(remote.marker, []).append(remote)
        drafts = [marker for marker, posts in listed.items() if any(post.is_draft for post in posts)]
        known = self._ledger.find(channel.id, drafts)
        found: dict[str, RemotePost] = {}
        for marker, posts in listed.items():
            own = own_post(posts, known.get(marker))
            if own is not None:
                found[marker] = own
            for orphan in posts:
                if orphan is not own and orphan.is_draft:
                    logger.info("%s: deleting a draft that is there twice.", channel.path)
                    self._delete(channel, orphan.id, recall=True)
        return found

    def finish(self, channel: Channel, entry: Entry, *, is_known: bool = True) -> None:
        """Do all that is left to do for a post.

        Args:
            channel: Its channel.
            entry: The post; its phase is in the ledger already.
            is_known: Nothing can have happened that the entry does not tell. Otherwise it is looked at first.

        Raises:
            PostRefusedError: The API does not take the post; the ledger has forgotten what was to be done.
            QuotaReachedError: There is no quota, and the run is to fail for it.
            ApiError: The run cannot go on.
        """
        self._clock.check()
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
            if not is_draft or not self._may_publish(channel, entry):
                return
            try:
                self._publish(channel, entry)
            except (UncertainError, NotFoundError) as error:
                self._wait(wait, error)
                self._look_again(channel, entry)

    def _look_again(self, channel: Channel, entry: Entry) -> None:
        """See what has become of a draft that this run may have published."""
        before = self._allowance.usage(channel)
        if self._is_draft(channel, entry):
            self._renew(channel, entry)
        elif entry.phase is Phase.PUBLISHED:
            self._allowance.spent(channel, before)

    def _look(self, channel: Channel, entry: Entry) -> None:
        """See what has become of a draft that an earlier run has left."""
        if entry.phase in {Phase.PUBLISHING, Phase.RENEWING}:
            if self._is_draft(channel, entry):
                self._renew(channel, entry)
        elif entry.phase is Phase.DRAFT and self._may_publish(channel, entry):
            self._is_draft(channel, entry)

    # Creating

    def _create(self, channel: Channel, entry: Entry) -> None:
        if not entry.held and entry.post_id is None and not self._allowance.left(channel) and self._on_quota != "draft":
            self._put_off(channel, entry, Phase.DEFERRED)
            return
        self._note(entry, Phase.INTENT)
        if entry.post_id is None:
            try:
                self._create_draft(channel, entry)
            except QuotaReachedError:
                self._put_off(channel, entry, Phase.DEFERRED)
                return
            except PostRefusedError:
                self._ledger.forget(channel.id, entry.marker)
                raise
        if entry.phase is not Phase.INTENT:
            return
        if entry.held or self._allowance.left(channel):
            # With the id of the draft, and in one step with what is done next.
            self._note(entry, Phase.DRAFT if entry.held else Phase.PUBLISHING)
        else:
            self._put_off(channel, entry, Phase.DRAFT)

    def _create_draft(self, channel: Channel, entry: Entry) -> None:
        body = self._body(channel, entry, is_draft=True)
        silent = 0
        for wait in self._waits():
            try:
                entry.post_id = self._api.create(channel, body)
                silent += entry.post_id is None
            except UncertainError as error:
                self._ledger.doubt(channel.id)
                self._wait(wait, error)
            if entry.post_id is None and (found := self.ours(channel).get(entry.marker)) is not None:
                self.take_over(channel, entry, found)
            if entry.post_id is not None:
                return
            if silent == MOST_SILENT:
                raise MalformedAnswerError(
                    f"{channel.path}: the API took a draft without telling its id, and does not list it."
                )

    def take_over(self, channel: Channel, entry: Entry, found: RemotePost) -> None:
        """Go on with a post that was found in the channel."""
        entry.post_id = found.id
        if found.hash != entry.hash:
            self._note(entry, Phase.UPDATING)
            self._update(channel, entry, is_known=True)
        elif not found.is_draft:
            self._done(entry)

    # Publishing

    def _publish(self, channel: Channel, entry: Entry) -> None:
        """Publish a draft that is certainly none but a draft.

        Raises:
            UncertainError, NotFoundError: It is to be looked at.
        """
        post_id = _id_of(entry)
        before = self._allowance.usage(channel)
        try:
            is_certain = self._api.publish(channel, post_id)
        except QuotaReachedError:
            self._put_off(channel, entry, Phase.DRAFT)
            return
        except PostRefusedError:
            if self._is_draft(channel, entry):
                self._delete(channel, post_id, recall=False)
                self._ledger.forget(channel.id, entry.marker)
                raise
            return
        if is_certain:
            self._done(entry)
        elif self._is_draft(channel, entry):
            raise UncertainError(f"{channel.path}: the API did not say that it has published a post.")
        self._allowance.spent(channel, before)

    def _may_publish(self, channel: Channel, entry: Entry) -> bool:
        """Whether a draft may be published now, noted as what is done next; otherwise it waits."""
        if self._allowance.left(channel):
            self._note(entry, Phase.PUBLISHING)
            return True
        self._put_off(channel, entry, Phase.DRAFT)
        return False

    def _is_draft(self, channel: Channel, entry: Entry) -> bool:
        """Look whether a post is still a draft, and note it if it is not."""
        remote = self._api.post(channel.id, _id_of(entry))
        if remote is None and entry.phase is Phase.RENEWING:
            entry.post_id = None
            self._note(entry, Phase.INTENT)
        elif remote is None:
            self._removed(channel, entry)
        elif not remote.is_draft:
            self._done(entry)
        return remote is not None and remote.is_draft

    def _renew(self, channel: Channel, entry: Entry) -> None:
        """Give up a draft with which something may still be happening, so that another one takes its place.

        A request that got no answer may be carried out long after it was given up. If the draft were published
        again, that would publish it twice; a draft that is gone it cannot do anything with.
        """
        if entry.content is None:
            return  # found without its content by an earlier version
        self._note(entry, Phase.RENEWING)
        self._delete(channel, _id_of(entry), recall=True)
        entry.post_id = None
        self._note(entry, Phase.INTENT)

    # Changing

    def _update(self, channel: Channel, entry: Entry, *, is_known: bool) -> None:
        post_id = _id_of(entry)
        for wait in self._waits():
            remote = self._api.post(channel.id, post_id)
            if remote is None:
                self._removed(channel, entry)
                return
            if remote.is_draft and not is_known:
                self._renew(channel, entry)
                return
            try:
                if remote.hash != entry.hash:
                    self._replace(channel, entry, remote)
            except (UncertainError, NotFoundError) as error:
                self._wait(wait, error)
                is_known = False
                continue
            except QuotaReachedError:
                self._put_off(channel, entry, Phase.UPDATING)
                return
            except PostRefusedError:
                # With no source, so that the same row is not taken for one that was posted.
                entry.hash, entry.source, entry.content = remote.hash, "", None
                self._note(entry, Phase.DRAFT if remote.is_draft else Phase.PUBLISHED)
                raise
            if remote.is_draft:
                self._note(entry, Phase.DRAFT)
            else:
                self._done(entry)
            return

    def _replace(self, channel: Channel, entry: Entry, remote: RemotePost) -> None:
        """Replace the content of a post, and look whether it was where the API says nothing of it."""
        body = self._body(channel, entry, is_draft=remote.is_draft)
        if not self._api.update(channel, remote.id, body):
            after = self._api.post(channel.id, remote.id)
            if after is not None and after.hash == remote.hash:
                raise UncertainError(f"{channel.path}: the API did not say that it has changed a post.")

    def _delete_post(self, channel: Channel, entry: Entry) -> None:
        if entry.post_id is not None:
            self._delete(channel, entry.post_id, recall=self._recall)
        entry.post_id = entry.content = None
        self._note(entry, Phase.DELETED)

    def _delete(self, channel: Channel, post_id: str, *, recall: bool) -> None:
        for wait in self._waits():
            try:
                if self._api.delete(channel, post_id, recall=recall) or self._api.post(channel.id, post_id) is None:
                    return
                raise UncertainError(f"{channel.path}: the API did not say that it has deleted a post.")  # noqa: TRY301
            except NotFoundError:
                return
            except UncertainError as error:
                self._wait(wait, error)

    # What all have in common

    def _body(self, channel: Channel, entry: Entry, *, is_draft: bool) -> dict[str, Any]:
        if entry.content is None:
            raise LookupError(entry.marker)
        name, fields = decode_content(entry.content)
        if self.spelling.heading == "auto" and any(field["type"] == "heading" for field in fields):
            self.spelling = replace(self.spelling, heading=self._api.heading_type(channel.id))
        content = Content(name, fields, entry.hash)
        return self.spelling.body(content, entry.marker, is_draft=is_draft, is_held=is_draft and entry.held)

    def _note(self, entry: Entry, phase: Phase) -> None:
        if entry.phase is not phase:
            entry.phase = phase
            self._ledger.save(entry)

    def _done(self, entry: Entry) -> None:
        entry.content = None
        entry.held = False
        self._note(entry, Phase.PUBLISHED)

    def _removed(self, channel: Channel, entry: Entry) -> None:
        logger.warning("%s: a post of %s was deleted there; it is not made again.", channel.path, entry.stream)
        entry.content = None
        self._note(entry, Phase.REMOVED)

    def _put_off(self, channel: Channel, entry: Entry, phase: Phase) -> None:
        """Let a post wait for a later run."""
        # And all that come after it: it must not be overtaken if there should be quota again.
        self._allowance.reached(channel)
        self._note(entry, phase)
        if self._on_quota == "fail":
            raise QuotaReachedError(
                "No more posts may be published: the quota of the month, less quota_reserve, or max_posts_per_run is"
                " used up. The rest is posted by a later run, or set on_quota to draft or defer."
            )

    def _waits(self) -> Iterator[float]:
        """Seconds before each further try; None is left after the last."""
        return itertools.chain((min(2.0**at, LONGEST_WAIT) for at in range(self.tries - 1)), [-1.0])

    def _wait(self, seconds: float, error: Exception) -> None:
        if seconds < 0:
            raise error
        logger.info("%s Looking in %.0f s.", error, seconds)
        self._clock.sleep(seconds)


def _id_of(entry: Entry) -> str:
    if entry.post_id is None:
        raise LookupError(entry.marker)
    return entry.post_id
