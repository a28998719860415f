"""The ledger in SQLite and in PostgreSQL: the same, and for one writer at a time."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from singer_http.http.errors import ConfigurationError
from target_harkster.delivery.decision import Decision, decide
from target_harkster.ledger.database import LedgerError
from target_harkster.ledger.migrations import MIGRATIONS
from target_harkster.ledger.model import VERSION
from target_harkster.ledger.store import Entry, Ledger, Phase

from tests.harkster.crashing import FastClock
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
        one.hold(target.channel)
        other.hold(f"{target.channel} 2")
        with pytest.raises(LedgerError, match="Another run writes to the channel"):
            other.hold(target.channel)
    finally:
        one.close()
    other.hold(target.channel)
    other.close()


def test_a_killed_writer_holds_nothing(target: Target, url: str) -> None:
    program = (
        "import os, signal, sys\n"
        "from singer_http.http.clock import SystemClock\n"
        "from target_harkster.ledger.store import Ledger\n"
        "Ledger(sys.argv[1], SystemClock()).hold(sys.argv[2])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", program, url, target.channel], check=False)
    ledger = Ledger(url, FastClock())
    for _ in range(100):  # the server may take a moment to see that a client is gone
        try:
            ledger.hold(target.channel)
            break
        except LedgerError:
            time.sleep(0.05)
    else:
        pytest.fail("the dead hold on")
    ledger.close()


def test_a_ledger_of_a_later_version_is_not_touched(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/later.db"
    Ledger(url, FastClock()).close()
    with sa.create_engine(url, poolclass=sa.NullPool).begin() as connection:
        connection.execute(VERSION.insert().values(version=len(MIGRATIONS) + 1))
    with pytest.raises(ConfigurationError, match="install a newer one"):
        Ledger(url, FastClock())


def entry(phase: Phase) -> Entry:
    return Entry("c", "m", "s", "[1]", phase, "same", 1)


@pytest.mark.parametrize("phase", Phase)
def test_decisions(phase: Phase) -> None:
    known = entry(phase)
    decisions = [decide(known, content, mode) for mode in ("append", "upsert", "mirror") for content in ("same", "new")]
    assert decisions[:2] == [Decision.LEAVE] * 2
    assert decisions[2:4] == decisions[4:]
    expected = {
        Phase.BASELINE: (Decision.UNCHANGED, Decision.CREATE),
        Phase.DELETED: (Decision.CREATE, Decision.CREATE),
        Phase.REMOVED: (Decision.LEAVE, Decision.LEAVE),
        Phase.DEFERRED: (Decision.UNCHANGED, Decision.REPLACE),
        Phase.INTENT: (Decision.UNCHANGED, Decision.REPLACE),
        Phase.RENEWING: (Decision.UNCHANGED, Decision.REPLACE),
    }
    assert tuple(decisions[2:4]) == expected.get(phase, (Decision.UNCHANGED, Decision.UPDATE))
    assert decide(None, "new", "append") is Decision.CREATE
