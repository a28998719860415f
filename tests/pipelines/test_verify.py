"""`singer-http verify` finds each row that is missing, too many or another, and claims no more than was read."""

from __future__ import annotations

import json
import sys
from array import array
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest
from api_sandbox import Fault, Forbidden
from click.testing import CliRunner
from msgspec.structs import asdict
from singer_http.__main__ import main
from singer_http.report.document import Document, StreamReport
from singer_http.report.keys import distinct, hasher

from tests.pipelines.verified_warehouse import OWNER, SCHEMA, SOME, Warehouse, copied
from tests.run_reports import run_report

if TYPE_CHECKING:
    from pathlib import Path

    from demo.postgres import Postgres


DIFFERENCES: dict[str, tuple[str, str]] = {
    "one missing": (f"DELETE FROM leads WHERE id IN {SOME}", "1 row missing of 60."),
    "one marked as deleted": (f"UPDATE leads SET _sdc_deleted_at = now() WHERE id IN {SOME}", "1 row missing of 60."),
    "another key": (f"UPDATE leads SET id = 'other' WHERE id IN {SOME}", "keys differ."),
    "one too many of this run": (
        copied("id = 'new'"),
        "1 row too many: 60 sent, 61 there.",
    ),
    "one too many of no run": ("INSERT INTO leads (id) VALUES ('new')", "1 row too many, which no run has sent."),
    "one missing and one of no run": (
        f"DELETE FROM leads WHERE id IN {SOME}; INSERT INTO leads (id) VALUES ('new')",
        "1 row missing of 60. 1 row too many, which no run has sent.",
    ),
    "another partition": (
        f"""UPDATE leads SET "{OWNER}" = 'elsewhere', id = 'other' WHERE id IN {SOME}""",
        "keys differ.",
    ),
}


def test_differences_are_found_and_nothing_else(new_warehouse: Warehouse) -> None:
    warehouse = new_warehouse
    warehouse.load()
    code, said, last = warehouse.verify()
    assert code == 0, said
    assert set(said) == set(warehouse.sandbox.truth.ids)
    assert said["leads"] == "60 rows sent, all there."
    assert "it read 8 of 8 streams whole" in last
    with warehouse.postgres.connect() as connection:
        (owner,) = connection.execute(f'SELECT "{OWNER}" FROM {SCHEMA}.leads ORDER BY id LIMIT 1').fetchone() or ("",)
    for name, (query, difference) in DIFFERENCES.items():
        with warehouse.changed("leads", query):
            code, said, last = warehouse.verify()
        assert code == 1, name
        assert difference in said["leads"], name
        assert (f"{OWNER} {owner}: " in said["leads"]) is ("of no run" not in name or "missing" in name), name
        assert last.endswith("sent, in leads."), name
        assert said["tags"].endswith(" sent, all there.")
    with warehouse.changed("tags", "DROP TABLE tags CASCADE; CREATE TABLE tags AS TABLE kept; DELETE FROM tags"):
        code, said, _ = warehouse.verify()
    assert code == 1
    assert "missing of" in said["tags"]

    rows_of_other_runs(warehouse, owner)


