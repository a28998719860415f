"""``python -m bench.simulation``: many organizations over many runs, on a clock that leaps.

The budget, its log in a file, and the shards are the real ones. Requests take what a model says: 0.3 s, more or less.
Each organization of Hustle takes three requests and one for each thousand leads; a few have most of the leads.
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
import tempfile
from collections import Counter, deque
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from singer_http.http.budget import Budget
from singer_http.http.clock import Clock
from singer_http.http.request_log import FileLog
from singer_http.http.shard import Shard
from typing_extensions import override

LIMIT = 25
LATENCY = 0.3
PARALLEL = 16


class LeapingClock(Clock):
    """A clock that is set."""

    now = 1_700_000_000.0

    @override
    def monotonic(self) -> float:
        return self.now

    @override
    def time(self) -> float:
        return self.now


@dataclass
class Worker:
    """A run that reads one shard.

    Attributes:
        budget: Its own, on the common log.
        work: Chains of requests that are not begun: how many are in each.
        slot: What it waits for, None where it does not.
        ready: Chains whose next request may be sent: how many they still have.
        under_way: How many requests are.
        sent: When it sent its requests.
        idle_at: When it first had nothing that it could send.
    """

    budget: Budget
    work: deque[int]
    slot: float | None = None
    ready: deque[int] = field(default_factory=deque)
    under_way: int = 0
    sent: list[float] = field(default_factory=list)
    idle_at: float = math.inf

    def wants(self) -> bool:
        """Whether it has something to send, and no request waits for its turn."""
        return self.slot is None and self.under_way < PARALLEL and bool(self.ready or self.work)


def organizations(number: int, chance: random.Random) -> dict[int, int]:
    """How many leads each has: most a few hundred, some a million."""
    return {own: min(int(100 * chance.paretovariate(0.8)), 1_000_000) for own in range(number)}


class Simulation:
    """Runs that read all organizations.

    Args:
        number: How many organizations there are.
        workers: How many runs.
        folder: Of the common log.
    """

    def __init__(self, number: int, workers: int, folder: Path) -> None:
        self._chance = random.Random(1)  # noqa: S311 - the same in every run
        self._clock = LeapingClock()
        self._order = count()
        self._events: list[tuple[float, int, Worker, int | None]] = []
        leads = organizations(number, self._chance)
        self.workers = []
        for shard in (Shard(index, workers) for index in range(1, workers + 1)):
            budget = Budget(LIMIT, 1.0, self._clock, FileLog(folder / "log", self._clock))
            own = (leads[organization] for organization in leads if shard.holds(organization))
            self.workers.append(Worker(budget, deque(pages for few in own for pages in (1, 1, 1 + few // 1000))))

    def run(self) -> str:
        """Read everything, and tell how it went."""
        began = self._clock.now
        for worker in self.workers:
            self._look(worker)
        while self._events:
            self._clock.now, _, worker, left = heapq.heappop(self._events)
            if left is not None:
                worker.under_way -= 1
                worker.ready.extend([left] if left else [])
            if left is None or worker.slot is None:
                self._look(worker)
        return _told(self.workers, began, self._clock.now)

    def _look(self, worker: Worker) -> None:
        """Let a worker ask for a turn, or see whether its turn has come."""
        while worker.slot is not None or worker.wants():
            worker.slot, wait = worker.budget._reserve(worker.slot)  # noqa: SLF001 - without its waiting
            if wait > 0:
                self._at(wait + 0.001, worker, None)
                return
            worker.slot = None
            worker.sent.append(self._clock.now)
            worker.under_way += 1
            left = worker.ready.popleft() if worker.ready else worker.work.popleft()
            self._at(LATENCY * (0.5 + self._chance.random()), worker, left - 1)
        if not (worker.ready or worker.work):
            worker.idle_at = min(worker.idle_at, self._clock.now)

    def _at(self, seconds: float, worker: Worker, left: int | None) -> None:
        heapq.heappush(self._events, (self._clock.now + seconds, next(self._order), worker, left))


def _told(workers: list[Worker], began: float, ended: float) -> str:
    sent = sorted(moment for worker in workers for moment in worker.sent)
    most = max(_too_many(sent, LIMIT))
    busy = min(worker.idle_at for worker in workers)  # until then all have work
    shares = Counter({number: sum(moment <= busy for moment in worker.sent) for number, worker in enumerate(workers)})
    fair = min(shares.values()) * len(workers) / shares.total()
    ends = [worker.sent[-1] - began for worker in workers]
    return (
        f"{len(workers):3} runs: {len(sent):,} requests in {(ended - began) / 60:.1f} min,"
        f" {len(sent) / (ended - began) / LIMIT:.1%} of the limit, {most} over it;"
        f" the first is done after {min(ends) / 60:.1f} min; the least of a fair share {fair:.0%}"
    )


def _too_many(sent: list[float], limit: int) -> list[int]:
    """How many requests are too many in the second that ends with each."""
    first, found = 0, [0]
    for last, moment in enumerate(sent):
        while sent[first] <= moment - 1.0:
            first += 1
        found.append(max(0, last - first + 1 - limit))
    return found


def main() -> None:
    """Simulate."""
    parser = argparse.ArgumentParser(prog="python -m bench.simulation", description=__doc__)
    parser.add_argument("--organizations", type=int, default=10_000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 8, 64])
    options = parser.parse_args()
    for workers in options.workers:
        with tempfile.TemporaryDirectory() as folder:
            print(Simulation(options.organizations, workers, Path(folder)).run(), flush=True)


if __name__ == "__main__":
    main()
