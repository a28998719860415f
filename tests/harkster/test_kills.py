"""A target that dies anywhere, with an API that loses answers, still posts every row once and only once."""

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

from tests.harkster.crashing import End, Run, Runs
from tests.harkster.running import Target
from tests.harkster.stories import STORIES, Story, check_state, last_state

LEAST_KILLS = 200
"""In all stories together."""
KILLS = 5
"""In each telling, one after the other in one of the stages."""
MOST_SURVIVORS = 0.2
"""Share of the runs at most that end before they come to the place where they are to die."""
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
def runs() -> Iterator[Runs]:
    made = Runs()
    yield made
    made.close()


@pytest.fixture(scope="module")
def sandboxes() -> Iterator[Callable[..., RunningSandbox]]:
    """A sandbox for each scenario."""
    made: dict[str, RunningSandbox] = {}
    with ExitStack() as stack:

        def sandbox(**scenario: Any) -> RunningSandbox:
            if repr(scenario) not in made:
                details = HarksterScenario(accounts=(PLAN,), requests_per_second=None, **scenario)
                made[repr(scenario)] = stack.enter_context(serve(Scenario(harkster=details)))
            return made[repr(scenario)]

        yield sandbox


def drawn(fault: Fault, chance: random.Random) -> Fault:
    """A fault that hits its share of the requests, others in each telling."""
    hit = [ordinal for ordinal in range(1, MOST_REQUESTS) if chance.random() < fault.rate]
    return structs.replace(fault, rate=1.0, nth=(*hit, MOST_REQUESTS))


class Telling:
    """A story that is being told.

    Attributes:
        killed: How many of its runs were.
        whole: By stage, the points of its first run that was not killed.
    """

    def __init__(self, story: Story, runs: Runs, sandbox: RunningSandbox, folder: Path) -> None:
        folder.mkdir()
        self.killed = 0
        self.whole: list[int] = []
        self._story = story
        self._runs = runs
        self._sandbox = sandbox
        self._states = folder / "states"
        self._target = Target.into_new_channel(sandbox, folder)
        self._ahead = 0.0

    def tell(self, seed: int, whole: list[int]) -> None:
        """Tell it to its end.

        Args:
            seed: Decides where it goes wrong; 0 for a story in which nothing does.
            whole: By stage, how many points there are to die at.
        """
        chance = self._chance = random.Random(seed)  # noqa: S311 - the same in every run
        deadly = seed % len(self._story.stages)
        for number in range(len(self._story.stages)):
            kills: list[int] = []
            if seed and number == deadly:
                points = whole[number]
                first = 1 + (seed - 1) * points // self._story.tellings
                kills = [first, *(chance.randrange(1, max(points // 2, 2)) for _ in range(KILLS - 1))]
                if self._story.is_late:
                    kills = [-kill for kill in kills]
            self._stage(number, kills, with_faults=seed > 0 and seed % 2 == 0)
        self._story.check(self._target)

    def _stage(self, number: int, kills: list[int], *, with_faults: bool) -> None:
        story, stage = self._story, self._story.stages[number]
        if stage.quota is not None:
            self._sandbox.harkster.set_quota("Acme Inc.", quota=stage.quota, used=0 if number == 0 else None)
        with_faults |= story.is_late
        if with_faults:
            self._sandbox.faults.replace(*(drawn(fault, self._chance) for fault in story.faults))
        most = 0
        try:
            for at in range(MOST_RUNS):
                is_faulty = with_faults and at <= KILLS
                if not is_faulty:
                    self._sandbox.faults.clear()
                end = self._run(number, kills.pop(0) if kills else 0, may_hold=is_faulty and story.is_late)
                most = max(most, end.points)
                if not kills and not end.is_killed and end.error in stage.ends:
                    break
            else:
                pytest.fail(f"it never comes to an end: {end}")
        finally:
            self._sandbox.faults.clear()
        if with_faults:
            # What is done late is done by now, and what turned up is cleared away.
            self._ahead += LONG
            end = self._run(number, 0)
            assert end.error in stage.ends
        self.whole.append(most)

    def _run(self, stage: int, kill_at: int, *, may_hold: bool = False) -> End:
        config = {**self._target.config, **self._story.stages[stage].settings}
        run = Run(
            config=config,
            lines=self._story.messages(stage, self._states),
            states=str(self._states),
            kill_at=kill_at,
            timeout=GIVE_UP if may_hold else 60,
            ahead=self._ahead,
        )
        end = self._runs.run(run)
        assert end.is_killed or end.code in {0, 1}, "it hangs"
        self.killed += end.is_killed
        if (segments := last_state(self._states)) > 0:
            check_state(self._story, self._target, segments)
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
@pytest.mark.parametrize("name", STORIES)
def test_every_row_is_posted_once_wherever_the_target_dies(
    name: str, runs: Runs, sandboxes: Callable[..., RunningSandbox], tmp_path: Path
) -> None:
    story = STORIES[name]
    sandbox = sandboxes(**story.scenario)
    whole = Telling(story, runs, sandbox, tmp_path / "whole")
    whole.tell(0, [])
    killed = 0
    for seed in range(1, story.tellings + 1):
        telling = Telling(story, runs, sandbox, tmp_path / str(seed))
        try:
            telling.tell(seed, whole.whole)
        except AssertionError as error:
            raise AssertionError(f"{name}, {seed}: {error}") from error
        killed += telling.killed
    assert killed >= least(story)


def least(story: Story) -> int:
    """How many runs must have been killed in all tellings of a story."""
    return int((1 - MOST_SURVIVORS) * KILLS * story.tellings)


def test_there_are_enough_deaths() -> None:
    assert sum(map(least, STORIES.values())) >= LEAST_KILLS
