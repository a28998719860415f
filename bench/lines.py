"""The lines of work that are measured, as data: an account and an API to read it from, and what is to hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.goals import (
    FLOOR_RATE,
    FasterThan,
    FasterThanFastest,
    FewerWasted,
    NeverRefused,
    Resumable,
    SlimmerThan,
    StateWithin,
    WithinFloor,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.goals import Goal

LATENCY = 0.15
PEERS = ("sdk", "dlt", "airbyte")

_REAL = {"latency": LATENCY, "requests_per_second": FLOOR_RATE}
_UNBOUND = {"latency": 0, "requests_per_second": None}


@dataclass(frozen=True)
class Line:
    """One line of work.

    Attributes:
        key: What it is called on the command line.
        work: What it is called in the table.
        account: Keys of the sandbox's Hustle scenario.
        goals: What is to hold.
        peers: Who is measured besides tap-hustle.
        peer_runs: The most runs of each peer, where they take long and no goal is about them.
        patience: Seconds after which a run is given up.
    """

    key: str
    work: str
    account: Mapping[str, object]
    goals: tuple[Goal, ...] = ()
    peers: tuple[str, ...] = PEERS
    peer_runs: int | None = None
    patience: float = 300.0
    scenario: Mapping[str, object] = field(init=False)

    def __post_init__(self) -> None:
        scenario = {"hustle": {"warm": True, **self.account}}
        object.__setattr__(self, "scenario", scenario)

    @property
    def is_limited(self) -> bool:
        """Whether the API refuses those who ask too often."""
        return self.account["requests_per_second"] is not None


LINES = (
    Line(
        "five",
        "100,000 leads, 5 uneven organizations",
        {"organizations": 5, "leads": 100_000, "lead_shares": "halving", **_REAL},
        (FasterThan("sdk", 5), FasterThanFastest(PEERS, 2), WithinFloor(1.35), NeverRefused()),
    ),
    Line(
        "one",
        "100,000 leads, 1 organization",
        {"organizations": 1, "leads": 100_000, **_REAL},
        (FasterThan("sdk", 4), FasterThanFastest(PEERS, 2), WithinFloor(1.5), FewerWasted(0.05), NeverRefused()),
    ),
    Line(
        "unbound",
        "100,000 leads, 5 uneven organizations; no latency, no limit",
        {"organizations": 5, "leads": 100_000, "lead_shares": "halving", **_UNBOUND},
        (FasterThan("sdk", 4), FasterThan("dlt", 1.5)),
    ),
    Line(
        "forty",
        "20,000 leads, 40 organizations",
        {"organizations": 40, "leads": 20_000, **_REAL},
        (FasterThan("sdk", 4.5), FasterThanFastest(PEERS, 1.5), NeverRefused()),
    ),
    Line(
        "large",
        "300,000 leads, 5 uneven organizations",
        {"organizations": 5, "leads": 300_000, "lead_shares": "halving", **_REAL},
        (WithinFloor(1.15), NeverRefused()),
        peer_runs=1,
    ),
    Line(
        "small",
        "20,000 leads, 5 uneven organizations",
        {"organizations": 5, "leads": 20_000, "lead_shares": "halving", **_REAL},
        (SlimmerThan("large", 1.2), NeverRefused()),
        peer_runs=1,
    ),
    Line(
        "partitions",
        "4,000 organizations of 3 leads; no latency, no limit",
        {
            "organizations": 4_000,
            "leads": 12_000,
            **dict.fromkeys(("groups", "agents", "tags", "custom_fields", "integrations"), 0),
            **_UNBOUND,
        },
        (FasterThan("sdk", 5), StateWithin(5_000_000), Resumable()),
        peer_runs=1,
        patience=600.0,
    ),
)
"""All lines, the most telling first."""
