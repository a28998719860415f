"""A count of requests that several machines share: in PostgreSQL or a folder, and what happens when it is lost."""

from __future__ import annotations

import fcntl
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from singer_http.http import postgres_log
from singer_http.http.budget import MARGIN, Budget
from singer_http.http.errors import ConfigurationError
from singer_http.http.postgres_log import PostgresLog
from singer_http.http.request_log import PATIENCE, FileLog, LogError, Sent
from singer_http.http.shard import Shard
from singer_http.http.shared_log import SharedLog, open_log
from typing_extensions import override

from tests.http.test_budget import most_in_any_period

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from demo.postgres import Postgres
    from tests.conftest import FakeClock

    NewBudget = Callable[..., Budget]

T = TypeVar("T")
WORKERS = 8
LIMIT = 25


class Breaking(FileLog):
    """A log that can be taken away and given back."""

    is_lost = False

    @classmethod
    def lost_after(cls, clock: FakeClock, before: float, seconds: float) -> None:
        """Take it away after some seconds, for so many."""
        clock.sleep(before)
        cls.is_lost = True
        clock.sleep(seconds)
        cls.is_lost = False

    @override
    def update(self, change: Callable[[float, Sent], T]) -> T:
        if Breaking.is_lost:
            raise LogError("the store: no connection")
        return super().update(change)


@pytest.fixture
def make(
    clock: FakeClock, new_budget: NewBudget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[Budget]]:
    """Make the budgets of so many shards, whose common log can be taken away."""
    monkeypatch.setattr(Breaking, "is_lost", False)

    def budgets(requests: int = LIMIT, period: float = 1.0, workers: int = WORKERS) -> list[Budget]:
        logs = [
            SharedLog(Breaking(tmp_path / "log", clock), requests, period, Shard(number, workers), clock)
            for number in range(1, workers + 1)
        ]
        return [new_budget(requests, period, clock, log) for log in logs]

    return budgets


def spend(
    clock: FakeClock, budgets: list[Budget], until: float, *also: Callable[[], None], late: float = 0.0
) -> list[list[float]]:
    """Let each spend as much as it can; when it sent what, and that arrived so late."""
    sent: list[list[float]] = [[] for _ in budgets]

    def work(number: int) -> None:
        while clock.monotonic() < until:
            spent = budgets[number].spend()
            sent[number].append(clock.monotonic())
            clock.sleep(0.001)
            budgets[number].shift_to_arrival(spent, late)

    clock.together([*(lambda number=number: work(number) for number in range(len(budgets))), *also])
    return sent


def test_the_limit_holds_while_the_log_is_lost_and_found_again(
    clock: FakeClock, make: Callable[..., list[Budget]], caplog: pytest.LogCaptureFixture
) -> None:
    began = clock.monotonic()

    with caplog.at_level("INFO"):
        sent = spend(clock, make(), began + 60, lambda: Breaking.lost_after(clock, 20.0, 15.3))
    together = sorted(moment - began for moments in sent for moment in moments)
    assert most_in_any_period(together, 1.0) <= LIMIT
    alone = [moment for moment in together if 22 <= moment < 35]
    assert len(alone) >= 13 * LIMIT / (1 + MARGIN) * 0.95  # 3 of each 25 for each of eight, and one more for the first
    after = [moment for moment in together if 48 <= moment < 48 + 10 * (1 + MARGIN)]
    assert len(after) >= 10 * LIMIT * 0.99
    shares = [len(moments) for moments in sent]
    assert min(shares) >= 0.85 * max(shares)
    assert sum("this run keeps to 3 of 25 requests" in text for text in caplog.messages) == WORKERS - 1
    assert sum("can be reached again" in text for text in caplog.messages) == WORKERS


def test_losing_the_log_for_ten_seconds_of_a_minute_costs_little(
    clock: FakeClock, make: Callable[..., list[Budget]]
) -> None:
    began = clock.monotonic()

    sent = spend(clock, make(), began + 60, lambda: Breaking.lost_after(clock, 20.0, 10.0), late=0.005)
    assert sum(map(len, sent)) >= 0.96 * 60 * LIMIT
    assert most_in_any_period(sorted(moment for moments in sent for moment in moments), 1.0) <= LIMIT


def test_who_has_not_looked_for_long_waits_for_what_others_sent_last(
    clock: FakeClock, make: Callable[..., list[Budget]]
) -> None:
    busy, idle, *_ = make()
    for _ in range(LIMIT):
        busy.spend()
    clock.advance(0.1)
    Breaking.is_lost = True
    began = clock.monotonic()
    idle.spend()
    assert clock.monotonic() - began >= 1.0


def test_a_run_that_never_reaches_the_log_has_its_share(clock: FakeClock, make: Callable[..., list[Budget]]) -> None:
    Breaking.is_lost = True
    first, second, *_ = make()
    for budget, share in ((first, 4), (second, 3)):
        (sent,) = spend(clock, [budget], clock.monotonic() + 20)
        assert most_in_any_period(sent, 1.0) == share
    assert len(sent) >= 3 * 18


