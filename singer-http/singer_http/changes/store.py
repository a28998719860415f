"""The database that remembers what was sent: SQLite or PostgreSQL, in transactions that are short."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from singer_http.http.errors import ConfigurationError, FatalError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

KEPT_DAYS = 90
"""Runs, and marks of rows that are gone, are kept for so long. A STATE that is older is not believed."""
_LOOK_UP = 500
"""Keys in one query. The oldest versions of SQLite allow 999 variables."""
_SCANNED = 5000
"""Rows in one query of a scan."""
_CACHE_KIB = 16_384

_METADATA = sa.MetaData()
_NAMES = sa.Table(
    "changes_names",
    _METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
)
_READS = sa.Table(
    "changes_reads",
    _METADATA,
    sa.Column("read", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("newest", sa.BigInteger, nullable=False),
)
_RUNS = sa.Table(
    "changes_runs",
    _METADATA,
    sa.Column("read", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("token", sa.Text),  # null where no STATE of the run is believed any more
    sa.Column("fingerprint", sa.Text, nullable=False),
    sa.Column("began", sa.Float, nullable=False),
)
_ROWS = sa.Table(
    "changes_rows",
    _METADATA,
    sa.Column("table_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("key", sa.LargeBinary, primary_key=True),
    sa.Column("place", sa.Integer, nullable=False),  # counts the rows of a table
    sa.Column("digest", sa.BigInteger),  # null for a row that is gone
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("part", sa.Integer, nullable=False),
    sqlite_with_rowid=False,  # it would store each key twice
)


class Row(NamedTuple):
    """What the store knows of a row."""

    place: int  # its number among the rows of its table
    digest: int | None  # of the record as it was sent, None for a row that is gone
    number: int  # of the run that sent it so first
    part: int  # the partition that it was in


@dataclass(frozen=True, slots=True)
class Run:
    """One read of a stream, as the store counts them."""

    read: int  # which list is read, with which settings
    number: int
    token: str
    believed: int  # the number of the run that a STATE is from, 0 where the store does not know it
    is_same: bool  # whether that run wrote its records as this one does

    @property
    def claim(self) -> str:
        """What STATE says of it."""
        return f"{self.number}-{self.token}"


class Store:
    """Remembers what was sent, in a file or in the database of a URL.

    An SQLite file belongs to one run at a time. In PostgreSQL, a run that begins to read a stream takes it over from
    any other that still reads it.

    Raises:
        ConfigurationError: It cannot be used.
    """

    def __init__(self, place: str | Path) -> None:
        try:
            is_path = isinstance(place, Path)
            self._engine = _engine(sa.URL.create("sqlite", database=str(place)) if is_path else sa.make_url(str(place)))
            with self._engine.begin() as connection:
                _METADATA.create_all(connection)
        except sa.exc.OperationalError as error:
            raise ConfigurationError(
                f"changes_url: the database cannot be used ({error.orig}). If another run uses it, wait for its end."
            ) from None
        except (sa.exc.SQLAlchemyError, ImportError):
            raise ConfigurationError(
                "changes_url is not a URL of a database that can be used here: SQLite, or PostgreSQL where the extra"
                " postgres is installed."
            ) from None
        dialect = importlib.import_module(f"sqlalchemy.dialects.{self._engine.dialect.name}")
        insert = dialect.insert(_ROWS)
        values = {name: insert.excluded[name] for name in Row._fields}
        self._put = insert.on_conflict_do_update(index_elements=["table_id", "key"], set_=values)
        self._insert = dialect.insert

    def close(self) -> None:
        """Close the database."""
        self._engine.dispose()

    def begin(self, read: str, claim: str | None, fingerprint: str, now: float) -> Run:
        """Begin to read a stream.

        Args:
            read: Which list is read, with which settings.
            claim: What STATE says of the run that it is from.
            fingerprint: Of how records are written.
            now: Seconds since 1970.
        """
        with self._transaction() as connection:
            own = self._id(connection, read)
            ours = _RUNS.c.read == own
            connection.execute(self._insert(_READS).values(read=own, newest=0).on_conflict_do_nothing())
            # From here on, whoever read it before writes nothing more.
            connection.execute(_READS.update().where(_READS.c.read == own).values(newest=_READS.c.newest + 1))
            number: int = connection.execute(sa.select(_READS.c.newest).where(_READS.c.read == own)).scalar_one()
            old = sa.and_(ours, _RUNS.c.began < now - KEPT_DAYS * 86_400)
            last = sa.select(sa.func.max(_RUNS.c.number)).where(old).scalar_subquery()
            tables = sa.select(_NAMES.c.id).where(_NAMES.c.name.startswith(f"{read} ", autoescape=True))
            is_gone = sa.and_(_ROWS.c.table_id.in_(tables), _ROWS.c.digest.is_(None))
            connection.execute(_ROWS.delete().where(is_gone, _ROWS.c.number <= last))
            connection.execute(_RUNS.delete().where(old))
            told, token = _parsed(claim)
            known = connection.execute(sa.select(_RUNS).where(ours, _RUNS.c.number == told)).first()
            is_believed = known is not None and known.token == token
            if not is_believed and (told >= number or (known is not None and known.token is not None)):
                # STATE was written with another store, or with this one before an older copy was put in its place: from
                # STATEs older than the copy nobody could tell.
                connection.execute(_RUNS.update().where(ours).values(token=None))
            is_same = known is not None and known.fingerprint == fingerprint
            run = Run(own, number, secrets.token_hex(4), told if is_believed else 0, is_believed and is_same)
            row = {"read": own, "number": number, "token": run.token, "fingerprint": fingerprint, "began": now}
            connection.execute(_RUNS.insert().values(row))
            return run

    def id(self, name: str) -> int:
        """The number that stands for a name."""
        with self._transaction() as connection:
            return self._id(connection, name)

    def next_place(self, table: int) -> int:
        """The place for a new row of a table."""
        query = sa.select(sa.func.max(_ROWS.c.place)).where(_ROWS.c.table_id == table)
        with self._transaction() as connection:
            newest: int | None = connection.execute(query).scalar()
        return 0 if newest is None else newest + 1

    def find(self, table: int, keys: Sequence[bytes]) -> dict[bytes, Row]:
        """What is known of the rows with these keys."""
        with self._transaction() as connection:
            return {
                key: Row(*rest)
                for at in range(0, len(keys), _LOOK_UP)
                for key, *rest in connection.execute(_FIND, {"table_id": table, "keys": keys[at : at + _LOOK_UP]})
            }

    def scan(self, table: int) -> Iterator[list[tuple[bytes, Row]]]:
        """All rows of a table, some at a time."""
        after = b""
        while True:
            with self._transaction() as connection:
                found = connection.execute(_SCAN, {"table_id": table, "after": after}).all()
            if not found:
                return
            after = found[-1][0]
            yield [(key, Row(*rest)) for key, *rest in found]

    def put(self, run: Run, table: int, rows: Mapping[bytes, Row]) -> None:
        """Remember rows, durably.

        Raises:
            FatalError: Another run has begun to read the stream.
        """
        with self._transaction() as connection:
            ours = sa.and_(_READS.c.read == run.read, _READS.c.newest == run.number)
            if not connection.execute(_READS.update().where(ours).values(newest=run.number)).rowcount:
                raise FatalError(
                    "Another run has begun to read the same stream with the same changes_url, so this one ends. Let one"
                    " run end before the next begins."
                )
            if rows:
                connection.execute(
                    self._put, [{"table_id": table, "key": key, **row._asdict()} for key, row in rows.items()]
                )

    def _id(self, connection: sa.Connection, name: str) -> int:
        connection.execute(self._insert(_NAMES).values(name=name).on_conflict_do_nothing())
        return int(connection.execute(sa.select(_NAMES.c.id).where(_NAMES.c.name == name)).scalar_one())

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except sa.exc.SQLAlchemyError as error:
            cause = getattr(error, "orig", None) or error
            raise FatalError(
                f"The database of changes_url fails ({type(cause).__name__}): look at it, and run again."
            ) from None


_FIND = sa.select(_ROWS.c.key, *(_ROWS.c[name] for name in Row._fields)).where(
    _ROWS.c.table_id == sa.bindparam("table_id"), _ROWS.c.key.in_(sa.bindparam("keys", expanding=True))
)
_SCAN = (
    sa.select(_ROWS.c.key, *(_ROWS.c[name] for name in Row._fields))
    .where(_ROWS.c.table_id == sa.bindparam("table_id"), _ROWS.c.key > sa.bindparam("after"))
    .order_by(_ROWS.c.key)
    .limit(_SCANNED)
)


def _parsed(claim: str | None) -> tuple[int, str]:
    found = re.fullmatch(r"(\d{1,15})-(\w+)", claim or "")
    return (int(found[1]), found[2]) if found else (0, "")


def _engine(url: sa.URL) -> sa.Engine:
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() != "sqlite":
        # Poolers like PgBouncer change sessions between transactions: prepared statements would be lost.
        arguments: dict[str, Any] = {"prepare_threshold": None} if url.drivername == "postgresql+psycopg" else {}
        return sa.create_engine(url, pool_pre_ping=True, hide_parameters=True, connect_args=arguments)
    if url.database:
        with contextlib.suppress(OSError):  # opening the database says what is wrong
            Path(url.database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(url.database, os.O_RDWR | os.O_CREAT, 0o600))
    engine = sa.create_engine(url, poolclass=sa.StaticPool, hide_parameters=True)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA locking_mode=EXCLUSIVE")
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        connection.exec_driver_sql("PRAGMA synchronous=FULL")
        connection.exec_driver_sql(f"PRAGMA cache_size=-{_CACHE_KIB}")
    return engine
