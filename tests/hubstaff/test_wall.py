"""What the hosting cuts off after 30 seconds is asked for in halves, down to a floor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from api_sandbox import RunningSandbox

    from tests.hubstaff.conftest import Run

    Settings = Callable[..., dict[str, Any]]
    Serve = Callable[..., RunningSandbox]
    Read = Callable[..., Run]


@pytest.mark.parametrize("wall", ["empty", "503"])
def test_windows_are_halved_until_they_come_through(
    read: Read, serve: Serve, settings: Settings, wall: Literal["empty", "503"]
) -> None:
    sandbox = serve(clock="stopped", wall_rows=70, wall=wall)
    run = read(sandbox, settings(sandbox), None, "activities", "daily_activities", "time_sessions")
    assert run.code == 0, run.said("ERROR")
    for stream in ("activities", "daily_activities"):
        assert sorted(run.ids(stream)) == sorted(sandbox.hubstaff.ids(stream)), stream


def test_what_is_too_much_at_the_floor_fails_with_the_reason(read: Read, serve: Serve, settings: Settings) -> None:
    sandbox = serve(clock="stopped", wall_rows=1, organizations=1, shared_members=0, history_days=3)
    run = read(sandbox, settings(sandbox), None, "activities", "projects")
    assert run.code == 1
    assert run.ids("projects")
    (sentence,) = (line for line in run.said("ERROR") if line.startswith("Not read"))
    assert "activities (organization_id" in sentence
