"""A ledger that a release leaves behind, and how it is kept as SQL."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from api_sandbox import HarksterScenario, Scenario, serve_in_thread

from tests.harkster.running import Target, record, schema, state

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STREAMS: dict[str, Any] = {
    "hours": {"mode": "upsert", "fields": [{"id": "hours", "type": "number", "data": "hours"}]},
    "weeks": {
        "mode": "upsert",
        "group_by": ["week"],
        "fields": [{"id": "sum", "type": "number", "data": "{{ rows | sum(attribute='hours') }}"}],
    },
    "people": {"mode": "lookup"},
}
_NUMBER = {"type": ["null", "number", "string"]}
HOURS = schema({"id": {"type": "integer"}, "hours": _NUMBER})
PEOPLE = schema(stream="people")
WEEKS = schema({"id": {"type": "integer"}, "week": {"type": "string"}, "hours": _NUMBER}, stream="weeks")


@contextmanager
def target(folder: Path) -> Iterator[Target]:
    """Give a target with an account of its own, whose ids are the same each time."""
    with serve_in_thread(Scenario(harkster=HarksterScenario(requests_per_second=None))) as sandbox:
        channel = sandbox.harkster.channel("Acme Inc./Projects/Weekly Hours")
        yield Target.into(channel, sandbox, folder, streams=STREAMS)


def first_runs(target: Target) -> None:
    """Fill a ledger: posts, a digest, a lookup, a reject, and a row that waits for its post."""
    weeks = [record("weeks", id=number, week="W1", hours=number) for number in (1, 2)]
    rows = [record(id=1, hours=1), record(id=2, hours=2), record(id=3, hours="x")]
    people = [PEOPLE, record("people", id=7, name="Ann")]
    target.ran([*people, HOURS, *rows, WEEKS, *weeks, state(1)])
    target.ran([HOURS, record(id=4, hours=4), record(id=5, hours=5), state(2)], max_posts_per_run=1)


def dumped(ledger: Path) -> str:
    """Return a ledger as SQL."""
    with closing(sqlite3.connect(ledger)) as database:
        return "\n".join(database.iterdump()) + "\n"


def restore(sql: str, ledger: Path) -> None:
    """Put a ledger that was kept as SQL in its place."""
    ledger.unlink(missing_ok=True)
    with closing(sqlite3.connect(ledger)) as database:
        database.executescript(sql)
