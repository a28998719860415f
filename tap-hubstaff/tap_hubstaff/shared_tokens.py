"""Tokens in PostgreSQL, for runs on several machines: with the promises of the file that runs on one machine share."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg
from singer_http.http.errors import AuthenticationError, database_reason
from typing_extensions import override

from tap_hubstaff.token_store import AnyTokenStore, StoredTokens, wait_for_lock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from singer_http.http.clock import Clock
    from typing_extensions import LiteralString

logger = logging.getLogger(__name__)

_TABLE = "singer_tokens"
_CONNECT_TIMEOUT = 5  # seconds
WRITE_PATIENCE = 300.0
"""Seconds to try again to keep a new token, which exists nowhere else."""
_PAUSE = 2.0
_CREATE = f"CREATE TABLE IF NOT EXISTS {_TABLE} (name text PRIMARY KEY, kept text NOT NULL)"
_READ = f"SELECT kept FROM {_TABLE} WHERE name = %s"  # noqa: S608
_WRITE = f"INSERT INTO {_TABLE} VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET kept = excluded.kept"  # noqa: S608
_LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))"


class SharedTokenStore(AnyTokenStore):
    """One row for one configured token.

    A lock lasts as long as a transaction of a connection of its own: the database frees it when a run dies. What is
    written is committed at once, by another connection.

    Args:
        url: Of the database.
        configured: The refresh token in the settings.
        clock: Waits.
    """

    def __init__(self, url: str, configured: str, clock: Clock) -> None:
        self._url = re.sub(r"^postgres(ql)?(\+psycopg)?:", "postgresql:", url)  # as SQLAlchemy writes it
        self._configured = configured
        self._name = hashlib.sha256(configured.encode()).hexdigest()[:32]
        self._clock = clock

    @override
    @contextlib.contextmanager
    def locked(self, clock: Clock) -> Iterator[None]:
        connection = self._connected()
        try:
            wait_for_lock(lambda: self._is_taken(connection), f"{_TABLE} in token_url", clock)
            yield
        finally:
            connection.close()  # which ends the transaction, and frees the lock

    def _is_taken(self, connection: psycopg.Connection) -> bool:
        return bool(_asked(connection, _LOCK, f"{_TABLE} {self._name}"))

    @override
    def read(self) -> StoredTokens:
        with _told(), self._connected() as connection:
            kept = _asked(connection, _READ, self._name)
        try:
            return StoredTokens(self._configured) if kept is None else msgspec.json.decode(kept, type=StoredTokens)
        except msgspec.DecodeError:
            logger.warning("The row in %s is damaged: the token in the settings is used.", _TABLE)
            return StoredTokens(self._configured)

    @override
    def write(self, kept: StoredTokens) -> None:
        until = self._clock.monotonic() + WRITE_PATIENCE
        content = msgspec.json.encode(kept).decode()
        while True:
            try:
                with _told(), self._connected() as connection:
                    _asked(connection, _WRITE, self._name, content)
            except AuthenticationError:
                if self._clock.monotonic() >= until:
                    raise
                logger.warning("The tokens cannot be kept in token_url now: trying again.")
                self._clock.sleep(_PAUSE)
            else:
                return

    def _connected(self) -> psycopg.Connection:
        """A connection that begins a transaction; its block commits it."""
        with _told():
            connection = psycopg.connect(self._url, prepare_threshold=None, connect_timeout=_CONNECT_TIMEOUT)
            if _asked(connection, "SELECT to_regclass(%s)", _TABLE) is None:
                _asked(connection, "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", _TABLE)
                connection.execute(_CREATE)
            connection.commit()
            return connection


def _asked(connection: psycopg.Connection, query: LiteralString, *values: str) -> Any:
    """The first value of an answer; None where there is none."""
    with _told():
        cursor = connection.execute(query, values)
        row = cursor.fetchone() if cursor.description else None
        return None if row is None else row[0]


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise AuthenticationError(
            f"token_url: the database cannot be used ({database_reason(error)}), and a rotated token must not be lost."
            " Run again when it answers."
        ) from None