def rows_of_other_runs(warehouse: Warehouse, owner: str) -> None:
    """What is said of rows that this run has not sent, or that another has sent again."""
    # What is gone in the API stays, unless the run had it removed.
    older = "_sdc_extracted_at = _sdc_extracted_at - interval '1 day'"
    with warehouse.changed("leads", copied(f"id = 'gone', {older}")):
        code, said, _ = warehouse.verify()
        assert code == 0
        assert said["leads"] == "60 rows sent, all there. 1 row of earlier runs stay, which it did not find again."
        activated = warehouse.report_with("leads", activated=True)
        code, said, _ = warehouse.verify(activated)
        assert code == 1
        assert "1 row too many, which the API no longer has" in said["leads"]
        warehouse.do("UPDATE leads SET _sdc_deleted_at = now() WHERE id = 'gone'")
        assert warehouse.verify(activated)[1]["leads"] == "60 rows sent, all there."
    # What a later run wrote again cannot be judged any more.
    with warehouse.changed("leads", f"UPDATE leads SET {older.replace('-', '+')} WHERE id IN {SOME}"):
        code, said, _ = warehouse.verify()
    assert code == 0  # it is all there yet
    with warehouse.changed("leads", f"UPDATE leads SET {older.replace('-', '+')}, id = 'new' WHERE id IN {SOME}"):
        code, said, _ = warehouse.verify()
    assert code == 1
    assert said["leads"].startswith("1 row newer than this run: verify a run before the next one begins.")
    # Other runs may read other organizations meanwhile, where this one was told to read some.
    chosen = warehouse.report_with("leads", whole=False, remark="shard chose a part of the account")
    with warehouse.changed("leads", copied(f"""id = 'of another', "{OWNER}" = 'another'""")):
        assert warehouse.verify()[0] == 1
        code, said, _ = warehouse.verify(chosen)
        assert code == 0
        assert said["leads"].startswith("60 rows sent, all there. Not compared as a whole")
        warehouse.do(f"DELETE FROM leads WHERE id IN {SOME}")
        code, said, _ = warehouse.verify(chosen)
        assert code == 1
        assert f"{OWNER} {owner}: 1 row missing of 20." in said["leads"]
    rows_that_other_runs_send_too(warehouse, chosen)


def rows_that_other_runs_send_too(warehouse: Warehouse, chosen: Path) -> None:
    """What is said where rows do not tell of which organization they are, or when they were read."""
    older = "_sdc_extracted_at = _sdc_extracted_at - interval '1 day'"
    parts = json.loads(chosen.read_text())["streams"]["leads"]["partitions"]
    shared = warehouse.report_with(
        "leads", whole=False, partitions=[part | {"partition": {"other": 1}} for part in parts]
    )
    with warehouse.changed(
        "leads", copied("id = 'of another'"), f"UPDATE leads SET {older.replace('-', '+')} WHERE id IN {SOME}"
    ):
        code, said, last = warehouse.verify(shared)
        assert code == 0
        assert said["leads"] == "60 rows sent, 61 there since. Not compared: other runs may send the same rows."
        every = sum(stream["rows"] for stream in json.loads(shared.read_text())["streams"].values())
        assert last.startswith(f"{every - 60:,} of {every:,} rows that ")
        # Rows of earlier runs do not stand for those that this run sent.
        warehouse.do(f"UPDATE leads SET {older.replace('1 day', '2 days')} WHERE id IN {SOME} OR id = 'of another'")
        code, said, _ = warehouse.verify(shared)
        assert code == 1
        assert said["leads"].startswith("1 row missing of 60.")
        warehouse.do(f"DELETE FROM leads WHERE id IN {SOME} OR id = 'of another'")
        assert warehouse.verify(shared)[0] == 1
    # Of rows that were sent as deleted, the report does not tell which.
    with_deleted = warehouse.report_with("leads", rows=61, deleted=1, whole=False, remark="only what is new was sent")
    code, said, _ = warehouse.verify(with_deleted)
    assert code == 0
    assert said["leads"].startswith("60 rows sent, all there. 1 row sent as deleted, not compared. Not compared as a")
    # Rows from BATCH files do not tell when they were read: only a table that holds nothing else can be judged.
    with warehouse.changed("leads", "UPDATE leads SET _sdc_extracted_at = NULL"):
        assert warehouse.verify()[0] == 0
        warehouse.do("INSERT INTO leads (id) VALUES ('old')")
        code, said, _ = warehouse.verify()
    assert code == 1
    assert "60 rows sent, 61 there, which do not tell by _sdc_extracted_at" in said["leads"]


