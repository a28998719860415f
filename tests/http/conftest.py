"""Sessions with servers that answer byte for byte what a test tells them to."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

import msgspec
import pytest
from singer_http.http import budget
from singer_http.http.auth import TokenSource
from singer_http.http.budget import Budget
from singer_http.http.session import Session
from singer_http.http.transport import Transport
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from singer_http.http.clock import Clock
    from singer_http.http.request_log import RequestLog


class NumberedTokens(TokenSource):
    """Tokens token-1, token-2 …: a new one whenever the last was refused."""

    def __init__(self) -> None:
        self.number = 1
        self.refusals: list[str] = []

    @override
    def get(self) -> str:
        return f"token-{self.number}"

    @override
    def refused(self, token: str) -> None:
        self.refusals.append(token)
        if token == self.get():
            self.number += 1


class Answered(msgspec.Struct):
    """What the tests take for the documented answer."""

    items: list[int]


@pytest.fixture
def tokens() -> NumberedTokens:
    return NumberedTokens()


@pytest.fixture
def transport() -> Iterator[Callable[..., Transport]]:
    """Make a transport on a clock, closed with the test."""
    with ExitStack() as stack:

        def make(clock: Clock, timeout: float = 60.0) -> Transport:
            made = Transport(user_agent="tests/1.0 (+https://example.org)", timeout=timeout, connections=4, clock=clock)
            stack.callback(made.close)
            return made

        yield make


@pytest.fixture(scope="session")
def new_budget() -> Callable[..., Budget]:
    """Make a budget; on a fake clock with locks that the clock knows of, as it sleeps with one held."""

    def make(requests: int, period: float, clock: Clock, log: RequestLog | None = None) -> Budget:
        lock = getattr(clock, "lock", threading.Lock)
        with mock.patch.object(budget, "threading", SimpleNamespace(Lock=lock)):
            return Budget(requests, period, clock, log)

    return make


@pytest.fixture
def session(
    transport: Callable[..., Transport], tokens: NumberedTokens, new_budget: Callable[..., Budget]
) -> Callable[..., Session]:
    """Make a session with the API at a URL."""

    def make(url: str, clock: Clock, *, requests: int = 1000, timeout: float = 60.0, source: Any = None) -> Session:
        budget = new_budget(requests, 1.0, clock)
        return Session(url, transport(clock, timeout), source or tokens, budget, clock)

    return make


@pytest.fixture
def parse() -> Callable[[bytes], list[int]]:
    """Take an answer's body for ``{"items": [numbers]}``."""
    decode = msgspec.json.Decoder(Answered).decode
    return lambda body: decode(body).items
