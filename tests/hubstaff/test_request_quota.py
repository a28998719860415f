"""A thousand requests an hour: waited for or stopped at, counted across runs, and never overrun."""

from __future__ import annotations

import itertools
import math
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
import requests
from singer_http.http import budget
from singer_http.http.budget import MARGIN
from singer_http.http.request_log import FileLog
from tap_hubstaff.client import open_session
from tap_hubstaff.request_quota import HOUR, HourlyBudget, limit_from_headers
from tap_hubstaff.tap import TapHubstaff

from tests.http.test_budget import most_in_any_period

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from api_sandbox import RunningSandbox

    from tests.conftest import FakeClock, RawServer, Received
    from tests.hubstaff.reading import Run

    Settings = Callable[..., dict[str, Any]]
    Serve = Callable[..., RunningSandbox]
    Tap = Callable[..., Run]
    Read = Callable[..., Run]

STREAMS = ("organizations", "activities", "screenshots", "notes", "projects")
LIMIT = 40


def limited(serve: Serve) -> RunningSandbox:
    return serve(clock="stopped", requests_per_hour=LIMIT, activity_delay=0.0)


def test_another_token_of_the_same_user_has_no_hour_of_its_own(read: Read, serve: Serve, settings: Settings) -> None:
    sandbox = serve(clock="stopped")
    config = settings(sandbox, requests_per_hour=LIMIT, on_quota="stop")
    read(sandbox, config, None, "organizations", "projects")
    config |= {"personal_access_token": sandbox.hubstaff.personal_access_token}
    del config["access_token"]
    state = None
    for _ in range(3):
        run = read(sandbox, config, state, *STREAMS)
        assert run.code == 0, run.said("ERROR")
        state = run.states[-1]
    assert any("quota is used up" in line for line in run.said("WARNING"))
    report = sandbox.report()
    assert sum(sum(found.values()) for path, found in report.outcomes.items() if "token" not in path) == LIMIT


def test_an_hour_that_does_not_suffice_for_the_first_lists_is_an_error(
    read: Read, serve: Serve, settings: Settings
) -> None:
    sandbox = serve(clock="stopped", requests_per_hour=10, activity_delay=0.0, organizations=12, history_days=2)
    config = settings(sandbox, requests_per_hour=10, on_quota="stop")
    run = read(sandbox, config, None, *STREAMS)
    assert run.code == 1
    (error,) = run.said("ERROR")
    assert "10 of the hour's 10 requests were used up before the first stream, for the lists of 12 org" in error
    # Another one has used the hour up: the next hour may do.
    again = read(sandbox, config, None, *STREAMS)
    assert (again.code, again.said("ERROR")) == (0, [])
    assert any("before the first stream" in line for line in again.said("WARNING"))


def test_a_backfill_at_1000_an_hour_waits_and_sees_no_429(read: Read, serve: Serve, settings: Settings) -> None:
    shape = {
        "organizations": 1,
        "shared_members": 0,
        "history_days": 92,
        "members": 3,
        "removed_members": 0,
        "activities_per_day": 7,
    }
    sandbox = serve(clock="stopped", requests_per_hour=1000, activity_delay=0.0, **shape)
    began = sandbox.hubstaff.now
    ids = {stream: set(sandbox.hubstaff.ids(stream)) for stream in STREAMS}
    config = settings(sandbox, days=92, page_size=2, requests_per_hour=1000)
    assert "max_parallel_requests" not in config  # what it is by default
    run = read(sandbox, config, None, *STREAMS)
    assert run.code == 0, run.said("ERROR")
    report = sandbox.report()
    assert report.requests > 1000
    assert report.too_many_requests == 0
    assert 3600 < (sandbox.hubstaff.now - began).total_seconds() < 2 * 3600
    for stream, expected in ids.items():
        assert set(run.ids(stream)) >= expected, stream


