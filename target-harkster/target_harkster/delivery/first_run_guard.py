"""Stops a first run that would send years of old rows to followers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from singer_http.http.errors import FatalError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from target_harkster.delivery.parcel import Parcel, State
    from target_harkster.ledger.store import Ledger
    from target_harkster.vendor.client import Channel


class TooManyNewPostsError(FatalError):
    """A first run would make more posts than the settings allow."""


@dataclass(slots=True, eq=False)
class FirstRunGuard:
    """Collects the new posts of a first run until all have been counted.

    Attributes:
        most: How many there may be of a stream in a channel; so many are in memory.
        channels: By id.
        ledger: Knows what earlier runs made that were cut off.
        is_dry: Too many posts do not end the run where they are counted, but at its end.
        failures: Why the run would have ended.
    """

    most: int
    channels: Mapping[str, Channel]
    ledger: Ledger
    is_dry: bool
    failures: list[str] = field(default_factory=list, init=False)
    _collected: dict[tuple[str, str], Parcel] = field(default_factory=dict, init=False)
    _counts: Counter[tuple[str, str]] = field(default_factory=Counter, init=False)
    _states: dict[int, State] = field(default_factory=dict, init=False)

    def collect(self, parcel: Parcel) -> None:
        """Collect a post. It replaces an earlier version of itself.

        Raises:
            TooManyNewPostsError: It is one too many.
        """
        key, place = (parcel.lane.channel, parcel.marker), (parcel.lane.stream, parcel.lane.channel)
        if place not in self._counts:
            self._counts[place] = self.ledger.first_posts(*place)
        self._counts[place] += key not in self._collected
        self._collected[key] = parcel
        if not self.is_dry and self._counts[place] > self.most:
            raise TooManyNewPostsError(f"{self._sentence(*place)} This run posted nothing of it.")

    def collect_state(self, state: State) -> bool:
        """Collect a STATE if there are posts before it. Returns whether it did."""
        at = len(self._collected)
        self._states = {before: one for before, one in self._states.items() if before < at}
        if at:
            self._states[at] = state
        return bool(at)

    def drop(self, marker: str) -> list[Parcel]:
        """Drop the posts of a row that is gone."""
        gone = [self._collected.pop(key) for key in list(self._collected) if key[1] == marker]
        self._counts.subtract((parcel.lane.stream, parcel.lane.channel) for parcel in gone)
        return gone

    def release(self) -> list[Parcel | State]:
        """Release everything in its order."""
        for place, count in self._counts.items():
            if count > self.most:
                self.failures.append(self._sentence(*place))
        items: list[Parcel | State] = []
        for number, parcel in enumerate(self._collected.values(), 1):
            items += [parcel, self._states.pop(number)] if number in self._states else [parcel]
        # STATEs behind posts that were dropped.
        items += self._states.values()
        self._collected.clear()
        self._states.clear()
        self._counts.clear()
        return items

    def _sentence(self, stream: str, channel: str) -> str:
        made = self.ledger.first_posts(stream, channel)
        earlier = f", with {made} of earlier runs that were cut off" if made else ""
        return (
            f"The first run of {stream} into {self.channels[channel].path} would make more than {self.most} new posts"
            f"{earlier} (max_new_posts). Look at them with harkster plan; then set max_new_posts to what you want to"
            " post, or first_run to baseline to post only what comes later."
        )
