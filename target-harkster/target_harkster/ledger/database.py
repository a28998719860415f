"""The database of a ledger. Every question and every change is a transaction of its own: none is open while waiting."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa
from singer_http.http.errors import ApiError, ConfigurationError, FatalError

from target_harkster.ledger.migrations import migrate
from target_harkster.ledger.model import GROUP_NEWS, METADATA, POSTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

T = TypeVar("T")

LOOK_UP = 500
"""Keys in one question to the database: SQLite allows 999 variables in its oldest versions."""


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
        version_before: Of the tables when they were opened; 0 if there were none.

    Raises:
        LedgerError: It cannot be used.
    """

    def __init__(self, url: str, *, is_dry: bool = False) -> None:
        try:
            self._engine, self.path = _engine(sa.make_url(url), is_dry=is_dry)
            self.is_sqlite = self._engine.dialect.name == "sqlite"
            with self._engine.connect() as connection:
                self.version_before = migrate(connection)
                connection.commit()
        except (sa.exc.SQLAlchemyError, sqlite3.Error, ImportError) as error:
            raise _unusable(error) from None
        self._seq = 0
        self.catch_up()

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """A transaction: what is changed in it is durable at its end, as a whole.

        Raises:
            LedgerError: The database does not do as it is told.
        """
        try:
            with self._engine.begin() as connection:
                yield connection
        except sa.exc.SQLAlchemyError as error:
            raise _unusable(error) from None

    def rows(self, query: sa.Executable, parameters: Any = None) -> Sequence[sa.Row[Any]]:
        """The answer to one question.

        Raises:
            LedgerError: It cannot be answered.
        """
        try:
            with self._engine.connect() as connection:
                return connection.execute(query, parameters).all()
        except sa.exc.SQLAlchemyError as error:
            raise _unusable(error) from None

    def change(self, statement: sa.Executable) -> None:
        """Make one change, in a transaction of its own."""
        with self.transaction() as connection:
            connection.execute(statement)

    def next_seq(self) -> int:
        """The place of one more post, or row of a digest."""
        self._seq += 1
        return self._seq

    def catch_up(self) -> None:
        """Go on behind what others have written meanwhile."""
        query = sa.union_all(sa.select(sa.func.max(POSTS.c.seq)), sa.select(sa.func.max(GROUP_NEWS.c.seq)))
        self._seq = max(self._seq, *(row[0] or 0 for row in self.rows(query)))


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
    if not rows:
        return
    insert = inserting(connection.dialect.name, table)
    key = key or [column.name for column in table.primary_key]
    rest = {name: insert.excluded[name] for name in rows[0] if name not in key and name not in kept}
    if rest:
        connection.execute(insert.on_conflict_do_update(index_elements=key, set_=rest), rows)
    else:
        connection.execute(insert.on_conflict_do_nothing(index_elements=key), rows)


def inserting(dialect: str, table: sa.Table) -> Any:
    """An INSERT that may say ON CONFLICT; only what a database has in common with it is imported."""
    return importlib.import_module(f"sqlalchemy.dialects.{dialect}").insert(table)


def chunks(items: Iterable[T]) -> Iterator[list[T]]:
    """Items, as many at a time as fit into one question."""
    remaining = iter(items)
    while some := list(itertools.islice(remaining, LOOK_UP)):
        yield some


def _engine(url: sa.URL, *, is_dry: bool) -> tuple[sa.Engine, str | None]:
    """The engine for a database, and the path of its file if it is one."""
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() != "sqlite":
        # Poolers like PgBouncer give each transaction another session: nothing may depend on what one has kept.
        arguments = {"prepare_threshold": None} if url.drivername == "postgresql+psycopg" else {}
        engine = sa.create_engine(url, pool_pre_ping=True, hide_parameters=True, connect_args=arguments)
        return (_copied(engine) if is_dry else engine), None
    path = None if url.database in {None, "", ":memory:"} else url.database
    if is_dry and path is not None:
        memory = sqlite3.connect(":memory:", check_same_thread=False)
        if Path(path).exists():
            # Where nobody writes, without the files beside it that even a reader would make.
            access = "mode=ro" if Path(f"{path}-wal").exists() else "mode=ro&immutable=1"
            uri = f"{Path(path).absolute().as_uri()}?{access}"
            with contextlib.closing(sqlite3.connect(uri, uri=True)) as source:
                source.backup(memory)
        return sa.create_engine("sqlite://", creator=lambda: memory, poolclass=sa.StaticPool), None
    if path is not None and "uri" not in url.query:
        _keep_private(path)
    engine = sa.create_engine(url, poolclass=sa.StaticPool, hide_parameters=True)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        connection.exec_driver_sql("PRAGMA synchronous=FULL")
    return engine, path


def _keep_private(path: str) -> None:
    """Let nobody but its owner read a file in which there are people's data, nor those that SQLite puts beside it."""
    with contextlib.suppress(OSError):  # the database tells what is wrong with it
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    for name in (path, f"{path}-wal", f"{path}-shm", f"{path}-journal"):
        with contextlib.suppress(OSError):
            Path(name).chmod(0o600)


def _copied(engine: sa.Engine) -> sa.Engine:
    """A copy in memory of what a PostgreSQL holds, as this version has it; the original is left as it is."""
    memory = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    with engine.connect() as source, memory.begin() as copy:
        migrate(source)
        METADATA.create_all(copy)
        for table in METADATA.sorted_tables:
            found = source.execute(sa.select(table).execution_options(yield_per=LOOK_UP))
            for rows in found.mappings().partitions():
                copy.execute(table.insert(), [dict(row) for row in rows])
        source.rollback()
    engine.dispose()
    return memory


def _unusable(error: Exception) -> ApiError:
    if isinstance(error, sa.exc.ArgumentError | ImportError):
        return ConfigurationError(
            "ledger_url is not a URL of a database that can be used here: SQLite, or PostgreSQL where"
            " target-harkster[postgres] is installed."
        )
    cause = getattr(error, "orig", None) or error
    return LedgerError(f"The ledger cannot be used ({type(cause).__name__}); check ledger_url and the database.")
