"""Shards: their union is the whole, nothing overlaps, and their number may change."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
from collections import Counter
from contextlib import redirect_stdout
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from api_sandbox import Fault
from click.testing import CliRunner
from psycopg import sql
from singer_http.__main__ import main
from singer_http.checked_settings import is_postgres_url
from singer_http.http.shard import Shard
from target_postgres.target import TargetPostgres  # type: ignore[import-untyped]

from tests.conftest import HANGING
from tests.tap_processes import Run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from api_sandbox import RunningSandbox

    from demo.postgres import Postgres
    from tests.tap_processes import Starter

    Settings = Callable[..., dict[str, Any]]
    Serve = Callable[..., RunningSandbox]
    Tap = Callable[..., Run]

PAGE = 7
PARTITIONED = ("groups", "integrations", "leads")
WHOLE = ("agents", "custom_fields", "organizations", "tags", "webhook_registrations")
INCREMENTAL = {"leads": "INCREMENTAL"}


@pytest.fixture
def account(serve: Serve) -> RunningSandbox:
    return serve(organizations=12, leads=432)


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


@pytest.mark.parametrize("args", [(), ("--test",)])
def test_changes_only_is_refused_as_no_shard_knows_what_another_has_sent(
    tap: Tap, account: RunningSandbox, settings: Settings, args: tuple[str, ...]
) -> None:
    run = tap(*args, config=settings(account, changes_only=True, shard="2/2"))
    assert (run.code, run.messages) == (1, [])
    (sentence,) = run.said("ERROR")
    assert sentence.startswith("changes_only and shard cannot be used together, ")
    assert sentence.endswith(": leave out one of them.")
    assert account.report().requests == 0


def test_a_shard_that_is_the_whole_may_send_changes_only(tap: Tap, account: RunningSandbox, settings: Settings) -> None:
    (first,) = shards(tap, config := settings(account, changes_only=True), 1)
    assert sorted(first.ids("leads")) == sorted(account.truth.ids["leads"])
    (second,) = shards(tap, config, 1, [first.states[-1]])
    assert second.of_type("RECORD") == []


def test_after_shards_changes_only_sends_all_once_more_as_a_row_may_have_moved_between_them(
    tap: Tap, account: RunningSandbox, settings: Settings, tmp_path: Path
) -> None:
    config = settings(account)
    chosen = catalog(tap, config, methods={"leads": "FULL_TABLE"})
    before = tap(config={**config, "changes_only": True}, catalog=chosen)
    one, two = resharded([before.states[-1]], 2, tmp_path)
    shard = tap(config={**config, "shard": "1/2"}, state=one, catalog=chosen)  # the second does not run
    (state,) = resharded([shard.states[-1], two], 1, tmp_path)
    after = tap(config={**config, "changes_only": True}, state=state, catalog=chosen)
    assert sorted(after.ids("leads")) == sorted(account.truth.ids["leads"])


@pytest.mark.parametrize("shard", ["0/3", "4/3", "1/0", "2", "two/3", "1/2/3", ""])
def test_a_shard_that_is_none_is_told_of(tap: Tap, account: RunningSandbox, settings: Settings, shard: str) -> None:
    run = tap(config=settings(account, shard=shard))
    assert run.code == 1
    assert run.said("ERROR") == ["shard is not valid: it must be such as 2/8, for the second of eight."]
    assert account.report().requests == 0


@pytest.mark.parametrize(
    "url",
    [
        *("", " ", "mysql://u:s3cret@host/db", "/folder", "postgresql://u:s3 cret@host/db"),
        *(
            "postgresql://u:s3cret@host:99999/db",
            "postgresql://u:s3cret@one:1,two:0/db",
            "postgresql://u:s3cret/@host:1/db",
        ),
    ],
)
def test_a_budget_url_that_is_none_is_told_of(tap: Tap, account: RunningSandbox, settings: Settings, url: str) -> None:
    run = tap(config=settings(account, budget_url=url))
    assert run.code == 1
    (sentence,) = run.said("ERROR")
    assert sentence.startswith("budget_url is not valid: ")
    assert "cret" not in run.stderr
    assert account.report().requests == 0


@pytest.mark.parametrize(
    "url",
    [
        *("postgresql:///db?host=/tmp", "postgres://one:1,[::1]:65535/db", "postgresql+psycopg://u:p%40@host:/db"),
        "postgresql://u@host/db?application_name=me@box:prod",
    ],
)
def test_any_url_of_postgresql_that_a_driver_takes_is_one(url: str) -> None:
    assert is_postgres_url(url)


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
    # Each organization goes on with the last page that held anything, which holds one record of its 36 by sevens.
    assert len(set(read_after) - new) == 12


def test_the_count_changes_while_tables_are_being_read(
    tap: Tap, start_tap: Starter, account: RunningSandbox, settings: Settings, tmp_path: Path
) -> None:
    config = settings(account)
    chosen = catalog(tap, config, methods={"groups": "FULL_TABLE", "leads": "FULL_TABLE"})
    killed = start_tap(config={**config, "shard": "1/2"}, catalog=chosen, piped=True).killed_after(150)
    other = tap(config={**config, "shard": "2/2"}, catalog=chosen)
    states = resharded([killed.states[-1], other.states[-1]], 3, tmp_path)
    after = shards(tap, config, 3, states, catalog=chosen)
    for stream in ("groups", "leads"):
        read = [own for run in (killed, other, *after) for own in run.ids(stream)]
        assert set(read) == set(account.truth.ids[stream]), stream
    known = covered(killed)
    assert len(known) > 50
    assert_no_more_than_a_page_each(account, known & {own for run in after for own in run.ids("leads")})


def test_the_state_of_another_shard_loses_nothing(
    tap: Tap, start_tap: Starter, account: RunningSandbox, settings: Settings
) -> None:
    config = settings(account)
    killed = start_tap(config={**config, "shard": "1/2"}, piped=True).killed_after(300)
    run = tap(config={**config, "shard": "2/2"}, state=killed.states[-1])
    alone = tap(config={**config, "shard": "2/2"})
    for stream in PARTITIONED:
        assert sorted(run.ids(stream)) == sorted(alone.ids(stream)), stream


def covered(run: Run) -> set[str]:
    """The leads that its last STATE stands for."""
    last = max(place for place, message in enumerate(run.messages) if message["type"] == "STATE")
    return {one["record"]["id"] for one in run.messages[:last] if one.get("stream") == "leads" and "record" in one}


def assert_no_more_than_a_page_each(account: RunningSandbox, leads: set[str]) -> None:
    """No organization has more of these leads than a page holds."""
    owners = Counter(lead["organizationId"] for lead in account.records("leads") if lead["id"] in leads)
    assert max(owners.values()) <= PAGE


class Tables:
    """What all shards load."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._settings = {"sqlalchemy_url": postgres.sqlalchemy_url, "default_target_schema": "sharded"}

    def load(self, *runs: Run) -> Any:
        """Load what runs wrote, each up to where it was killed; the last STATE that the loader acknowledged."""
        whole = [run.stdout[: run.stdout.rfind(b"\n") + 1] for run in runs]
        loader = TargetPostgres(config=self._settings)
        with redirect_stdout(io.StringIO()) as acknowledged:
            loader.listen(io.BytesIO(b"".join(whole)))
        for sink in loader._sinks_active.values():
            sink.connector._engine.dispose()  # it leaves its connections open, and the server has few
        return json.loads(acknowledged.getvalue().splitlines()[-1])

    def rows(self, stream: str) -> list[tuple[str, str]]:
        query = sql.SQL("SELECT id, to_jsonb(one) ->> 'name' FROM {} AS one").format(sql.Identifier("sharded", stream))
        with self._postgres.connect() as connection:
            return sorted(connection.execute(query).fetchall())

    def assert_true(self, account: RunningSandbox, *streams: str) -> None:
        """Every row is there once, and no other."""
        for stream in streams:
            truth = [(row["id"], row.get("name")) for row in account.records(stream)]
            assert self.rows(stream) == sorted(truth), stream


