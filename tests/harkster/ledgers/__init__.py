"""What earlier versions have left: a ledger and its reject file, as they were written then.

Stream ``hours`` in mode mirror: two rows posted, one rejected, one that waits; stream ``weeks``: two digests.
"""

import contextlib
import sqlite3
from pathlib import Path

import sqlalchemy as sa
from target_harkster.ledger.migrations import MIGRATIONS
from target_harkster.ledger.model import VERSION

from tests.harkster.running import Target

HERE = Path(__file__).parent
RELEASED = 2


def leave_ledger(target: Target, url: str) -> None:
    """Put the ledger where a target looks for it, as one of its channel."""
    text = (HERE / f"version-{RELEASED}.sql").read_text().replace("CHANNEL", target.channel)
    with contextlib.closing(sqlite3.connect(":memory:")) as kept:
        kept.executescript(text)
        if url.startswith("sqlite"):
            with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
                kept.backup(file)
            return
        engine = sa.create_engine("sqlite://", creator=lambda: kept, poolclass=sa.StaticPool)
        with engine.connect() as source, sa.create_engine(url, poolclass=sa.NullPool).begin() as copy:
            VERSION.create(copy)
            for step in MIGRATIONS[:RELEASED]:
                step(copy)
            tables = sa.MetaData()
            tables.reflect(copy)
            for table in tables.sorted_tables:
                rows = source.execute(sa.text(f"SELECT * FROM {table.name}")).mappings().all()  # noqa: S608
                if rows:
                    copy.execute(table.insert(), [dict(row) for row in rows])
            # The numbers of groups were not drawn from their sequence.
            copy.execute(sa.text("SELECT setval(pg_get_serial_sequence('harkster_groups', 'number'), 100)"))


def leave_rejects(target: Target) -> str:
    """Put the reject file where a target looks for it."""
    text = (HERE / f"rejects-{RELEASED}.jsonl").read_text()
    Path(target.config["reject_path"]).write_text(text)
    return text
