"""How many posts may still be published, by the vendor's quota and the settings, and what becomes of the others."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from target_harkster.vendor.client import PostQuotaReachedError, Usage

if TYPE_CHECKING:
    from target_harkster.vendor.client import Channel, HarksterApi

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class PostQuota:
    """What may still be published in this run, account by account.

    Attributes:
        reserve: Posts of the month's quota that are left for others.
        most: How many posts the run may publish; None where only the quota counts.
        on_quota: What becomes of posts without quota: ``draft``, ``defer`` or ``fail``.
        published: Posts published in this run.
    """

    api: HarksterApi
    reserve: int
    most: int | None
    on_quota: str
    published: int = field(default=0, init=False)
    _reached: set[str] = field(default_factory=set, init=False)

    def open(self, channel: Channel) -> None:
        """Read the quota that the posts of a channel count for."""
        if channel.account_id not in self.api.usages:
            self.api.usage(channel.account_id)
            logger.info("%s: %s.", channel.names[0], self.in_words(channel))

    def is_known(self, channel: Channel) -> bool:
        """Whether the quota of a channel is known."""
        return channel.account_id in self.api.usages

    def in_words(self, channel: Channel) -> str:
        """The quota of a channel in words."""
        usage = self.api.usages[channel.account_id]
        left = max(0, usage.quota - usage.usage)
        words = f"{usage.usage} of {usage.quota} posts of this month used, {left} left"
        if self.reserve:
            words += f", {min(left, self.reserve)} of these kept in reserve"
        if self.most is not None:
            words += f"; this run may publish {max(0, self.most - self.published)} more"
        return words

    def forecast(self, channel: Channel, posts: int) -> None:
        """Log how far the quota reaches for the posts that come next."""
        if posts:
            excess = max(0, posts - self.left(channel))
            number = f"{posts}, of which {excess} cannot be now" if excess else str(posts)
            level = logging.WARNING if excess else logging.INFO
            logger.log(level, "%s: posts to publish: %s. %s.", channel.path, number, self.in_words(channel))

    def left(self, channel: Channel) -> int:
        """How many posts may still be published in a channel."""
        usage = self.api.usages[channel.account_id]
        left = 0 if channel.account_id in self._reached else usage.quota - usage.usage - self.reserve
        if self.most is not None:
            left = min(left, self.most - self.published)
        return max(0, left)

    def count_published(self, channel: Channel, before: Usage) -> None:
        """Count a post that was published.

        Args:
            channel: Where.
            before: The usage before. If the answer had no new usage, the post is counted here.
        """
        self.published += 1
        if self.api.usages[channel.account_id] == before:
            self.api.usages[channel.account_id] = Usage(before.quota, before.usage + 1)

    def usage(self, channel: Channel) -> Usage:
        """The quota of a channel and its usage, as last seen."""
        return self.api.usages[channel.account_id]

    def stop(self, channel: Channel) -> None:
        """Publish nothing more that counts for the quota of a channel: all later posts wait, so none overtakes."""
        self._reached.add(channel.account_id)

    @property
    def makes_drafts(self) -> bool:
        """Whether a post without quota becomes a draft in the channel."""
        return self.on_quota == "draft"

    def check_waiting(self) -> None:
        """Raise :class:`PostQuotaReachedError` if the settings allow no post to wait."""
        if self.on_quota == "fail":
            raise PostQuotaReachedError(
                "No more posts may be published: the quota of the month, less quota_reserve, or max_posts_per_run is"
                " used up. The rest is posted by a later run, or set on_quota to draft or defer."
            )
