"""The ledger in SQLite and in PostgreSQL: the same, and for one writer at a time."""

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import sqlalchemy as sa
from singer_http.http.errors import ConfigurationError
from singer_http.http.transport import Transport
from target_harkster.delivery.decision import Decision, decide
from target_harkster.ledger.database import LedgerError
from target_harkster.ledger.model import LEASES, LEDGER_VERSION, VERSION
from target_harkster.ledger.phases import Phase
from target_harkster.ledger.store import Entry, Ledger
from target_harkster.vendor.client import HarksterApi

from demo.postgres import Postgres
from tests.conftest import HANGING
from tests.harkster.killed_runs import FastClock
from tests.harkster.running import Target, data, record, schema, state


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/own.db"
    return str(request.getfixturevalue("postgres_url"))


def test_runs_with_either(target: Target, url: str) -> None:
    settings: dict[str, Any] = {"ledger_url": url, "streams": {"hours": {"mode": "upsert"}}}
    rows = [record(id=number, name=str(number)) for number in range(3)]
    assert target.ran([schema(), *rows, state(1)], max_posts_per_run=2, **settings) == [1]
    assert target.ran([schema(), record(id=0, name="new"), state(2)], dry_run=True, **settings) == []
    assert target.ran([schema(), record(id=0, name="new"), state(2)], **settings) == [2]
    assert [(data(post)["name"], post.status) for post in target.posts()] == [
        ("new", "published"),
        ("1", "published"),
        ("2", "published"),
    ]


def test_digests_with_either(target: Target, url: str) -> None:
    fields = [{"id": "n", "type": "counter", "data": "{{ rows | length }}"}]
    streams = {"hours": {"mode": "upsert", "group_by": ["name"], "fields": fields}}
    for number in (1, 2):
        target.ran([schema(), record(id=number, name="A")], ledger_url=url, streams=streams)
    assert [data(post)["n"] for post in target.posts()] == ["2"]


def test_one_writer_at_a_time(target: Target, url: str) -> None:
    one, other = Ledger(url, FastClock()), Ledger(url, FastClock())
    try:
        one.lock(target.channel)
        other.lock(f"{target.channel} 2")
        with pytest.raises(LedgerError, match="Another run writes to the channel"):
            other.lock(target.channel)
    finally:
        one.close()
    other.lock(target.channel)
    other.close()


def test_a_killed_writer_holds_nothing(target: Target, url: str) -> None:
    program = (
        "import os, signal, sys\n"
        "from singer_http.http.clock import Clock\n"
        "from target_harkster.ledger.store import Ledger\n"
        "Ledger(sys.argv[1], Clock()).lock(sys.argv[2])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", program, url, target.channel], check=False)
    ledger = Ledger(url, FastClock())
    if not ledger.database.is_sqlite:
        # It is not known to be dead until its lease has run out.
        with pytest.raises(LedgerError, match="Another run writes to the channel"):
            ledger.lock(target.channel)
        run_out(ledger)
    ledger.lock(target.channel)
    ledger.close()


def run_out(ledger: Ledger) -> None:
    """Let the time go by in which leases are renewed."""
    ledger.database.change(LEASES.update().values(until=0.0))


def test_a_run_that_lost_its_lease_writes_nothing_more(target: Target, postgres_url: str) -> None:
    one, other = Ledger(postgres_url, FastClock()), Ledger(postgres_url, FastClock())
    one.lock(target.channel)
    run_out(one)
    other.lock(target.channel)
    intent = Entry(target.channel, "m", "hours", "[1]", Phase.INTENT, "", 1)
    with pytest.raises(LedgerError, match="Another run has taken over a channel"):
        one.save(intent)
    assert list(other.entries(target.channel)) == []
    other.save(intent)
    one.close()
    # Who has lost its lease does not let go of another one's.
    other.save(intent)
    other.close()


def test_a_run_that_was_held_up_before_an_update_does_not_send_it(target: Target, postgres_url: str) -> None:
    """Another one has taken over and updated the posts, between the look at a post and its update."""
    settings: dict[str, Any] = {"ledger_url": postgres_url, "streams": {"hours": {"mode": "upsert"}}}
    target.ran([schema(), record(id=1, name="0"), record(id=2, name="0"), state(0)], **settings)
    other = Ledger(postgres_url, FastClock())
    newer = [schema(), record(id=1, name="2"), record(id=2, name="2"), state(2)]
    original = HarksterApi.update

    def update(api: HarksterApi, *args: Any) -> bool:
        run_out(other)
        with mock.patch.object(HarksterApi, "update", original):
            assert target.ran(newer, **settings) == [2]
            return original(api, *args)

    with mock.patch.object(HarksterApi, "update", update):
        outcome = target.run([schema(), record(id=1, name="1"), record(id=2, name="1"), state(1)], **settings)
    other.close()
    assert isinstance(outcome.error, LedgerError)
    assert outcome.states == []
    assert [data(post)["name"] for post in target.posts()] == ["2", "2"]


