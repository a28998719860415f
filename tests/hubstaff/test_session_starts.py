"""Work sessions wherever a read begins: each has one identity, and none is missing, twice or cut."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.hubstaff.test_run import sessions_of, warehouse

if TYPE_CHECKING:
    from collections.abc import Callable

    from api_sandbox import RunningSandbox

    from tests.hubstaff.reading import Run

    Settings = Callable[..., dict[str, Any]]
    Serve = Callable[..., RunningSandbox]
    Read = Callable[..., Run]

ONE = {"organizations": 1, "shared_members": 0, "history_days": 30, "members": 5, "activity_delay": 0.0}


def cut_off(run: Run) -> Run:
    """What a loader got of a run before it was killed between two windows of sessions."""
    lines = run.stdout.splitlines(keepends=True)
    places = [
        place
        for place, message in enumerate(run.messages, start=1)
        if message["type"] == "STATE" and '"cursor"' in json.dumps(message["value"])
    ]
    return type(run)(0, b"".join(lines[: places[len(places) // 2]]), "")


@pytest.mark.parametrize("days", [((9, True), (40, False)), ((9, False), (20, True), (40, False))], ids=len)
@pytest.mark.parametrize("hours", [0, 13])
def test_an_earlier_start_date_after_a_read_that_was_cut_off(
    *,
    read: Read,
    serve: Serve,
    settings: Settings,
    days: tuple[tuple[int, bool], ...],
    hours: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("singer_http.run.Run.is_due", lambda *_: True)
    sandbox = serve(clock="stopped", **ONE)
    runs: list[Run] = []
    for of, is_cut in days:
        start = (sandbox.hubstaff.now - timedelta(days=of)).replace(hour=hours, minute=0, second=0)
        config = settings(sandbox, start_date=start.isoformat(), page_size=40, lookback_days=0)
        run = read(sandbox, config, runs[-1].states[-1] if runs else None, "time_sessions")
        assert run.code == 0, run.said("ERROR")
        runs.append(cut_off(run) if is_cut else run)
        sandbox.hubstaff.advance(3600)
    assert warehouse(*runs) == sessions_of(sandbox.hubstaff.records("activities"))
