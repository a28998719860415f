"""The guard on first runs: years of old rows do not go to followers because somebody forgot a setting."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

from singer_http.http.errors import FatalError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from target_harkster.delivery.parcel import Parcel, State
    from target_harkster.vendor.client import Channel

logger = logging.getLogger(__name__)


class TooManyNewPostsError(FatalError):
    """A first run would make more posts than the settings allow."""


class Guard:
    """Holds the new posts of first runs back, until the end of the input tells that they are not too many.

    Args:
        most: How many there may be of a stream in a channel; so many are held in memory.
        channels: By id.
        is_dry: Too many are told, and stop nothing.
    """

    def __init__(self, most: int, channels: Mapping[str, Channel], *, is_dry: bool) -> None:
        self._most = most
        self._channels = channels
        self._is_dry = is_dry
        self._held: dict[tuple[str, str], Parcel] = {}
        self._counts: Counter[tuple[str, str]] = Counter()
        self._states: dict[int, State] = {}

    def hold(self, parcel: Parcel) -> None:
        """Hold a post back, in the place of an earlier version of it.

        Raises:
            TooManyNewPostsError: It is one too many.
        """
        key, place = (parcel.lane.channel, parcel.marker), (parcel.lane.stream, parcel.lane.channel)
        self._counts[place] += key not in self._held
        self._held[key] = parcel
        if not self._is_dry and self._counts[place] > self._most:
            raise TooManyNewPostsError(f"{self._told(*place)} Nothing of it was posted.")

    def holds(self, state: State) -> bool:
        """Hold a STATE back, if there are posts before it that are."""
        at = len(self._held)
        self._states = {before: one for before, one in self._states.items() if before < at}
        if at:
            self._states[at] = state
        return bool(at)

    def drop(self, marker: str) -> list[Parcel]:
        """Give up the posts of a row that is gone."""
        gone = [self._held.pop(key) for key in list(self._held) if key[1] == marker]
        self._counts.subtract((parcel.lane.stream, parcel.lane.channel) for parcel in gone)
        return gone

    def let_go(self) -> list[Parcel | State]:
        """What was held back, in its order."""
        for place, count in self._counts.items():
            if count > self._most:
                logger.warning("%s", self._told(*place))
        items: list[Parcel | State] = []
        for number, parcel in enumerate(self._held.values(), 1):
            items += [parcel, self._states.pop(number)] if number in self._states else [parcel]
        # Those behind posts that were dropped since.
        items += self._states.values()
        self._held.clear()
        self._states.clear()
        self._counts.clear()
        return items

    def _told(self, stream: str, channel: str) -> str:
        return (
            f"The first run of {stream} into {self._channels[channel].path} would make more than {self._most} new posts"
            " (max_new_posts). Look at them with harkster plan; then set max_new_posts to what you want to post, or"
            " first_run to baseline to post only what comes later."
        )
