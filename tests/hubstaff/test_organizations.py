"""What is found out of organizations before the first stream: what fails there stays there."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from api_sandbox import Fault, HubstaffForbidden

if TYPE_CHECKING:
    from collections.abc import Callable

    from api_sandbox import RunningSandbox

    from tests.hubstaff.reading import Run

    Settings = Callable[..., dict[str, Any]]
    Serve = Callable[..., RunningSandbox]
    Read = Callable[..., Run]

STREAMS = ("members", "project_members", "teams", "team_members", "projects", "activities")


def of(run: Run, stream: str) -> set[int]:
    """The organizations that a stream has records of."""
    return {row["organization_id"] for row in run.records(stream)}


@pytest.mark.parametrize("status", [404, 422, 500])
@pytest.mark.parametrize("shared", ["members", "teams"])
def test_what_one_organization_fails_at_stays_there(
    read: Read, serve: Serve, settings: Settings, shared: str, status: int
) -> None:
    sandbox = serve(clock="stopped", history_days=2)
    first, second = map(int, sandbox.hubstaff.ids("organizations"))
    sandbox.faults.replace(Fault(kind="status", path=f"/organizations/{second}/{shared}", status=status))
    run = read(sandbox, settings(sandbox), None, *STREAMS)
    assert run.code == 1
    named = [line for line in run.said("ERROR") if line.startswith("Not read")]
    failed = {"members": ("members", "project_members"), "teams": ("team_members", "teams")}[shared]
    assert len(named) == len(failed)
    for line, stream in zip(sorted(named), failed, strict=True):
        assert line.startswith(f"Not read: {stream} (organization_id {second}")
        assert f"GET /organizations/{second}/{shared}: HTTP {status}" in line
    for stream in STREAMS:
        assert of(run, stream) == ({first} if stream in failed else {first, second}), stream


@pytest.mark.parametrize("expected", [(), ("members", "users")])
def test_members_alone_are_forbidden(read: Read, serve: Serve, settings: Settings, expected: tuple[str, ...]) -> None:
    sandbox = serve(clock="stopped", history_days=2)
    first, second = map(int, sandbox.hubstaff.ids("organizations"))
    sandbox.faults.replace(Fault(kind="status", path=f"/organizations/{second}/members", status=403))
    run = read(
        sandbox, settings(sandbox, skip_forbidden=[*expected]), None, "activities", "members", "projects", "users"
    )
    named = [line for line in run.said("ERROR") if line.startswith("Not read")]
    assert (run.code, len(named)) == ((0, 0) if expected else (1, 2))
    assert [of(run, stream) for stream in ("activities", "projects", "members")] == [*2 * [{first, second}], {first}]
    for stream in ("activities", "projects"):
        assert Counter(run.ids(stream)) == Counter(sandbox.hubstaff.ids(stream)), stream


@pytest.mark.parametrize("status", [403, 404])
def test_credentials_may_not_know_whose_they_are(read: Read, serve: Serve, settings: Settings, status: int) -> None:
    sandbox = serve(Fault(kind="status", path="/users/me", status=status), clock="stopped", history_days=2)
    for streams in (STREAMS, ("projects",)):
        run = read(sandbox, settings(sandbox), None, *streams)
        assert run.code == 0, run.said("ERROR")
        assert Counter(run.ids("projects")) == Counter(sandbox.hubstaff.ids("projects"))


def test_no_version_is_activated_while_an_organization_is_left_out(
    read: Read, serve: Serve, settings: Settings
) -> None:
    everything = HubstaffForbidden(organizations=(1,))
    for forbidden in ((), (everything,)):
        sandbox = serve(clock="stopped", history_days=2, forbidden=forbidden)
        run = read(sandbox, settings(sandbox, emit_activate_version_messages=True), None, "projects", "members")
        activated = {message["stream"] for message in run.messages if message["type"] == "ACTIVATE_VERSION"}
        assert activated == (set() if forbidden else {"projects", "members"})


def test_the_role_is_looked_up_where_members_are_not_read(read: Read, serve: Serve, settings: Settings) -> None:
    sandbox = serve(clock="stopped", history_days=2, role="user")
    for streams, more in ((("projects",), {}), (("members",), {}), (("members",), {"user_ids": [1]})):
        run = read(sandbox, settings(sandbox, **more), None, *streams)
        assert run.code == 1
        assert sum("plain member" in line for line in run.said("ERROR")) == 2, streams
