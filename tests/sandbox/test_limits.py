from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import requests
from api_sandbox import HustleScenario, RunningSandbox, Scenario
from api_sandbox.limits import BusiestWindow, Counts, SlidingWindow
from hypothesis import given
from hypothesis import strategies as st

Serve = Callable[[Scenario], RunningSandbox]
Get = Callable[..., requests.Response]

arrivals = st.lists(st.integers(0, 4000), max_size=80).map(lambda times: [time / 1000 for time in sorted(times)])


@given(times=arrivals, limit=st.integers(1, 10))
def test_no_window_ever_holds_more_than_the_limit_nor_less_than_it_could(times: list[float], limit: int) -> None:
    window = SlidingWindow(limit)
    admitted: list[float] = []
    for now in times:
        room = sum(now - 1.0 < time for time in admitted) < limit
        assert window.admit(now) is room
        if room:
            admitted.append(now)


@given(times=arrivals, limit=st.integers(1, 10))
def test_refused_requests_can_count_too(times: list[float], limit: int) -> None:
    window = SlidingWindow(limit, counts="all")
    for place, now in enumerate(times):
        assert window.admit(now) is (sum(now - 1.0 < time for time in times[:place]) < limit)


@given(times=arrivals)
def test_the_busiest_second_is_the_busiest(times: list[float]) -> None:
    busiest = BusiestWindow()
    for now in times:
        busiest.seen(now)
    expected = max((sum(end - 1.0 < time <= end for time in times) for end in times), default=0)
    assert busiest.peak == expected


def limited(**settings: Any) -> Scenario:
    return Scenario(hustle=HustleScenario(**{"requests_per_second": 5, **settings}))


@pytest.mark.usefixtures("stopped_time")
def test_the_sixth_of_five_a_second_is_refused_without_a_hint(serve: Serve, get: Get) -> None:
    sandbox = serve(limited())
    answers = [get(sandbox, "leads") for _ in range(7)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
    assert answers[-1].json()["code"] == 429
    assert "Retry-After" not in answers[-1].headers
    report = sandbox.report()
    assert (report.too_many_requests, report.busiest_second) == (2, 7)


@pytest.mark.usefixtures("stopped_time")
def test_the_limit_is_of_all_lists_together_and_counts_bad_requests(serve: Serve, get: Get) -> None:
    sandbox = serve(limited())
    paths = ["leads?limit=0", "leads", "tags", "nothing", "agents", "groups"]
    assert [get(sandbox, path).status_code for path in paths] == [400, 200, 200, 404, 200, 429]


@pytest.mark.usefixtures("stopped_time")
@pytest.mark.parametrize("counts", ["accepted", "all"])
def test_no_limit_at_all(serve: Serve, get: Get, counts: Counts) -> None:
    sandbox = serve(limited(requests_per_second=None, rate_limit_counts=counts))
    assert {get(sandbox, "tags").status_code for _ in range(40)} == {200}


@pytest.mark.usefixtures("stopped_time")
def test_retry_after_in_seconds(serve: Serve, get: Get) -> None:
    sandbox = serve(limited(requests_per_second=1, retry_after=0.5))
    get(sandbox, "leads")
    assert get(sandbox, "leads").headers["Retry-After"] == "0.5"


@pytest.mark.usefixtures("stopped_time")
def test_retry_after_as_a_date(serve: Serve, get: Get) -> None:
    sandbox = serve(limited(requests_per_second=1, retry_after=60, retry_after_form="date"))
    get(sandbox, "leads")
    least = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(seconds=60)
    then = parsedate_to_datetime(get(sandbox, "leads").headers["Retry-After"])
    assert least <= then <= datetime.now(timezone.utc) + timedelta(seconds=60)


def test_latency_is_on_every_way(serve: Serve, get: Get) -> None:
    sandbox = serve(limited(latency=0.05, latency_jitter=0.01))
    assert get(sandbox, "leads").elapsed.total_seconds() >= 0.05
    assert sandbox.report().elapsed >= 0.05
