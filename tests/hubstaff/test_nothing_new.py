"""The runs after the first: what they ask for where nothing is new, and what they must not leave out for it."""

from __future__ import annotations

import json
import logging
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from tap_hubstaff.all_streams import STREAMS
from tap_hubstaff.streams.owned_base import OwnedStream
from tap_hubstaff.streams.window_base import WindowStream
from tap_hubstaff.tap import TapHubstaff
from tap_hubstaff.work_sessions.stream import TimeSessions

if TYPE_CHECKING:
    from collections.abc import Callable

    from api_sandbox import RunningSandbox

    from tests.hubstaff.reading import Run

    Settings = Callable[..., dict[str, Any]]
    Serve = Callable[..., RunningSandbox]
    Read = Callable[..., Run]

OWNED = {"team_members", "team_projects", "integration_project_links", "integration_user_links", "integration_tasks"}
OF_TEAMS = ("team_members", "team_projects")


def served(sandbox: RunningSandbox) -> Counter[str]:
    """The requests that the sandbox has answered, by list."""
    report = sandbox.report().outcomes
    return Counter({path.partition("/v2/")[2]: sum(found.values()) for path, found in report.items()})


def lists_of(sandbox: RunningSandbox) -> Counter[str]:
    """One request for each list of an organization that streams are read from, whatever number of streams that is."""
    paths = {"organizations", "users/me"}
    for organization in sandbox.hubstaff.ids("organizations"):
        for stream in STREAMS:
            path = stream.path
            if issubclass(stream, OwnedStream):
                path = f"/organizations/{{organization_id}}/{stream.owners}"  # nothing of a team that is as it was
            elif issubclass(stream, WindowStream) and stream.updates and stream is not TimeSessions:
                path = stream.updates.path
            paths.add(path.format(organization_id=organization).lstrip("/"))
    return Counter(paths)


@pytest.mark.parametrize(
    "shape", [{"history_days": 9}, {"organizations": 1, "shared_members": 0, "members": 40, "history_days": 9}]
)
def test_a_run_with_nothing_new_asks_each_list_once(
    read: Read, serve: Serve, settings: Settings, shape: dict[str, Any]
) -> None:
    sandbox = serve(clock="stopped", **shape)
    first = read(sandbox, settings(sandbox, lookback_days=2))
    assert first.code == 0, first.said("ERROR")
    sandbox.hubstaff.advance(1200)
    before = served(sandbox)
    second = read(sandbox, settings(sandbox, lookback_days=2), first.states[-1])
    assert second.code == 0
    asked = served(sandbox) - before
    assert asked <= lists_of(sandbox), asked - lists_of(sandbox)
    organizations = len(sandbox.hubstaff.ids("organizations"))
    assert asked.total() <= 2 + 39 * organizations  # for 47 streams


@pytest.mark.parametrize("chosen", [("users",), ("members",), ("project_members",), ("users", "project_members")])
def test_what_is_told_with_the_members_takes_no_request_of_its_own(
    read: Read, serve: Serve, settings: Settings, chosen: tuple[str, ...]
) -> None:
    sandbox = serve(clock="stopped", history_days=2, members=9)
    run = read(sandbox, settings(sandbox, page_size=4), None, *chosen)
    assert run.code == 0, run.said("ERROR")
    for stream in chosen:
        assert Counter(run.ids(stream)) == Counter(sandbox.hubstaff.ids(stream)), stream
    pages = Counter({f"organizations/{own}/members": 3 for own in sandbox.hubstaff.ids("organizations")})
    assert served(sandbox) == pages + Counter({"organizations": 1, "users/me": 1})


