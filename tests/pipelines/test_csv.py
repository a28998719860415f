"""Another kind of loader, with its validation on: CSV files hold what came, row by row."""

from __future__ import annotations

import csv
import datetime as dt
import json
import subprocess
from typing import TYPE_CHECKING

import pytest
from singer_sdk.contrib.msgspec import encoder

from tests.pipelines.test_schema_promise import RECORDS, TAPS, Records, tap

if TYPE_CHECKING:
    from pathlib import Path

    from singer_http.stream import ApiStream


@pytest.mark.parametrize("name", TAPS)
def test_every_row_is_in_the_files(name: str, programs: Path, tmp_path: Path) -> None:
    sent = {}
    lines = b""
    for stream_name in tap(name, "keep").streams:
        stream: ApiStream = tap(name, "keep").streams[stream_name]  # type: ignore[assignment]
        records = Records(stream_name)
        sent[stream_name] = stream._conform([records.of(stream) for _ in range(RECORDS)])
        about = {"schema": stream.schema, "key_properties": stream.primary_keys}
        lines += encoder.encode_lines([{"type": "SCHEMA", "stream": stream_name, **about}])
        lines += encoder.encode_lines(
            [{"type": "RECORD", "stream": stream_name, "record": record} for record in sent[stream_name]]
        )
    config = {"output_path": str(tmp_path), "validate_records": True, "escape_character": "\\"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    command = [str(programs / "target-csv"), "--config", str(tmp_path / "config.json")]
    done = subprocess.run(command, input=lines, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    for stream_name, records_sent in sent.items():
        with (tmp_path / f"{stream_name}.csv").open(newline="") as file:
            loaded = list(csv.DictReader(file, escapechar="\\"))
        assert len(loaded) == len(records_sent)
        for row, record in zip(loaded, records_sent, strict=True):
            differing = {found for found, value in record.items() if not is_same(row[found], value)}
            assert differing == set(), stream_name


def is_same(text: str, value: object) -> bool:
    """Whether the loader wrote a value: it writes times in its own way, and objects and arrays as Python does."""
    if isinstance(value, str):
        return text == value or (text[:10] == value[:10] and dt.datetime.fromisoformat(text) == to_time(value))
    if isinstance(value, float):
        return float(text) == value
    return isinstance(value, dict | list) or text == ("" if value is None else str(value))


def to_time(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text.replace("Z", "+00:00"))
