from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from singer_http.http.auth import LEEWAY, Token, TokenSource
from singer_http.http.clock import Clock
from singer_http.http.errors import AuthenticationError, CredentialsRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import FakeClock

THREADS = 16


def test_threads_that_come_at_once_share_one_fetch() -> None:
    fetches = []
    asked = threading.Semaphore(0)
    clock = Clock()

    def fetch() -> Token:
        fetches.append(threading.get_ident())
        for _ in range(THREADS):
            asked.acquire()
        return Token.lasting("secret", 7200, clock.monotonic())

    source = TokenSource(fetch, clock)
    got: list[str] = []

    def work() -> None:
        asked.release()
        got.append(source.get())

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == ["secret"] * THREADS
    assert len(fetches) == 1


@given(lifetime=st.floats(1, 10_000), uses=st.lists(st.integers(1, 30), min_size=1, max_size=8))
@settings(max_examples=25, deadline=None)
def test_sixteen_threads_refresh_once_an_expiry(
    new_clock: Callable[[], FakeClock], lifetime: float, uses: list[int]
) -> None:
    clock = new_clock()
    issued: dict[str, float] = {}

    def fetch() -> Token:
        name = f"token-{len(issued)}"
        issued[name] = clock.monotonic()
        return Token.lasting(name, lifetime, clock.monotonic())

    source = TokenSource(fetch, clock)

    def work(number: int) -> list[tuple[str, float]]:
        used = []
        for _ in range(uses[number % len(uses)]):
            used.append((source.get(), clock.monotonic()))
            clock.sleep(lifetime / (3 + number))
        return used

    began = clock.monotonic()
    work_of_all = [lambda number=number: work(number) for number in range(THREADS)]
    used = [use for uses_of_one in clock.together(work_of_all) for use in uses_of_one]
    lasted = max(moment for _, moment in used) - began
    # Never used past its end, and never renewed before its leeway.
    assert all(moment < issued[token] + lifetime for token, moment in used)
    assert len(issued) <= lasted / (lifetime - min(LEEWAY, lifetime * 0.1)) + 1 + 1e-6


def test_only_the_token_that_failed_is_dropped(clock: FakeClock) -> None:
    names = iter(["first", "second", "third"])
    source = TokenSource(lambda: Token.lasting(next(names), 7200, clock.monotonic()), clock)
    assert source.get() == "first"
    source.refused("first")
    assert source.get() == "second"
    source.refused("first")  # a slow thread, which still had the first
    assert source.get() == "second"
    source.refused("second")
    assert source.get() == "third"


@pytest.mark.parametrize(("seconds", "good_for"), [(7200, 7140), (600, 540), (100, 90), (1, 0.9)])
def test_the_leeway_leaves_short_lived_tokens_most_of_their_life(
    clock: FakeClock, seconds: float, good_for: float
) -> None:
    count = iter(range(100))
    source = TokenSource(lambda: Token.lasting(f"token-{next(count)}", seconds, clock.monotonic()), clock)
    first = source.get()
    clock.advance(good_for - 0.001)
    assert source.get() == first
    clock.advance(0.002)
    assert source.get() != first


def test_a_refusal_is_final_for_all_threads(clock: FakeClock) -> None:
    fetches = []

    def fetch() -> Token:
        fetches.append(1)
        raise CredentialsRefusedError("no")

    source = TokenSource(fetch, clock)

    def work() -> str:
        with pytest.raises(AuthenticationError) as raised:
            source.get()
        return str(raised.value)

    assert clock.together([work] * THREADS) == ["no"] * THREADS
    source.refused("anything")
    with pytest.raises(CredentialsRefusedError):
        source.get()
    assert len(fetches) == 1


def test_a_refusal_is_final_when_a_token_is_to_be_renewed(clock: FakeClock) -> None:
    fetches: list[int] = []

    def fetch() -> Token:
        fetches.append(1)
        if len(fetches) > 1:
            raise CredentialsRefusedError("no more")
        return Token.lasting("only", 100, clock.monotonic())

    source = TokenSource(fetch, clock)
    source.get()
    clock.advance(100)
    for _ in range(3):
        with pytest.raises(CredentialsRefusedError):
            source.get()
    assert len(fetches) == 2


def test_other_exceptions_are_not_taken_for_a_refusal(clock: FakeClock) -> None:
    fails = iter([True, False])

    def fetch() -> Token:
        if next(fails):
            raise RuntimeError("a defect")
        return Token.lasting("good", 7200, clock.monotonic())

    source = TokenSource(fetch, clock)
    with pytest.raises(RuntimeError):
        source.get()
    assert source.get() == "good"


def test_a_token_does_not_show_itself() -> None:
    assert "hush" not in repr(Token("hush", 1.0))
    assert "hush" not in str(Token("hush", 1.0))
