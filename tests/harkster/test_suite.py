"""The SDK's own tests of targets, with a look at what was posted by each."""

import json
import unicodedata
from importlib.resources import files
from typing import Any

import jsonschema
import jsonschema_rs
import pytest
from singer_sdk.testing import target_test_streams
from singer_sdk.testing.config import SuiteConfig
from singer_sdk.testing.runners import TargetTestRunner
from singer_sdk.testing.suites import target_tests
from singer_sdk.testing.target_tests import TargetRecordMissingKeyProperty, TargetRecordMissingRequiredProperty
from singer_sdk.testing.templates import TargetFileTestTemplate, TargetTestTemplate
from target_harkster.target import TargetHarkster

from tests.harkster.running import Target, data

CASES: list[type[TargetTestTemplate]] = [
    # That one wants a row without its key to end the run. Here it is a reject like any other, see test_rejects.py.
    *(case for case in target_tests.tests if case is not TargetRecordMissingKeyProperty),
    TargetRecordMissingRequiredProperty,
]

POSTED: dict[str, list[dict[str, Any]]] = {
    "array_data": [
        {"id": str(number), "fruits": fruits}
        for number, fruits in enumerate(
            ["apple\norange\npear", "banana\napple", "pear", "orange\nbanana\napple\npear"], 1
        )
    ],
    "camelcase": [
        {"Id": "1", "clientName": "Gitter Windows Desktop App"},
        {"Id": "2", "clientName": "Gitter iOS App"},
    ],
    "duplicate_records": [{"id": "1", "metric": "1"}, {"id": "2", "metric": "2"}],
    "no_primary_keys": [{"id": str(number), "metric": f"{number}{number}"} for number in (1, 2, 3)],
    "optional_attributes": [
        {"id": "1", "optional": "This is optional"},
        {"id": "2", "optional": None},
        {"id": "3", "optional": "Also optional"},
        {"id": "4", "optional": None},
    ],
    "pk_updates": [
        {"id": "1", "name": "Alice", "email": "alice@example.com"},
        {"id": "2", "name": "Bob", "email": "bob@example.com"},
    ],
    "record_missing_fields": [{"id": "1", "optional": "now you see me"}, {"id": "2", "optional": None}],
    "schema_no_properties": [
        {"object_store": '{\n  "id": 1,\n  "metric": 187\n}'},
        {"object_store": '{\n  "id": 2,\n  "metric": 203\n}'},
        {"object_store": '{\n  "id": 1,\n  "metric": 1\n}'},
        {"object_store": '{\n  "id": 2,\n  "metric": 2\n}'},
    ],
    "invalid_schema": [],
    "record_before_schema": [],
    "record_missing_required_property": [],
    "cli_prints": [],
}
"""What each case posts, where it is short enough to be written down."""
TOLD = {
    "camelcase_complex_schema": 0,
    "encoded_string_data": 28,
    "schema_updates": 6,
    "special_chars_in_attributes": 1,
}
"""How many posts the others make: one of each row, which shows what :func:`told` makes of it."""


def told(value: Any) -> str:
    """What people read of a value: one line of text, an item a line, or an object as it is."""
    if isinstance(value, dict):
        return json.dumps(value, indent=2, ensure_ascii=False)
    if isinstance(value, list):
        return "\n".join(map(told, value))
    if isinstance(value, bool):
        return str(value).lower()
    line = str(value).replace("\n", " ")
    return "".join(char for char in line if unicodedata.category(char) != "Cc")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case_of_the_sdk(case: type[TargetTestTemplate], target: Target) -> None:
    test = case()
    runner = TargetTestRunner(TargetHarkster, config=target.config)
    try:
        test.run(SuiteConfig(), None, runner)
    finally:
        if runner.input_filepath is not None:
            runner.target_input.close()
    posts = target.posts()
    assert {post.status for post in posts} <= {"published"}
    assert {post.publications for post in posts} <= {1}
    if test.name in TOLD:
        lines = map(json.loads, test.singer_filepath.read_text(encoding="utf8").splitlines())  # type: ignore[attr-defined]
        rows = [(line["stream"], line["record"]) for line in lines if line["type"] == "RECORD"]
        assert [(post.name, data(post)) for post in posts] == [
            (stream, {name: told(value) for name, value in row.items()}) for stream, row in rows
        ]
        assert len(posts) == TOLD[test.name]
    else:
        assert [data(post) for post in posts] == POSTED[str(test.name)]
    states: list[Any] = list(runner.state_messages)
    if isinstance(test, TargetFileTestTemplate) and posts:
        sent = [json.loads(line) for line in test.singer_filepath.read_text(encoding="utf8").splitlines()]
        expected = [message["value"] for message in sent if message["type"] == "STATE"]
        assert states[-1:] == expected[-1:]


def test_strings_arrive_as_they_were_sent(target: Target) -> None:
    name = "encoded_string_data"
    lines = (files(target_test_streams) / f"{name}.singer").read_text(encoding="utf8").splitlines()
    target.ran([line.encode() for line in lines])
    texts = {str(data(post)["info"]) for post in target.posts() if "info" in data(post)}
    assert {"απλή συμβολοσειρά", "简单的字串", "chaîne simple", 'quoted "string"'} <= texts


def test_states_are_relayed_in_order_and_the_last_one_always(target: Target) -> None:
    """The SDK's own test of it is not in its suite: it wants a STATE behind each of the SDK's batches."""
    lines = (files(target_test_streams) / "multiple_state_messages.singer").read_text(encoding="utf8").splitlines()
    sent = [json.loads(line)["value"] for line in lines if '"STATE"' in line]
    states = target.ran([line.encode() for line in lines])
    assert states[-1] == sent[-1]
    rows = [json.loads(line) for line in lines if '"RECORD"' in line]
    assert [(post.name, data(post)) for post in target.posts()] == [
        (row["stream"], {name: told(value) for name, value in row["record"].items()}) for row in rows
    ]
    assert [sent.index(state) for state in states] == sorted(sent.index(state) for state in states)


def test_the_compiled_validator_has_the_verdicts_of_jsonschema() -> None:
    verdicts = 0
    for stream in files(target_test_streams).iterdir():
        if not stream.name.endswith(".singer"):
            continue
        schemas: dict[str, Any] = {}
        for line in stream.read_text(encoding="utf8").splitlines():
            message = json.loads(line)
            if message["type"] == "SCHEMA":
                schemas[message["stream"]] = message["schema"]
            elif message["type"] == "RECORD" and message["stream"] in schemas:
                for spoilt in [message["record"], *spoilings(message["record"])]:
                    theirs = jsonschema.Draft202012Validator(schemas[message["stream"]]).is_valid(spoilt)
                    ours = jsonschema_rs.Draft202012Validator(schemas[message["stream"]]).is_valid(spoilt)
                    assert ours == theirs, (stream.name, spoilt)
                    verdicts += 1
    assert verdicts > 500


def spoilings(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The record with each of its values replaced by those of other kinds."""
    others: list[Any] = [None, True, 1, 1.5, 2.0, "x", [], {}]
    return [{**record, name: other} for name in record for other in others]
