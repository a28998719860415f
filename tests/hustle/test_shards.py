"""Shards: their union is the whole, nothing overlaps, and their number may change."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from singer_http.__main__ import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from api_sandbox import RunningSandbox

    from tests.hustle.conftest import Run
    from tests.tap_processes import Starter

    Settings = Callable[..., dict[str, Any]]
    Serve = Callable[..., RunningSandbox]
    Tap = Callable[..., Run]

PARTITIONED = ("groups", "integrations", "leads")
WHOLE = ("agents", "custom_fields", "organizations", "tags", "webhook_registrations")
INCREMENTAL = {"leads": "INCREMENTAL"}


@pytest.fixture
def account(serve: Serve) -> RunningSandbox:
    return serve(organizations=12, leads=600)


def shards(tap: Tap, config: dict[str, Any], count: int, states: Any = None, **more: Any) -> list[Run]:
    """Run each shard once, from its STATE."""
    runs = []
    for number in range(1, count + 1):
        state = states[number - 1] if states else None
        runs.append(tap(config={**config, "shard": f"{number}/{count}"}, state=state, **more))
        assert runs[-1].code == 0, runs[-1].stderr
    return runs


def catalog(tap: Tap, config: dict[str, Any], *, methods: dict[str, str]) -> dict[str, Any]:
    """The catalog, with the given streams only, read so."""
    found: dict[str, Any] = json.loads(tap("--discover", config=config).stdout)
    for stream in found["streams"]:
        (root,) = (entry["metadata"] for entry in stream["metadata"] if not entry["breadcrumb"])
        root["selected"] = stream["tap_stream_id"] in methods
        root["replication-method"] = methods.get(stream["tap_stream_id"], "FULL_TABLE")
    return found


def resharded(states: list[Any], count: int, folder: Path) -> list[Any]:
    """Change the number of shards as an operator does."""
    files = [folder / f"{number}.json" for number in range(len(states))]
    for file, state in zip(files, states, strict=True):
        file.write_text(json.dumps(state))
    merged = CliRunner().invoke(main, ["state", "merge", *map(str, files)], catch_exceptions=False)
    (folder / "all.json").write_text(merged.stdout)
    split = CliRunner().invoke(main, ["state", "split", str(count), str(folder / "all.json")], catch_exceptions=False)
    return [json.loads((folder / name).read_text()) for name in split.stdout.split()]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_union_is_the_whole_and_nothing_overlaps(
    tap: Tap, account: RunningSandbox, settings: Settings, count: int
) -> None:
    runs = shards(tap, settings(account), count)
    for stream, ids in account.truth.ids.items():
        assert sorted(own for run in runs for own in run.ids(stream)) == sorted(ids), stream
    for stream in WHOLE:
        assert [bool(run.ids(stream)) for run in runs] == [True] + [False] * (count - 1), stream
    if count > 1:
        assert sum(bool(run.ids("leads")) for run in runs) > 1
        assert all(one["stream"] in PARTITIONED for run in runs[1:] for one in run.of_type("SCHEMA"))


def test_an_account_may_be_divided_by_settings_too(tap: Tap, account: RunningSandbox, settings: Settings) -> None:
    wanted = account.truth.ids["organizations"][:5]
    runs = shards(tap, settings(account, organization_ids=wanted), 3)
    truth = [lead["id"] for lead in account.records("leads") if lead["organizationId"] in wanted]
    assert sorted(own for run in runs for own in run.ids("leads")) == sorted(truth)


def test_only_what_one_shard_reads_whole_is_activated(tap: Tap, account: RunningSandbox, settings: Settings) -> None:
    runs = shards(tap, settings(account, emit_activate_version_messages=True), 2)
    activated = [[one["stream"] for one in run.of_type("ACTIVATE_VERSION")] for run in runs]
    assert sorted(set(activated[0])) == sorted(WHOLE)
    assert activated[1] == []


def test_each_shard_knows_what_it_has_sent_and_takes_no_row_of_another_for_gone(
    tap: Tap, account: RunningSandbox, settings: Settings
) -> None:
    config = settings(account, changes_only=True)
    first = shards(tap, config, 2)
    assert sorted(own for run in first for own in run.ids("leads")) == sorted(account.truth.ids["leads"])
    second = shards(tap, config, 2, [run.states[-1] for run in first])
    assert [run.of_type("RECORD") for run in second] == [[], []]
    # With another number of shards, all is sent once more, and nothing is taken for gone.
    third = shards(tap, config, 3, [second[0].states[-1], second[1].states[-1], None])
    assert sorted(own for run in third for own in run.ids("leads")) == sorted(account.truth.ids["leads"])
    assert not any(row.get("_sdc_deleted_at") for run in third for row in run.records("leads"))


@pytest.mark.parametrize("shard", ["0/3", "4/3", "1/0", "2", "two/3", "1/2/3", ""])
def test_a_shard_that_is_none_is_told_of(tap: Tap, account: RunningSandbox, settings: Settings, shard: str) -> None:
    run = tap(config=settings(account, shard=shard))
    assert run.code == 1
    assert run.said("ERROR") == ["shard is not valid: it must be such as 2/8, for the second of eight."]
    assert account.report().requests == 0


@pytest.mark.parametrize("url", ["mysql://u:s3cret@host/db", "/folder", "postgresql://u:s3 cret@host/db"])
def test_a_budget_url_that_is_none_is_told_of(tap: Tap, account: RunningSandbox, settings: Settings, url: str) -> None:
    run = tap(config=settings(account, budget_url=url))
    assert run.code == 1
    (sentence,) = run.said("ERROR")
    assert sentence.startswith("budget_url is not valid: ")
    assert "cret" not in run.stderr


def test_a_report_claims_no_table_of_which_others_read_a_part(
    tap: Tap, account: RunningSandbox, settings: Settings, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    assert tap(config=settings(account, shard="1/2", report_path=str(report))).code == 0
    streams = json.loads(report.read_text())["streams"]
    assert not any(streams[stream]["whole"] for stream in PARTITIONED)


def test_the_count_changes_between_runs_and_nothing_is_read_twice_or_lost(
    tap: Tap, account: RunningSandbox, settings: Settings, tmp_path: Path
) -> None:
    config = settings(account)
    chosen = catalog(tap, config, methods=INCREMENTAL)
    before = shards(tap, config, 4, catalog=chosen)
    new = {own for organization in range(12) for own in account.add_leads(organization, 3)}
    states = resharded([run.states[-1] for run in before], 6, tmp_path)
    after = shards(tap, config, 6, states, catalog=chosen)
    read_before, read_after = ([own for run in runs for own in run.ids("leads")] for runs in (before, after))
    assert sorted({*read_before, *read_after}) == sorted(account.truth.ids["leads"])
    assert len(set(read_after)) == len(read_after)
    # Each organization goes on with the last page that held anything, which holds one record of its 50 by sevens.
    assert len(set(read_after) - new) == 12


def test_the_count_changes_while_tables_are_being_read(
    tap: Tap, start_tap: Starter, account: RunningSandbox, settings: Settings, tmp_path: Path
) -> None:
    config = settings(account)
    chosen = catalog(tap, config, methods={"groups": "FULL_TABLE", "leads": "FULL_TABLE"})
    killed = start_tap(config={**config, "shard": "1/2"}, catalog=chosen, piped=True).killed_after(150)
    other = tap(config={**config, "shard": "2/2"}, catalog=chosen)
    last = max(place for place, message in enumerate(killed.messages) if message["type"] == "STATE")
    covered = {one["record"]["id"] for one in killed.messages[:last] if one["type"] == "RECORD"}
    states = resharded([killed.states[-1], other.states[-1]], 3, tmp_path)
    after = shards(tap, config, 3, states, catalog=chosen)
    for stream in ("groups", "leads"):
        read = [own for run in (killed, other, *after) for own in run.ids(stream)]
        assert set(read) == set(account.truth.ids[stream]), stream
    again = [own for run in after for own in (*run.ids("groups"), *run.ids("leads")) if own in covered]
    assert len(covered) > 100
    assert len(again) <= 7 * len(killed.states[-1]["bookmarks"]["leads"]["partitions"])  # a page of each organization


def test_the_state_of_another_shard_loses_nothing(
    tap: Tap, start_tap: Starter, account: RunningSandbox, settings: Settings
) -> None:
    config = settings(account)
    killed = start_tap(config={**config, "shard": "1/2"}, piped=True).killed_after(300)
    run = tap(config={**config, "shard": "2/2"}, state=killed.states[-1])
    alone = tap(config={**config, "shard": "2/2"})
    for stream in PARTITIONED:
        assert sorted(run.ids(stream)) == sorted(alone.ids(stream)), stream