def test_no_more_is_claimed_than_was_read(new_warehouse: Warehouse) -> None:
    warehouse, sandbox = new_warehouse, new_warehouse.sandbox
    sandbox.run(lambda running: setattr(running.hustle, "forbidden", (Forbidden(organizations=(1,)),)))
    sandbox.faults.replace(Fault(kind="status", status=400, path="/leads", organization=0, page=2))
    try:
        warehouse.load(code=1)
    finally:
        sandbox.faults.clear()
        sandbox.run(lambda running: setattr(running.hustle, "forbidden", ()))
    code, said, last = warehouse.verify()
    assert code == 0
    assert "Not compared as a whole (failed): a part of it could not be read." in said["leads"]
    assert "Not compared as a whole (forbidden)" in said["groups"]
    assert "(incomplete)" in last
    assert "it read 5 of 8 streams whole" in last
    # What belongs to earlier runs is not this one's business, and what it sent is.
    with warehouse.changed("leads", "INSERT INTO leads (id, _sdc_extracted_at) VALUES ('old', '2020-01-01')"):
        assert warehouse.verify()[0] == 0
    with warehouse.changed("leads", f"DELETE FROM leads WHERE id IN {SOME}"):
        assert "1 row missing of 27" in warehouse.verify()[1]["leads"]


MAPS = {
    "leads": {"__alias__": "people", "id": "md5(id)", OWNER: None, "__filter__": "id < 'm'"},
    "tag_names": {"__source__": "tags", "__key_properties__": ["name"], "name": "name", "id": None},
    "rows": {"__source__": "agents", "__key_properties__": []},
    "custom_fields": None,
}


def test_without_a_driver_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "psycopg", None)
        run = CliRunner().invoke(main, ["verify", str(tmp_path / "x"), "--url", "postgresql://", "--schema", SCHEMA])
    assert run.exit_code == 1
    assert "install singer-http[verify]" in run.output


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "cannot be read"),
        ("{}", "is no report of a run"),
        ("no JSON", "is no report of a run"),
    ],
)
def test_a_report_that_is_none(tmp_path: Path, content: str | None, sentence: str) -> None:
    path = tmp_path / "report.json"
    if content is not None:
        path.write_text(content)
    run = CliRunner().invoke(main, ["verify", str(path), "--url", "postgresql://nobody@/none", "--schema", SCHEMA])
    assert run.exit_code == 1
    assert sentence in run.output


def test_a_run_that_did_not_end_and_a_database_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    for reason, sentence in (
        ("running", "has not ended, or was killed"),
        ("complete", "The database cannot be asked (OperationalError; check the URL, "),
    ):
        Document(run_report(reason), {}).write(path)
        url = f"postgresql+psycopg://nobody:secret@/none?host={tmp_path}"
        found = CliRunner().invoke(main, ["verify", str(path), "--url", url, "--schema", SCHEMA])
        assert found.exit_code == 1
        assert sentence in found.output
        assert "secret" not in found.output


