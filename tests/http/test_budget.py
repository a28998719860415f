from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from singer_http.http.budget import MARGIN, Budget
from singer_http.http.clock import Clock, Stopped

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import FakeClock

    NewBudget = Callable[..., Budget]


def most_in_any_period(times: list[float], period: float) -> int:
    """The highest number of times that lie in one period, wherever it begins."""
    times = sorted(times)
    first = most = 0
    for last, moment in enumerate(times):
        while times[first] <= moment - period:
            first += 1
        most = max(most, last - first + 1)
    return most


def test_the_counting_of_periods_counts() -> None:
    assert most_in_any_period([0.0, 0.5, 0.99, 1.0, 1.2], 1.0) == 4
    assert most_in_any_period([0.0, 1.0, 2.0], 1.0) == 1


@given(
    requests=st.integers(1, 30),
    period=st.sampled_from([0.1, 1.0, 7.3, 3600.0]),
    each=st.lists(st.integers(1, 8), min_size=1, max_size=12),
    idle=st.lists(st.floats(0, 2), min_size=1, max_size=8),
    pauses=st.lists(st.floats(0, 5), max_size=2),
)
@settings(max_examples=40, deadline=None)
def test_no_period_has_more_than_allowed_and_nobody_starves(
    *,
    new_clock: Callable[[], FakeClock],
    new_budget: NewBudget,
    requests: int,
    period: float,
    each: list[int],
    idle: list[float],
    pauses: list[float],
) -> None:
    clock = new_clock()
    budget = new_budget(requests, period, clock)
    granted: list[float] = []

    def worker(number: int) -> list[float]:
        spent = []
        for turn in range(each[number]):
            clock.sleep(idle[(number + turn) % len(idle)] * period)
            if number < len(pauses) and turn == 1:
                budget.pause(pauses[number] * period)
            granted.append(budget.spend().slot)
            spent.append(clock.monotonic())
        return spent

    spent = clock.together([lambda number=number: worker(number) for number in range(len(each))])  # type: ignore[misc]
    sent = [moment for moments in spent for moment in moments]
    assert len(sent) == sum(each) == len(granted)
    assert most_in_any_period(granted, period) <= requests
    assert most_in_any_period(sent, period) <= requests


@pytest.mark.parametrize(("requests", "period"), [(1, 1.0), (25, 1.0), (1000, 3600.0), (7, 0.25)])
def test_a_busy_client_comes_near_the_rate_and_leaves_the_margin(
    clock: FakeClock, new_budget: NewBudget, requests: int, period: float
) -> None:
    budget = new_budget(requests, period, clock)
    began = clock.monotonic()
    for _ in range(10 * requests + 1):
        budget.spend()
    took = clock.monotonic() - began
    assert took >= 10 * period * (1 + MARGIN) - 0.001
    assert took <= 10 * (period * (1 + MARGIN) + 0.003)
    assert budget.per_second == pytest.approx(requests / period / (1 + MARGIN))


def test_the_margin_outlasts_a_network_that_squeezes_requests_together(clock: FakeClock, new_budget: NewBudget) -> None:
    # A request that is held up on its way arrives with those sent after it.
    budget = new_budget(25, 1.0, clock)
    arrived = []
    for number in range(200):
        budget.spend()
        arrived.append(clock.monotonic() + (0.039 if number % 25 == 0 else 0.0))
    assert most_in_any_period(arrived, 1.0) <= 25


def test_a_pause_holds_every_thread(clock: FakeClock, new_budget: NewBudget) -> None:
    budget = new_budget(100, 1.0, clock)
    budget.pause(30)
    budget.pause(3)  # a shorter one does not cut it down
    began = clock.monotonic()

    def spend() -> float:
        budget.spend()
        return clock.monotonic() - began

    assert min(clock.together([spend] * 16)) >= 30
    assert budget.paused_for == 0


def test_a_pause_reaches_those_who_wait_already(clock: FakeClock, new_budget: NewBudget) -> None:
    budget = new_budget(1, 1.0, clock)
    budget.spend()
    began = clock.monotonic()

    def spend() -> float:
        budget.spend()
        return clock.monotonic() - began

    def pause() -> float:
        clock.sleep(0.5)
        budget.pause(20)
        return 0.0

    assert sorted(clock.together([spend, pause]))[1] >= 20.5


def test_waiting_ends_with_the_run(new_budget: NewBudget) -> None:
    clock = Clock()
    budget = new_budget(1, 3600.0, clock)
    budget.spend()
    clock.stop()
    began = time.monotonic()
    with pytest.raises(Stopped):
        budget.spend()
    assert time.monotonic() - began < 60  # and not after an hour


def test_what_arrives_late_counts_from_then_on(clock: FakeClock, new_budget: NewBudget) -> None:
    budget = new_budget(2, 1.0, clock)
    first = budget.spend()
    clock.advance(0.9)
    budget.spend()
    budget.shift_to_arrival(first, 0.9)
    clock.advance(0.2)  # the first was sent a period ago, and arrived with the second
    assert budget.left == 0
    assert budget.spend().slot >= first.slot + 0.9 + 1.0


def test_what_is_given_back_may_be_spent_again(clock: FakeClock, new_budget: NewBudget) -> None:
    budget = new_budget(1, 1.0, clock)
    budget.give_back(budget.spend())
    assert budget.left == 1
    budget.spend()
    assert clock.slept == []
