"""Decides what becomes of rows and their posts, by what the ledger knows. Sends nothing."""

from __future__ import annotations

import enum
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from target_harkster.delivery.parcel import Parcel
from target_harkster.layout.errors import RowError
from target_harkster.ledger.phases import Phase
from target_harkster.ledger.store import Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from target_harkster.delivery.moves import Moves
    from target_harkster.layout.layout import Mode
    from target_harkster.ledger.store import Ledger
    from target_harkster.vendor.posts import Content

    _Finding = Callable[[list[Parcel], Callable[[Parcel], Content | bool]], "_Counting"]


class Decision(enum.Enum):
    """What to do with a row."""

    CREATE = "create"
    UPDATE = "update"
    REPLACE = "replace"
    """The row changed while it waited for the quota: the new content waits instead."""
    UNCHANGED = "unchanged"
    LEAVE = "leave"
    """The row is known and is not to change."""


_UNSEEN = frozenset({Phase.BASELINE, Phase.DELETED})
"""Phases without a post. A row that changed or came back is new."""
_WAITING = frozenset({Phase.COUNTED, Phase.DEFERRED, Phase.INTENT, Phase.RENEWING})
"""Phases in which there is no lasting post yet."""
_LEFT = frozenset({Phase.DELETED, Phase.MOVING})
"""Phases in which the row was not there. It came back."""


def decide(known: Entry | None, hashes: Collection[str], mode: Mode) -> Decision:
    """Decide on a row by the hashes of its content and, if it has no post, of the row itself."""
    if known is None:
        return Decision.CREATE
    if known.phase is Phase.REMOVED or (mode == "append" and known.phase is not Phase.DELETED):
        return Decision.LEAVE
    if known.phase in _LEFT:
        return Decision.CREATE if known.post_id is None else Decision.UPDATE
    if any(one in hashes for one in known.hash.split()):
        return Decision.UNCHANGED
    if known.phase in _UNSEEN:
        return Decision.CREATE
    return Decision.REPLACE if known.phase in _WAITING else Decision.UPDATE


@dataclass(frozen=True, slots=True)
class _Counting:
    """The version of a row that counts.

    Attributes:
        at: Its place among them; None if none counts.
        made: What the attempt gave for it.
        wrong: The version that failed, with its error; None if there is none, or if it does not matter.
    """

    at: int | None = None
    made: Content | bool = False
    wrong: tuple[Parcel, RowError] | None = None


def _first_that_works(versions: list[Parcel], attempt: Callable[[Parcel], Content | bool]) -> _Counting:
    """Choose the first version that works, for mode append. Versions before it that fail do not count."""
    wrong = None
    for at, version in enumerate(versions):
        try:
            if made := attempt(version):
                return _Counting(at, made)
        except RowError as error:
            wrong = version, error
    return _Counting(wrong=wrong)


def _last_that_works(versions: list[Parcel], attempt: Callable[[Parcel], Content | bool]) -> _Counting:
    """Choose the last version that works. If the very last one fails, it is wrong."""
    wrong = None
    for at in reversed(range(len(versions))):
        try:
            made = attempt(versions[at])
        except RowError as error:
            wrong = wrong or (versions[at], error)
        else:
            return _Counting(at if made else None, made, wrong)
    return _Counting(wrong=wrong)


def _is_wanted(version: Parcel) -> bool:
    try:
        return version.is_wanted()
    except RowError:
        return False