def test_a_database_without_an_encoding(postgres: Postgres, tmp_path: Path) -> None:
    name, now = f"{postgres.database}_ascii", datetime.now(timezone.utc).isoformat()
    rows = [{"id": text} for text in ("a", "\u00e9", "\U0001f600")]
    keys = distinct([array("Q", map(hasher(["id"], {"id": {"type": "string"}}), rows))])
    stream = StreamReport(
        sources=["tags"],
        key=["id"],
        rows=3,
        deleted=0,
        keys=keys,
        first=now,
        last=now,
        ended="complete",
        whole=True,
        remark=None,
        activated=False,
        warnings=[],
        seconds=0,
        partitions=[],
    )
    report = tmp_path / "report.json"
    Document(run_report("complete"), {"tags": stream}).write(report)
    with postgres.connect() as connection:
        connection.execute(f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
    database = replace(postgres, database=name)
    with database.connect() as connection:
        connection.execute("SET client_encoding TO 'UTF8'")
        connection.execute(
            f"CREATE SCHEMA {SCHEMA}; CREATE TABLE {SCHEMA}.tags (id text, _sdc_extracted_at timestamptz)"
        )
        for row in rows:
            connection.execute(f"INSERT INTO {SCHEMA}.tags VALUES (%s, %s)", [row["id"], now])
    run = CliRunner().invoke(main, ["verify", str(report), "--url", database.sqlalchemy_url, "--schema", SCHEMA])
    assert run.output.startswith("tags: 3 rows sent, all there.\n")
    assert run.exit_code == 0


@pytest.mark.parametrize("reason", ["failed", "stopped", "incomplete", "early", "complete"])
def test_a_run_that_did_not_come_to_its_end(new_warehouse: Warehouse, reason: str) -> None:
    Document(run_report(reason), {}).write(new_warehouse.report)
    code, _, last = new_warehouse.verify()
    broken = reason in {"failed", "stopped"}
    assert code == broken
    assert f"({reason}) sent are stored" in last
    assert ("It did not come to its end: its report and its log say why." in last) is broken


KEYS: dict[str, tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]] = {
    "texts": (
        {"id": {"type": "string"}},
        [{"id": text} for text in ("a", "A", "\u00e9", "e\u0301", "\U0001f600", 'it\'s "so" \\ \t', "", " x ", "7")],
    ),
    "numbers": ({"id": {"type": "integer"}}, [{"id": number} for number in (0, -1, 7, 2**31, 2**53 + 1)]),
    "times": (
        {"id": {"type": "string", "format": "date-time"}},
        [
            {"id": f"2026-03-{day:02}T{time}"}
            for day in (1, 29)
            for time in ("01:02:03Z", "23:59:59.5+02:00", "00:00:00")
        ],
    ),
    "dates": ({"id": {"type": "string", "format": "date"}}, [{"id": "2026-02-28"}, {"id": "2026-03-01"}]),
    "pairs": (
        {"a": {"type": ["integer", "null"]}, "b": {"type": "string"}},
        [{"a": a, "b": b} for a in (1, 12) for b in ("2", "22", "x")],
    ),
}


def test_maps_flattening_and_keys_of_any_type(new_warehouse: Warehouse) -> None:
    warehouse, now = new_warehouse, datetime.now(timezone.utc).isoformat()
    messages: list[dict[str, Any]] = []
    for name, (properties, rows) in KEYS.items():
        schema = {"type": "object", "properties": properties}
        messages.append({"type": "SCHEMA", "stream": name, "schema": schema, "key_properties": list(properties)})
        messages += [{"type": "RECORD", "stream": name, "time_extracted": now, "record": row} for row in rows]
    warehouse.load(messages, stream_maps=MAPS, flattening_enabled=True, flattening_max_depth=2)
    code, said, _ = warehouse.verify()
    assert code == 0, said
    assert {"people", "tag_names", "rows", "agents"} <= said.keys()
    assert not {"leads", "custom_fields"} & said.keys()
    with warehouse.changed("people", f"DELETE FROM people WHERE id IN {SOME.replace('leads', 'people')}"):
        code, said, _ = warehouse.verify()
    assert code == 1
    assert "1 row missing" in said["people"]
    with warehouse.changed("rows", "INSERT INTO rows SELECT * FROM rows LIMIT 1"):
        code, said, _ = warehouse.verify()
    assert code == 1
    assert "1 row too many" in said["rows"]

    report = json.loads(warehouse.report.read_text())
    template = report["streams"].pop("rows")
    for name, (properties, rows) in KEYS.items():
        keys = distinct([array("Q", map(hasher(list(properties), properties), rows))])
        assert keys.count == len(rows)
        told = {"key": list(properties), "keys": asdict(keys), "rows": len(rows), "first": now, "last": now}
        report["streams"][name] = {**template, **told, "partitions": []}
    path = warehouse.folder / "keys.json"
    path.write_text(json.dumps(report))
    code, said, _ = warehouse.verify(path)
    assert code == 0, said
    assert all(said[name] == f"{len(rows)} rows sent, all there." for name, (_, rows) in KEYS.items())
