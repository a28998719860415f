"""The time by the API's clock, whatever the machine's says."""

from __future__ import annotations

from email.utils import formatdate
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from singer_http.http.clock import ApiTime

if TYPE_CHECKING:
    from collections.abc import Callable

    from singer_http.http.session import Session

    from tests.conftest import FakeClock, RawServer

    Answer = Callable[..., bytes]
    Parse = Callable[[bytes], list[int]]
    Serve = Callable[..., RawServer]
    NewSession = Callable[..., Session]

GOOD = '{"items":[1,2,3]}'
DAY = 86400.0


def date(seconds: float) -> str:
    return formatdate(int(seconds), usegmt=True)


@pytest.mark.parametrize("ahead", [-2 * DAY, -0.4, 0.0, 2 * DAY + 0.5])
def test_the_time_is_the_apis(
    *, raw_server: Serve, session: NewSession, answer: Answer, parse: Parse, clock: FakeClock, ahead: float
) -> None:
    server = raw_server(by=lambda _request, _ordinal: answer(200, GOOD, Date=date(clock.time() - ahead)))
    connected = session(server.url, clock)
    assert connected.now() == clock.time()  # nothing is known yet
    connected.get("/leads", {}, parse)
    for seconds in (0.0, 0.7, 1000.3):
        clock.advance(seconds)
        assert clock.time() - ahead - 1 < connected.now() <= clock.time() - ahead


def test_an_answer_that_took_its_time_puts_nothing_ahead(
    raw_server: Serve, session: NewSession, answer: Answer, parse: Parse, clock: FakeClock
) -> None:
    def by(_request: object, ordinal: int) -> bytes:
        told = date(clock.time())
        clock.advance(20.0 if ordinal == 2 else 0.25)
        return answer(200, GOOD, Date=told)

    connected = session(raw_server(by=by).url, clock)
    for _ in range(9):
        connected.get("/leads", {}, parse)
        assert clock.time() - 1.25 < connected.now() <= clock.time()


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Date": ""},
        {"Date": "soon"},
        {"Date": "Wed, 31 Foo 2015 99:99:99 GMT"},
        {"Date": "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"},
        {"Date": date(0), "Age": "86400"},
        {"Date": date(0), "Age": "0"},
    ],
)
def test_a_date_that_tells_nothing_changes_nothing(
    *,
    raw_server: Serve,
    session: NewSession,
    answer: Answer,
    parse: Parse,
    clock: FakeClock,
    headers: dict[str, str],
) -> None:
    dated = answer(200, GOOD, Date=date(clock.time() + DAY))
    connected = session(raw_server(answer(200, GOOD, **headers), dated, answer(200, GOOD, **headers)).url, clock)
    for expected in (0.0, DAY, DAY):
        connected.get("/leads", {}, parse)
        assert connected.now() == clock.time() + expected


def test_one_wrong_date_among_others_changes_nothing(clock: FakeClock) -> None:
    told = ApiTime(clock)
    for ordinal in range(1, 20):
        told.learn({"Date": date(clock.time() - (0 if ordinal % 5 else 400 * DAY))})
        assert told.now() == clock.time()


def test_a_clock_that_is_set_while_the_run_goes_on_is_noticed(clock: FakeClock) -> None:
    told = ApiTime(clock)
    true = clock.time()
    for ordinal in range(10):
        if ordinal == 5:
            clock.advance(DAY)  # nobody else's clock went on
        told.learn({"Date": date(true)})
    assert told.now() == true


@pytest.mark.parametrize("ahead", [-7200.0, 7200.0])
def test_a_retry_after_is_a_date_of_the_apis(
    *, raw_server: Serve, session: NewSession, answer: Answer, parse: Parse, clock: FakeClock, ahead: float
) -> None:
    now = clock.time() + ahead
    busy = answer(503, "", Date=date(now), Retry_After=date(now + 30))
    began = clock.monotonic()
    session(raw_server(busy, answer(200, GOOD)).url, clock).get("/leads", {}, parse)
    assert 30 <= clock.monotonic() - began <= 31


@given(value=st.text() | st.datetimes().map(lambda moment: formatdate(moment.year)) | st.just("Mon, 1 Jan 1 0:0 -0000"))
def test_no_date_breaks_a_run(new_clock: Callable[[], FakeClock], value: str) -> None:
    told = ApiTime(new_clock())
    told.learn({"Date": value})
    assert isinstance(told.now(), float)
