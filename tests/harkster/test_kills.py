"""A target that is killed anywhere, with an API that loses answers, still posts every row once and only once."""

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from api_sandbox import AccountPlan, ChannelPlan, Fault, HarksterScenario, RunningSandbox, Scenario, WorkspacePlan
from api_sandbox import serve_in_thread as serve
from api_sandbox.faults import Gate
from msgspec import structs

from tests.harkster.kill_scenarios import KILL_SCENARIOS, KillScenario, check_state, last_state
from tests.harkster.killed_runs import End, Run, Runs
from tests.harkster.running import Target

LEAST_KILLS = 200
"""In all scenarios together."""
KILLS = 5
"""In each round, one after the other in one of the stages."""
MOST_SURVIVORS = 0.2
"""Share of the runs at most that end before they come to the point where they are to be killed."""
MOST_RUNS = 12
MOST_REQUESTS = 300
"""In a stage, that a fault looks at."""
LONG = 1000.0
"""Seconds after which nothing is done late any more."""
GIVE_UP = 0.2
"""Seconds after which a request that may be held is given up."""

PLAN = AccountPlan(
    name="Acme Inc.",
    quota=1_000_000,
    workspaces=(WorkspacePlan(name="Projects", channels=(ChannelPlan(name="First"),)),),
)


@pytest.fixture(scope="module")
def runs(programs: Path) -> Iterator[Runs]:
    made = Runs(programs)
    yield made
    made.close()


@pytest.fixture(scope="module")
def sandboxes() -> Iterator[Callable[..., RunningSandbox]]:
    """A sandbox for each set of its settings."""
    made: dict[str, RunningSandbox] = {}
    with ExitStack() as stack:

        def sandbox(**settings: Any) -> RunningSandbox:
            if repr(settings) not in made:
                details = HarksterScenario(accounts=(PLAN,), requests_per_second=None, **settings)
                made[repr(settings)] = stack.enter_context(serve(Scenario(harkster=details)))
            return made[repr(settings)]

        yield sandbox


def drawn(fault: Fault, chance: random.Random) -> Fault:
    """A fault that hits its share of the requests, others in each round."""
    hit = [ordinal for ordinal in range(1, MOST_REQUESTS) if chance.random() < fault.rate]
    return structs.replace(fault, rate=1.0, nth=(*hit, MOST_REQUESTS))


class Round:
    """Plays a scenario once.

    Attributes:
        killed: How many of its runs were.
        kill_points: By stage, the most points that one of its runs passed.
    """

    def __init__(self, scenario: KillScenario, runs: Runs, sandbox: RunningSandbox, folder: Path) -> None:
        folder.mkdir()
        self.killed = 0
        self.kill_points: list[int] = []
        self._scenario = scenario
        self._runs = runs
        self._sandbox = sandbox
        self._states = folder / "states"
        self._target = Target.into_new_channel(sandbox, folder)
        self._clock_offset = 0.0

    def play(self, seed: int, kill_points: list[int]) -> None:
        """Play it to its end.

        Args:
            seed: Decides where it goes wrong; 0 for a round in which nothing does.
            kill_points: By stage, how many points there are to be killed at.
        """
        chance = self._chance = random.Random(seed)  # noqa: S311 - the same in every run
        killed_stage = seed % len(self._scenario.stages)
        for number in range(len(self._scenario.stages)):
            kills: list[int] = []
            if seed and number == killed_stage:
                points = kill_points[number]
                first = 1 + (seed - 1) * points // self._scenario.rounds
                kills = [first, *(chance.randrange(1, max(points // 2, 2)) for _ in range(KILLS - 1))]
                if self._scenario.is_late:
                    kills = [-kill for kill in kills]
            self._stage(number, kills, with_faults=seed > 0 and seed % 2 == 0)
        self._scenario.check(self._target)

    def _stage(self, number: int, kills: list[int], *, with_faults: bool) -> None:
        scenario, stage = self._scenario, self._scenario.stages[number]
        if stage.quota is not None:
            self._sandbox.harkster.set_quota("Acme Inc.", quota=stage.quota, used=0 if number == 0 else None)
        with_faults |= scenario.is_late
        if with_faults:
            self._sandbox.faults.replace(*(drawn(fault, self._chance) for fault in scenario.faults))
        most = 0
        try:
            for at in range(MOST_RUNS):
                is_faulty = with_faults and at <= KILLS
                if not is_faulty:
                    self._sandbox.faults.clear()
                end = self._run(number, kills.pop(0) if kills else 0, may_hold=is_faulty and scenario.is_late)
                most = max(most, end.points)
                if not kills and not end.is_killed and end.error in stage.ends:
                    break
            else:
                pytest.fail(f"it never comes to an end: {end}")
        finally:
            self._sandbox.faults.clear()
        if with_faults:
            # What is done late is done by now, and what turned up is cleared away.
            self._clock_offset += LONG
            end = self._run(number, 0)
            assert end.error in stage.ends
        self.kill_points.append(most)

    def _run(self, stage: int, kill_at: int, *, may_hold: bool = False) -> End:
        config = {**self._target.config, **self._scenario.stages[stage].settings}
        run = Run(
            config=config,
            lines=self._scenario.messages(stage, self._states),
            states=str(self._states),
            kill_at=kill_at,
            timeout=GIVE_UP if may_hold else 60,
            clock_offset=self._clock_offset,
        )
        end = self._runs.run(run)
        assert end.is_killed or end.code in {0, 1}, "it hangs"
        self.killed += end.is_killed
        if (segments := last_state(self._states)) > 0:
            check_state(self._scenario, self._target, segments)
        return end


@pytest.fixture
def one_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that is held lets go the one that was held before it: it is done in the middle of what comes after."""
    hold = Gate.hold

    async def held(gate: Gate) -> None:
        gate.open()
        await hold(gate)

    monkeypatch.setattr(Gate, "hold", held)


@pytest.mark.usefixtures("one_held")
@pytest.mark.parametrize("name", KILL_SCENARIOS)
def test_every_row_is_posted_once_wherever_the_target_is_killed(
    name: str, runs: Runs, sandboxes: Callable[..., RunningSandbox], tmp_path: Path
) -> None:
    scenario = KILL_SCENARIOS[name]
    sandbox = sandboxes(**scenario.sandbox)
    unharmed = Round(scenario, runs, sandbox, tmp_path / "unharmed")
    unharmed.play(0, [])
    killed = 0
    for seed in range(1, scenario.rounds + 1):
        killed_round = Round(scenario, runs, sandbox, tmp_path / str(seed))
        try:
            killed_round.play(seed, unharmed.kill_points)
        except AssertionError as error:
            raise AssertionError(f"{name}, {seed}: {error}") from error
        killed += killed_round.killed
    assert killed >= fewest_kills(scenario)


def fewest_kills(scenario: KillScenario) -> int:
    """How many runs must have been killed in all rounds of a scenario."""
    return int((1 - MOST_SURVIVORS) * KILLS * scenario.rounds)


def test_enough_runs_are_killed() -> None:
    assert sum(map(fewest_kills, KILL_SCENARIOS.values())) >= LEAST_KILLS
