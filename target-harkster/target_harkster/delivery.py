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
from singer_http.errors import MalformedAnswerError, NotFoundError, UncertainError

from target_harkster.client import PostRefusedError, QuotaReachedError
from target_harkster.ledger import Phase
from target_harkster.posts import Content

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from singer_http.clock import Clock

    from target_harkster.client import Channel, HarksterApi
    from target_harkster.ledger import Entry, Ledger
    from target_harkster.posts import RemotePost, Spelling
    from target_harkster.quota import Allowance

logger = logging.getLogger(__name__)

TRIES = 8
"""Times that a write is tried whose answers are lost."""
LONGEST_WAIT = 60.0
"""Seconds; the waits between the tries double up to here."""

_decode_content = msgspec.json.Decoder(tuple[str, list[dict[str, Any]]]).decode


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

    def resume(self, channel: Channel) -> None:
        """Finish what earlier runs have begun or put off, oldest first."""
        unfinished = self._ledger.unfinished(channel.id)
        if not unfinished:
            return
        logger.info("%s: going on with %d posts of earlier runs.", channel.path, len(unfinished))
        self.forecast(channel, sum(entry.phase not in {Phase.UPDATING, Phase.DELETING} for entry in unfinished))
        drafts: dict[str, RemotePost] | None = None
        for entry in unfinished:
            if entry.phase is Phase.INTENT and entry.post_id is None:
                if drafts is None:
                    drafts = self.ours(channel)
                if (found := drafts.get(entry.marker)) is not None:
                    self._take_over(channel, entry, found)
            try:
                self.finish(channel, entry, is_known=False)
            except PostRefusedError as error:
                logger.warning("%s: the post of %s was refused. %s", channel.path, entry.stream, error)

    def forecast(self, channel: Channel, posts: int) -> None:
        """Say how far the quota goes with posts that are about to be published."""
        self._allowance.forecast(channel, posts)

    def ours(self, channel: Channel) -> dict[str, RemotePost]:
        """The posts of the channel that this target made, by marker; drafts that are there twice are deleted."""
        found: dict[str, RemotePost] = {}
        for remote in self._api.posts(channel.id):
            if remote.marker is None:
                continue
            other = found.setdefault(remote.marker, remote)
            if other.id == remote.id:
                continue
            keep, orphan = (other, remote) if remote.is_draft else (remote, other)
            found[remote.marker] = keep
            if orphan.is_draft:
                logger.info("%s: deleting a draft that is there twice.", channel.path)
                self._delete(channel, orphan.id, recall=False)
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
            self._update(channel, entry)
        if entry.phase in {Phase.DEFERRED, Phase.INTENT}:
            self._create(channel, entry)
            is_known = True
        if entry.phase in {Phase.DRAFT, Phase.PUBLISHING} and not entry.held:
            self._publish(channel, entry, is_known=is_known)

    # Creating

    def _create(self, channel: Channel, entry: Entry) -> None:
        if not entry.held and entry.post_id is None and not self._allowance.left(channel) and self._on_quota != "draft":
            self._note(entry, Phase.DEFERRED)
            self._refuse_to_wait()
            return
        if entry.phase is Phase.DEFERRED:
            self._note(entry, Phase.INTENT)
        body = self._body(channel, entry, is_draft=True)
        for wait in self._waits():
            try:
                entry.post_id = entry.post_id or self._api.create(channel, body)
                is_lost = entry.post_id is None
            except UncertainError as error:
                self._wait(wait, error)
                is_lost = False
            except PostRefusedError:
                self._ledger.forget(entry)
                raise
            if entry.post_id is None and (found := self.ours(channel).get(entry.marker)) is not None:
                self._take_over(channel, entry, found)
            if entry.post_id is not None:
                break
            if is_lost:
                raise MalformedAnswerError(
                    f"{channel.path}: the API took a draft without telling its id, and does not list it."
                )
        if entry.phase is Phase.INTENT:
            # With the id of the draft, and in one step with what is done next.
            publishes = not entry.held and self._allowance.left(channel)
            self._note(entry, Phase.PUBLISHING if publishes else Phase.DRAFT)

    def _take_over(self, channel: Channel, entry: Entry, found: RemotePost) -> None:
        """Go on with a post that was found in the channel."""
        entry.post_id = found.id
        if not found.is_draft:
            self._done(entry)
        elif found.hash != entry.hash:
            self._note(entry, Phase.UPDATING)
            self._update(channel, entry)

    # Publishing

    def _publish(self, channel: Channel, entry: Entry, *, is_known: bool) -> None:
        if entry.phase is Phase.DRAFT and not self._may_publish(channel, entry):
            return
        post_id = _id_of(entry)
        for wait in self._waits():
            if not is_known and not (self._is_draft(channel, entry) and self._may_publish(channel, entry)):
                return
            before = self._allowance.usage(channel)
            try:
                self._api.publish(channel, post_id)
            except QuotaReachedError:
                self._allowance.reached(channel)
                self._may_publish(channel, entry)
                return
            except (UncertainError, NotFoundError) as error:
                self._wait(wait, error)
                is_known = False
            except PostRefusedError:
                if self._is_draft(channel, entry):
                    self._delete(channel, post_id, recall=False)
                    self._ledger.forget(entry)
                    raise
                return
            else:
                self._allowance.spent(channel, before)
                self._done(entry)
                return

    def _may_publish(self, channel: Channel, entry: Entry) -> bool:
        """Whether a draft may be published now, noted as what is done next; otherwise it waits."""
        if self._allowance.left(channel):
            self._note(entry, Phase.PUBLISHING)
            return True
        self._note(entry, Phase.DRAFT)
        self._refuse_to_wait()
        return False

    def _is_draft(self, channel: Channel, entry: Entry) -> bool:
        """Look whether a post is still a draft, and note it if it is not."""
        remote = self._api.post(channel.id, _id_of(entry))
        if remote is None:
            logger.warning("%s: a post of %s was deleted there; it is not made again.", channel.path, entry.stream)
            self._note(entry, Phase.REMOVED)
            return False
        if not remote.is_draft:
            self._done(entry)
            return False
        return True

    # Changing

    def _update(self, channel: Channel, entry: Entry) -> None:
        post_id = _id_of(entry)
        for wait in self._waits():
            remote = self._api.post(channel.id, post_id)
            if remote is None:
                logger.warning("%s: a post of %s was deleted there; it is not made again.", channel.path, entry.stream)
                self._note(entry, Phase.REMOVED)
                return
            try:
                if remote.hash != entry.hash:
                    self._api.update(channel, post_id, self._body(channel, entry, is_draft=remote.is_draft))
            except (UncertainError, NotFoundError) as error:
                self._wait(wait, error)
                continue
            except QuotaReachedError:
                self._allowance.reached(channel)
                self._refuse_to_wait()
                return
            except PostRefusedError:
                entry.hash = remote.hash
                self._note(entry, Phase.DRAFT if remote.is_draft else Phase.PUBLISHED)
                raise
            if remote.is_draft:
                self._note(entry, Phase.DRAFT)
            else:
                self._done(entry)
            return

    def _delete_post(self, channel: Channel, entry: Entry) -> None:
        if entry.post_id is not None:
            self._delete(channel, entry.post_id, recall=self._recall)
        entry.post_id = entry.content = None
        self._note(entry, Phase.DELETED)

    def _delete(self, channel: Channel, post_id: str, *, recall: bool) -> None:
        for wait in self._waits():
            try:
                self._api.delete(channel, post_id, recall=recall)
            except NotFoundError:
                return
            except UncertainError as error:
                self._wait(wait, error)
            else:
                return

    # What all have in common

    def _body(self, channel: Channel, entry: Entry, *, is_draft: bool) -> dict[str, Any]:
        if entry.content is None:
            raise LookupError(entry.marker)
        name, fields = _decode_content(entry.content)
        if self.spelling.heading == "auto" and any(field["type"] == "heading" for field in fields):
            self.spelling = replace(self.spelling, heading=self._api.heading_type(channel.id))
        return self.spelling.body(Content(name, fields, entry.hash), entry.marker, is_draft=is_draft)

    def _note(self, entry: Entry, phase: Phase) -> None:
        if entry.phase is not phase:
            entry.phase = phase
            self._ledger.save(entry)

    def _done(self, entry: Entry) -> None:
        entry.content = None
        entry.held = False
        self._note(entry, Phase.PUBLISHED)

    def _refuse_to_wait(self) -> None:
        if self._on_quota == "fail":
            raise QuotaReachedError(
                "No more posts may be published: the quota of the month, less quota_reserve, or max_posts_per_run is"
                " used up. The rest is posted by a later run, or set on_quota to draft or defer."
            )

    def _waits(self) -> Iterator[float]:
        """Seconds before each further try; None is left after the last."""
        return itertools.chain((min(2.0**at, LONGEST_WAIT) for at in range(TRIES - 1)), [-1.0])

    def _wait(self, seconds: float, error: Exception) -> None:
        if seconds < 0:
            raise error
        logger.info("%s Looking in %.0f s.", error, seconds)
        self._clock.sleep(seconds)


def _id_of(entry: Entry) -> str:
    if entry.post_id is None:
        raise LookupError(entry.marker)
    return entry.post_id
