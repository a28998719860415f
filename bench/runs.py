"""What one run of one program showed, and what several of them come to."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from statistics import median

PAGE_SIZE = 1000
OURS = "tap-hustle"


@dataclass(frozen=True)
class Account:
    """What there is to read, by the sandbox's own truth.

    Attributes:
        leads: How many there are.
        requests: How many are needed to read them: the pages of every organization, and those that list these.
    """

    leads: int
    requests: int

    @classmethod
    def of(cls, organizations: int, leads: dict[str, int]) -> Account:
        """The account of so many organizations, and the leads of those that have any."""
        pages = sum(-(-count // PAGE_SIZE) for count in leads.values() if count)
        empty = organizations - sum(1 for count in leads.values() if count)
        return cls(sum(leads.values()), max(1, -(-organizations // PAGE_SIZE)) + pages + empty)


@dataclass(frozen=True)
class Run:
    """One run of one program. Times are in seconds, sizes in bytes.

    Attributes:
        account: What there was to read.
        exit_code: How the program ended; None if it was given up.
        wall: From its start to its end.
        cpu: Of all processors, user and system.
        memory: Peak resident set.
        since_first: From the first request that the API got to the end of the program.
        requests: Requests that the API got, those for tokens left out.
        refused: How many of them it answered with a 429.
        records: Leads in the output.
        distinct: Different leads in the output.
        state: STATE messages in the output, all together.
    """

    account: Account
    exit_code: int | None
    wall: float
    cpu: float
    memory: int
    since_first: float
    requests: int
    refused: int
    records: int
    distinct: int
    state: int

    @property
    def is_complete(self) -> bool:
        """Whether it read everything, once."""
        return self.exit_code == 0 and self.records == self.distinct == self.account.leads

    @property
    def wasted(self) -> float:
        """Requests beyond what was needed, as a share of that."""
        return (self.requests - self.account.requests) / self.account.requests


class Results:
    """The runs of all lines."""

    def __init__(self) -> None:
        self._runs: defaultdict[tuple[str, str], list[Run]] = defaultdict(list)
        self.resumptions: dict[str, Resumption] = {}

    def add(self, line: str, program: str, run: Run) -> None:
        """Keep a run."""
        self._runs[line, program].append(run)

    def of(self, line: str, program: str = OURS) -> list[Run]:
        """The runs of a program on a line, none if it was not measured."""
        return self._runs.get((line, program), [])

    def wall(self, line: str, program: str = OURS) -> float | None:
        """The median wall time of the complete runs."""
        times = [run.wall for run in self.of(line, program) if run.is_complete]
        return median(times) if times else None


@dataclass(frozen=True)
class Resumption:
    """What came of going on with a STATE from the middle of a run.

    Attributes:
        is_complete: Whether the records before the STATE and those of the second run are all there are.
        twice: Records that both have.
        after: Records that the second run wrote.
    """

    is_complete: bool
    twice: int
    after: int
