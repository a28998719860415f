"""What is to hold on a line of work, and whether it does."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Protocol

from bench.runs import PAGE_SIZE

if TYPE_CHECKING:
    from bench.runs import Results

NAMES = {"sdk": "the plain singer-sdk tap", "dlt": "dlt's extract", "airbyte": "airbyte-cdk"}
FLOOR_RATE = 25
"""Requests a second that the vendor allows, and that the sandbox enforces."""


@dataclass(frozen=True)
class Verdict:
    """What a goal comes to.

    Attributes:
        measured: What was measured, for the table.
        is_met: Whether it is what it should be; None where too little was measured.
    """

    measured: str
    is_met: bool | None


NOT_MEASURED = Verdict("not measured", None)
INCOMPLETE = Verdict("records are missing", is_met=False)


class Goal(Protocol):
    """Something that is to hold."""

    @property
    def text(self) -> str:
        """The goal in words."""

    def judge(self, line: str, results: Results) -> Verdict:
        """Hold it against what was measured on its line."""


@dataclass(frozen=True)
class FasterThan:
    peer: str
    times: float

    @property
    def text(self) -> str:
        return f"at least {self.times:g}x as fast as {NAMES[self.peer]}"

    def judge(self, line: str, results: Results) -> Verdict:
        if not results.of(line) or not results.of(line, self.peer):
            return NOT_MEASURED
        ours, theirs = results.wall(line), results.wall(line, self.peer)
        if ours is None:
            return INCOMPLETE
        if theirs is not None:
            return Verdict(f"{theirs / ours:.2f}x", theirs / ours >= self.times)
        given_up = [run.wall for run in results.of(line, self.peer) if run.exit_code is None]
        if not given_up:
            return Verdict("the peer reads not all of it", None)
        ratio = min(given_up) / ours
        # It would have taken longer still: only if even this is enough is it known to be met.
        return Verdict(f"more than {ratio:.2f}x", True if ratio >= self.times else None)


@dataclass(frozen=True)
class FasterThanFastest:
    peers: tuple[str, ...]
    times: float

    @property
    def text(self) -> str:
        return f"at least {self.times:g}x as fast as the fastest peer"

    def judge(self, line: str, results: Results) -> Verdict:
        walls = {peer: wall for peer in self.peers if (wall := results.wall(line, peer)) is not None}
        if not walls:
            return NOT_MEASURED
        fastest = min(walls, key=lambda peer: walls[peer])
        verdict = FasterThan(fastest, self.times).judge(line, results)
        return Verdict(f"{verdict.measured} ({NAMES[fastest]})", verdict.is_met)


@dataclass(frozen=True)
class WithinFloor:
    times: float

    @property
    def text(self) -> str:
        return f"at most {self.times:g}x the floor"

    def judge(self, line: str, results: Results) -> Verdict:
        runs = [run for run in results.of(line) if run.is_complete]
        if not runs:
            return INCOMPLETE if results.of(line) else NOT_MEASURED
        floor = runs[0].account.requests / FLOOR_RATE
        taken = median(run.since_first for run in runs)
        return Verdict(f"{taken / floor:.2f}x ({taken:.2f} s to {floor:.2f} s)", taken / floor <= self.times)


@dataclass(frozen=True)
class FewerWasted:
    share: float

    @property
    def text(self) -> str:
        return f"at most {self.share:.0%} of requests for nothing"

    def judge(self, line: str, results: Results) -> Verdict:
        if not results.of(line):
            return NOT_MEASURED
        worst = max(run.wasted for run in results.of(line))
        return Verdict(f"{worst:.1%} in the worst run", worst <= self.share)


@dataclass(frozen=True)
class NeverRefused:
    text = "no 429"

    def judge(self, line: str, results: Results) -> Verdict:
        if not results.of(line):
            return NOT_MEASURED
        refused = sum(run.refused for run in results.of(line))
        return Verdict(f"{refused} in {len(results.of(line))} runs", refused == 0)


@dataclass(frozen=True)
class SlimmerThan:
    """The other line has so much more to read: it may take no more than so many times the memory."""

    other: str
    times: float

    @property
    def text(self) -> str:
        return f"peak memory of 300,000 leads at most {self.times:g}x that of 20,000"

    def judge(self, line: str, results: Results) -> Verdict:
        here, there = ([run.memory for run in results.of(key)] for key in (line, self.other))
        if not here or not there:
            return NOT_MEASURED
        ratio = median(there) / median(here)
        return Verdict(
            f"{ratio:.2f}x ({median(there) / 1e6:.0f} MB to {median(here) / 1e6:.0f} MB)", ratio <= self.times
        )


@dataclass(frozen=True)
class StateWithin:
    most: int

    @property
    def text(self) -> str:
        return f"at most {self.most / 1e6:g} MB of STATE in all"

    def judge(self, line: str, results: Results) -> Verdict:
        if not results.of(line):
            return NOT_MEASURED
        most = max(run.state for run in results.of(line))
        return Verdict(f"{most / 1e6:.2f} MB in the worst run", most <= self.most)


@dataclass(frozen=True)
class Resumable:
    text = "goes on from a STATE in the middle"

    def judge(self, line: str, results: Results) -> Verdict:
        found = results.resumptions.get(line)
        if found is None:
            return NOT_MEASURED
        whole = "nothing missing" if found.is_complete else "records missing"
        measured = f"{whole}, {found.after} records after it, {found.twice} of them again"
        return Verdict(measured, found.is_complete and found.twice <= PAGE_SIZE)
