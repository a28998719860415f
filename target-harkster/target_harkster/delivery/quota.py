"""How many posts may still be published: by the vendor's quota, and by the settings."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from target_harkster.vendor.client import Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from target_harkster.vendor.client import Channel, HarksterApi

logger = logging.getLogger(__name__)


class Allowance:
    """What may still be published in this run, account by account.

    Args:
        api: Tells of the quotas.
        config: The target's settings.
    """

    def __init__(self, api: HarksterApi, config: Mapping[str, Any]) -> None:
        self._api = api
        self._reserve: int = config["quota_reserve"]
        self._most: int | None = config.get("max_posts_per_run")
        self._reached: set[str] = set()
        self.published = 0
        """Posts published in this run."""

    def open(self, channel: Channel) -> None:
        """Read what is left of the quota that the posts of a channel count for."""
        if channel.account_id not in self._api.usages:
            self._api.usage(channel.account_id)
            logger.info("%s: %s.", channel.names[0], self.told(channel))

    def is_known(self, channel: Channel) -> bool:
        """Whether the API has told of the quota that the posts of a channel count for."""
        return channel.account_id in self._api.usages

    def told(self, channel: Channel) -> str:
        """What is known of the quota that the posts of a channel count for, in words."""
        usage = self._api.usages[channel.account_id]
        left = max(0, usage.quota - usage.usage)
        words = f"{usage.usage} of {usage.quota} posts of this month used, {left} left"
        if self._reserve:
            words += f", {min(left, self._reserve)} of these kept in reserve"
        if self._most is not None:
            words += f"; this run may publish {max(0, self._most - self.published)} more"
        return words

    def forecast(self, channel: Channel, posts: int) -> None:
        """Say how far the quota goes with posts that are about to be published."""
        if posts:
            excess = max(0, posts - self.left(channel))
            told = f"{posts}, of which {excess} cannot be now" if excess else str(posts)
            level = logging.WARNING if excess else logging.INFO
            logger.log(level, "%s: posts to publish: %s. %s.", channel.path, told, self.told(channel))

    def left(self, channel: Channel) -> int:
        """How many posts may still be published in a channel."""
        usage = self._api.usages[channel.account_id]
        left = 0 if channel.account_id in self._reached else usage.quota - usage.usage - self._reserve
        if self._most is not None:
            left = min(left, self._most - self.published)
        return max(0, left)

    def spent(self, channel: Channel, before: Usage) -> None:
        """Count a post that was published.

        Args:
            channel: Where.
            before: The usage before: unless the answer told of a new one, it is counted here.
        """
        self.published += 1
        if self._api.usages[channel.account_id] == before:
            self._api.usages[channel.account_id] = Usage(before.quota, before.usage + 1)

    def usage(self, channel: Channel) -> Usage:
        """The quota and usage that a channel's posts count for, as far as known."""
        return self._api.usages[channel.account_id]

    def reached(self, channel: Channel) -> None:
        """The API said that the quota is used up."""
        self._reached.add(channel.account_id)