@dataclass(slots=True, eq=False)
class Decider:
    """Decides on rows batch by batch, and writes the intentions into the ledger.

    Attributes:
        ledger: Knows the posts.
        moves: Follows rows that go to another channel.
        tally: By stream, what was decided on its rows.
    """

    ledger: Ledger
    moves: Moves
    tally: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def decide(self, parcels: Iterable[Parcel]) -> dict[int, Entry]:
        """Decide on rows and write the intentions down. Returns what is left to do, by the id of the parcel."""
        by_channel: defaultdict[str, dict[str, list[Parcel]]] = defaultdict(dict)
        # A row belongs to one channel: the first it came to in mode append, the last one otherwise.
        channel_of: dict[str, str] = {}
        for parcel in parcels:
            lane = parcel.lane
            if lane.others and (lane.mode != "append" or parcel.marker not in channel_of):
                channel_of[parcel.marker] = lane.channel
        for parcel in parcels:
            lane, marker = parcel.lane, parcel.marker
            if lane.others and channel_of[marker] != lane.channel:
                self.tally[lane.stream]["superseded"] += 1
                continue
            rows = by_channel[lane.channel]
            if marker not in rows:
                rows[marker] = [parcel]
                continue
            # Likewise its place in the order.
            versions = rows[marker] if lane.mode == "append" else rows.pop(marker)
            versions.append(parcel)
            rows[marker] = versions
        work: dict[int, Entry] = {}
        for channel, rows in by_channel.items():
            work |= self._decided_of(channel, rows)
        return work

    def _wanted(self, channel: str, rows: Mapping[str, list[Parcel]]) -> tuple[dict[str, list[Parcel]], list[Entry]]:
        """The rows that have a post, or whose condition is met, and what waits of others: nobody has seen it."""
        asked = [marker for marker, versions in rows.items() if versions[0].lane.is_conditional]
        if not asked:
            return dict(rows), []
        others = {other for marker in asked for other in rows[marker][0].lane.others}
        elsewhere = self.ledger.elsewhere(others, asked) if others else []
        there: set[str] = set()
        unseen: list[Entry] = []
        for entry in (*self.ledger.find(channel, asked).values(), *elsewhere):
            if entry.is_unseen:
                unseen.append(entry)
            elif entry.phase not in _UNSEEN:
                there.add(entry.marker)
        wanted = dict(rows)
        for marker in asked:
            if marker not in there:
                wanted[marker] = self._from_wanted(rows[marker])
        withdrawn = [entry for entry in unseen if not wanted[entry.marker]]
        return {marker: versions for marker, versions in wanted.items() if versions}, withdrawn

    def _from_wanted(self, versions: list[Parcel]) -> list[Parcel]:
        """The versions of a row that are wanted, if the last one is: nobody has seen the others."""
        wanted = self._counting(_last_that_works, versions, Parcel.is_wanted)
        kept: list[Parcel] = []
        if wanted.at is not None:
            kept = [*filter(_is_wanted, versions[: wanted.at]), versions[wanted.at]]
        if wanted.at is None and wanted.wrong is None:
            versions[-1].leave_out()
        self.tally[versions[0].lane.stream]["left out"] += len(versions) - len(kept) - (wanted.wrong is not None)
        return kept

    @staticmethod
    def _counting(find: _Finding, versions: list[Parcel], attempt: Callable[[Parcel], Content | bool]) -> _Counting:
        """Find the version of a row that counts, and refuse one that fails.

        Args:
            find: Chooses it.
            versions: In the order in which they came.
            attempt: What is tried with them; gives False for a version that does not count.
        """
        found = find(versions, attempt)
        if found.wrong is not None:
            parcel, error = found.wrong
            parcel.refuse(error.field, error.reason)
        return found

    def _decided_of(self, channel: str, rows: Mapping[str, list[Parcel]]) -> dict[int, Entry]:
        last = {marker: versions[-1] for marker, versions in rows.items()}
        rows, withdrawn = self._wanted(channel, rows)
        sources = self.ledger.sources(channel, list(rows))
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
        found = self.ledger.find(channel, [parcel.marker for parcel, _ in new])
        changed = [replace(entry, phase=Phase.DELETING) for entry in withdrawn]
        work = {id(last[entry.marker]): entry for entry in changed if entry.channel == channel}
        self.moves.withdraw(channel, [entry for entry in changed if entry.channel != channel])
        for parcel, content in new:
            known = found.get(parcel.marker)
            decision = decide(known, {content.hash, *parcel.row_hash(known)}, parcel.lane.mode)
            # Refused when the run resumed, without its row. Now the row is here and can be rejected.
            was_refused = (
                known is not None and not known.source and known.phase in {Phase.DEFERRED, Phase.UPDATING}
            ) and decision is not Decision.LEAVE
            if decision is Decision.CREATE:
                self.moves.note_stale(parcel)
            entry = self._entry(parcel, content, decision, known)
            entry.held |= (known is None or known.phase is Phase.DELETED) and parcel.marker in held
            is_baseline = decision is Decision.CREATE and entry.phase is Phase.BASELINE
            self.tally[parcel.lane.stream][Phase.BASELINE.value if is_baseline else decision.value] += 1
            changed.append(entry)
            is_counted = entry.phase is Phase.COUNTED and decision is not Decision.LEAVE
            is_new = decision in {Decision.CREATE, Decision.UPDATE} and not is_baseline
            if is_new or is_counted or was_refused:
                work[id(parcel)] = entry
        self.ledger.save(*changed, *moved)
        return work

    def _from_elsewhere(
        self, new: list[tuple[Parcel, Content]]
    ) -> tuple[list[tuple[Parcel, Content]], list[Entry], set[str]]:
        """Sort out rows that have posts in other channels.

        Returns:
            The rows to go on with, the posts that they have left, and the markers of drafts that people are to publish.
        """
        had = self.moves.elsewhere(parcel for parcel, _ in new)
        staying: list[tuple[Parcel, Content]] = []
        left: list[Entry] = []
        for parcel, content in new:
            entries = had.get(parcel.marker, [])
            if entries and parcel.lane.mode == "append":
                self.tally[parcel.lane.stream][Decision.LEAVE.value] += 1
                continue
            staying.append((parcel, content))
            left += self.moves.leave(parcel, entries)
        return staying, left, {marker for marker, entries in had.items() if any(entry.held for entry in entries)}

    def _chosen(self, versions: list[Parcel], source: str | None) -> tuple[Parcel, Content] | None:
        """The version of a row that counts, with its content; None where its post is made of the same ``source``."""
        tally = self.tally[versions[0].lane.stream]
        is_append = versions[0].lane.mode == "append"
        if is_append and source is not None:
            tally[Decision.UNCHANGED.value] += len(versions)
            return None
        # As if each version had come in a batch of its own.
        find = _first_that_works if is_append else _last_that_works
        found = self._counting(find, versions, lambda parcel: parcel.source == source or parcel.content())
        others = len(versions) - (found.at is not None) - (found.wrong is not None)
        tally[Decision.LEAVE.value if is_append else "superseded"] += others
        if found.at is None:
            return None
        if isinstance(found.made, bool):
            tally[Decision.UNCHANGED.value] += 1
            return None
        return versions[found.at], found.made

    def _touch(self, channel: str, rows: Mapping[str, list[Parcel]]) -> None:
        """Note that rows are present, also for the posts that they left in other channels."""
        seen: defaultdict[tuple[int, Sequence[str]], list[str]] = defaultdict(list)
        for marker, versions in rows.items():
            if (last := versions[-1]).lane.mode == "mirror":
                seen[last.version, last.lane.others].append(marker)
        for (version, others), markers in seen.items():
            self.ledger.touch([channel, *others], markers, version)

    def _entry(self, parcel: Parcel, content: Content, decision: Decision, known: Entry | None) -> Entry:
        """What the ledger notes of a row before anything is sent."""
        if known is None or decision is Decision.CREATE:
            is_baseline = parcel.lane.first_run == "baseline" and (known is None or known.phase is Phase.BASELINE)
            begun = Phase.COUNTED if parcel.lane.is_first else Phase.INTENT
            phase = Phase.BASELINE if is_baseline else begun
            entry = Entry(
                parcel.lane.channel, parcel.marker, parcel.lane.stream, parcel.key, phase, "", self.ledger.next_seq()
            )
            entry.held = parcel.lane.first_run == "draft" and known is None
        else:
            entry = known
        entry.key, entry.stream = parcel.key, parcel.lane.stream
        # In mode append a row changes no post, not even one that is found later.
        entry.source = "" if parcel.lane.mode == "append" else parcel.source
        if parcel.lane.mode == "mirror":
            entry.version = parcel.version
        if decision is Decision.UPDATE:
            entry.phase = Phase.UPDATING
        if decision not in {Decision.UNCHANGED, Decision.LEAVE}:
            entry.hash = content.hash
            entry.content = None if entry.phase is Phase.BASELINE else content.encoded()
        if entry.phase is Phase.BASELINE and decision is not Decision.LEAVE:
            # The row itself counts too: another layout changes its content and is no news.
            entry.hash = " ".join((content.hash, *parcel.row_hash(entry)))
        return entry
