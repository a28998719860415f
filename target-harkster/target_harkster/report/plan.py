"""The plan of a dry run: what the same run would do to each post, and a table that counts it."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.table import Table

from target_harkster.report.diff import DRAFTS, PostChange, post_changes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rich.console import Console

    from target_harkster.ledger.store import Entry, Ledger
    from target_harkster.report.planning_api import PlannedPost, PlanningApi
    from target_harkster.vendor.client import Usage

COLUMNS = ("publish", "update", "delete", "drafts", "unchanged", "rejected", "waiting")
"""The columns of the table: what followers would see, drafts made, changed or deleted, rows that change no post and
rows that are rejected, and posts that would be left to later runs."""
_UNCHANGED = ("unchanged", "leave", "superseded", "gone", "baseline", "left out", "now removed")
"""What of the tally changes no post."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do.

    Attributes:
        streams: By stream, the columns of the table.
        changes: Post by post.
        quotas: By name of the channel, what would be left of its quota.
    """

    streams: Mapping[str, Mapping[str, int]]
    changes: list[PostChange]
    quotas: Mapping[str, Usage]


@dataclass(frozen=True, slots=True)
class Planner:
    """Compares the posts before and after a dry run.

    Attributes:
        api: Which all its writes went to.
        ledger: Of the dry run.
    """

    api: PlanningApi
    ledger: Ledger
    _rows: dict[str, tuple[str, str]] = field(default_factory=dict, init=False)

    def delivered(self, before: Entry, entry: Entry) -> None:
        """Note which row a post is of."""
        for post_id in (before.post_id, entry.post_id):
            if post_id is not None:
                self._rows[post_id] = entry.channel, entry.marker

    def plan(self, tally: Mapping[str, Counter[str]], channels: Iterable[str], quotas: Mapping[str, Usage]) -> Plan:
        """The plan, after everything was delivered.

        Args:
            tally: By stream, what became of its rows.
            channels: Ids of those that are open.
            quotas: As in the plan.
        """
        changes = list(self._changes())
        streams: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for stream, counts in tally.items():
            unchanged = sum(counts[name] for name in _UNCHANGED)
            streams[stream].update(unchanged=unchanged, rejected=counts["rejected"], waiting=counts["open"])
        for change in changes:
            streams[change.stream]["drafts" if change.action in DRAFTS else change.action] += 1
        for entry in (entry for channel in channels for entry in self.ledger.unfinished(channel)):
            streams[entry.stream]["waiting"] += 1
        table = {stream: {column: counts[column] for column in COLUMNS} for stream, counts in streams.items()}
        return Plan(table, changes, quotas)

    def _changes(self) -> Iterator[PostChange]:
        by_row: defaultdict[tuple[str, str], list[PlannedPost]] = defaultdict(list)
        for post_id, row in self._rows.items():
            if post_id in self.api.planned:
                by_row[row].append(self.api.planned[post_id])
        markers: defaultdict[str, list[str]] = defaultdict(list)
        for channel, marker in by_row:
            markers[channel].append(marker)
        entries = {channel: self.ledger.find(channel, some) for channel, some in markers.items()}
        for (channel, marker), posts in by_row.items():
            entry = entries[channel].get(marker)
            for change in (change for post in posts for change in post_changes(entry, post)) if entry else ():
                # Another draft of the row may take the place of one that is deleted.
                if change.action != "delete draft" or not any(post.after for post in posts):
                    yield change


def print_plan(plan: Plan, console: Console) -> None:
    """Print a plan for people."""
    table = Table("stream", *COLUMNS, title="Nothing was sent. This would be done:")
    for stream, counts in plan.streams.items():
        table.add_row(stream, *(str(counts[column]) for column in COLUMNS))
    console.print(table)
    for name, usage in plan.quotas.items():
        console.print(
            f"{name}: {usage.usage} of {usage.quota} posts of this month would be used then.", highlight=False
        )
