"""Every type of field with every kind of value: the exact payload, or the exact reason."""

import datetime as dt
import zoneinfo
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from target_harkster.layout.errors import LayoutError, RowError
from target_harkster.layout.expressions import Expressions
from target_harkster.layout.layout import Layout
from target_harkster.vendor.field_types import FIELD_TYPES, STATUSES, Declared, FieldError, as_number, currency_code
from target_harkster.vendor.posts import Content, Spelling

from tests.harkster.running import Message, Target, schema
from tests.harkster.running import data as data_of

EXPRESSIONS = Expressions("en", lambda *_: None)
LONDON = zoneinfo.ZoneInfo("Europe/London")
NO_NUMBER = {
    True: "is a truth value, not a number",
    "word": "is text, not a number",
    "": "is text, not a number",
    "NaN": "is text, not a number",
    "1,000": "is text, not a number",
}
INFINITE: list[tuple[Any, str]] = [
    (float("nan"), "is not finite"),
    (float("inf"), "is not finite"),
    (Decimal("-Infinity"), "is not finite"),
    (Decimal("1E+400"), "is beyond what a number can be"),
    (Decimal("1E-400"), "is beyond what a number can be"),
    (10**400, "is beyond what a number can be"),
    ([1], "is an array, not a number"),
    ({"a": 1}, "is an object, not a number"),
    (dt.date(2026, 1, 2), "is a date, not a number"),
    *NO_NUMBER.items(),
]
TOO_LARGE: list[tuple[Any, str]] = [
    (Decimal("1E+400"), "is beyond what a number can be"),
    (float("nan"), "is not finite"),
]
NUMERIC: list[tuple[Any, str]] = [
    (0, "0"),
    (-7, "-7"),
    (2**70, str(2**70)),
    (1.5, "1.5"),
    (1e22, "10000000000000000000000"),
    (Decimal("12.50"), "12.50"),
    (Decimal("1E+2"), "100"),
    ("3.25", "3.25"),
    (" 4 ", "4"),
]
NO_TEXT: list[tuple[Any, str]] = [
    (["a"], "is an array, not text"),
    ({"a": 1}, "is an object, not text"),
    *TOO_LARGE,
]
SCALARS: list[tuple[Any, str]] = [
    ("plain", "plain"),
    ("007", "007"),
    ("", ""),
    ("naïve 简单 🙂", "naïve 简单 🙂"),
    (7, "7"),
    (Decimal("1.50"), "1.50"),
    (True, "true"),
    (False, "false"),
    (dt.date(2026, 1, 2), "2026-01-02"),
    ("NUL\x00bell\x07", "NULbell"),
]

