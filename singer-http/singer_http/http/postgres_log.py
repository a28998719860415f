"""A request log in PostgreSQL, for runs on several machines: the database's clock counts."""

from __future__ import annotations

import math
import re
import time
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from typing_extensions import override

from singer_http.http.errors import database_reason
from singer_http.http.request_log import LogError, RequestLog, Sent, encode, read_at

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg.abc import PQGen

T = TypeVar("T")

_TABLE = "singer_budget"
# A run that hangs must not hold up the others for longer than this; they wait for it, and do not give the log up.
_OPTIONS = "-c idle_in_transaction_session_timeout=2000 -c lock_timeout=4000 -c synchronous_commit=off"
_CONNECT_TIMEOUT = 2  # seconds, the least there is
_ANSWER_TIMEOUT = 5.0  # seconds for all answers of an exchange; longer than a lock may take
_CREATE = f"CREATE TABLE IF NOT EXISTS {_TABLE} (name text PRIMARY KEY, sent text NOT NULL)"
_BEGIN = f"INSERT INTO {_TABLE} VALUES (%s, '') ON CONFLICT DO NOTHING"  # noqa: S608
_READ = f"SELECT sent, extract(epoch FROM clock_timestamp())::float8 FROM {_TABLE} WHERE name = %s FOR UPDATE"  # noqa: S608
_WRITE = f"UPDATE {_TABLE} SET sent = %s WHERE name = %s"  # noqa: S608


class _BoundedConnection(psycopg.Connection):
    """One that ends when an exchange takes too long: psycopg itself waits for ever for a server that says nothing."""

    until = math.inf  # by the machine's clock

    @override
    def wait(self, gen: PQGen[T], *args: Any, **kwargs: Any) -> T:
        return super().wait(self._bounded(gen), *args, **kwargs)

    def _bounded(self, gen: PQGen[T]) -> PQGen[T]:
        try:
            wanted = next(gen)
            while time.monotonic() < self.until:
                wanted = gen.send((yield wanted))  # which comes ten times a second at least
        except StopIteration as done:
            answer: T = done.value
            return answer
        self.close()  # before anyone waits for it to roll back
        raise psycopg.OperationalError("timeout expired")


class PostgresLog(RequestLog):
    """One row of a table for each credential; who changes it locks it."""

    def __init__(self, url: str, name: str) -> None:
        self._url = re.sub(r"^postgres(ql)?(\+psycopg)?:", "postgresql:", url)  # as SQLAlchemy writes it
        self._name = name
        self._connection: _BoundedConnection | None = None
        self._is_right = False  # the URL, as it once led to the database

    @override
    def update(self, change: Callable[[float, Sent], T]) -> T:
        try:
            connection = self._connection or self._connect()
            connection.until = time.monotonic() + _ANSWER_TIMEOUT
            with connection.transaction():
                row = connection.execute(_READ, [self._name]).fetchone()
                if row is None:  # emptied, as after a crash of the database
                    raise psycopg.OperationalError("the row is gone")
                sent = read_at(row[1], row[0], f"{_TABLE} in budget_url")
                outcome = change(row[1], sent)
                connection.execute(_WRITE, [encode(sent).decode(), self._name])
        except psycopg.Error as error:
            self.close()
            raise LogError(f"budget_url: {database_reason(error, may_be_url=not self._is_right)}") from None
        return outcome

    @override
    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> _BoundedConnection:
        # Nothing is prepared: a pooler may give each transaction another connection.
        connection = _BoundedConnection.connect(
            self._url,
            autocommit=True,
            prepare_threshold=None,
            connect_timeout=_CONNECT_TIMEOUT,
            options=_OPTIONS,
        )
        self._is_right = True
        connection.until = time.monotonic() + _ANSWER_TIMEOUT
        with connection.transaction():
            if connection.execute("SELECT to_regclass(%s)", [_TABLE]).fetchone() == (None,):
                connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [_TABLE])  # not two at once
                connection.execute(_CREATE)
            connection.execute(_BEGIN, [self._name])
        self._connection = connection
        return connection