@pytest.fixture
def tables(postgres: Postgres) -> Tables:
    return Tables(postgres)


@pytest.fixture
def kill(start_tap: Starter, account: RunningSandbox) -> Callable[..., Run]:
    """Begin the run of a shard, and kill it in the middle of the leads of its last organization."""

    def run(shard: Shard, config: dict[str, Any], **more: Any) -> Run:
        *_, last = filter(shard.holds, account.truth.ids["organizations"])
        account.faults.replace(Fault(kind="hold", path="/leads", organization=last, page=3))
        started = start_tap(config={**config, "shard": f"{shard.number}/{shard.count}"}, **more)
        account.faults.wait_until_held()
        started.wait_until_written(account.truth.by_organization["leads"][last][PAGE])  # of the page before
        started.kill(signal.SIGKILL)
        killed = started.wait()
        account.faults.clear()
        assert killed.code == -signal.SIGKILL
        return replace(killed, stdout=killed.stdout[: killed.stdout.rfind(b"\n") + 1])

    return run


def test_one_of_eight_is_killed_and_runs_again(  # noqa: PLR0917 - fixtures
    tap: Tap,
    programs: Path,
    account: RunningSandbox,
    settings: Settings,
    tables: Tables,
    kill: Callable[..., Run],
    tmp_path: Path,
) -> None:
    def of(number: int) -> dict[str, Any]:
        return settings(account, shard=f"{number}/8")

    chosen = catalog(tap, settings(account), methods=dict.fromkeys(("groups", "leads", "tags"), "FULL_TABLE"))
    (tmp_path / "chosen.json").write_text(json.dumps(chosen))

    def start(number: int) -> subprocess.Popen[bytes]:
        (config := tmp_path / f"{number}.json").write_text(json.dumps(of(number)))
        command = [*map(str, (programs / "tap-hustle", "--config", config, "--catalog", tmp_path / "chosen.json"))]
        with (tmp_path / f"{number}.out").open("wb") as out:
            return subprocess.Popen(command, stdout=out, env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)})

    tables.load(kill(Shard(2, 8), of(2), catalog=chosen))  # its loader is killed too: it wrote, and told nobody
    others = {number: start(number) for number in (1, *range(3, 9))}
    killed = kill(Shard(2, 8), of(2), catalog=chosen)
    state = tables.load(killed)
    assert [other.wait(HANGING) for other in others.values()] == [0] * 7
    tables.load(*(Run(0, (tmp_path / f"{number}.out").read_bytes(), "") for number in others))
    assert 0 < len(tables.rows("leads")) < len(account.truth.ids["leads"])
    again = tap(config=of(2), state=state, catalog=chosen)
    tables.load(again)
    tables.assert_true(account, "groups", "leads", "tags")
    assert_no_more_than_a_page_each(account, covered(killed) & {*again.ids("leads")})