GOOD: dict[str, list[tuple[Any, str | None]]] = {
    "number": [*NUMERIC],
    "currency": [*NUMERIC],
    "percentage": [*NUMERIC],
    "counter": [(3, "3"), (3.0, "3"), (Decimal("3.00"), "3"), ("12", "12"), (-1, "-1"), (Decimal("1E+2"), "100")],
    "text": [*SCALARS, ("two\r\nlines\tand", "two lines and"), ("a\u2028b", "a b")],
    "note": [*SCALARS, ("two\r\nlines\rthree", "two\nlines\nthree")],
    "bulletPoints": [
        (["a", "b\nc", 3, None, True], "a\nb c\n3\ntrue"),
        ([], ""),
        ("a\r\nb", "a\nb"),
        ("a\n\nb\n", "a\n\nb"),
        ("", ""),
        ("12", "12"),
        (7, "7"),
        (1.5, "1.5"),
        (False, "false"),
        (dt.date(2026, 1, 2), "2026-01-02"),
        ([Decimal("1.50"), dt.date(2026, 1, 2)], "1.50\n2026-01-02"),
    ],
    "snippet": [
        *SCALARS,
        ({"a": [1, Decimal("2.50")]}, '{\n  "a": [\n    1,\n    2.50\n  ]\n}'),
        ([], "[]"),
    ],
    "date": [
        ("2026-03-29", "2026-03-29"),
        (dt.date(2026, 1, 2), "2026-01-02"),
        ("2026-03-29T23:30:00Z", "2026-03-29"),
        ("2026-03-29T23:30:00+00:00", "2026-03-29"),
        ("2026-03-29T00:30:00", "2026-03-29"),
        (dt.datetime(2026, 3, 29, 23, 30, tzinfo=dt.timezone.utc), "2026-03-29"),
    ],
    "status": [*((colour, colour) for colour in sorted(STATUSES)), ("Gray", "grey"), (" RED ", "red")],
    "progress": [(0, "0"), (100, "100"), ("71", "71"), (Decimal("42.5"), "42.5"), (0.5, "0.5")],
}
BAD: dict[str, list[tuple[Any, str]]] = {
    "number": INFINITE,
    "currency": INFINITE,
    "percentage": INFINITE,
    "counter": [*INFINITE, (3.5, "is not a whole number"), ("0.1", "is not a whole number")],
    "text": NO_TEXT,
    "note": NO_TEXT,
    "bulletPoints": [
        ({"a": 1}, "is an object, not an array or text"),
        ([["nested"]], "has an item that is an array, not text"),
        ([{"a": 1}], "has an item that is an object, not text"),
        ([float("nan")], "has an item that is not finite"),
        *TOO_LARGE,
    ],
    "snippet": [(float("inf"), "is not finite"), *TOO_LARGE],
    "date": [
        (7, "is a number, not a date"),
        (1.5, "is a number, not a date"),
        (float("nan"), "is a number, not a date"),
        (Decimal("1E+400"), "is a number, not a date"),
        ("20", "is text, not a date"),
        ("", "is text, not a date"),
        (True, "is a truth value, not a date"),
        ("tomorrow", "is text, not a date"),
        ("2026-02-30", "is text, not a date"),
        (["2026-01-01"], "is an array, not a date"),
        ({}, "is an object, not a date"),
        ("0001-01-01T00:00:00+14:00", "is beyond what a date can be"),
    ],
    "status": [
        ("blue", "is not a status: it must be grey, green, amber or red, or null"),
        ("", "is not a status: it must be grey, green, amber or red, or null"),
        (1, "is not a status: it must be grey, green, amber or red, or null"),
        (1.5, "is not a status: it must be grey, green, amber or red, or null"),
        ("1", "is not a status: it must be grey, green, amber or red, or null"),
        (dt.date(2026, 1, 2), "is not a status: it must be grey, green, amber or red, or null"),
        ({"red": 1}, "is an object, not a status"),
        *TOO_LARGE,
        (True, "is not a status: it must be grey, green, amber or red, or null"),
        (["red"], "is an array, not a status"),
    ],
    "progress": [
        *INFINITE,
        (-1, "is not from 0 to 100"),
        (100.5, "is not from 0 to 100"),
        ("101", "is not from 0 to 100"),
    ],
}
NEEDED: dict[str, dict[str, Any]] = {"percentage": {"input": "percent"}, "currency": {"options": {"ccy": "GBP"}}}


def layout(kind: str, *, numbers: bool = False, **more: Any) -> Layout:
    field = {"id": "f", "type": kind, "label": "F", "data": "value", **NEEDED.get(kind, {}), **more}
    schema: dict[str, Any] = {"properties": {"id": {}, "value": {}, "ccy": {}}}
    return Layout("s", {"fields": [field]}, schema, ["id"], EXPRESSIONS, numbers=numbers)


def filled(made: Layout, value: Any, **row: Any) -> dict[str, Any]:
    (field,) = made.content(made.context({"id": 1, "value": value, **row})).fields
    return field


KINDS = frozenset(
    {
        "truth value",
        "whole number",
        "fraction",
        "not finite",
        "too large or too small",
        "number as text",
        "other text",
        "empty text",
        "array",
        "object",
        "date",
    }
)
"""Kinds of values; null is another, which each type has tests of its own for."""


def kind_of(value: Any) -> str:  # noqa: PLR0911 - one for each kind
    if isinstance(value, bool):
        return "truth value"
    if isinstance(value, int | float | Decimal):
        number = Decimal(value)
        if not number.is_finite():
            return "not finite"
        if not -300 < number.adjusted() < 300:
            return "too large or too small"
        return "whole number" if number == number.to_integral_value() else "fraction"
    if isinstance(value, str):
        try:
            Decimal(value)
        except ArithmeticError:
            return "other text" if value else "empty text"
        return "number as text"
    if isinstance(value, dt.date):
        return "date"
    return "object" if isinstance(value, dict) else "array"


def test_every_type_with_data_is_tested() -> None:
    with_data = {name for name, kind in FIELD_TYPES.items() if kind.encode}
    assert GOOD.keys() == BAD.keys() == with_data
    assert FIELD_TYPES.keys() - with_data == {"heading", "divider"}
    assert len(FIELD_TYPES) == 13


