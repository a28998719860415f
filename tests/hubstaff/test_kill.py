"""A run that is cut off, wherever that is, and gone on with: nothing is lost, and next to nothing read twice."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from api_sandbox import Fault

from tests.hubstaff.test_run import NOT_READ, OF_A_MONTH, sessions_of, warehouse

if TYPE_CHECKING:
    from collections.abc import Callable

    from api_sandbox import RunningSandbox

    from tests.hubstaff.conftest import Run

    Settings = Callable[..., dict[str, Any]]
    Serve = Callable[..., RunningSandbox]
    Tap = Callable[..., Run]

PAGE = 20
WINDOWED = ("activities", "daily_activities", "screenshots", "notes", "locations")
SHAPES: dict[str, dict[str, Any]] = {
    "one organization": {"organizations": 1, "shared_members": 0, "members": 7, "history_days": 25},
    "two organizations": {"history_days": 20},
    "more than a window can give": {"history_days": 15, "wall_rows": 100, "organizations": 1, "shared_members": 0},
}


def assert_together(sandbox: RunningSandbox, *runs: Run) -> None:
    truth = sandbox.hubstaff.truth
    for stream in truth.ids.keys() - NOT_READ - OF_A_MONTH:
        assert {own_id for run in runs for own_id in run.ids(stream)} == set(truth.ids[stream]), stream
    by_organization: dict[int, dict[int, dict[str, Any]]] = {}
    for run in runs:
        for record in run.records("activities"):
            by_organization.setdefault(record["organization_id"], {})[record["id"]] = record
    expected: dict[int, tuple[Any, ...]] = {}
    for records in by_organization.values():
        expected |= sessions_of(list(records.values()))
    assert warehouse(*runs) == expected


@pytest.mark.parametrize("shape", SHAPES)
def test_a_run_goes_on_after_any_state(tap: Tap, serve: Serve, settings: Settings, shape: str) -> None:
    sandbox = serve(activity_delay=0.0, **SHAPES[shape])
    config = settings(sandbox, days=27, page_size=PAGE, lookback_days=0)
    whole = tap(config=config)
    assert whole.code == 0, whole.said("ERROR")
    assert_together(sandbox, whole)
    lines = whole.stdout.splitlines(keepends=True)
    states = [place + 1 for place, message in enumerate(whole.messages) if message["type"] == "STATE"]
    chance = random.Random(shape)  # noqa: S311 - the same places in every run
    in_the_middle = 0
    going_on = [
        number
        for number, line in enumerate(states[:-1])
        if any(
            "resume" in partition
            for stream in WINDOWED
            for partition in whole.messages[line - 1]["value"]["bookmarks"].get(stream, {}).get("partitions", ())
        )
    ]
    for turn in range(2 if "wall_rows" in SHAPES[shape] else 4):
        # Every other time in the middle of a window, where there is such a state.
        number = chance.choice(going_on) if going_on and turn % 2 else chance.randrange(len(states) - 1)
        until_state = replace(whole, stdout=b"".join(lines[: states[number]]))
        state = until_state.states[-1]
        second = tap(config=config, state=state)
        assert second.code == 0, second.said("ERROR")
        assert_together(sandbox, until_state, second)
        for stream in WINDOWED:
            assert len(second.ids(stream)) == len(set(second.ids(stream))), stream
            for partition in state["bookmarks"].get(stream, {}).get("partitions", ()):
                if "resume" in partition:
                    in_the_middle += 1
                    own = partition["context"]["organization_id"]
                    before, after = (
                        {row["id"] for row in run.records(stream) if row["organization_id"] == own}
                        for run in (until_state, second)
                    )
                    assert len(before & after) <= PAGE, stream
    assert in_the_middle > 0 or "wall_rows" in SHAPES[shape]


def test_a_killed_run_goes_on_and_never_locks_itself_out(tap: Tap, serve: Serve, settings: Settings) -> None:
    # Each run has to exchange its token before it can write anything. That a kill between the vendor's answer and the
    # store loses the token is beyond any client's power, so none is killed there.
    sandbox = serve(Fault(kind="slow", delay=0.002), activity_delay=0.0, reuse="revoke", history_days=20)
    config = settings(sandbox, days=27, page_size=PAGE, lookback_days=0)
    del config["access_token"]
    config["personal_access_token"] = sandbox.hubstaff.personal_access_token
    chance = random.Random(7)  # noqa: S311 - the same places in every run
    state: Any = None
    runs: list[Run] = []
    for _ in range(8):
        sandbox.hubstaff.expire_access_tokens()
        runs.append(tap(config=config, state=state, kill=chance.randint(1, 6)))
        if runs[-1].code == 0:
            break
        assert runs[-1].code < 0, runs[-1].stderr
        state = runs[-1].states[-1]
    sandbox.hubstaff.expire_access_tokens()
    last = tap(config=config, state=state)
    assert last.code == 0, last.said("ERROR")
    assert_together(sandbox, *runs, last)


def test_sessions_of_activities_that_failed_are_gone_on_with(tap: Tap, serve: Serve, settings: Settings) -> None:
    sandbox = serve(Fault(kind="status", status=403, path="/activities", nth=(5,)), activity_delay=0.0, history_days=20)
    config = settings(sandbox, days=27, page_size=PAGE, lookback_days=0)
    first = tap(config=config)
    assert first.code == 1
    assert len([line for line in first.said("ERROR") if line.startswith("Not read: activities")]) == 1
    second = tap(config=config, state=first.states[-1])
    assert second.code == 0, second.said("ERROR")
    assert_together(sandbox, first, second)


def test_sessions_take_no_request_of_their_own_where_activities_are_read(
    tap: Tap, serve: Serve, settings: Settings
) -> None:
    sandbox = serve(history_days=20, organizations=1, shared_members=0)
    assert tap(config=settings(sandbox, days=27)).code == 0
    (path,) = (path for path in sandbox.report().outcomes if path.endswith("/activities"))
    assert sandbox.report().outcomes[path] == {"200": 4}
