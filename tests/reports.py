"""Counts the messages of a run for itself, and holds the run's report against that."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections import defaultdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.tap_processes import Run

Report = dict[str, Any]


def key_report(keys: Iterable[tuple[Any, ...]]) -> dict[str, Any]:
    """What a report says of a set of keys."""
    texts = {"\x1f".join(map(str, key)) for key in keys}
    hashes = [int(hashlib.sha256(text.encode()).hexdigest()[:16], 16) for text in texts]
    return {"count": len(texts), "checksum": f"{sum(hashes) % 2**64:016x}"}


def sent(run: Run) -> dict[str, list[dict[str, Any]]]:
    """The rows that a run sent, in RECORD messages or in files that BATCH messages name, by stream."""
    found: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for message in run.messages:
        if message["type"] == "RECORD":
            found[message["stream"]].append(message["record"])
        for file in message.get("manifest", ()):
            content = gzip.decompress(Path(urlsplit(file).path).read_bytes())
            found[message["stream"]].extend(map(json.loads, content.splitlines()))
    return found


def agreeing(path: Path, run: Run, owner: str = "organizationId") -> Report:
    """Read the report of a run, and compare it with what the run wrote.

    Args:
        path: Where it is.
        run: The run.
        owner: The property by which rows belong to a partition, where they have it.
    """
    report: Report = json.loads(path.read_text())
    assert path.stat().st_mode & 0o777 == 0o600
    assert [other.name for other in path.parent.iterdir() if other.name.startswith(f".{path.name}")] == []
    rows = sent(run)
    keys = {message["stream"]: message["key_properties"] for message in run.of_type("SCHEMA")}
    assert {name for name, stream in report["streams"].items() if stream["rows"]} == set(rows)
    assert report["run"]["rows"] == sum(map(len, rows.values()))
    times: defaultdict[str, list[datetime]] = defaultdict(list)
    for message in run.of_type("RECORD"):
        times[message["stream"]].append(_time(message["time_extracted"]))
    for name, stream in report["streams"].items():
        own = rows.get(name, [])
        assert stream["rows"] == len(own) == sum(part["rows"] for part in stream["partitions"]), name
        if name in keys:
            assert stream["key"] == keys[name]
        if not stream["key"]:
            assert stream["keys"] is None
            continue
        assert stream["keys"] == key_report(tuple(row[key] for key in stream["key"]) for row in own), name
        if times[name]:
            assert [_time(stream["first"]), _time(stream["last"])] == [min(times[name]), max(times[name])]
        for part in stream["partitions"]:
            if part["partition"] is None or set(part["partition"]) != {owner} or any(owner not in row for row in own):
                continue
            belonging = [row for row in own if row[owner] == part["partition"][owner]]
            assert part["rows"] == len(belonging), (name, part["partition"])
            assert part["keys"] == key_report(tuple(row[key] for key in stream["key"]) for row in belonging), name
    return report


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def ends(report: Report) -> dict[str, str]:
    """How the list of each stream ended."""
    return {name: stream["ended"] for name, stream in report["streams"].items()}
