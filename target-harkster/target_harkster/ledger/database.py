"""The database of a ledger. Each query and each change is its own transaction; none stays open while a run waits."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import sqlalchemy as sa
from singer_http.http.errors import ApiError, ConfigurationError, FatalError, database_reason

from target_harkster.ledger.model import GROUP_NEWS, LEDGER_VERSION, METADATA, POSTS, VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

T = TypeVar("T")

LOOK_UP = 500
"""Keys in one query. The oldest versions of SQLite allow 999 variables."""


class LedgerError(FatalError):
    """The ledger cannot be used."""


class Database:
    """An SQLite file or a PostgreSQL, with the tables of this version.

    Args:
        url: Where it is.
        is_dry: Nothing is kept: a copy in memory is used in its place.

    Attributes:
        path: Of the SQLite file that others may use too; None for any other database.
        is_sqlite: Which of the two it is.
        confirm: Called in each transaction, before its changes; what it raises, it prevents. None does nothing.

    Raises:
        LedgerError: It cannot be used.
    """

    def __init__(self, url: str, *, is_dry: bool = False) -> None:
        self._seq = 0
        self.confirm: Callable[[sa.Connection], None] | None = None
        with contextlib.ExitStack() as opened:
            try:
                self._engine, self.path = _engine(sa.make_url(url), opened, is_dry=is_dry)
                self.is_sqlite = self._engine.dialect.name == "sqlite"
                with self._engine.connect() as connection:
                    make_tables(connection)
                    connection.commit()
            except (sa.exc.SQLAlchemyError, sqlite3.Error, ImportError, ValueError) as error:
                raise _unusable(error) from None
            self.catch_up()
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Close the database."""
        self._opened.close()

    @contextlib.contextmanager
    def transaction(self, *, is_confirmed: bool = True) -> Iterator[sa.Connection]:
        """A transaction: all its changes become durable at its end, or none.

        Raises:
            LedgerError: The database fails, or the changes are not confirmed.
        """
        try:
            with self._engine.begin() as connection:
                if is_confirmed and self.confirm is not None:
                    self.confirm(connection)
                yield connection
        except sa.exc.SQLAlchemyError as error:
            raise _unusable(error) from None

    def rows(self, query: sa.Executable, parameters: Any = None) -> Sequence[sa.Row[Any]]:
        """The rows of one query.

        Raises:
            LedgerError: The database fails.
        """
        try:
            with self._engine.connect() as connection:
                return connection.execute(query, parameters).all()
        except sa.exc.SQLAlchemyError as error:
            raise _unusable(error) from None

    def change(self, statement: sa.Executable, parameters: Any = None) -> None:
        """Make one change, in a transaction of its own."""
        with self.transaction() as connection:
            connection.execute(statement, parameters)

    def check(self) -> None:
        """Make sure that changes would be confirmed now; raises as :meth:`transaction` does."""
        if self.confirm is not None:
            with self.transaction():
                pass

    def next_seq(self) -> int:
        """The next number in the order of posts and rows of digests."""
        self._seq += 1
        return self._seq

    def catch_up(self) -> None:
        """Continue the numbers behind those that other runs have used."""
        self._seq = max(self._seq, *(row[0] or 0 for row in self.rows(_LAST)))


_LAST = sa.union_all(sa.select(sa.func.max(POSTS.c.seq)), sa.select(sa.func.max(GROUP_NEWS.c.seq)))


def put(
    connection: sa.Connection,
    table: sa.Table,
    rows: Sequence[Mapping[str, Any]],
    key: Sequence[str] = (),
    kept: Sequence[str] = (),
) -> None:
    """Insert rows, or change those of the same key.

    Args:
        connection: Of the transaction.
        table: Where to.
        rows: All with the same columns.
        key: The primary key if empty.
        kept: Columns that are left as they are.
    """
    if rows:
        connection.execute(_upsert(table, tuple(rows[0]), tuple(key), tuple(kept)), rows)


@functools.cache
def _upsert(table: sa.Table, columns: Sequence[str], key: Sequence[str], kept: Sequence[str]) -> sa.TextClause:
    """The statement of ``put``, as text that suits both databases: SQLAlchemy compiles its own anew at each use."""
    key = key or [column.name for column in table.primary_key]
    values = ", ".join(f":{name}" for name in columns)
    changes = ", ".join(f'"{name}" = excluded."{name}"' for name in columns if name not in key and name not in kept)
    action = f"UPDATE SET {changes}" if changes else "NOTHING"
    insert = f"INSERT INTO {table.name} ({_quoted(columns)}) VALUES ({values})"  # noqa: S608 - no names of others
    statement = sa.text(f"{insert} ON CONFLICT ({_quoted(key)}) DO {action}")
    return statement.bindparams(*(sa.bindparam(name, type_=table.c[name].type) for name in columns))


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def chunks(items: Iterable[T]) -> Iterator[list[T]]:
    """Split items into lists that fit into one query."""
    remaining = iter(items)
    while some := list(itertools.islice(remaining, LOOK_UP)):
        yield some