@pytest.mark.parametrize("kind", GOOD)
def test_every_kind_of_value_is_tested_with_every_type(kind: str) -> None:
    tested = {kind_of(value) for value, _ in [*GOOD[kind], *BAD[kind]]}
    assert tested == KINDS, sorted(KINDS - tested)
    assert GOOD[kind]
    assert BAD[kind]


@pytest.mark.parametrize("numbers", [False, True])
def test_the_api_takes_every_good_value(target: Target, numbers: bool) -> None:  # noqa: FBT001
    cases = [(kind, value) for kind, values in GOOD.items() for value, _ in values if value not in (2**70, 1e22)]
    fields = [
        {**filled(layout(kind, numbers=numbers), value), "id": f"f{number}"}
        for number, (kind, value) in enumerate(cases)
    ]
    fields += [{"type": "heading", "id": "h", "label": "Head"}, {"type": "divider", "id": "d"}]
    body = Spelling(numbers=numbers).body(
        Content.hashed("all", fields), "hk-00000000-00000000000000000000", is_draft=False
    )
    api = target.sandbox.harkster
    answer = requests.post(
        f"{api.api_url}/channels/{target.channel}/posts",
        json=body,
        headers={"Authorization": f"Bearer {api.access_token}"},
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    # And what comes back is recognised as the same.
    made = target.make()
    (post,) = made.run.api.posts(target.channel)
    made.run.close()
    assert post.hash == Content.hashed("all", fields).hash


@pytest.mark.parametrize(("kind", "value", "data"), [(kind, *case) for kind, cases in GOOD.items() for case in cases])
def test_a_good_value_becomes_exactly_this(kind: str, value: Any, data: str) -> None:
    expected = {"type": kind, "id": "f", "label": "F", "data": data}
    assert filled(layout(kind), value) == expected | ({"options": {"ccy": "GBP"}} if kind == "currency" else {})


@pytest.mark.parametrize(("kind", "value", "reason"), [(kind, *case) for kind, cases in BAD.items() for case in cases])
def test_a_bad_value_is_refused_for_exactly_this(kind: str, value: Any, reason: str) -> None:
    with pytest.raises(RowError) as refused:
        filled(layout(kind), value)
    assert (refused.value.field, refused.value.reason) == ("f", reason)


@pytest.mark.parametrize("kind", GOOD)
def test_null_is_null_left_out_or_refused(kind: str) -> None:
    expected = {"type": kind, "id": "f", "label": "F"} | ({"options": {"ccy": "GBP"}} if kind == "currency" else {})
    if kind == "progress":
        # The API takes only numbers from 0 to 100.
        with pytest.raises(LayoutError, match="field f: a progress is never null: null must be omit or reject"):
            layout(kind, null="null")
        with pytest.raises(RowError, match="has no field left"):
            filled(layout(kind), None)
    else:
        assert filled(layout(kind), None) == expected
    with pytest.raises(RowError, match="has no field left"):
        filled(layout(kind, null="omit"), None)
    with pytest.raises(RowError, match="f is null"):
        filled(layout(kind, null="reject"), None)


@pytest.mark.parametrize(
    ("value", "ccy", "field"),
    [
        (None, None, None),
        (None, "eur", {"type": "currency", "id": "f", "label": "F", "options": {"ccy": "EUR"}}),
        (5, "eur", {"type": "currency", "id": "f", "label": "F", "data": "5", "options": {"ccy": "EUR"}}),
        (5, None, "f has no currency: the code must be one of ISO 4217, such as GBP"),
    ],
)
def test_an_amount_and_its_currency_are_null_together(value: Any, ccy: Any, field: Any) -> None:
    made = layout("currency", options={"ccy": "ccy"})
    if field is None:
        with pytest.raises(RowError, match="has no field left"):
            filled(made, value, ccy=ccy)
    elif isinstance(field, str):
        with pytest.raises(RowError, match=field):
            filled(made, value, ccy=ccy)
    else:
        assert filled(made, value, ccy=ccy) == field


@pytest.mark.parametrize(
    ("kind", "more", "value", "data"),
    [
        ("percentage", {"input": "fraction"}, Decimal("0.425"), "42.5"),
        ("percentage", {"input": "fraction"}, 1, "100"),
        ("progress", {"clamp": True}, 120, "100"),
        ("progress", {"clamp": True}, -3, "0"),
        ("date", {"timezone": "Asia/Tokyo"}, "2026-03-29T23:30:00Z", "2026-03-30"),
        ("date", {"timezone": "America/New_York"}, "2026-03-29T00:30:00Z", "2026-03-28"),
        ("date", {"timezone": "Asia/Tokyo"}, "2026-03-29", "2026-03-29"),
        ("status", {"values": {"done": "green", "true": "amber"}}, "done", "green"),
        ("status", {"values": {"true": "amber"}}, True, "amber"),
    ],
)
def test_what_is_declared_counts(kind: str, more: dict[str, Any], value: Any, data: str) -> None:
    assert filled(layout(kind, **more), value)["data"] == data


def test_a_status_can_mean_none() -> None:
    assert "data" not in filled(layout("status", values={"n/a": None}), "n/a")


@pytest.mark.parametrize(
    ("ccy", "row", "code"),
    [("eur", {}, "EUR"), ("ccy", {"ccy": "usd"}, "USD"), ("{{ ccy | upper }}", {"ccy": "jpy"}, "JPY")],
)
def test_a_currency_is_constant_or_from_a_column(ccy: str, row: dict[str, Any], code: str) -> None:
    assert filled(layout("currency", options={"ccy": ccy}), 5, **row)["options"] == {"ccy": code}


@pytest.mark.parametrize("code", [None, "XYZ", "", 7, "POUND"])
def test_what_is_no_currency_is_refused(code: Any) -> None:
    with pytest.raises(FieldError, match="ISO 4217"):
        currency_code(code)


@pytest.mark.parametrize(
    ("value", "data", "sent"),
    [
        (Decimal("12.50"), "12.5", 12.5),
        (0.00001, "0.00001", 0.00001),
        (Decimal("1E-300"), "0." + "0" * 299 + "1", 1e-300),
        (Decimal("12.00"), "12", 12),
        (2**60 + 1, str(2**60 + 1), 2**60 + 1),
    ],
)
def test_numbers_can_be_told_as_numbers(target: Target, value: Any, data: str, sent: Any) -> None:
    """What was sent comes back as the same: nothing is to be done for the row when it comes again."""
    settings = {"numbers_as": "number", "streams": {"hours": {"mode": "upsert"}}}
    rows: list[Message | bytes] = [schema(NUMBERS), exactly(1, value)]
    for _ in range(2):
        target.ran(rows, **settings)
        (post,) = target.posts()
        assert (data_of(post)["hours"], post.updates) == (sent, 0)
    assert filled(layout("number", numbers=True), value)["data"] == data
    # Nor is it when the ledger is lost.
    Path(target.config["ledger_url"].removeprefix("sqlite:///")).unlink()
    target.ran(rows, **settings)
    assert [post.updates for post in target.posts()] == [0]


NUMBERS = {"id": {"type": "integer"}, "hours": {"type": "number"}}


def exactly(number: int, value: Any) -> bytes:
    """A row with a number as it is written."""
    return b'{"type":"RECORD","stream":"hours","record":{"id":%d,"hours":%s}}' % (number, str(value).encode())


@pytest.mark.parametrize("value", ["9e308", "-9e308", "1e400"])
def test_a_number_that_not_every_reader_can_hold_is_refused(target: Target, value: str) -> None:
    target.ran([schema(NUMBERS), exactly(1, value), exactly(2, "5")], numbers_as="number")
    assert [data_of(post)["hours"] for post in target.posts()] == [5]
    assert [one["reason"] for one in target.rejects()] == ["is beyond what a number can be"]


def test_headings_and_dividers_have_no_data() -> None:
    fields = [{"id": "h", "type": "header", "label": "Week {{ id }}"}, {"id": "d", "type": "divider"}]
    content = Layout("s", {"fields": fields}, {"properties": {"id": {}}}, ["id"], EXPRESSIONS).content({"id": 7})
    assert content.fields == [{"type": "heading", "id": "h", "label": "Week 7"}, {"type": "divider", "id": "d"}]


@given(
    st.sampled_from(sorted(GOOD)),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.decimals()
        | st.text()
        | st.dates()
        | st.datetimes(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=5,
    ),
)
def test_whatever_comes_is_a_field_or_has_a_reason(kind: str, value: Any) -> None:
    encode = FIELD_TYPES[kind].encode
    assert encode is not None
    if value is None:
        return
    try:
        data = encode(value, Declared(zone=LONDON))
    except FieldError:
        return
    assert data is None or isinstance(data, str)
    if FIELD_TYPES[kind].is_number:
        assert data is not None
        as_number(data)
    if kind == "text":
        assert data is not None
        assert "\n" not in data