def test_the_links_of_what_has_changed_are_read_again(read: Read, serve: Serve, settings: Settings) -> None:
    sandbox = serve(clock="stopped", history_days=2, members=8)
    hubstaff, streams = sandbox.hubstaff, (*OWNED, "teams", "integrations")
    runs = [read(sandbox, settings(sandbox), None, *streams)]
    for stream in OWNED:
        assert set(runs[0].ids(stream)) == set(hubstaff.ids(stream)), stream
    # A team is edited: its lists are read again, and those of no other.
    (team,) = hubstaff.edit("teams", 1)
    hubstaff.advance(3600)
    runs.append(read(sandbox, settings(sandbox), runs[-1].states[-1], *streams))
    for stream in OWNED:
        expected = {own for own in hubstaff.ids(stream) if own.startswith(f"{team}:")} if stream in OF_TEAMS else set()
        assert set(runs[-1].ids(stream)) == expected, stream
    # A change that does not show in the team waits until the lists are old.
    edited = set(hubstaff.edit("team_members", 5))
    hubstaff.advance(3600)
    runs.append(read(sandbox, settings(sandbox), runs[-1].states[-1], *streams))
    assert runs[-1].ids("team_members") == []
    hubstaff.advance(12 * 3600)
    runs.append(read(sandbox, settings(sandbox), runs[-1].states[-1], *streams))
    assert edited <= set(runs[-1].ids("team_members"))
    for stream in OWNED:
        assert set(runs[-1].ids(stream)) == set(hubstaff.ids(stream)), stream
    # And does not where every run is to read them.
    runs.append(read(sandbox, settings(sandbox, links_max_age=0), runs[-1].states[-1], *streams))
    assert set(runs[-1].ids("team_members")) == set(hubstaff.ids("team_members"))


def test_links_that_were_cut_off_are_gone_on_with(read: Read, serve: Serve, settings: Settings) -> None:
    sandbox = serve(clock="stopped", history_days=2, members=9, requests_per_hour=14, organizations=1, shared_members=0)
    config = settings(sandbox, page_size=1, requests_per_hour=14, on_quota="stop")
    runs: list[Run] = []
    while not runs or any("quota is used up" in line for line in runs[-1].said("WARNING")):
        runs.append(read(sandbox, config, runs[-1].states[-1] if runs else None, "team_members"))
        assert runs[-1].code == 0, runs[-1].said("ERROR")
        assert len(runs) < 9
        sandbox.hubstaff.advance(3700)
    assert len(runs) > 1
    assert any("cursor" in json.dumps(run.states[-1]) for run in runs)
    found = Counter(own for run in runs for own in run.ids("team_members"))
    assert found == Counter(sandbox.hubstaff.ids("team_members"))


def test_links_are_a_whole_table_where_versions_are(read: Read, serve: Serve, settings: Settings) -> None:
    sandbox = serve(clock="stopped", history_days=0, organizations=1, shared_members=0)
    for versions in (False, True):
        config = settings(sandbox, emit_activate_version_messages=versions)
        methods = {TapHubstaff(config=config).streams[stream].replication_method for stream in OWNED}
        assert methods == {"FULL_TABLE" if versions else "INCREMENTAL"}
    runs = [read(sandbox, config, None, *OWNED)]
    runs.append(read(sandbox, config, runs[0].states[-1], *OWNED))
    for run in runs:
        assert run.code == 0, run.said("ERROR")
        for stream in OWNED:
            assert sorted(run.ids(stream)) == sorted(sandbox.hubstaff.ids(stream)), stream
        assert {message["stream"] for message in run.messages if message["type"] == "ACTIVATE_VERSION"} == OWNED


AHEAD = ("members", "teams", "integrations", "clients")
"""The lists of an organization that streams share, which are read before the first stream."""


def test_the_forecast_is_windows_by_organizations_and_streams(
    read: Read, serve: Serve, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "tap-hubstaff")
    # Nobody works here, so that every list, and every window of one, is a single page: the forecast is the truth.
    sandbox = serve(clock="stopped", activities_per_day=0, tools_per_day=0, captures_per_day=0, events_per_day=0.0)
    state = None
    for days in (40, 2):
        before = served(sandbox)
        run = read(sandbox, settings(sandbox, days=40), state)
        assert run.code == 0, run.said("ERROR")
        state = run.states[-1]
        (sentence,) = (line for line in run.said("INFO") if " requests;" in line)
        forecast = int(sentence.split("will take about ")[1].split()[0])
        assert sentence.startswith(f"{len(STREAMS)} streams of 2 organizations will take about ")
        ahead = Counter({"organizations": 1, "users/me": 1})
        for organization in sandbox.hubstaff.ids("organizations"):
            ahead += Counter(f"organizations/{organization}/{name}" for name in AHEAD)
        assert forecast == (served(sandbox) - before - ahead).total(), days
        sandbox.hubstaff.advance(2 * 86_400)
