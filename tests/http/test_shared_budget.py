"""Budgets of several processes that count in one place: within the limit together, and fair."""

from __future__ import annotations

import json
import stat
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from singer_http.http.budget import MARGIN, Budget
from singer_http.http.clock import Stopped
from singer_http.http.request_log import FileLog
from singer_http.http.shared_log import open_log

from tests.http.test_budget import most_in_any_period

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import FakeClock

    NewBudget = Callable[..., Budget]

WORKERS = 8


@pytest.fixture
def budgets(clock: FakeClock, new_budget: NewBudget, tmp_path: Path) -> Callable[..., list[Budget]]:
    """Make the budgets of so many processes: each opens the file for itself."""

    def make(requests: int, period: float, workers: int = WORKERS) -> list[Budget]:
        return [new_budget(requests, period, clock, FileLog(tmp_path / "log", clock)) for _ in range(workers)]

    return make


def work(clock: FakeClock, budgets: list[Budget], until: float) -> list[list[float]]:
    """Let each spend as much as it can until a time by the clock; when it sent what."""

    def spend(budget: Budget) -> list[float]:
        sent = []
        while clock.monotonic() < until:
            budget.spend()
            sent.append(clock.monotonic())
        return sent

    return clock.together([lambda budget=budget: spend(budget) for budget in budgets])  # type: ignore[misc]


@pytest.mark.parametrize(("requests", "period", "periods"), [(25, 1.0, 60), (1000, 3600.0, 3)])
def test_eight_processes_use_one_limit_and_share_it_evenly(
    clock: FakeClock, budgets: Callable[..., list[Budget]], requests: int, period: float, periods: int
) -> None:
    began = clock.monotonic()
    sent = work(clock, budgets(requests, period), began + periods * period)
    together = sorted(moment for moments in sent for moment in moments)
    assert most_in_any_period(together, period) <= requests
    within = [moment for moment in together if moment < began + periods * period]
    assert len(within) >= 0.97 * requests * periods
    # In the first period, whoever comes first takes what is free.
    shares = [sum(moment >= began + 2 * period for moment in moments) for moments in sent]
    assert max(shares) - min(shares) <= 2


def test_who_has_nothing_to_do_or_has_died_takes_nothing_from_the_others(
    clock: FakeClock, budgets: Callable[..., list[Budget]]
) -> None:
    busy, idle, dead = budgets(10, 1.0, workers=3)
    idle.spend()
    for _ in range(9):
        busy.spend()
    _, wait = dead._reserve(None)  # it waits for its turn, and is killed there
    assert wait > 0
    began = clock.monotonic()
    (sent,) = work(clock, [busy], began + 20)
    assert len([moment for moment in sent if began + 5 <= moment < began + 15]) >= 10 * 10 / (1 + MARGIN) - 1


def test_who_gives_up_waiting_leaves_its_turn_to_others(clock: FakeClock, budgets: Callable[..., list[Budget]]) -> None:
    waiting, other = budgets(1, 60.0, workers=2)
    other.spend()

    def stop() -> None:
        clock.sleep(1)
        clock.stop()

    with pytest.raises(Stopped):
        clock.together([waiting.spend, stop])
    _, wait = other._reserve(None)
    assert wait < 61 * (1 + MARGIN)  # the next turn, and not the one after it


def test_a_pause_holds_all_processes(clock: FakeClock, budgets: Callable[..., list[Budget]]) -> None:
    first, second = budgets(100, 1.0, workers=2)
    second.spend()
    first.pause(30)
    began = clock.monotonic()
    second.spend()
    assert clock.monotonic() - began >= 30
    assert second.paused_for == 0


def test_a_pause_reaches_who_waits_already(clock: FakeClock, budgets: Callable[..., list[Budget]]) -> None:
    first, second = budgets(1, 1.0, workers=2)
    first.spend()
    began = clock.monotonic()

    def spend() -> float:
        second.spend()
        return clock.monotonic() - began

    def pause() -> float:
        clock.sleep(0.5)
        first.pause(20)
        return 0.0

    assert max(clock.together([spend, pause])) >= 20.5


def test_what_arrives_late_counts_late_for_all(clock: FakeClock, budgets: Callable[..., list[Budget]]) -> None:
    first, second = budgets(1, 1.0, workers=2)
    spent = first.spend()
    clock.advance(0.9)
    first.shift_to_arrival(spent, 0.9)
    assert second.spend().slot >= spent.slot + 1.9


def test_the_file_is_for_its_owner_alone_and_tells_no_secret(clock: FakeClock, tmp_path: Path) -> None:
    config = {"api_url": "https://api.example.org"}
    log = open_log(config, "someone@example.org", tmp_path / "state", 5, 1.0, clock)
    budget = Budget(5, 1.0, clock, log)
    budget.spend()
    budget.close()
    (path,) = (tmp_path / "state").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert "someone" not in path.name + path.read_text()
    assert json.loads(path.read_text())["times"] == [clock.time()]
    config["api_url"] = "https://other.example.org"
    other = open_log(config, "someone@example.org", tmp_path / "state", 5, 1.0, clock)
    assert Budget(5, 1.0, clock, other).left == 5
    other.close()
    assert Counter(len(found.name) for found in (tmp_path / "state").iterdir()) == {41: 2}


def test_a_request_that_ends_after_its_run_writes_nowhere(
    clock: FakeClock, budgets: Callable[..., list[Budget]], tmp_path: Path
) -> None:
    ended, other = budgets(5, 1.0, workers=2)
    spent = ended.spend()
    ended.close()
    with (tmp_path / "another file").open("w+b") as file:  # which has the descriptor of the log's
        ended.shift_to_arrival(spent, 0.1)
        ended.give_back(spent)
        ended.pause(10.0)
        assert file.read() == b""
    assert other.left == 4
    assert other.paused_for == 0
    assert clock.slept == []


def test_a_process_that_is_killed_while_it_writes_leaves_what_can_be_read(clock: FakeClock, tmp_path: Path) -> None:
    log = FileLog(tmp_path / "log", clock)
    log.update(lambda _, sent: sent.times.extend(clock.time() - number / 10 for number in range(9)))
    log.update(lambda _, sent: sent.times.clear())  # shorter than before
    assert log.update(lambda _, sent: sent.times) == []
    log.close()
