"""An API that is down: one request at a time finds out for all, and no list is given up for what concerns all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from singer_http.http.errors import ApiError, FatalError, ServerFailedError
from singer_http.http.retries import FIRST_CONTACT_TRIES, OUTAGE_PATIENCE, THROTTLE_PATIENCE, Outage
from singer_http.http.rules import TRIES
from singer_http.http.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Callable

    from singer_http.http.session import Session

    from tests.conftest import FakeClock, RawServer, Received

    Answer = Callable[..., bytes]
    Parse = Callable[[bytes], list[int]]
    Serve = Callable[..., RawServer]
    NewSession = Callable[..., Session]

GOOD = '{"items":[1,2,3]}'
LISTS = 400
THREADS = 16


class Api:
    """Answers but for some time, and notes who asked when."""

    def __init__(self, clock: FakeClock, answer: Answer, away: Callable[[Received], bool], reset: Any) -> None:
        self._clock = clock
        self._answer = answer
        self._away = away
        self._reset = reset
        self.silent: list[float] = []

    def __call__(self, request: Received, _ordinal: int) -> Any:
        if not self._away(request):
            return self._answer(200, GOOD)
        self.silent.append(self._clock.monotonic())
        return self._reset


@pytest.fixture
def read_all(
    clock: FakeClock, parse: Parse, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Session], list[ApiError | None]]:
    """Read many lists with as many threads as the taps have; what became of each."""
    # As the real one does, but for the time of this clock.
    monkeypatch.setattr(Outage, "_glance", lambda _: clock.sleep(1.0))

    def work(connected: Session, number: int) -> list[ApiError | None]:
        ends: list[ApiError | None] = []
        for path in (f"/list-{path}" for path in range(number, LISTS, THREADS)):
            try:
                connected.get(path, {}, parse)
                ends.append(None)
            except ApiError as error:
                ends.append(error)
        return ends

    def run(connected: Session) -> list[ApiError | None]:
        each = clock.together([lambda number=number: work(connected, number) for number in range(THREADS)])  # type: ignore[misc]
        return [end for ends in each for end in ends]

    return run


def test_an_api_that_stays_down_ends_the_run(
    *,
    raw_server: Serve,
    session: NewSession,
    answer: Answer,
    reset: Any,
    clock: FakeClock,
    read_all: Callable[[Session], list[ApiError | None]],
) -> None:
    began = clock.monotonic()
    api = Api(clock, answer, lambda _request: clock.monotonic() > began + 1, reset)
    ends = read_all(session(raw_server(by=api).url, clock, requests=100))
    assert clock.monotonic() - began < OUTAGE_PATIENCE + 10
    given_up = [end for end in ends if end is not None and not isinstance(end, FatalError)]
    assert len(given_up) < 2 * OUTAGE_PATIENCE / 60  # one a minute, that resets may be about
    assert sum(isinstance(end, FatalError) for end in ends) > LISTS / 3
    assert any("answered no request at all" in str(end) for end in ends)
    # All that were under way found the API gone; from then on one asked after the other, less and less often.
    assert len(api.silent) < THREADS + 2 * TRIES * OUTAGE_PATIENCE / 60


@pytest.mark.parametrize("seconds", [45.0, 400.0])
def test_no_list_is_given_up_for_an_outage_that_ends(
    *,
    raw_server: Serve,
    session: NewSession,
    answer: Answer,
    reset: Any,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    closed_port: str,
    read_all: Callable[[Session], list[ApiError | None]],
    seconds: float,
) -> None:
    began = clock.monotonic()
    api = Api(clock, answer, lambda _request: began + 1 < clock.monotonic() < began + 1 + seconds, reset)
    server = raw_server(by=api)
    send = Transport.send
    refused = []

    def sent_where_nobody_listens(self: Transport, url: str, *args: Any) -> Any:
        # A port that nobody listens at, for as long as the API is down.
        is_down = began + 1 < clock.monotonic() < began + 1 + seconds
        refused.extend([clock.monotonic()] * is_down)
        return send(self, closed_port if is_down else url, *args)

    monkeypatch.setattr(Transport, "send", sent_where_nobody_listens)
    assert read_all(session(server.url, clock, requests=100)) == [None] * LISTS
    assert THREADS <= len(refused) < THREADS + 40
    assert len(server.requests) == LISTS


def test_one_list_that_is_never_answered_stops_no_other(
    *,
    raw_server: Serve,
    session: NewSession,
    answer: Answer,
    reset: Any,
    clock: FakeClock,
    read_all: Callable[[Session], list[ApiError | None]],
) -> None:
    gone = {f"/list-{number}" for number in (0, 5, LISTS - 2, LISTS - 1)}
    api = Api(clock, answer, lambda request: request.target in gone, reset)
    ends = read_all(session(raw_server(by=api).url, clock, requests=100))
    failures = [end for end in ends if end is not None]
    assert sorted(str(end).split(":")[0] for end in failures) == sorted(f"GET {path}" for path in gone)
    assert not any(isinstance(end, FatalError) for end in failures)
    assert len(api.silent) == TRIES * len(gone)


def test_a_host_that_never_answered_is_asked_a_few_times_for_all_lists(
    *,
    raw_server: Serve,
    session: NewSession,
    reset: Any,
    clock: FakeClock,
    read_all: Callable[[Session], list[ApiError | None]],
) -> None:
    server = raw_server(reset)
    ends = read_all(session(server.url, clock, requests=100))
    assert all(isinstance(end, FatalError) for end in ends)
    assert len(server.requests) <= THREADS + FIRST_CONTACT_TRIES


@pytest.mark.parametrize("status", [429, 503])
def test_a_retry_after_of_a_day_is_asked_for_once(
    *,
    raw_server: Serve,
    session: NewSession,
    answer: Answer,
    clock: FakeClock,
    read_all: Callable[[Session], list[ApiError | None]],
    status: int,
) -> None:
    server = raw_server(answer(status, Retry_After="86400"))
    ends = read_all(session(server.url, clock, requests=100))
    assert all(isinstance(end, FatalError) for end in ends)
    assert len(server.requests) <= THREADS  # those that were under way
    assert sum(clock.slept) < THROTTLE_PATIENCE


def test_an_answer_of_any_kind_is_one(
    *, raw_server: Serve, session: NewSession, answer: Answer, reset: Any, parse: Parse, clock: FakeClock
) -> None:
    def by(request: Received, ordinal: int) -> Any:
        return answer(200 if ordinal == 1 else 500, GOOD) if request.target != "/even" else reset

    connected = session(raw_server(by=by).url, clock)
    connected.get("/first", {}, parse)
    for path in ("/odd", "/even") * 9:
        with pytest.raises(ApiError) as raised:
            connected.get(path, {}, parse)
        assert isinstance(raised.value, ServerFailedError) == (path == "/odd")
        assert not isinstance(raised.value, FatalError)
