"""One writer at a time: a run locks each channel that it writes to."""

from __future__ import annotations

import contextlib
import importlib
import logging
import threading
import uuid
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import filelock
import sqlalchemy as sa

from target_harkster.ledger.database import LedgerError
from target_harkster.ledger.model import LEASES

if TYPE_CHECKING:
    from singer_http.http.clock import Clock

    from target_harkster.ledger.database import Database

logger = logging.getLogger(__name__)

LEASE = 30.0
"""Seconds that a lease lasts. A new run waits so long for one that was killed."""
RENEWED = 10.0
"""Seconds after which a run renews its leases."""
LOOK = 1.0
"""Seconds between two looks at the lease of another run."""


class FileLocks:
    """Locks beside an SQLite file. The system frees them when the process ends."""

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._locks = contextlib.ExitStack()

    def lock(self, channel: str) -> bool:
        """Lock a channel. Returns whether nobody else has it."""
        if self._path is None:
            return True
        # The id is the vendor's, and not every text is the name of a file; a link names the same file.
        name = blake2b(channel.encode(), digest_size=8).hexdigest()
        lock = filelock.FileLock(f"{Path(self._path).resolve()}.{name}.lock")
        try:
            self._locks.enter_context(lock.acquire(blocking=False))
        except filelock.Timeout:
            return False
        return True

    def close(self) -> None:
        """Let go of all."""
        self._locks.close()


class Leases:
    """Rows in PostgreSQL that say which run has locked a channel. The run renews them.

    A lock of the database's own would be one of its sessions, which poolers like PgBouncer share among runs, and
    which need a connection that stays open.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._database.confirm = self._confirm
        self._clock = clock
        self._owner = uuid.uuid4().hex
        self._locked: set[str] = set()
        self._is_closing = threading.Event()
        self._renewing: threading.Thread | None = None

    def lock(self, channel: str) -> bool:
        """Lock a channel. Returns whether nobody else has it.

        A lease that is not renewed is one of a run that was killed, and is waited for.
        """
        # Imported only where the ledger is in PostgreSQL.
        insert = importlib.import_module("sqlalchemy.dialects.postgresql").insert
        lease = insert(LEASES).values(channel=channel, owner=self._owner, until=_NOW + LEASE)
        free = sa.or_(LEASES.c.until < _NOW, LEASES.c.owner == self._owner)
        update = {"owner": self._owner, "until": _NOW + LEASE}
        taking = lease.on_conflict_do_update(index_elements=["channel"], set_=update, where=free)
        holder = sa.select(LEASES.c.owner, LEASES.c.until).where(LEASES.c.channel == channel)
        seen: set[tuple[str, float]] = set()
        for _ in range(round(LEASE / LOOK) + 2):
            with self._database.transaction() as connection:
                if connection.execute(taking.returning(LEASES.c.owner)).all():
                    break
            seen |= {(row[0], row[1]) for row in self._database.rows(holder)}
            if len(seen) > 1:
                return False  # it was renewed, or taken by another one
            self._clock.sleep(LOOK)
        else:
            return False
        self._locked.add(channel)
        if self._renewing is None:
            self._renewing = threading.Thread(target=self._renew, name="leases", daemon=True)
            self._renewing.start()
        return True

    def _confirm(self, connection: sa.Connection) -> None:
        """Make sure, in a transaction, that all channels are still locked, and renew their leases.

        Raises:
            LedgerError: One is not.
        """
        locked = len(self._locked)
        if locked and connection.execute(_RENEW, {"of": self._owner}).rowcount < locked:
            raise LedgerError(
                "Another run has taken over a channel that this one writes to, as this one did not renew its lease in"
                f" the ledger for {LEASE:.0f} s; nothing more is sent. Run again."
            )

    def close(self) -> None:
        """Let go of all."""
        self._is_closing.set()
        if self._renewing is not None:
            self._renewing.join()
            with contextlib.suppress(LedgerError), self._database.transaction(is_confirmed=False) as connection:
                connection.execute(LEASES.delete().where(LEASES.c.owner == self._owner))

    def _renew(self) -> None:
        while not self._is_closing.wait(RENEWED):
            try:
                self._database.check()
            except LedgerError as error:
                # Tried again later. A run without its lease sends nothing.
                logger.warning("The lease of the run's channels could not be renewed. %s", error)


_NOW = sa.func.extract("epoch", sa.func.clock_timestamp())
_RENEW = LEASES.update().where(LEASES.c.owner == sa.bindparam("of")).values(until=_NOW + LEASE)
