"""`singer-http verify` tells what a run has stored from what earlier runs have, under the same keys."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest

from tests.pipelines.verified_warehouse import OWNER, SCHEMA, SOME, Warehouse, copied

UNTOLD = "60 rows sent, all there. An earlier run may have sent them: they do not tell by _sdc_extracted_at."


def test_rows_of_earlier_runs_do_not_count_as_those_of_this_one(new_warehouse: Warehouse) -> None:
    warehouse = new_warehouse
    warehouse.load()
    with warehouse.postgres.connect() as connection:
        (owner,) = connection.execute(f'SELECT "{OWNER}" FROM {SCHEMA}.leads ORDER BY id LIMIT 1').fetchone() or ("",)
    older = "_sdc_extracted_at = _sdc_extracted_at - interval '1 day'"
    with warehouse.changed("leads", f"UPDATE leads SET {older} WHERE id IN {SOME}"):
        for report in (warehouse.report, warehouse.report_with("leads", whole=False, remark="only a part was read")):
            code, said, last = warehouse.verify(report)
            assert code == 1
            assert said["leads"] == (
                f"1 row of 60 there only as an earlier run sent them. Of {OWNER} {owner}: 1 row of 20 there only as an"
                " earlier run sent them."
            )
            assert last.endswith("sent, in leads.")
        # What a later run has sent again was there.
        warehouse.do(f"UPDATE leads SET {older.replace('-', '+')} WHERE id NOT IN {SOME}")
        assert warehouse.verify()[1]["leads"].startswith("1 row of 60 there only as an earlier run sent them.")
        warehouse.do(f"UPDATE leads SET {older.replace('1 day', '-1 day')} WHERE id IN {SOME}")
        assert warehouse.verify()[1]["leads"] == "60 rows sent, all there."
        # With a row more, the sums do not tell which keys are there.
        warehouse.do(copied("id = 'gone'"))
        warehouse.do(f"UPDATE leads SET {older.replace('1 day', '2 days')}")
        for activated in (False, True):
            code, said, _ = warehouse.verify(warehouse.report_with("leads", activated=activated))
            assert code == 1
            assert said["leads"].startswith(
                "60 rows missing of 60. 61 rows there as earlier runs sent them, which may be among these. Of "
            )
    with warehouse.changed("leads", f"UPDATE leads SET _sdc_extracted_at = NULL WHERE id IN {SOME}"):
        code, said, _ = warehouse.verify()
        assert code == 1
        assert said["leads"].startswith("1 row of 60 there without _sdc_extracted_at, so not as this run sent them.")
    # Columns may have other types, and keep less of a time.
    for kind in ("timestamp(3)", "timestamptz(3) USING _sdc_extracted_at AT TIME ZONE 'UTC'", "text"):
        warehouse.do(f"ALTER TABLE leads ALTER _sdc_extracted_at TYPE {kind}")
        assert warehouse.verify()[1]["leads"] == "60 rows sent, all there.", kind
    warehouse.do("ALTER TABLE leads DROP _sdc_extracted_at")
    code, said, _ = warehouse.verify()
    assert code == 0
    assert said["leads"] == UNTOLD


@pytest.mark.parametrize("use_copy", [True, False])
def test_a_run_that_stores_nothing_is_found_in_any_time_zone(new_warehouse: Warehouse, *, use_copy: bool) -> None:
    warehouse = new_warehouse
    warehouse.do(f"ALTER DATABASE {warehouse.postgres.database} SET timezone = 'America/New_York'")
    warehouse.load(use_copy=use_copy)
    code, said, _ = warehouse.verify()
    assert code == 0
    assert said["leads"] == "60 rows sent, all there."
    report = json.loads(warehouse.report.read_text())
    for stream in report["streams"].values():
        for name in ("first", "last"):
            stream[name] = (datetime.fromisoformat(stream[name]) + timedelta(days=1)).isoformat()
    warehouse.report.write_text(json.dumps(report))
    code, said, _ = warehouse.verify()
    assert code == 1
    assert said["leads"].startswith("60 rows of 60 there only as an earlier run sent them.")


def test_rows_of_batch_files_do_not_tell_of_which_run_they_are(new_warehouse: Warehouse) -> None:
    warehouse = new_warehouse
    batches = {"encoding": {"format": "jsonl", "compression": "gzip"}, "storage": {"root": warehouse.folder.as_uri()}}
    warehouse.load()
    warehouse.load(batch_config=batches)
    code, said, _ = warehouse.verify()
    assert code == 0
    assert said["leads"] == UNTOLD
    kept = warehouse.report.read_text()
    warehouse.load()
    code, said, _ = warehouse.verify()
    assert code == 0
    assert said["leads"] == "60 rows sent, all there."
    # Where BATCH files were not loaded, the rows still tell of the run before.
    with warehouse.changed("leads", "UPDATE leads SET _sdc_extracted_at = _sdc_extracted_at - interval '1 day'"):
        warehouse.report.write_text(kept)
        code, said, _ = warehouse.verify()
    assert code == 1
    assert said["leads"].startswith("60 rows of 60 there only as an earlier run sent them.")
