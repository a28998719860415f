"""Rows a second of target-harkster on rows that have not changed, beside a plain SDK sink that does nothing.

Both read the same messages in this process, in turns. Run: ``uv run python bench/harkster_rows.py [rows]``.
"""

import contextlib
import io
import json
import logging
import resource
import sys
import tempfile
import time
from typing import Any

from api_sandbox import HarksterScenario, RunningSandbox, Scenario, serve_in_thread
from singer_sdk import Sink, Target
from target_harkster.target import TargetHarkster
from typing_extensions import override

TURNS = 3


class NothingSink(Sink):
    @override
    def process_record(self, record: dict[str, Any], context: dict[str, Any]) -> None:
        pass

    @override
    def process_batch(self, context: dict[str, Any]) -> None:
        pass


class TargetNothing(Target):
    name = "target-nothing"
    default_sink_class = NothingSink


def messages(rows: int) -> bytes:
    properties = {
        "id": {"type": "integer"},
        "name": {"type": ["string", "null"], "maxLength": 80},
        "team": {"type": ["string", "null"]},
        "hours": {"type": ["number", "null"]},
        "done": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "day": {"type": "string", "format": "date"},
        "updated_at": {"type": "string", "format": "date-time"},
    }
    schema = {"type": "object", "properties": properties, "required": ["id"]}
    lines = [{"type": "SCHEMA", "stream": "hours", "key_properties": ["id"], "schema": schema}]
    for number in range(rows):
        record = {
            "id": number,
            "name": f"Member {number}",
            "team": f"Team {number % 17}",
            "hours": number % 4000 / 100,
            "done": number % 3 == 0,
            "tags": ["remote", "weekly"],
            "day": f"2026-{number % 12 + 1:02}-{number % 28 + 1:02}",
            "updated_at": f"2026-03-{number % 28 + 1:02}T12:{number % 60:02}:00Z",
        }
        lines.append({"type": "RECORD", "stream": "hours", "record": record})
    lines.append({"type": "STATE", "value": {"rows": rows}})
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def seconds(target: Target, given: bytes) -> float:
    begin = time.perf_counter()
    is_harkster = isinstance(target, TargetHarkster)
    with contextlib.redirect_stdout(io.StringIO()):
        target.listen(io.BytesIO(given) if is_harkster else io.StringIO(given.decode()))  # type: ignore[arg-type]
    return time.perf_counter() - begin


def measure(sandbox: RunningSandbox, folder: str, rows: int) -> None:
    given = messages(rows)
    config = {
        "access_token": sandbox.harkster.access_token,
        "api_url": sandbox.harkster.api_url,
        "channel": sandbox.harkster.channel("Announcements"),
        "ledger_url": f"sqlite:///{folder}/ledger.db",
        "reject_path": f"{folder}/rejects",
        "streams": {"hours": {"mode": "upsert"}},
        "first_run": "baseline",
    }
    first = seconds(TargetHarkster(config=config), given)
    print(f"first run, all recorded: {rows / first:,.0f} rows/s")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    best: dict[str, float] = {}
    for _ in range(TURNS):
        sandbox.reset()
        for name, target in (("plain", TargetNothing(config={})), ("harkster", TargetHarkster(config=config))):
            best[name] = max(best.get(name, 0), rows / seconds(target, given))
        print({name: f"{rate:,.0f} rows/s" for name, rate in best.items()}, sandbox.report().outcomes)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024 - memory
    print(f"{best['harkster'] / best['plain']:.1f} times the plain sink; memory {memory} MB, grown by {grown} MB")


def main() -> None:
    logging.disable(logging.WARNING)
    with (
        serve_in_thread(Scenario(harkster=HarksterScenario(requests_per_second=None))) as sandbox,
        tempfile.TemporaryDirectory() as folder,
    ):
        measure(sandbox, folder, int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)


if __name__ == "__main__":
    main()