def test_what_is_said_while_the_log_is_lost_is_so(
    make: Callable[..., list[Budget]], caplog: pytest.LogCaptureFixture
) -> None:
    Breaking.is_lost = True
    budget, *_ = make(1000, 3600.0)
    with caplog.at_level("INFO"):
        budget.spend()
    lost, paused = caplog.messages
    assert "after 60 s without any, this run keeps to 125 of 1000 requests until it is back." in lost
    assert paused == "All requests are paused: waiting 60 s."
    assert budget.left == 124
    caplog.clear()
    with caplog.at_level("INFO"):
        for _ in range(125):
            budget.spend()
    assert caplog.messages == ["The requests of 3600 s are used up: waiting 3672 s."]


def test_more_shards_than_requests_take_turns_while_the_log_is_lost(
    clock: FakeClock, make: Callable[..., list[Budget]]
) -> None:
    Breaking.is_lost = True
    began = clock.monotonic()
    sent = spend(clock, make(4, 1.0, workers=10), began + 60)
    assert most_in_any_period([moment for moments in sent for moment in moments], 1.0) <= 4
    assert min(len(moments) for moments in sent) >= 60 // 6 - 1


def test_an_hour_that_is_used_up_is_not_begun_anew_when_the_log_is_lost(
    clock: FakeClock, make: Callable[..., list[Budget]]
) -> None:
    budgets = make(80, 3600.0)
    began = clock.monotonic()
    for number in range(80):
        budgets[number % WORKERS].spend()
    Breaking.is_lost = True
    budgets[0].spend()
    assert clock.monotonic() - began >= 3600


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.sqlalchemy_url


def test_processes_share_a_log_in_postgresql(url: str) -> None:
    logs = [PostgresLog(url, "a") for _ in range(4)]
    other = PostgresLog(url, "b")

    def one_more(now: float, sent: Sent) -> float:
        sent.times.append(now)
        return now

    def add(log: PostgresLog) -> list[float]:
        return [log.update(one_more) for _ in range(25)]

    with ThreadPoolExecutor() as pool:
        added = [moment for found in pool.map(add, logs) for moment in found]
    assert logs[0].update(lambda _, sent: sent.times) == sorted(added)
    assert other.update(lambda _, sent: sent.times) == []
    for log in (*logs, other):
        log.close()


def test_budgets_in_postgresql_count_by_its_clock(url: str, clock: FakeClock) -> None:
    # The machine's clock stands still in 2023; the database's goes on.
    first, second = (
        Budget(10, 3600.0, clock, SharedLog(PostgresLog(url, "a"), 10, 3600.0, Shard(), clock)) for _ in "ab"
    )
    slots = [first.spend().slot for _ in range(6)]
    assert slots == sorted(slots)
    assert slots[0] > clock.time() + 86400
    assert second.left == 4
    first.give_back(first.spend())
    second._seen_at = -1.0
    assert second.left == 4
    second.pause(30)
    first._update(lambda _now, _sent: None)
    assert 29 < first.paused_for <= 30
    for budget in (first, second):
        budget.close()


def test_a_run_that_hangs_in_the_log_does_not_hold_up_the_others(url: str) -> None:
    hanging, other = PostgresLog(url, "a"), PostgresLog(url, "a")
    other.update(lambda _, sent: sent.times.append(1.0))

    def hang(_: float, sent: Sent) -> None:
        sent.times.append(2.0)
        assert other.update(lambda _, sent: sent.times) == [1.0]  # which waits until the database ends the other

    with pytest.raises(LogError):
        hanging.update(hang)
    hanging.close()
    other.close()


def test_a_database_that_cannot_be_reached_is_said_without_its_url() -> None:
    log = PostgresLog("postgresql://someone:s3cret@127.0.0.1:1/nowhere", "a")
    with pytest.raises(LogError, match=r"^budget_url: Connection refused; check the URL, "):
        log.update(lambda _, sent: sent)


@contextmanager
def silent_database() -> Iterator[str]:
    """The URL of a server that lets clients in, and then answers nothing and keeps the connection."""
    let_in = b"R\0\0\0\x08\0\0\0\0" + b"Z\0\0\0\x05I"
    clients: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:  # the test is over
                return
            clients.append(client)
            client.recv(4096)
            client.sendall(let_in)

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"postgresql://someone@127.0.0.1:{port}/b?sslmode=disable&gssencmode=disable"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for client in clients:
                client.close()