def ledger_file(url: str) -> str | None:
    """The path of a ledger's file; None for one in PostgreSQL.

    Raises:
        ConfigurationError: The URL is not valid, or names a database that is gone after the run.
    """
    try:
        read = sa.make_url(url)
    except (sa.exc.SQLAlchemyError, ValueError) as error:
        raise _unusable(error) from None
    if read.get_backend_name() != "sqlite":
        return None
    if read.database in {None, "", ":memory:"} or "uri" in read.query:
        raise ConfigurationError(
            "ledger_url is not valid: it must name a file, such as sqlite:///target-harkster.db, as a ledger in memory"
            " forgets what was posted."
        )
    return read.database


def _engine(url: sa.URL, opened: contextlib.ExitStack, *, is_dry: bool) -> tuple[sa.Engine, str | None]:
    """The engine of a database, and the path if it is a file. What is opened for it closes with ``opened``."""
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() != "sqlite":
        # Poolers like PgBouncer change sessions between transactions: prepared statements would be lost.
        arguments = {"prepare_threshold": None} if url.drivername == "postgresql+psycopg" else {}
        engine = sa.create_engine(url, pool_pre_ping=True, hide_parameters=True, connect_args=arguments)
        opened.callback(engine.dispose)
        return (_copied(engine, opened) if is_dry else engine), None
    path = None if url.database in {None, "", ":memory:"} else url.database
    if is_dry and path is not None:
        memory = sa.create_engine("sqlite://", poolclass=sa.StaticPool, connect_args={"check_same_thread": False})
        opened.callback(memory.dispose)
        if Path(path).exists():
            # If nobody writes, do not make the files that even a reader makes beside it.
            access = "mode=ro" if Path(f"{path}-wal").exists() else "mode=ro&immutable=1"
            uri = f"{Path(path).absolute().as_uri()}?{access}"
            with contextlib.closing(sqlite3.connect(uri, uri=True)) as source, memory.connect() as copy:
                source.backup(cast("sqlite3.Connection", copy.connection.driver_connection))
        return memory, None
    if path is not None:
        _keep_private(path)
    engine = sa.create_engine(url, poolclass=sa.StaticPool, hide_parameters=True)
    opened.callback(engine.dispose)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        connection.exec_driver_sql("PRAGMA synchronous=FULL")
    return engine, path


def _keep_private(path: str) -> None:
    """Make the file, and those that SQLite puts beside it, readable by their owner alone: they hold people's data."""
    with contextlib.suppress(OSError):  # opening the database says what is wrong
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    for name in (path, f"{path}-wal", f"{path}-shm", f"{path}-journal"):
        with contextlib.suppress(OSError):
            Path(name).chmod(0o600)


def _copied(engine: sa.Engine, opened: contextlib.ExitStack) -> sa.Engine:
    """Copy a PostgreSQL ledger into memory. The original stays as it is."""
    memory = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    opened.callback(memory.dispose)
    with engine.connect() as source, memory.begin() as copy:
        make_tables(source)
        METADATA.create_all(copy)
        for table in METADATA.sorted_tables:
            found = source.execute(sa.select(table).execution_options(yield_per=LOOK_UP))
            for rows in found.mappings().partitions():
                copy.execute(table.insert(), [dict(row) for row in rows])
        source.rollback()
    engine.dispose()
    return memory


def make_tables(connection: sa.Connection) -> None:
    """Make the tables that are missing, in one transaction that nobody else is in; the caller commits it.

    Raises:
        ConfigurationError: The ledger is of another version.
    """
    if not _missing_tables(connection):
        return
    connection.rollback()
    if connection.dialect.name == "sqlite":
        # Python's module begins no transaction by itself for statements that change tables.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    missing = _missing_tables(connection)
    METADATA.create_all(connection)
    if VERSION.name in missing:
        connection.execute(VERSION.insert().values(version=LEDGER_VERSION))


def _missing_tables(connection: sa.Connection) -> set[str]:
    missing = METADATA.tables.keys() - set(sa.inspect(connection).get_table_names())
    if VERSION.name in missing:
        return missing
    version: int = connection.execute(sa.select(sa.func.max(VERSION.c.version))).scalar() or 0
    if version != LEDGER_VERSION:
        advice = "install a newer one" if version > LEDGER_VERSION else "let ledger_url name a new ledger"
        raise ConfigurationError(
            f"ledger_url: the ledger is of version {version}, and this target-harkster knows version {LEDGER_VERSION}"
            f" only; {advice}."
        )
    return missing


_LOCK = 0x6861726B73746572
"""The PostgreSQL lock that keeps two runs from making the tables at once."""


def _unusable(error: Exception) -> ApiError:
    if isinstance(error, sa.exc.ArgumentError | ImportError | ValueError):
        return ConfigurationError(
            "ledger_url is not a URL of a database that can be used here: SQLite, or PostgreSQL where"
            " target-harkster[postgres] is installed. A password in it must be percent-encoded: %40 for @, %25 for %."
        )
    if isinstance(error, sa.exc.DataError):
        return LedgerError(
            "The ledger cannot store a text that came, such as the name of a stream with NUL: rename it (stream_maps)."
        )
    reason = database_reason(getattr(error, "orig", None) or error)
    return LedgerError(f"The ledger cannot be used ({reason}); check ledger_url and the database.")
