"""A thousand requests an hour: waited for or stopped at, counted across runs, and never overrun."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from api_sandbox import RunningSandbox

    from tests.hubstaff.conftest import Run

    Settings = Callable[..., dict[str, Any]]
    Serve = Callable[..., RunningSandbox]
    Tap = Callable[..., Run]
    Read = Callable[..., Run]

STREAMS = ("organizations", "activities", "screenshots", "notes", "projects")
LIMIT = 40


def limited(serve: Serve) -> RunningSandbox:
    return serve(clock="stopped", requests_per_hour=LIMIT, activity_delay=0.0)


def test_a_backfill_waits_for_the_hour_and_sees_no_429(read: Read, serve: Serve, settings: Settings) -> None:
    # One at a time: the clock of the test leaps while requests of other threads are under way.
    sandbox = limited(serve)
    began = sandbox.hubstaff.now
    ids = {stream: set(sandbox.hubstaff.ids(stream)) for stream in STREAMS}
    run = read(
        sandbox, settings(sandbox, page_size=20, requests_per_hour=LIMIT, max_parallel_requests=1), None, *STREAMS
    )
    assert run.code == 0, run.said("ERROR")
    report = sandbox.report()
    assert report.requests > 3 * LIMIT
    assert report.too_many_requests == 0
    assert (sandbox.hubstaff.now - began).total_seconds() > 3 * 3600
    for stream, expected in ids.items():
        assert set(run.ids(stream)) >= expected, stream


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
    assert "in stream" in runs[0].said("WARNING")[-1]
    assert sandbox.report().too_many_requests == 0
    for stream, expected in ids.items():
        assert {own_id for run in runs for own_id in run.ids(stream)} >= expected, stream


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
    (sentence,) = (line for line in run.said("INFO") if "requests at least" in line)
    assert sentence.startswith("47 streams of 1 organizations will take ")