def test_a_run_that_was_held_up_changes_nothing_in_the_ledger(target: Target, postgres_url: str) -> None:
    one, other = Ledger(postgres_url, FastClock()), Ledger(postgres_url, FastClock())
    one.lock(target.channel)
    entry = Entry(target.channel, "m", "hours", "[1]", Phase.UPDATING, "old", 1, "p1", b"old")
    one.save(entry)
    run_out(one)
    other.lock(target.channel)
    entry.hash = "new"
    other.note_newest(entry, b"new")
    entry.hash = "old"
    changes: list[Callable[[], None]] = [
        lambda: one.note_newest(entry, b"old"),
        lambda: one.doubt_updates(entry),
        lambda: one.trust_updates(target.channel, -60.0),
        lambda: one.doubt(target.channel, "m"),
        lambda: one.trust(target.channel, ["m"]),
        lambda: one.forget(target.channel, "m"),
        one.database.check,
        lambda: one.touch([target.channel], ["m"], 7),
        lambda: one.digests.keep_schema("hours", [target.channel], {}, ["id"]),
    ]
    for change in changes:
        with pytest.raises(LedgerError, match="Another run has taken over a channel"):
            change()
    ((late,),) = other.late_updates(target.channel).values()
    assert (late.hash, late.newest, late.content) == ("old", "new", b"new")
    assert other.doubts(target.channel) == {}
    assert [found.marker for found in other.entries(target.channel)] == ["m"]
    one.close()
    other.close()


def test_leases_are_renewed_while_nothing_happens(
    target: Target, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(postgres_url, FastClock())
    renewed = threading.Event()
    original = ledger.database.transaction

    @contextlib.contextmanager
    def transaction(**options: bool) -> Iterator[sa.Connection]:
        with original(**options) as connection:
            yield connection
        renewed.set()

    ledger.database.transaction = transaction  # type: ignore[method-assign]
    monkeypatch.setattr("target_harkster.ledger.locks.RENEWED", 0.01)
    ledger.lock(target.channel)
    run_out(ledger)
    renewed.clear()
    assert renewed.wait(HANGING)
    until = ledger.database.rows(sa.select(LEASES.c.until).where(LEASES.c.channel == target.channel))[0][0]
    assert until > 0
    ledger.close()
    assert not is_locked(postgres_url, target.channel)


def is_locked(url: str, channel: str) -> bool:
    """Whether somebody holds a channel."""
    ledger = Ledger(url, FastClock())
    try:
        return bool(ledger.database.rows(sa.select(LEASES).where(LEASES.c.channel == channel)))
    finally:
        ledger.close()


@pytest.fixture
def look(postgres: Postgres) -> Iterator[Callable[[], None]]:
    """Looks at the sessions of the PostgreSQL, none of which may have a transaction open."""
    query = (
        "SELECT state, query FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND xact_start IS NOT NULL"
        " AND backend_type = 'client backend'"
    )
    with postgres.connect() as connection:

        def looked() -> None:
            assert connection.execute(query).fetchall() == []

        yield looked


@pytest.mark.parametrize("dry_run", [False, True])
def test_no_transaction_is_open_while_input_or_the_api_is_waited_for(
    target: Target, postgres_url: str, look: Callable[[], None], monkeypatch: pytest.MonkeyPatch, *, dry_run: bool
) -> None:
    send = Transport.send
    sent: list[Any] = []

    def watched(*arguments: Any) -> Any:
        look()
        sent.append(arguments)
        return send(*arguments)

    monkeypatch.setattr(Transport, "send", watched)
    messages = [schema(), record(id=1, name="one", version=1), record(id=2, name=7), record(id=1, name="1"), state(1)]
    bad_layout = {"hours": {"mode": "mirror", "fields": [{"id": "n", "type": "number", "data": "name"}]}}

    def lines() -> Iterator[bytes]:
        for message in messages:
            look()
            yield json.dumps(message).encode() + b"\n"
        look()

    made = target.make(ledger_url=postgres_url, dry_run=dry_run, streams=bad_layout)
    made.listen(lines())  # type: ignore[arg-type]
    assert sent


def test_a_ledger_of_a_later_version_is_not_touched(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/later.db"
    Ledger(url, FastClock()).close()
    with sa.create_engine(url, poolclass=sa.NullPool).begin() as connection:
        connection.execute(VERSION.insert().values(version=LEDGER_VERSION + 1))
    with pytest.raises(ConfigurationError, match="install a newer one"):
        Ledger(url, FastClock())


def entry(phase: Phase) -> Entry:
    return Entry("c", "m", "s", "[1]", phase, "same", 1)


@pytest.mark.parametrize("phase", Phase)
def test_decisions(phase: Phase) -> None:
    known = entry(phase)
    known.post_id = None if phase is Phase.DELETED else "post"
    decisions = [
        decide(known, {content}, mode) for mode in ("append", "upsert", "mirror") for content in ("same", "new")
    ]
    assert decisions[:2] == [Decision.CREATE if phase is Phase.DELETED else Decision.LEAVE] * 2
    assert decisions[2:4] == decisions[4:]
    expected = {
        Phase.BASELINE: (Decision.UNCHANGED, Decision.CREATE),
        Phase.DELETED: (Decision.CREATE, Decision.CREATE),
        Phase.MOVING: (Decision.UPDATE, Decision.UPDATE),
        Phase.REMOVED: (Decision.LEAVE, Decision.LEAVE),
        Phase.COUNTED: (Decision.UNCHANGED, Decision.REPLACE),
        Phase.DEFERRED: (Decision.UNCHANGED, Decision.REPLACE),
        Phase.INTENT: (Decision.UNCHANGED, Decision.REPLACE),
        Phase.RENEWING: (Decision.UNCHANGED, Decision.REPLACE),
    }
    assert tuple(decisions[2:4]) == expected.get(phase, (Decision.UNCHANGED, Decision.UPDATE))
    assert decide(None, {"new"}, "append") is Decision.CREATE
