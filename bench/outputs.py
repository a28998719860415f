"""Counts what a program put out. A program of its own, so that the one that measures stays small.

Usage: ``outputs.py count FORMAT FILE…``, ``outputs.py middle FILE STATE``, ``outputs.py union STATE FIRST SECOND``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_decode = msgspec.json.Decoder().decode


def main(action: str, *arguments: str) -> None:
    """Print the answer as JSON."""
    actions: dict[str, Callable[..., dict[str, int]]] = {"count": count, "middle": middle, "union": union}
    print(json.dumps(actions[action](*arguments)))


def count(form: str, *files: str) -> dict[str, int]:
    """How many leads there are, how many different ones, and how many bytes of STATE."""
    read = {"singer": _singer, "airbyte": _airbyte, "dlt": _dlt}[form]
    records, state = 0, 0
    ids: set[str] = set()
    for file in files:
        for found in read(Path(file)):
            if isinstance(found, int):
                state += found
            else:
                records += 1
                ids.add(found)
    return {"records": records, "distinct": len(ids), "state": state}


def middle(file: str, state: str) -> dict[str, int]:
    """Store the STATE nearest to the middle of the records, the last one left out; and tell its line."""
    places: list[tuple[int, int, Any]] = []
    records = 0
    for number, message in enumerate(_messages(Path(file))):
        records += message["type"] == "RECORD"
        if message["type"] == "STATE":
            places.append((records, number, message["value"]))
    _, number, value = min(places[:-1], key=lambda place: abs(place[0] - records / 2))
    Path(state).write_text(json.dumps(value), encoding="utf-8")
    return {"line": number}


def union(line: str, first: str, second: str) -> dict[str, int]:
    """How many leads the first run had until a line and the second one has, and how many are in both."""
    before = {
        message["record"]["id"]
        for number, message in enumerate(_messages(Path(first)))
        if number < int(line) and message["type"] == "RECORD"
    }
    after = [found for found in _singer(Path(second)) if isinstance(found, str)]
    return {
        "distinct": len(before.union(after)),
        "twice": sum(found in before for found in after),
        "after": len(after),
    }


def _singer(file: Path) -> Iterator[str | int]:
    with file.open("rb") as lines:
        for line in lines:
            message = _decode(line)
            if message["type"] == "RECORD" and message["stream"] == "leads":
                yield message["record"]["id"]
            elif message["type"] == "STATE":
                yield len(line)


def _airbyte(file: Path) -> Iterator[str | int]:
    for message in _messages(file):
        if message["type"] == "RECORD" and message["record"]["stream"] == "leads":
            yield message["record"]["data"]["id"]


def _dlt(directory: Path) -> Iterator[str | int]:
    for file in directory.glob("*/normalize/extracted/*/new_jobs/leads.*.typed-jsonl"):
        with file.open("rb") as lines:
            for line in lines:
                yield from (record["id"] for record in _decode(line))


def _messages(file: Path) -> Iterator[dict[str, Any]]:
    with file.open("rb") as lines:
        for line in lines:
            yield _decode(line)


if __name__ == "__main__":
    main(*sys.argv[1:])
