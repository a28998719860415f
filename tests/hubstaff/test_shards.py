"""Shards of organizations: the whole together, none twice, and their number may change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from singer_http.http.shard import Shard
from singer_http.shard_states import merged, split

if TYPE_CHECKING:
    from collections.abc import Callable

    from api_sandbox import RunningSandbox

    from tests.hubstaff.reading import Run

    Settings = Callable[..., dict[str, Any]]
    Serve = Callable[..., RunningSandbox]
    Read = Callable[..., Run]
    Tap = Callable[..., Run]

STREAMS = (
    "organizations",
    "activities",
    "daily_activities",
    "members",
    "projects",
    "teams",
    "team_members",
    "time_sessions",
)


def keys(runs: list[Run], stream: str) -> list[str]:
    return [key for run in runs for key in run.ids(stream)]


def shards(read: Read, sandbox: RunningSandbox, config: dict[str, Any], states: list[Any]) -> list[Run]:
    runs = [
        read(sandbox, {**config, "shard": f"{number}/{len(states)}"}, state, *STREAMS)
        for number, state in enumerate(states, 1)
    ]
    assert [run.code for run in runs] == [0] * len(runs), [run.said("ERROR") for run in runs]
    return runs


def test_shards_read_the_whole_and_their_number_changes_without_reading_again(
    read: Read, serve: Serve, settings: Settings
) -> None:
    sandbox = serve(clock="stopped", organizations=6, history_days=10, members=3, shared_members=0)
    config = settings(sandbox, days=12)
    alone = read(sandbox, config, None, *STREAMS)
    first = shards(read, sandbox, config, [None] * 4)
    for stream in STREAMS:
        assert sorted(keys(first, stream)) == sorted(keys([alone], stream)), stream
    assert [bool(run.ids("organizations")) for run in first] == [True, False, False, False]

    sandbox.hubstaff.advance(86_400)
    one = merged([run.states[-1] for run in first])
    sandbox.reset()
    whole = read(sandbox, config, one, *STREAMS)
    requests = sandbox.report().requests
    sandbox.reset()
    second = shards(read, sandbox, config, split(one, 6))
    for stream in STREAMS:
        assert sorted(keys(second, stream)) == sorted(keys([whole], stream)), stream
    # Each shard asks for the list of organizations and for its user; nothing else is asked for twice.
    assert sandbox.report().requests == requests + 2 * 5
    assert len(keys(second, "activities")) < len(keys(first, "activities")) / 2


@pytest.mark.parametrize("args", [(), ("--test",)])
def test_changes_only_is_refused_as_no_shard_knows_what_another_has_sent(
    tap: Tap, serve: Serve, settings: Settings, args: tuple[str, ...]
) -> None:
    sandbox = serve(history_days=1, organizations=1, shared_members=0)
    run = tap(*args, config=settings(sandbox, changes_only=True, shard="1/2"))
    assert (run.code, run.messages) == (1, [])
    (sentence,) = run.said("ERROR")
    assert sentence.startswith("changes_only and shard cannot be used together, ")
    assert sentence.endswith(": leave out one of them.")
    assert sandbox.report().requests == 0


def test_an_organization_stays_where_it_is_when_others_come_and_go() -> None:
    for count in (1, 2, 7, 64):
        every = [Shard(number, count) for number in range(1, count + 1)]
        for organization in (*range(200), "a7", "ü"):
            assert sum(shard.holds(organization) for shard in every) == 1
    assert [next(n for n in range(1, 5) if Shard(n, 4).holds(own)) for own in (1, 2, 3, 20021, "x")] == [2, 3, 4, 4, 1]
