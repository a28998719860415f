from __future__ import annotations

import copy
import logging
import re
from contextlib import suppress
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from singer_http.conform import UNKNOWN_FIELDS, Conformer
from singer_http.http.errors import ApiError, MalformedAnswerError
from singer_sdk.exceptions import InvalidRecord
from singer_sdk.helpers._catalog import pop_deselected_record_properties
from singer_sdk.helpers._compat import datetime_fromisoformat
from singer_sdk.helpers._typing import conform_record_data_types
from singer_sdk.helpers.conform import TypeConformanceLevel
from singer_sdk.singerlib import SelectionMask
from singer_sdk.sinks.core import JSONSchemaValidator

Schema = dict[str, Any]
Record = dict[str, Any]

DAYS = ["", "0000-00-00", "2024-02-30", "2024-02-29", "2024-02-29T00:00:00Z", "2024-02-29T10:00:00+02:00"]
RFC3339 = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})")
NAMES = ["id", "a", "b", "c", "added", "Ünïcode", "with.dot"]
LOGGER = logging.getLogger("silent")
LOGGER.disabled = True

types = st.sampled_from(
    [
        "string",
        "integer",
        "number",
        "boolean",
        "null",
        ["string", "null"],
        ["integer", "null"],
        ["null", "number"],
        ["boolean", "null"],
        ["null", "boolean"],
        ["boolean", "string"],
        ["string", "number", "null"],
    ]
)
texts = st.sampled_from(["date", "date-time", "uri"]).map(lambda form: {"type": ["string", "null"], "format": form})
primitives: st.SearchStrategy[Schema] = st.one_of(
    types.map(lambda kind: {"type": kind}),
    texts,
    st.just({"type": ["string", "integer", "null"], "format": "date"}),
    st.just({"type": ["array", "null"]}),
    st.just({"type": ["object", "null"]}),
)


def _objects(inner: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    return st.builds(
        lambda kind, properties, extra: {"type": kind, "properties": properties, **extra},
        st.sampled_from(["object", ["object", "null"], ["object", "string"], ["object", "array"]]),
        st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
        st.sampled_from(
            [
                {},
                {},
                {"additionalProperties": True},
                {"additionalProperties": False},
            ]
        ),
    )


def _arrays(inner: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    return st.builds(
        lambda kind, items: {"type": kind, "items": items},
        st.sampled_from(["array", ["array", "null"], ["null", "array", "boolean"], ["array", "object"]]),
        inner,
    )


schemas = st.recursive(primitives, lambda inner: st.one_of(_objects(inner), _arrays(inner)), max_leaves=12)
tops = st.builds(
    lambda properties, extra: {"type": "object", "properties": properties, **extra},
    st.dictionaries(st.sampled_from(NAMES), schemas, min_size=1, max_size=6),
    st.sampled_from([{}, {}, {"additionalProperties": True}]),
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3)
    | st.sampled_from([*DAYS, "7", "1.5", "true"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*NAMES, "unknown"]), inner, max_size=5)
    ),
    max_leaves=10,
)


@st.composite
def fitting(draw: st.DrawFn, schema: Schema) -> Any:
    """A value that is often of the shape that a schema wants, so that its depths are reached."""
    if draw(st.integers(0, 4)) == 0:
        return draw(values)
    if "properties" in schema:
        names = [*schema["properties"], *draw(st.lists(st.sampled_from([*NAMES, "unknown"]), max_size=2))]
        names = draw(st.permutations(names))
        chosen = names[: draw(st.integers(0, len(names)))]
        return {name: draw(fitting(schema["properties"].get(name, {}))) for name in chosen}
    if "items" in schema:
        return draw(st.lists(fitting(schema["items"]), max_size=3))
    return draw(values)