def test_what_the_api_tells_of_its_limit_is_kept_to(read: Read, serve: Serve, settings: Settings) -> None:
    # The settings say 1,000 an hour. The API allows 40, and something else uses the same application.
    sandbox = serve(clock="stopped", requests_per_hour=LIMIT, rate_limit_headers=True, activity_delay=0.0)
    headers = {"Authorization": f"Bearer {sandbox.hubstaff.organization_token}", "User-Agent": "another client"}
    for _ in range(LIMIT // 2):
        assert requests.get(f"{sandbox.hubstaff.api_url}/users/me", headers=headers, timeout=60).ok
    config = settings(sandbox, page_size=20, requests_per_hour=1000)
    run = read(sandbox, config, None, *STREAMS)
    assert run.code == 0, run.said("ERROR")
    assert sandbox.report().requests > 3 * LIMIT
    assert sandbox.report().too_many_requests == 0


def test_what_the_headers_say() -> None:
    def told(left: str, reset: str) -> tuple[int, float] | None:
        return limit_from_headers({"X-Rate-Limit-Remaining": left, "X-Rate-Limit-Reset": reset}, now=1_790_000_000.0)

    assert told("7", "60") == (7, 60.0)
    assert told("0", "1790000060") == (0, 60.0)
    for left, reset in (("many", "60"), ("7", "soon"), ("-1", "60"), ("7", "-60"), ("7", "inf")):
        assert told(left, reset) is None
    assert limit_from_headers({}, now=0.0) is None


def test_a_run_may_stop_there_and_the_next_ones_go_on(read: Read, serve: Serve, settings: Settings) -> None:
    sandbox = limited(serve)
    ids = {stream: set(sandbox.hubstaff.ids(stream)) for stream in STREAMS}
    config = settings(sandbox, page_size=20, requests_per_hour=LIMIT, on_quota="stop", lookback_days=0)
    runs: list[Run] = []
    while not runs or any("quota is used up" in line for line in runs[-1].said("WARNING")):
        state = runs[-1].states[-1] if runs else None
        runs.append(read(sandbox, config, state, *STREAMS))
        assert runs[-1].code == 0, runs[-1].said("ERROR")
        assert len(runs) < 12
        sandbox.hubstaff.advance(3700)
    assert len(runs) > 3
    assert "in stream" in runs[0].said("WARNING")[-2]
    assert sandbox.report().too_many_requests == 0
    for stream, expected in ids.items():
        assert {own_id for run in runs for own_id in run.ids(stream)} >= expected, stream


def test_no_stream_is_left_out_by_every_run(read: Read, serve: Serve, settings: Settings) -> None:
    sandbox = serve(clock="stopped", requests_per_hour=15, history_days=5, organizations=1, shared_members=0)
    config = settings(sandbox, days=7, requests_per_hour=15, on_quota="stop")
    names = [stream.name for stream in TapHubstaff(config=config).streams.values()]
    last_read = dict.fromkeys(names, 0)
    state, cut_off, told = None, "", ""
    for number in range(1, 13):
        run = read(sandbox, config, state)
        state = run.states[-1]
        assert run.code == 0, run.said("ERROR")
        begun = list(dict.fromkeys(one["stream"] for one in run.messages if one["type"] == "SCHEMA"))
        assert begun[0] == cut_off or number == 1
        (told,) = (line for line in run.said("WARNING") if line.startswith("Not read to the end"))
        left = [part.strip().partition(" ")[0] for part in told.partition(": ")[2].split(",")]
        assert sorted(names) == sorted({*left, *begun})
        cut_off = left[0]
        for name in set(names) - set(left):
            last_read[name] = number
        assert number - min(last_read.values()) <= 7, last_read  # five requests of fifteen come before the streams
        sandbox.hubstaff.advance(86_400)
    assert "24.0 h ago" in told
    assert "never" not in told


@pytest.mark.parametrize("streams", [("activities", "time_sessions"), ("time_sessions",), ("activities", "notes")])
def test_no_organization_is_left_out_by_every_run(
    read: Read, serve: Serve, settings: Settings, streams: tuple[str, ...]
) -> None:
    shape = {"organizations": 6, "shared_members": 0, "history_days": 3, "members": 2, "activities_per_day": 2}
    sandbox = serve(clock="stopped", requests_per_hour=LIMIT, activity_delay=0.0, **shape)
    config = settings(sandbox, days=40, requests_per_hour=LIMIT, on_quota="stop", reread_days=40)
    state: Any = None
    is_cut_off = []
    for _ in range(10):
        run = read(sandbox, config, state, *streams)
        assert run.code == 0, run.said("ERROR")
        state = run.states[-1]
        is_cut_off.append(any("quota is used up" in line for line in run.said("WARNING")))
        sandbox.hubstaff.advance(3700)
    assert sum(is_cut_off) > 3
    oldest = (sandbox.hubstaff.now - timedelta(hours=6)).isoformat()
    for stream in streams:
        bookmarks = [one["replication_key_value"] for one in state["bookmarks"][stream]["partitions"]]
        assert len(bookmarks) == 6
        assert min(bookmarks) > oldest, stream


def test_runs_share_the_hour(tap: Tap, serve: Serve, settings: Settings) -> None:
    sandbox = serve(requests_per_hour=1000, history_days=2, organizations=1, shared_members=0)
    config = settings(sandbox, days=4, requests_per_hour=80, on_quota="stop")
    first = tap(config=config)
    assert first.code == 0
    assert not any("quota is used up" in line for line in first.said("WARNING"))
    second = tap(config=config)
    assert second.code == 0
    assert any("quota is used up" in line for line in second.said("WARNING"))
    assert sandbox.report().requests <= 80
    # An hour later there is room again.
    assert not any("quota is used up" in line for line in tap(config=config, ahead=3700).said("WARNING"))


def test_a_forecast_is_made(tap: Tap, serve: Serve, settings: Settings) -> None:
    sandbox = serve(history_days=2, organizations=1, shared_members=0)
    run = tap(config=settings(sandbox, days=4))
    (sentence,) = (line for line in run.said("INFO") if " requests;" in line)
    assert sentence.startswith("47 streams of 1 organizations will take about ")


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    """Settings of a session that is opened without a tap."""
    return {
        "api_url": "https://api.example.org",
        "access_token": "token",
        "token_path": str(tmp_path),
        "user_agent": "tests/1.0",
        "request_timeout": 5,
        "max_parallel_requests": 1,
        "requests_per_hour": 1000,
        "on_quota": "wait",
    }


@pytest.mark.parametrize("since_1970", [False, True])
def test_no_more_is_sent_than_the_api_says_is_left(
    *,
    clock: FakeClock,
    raw_server: Callable[..., RawServer],
    answer: Callable[..., bytes],
    config: dict[str, Any],
    since_1970: bool,
) -> None:
    began = clock.monotonic()
    seconds, left = 600, itertools.count(9, -1)  # until the API counts anew, and what something else has left till then
    too_many: list[float] = []

    def by(_request: Received, _ordinal: int) -> bytes:
        if (now := clock.monotonic()) >= began + seconds:
            return answer(200, "[]", X_Rate_Limit_Remaining="900", X_Rate_Limit_Reset="3600")
        reset = str(math.ceil(clock.time() * since_1970 + began + seconds - now))
        if (after := next(left) - 1) < 0:
            too_many.append(now)
            return answer(429, X_Rate_Limit_Remaining="0", X_Rate_Limit_Reset=reset)
        return answer(200, "[]", X_Rate_Limit_Remaining=str(after), X_Rate_Limit_Reset=reset)

    with mock.patch.object(budget, "threading", SimpleNamespace(Lock=clock.lock)):
        session = open_session({**config, "api_url": raw_server(by=by).url, "max_parallel_requests": 4}, clock)
    ask = [lambda: [session.get("/users", {}, bytes) for _ in range(5)]] * 4
    assert clock.together(ask) == [[b"[]"] * 5] * 4
    session.close()
    assert too_many == []
    assert began + seconds <= clock.monotonic() <= began + seconds * (1 + MARGIN) + 1


def test_two_budgets_share_a_log(clock: FakeClock, tmp_path: Path) -> None:
    budgets = [HourlyBudget(5, clock, FileLog(tmp_path / "log", clock), math.inf) for _ in range(2)]
    spent = [budgets[number % 2].spend().slot for number in range(40)]
    assert most_in_any_period(spent, HOUR) == 5
    assert spent[-1] - spent[0] <= 7 * (HOUR * (1 + MARGIN) + 0.01)
    for one in budgets:
        one.close()


@pytest.mark.parametrize("put_back", [25 * 3600, 600])
def test_a_clock_that_was_put_back_makes_no_request_wait_for_what_was_sent_later(
    clock: FakeClock, new_clock: Callable[[], FakeClock], config: dict[str, Any], put_back: float
) -> None:
    config["requests_per_hour"] = 5
    clock.advance(put_back)
    session = open_session(config, clock)
    for _ in range(5):
        session.budget.spend()
    session.close()
    earlier = new_clock()
    session = open_session(config, earlier)
    for _ in range(5):
        session.budget.spend()
    assert earlier.slept == []
    session.budget.spend()
    assert 3600 <= sum(earlier.slept) <= 3600 * (1 + MARGIN) + 60
    session.close()
