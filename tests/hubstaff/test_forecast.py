"""What the next run will take, told for at most two requests."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from api_sandbox import RunningSandbox

    from tests.hubstaff.reading import Run

    Settings = Callable[..., dict[str, Any]]
    Serve = Callable[..., RunningSandbox]
    Tap = Callable[..., Run]

QUIET = {"activities_per_day": 0, "tools_per_day": 0, "captures_per_day": 0, "events_per_day": 0.0}


def requests(sandbox: RunningSandbox) -> int:
    return sandbox.report().requests


BEFORE_A_DAY = datetime(2026, 10, 28, 9, 10, tzinfo=timezone.utc)
"""Within the hour a day begins somewhere, so windows of days are longer in the next run than in this one."""


@pytest.mark.parametrize(
    ("more", "when"),
    [({}, {}), ({}, {"now": BEFORE_A_DAY}), ({"refresh": {"*": 86_400, "tasks": 0, "activities": 0}}, {})],
    ids=["always", "before a day", "refresh"],
)
def test_it_is_what_the_run_takes_where_nothing_is_new(
    tap: Tap, serve: Serve, settings: Settings, more: dict[str, Any], when: dict[str, Any]
) -> None:
    sandbox = serve(clock="stopped", tasks=40, members=25, **QUIET, **when)
    config = settings(sandbox, page_size=10, **more)
    state: dict[str, Any] | None = None
    for is_known in (False, True, True):
        before = requests(sandbox)
        told = json.loads(tap("--forecast=json", config=config, state=state).stdout)
        assert requests(sandbox) - before <= 2
        before = requests(sandbox)
        run = tap(config=config, state=state)
        assert run.code == 0, run.said("ERROR")
        state = run.states[-1]
        taken = requests(sandbox) - before
        assert (told["requests"] == taken) if is_known else (told["requests"] < taken), told
        assert bool(told["never_read"]) != is_known
        assert {one["id"] for one in told["organizations"]} == set(map(int, sandbox.hubstaff.ids("organizations")))
        sandbox.hubstaff.advance(1800)


def test_hours_are_those_of_the_budget(tap: Tap, serve: Serve, settings: Settings) -> None:
    sandbox = serve(clock="stopped", organizations=1, shared_members=0, history_days=2)
    config = settings(sandbox, requests_per_hour=20)
    told = json.loads(tap("--forecast=json", config=config).stdout)
    assert told["requests_per_hour"] == 20
    assert told["requests_left"] == 19  # less the one that this took
    assert told["hours"] == round((told["requests"] - 19) / 20, 2)
    text = tap("--forecast", config=config).stdout.decode()
    assert text.startswith(f"The next run will take at least {told['requests']} requests: ")
    organization = sandbox.hubstaff.ids("organizations")[0]
    assert f"organization {organization}: {told['organizations'][0]['requests']}" in text


def test_what_is_wrong_is_said_in_a_sentence(tap: Tap, settings: Settings, serve: Serve) -> None:
    sandbox = serve(history_days=1)
    run = tap("--forecast", config=settings(sandbox, organization_ids=[1]))
    assert (run.code, run.stdout) == (1, b"")
    assert "organization_ids names 1" in run.said("ERROR")[0]


EARLIER = (("a day earlier", 1, 41), ("daily", 24, 41), ("a month earlier", 1, 72), ("hourly", 1, 72))
"""What happens, after how many hours, and how many days ago start_date then is."""


@pytest.mark.parametrize(
    ("steps", "page_size"),
    [((("hourly", 1, 40), ("hourly again", 1, 40), *EARLIER), 50), (EARLIER[2:], 500)],
    ids=["after hourly runs", "after the first run"],
)
def test_it_is_near_what_the_run_takes(
    tap: Tap, serve: Serve, settings: Settings, steps: tuple[tuple[str, int, int], ...], page_size: int
) -> None:
    sandbox = serve(clock="stopped", organizations=1, members=4, activities_per_day=12, history_days=100)
    state: dict[str, Any] | None = None
    off: dict[str, float] = {}
    for name, hours, days in (("first", 0, 40), *steps):
        sandbox.hubstaff.advance(3600 * hours)
        start = (sandbox.hubstaff.now - timedelta(days=days)).date().isoformat()
        config = settings(sandbox, page_size=page_size, start_date=start)
        told = json.loads(tap("--forecast=json", config=config, state=state).stdout)["requests"]
        before = requests(sandbox)
        run = tap(config=config, state=state)
        assert run.code == 0, run.said("ERROR")
        state = run.states[-1]
        taken = requests(sandbox) - before
        off[name] = told / taken
    assert off.pop("first") <= 1
    assert all(0.8 <= share <= 1.2 for share in off.values()), off