def test_tables_stay_true_when_the_count_changes_after_a_kill(  # noqa: PLR0917 - fixtures
    tap: Tap,
    account: RunningSandbox,
    settings: Settings,
    tables: Tables,
    kill: Callable[..., Run],
    tmp_path: Path,
) -> None:
    config = settings(account)
    chosen = catalog(tap, config, methods=INCREMENTAL)
    before = [tap(config={**config, "shard": f"{number}/4"}, catalog=chosen) for number in (1, 3, 4)]
    tables.load(*before)
    before.insert(1, kill(Shard(2, 4), config, catalog=chosen))
    tables.load(before[1])
    states = [run.states[-1] for run in before]
    known = set().union(*map(covered, before))
    for organization in range(12):
        account.add_leads(organization, 3)
    served = account.report().served["leads"]
    tables.load(*shards(tap, config, 6, resharded(states, 6, tmp_path), catalog=chosen))
    tables.assert_true(account, "leads")
    again = {own for own, times in account.report().served["leads"].items() if times > served.get(own, 0)}
    assert_no_more_than_a_page_each(account, again & known)


def test_a_read_that_one_shard_has_ended_and_another_has_not_goes_on(  # noqa: PLR0917 - fixtures
    tap: Tap,
    start_tap: Starter,
    account: RunningSandbox,
    settings: Settings,
    kill: Callable[..., Run],
    tmp_path: Path,
) -> None:
    config = settings(account, max_parallel_requests=1)
    chosen = catalog(tap, config, methods=dict.fromkeys(("leads", "tags"), "FULL_TABLE"))
    account.faults.replace(Fault(kind="hold", path="/tags"))
    started = start_tap(config={**config, "shard": "1/2"}, catalog=chosen)
    account.faults.wait_until_held()
    started.kill(signal.SIGTERM)
    before = [started.wait(), kill(Shard(2, 2), config, catalog=chosen)]
    after = shards(tap, config, 3, resharded([run.states[-1] for run in before], 3, tmp_path), catalog=chosen)
    read = [own for run in after for own in run.ids("leads")]
    assert {*before[0].ids("leads"), *before[1].ids("leads"), *read} == {*account.truth.ids["leads"]}
    assert not {*before[0].ids("leads")} & {*read}