def breadcrumbs(schema: Schema, at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every place in a schema that a catalog can select."""
    found = [at]
    for name, inner in schema.get("properties", {}).items():
        found += breadcrumbs(inner, (*at, "properties", name))
    return found


def as_the_sdk_does(schema: Schema, mask: SelectionMask, record: Record) -> Record:
    pop_deselected_record_properties(record, schema, mask)
    return conform_record_data_types("stream", record, schema, TypeConformanceLevel.RECURSIVE, LOGGER)


def is_like_rfc3339(value: object) -> bool:
    """Whether a text is a time as JSON schema has it, and as loaders read it."""
    return not isinstance(value, str) or bool(RFC3339.fullmatch(value) and datetime_fromisoformat(value))


FORMATS = jsonschema.FormatChecker(formats=["date"])
FORMATS.checks("date-time", raises=ValueError)(is_like_rfc3339)


@given(data=st.data())
@settings(max_examples=50)
def test_what_goes_out_fits_the_schema_and_what_fits_stays_as_it_is(data: st.DataObject) -> None:
    schema = data.draw(tops)
    places = breadcrumbs(schema)
    deselected = data.draw(st.sets(st.sampled_from(places))) - {()}
    mask = SelectionMask({place: place not in deselected for place in places})
    records = data.draw(st.lists(fitting(schema).filter(lambda value: isinstance(value, dict)), min_size=1, max_size=3))
    validator = JSONSchemaValidator(schema, validate_formats=True, format_checker=FORMATS)
    for record in records:
        came = copy.deepcopy(record)
        conform = Conformer(schema, mask)
        try:
            conformed = conform([record])[0]
        except MalformedAnswerError:
            assert not is_valid(validator, came)
            continue
        assert is_valid(validator, conformed)
        with suppress(KeyError):  # the SDK has no answer to lists of objects that it knows nothing of
            assert as_the_sdk_does(schema, mask, copy.deepcopy(conformed)) == conformed
        if is_valid(validator, came) and not conform.unknown:
            pop_deselected_record_properties(came, schema, mask)
            assert conformed == came
            assert not conform.lost


def is_valid(validator: JSONSchemaValidator, record: Record) -> bool:
    try:
        validator.validate(record)
    except InvalidRecord:
        return False
    return True


SCHEMA: Schema = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "number": {"type": ["number", "null"]},
        "count": {"type": ["integer", "null"]},
        "yes": {"type": ["boolean", "null"]},
        "day": {"type": ["string", "null"], "format": "date"},
        "time": {"type": ["string", "null"], "format": "date-time"},
        "nested": {"type": ["object", "null"], "properties": {"known": {"type": ["string", "null"]}}},
        "open": {"type": ["object", "null"], "additionalProperties": True, "properties": {}},
        "list": {
            "type": ["array", "null"],
            "items": {"type": ["object", "null"], "properties": {"known": {"type": ["integer", "null"]}}},
        },
        "names": {"type": ["array", "null"], "items": {"type": ["string", "null"]}},
    },
}
KEEPING = {**SCHEMA, "properties": {**SCHEMA["properties"], UNKNOWN_FIELDS: {"type": ["object", "null"]}}}
EVERYTHING = SelectionMask(dict.fromkeys(breadcrumbs(KEEPING), True))
STRANGE = {
    "id": "1",
    "new": 1,
    "nested": {"known": "x", "new": 2},
    "open": {"anything": 3},
    "list": [{"known": 1, "new": 4}, {"new": 5, "known": "six"}],
}


def test_unknown_properties_are_counted_by_their_path() -> None:
    conform = Conformer(SCHEMA, EVERYTHING)
    for _ in range(2):
        records = conform([copy.deepcopy(STRANGE), {"id": "2", "new": None}])
        assert records == [
            {
                "id": "1",
                "nested": {"known": "x"},
                "open": {"anything": 3},
                "list": [{"known": 1}, {"known": None}],
            },
            {"id": "2"},
        ]
    assert conform.unknown == {"new": 4, "nested.new": 2, "list.new": 4}
    assert conform.lost == {"list.known": 2}


def test_what_has_no_other_place_is_kept_in_a_column() -> None:
    conform = Conformer(KEEPING, EVERYTHING)
    for _ in range(2):
        records = conform([copy.deepcopy(STRANGE), {"id": "2"}, {"id": "3", "count": "many", UNKNOWN_FIELDS: 7}])
        assert records == [
            {
                "id": "1",
                "nested": {"known": "x"},
                "open": {"anything": 3},
                "list": [{"known": 1}, {"known": None}],
                UNKNOWN_FIELDS: {"new": 1, "nested.new": 2, "list.0.new": 4, "list.1.new": 5, "list.1.known": "six"},
            },
            {"id": "2"},
            {"id": "3", "count": None, UNKNOWN_FIELDS: {"count": "many", UNKNOWN_FIELDS: 7}},
        ]
    assert conform.unknown == {"new": 2, "nested.new": 2, "list.new": 4, UNKNOWN_FIELDS: 2}
    assert conform.lost == {"list.known": 2, "count": 2}


def test_what_has_a_column_does_not_fail() -> None:
    kept = Conformer(KEEPING, EVERYTHING, is_strict=True)([{"id": "1", "new": 1}])
    assert kept == [{"id": "1", UNKNOWN_FIELDS: {"new": 1}}]


def test_the_column_may_be_deselected() -> None:
    mask = SelectionMask({place: place != ("properties", UNKNOWN_FIELDS) for place in breadcrumbs(KEEPING)})
    assert Conformer(KEEPING, mask)([{"id": "1", "new": 1, "count": "many"}]) == [{"id": "1", "count": None}]


@pytest.mark.parametrize("value", [[{"known": "Jane"}], '{"known": "Jane"}', 7])
def test_nothing_is_kept_of_what_a_deselected_property_may_be_in(value: Any) -> None:
    deep = {"type": ["object", "null"], "properties": {"nested": SCHEMA["properties"]["nested"]}}
    schema = {**KEEPING, "properties": {**KEEPING["properties"], "deep": deep}}
    inner = ("properties", "nested", "properties", "known")
    out = {inner, ("properties", "deep", *inner)}
    conform = Conformer(schema, SelectionMask({place: place not in out for place in breadcrumbs(schema)}))
    records = conform(
        [
            {"id": "1", "nested": value},
            {"id": "2", "deep": {"nested": value}},
            {"id": "3", "deep": [{"nested": value}]},
            {"id": "4", "nested": {"new": value}},
        ]
    )
    assert records == [
        {"id": "1", "nested": None},
        {"id": "2", "deep": {"nested": None}},
        {"id": "3", "deep": None},
        {"id": "4", "nested": {}, UNKNOWN_FIELDS: {"nested.new": value}},
    ]
    assert conform.lost == {"nested": 1, "deep.nested": 1, "deep": 1}


def test_unknown_properties_fail_by_their_names_alone() -> None:
    conform = Conformer(SCHEMA, EVERYTHING, is_strict=True)
    assert conform([{"id": "1", "count": "many"}]) == [{"id": "1", "count": None}]
    with pytest.raises(ApiError, match=r"these fields of the API: 'odd\\n', new\.") as failure:
        conform([{"id": "1"}, {"id": "2", "new": "Jane", "odd\n": "Doe"}])
    assert "Jane" not in str(failure.value)
    with pytest.raises(ApiError, match=r"these fields of the API: nested\.new\."):
        conform([{"id": "1", "nested": {"new": "Jane"}}])


def test_what_is_deselected_is_not_unknown() -> None:
    out = {("properties", "nested"), ("properties", "open"), ("properties", "count")}
    conform = Conformer(
        SCHEMA, SelectionMask({place: place not in out for place in breadcrumbs(SCHEMA)}), is_strict=True
    )
    assert conform([{"id": "1", "nested": {"new": 2}, "count": "many"}]) == [{"id": "1"}]
    conform = Conformer(SCHEMA, SelectionMask({("properties", "nested", "properties", "known"): False}), is_strict=True)
    assert conform([{"id": "1", "nested": {"known": 2}}, {"id": "2", "nested": None}]) == [
        {"id": "1", "nested": {}},
        {"id": "2", "nested": None},
    ]


CONVERTED: dict[str, list[tuple[object, object]]] = {
    "id": [(7, "7"), (1.5, "1.5"), (True, "true"), ({"a": [1]}, '{"a":[1]}'), ("", "")],
    "number": [("7", 7), ("-1.50", -1.5), (7, 7)],
    "count": [("7", 7), ("-7", -7), (7.0, 7), (2**63 - 1, 2**63 - 1)],
    "yes": [(1, True), (0, False), (0.0, False), ("true", True), ("False", False)],
    "day": [
        ("2024-02-29", "2024-02-29"),
        ("2024-02-29T00:00:00.000Z", "2024-02-29"),
        ("2024-02-29 00:00:00", "2024-02-29"),
        ("2024-02-29T00:00:00-05:00", "2024-02-29"),
    ],
    "time": [
        ("2024-02-29T10:00:00.123456789Z", "2024-02-29T10:00:00.123456789Z"),
        ("2024-02-29t10:00:00z", "2024-02-29T10:00:00Z"),
        ("2024-02-29 10:00:00 ".strip(), "2024-02-29T10:00:00Z"),
        ("2024-02-29T10:00:00+0200", "2024-02-29T10:00:00+02:00"),
        ("2024-02-29T10:00:00+02:00", "2024-02-29T10:00:00+02:00"),
        ("2024-02-29", "2024-02-29T00:00:00Z"),
    ],
    "list": [({"known": 1}, [{"known": 1}])],
    "names": [("one", ["one"]), (["one", 2, None], ["one", "2", None])],
}
LOST: dict[str, list[object]] = {
    "number": ["", "1e5", "7 h", True, [1], {}],
    "count": ["", "7.5", "07", 7.5, True, 2**63, 1e30, "9" * 30],
    "yes": ["", "no", 2, 0.5, []],
    "day": ["", "0000-00-00", "2024-02-30", "2024-02-29T10:00:00Z", "20240229", "29.02.2024", 20240229, "2024-W09-1"],
    "time": [
        "",
        "0000-00-00T00:00:00Z",
        "2024-02-30T10:00:00Z",
        "2024-02-29T25:00:00Z",
        "yesterday",
        1709200800,
        "10:00",
    ],
    "nested": ["", [], "x", 1],
    "list": ["", "x", 1],
    "names": ["", 1, {}],
}


@pytest.mark.parametrize(
    ("name", "value", "becomes"), [(name, *each) for name, found in CONVERTED.items() for each in found]
)
def test_what_does_not_fit_is_converted_if_nothing_is_lost(name: str, value: object, becomes: object) -> None:
    conform = Conformer(SCHEMA, EVERYTHING)
    (record,) = conform([{"id": "1", name: value}])
    assert record[name] == becomes
    assert type(record[name]) is type(becomes)
    assert conform.lost == {}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, found in LOST.items() for value in found])
def test_what_cannot_be_converted_is_null_counted_and_kept(name: str, value: object) -> None:
    conform = Conformer(KEEPING, EVERYTHING)
    assert conform([{"id": "1", name: value}]) == [{"id": "1", name: None, UNKNOWN_FIELDS: {name: value}}]
    assert conform.lost == {name: 1}


def test_a_key_never_becomes_null() -> None:
    schema = {"properties": {"id": {"type": "integer"}}}
    with pytest.raises(MalformedAnswerError, match="a value of id that the schema does not allow") as failure:
        Conformer(schema, SelectionMask({}))([{"id": "Jane"}])
    assert "Jane" not in str(failure.value)
