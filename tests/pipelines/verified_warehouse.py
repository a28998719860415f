"""Tables that a tap and the loader have filled, for `singer-http verify`."""

from __future__ import annotations

import json
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner
from singer_http.__main__ import main

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from api_sandbox import RunningSandbox

    from demo.postgres import Postgres

SCHEMA = "verified"
OWNER = "organizationId"
SOME = "(SELECT id FROM leads ORDER BY id LIMIT 1)"


def copied(change: str) -> str:
    """A query that adds a copy of a lead, with a change."""
    one = "CREATE TABLE one AS SELECT * FROM leads ORDER BY id LIMIT 1"
    return f"{one}; UPDATE one SET {change}; INSERT INTO leads TABLE one; DROP TABLE one"


@dataclass(frozen=True)
class Warehouse:
    """Tables that a tap and the loader have filled, and the report of the tap's last run."""

    postgres: Postgres
    sandbox: RunningSandbox
    folder: Path
    programs: Path

    @property
    def report(self) -> Path:
        return self.folder / "report.json"

    def load(
        self, more: Sequence[dict[str, Any]] = (), code: int = 0, *, use_copy: bool = True, **settings: Any
    ) -> None:
        """Run the tap, and the loader on what it wrote and some more."""
        hustle = self.sandbox.hustle
        tap = {
            "client_id": hustle.client_id,
            "client_secret": hustle.client_secret,
            "api_url": hustle.api_url,
            "requests_per_second": 5000,
            "page_size": 7,
            "report_path": str(self.report),
            **settings,
        }
        loader = {"sqlalchemy_url": self.postgres.sqlalchemy_url, "default_target_schema": SCHEMA, "use_copy": use_copy}
        for name, content in (("tap", tap), ("loader", loader)):
            (self.folder / f"{name}.json").write_text(json.dumps(content))
        read = subprocess.run(
            [self.programs / "tap-hustle", "--config", self.folder / "tap.json"], capture_output=True, check=False
        )
        assert read.returncode == code, read.stderr.decode()[-2000:]
        subprocess.run(
            [self.programs / "target-postgres", "--config", self.folder / "loader.json"],
            input=b"\n".join([read.stdout.strip(), *(json.dumps(message).encode() for message in more)]),
            capture_output=True,
            check=True,
        )

    def report_with(self, stream: str, **told: Any) -> Path:
        """The report, but for what it tells of a stream."""
        report = json.loads(self.report.read_text())
        report["streams"][stream] |= told
        path = self.folder / "other.json"
        path.write_text(json.dumps(report))
        return path

    def do(self, query: str) -> None:
        with self.postgres.connect() as connection:
            connection.execute(f"SET search_path TO {SCHEMA}; {query}")

    @contextmanager
    def changed(self, table: str, *queries: str) -> Iterator[None]:
        """Have a table changed in the block."""
        self.do(f"CREATE TABLE kept AS TABLE {table}")
        try:
            for query in queries:
                self.do(query)
            yield
        finally:
            self.do(f"DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept; DROP TABLE kept")

    def verify(self, report: Path | None = None) -> tuple[int, dict[str, str], str]:
        """Run the command: its exit code, what it says of each stream, and its last line."""
        path = report or self.report
        run = CliRunner().invoke(main, ["verify", str(path), "--url", self.postgres.sqlalchemy_url, "--schema", SCHEMA])
        *streams, last = run.output.splitlines()
        return run.exit_code, dict(line.split(": ", 1) for line in streams), last
