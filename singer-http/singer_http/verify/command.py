"""The command ``singer-http verify``."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click

from singer_http.http.errors import ConfigurationError, database_reason
from singer_http.report.document import BROKEN_OFF, RUNNING, Document


@click.command()
@click.argument("report", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--url",
    envvar="VERIFY_URL",
    required=True,
    help="The database, as postgresql://user:password@host:5432/database; or set VERIFY_URL.",
)
@click.option("--schema", envvar="VERIFY_SCHEMA", required=True, help="The schema of the tables; or set VERIFY_SCHEMA.")
def verify(report: Path, url: str, schema: str) -> None:
    """Compare tables in PostgreSQL with the REPORT of the run that loaded them.

    Ends with exit code 0 if the run came to its end, the keys of all rows that it sent are there, as it sent them, and
    no others where it read everything.
    What else is in the rows is not compared, nor whether rows are gone that it sent as deleted.
    """
    try:
        import psycopg  # noqa: PLC0415

        from singer_http.verify.table import Table  # noqa: PLC0415
        from singer_http.verify.verdict import expected, judge  # noqa: PLC0415
    except ImportError:
        sys.exit("verify needs a driver for PostgreSQL: install singer-http[verify].")
    try:
        document = Document.read(report)
    except ConfigurationError as error:
        sys.exit(str(error))
    run = document.run
    if run.exit.reason == RUNNING:
        sys.exit(
            f"The run of {run.tap} that began at {run.began} has not ended, or was killed: let a run end,"
            " then verify it."
        )
    try:
        # Of a database in SQL_ASCII, texts would come as bytes.
        with psycopg.connect(re.sub(r"^(postgres\w*)\+\w+:", r"\1:", url), client_encoding="utf8") as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            connection.execute("SET LOCAL timezone = 'UTC'")
            connection.execute("SET LOCAL datestyle = 'ISO'")
            verdicts = [
                judge(name, stream, Table.find(connection, schema, name, run.began))
                for name, stream in document.streams.items()
            ]
    except psycopg.Error as error:
        sys.exit(f"The database cannot be asked ({database_reason(error)}).")
    for verdict in verdicts:
        click.echo(f"{verdict.stream}: {verdict.sentence}")
    differing = [verdict.stream for verdict in verdicts if not verdict.agrees]
    begun = f"{run.tap}'s run of {run.began[:19]} ({run.exit.reason})"
    if differing:
        sys.exit(f"What is stored differs from what {begun} sent, in {', '.join(differing)}.")
    whole = sum(stream.whole for stream in document.streams.values())
    rows = sum(expected(stream).count for stream in document.streams.values())
    compared = sum(verdict.compared for verdict in verdicts)
    stored = f"All {rows:,}" if compared == rows else f"{compared:,} of {rows:,}"
    sentence = f"{stored} rows that {begun} sent are stored; it read {whole} of {len(verdicts)} streams whole."
    if run.exit.reason in BROKEN_OFF:
        sys.exit(f"{sentence} It did not come to its end: its report and its log say why.")
    click.echo(sentence)
