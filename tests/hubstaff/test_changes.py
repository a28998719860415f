"""Changed rows only: lists send what changed, and streams that follow time or updates are as they were."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from api_sandbox import RunningSandbox

    from tests.hubstaff.reading import Run

    Settings = Callable[..., dict[str, Any]]
    Serve = Callable[..., RunningSandbox]
    Read = Callable[..., Run]

LISTS = ("organizations", "users", "members", "projects", "tasks", "clients", "teams", "timesheets", "seats")
FOLLOWED = ("activities", "time_sessions")


def sent(run: Run) -> Counter[tuple[str, bool]]:
    """How many rows of each stream were sent, and whether they are gone."""
    return Counter((one["stream"], "_sdc_deleted_at" in one["record"]) for one in run.of_type("RECORD"))


def lists_read(sandbox: RunningSandbox) -> int:
    """How many lists of projects were asked for."""
    outcomes = sandbox.report().outcomes
    return sum(sum(found.values()) for path, found in outcomes.items() if path.endswith("/projects"))


def test_lists_send_what_changed(read: Read, serve: Serve, settings: Settings, tmp_path: Path) -> None:
    sandbox = serve(clock="stopped", history_days=3, organizations=2, shared_members=1)
    config = settings(sandbox, days=3, changes_only=True)
    first = read(sandbox, config, None, *LISTS, *FOLLOWED)
    assert first.code == 0
    assert all(sent(first)[name, False] for name in (*LISTS, *FOLLOWED))
    assert (tmp_path / "tokens" / "changes.db").stat().st_mode & 0o777 == 0o600

    second = read(sandbox, config, first.states[-1], *LISTS, *FOLLOWED)
    assert second.code == 0
    assert {name for name, _ in sent(second)} <= set(FOLLOWED)

    edited = sandbox.run(lambda running: running.hubstaff.changes.edit("projects", 2, 0))
    gone = sandbox.run(lambda running: running.hubstaff.changes.delete("tasks", 3, 1))
    third = read(sandbox, config, second.states[-1], *LISTS, *FOLLOWED)
    assert third.code == 0
    assert sorted(third.ids("projects")) == sorted(edited)
    assert sorted(third.ids("tasks")) == sorted(gone)
    assert {pair for pair in sent(third).items() if pair[0][0] in LISTS} == {
        (("projects", False), 2),
        (("tasks", True), 3),
    }
    assert "changes" not in third.states[-1]["bookmarks"]["activities"]

    plain = read(sandbox, {**config, "changes_only": False}, third.states[-1], *LISTS)
    assert plain.code == 0
    assert sent(plain)["projects", False] == sent(first)["projects", False]
    assert "written" not in str(plain.states[-1])


def test_a_list_that_is_due_is_read_of_all_organizations(read: Read, serve: Serve, settings: Settings) -> None:
    # A user of two organizations comes with the first that is read: with one of them, nobody knows who has gone.
    sandbox = serve(clock="stopped", history_days=1, organizations=2, shared_members=1)
    config = settings(sandbox, days=1, changes_only=True, refresh={"*": 3600})
    state = read(sandbox, config, None, "users", "projects").states[-1]
    other = state["bookmarks"]["projects"]["partitions"][1]
    del other["read_at"]
    assert lists_read(sandbox) == 2
    again = read(sandbox, config, state, "projects")
    assert again.code == 0
    assert again.of_type("RECORD") == []
    assert lists_read(sandbox) == 4
    assert read(sandbox, config, again.states[-1], "projects").code == 0
    assert lists_read(sandbox) == 4
