"""Keeps posts and STATEs in their order, delivers posts in batches, and acknowledges each STATE behind them."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from target_harkster.delivery.decision import Decision
from target_harkster.delivery.parcel import Parcel, State
from target_harkster.ledger.digests import DigestRow
from target_harkster.ledger.phases import Phase
from target_harkster.vendor.client import PostRefusedError

if TYPE_CHECKING:
    from collections import defaultdict
    from collections.abc import Callable, Iterable, Mapping

    from singer_http.http.clock import Clock

    from target_harkster.delivery.courier import Courier
    from target_harkster.delivery.decision import Decider
    from target_harkster.delivery.first_run_guard import FirstRunGuard
    from target_harkster.ledger.lookup_rows import LookupRow
    from target_harkster.ledger.store import Entry, Ledger
    from target_harkster.vendor.client import Channel

logger = logging.getLogger(__name__)

BATCH = 500
"""So many rows are looked up together."""
CHECKPOINT_POSTS = 100
CHECKPOINT_SECONDS = 5.0
"""A STATE goes out after so many posts or seconds, if everything before it is durable."""


@dataclass(slots=True, eq=False)
class ParcelQueue:
    """Holds posts and STATEs until they are delivered.

    Attributes:
        courier: Deliver.
        ledger: Knows what was.
        channels: By id.
        guard: Collects what may be too much.
        clock: Tells when a STATE is due.
        decider: Decides on the rows, and counts; ``now`` and a phase counts posts that have come to it.
        acknowledge: Writes a STATE.
    """

    courier: Courier
    ledger: Ledger
    channels: Mapping[str, Channel]
    guard: FirstRunGuard
    clock: Clock
    decider: Decider
    acknowledge: Callable[[Any], None]
    _items: list[Parcel | State] = field(default_factory=list, init=False)
    _rows: list[DigestRow] = field(default_factory=list, init=False)
    _lookups: list[LookupRow] = field(default_factory=list, init=False)
    _waiting: int = field(default=0, init=False)
    _durable: State | None = field(default=None, init=False)
    _sent: int = field(default=0, init=False)
    _acknowledged_at: float = field(init=False)

    def __post_init__(self) -> None:
        self._acknowledged_at = self.clock.monotonic()

    @property
    def tally(self) -> defaultdict[str, Counter[str]]:
        """By stream, what was decided on its rows and done."""
        return self.decider.tally

    def add(self, parcel: Parcel) -> None:
        """Take a post."""
        self._items.append(parcel)
        self._waiting += 1
        if self._waiting >= BATCH:
            self.flush()

    def add_row(self, row: DigestRow | LookupRow) -> None:
        """Take a row of a digest or of a lookup stream."""
        if isinstance(row, DigestRow):
            self._rows.append(row)
        else:
            self._lookups.append(row)
        self._waiting += 1
        if self._waiting >= BATCH:
            self.flush()

    def deliver_earlier(self, marker: str) -> None:
        """Deliver everything so far if a post with this marker is waiting."""
        if any(isinstance(item, Parcel) and item.marker == marker for item in self._items):
            self.flush()

    def drop(self, stream: str, marker: str, reason: str) -> None:
        """Drop the waiting posts of a row that is to have none."""
        self.tally[stream][reason] += 1
        left = [item for item in self._items if not isinstance(item, Parcel) or item.marker != marker]
        collected = self.guard.drop(marker)
        for parcel in collected:
            self.ledger.forget(parcel.lane.channel, marker)
        self.tally[stream][Decision.CREATE.value] -= len(collected)
        self.tally[stream]["superseded"] += len(self._items) - len(left) + len(collected)
        self._items = left

    def add_state(self, value: Any) -> None:
        """Take a STATE, which covers everything before it."""
        self._items.append(State(value))
        if self.clock.monotonic() - self._acknowledged_at >= CHECKPOINT_SECONDS:
            self.flush()

    def flush(self, *, is_end: bool = False) -> None:
        """Deliver everything so far.

        Args:
            is_end: Nothing more comes: what the guard has collected is delivered too, and the STATEs behind it.

        Raises:
            ApiError: The run cannot go on. What was delivered before is known, and acknowledged by :meth:`close`.
        """
        items, self._items, self._waiting = self._items, [], 0
        self.ledger.lookups.add(self._lookups)
        self.ledger.digests.add(self._rows)
        self._lookups.clear()
        self._rows.clear()
        work = self.decider.decide([item for item in items if isinstance(item, Parcel)])
        self.clock.check()
        self._hand_on(items, work)
        if is_end:
            self._hand_on(*self._released())
        self._checkpoint()

    def _released(self) -> tuple[list[Parcel | State], dict[int, Entry]]:
        """What the guard has collected, and what is left to do, by the id of the parcel."""
        items = self.guard.release()
        work: dict[int, Entry] = {}
        for channel in {item.lane.channel for item in items if isinstance(item, Parcel)}:
            parcels = {item.marker: item for item in items if isinstance(item, Parcel) and item.lane.channel == channel}
            for marker, entry in self.ledger.find(channel, list(parcels)).items():
                if entry.phase is Phase.COUNTED:  # otherwise its row is gone meanwhile
                    entry.phase = Phase.INTENT
                    work[id(parcels[marker])] = entry
        for (stream, channel), posts in Counter((entry.stream, entry.channel) for entry in work.values()).items():
            self.ledger.add_first_posts(stream, channel, posts)
        self.ledger.save(*work.values())
        return items, work

    def _hand_on(self, items: Iterable[Parcel | State], work: Mapping[int, Entry]) -> None:
        self._forecast(work.values())
        for item in items:
            if isinstance(item, State):
                if not self.guard.collect_state(item):
                    self._durable = item
                    self._checkpoint()
                continue
            entry = work.get(id(item))
            if entry is not None and entry.phase is Phase.COUNTED:
                self.guard.collect(item)
            elif entry is not None:
                self._deliver(item, entry)
            self.decider.moves.finish(item.lane.channel, item.marker)

    def _forecast(self, entries: Iterable[Entry]) -> None:
        new = Counter(entry.channel for entry in entries if entry.phase is Phase.INTENT and not entry.held)
        for channel, posts in new.items():
            self.courier.forecast(self.channels[channel], posts)

    def close(self) -> None:
        """Acknowledge the last STATE whose rows are all durable."""
        if self._durable is not None:
            self.acknowledge(self._durable.value)
            self._durable = None

    def _checkpoint(self) -> None:
        now = self.clock.monotonic()
        if self._durable is None or (
            self._sent < CHECKPOINT_POSTS and now - self._acknowledged_at < CHECKPOINT_SECONDS
        ):
            return
        self._sent = 0
        self._acknowledged_at = now
        self.close()

    def _deliver(self, parcel: Parcel, entry: Entry) -> None:
        try:
            is_done = self.courier.deliver(self.channels[entry.channel], entry)
        except PostRefusedError as error:
            fields = parcel.content().fields
            named = error.field_index is not None and error.field_index < len(fields)
            parcel.refuse(fields[error.field_index or 0]["id"] if named else None, str(error))
        else:
            self.tally[parcel.lane.stream][f"now {entry.phase.value}" if is_done else "kept"] += 1
        self._sent += 1
