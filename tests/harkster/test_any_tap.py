"""Whatever a tap sends: it is understood, or the row is set aside with its reason, and the others are posted."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st
from target_harkster.layout.inference import inferred_fields
from target_harkster.layout.schemas import checks, faults, sample

from tests.harkster.running import Message, Target, data, record, schema, state

CASES = Path(__file__).parents[3] / "shared" / "cases"
HUGE = 10**62
DEFINITIONS = {
    "moment": {"type": ["null", "string"], "format": "date-time"},
    "nested": {"type": ["null", "integer", "array"], "items": {"$ref": "#/definitions/nested"}},
}
HOURS = {"id": {"type": "integer"}, "name": {"type": ["null", "string"]}, "hours": {"type": ["null", "number"]}}


@pytest.mark.parametrize(
    ("own", "value", "shown"),
    [
        # Draft 4, as pipelinewise taps write it.
        ({"type": ["null", "number"], "exclusiveMaximum": True, "maximum": HUGE, "multipleOf": 0.01}, 48.87, "48.87"),
        ({"type": "integer", "minimum": -(2**31), "exclusiveMinimum": False}, 5, "5"),
        ({"type": ["null", "string"], "items": True}, "one", "one"),
        ({"type": "array", "items": True}, ["a"], '[\n  "a"\n]'),
        ({"type": "array", "items": [{"type": "string"}, {"type": "integer"}]}, ["a", 1], "a\n1"),
        ({"anyOf": [True]}, {"a": 1}, '{\n  "a": 1\n}'),
        (True, "one", "one"),
        ({}, None, None),
        ({"$ref": "#/definitions/moment"}, "2026-11-02T10:00:00Z", "2026-11-02"),
        ({"$ref": "#/definitions/nested"}, [[1], 2], "[\n  [\n    1\n  ],\n  2\n]"),
        ({"enum": ["a", "b"]}, "b", "b"),
        ({"enum": [1, None]}, 1, "1"),
        ({"anyOf": [{"type": "string", "format": "date-time"}, {"type": ["string", "null"]}]}, "2026-11-02 10:00:00",
         "2026-11-02"),
        ({"type": ["null", "string"], "format": "date-time"}, None, None),
        ({"type": "string", "pattern": "(?P<word>a)\\Z"}, "a", "a"),
        ({"type": "string", "required": True}, "a", "a"),
        ({"type": "nope"}, "a", "a"),
        ({"$ref": "#/definitions/nowhere"}, "a", "a"),
        ({"$ref": "http://127.0.0.1:9/"}, "a", "a"),
        ({"type": ["null", "string"], "format": "singer.decimal"}, "12.30", "12.30"),
    ],
)  # fmt: skip
def test_a_schema_of_any_habit_is_understood(target: Target, own: Any, value: Any, shown: str | None) -> None:
    properties = {"id": {"type": "integer"}, "it": own}
    rows = [record(id=1, it=value), record(id="x", it=value)]
    assert target.ran([schema(properties, definitions=DEFINITIONS), *rows, state(1)]) == [1]
    assert [data(post) for post in target.posts()] == [{"id": "1", "it": shown}]
    # And what the other properties say is held to.
    assert [(one["field"], one["reason"]) for one in target.rejects()] == [
        ("id", "does not hold to the type of its SCHEMA")
    ]


ROWS = [record(id=number, name="fine", hours=number) for number in (1, 2, 3)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"type":"RECORD","stream":"hours","record":{"id":4,"name":"cut \\ud83d","hours":1}}', "cut \ufffd"),
        (b'{"type":"RECORD","stream":"hours","record":{"id":4,"name":"\\ude00 cut","hours":1}}', "\ufffd cut"),
        (b'{"type":"RECORD","stream":"hours","record":{"id":4,"name":"\\ud83d\\ude00","hours":1}}', "\U0001f600"),
        (b'{"type":"RECORD","stream":"hours","record":{"id":4,"name":"cut \xf0\x9f","hours":1}}', "cut \ufffd"),
        (b'{"type":"RECORD","stream":"hours","record":{"id":4,"name":"a","hours":NaN}}', None),
        (b'{"type":"RECORD","stream":"hours","record":{"id":4,"name":"a","hours":-Infinity}}', None),
        (b"", ""),
        (b"  \r", ""),
    ],
)
@pytest.mark.parametrize("mode", ["row", "digest"])
def test_one_line_stops_no_other(target: Target, line: bytes, expected: str | None, mode: str) -> None:
    fields = [{"id": "name", "type": "bulletPoints", "data": "{{ rows | map(attribute='name') | list }}"}]
    streams = {"hours": {"group_by": ["id"], "fields": fields}} if mode == "digest" else {}
    first, *rest = [json.dumps(schema(HOURS)).encode(), *ROWS]
    for _ in range(2):  # a second run reads what the first one kept
        assert target.ran([b"\xef\xbb\xbf" + bytes(first), *rest, line, state(1)], streams=streams) == [1]
    names = [data(post)["name"] for post in target.posts()]
    assert names == ["fine"] * 3 + ([expected] if expected else [])
    reasons = [(one["field"], one["reason"]) for one in target.rejects()]
    assert reasons == ([("hours", "does not hold to the type of its SCHEMA")] if expected is None else [])


@pytest.mark.skipif(not CASES.exists(), reason="the collected cases are not on this machine")
@pytest.mark.parametrize(
    ("name", "shown"),
    [("draft4-schema", [("48.87", "one")]), ("target-half-emoji", [("1", "cut \ufffd"), ("1", "fine")])],
)
def test_collected_cases(target: Target, name: str, shown: list[tuple[str, str]]) -> None:
    lines = (CASES / f"{name}.jsonl").read_bytes().splitlines()
    assert len(target.ran(lines)) == 1
    found = [data(post) for post in target.posts()]
    assert [(one.get("total") or one.get("hours"), one.get("note") or one.get("name")) for one in found] == shown


def test_a_machine_without_time_zones_works_in_utc(target: Target, tmp_path: Path) -> None:
    """Neither the machine nor Python has any: what is not asked for is not missed."""
    (tmp_path / "tzdata").mkdir()
    (tmp_path / "tzdata" / "__init__.py").write_text("raise ImportError")
    config = tmp_path / "config.json"
    zone = {"id": "day", "type": "date", "data": "day", "timezone": "UTC"}
    shown = {"id": "text", "type": "text", "data": "{{ day | datetime('HH:mm') }}"}
    config.write_text(json.dumps({**target.config, "streams": {"days": {"fields": [zone, shown]}}}))
    moment = {"id": {"type": "integer"}, "day": {"type": "string", "format": "date-time"}}
    messages: list[Message] = []
    for stream in ("hours", "days"):
        messages += [schema(moment, stream=stream), record(stream=stream, id=1, day="2026-11-02T23:30:00Z")]
    done = subprocess.run(
        [sys.executable, "-m", "target_harkster", "--config", str(config)],
        input="\n".join(map(json.dumps, messages)).encode(),
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONTZPATH": "", "PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr.decode()
    assert [data(post)["day"] for post in target.posts()] == ["2026-11-02"] * 2
    assert data(target.posts()[1])["text"] == "23:30"


# Schemas as they are found in the wild

_TYPES = ("string", "integer", "number", "boolean", "array", "object", "null")
_plain = st.builds(
    lambda kinds, more: {"type": kinds, **more},
    st.sampled_from(_TYPES) | st.lists(st.sampled_from(_TYPES), min_size=1, max_size=3, unique=True),
    st.fixed_dictionaries(
        {},
        optional={
            "format": st.sampled_from(["date", "date-time", "time", "singer.decimal", "uuid"]),
            "maxLength": st.integers(0, 10**6),
            "minimum": st.integers(-(2**63), 2**63),
            "maximum": st.integers(-(2**63), 10**62),
            "exclusiveMaximum": st.booleans() | st.integers(),
            "exclusiveMinimum": st.booleans() | st.integers(),
            "multipleOf": st.sampled_from([0.01, 1e-38, 5]),
            "additionalProperties": st.booleans(),
            "airbyte_type": st.just("timestamp_without_timezone"),
            "required": st.booleans() | st.just(["id"]),
            "default": st.none(),
            "description": st.text(max_size=5),
            "enum": st.lists(st.none() | st.text(max_size=3) | st.integers(), max_size=3),
        },
    ),
)
_leaf: st.SearchStrategy[Any] = (
    st.booleans()
    | st.just({})
    | _plain
    | st.sampled_from([{"$ref": f"#/definitions/{name}"} for name in ("moment", "nested", "nowhere")])
    | st.sampled_from([{"$ref": "#"}, {"$ref": "#/properties/a"}, {"$ref": "other.json"}])
    | st.builds(lambda values: {"enum": values}, st.lists(st.none() | st.booleans() | st.text(max_size=3)))
)
OWN = st.recursive(
    _leaf,
    lambda inner: (
        st.builds(
            lambda kind, several, more: {kind: several, **(more if isinstance(more, dict) else {})},
            st.sampled_from(["anyOf", "oneOf", "allOf"]),
            st.lists(inner, min_size=1, max_size=3),
            _leaf,
        )
        | st.builds(lambda items: {"type": ["null", "array"], "items": items}, inner | st.lists(inner, max_size=2))
        | st.builds(lambda them: {"type": "object", "properties": them}, st.dictionaries(st.text(max_size=3), inner))
    ),
    max_leaves=6,
)
VALUE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["2026-11-02", "2026-11-02T10:00:00.123456Z", "12.50", "\x00", "\U0001f600"])
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@hypothesis.given(st.dictionaries(st.sampled_from("abc"), OWN), st.dictionaries(st.sampled_from("abc"), VALUE))
def test_no_schema_is_an_accident(properties: dict[str, Any], row: dict[str, Any]) -> None:
    whole = {"type": "object", "properties": {"id": {"type": "integer"}, **properties}, "definitions": DEFINITIONS}
    fields = inferred_fields(whole)
    assert [field["data"] for field in fields] == list(whole["properties"])
    for own in properties.values():
        sample(own, whole)
    validators, unknown = checks(whole)
    assert "id" not in unknown
    list(faults(validators, {"id": 1, **row}))
    assert [at for at, _ in faults(validators, {"id": "x", **row}) if at == "id"] == ["id"]


_numbers = itertools.count(1)


@hypothesis.settings(
    max_examples=25, deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
@hypothesis.given(
    st.dictionaries(st.sampled_from("abc"), OWN),
    st.lists(st.dictionaries(st.sampled_from("abc"), VALUE), min_size=1, max_size=3),
)
def test_every_row_is_posted_or_set_aside(
    target: Target, properties: dict[str, Any], rows: list[dict[str, Any]]
) -> None:
    before = len(target.posts()) + len(target.rejects())
    whole = schema({"id": {"type": "integer"}, **properties}, definitions=DEFINITIONS)
    messages = [record(id=next(_numbers), **row) for row in rows]
    assert target.ran([whole, *messages, state(1)], max_rejects=10**6) == [1]
    assert len(target.posts()) + len(target.rejects()) - before == len(rows)
