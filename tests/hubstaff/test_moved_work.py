"""Work that moves to another organization, as with its project: it counts once, where it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.hubstaff.test_run import DAY, sessions_of, warehouse
from tests.hubstaff.test_session_starts import QUIET, stint

if TYPE_CHECKING:
    from collections.abc import Callable

    from api_sandbox import RunningSandbox

    from tests.hubstaff.reading import Run

YESTERDAY = 7 * 24 * 60
"""In minutes, as of the stints."""


@pytest.mark.parametrize("reads_new_alone", [False, True], ids=["both", "the new one first"])
@pytest.mark.parametrize("origin", [0, 1])
def test_it_counts_once(
    *,
    read: Callable[..., Run],
    serve: Callable[..., RunningSandbox],
    settings: Callable[..., dict[str, Any]],
    origin: int,
    reads_new_alone: bool,
) -> None:
    sandbox = serve(clock="stopped", **{**QUIET, "organizations": 2})
    hubstaff = sandbox.hubstaff
    organizations = [int(number) for number in hubstaff.ids("organizations")]
    times = ((YESTERDAY, YESTERDAY + 60), (YESTERDAY + 300, YESTERDAY + 330))
    work = [one for begin, end in times for one in stint(begin, end, organization=origin)]
    hubstaff.add(work)
    hubstaff.advance(3600)
    runs = [read(sandbox, settings(sandbox, reread_days=3), None, "time_sessions")]
    hubstaff.advance(3600)
    hubstaff.transfer(len(work), origin)
    hubstaff.advance(3600)
    narrow = [{"organization_ids": [organizations[1 - origin]]}] if reads_new_alone else []
    for more in (*narrow, {}, {}):
        config = settings(sandbox, reread_days=3, **more)
        runs.append(read(sandbox, config, runs[-1].states[-1], "time_sessions"))
        assert runs[-1].code == 0, runs[-1].said("ERROR")
        assert warehouse(*runs) == sessions_of(hubstaff.records("activities"))
        hubstaff.advance(DAY)
    rows = {row["id"]: row for run in runs for row in run.records("time_sessions")}
    assert {row["organization_id"] for row in rows.values() if row["superseded_by"] is None} == {
        organizations[1 - origin]
    }
