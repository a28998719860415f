"""Layouts that nobody wrote: from a SCHEMA, and from a template."""

from typing import Any

import pytest
from target_harkster.layout.errors import LayoutError
from target_harkster.layout.inference import Template, inferred_fields

MOMENT = {"type": "string", "format": "date-time"}
DEFINITIONS = {
    "day": {"type": ["string", "null"], "format": "date"},
    "nested": {"type": "array", "items": {"$ref": "#/definitions/nested"}},
}


@pytest.mark.parametrize(
    ("schema", "field"),
    [
        ({"type": "string"}, {"type": "text"}),
        ({"type": ["null", "string"], "maxLength": 120}, {"type": "text"}),
        ({"type": "string", "maxLength": 121}, {"type": "note"}),
        ({"type": "string", "format": "date"}, {"type": "date"}),
        ({"type": ["string", "null"], "format": "date-time"}, {"type": "date", "timezone": "UTC"}),
        ({"type": "string", "format": "singer.decimal"}, {"type": "number"}),
        ({"type": "integer"}, {"type": "counter"}),
        ({"type": ["integer", "null"]}, {"type": "counter"}),
        ({"type": "number"}, {"type": "number"}),
        ({"type": ["integer", "number"]}, {"type": "number"}),
        ({"type": "boolean"}, {"type": "text"}),
        ({"type": ["integer", "string"]}, {"type": "text"}),
        ({"type": "array", "items": {"type": "string"}}, {"type": "bulletPoints"}),
        ({"type": ["array", "null"], "items": {"type": ["integer", "null"]}}, {"type": "bulletPoints"}),
        ({"type": "array", "items": {"type": "object"}}, {"type": "snippet"}),
        ({"type": "array"}, {"type": "snippet"}),
        ({"type": "object", "properties": {}}, {"type": "snippet"}),
        ({}, {"type": "snippet"}),
        ({"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]}, {"type": "date"}),
        ({"oneOf": [{"type": "null"}, {"type": "integer"}]}, {"type": "counter"}),
        ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, {"type": "text"}),
        # As pipelinewise, Airbyte and Meltano taps write them.
        (
            {"type": ["null", "number"], "exclusiveMaximum": True, "maximum": 1e62, "multipleOf": 1e-2},
            {"type": "number"},
        ),
        (
            {"anyOf": [{"type": "string", "format": "date-time"}, {"type": ["string", "null"]}]},
            {"type": "date", "timezone": "UTC"},
        ),
        ({"$ref": "#/definitions/day"}, {"type": "date"}),
        ({"allOf": [{"$ref": "#/definitions/day"}], "description": "a day"}, {"type": "date"}),
        ({"$ref": "#/definitions/nested"}, {"type": "snippet"}),
        ({"$ref": "#/definitions/nowhere"}, {"type": "snippet"}),
        ({"$ref": "https://example.com/schema"}, {"type": "snippet"}),
        ({"enum": ["a", "b", None]}, {"type": "text"}),
        ({"enum": [1, 2]}, {"type": "counter"}),
        ({"const": True}, {"type": "text"}),
        ({"anyOf": [True]}, {"type": "snippet"}),
        (True, {"type": "snippet"}),
        ({"type": "any"}, {"type": "snippet"}),
        ({"type": "array", "items": True}, {"type": "snippet"}),
        ({"type": "array", "items": [{"type": "string"}, {"type": "integer"}]}, {"type": "bulletPoints"}),
        ({"type": ["null", "string"], "format": "singer.decimal"}, {"type": "number"}),
        (
            {"type": "string", "format": "date-time", "airbyte_type": "timestamp_with_timezone"},
            {"type": "date", "timezone": "UTC"},
        ),
    ],
)
def test_a_property_becomes_the_fitting_field(schema: dict[str, Any], field: dict[str, Any]) -> None:
    assert inferred_fields({"properties": {"total_hours": schema}, "definitions": DEFINITIONS}) == [
        {"id": "total_hours", "label": "Total hours", "data": "total_hours", **field}
    ]


@pytest.mark.parametrize(
    ("name", "label"), [("clientName", "Client Name"), ("id", "Id"), ("a:b!c", "A b c"), ("_x", "X"), ("__", "__")]
)
def test_labels_are_made_of_names(name: str, label: str) -> None:
    (field,) = inferred_fields({"properties": {name: {"type": "string"}}})
    assert (field["id"], field["label"]) == (name, label)


def test_what_the_loader_adds_is_no_field() -> None:
    assert inferred_fields({"properties": {"_sdc_batched_at": {"type": "string"}, "": {}}}) == []


TEMPLATE = Template(
    "hours",
    "Weekly",
    [
        {"type": "header", "id": "1", "label": "Summary"},
        {"type": "number", "id": "2", "label": "Total Hours", "name": "hours"},
        {"type": "text", "id": "3", "label": "Team"},
        {"type": "percentage", "id": "4", "label": "Activity"},
    ],
)


def test_settings_fill_a_template_by_id_then_name_then_label() -> None:
    configs = [{"id": "2", "data": "a"}, {"id": "x", "label": "team", "data": "b"}]
    fields, unfilled, unused = TEMPLATE.filled(configs, ["a", "b"])
    assert [field.get("data") for field in fields] == [None, "a", "b", "{{ none }}"]
    assert (unfilled, unused) == (["Activity"], [])


def test_columns_fill_a_template_by_its_names_and_labels() -> None:
    fields, unfilled, unused = TEMPLATE.filled(None, ["hours", "team", "other"])
    assert [field.get("data") for field in fields] == [None, "hours", "team", "{{ none }}"]
    assert (unfilled, unused) == (["Activity"], ["other"])


def test_what_a_template_has_not_is_refused() -> None:
    with pytest.raises(LayoutError, match=r"streams.hours, field nope: the template Weekly has no such field"):
        TEMPLATE.filled([{"id": "nope", "data": "a"}], ["a"])
    with pytest.raises(LayoutError, match="no column has the name of a field"):
        TEMPLATE.filled(None, ["other"])