def test_a_database_that_answers_nothing_is_out_of_reach(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert postgres_log._ANSWER_TIMEOUT <= 10
    monkeypatch.setattr(postgres_log, "_ANSWER_TIMEOUT", 0.3)
    with silent_database() as url:
        budget = Budget(LIMIT, 1.0, clock, SharedLog(PostgresLog(url, "a"), LIMIT, 1.0, Shard(1, 8), clock))
        began = clock.monotonic()
        budget.spend()
        budget.close()
    assert 1.0 <= clock.monotonic() - began < 2
    (warning,) = caplog.messages
    assert warning.startswith("The request log is out of reach (budget_url: timeout expired): after 1 s without any,")


def test_a_database_that_falls_silent_is_given_up(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    log = PostgresLog(url, "a")
    log.update(lambda _, sent: sent.times.append(1.0))
    monkeypatch.setattr(postgres_log, "_ANSWER_TIMEOUT", -1.0)  # it has no time to answer
    with pytest.raises(LogError, match=r"^budget_url: timeout expired$"):
        log.update(lambda _, sent: sent.times)
    monkeypatch.undo()
    assert log.update(lambda _, sent: sent.times) == [1.0]
    log.close()


def test_the_url_is_blamed_only_until_it_has_led_to_the_database(url: str) -> None:
    log = PostgresLog(url, "a")
    log.update(lambda _, sent: sent.times)
    assert log._connection is not None
    with socket.socket(fileno=os.dup(log._connection.pgconn.socket)) as broken:
        broken.shutdown(socket.SHUT_RDWR)
    with pytest.raises(LogError, match=r"^budget_url: server closed the connection$"):
        log.update(lambda _, sent: sent.times)
    log.close()


def test_a_crash_of_the_database_leaves_the_count(url: str, postgres: Postgres) -> None:
    log = PostgresLog(url, "a")
    log.update(lambda _, sent: sent.times)
    with postgres.connect() as connection:
        kept = connection.execute("SELECT relpersistence FROM pg_class WHERE relname = 'singer_budget'").fetchone()
    assert kept == ("p",)  # and not "u", which PostgreSQL empties after a crash
    log.close()


def test_a_lock_that_is_never_given_back_is_waited_for_in_vain(
    clock: FakeClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (tmp_path / "log").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)  # as of a process that is stopped
        log = SharedLog(FileLog(tmp_path / "log", clock), LIMIT, 1.0, Shard(1, WORKERS), clock)
        budget = Budget(LIMIT, 1.0, clock, log)
        began = clock.monotonic()
        budget.spend()
        assert PATIENCE + 1 <= clock.monotonic() - began <= 10
        (warning,) = caplog.messages
        assert "holds its lock and does not go on): after 1 s without any, this run keeps to 4 of 25" in warning
        clock.advance(10)
        began = clock.monotonic()
        budget.spend()
        assert clock.monotonic() - began < 0.1  # it looks, and does not wait once more
    clock.advance(10)
    with caplog.at_level("INFO"):
        budget.spend()
    assert "The request log can be reached again." in caplog.messages
    budget.close()


def test_a_run_that_is_ended_waits_for_no_lock_but_gives_back_what_it_can(
    clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = FileLog(tmp_path / "log", clock)
    clock.stop()
    with (tmp_path / "log").open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        tries: list[float] = []

        def a_moment_later(seconds: float) -> None:
            tries.append(seconds)
            if len(tries) == 3:
                fcntl.flock(other, fcntl.LOCK_UN)

        with monkeypatch.context() as patched:
            patched.setattr("singer_http.http.request_log.time.sleep", a_moment_later)
            assert log.update(lambda _, sent: sent.times) == []
        fcntl.flock(other, fcntl.LOCK_EX)
        began = clock.monotonic()
        with pytest.raises(LogError):
            log.update(lambda _, sent: sent.times)
        assert clock.monotonic() - began < 0.1
    log.close()


def test_a_database_that_lost_its_tables_is_begun_anew(url: str, postgres: Postgres) -> None:
    log = PostgresLog(url, "a")
    log.update(lambda _, sent: sent.times.append(1.0))
    with postgres.connect() as connection:
        connection.execute("TRUNCATE singer_budget")
    with pytest.raises(LogError, match=r"^budget_url: the row is gone$"):
        log.update(lambda _, sent: sent.times)
    assert log.update(lambda _, sent: sent.times) == []
    log.close()


def test_a_folder_may_be_shared(clock: FakeClock, tmp_path: Path) -> None:
    config: dict[str, Any] = {"api_url": "https://api.example.org", "budget_url": f"file://{tmp_path}/shared"}
    logs = [open_log(config, "someone", tmp_path / "own", LIMIT, 1.0, clock) for _ in range(2)]
    first, second = (Budget(LIMIT, 1.0, clock, log) for log in logs)
    first.spend()
    assert second.left == LIMIT - 1
    assert not (tmp_path / "own").exists()
    for log in logs:
        log.close()
    (tmp_path / "occupied").write_text("")
    with pytest.raises(ConfigurationError, match="budget_url is not valid"):
        open_log({**config, "budget_url": f"file://{tmp_path}/occupied/x"}, "someone", tmp_path, LIMIT, 1.0, clock)
