"""The outbox: posts and STATEs in the order in which they came, delivered in batches and acknowledged one by one."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from target_harkster.delivery.decision import Decision, decide
from target_harkster.delivery.delivery import encode_content
from target_harkster.delivery.parcel import Parcel, State
from target_harkster.layout.errors import RowError
from target_harkster.ledger.digests import DigestRow
from target_harkster.ledger.store import Entry, Phase
from target_harkster.vendor.client import PostRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from singer_http.http.clock import Clock

    from target_harkster.delivery.attempts import Attempts
    from target_harkster.delivery.guard import Guard
    from target_harkster.ledger.lookups import LookupRow
    from target_harkster.ledger.store import Ledger
    from target_harkster.vendor.client import Channel
    from target_harkster.vendor.posts import Content

logger = logging.getLogger(__name__)

BATCH = 500
"""Rows that are looked up together."""
CHECKPOINT_POSTS = 100
CHECKPOINT_SECONDS = 5.0
"""A STATE goes out after so many posts or seconds, if the tap has sent one that is covered."""


class Outbox:
    """Holds what is to be delivered.

    Args:
        attempts: Deliver.
        ledger: Knows what was.
        channels: By id.
        guard: Holds back what may be too much.
        clock: Tells when a STATE is due.
        on_move: What becomes of the post of a row that went to another channel: ``delete`` or ``keep``.
        acknowledge: Writes a STATE.
        delivered: Told of every post that was delivered, and of the phase that it is in.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what it stands between
        self,
        attempts: Attempts,
        ledger: Ledger,
        channels: Mapping[str, Channel],
        guard: Guard,
        clock: Clock,
        on_move: str,
        acknowledge: Callable[[Any], None],
        delivered: Callable[[Parcel, Phase], None],
    ) -> None:
        self._attempts = attempts
        self._ledger = ledger
        self._channels = channels
        self._guard = guard
        self._clock = clock
        self._on_move = on_move
        self._moved: dict[tuple[str, str], list[Entry]] = {}
        self._acknowledge = acknowledge
        self._delivered = delivered
        self._items: list[Parcel | State] = []
        self._rows: list[DigestRow] = []
        self._lookups: list[LookupRow] = []
        self._posts = 0
        self._durable: State | None = None
        self._sent = 0
        self._acknowledged_at = clock.monotonic()
        self.watch: Callable[[Parcel, Content, Decision, Entry | None], None] | None = None
        """Told of each decision, before it is noted."""
        self.tally: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """By stream, what was decided on its rows, and ``now`` with the phase that posts have come to."""

    def add(self, parcel: Parcel) -> None:
        """Take a post."""
        self._items.append(parcel)
        self._posts += 1
        if self._posts >= BATCH:
            self.flush()

    def add_row(self, row: DigestRow | LookupRow) -> None:
        """Take a row of a digest, or one that ids are looked up in."""
        if isinstance(row, DigestRow):
            self._rows.append(row)
        else:
            self._lookups.append(row)
        self._posts += 1
        if self._posts >= BATCH:
            self.flush()

    def settle(self, marker: str) -> None:
        """Deliver what is there, if a post with a marker is among it."""
        if any(isinstance(item, Parcel) and item.marker == marker for item in self._items):
            self.flush()

    def drop(self, stream: str, marker: str, reason: str) -> None:
        """Forget a post that was to be delivered: there is to be none of its row."""
        self.tally[stream][reason] += 1
        left = [item for item in self._items if not isinstance(item, Parcel) or item.marker != marker]
        held = self._guard.drop(marker)
        for parcel in held:
            self._ledger.forget(parcel.lane.channel, marker)
        self.tally[stream][Decision.CREATE.value] -= len(held)
        self.tally[stream]["superseded"] += len(self._items) - len(left) + len(held)
        self._items = left

    def add_state(self, value: Any) -> None:
        """Take a STATE, which is about all that came before it."""
        self._items.append(State(value))
        if self._clock.monotonic() - self._acknowledged_at >= CHECKPOINT_SECONDS:
            self.flush()

    def flush(self, *, is_end: bool = False) -> None:
        """Deliver what is there.

        Args:
            is_end: Nothing more comes: what the guard has held back is delivered too, and the STATEs behind it.

        Raises:
            ApiError: The run cannot go on. What was delivered before is known, and acknowledged by :meth:`close`.
        """
        items, self._items, self._posts = self._items, [], 0
        self._ledger.lookups.add(self._lookups)
        self._ledger.digests.add(self._rows)
        self._lookups.clear()
        self._rows.clear()
        work = self._decided([item for item in items if isinstance(item, Parcel)])
        self._clock.check()
        self._hand_on(items, work)
        if is_end:
            self._hand_on(*self._released())
        self._checkpoint()

    def _released(self) -> tuple[list[Parcel | State], dict[int, Entry]]:
        """What was held back, and what there is to do of it, by parcel."""
        items = self._guard.let_go()
        work: dict[int, Entry] = {}
        moved: list[Entry] = []
        for channel in {item.lane.channel for item in items if isinstance(item, Parcel)}:
            parcels = {item.marker: item for item in items if isinstance(item, Parcel) and item.lane.channel == channel}
            for marker, entry in self._ledger.find(channel, list(parcels)).items():
                if entry.phase is Phase.COUNTED:  # or it was deleted meanwhile, as its row is gone
                    entry.phase = Phase.INTENT
                    work[id(parcels[marker])] = entry
                    moved += self._moved.get((channel, marker), ())
        self._ledger.save(*work.values(), *moved)
        return items, work

    def _hand_on(self, items: Iterable[Parcel | State], work: Mapping[int, Entry]) -> None:
        self._forecast(work.values())
        for item in items:
            if isinstance(item, State):
                if not self._guard.holds(item):
                    self._durable = item
                    self._checkpoint()
            elif (entry := work.get(id(item))) is None:
                continue
            elif entry.phase is Phase.COUNTED:
                self._guard.hold(item)
            else:
                self._deliver(item, entry)

    def _forecast(self, entries: Iterable[Entry]) -> None:
        new = Counter(entry.channel for entry in entries if entry.phase is Phase.INTENT and not entry.held)
        for channel, posts in new.items():
            self._attempts.forecast(self._channels[channel], posts)

    def close(self) -> None:
        """Acknowledge the last STATE that everything before it is durable for."""
        if self._durable is not None:
            self._acknowledge(self._durable.value)
            self._durable = None

    def _checkpoint(self) -> None:
        now = self._clock.monotonic()
        if self._durable is None or (
            self._sent < CHECKPOINT_POSTS and now - self._acknowledged_at < CHECKPOINT_SECONDS
        ):
            return
        self._sent = 0
        self._acknowledged_at = now
        self.close()

    def _decided(self, parcels: list[Parcel]) -> dict[int, Entry]:
        """Decide on every row, and write down what is intended; what there is to do, by parcel."""
        by_channel: defaultdict[str, dict[str, list[Parcel]]] = defaultdict(dict)
        # A row that may be in one of several channels is in the one where it came first or last, as its versions count.
        places: dict[str, str] = {}
        for parcel in parcels:
            lane = parcel.lane
            if lane.others and (lane.mode != "append" or parcel.marker not in places):
                places[parcel.marker] = lane.channel
        for parcel in parcels:
            lane, marker = parcel.lane, parcel.marker
            if lane.others and places[marker] != lane.channel:
                self.tally[lane.stream]["superseded"] += 1
                continue
            rows = by_channel[lane.channel]
            if marker not in rows:
                rows[marker] = [parcel]
                continue
            # The place of a row is where it came first if that is what counts, and otherwise where it came last.
            versions = rows[marker] if lane.mode == "append" else rows.pop(marker)
            versions.append(parcel)
            rows[marker] = versions
        work: dict[int, Entry] = {}
        for channel, rows in by_channel.items():
            work |= self._decided_of(channel, rows)
        return work

    def _wanted(self, channel: str, rows: Mapping[str, list[Parcel]]) -> dict[str, list[Parcel]]:
        """The rows that have a post already, or are to become one."""
        asked = [marker for marker, versions in rows.items() if versions[0].lane.is_conditional]
        if not asked:
            return dict(rows)
        known = self._ledger.find(channel, asked)
        others = {other for marker in asked for other in rows[marker][0].lane.others}
        elsewhere = self._ledger.elsewhere(others, asked) if others else []
        without = {Phase.BASELINE, Phase.DELETED}
        there = {entry.marker for entry in (*known.values(), *elsewhere) if entry.phase not in without}
        wanted = dict(rows)
        for marker in asked:
            if marker not in there:
                wanted[marker] = self._from_wanted(rows[marker])
        return {marker: versions for marker, versions in wanted.items() if versions}

    def _from_wanted(self, versions: list[Parcel]) -> list[Parcel]:
        """The versions of a row that count: from the first on that is wanted, or up to the last if it is wanted."""
        is_append = versions[0].lane.mode == "append"
        kept: list[Parcel] = []
        wrong: tuple[Parcel, RowError] | None = None
        for at, parcel in enumerate(versions if is_append else reversed(versions)):
            try:
                if parcel.is_wanted():
                    kept = versions[at:] if is_append else versions[: len(versions) - at]
                elif is_append:
                    continue
                break
            except RowError as error:
                wrong = (parcel, error) if is_append or wrong is None else wrong
        if wrong is not None and is_append and kept:
            wrong = None
        if wrong is not None:
            wrong[0].refuse(wrong[1].field, wrong[1].reason)
        self.tally[versions[0].lane.stream]["left out"] += len(versions) - len(kept) - (wrong is not None)
        return kept

    def _decided_of(self, channel: str, rows: Mapping[str, list[Parcel]]) -> dict[int, Entry]:
        rows = self._wanted(channel, rows)
        sources = self._ledger.sources(channel, list(rows))
        new: list[tuple[Parcel, Content]] = []
        unchanged: Counter[str] = Counter()
        for marker, versions in rows.items():
            source = sources.get(marker)
            if len(versions) == 1 and versions[0].source == source:
                unchanged[versions[0].lane.stream] += 1
            elif (chosen := self._chosen(versions, source)) is not None:
                new.append(chosen)
        for stream, number in unchanged.items():
            self.tally[stream][Decision.UNCHANGED.value] += number
        self._touch(channel, rows)
        new, moved, held = self._from_elsewhere(new)
        found = self._ledger.find(channel, [parcel.marker for parcel, _ in new])
        work: dict[int, Entry] = {}
        changed: list[Entry] = []
        for parcel, content in new:
            known = found.get(parcel.marker)
            decision = decide(known, {content.hash, *parcel.row_hash(known)}, parcel.lane.mode)
            # At the start of this run, when its row was not known: now it is, and can be rejected as a whole.
            was_refused = (
                known is not None and not known.source and known.phase in {Phase.DEFERRED, Phase.UPDATING}
            ) and decision is not Decision.LEAVE
            if self.watch is not None:
                self.watch(parcel, content, decision, known)
            entry = self._entry(parcel, content, decision, known)
            entry.held |= known is None and parcel.marker in held
            is_baseline = decision is Decision.CREATE and entry.phase is Phase.BASELINE
            self.tally[parcel.lane.stream][Phase.BASELINE.value if is_baseline else decision.value] += 1
            changed.append(entry)
            is_counted = entry.phase is Phase.COUNTED and decision is not Decision.LEAVE
            is_new = decision in {Decision.CREATE, Decision.UPDATE} and not is_baseline
            if is_new or is_counted or was_refused:
                work[id(parcel)] = entry
        counted = {entry.marker for entry in changed if entry.phase is Phase.COUNTED}
        self._ledger.save(*changed, *(entry for entry in moved if entry.marker not in counted))
        return work

    def _from_elsewhere(
        self, new: list[tuple[Parcel, Content]]
    ) -> tuple[list[tuple[Parcel, Content]], list[Entry], set[str]]:
        """The rows but for those that stay in another channel, and the posts that others have left there.

        With the markers of those that are drafts for people, and stay so wherever their rows go.
        """
        others = {channel for parcel, _ in new for channel in parcel.lane.others}
        if not others:
            return new, [], set()
        had: defaultdict[str, list[Entry]] = defaultdict(list)
        for entry in self._ledger.elsewhere(others, [parcel.marker for parcel, _ in new if parcel.lane.others]):
            had[entry.marker].append(entry)
        staying: list[tuple[Parcel, Content]] = []
        moved: list[Entry] = []
        for parcel, content in new:
            entries = had.get(parcel.marker, []) if parcel.lane.others else []
            if entries and parcel.lane.mode == "append":
                self.tally[parcel.lane.stream][Decision.LEAVE.value] += 1
                continue
            staying.append((parcel, content))
            if self._on_move == "delete":
                moved += entries
                self._moved[parcel.lane.channel, parcel.marker] = entries
            else:
                for entry in entries:
                    logger.warning(
                        "%s, %s: a post (%s) is stale: its row went to %s.",
                        self._channels[entry.channel].path,
                        parcel.lane.stream,
                        entry.marker,
                        self._channels[parcel.lane.channel].path,
                    )
        for entry in moved:
            entry.phase = Phase.DELETING
        return staying, moved, {marker for marker, entries in had.items() if any(entry.held for entry in entries)}

    def _chosen(self, versions: list[Parcel], source: str | None) -> tuple[Parcel, Content] | None:
        """Of the versions of a row, the one that counts, as if each had come in a batch of its own.

        That is the first that makes a post where a known row is left alone, and otherwise the last. One that makes
        none is rejected, unless it is followed by one that does.

        Args:
            versions: In the order in which they came.
            source: What the post of the row was made of, if there is one.
        """
        tally = self.tally[versions[0].lane.stream]
        is_append = versions[0].lane.mode == "append"
        if is_append and source is not None:
            tally[Decision.UNCHANGED.value] += len(versions)
            return None
        chosen: tuple[Parcel, Content] | None = None
        wrong: tuple[Parcel, RowError] | None = None
        is_unchanged = False
        for parcel in versions if is_append else reversed(versions):
            if is_unchanged := parcel.source == source:
                break
            try:
                chosen = parcel, parcel.content()
                break
            except RowError as error:
                wrong = (parcel, error) if is_append or wrong is None else wrong
        if is_append and chosen is not None:
            wrong = None
        if wrong is not None:
            wrong[0].refuse(wrong[1].field, wrong[1].reason)
        tally[Decision.UNCHANGED.value] += is_unchanged
        told = sum((chosen is not None, wrong is not None, is_unchanged))
        tally[Decision.LEAVE.value if is_append else "superseded"] += len(versions) - told
        return chosen

    def _touch(self, channel: str, rows: Mapping[str, list[Parcel]]) -> None:
        by_version: defaultdict[int, list[str]] = defaultdict(list)
        for marker, versions in rows.items():
            if versions[-1].lane.mode == "mirror":
                by_version[versions[-1].version].append(marker)
        for version, markers in by_version.items():
            self._ledger.touch([channel], markers, version)

    def _entry(self, parcel: Parcel, content: Content, decision: Decision, known: Entry | None) -> Entry:
        """What is to be written down of a row before anything is sent."""
        if known is None or decision is Decision.CREATE:
            is_baseline = parcel.lane.first_run == "baseline" and (known is None or known.phase is Phase.BASELINE)
            begun = Phase.COUNTED if parcel.lane.is_first else Phase.INTENT
            phase = Phase.BASELINE if is_baseline else begun
            entry = Entry(
                parcel.lane.channel, parcel.marker, parcel.lane.stream, parcel.key, phase, "", self._ledger.next_seq()
            )
            entry.held = parcel.lane.first_run == "draft" and known is None
        else:
            entry = known
        entry.key, entry.stream, entry.source = parcel.key, parcel.lane.stream, parcel.source
        if parcel.lane.mode == "mirror":
            entry.version = parcel.version
        if decision is Decision.UPDATE:
            entry.phase = Phase.UPDATING
        if decision not in {Decision.UNCHANGED, Decision.LEAVE}:
            entry.hash = content.hash
            entry.content = None if entry.phase is Phase.BASELINE else encode_content(content)
        if entry.phase is Phase.BASELINE and decision is not Decision.LEAVE:
            # Of the row too: another layout makes other content of it, and no news.
            entry.hash = " ".join((content.hash, *parcel.row_hash(entry)))
        return entry

    def _deliver(self, parcel: Parcel, entry: Entry) -> None:
        try:
            is_done = self._attempts.deliver(self._channels[entry.channel], entry)
        except PostRefusedError as error:
            fields = parcel.content().fields
            named = error.place is not None and error.place < len(fields)
            parcel.refuse(fields[error.place or 0]["id"] if named else None, str(error))
        else:
            self.tally[parcel.lane.stream][f"now {entry.phase.value}" if is_done else "kept"] += 1
            if is_done:
                self._delivered(parcel, entry.phase)
        for moved in self._moved.pop((parcel.lane.channel, parcel.marker), []):
            self._attempts.deliver(self._channels[moved.channel], moved)
        self._sent += 1
