"""Expressions: exact numbers, nulls that are no values, and what people of a country read."""

from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from target_harkster.layout.arithmetic import ARITHMETIC
from target_harkster.layout.expressions import Expressions

from tests.harkster.running import Message, Target, data, record, schema, state

PROPERTIES = {
    "id": {"type": "integer"},
    "week": {"type": "string"},
    "name": {"type": ["null", "string"]},
    "hours": {"type": ["null", "number"]},
    "rate": {"type": ["null", "string"], "format": "singer.decimal"},
    "address": {"type": ["null", "object"], "properties": {"city": {"type": "string"}}},
}


def shown(target: Target, expression: str, *rows: dict[str, Any], kind: str = "text", **settings: Any) -> list[Any]:
    """What an expression makes of rows, each of which is a post."""
    fields = [{"id": "id", "type": "counter", "data": "id"}, {"id": "f", "type": kind, "data": expression}]
    messages = [record(id=number, week="W1", **row) for number, row in enumerate(rows, 1)]
    target.ran([schema(PROPERTIES), *messages], streams={"hours": {"fields": fields}}, **settings)
    return [data(post).get("f") for post in target.posts()]


@pytest.mark.parametrize(
    ("expression", "rows", "expected"),
    [
        ("{{ -hours }}", [{"hours": 3}, {"hours": 2.5}, {"hours": -1}], ["-3", "-2.5", "1"]),
        ("{{ +hours }}", [{"hours": 3}], ["3"]),
        ("in {{ address }}", [{"address": {"city": "Köln"}}, {"address": None}], ['in {"city":"Köln"}', "in "]),
        ("{{ [address, true, none] ~ '' }}", [{"address": {"city": "x"}}], ['[{"city":"x"},true,null]']),
        ("{{ - hours -}}", [{"hours": 3}], ["-3"]),
        ("{{ hours * 1.2 }}", [{"hours": 3}, {"hours": 1.1}, {"hours": 0.1}], ["3.6", "1.32", "0.12"]),
        ("{{ hours + 0.2 }}", [{"hours": 0.1}, {"hours": 1}], ["0.3", "1.2"]),
        ("{{ hours / 40 * 100 }}", [{"hours": 36}, {"hours": 0.4}], ["90", "1"]),
        ("{{ (hours / 3) | round(2) }}", [{"hours": 2}, {"hours": 0.075}], ["0.67", "0.03"]),
        ("{{ hours | round(2) }}", [{"hours": 2.675}, {"hours": 2.665}, {"hours": -2.675}], ["2.68", "2.67", "-2.68"]),
        ("{{ hours | round(1, 'floor') }}", [{"hours": 2.68}, {"hours": -2.68}], ["2.6", "-2.7"]),
        ("{{ '%.2f' % hours }}", [{"hours": 2.675}], ["2.68"]),
        ("{{ '%.2f' | format(hours) }}", [{"hours": 1.005}], ["1.01"]),
        ("{{ hours // 2 }} {{ hours % 2 }}", [{"hours": -7}, {"hours": -7.5}], ["-4 1", "-4 0.5"]),
        ("{{ [hours, 1.25, 2] | sum }}", [{"hours": 0.1}], ["3.35"]),
        ("{{ [hours, 1.25] | max }} {{ [hours, 1.25] | min }}", [{"hours": 3}], ["3 1.25"]),
        ("{{ hours == 40.1 }} {{ hours < 40.1 }} {{ 40 < hours <= 40.1 }}", [{"hours": 40.1}], ["true false true"]),
        ("{{ hours * rate }}", [{"hours": 3, "rate": "12.345678901234567890"}], ["37.03703670370370367"]),
        ("{{ hours | float }}", [{"hours": 0.1}], ["0.1"]),
        ("{{ hours * 10 ** 20 + 0.01 }}", [{"hours": 12345678901}], ["1234567890100000000000000000000.01"]),
        (
            "{% set a = namespace(h=0) %}{% for _ in range(3) %}{% set a.h = a.h + 0.1 %}{% endfor %}{{ a.h }}",
            [{}],
            ["0.3"],
        ),
    ],
)
def test_numbers_are_exact(target: Target, expression: str, rows: list[Message], expected: list[str]) -> None:
    assert shown(target, expression, *rows) == expected


EXPRESSIONS = Expressions("en", lambda *_: None)
_NUMBERS = st.integers(-(10**15), 10**15) | st.decimals(-(10**9), 10**9, places=4)


@given(st.lists(st.none() | _NUMBERS, min_size=1), _NUMBERS)
def test_sums_and_products_are_those_of_decimals(many: list[Any], factor: Any) -> None:
    rows = [{"hours": one} for one in many]
    known = [Decimal(one) for one in many if one is not None]

    def value(text: str) -> Any:
        return EXPRESSIONS.value(text)({"rows": rows, "first": many[0], "factor": factor})

    with localcontext(ARITHMETIC):
        total = sum(known)
        expected = None if many[0] is None else Decimal(many[0]) * Decimal(factor) - 1
    assert value("{{ rows | sum(attribute='hours') }}") == total
    assert value("{{ rows | map(attribute='hours') | max }}") == max(known, default=None)
    assert value("{{ first * factor - 1 }}") == expected
    assert value("{{ first < factor }}") is (many[0] is not None and Decimal(many[0]) < Decimal(factor))


TEXTS: list[Message] = [{"name": "9"}, {"name": "10"}, {"name": "2.5"}]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("{{ name * 2 }}", ["18", "20", "5"]),
        ("{{ name * 1000000000 }}", ["9000000000", "10000000000", "2500000000"]),
        ("{{ 2 * name }} {{ name - 1 }} {{ name + 1 }}", ["18 8 10", "20 9 11", "5 1.5 3.5"]),
        ("{{ (name | float) + (name | float) }}", ["18", "20", "5.0"]),
        ("{{ name ~ name }}", ["99", "1010", "2.52.5"]),
        ("{{ 'over' if name > '5' else 'under' }} {{ name < 3 }}", ["over false", "over false", "under true"]),
        ("{{ name | int }}", ["9", "10", "2"]),
    ],
)
def test_a_text_that_is_a_number_is_calculated_with_as_one(
    target: Target, expression: str, expected: list[str]
) -> None:
    assert shown(target, expression, *TEXTS) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("{{ rows | map(attribute='name') | max }}", "10"),
        ("{{ rows | map(attribute='name') | min }}", "2.5"),
        ("{{ (rows | max(attribute='name')).name }}", "10"),
        ("{{ rows | map(attribute='name') | sort | join(' ') }}", "2.5 9 10"),
        ("{{ rows | selectattr('name', 'gt', '5') | list | length }}", "2"),
    ],
)
def test_texts_that_are_numbers_are_put_in_the_order_of_numbers(target: Target, expression: str, expected: str) -> None:
    weekly = {"group_by": ["week"], "fields": [{"id": "f", "type": "text", "data": expression}]}
    messages = [record(id=at, week="W1", **row) for at, row in enumerate(TEXTS)]
    target.ran([schema(PROPERTIES), *messages, state(1)], streams={"hours": weekly})
    assert [data(post)["f"] for post in target.posts()] == [expected]


def test_a_nought_has_no_sign(target: Target) -> None:
    assert shown(target, "{{ hours }} {{ -0.4 | round }}", {"hours": -0.0}) == ["0.0 0"]


def test_a_number_field_shows_no_sign_with_a_nought(target: Target) -> None:
    assert shown(target, "{{ hours }}", {"hours": -0.0}, kind="number") == ["0.0"]


def test_a_text_that_is_no_number_has_the_default_that_is_given(target: Target) -> None:
    assert shown(target, "{{ name | float(5) }} {{ name | int(-1) }}", {"name": "n/a"}) == ["5 -1"]


def test_a_heading_without_a_label_is_left_out(target: Target) -> None:
    fields = [{"id": "head", "type": "heading", "label": "{{ name }}"}, {"id": "id", "type": "counter", "data": "id"}]
    target.ran(
        [schema(PROPERTIES), record(id=1, name="Ann"), record(id=2, name=None)], streams={"hours": {"fields": fields}}
    )
    assert [[field["id"] for field in shown] for shown in target.fields()] == [["head", "id"], ["id"]]


def test_a_number_field_gets_the_number(target: Target) -> None:
    rows: list[Message] = [{"hours": 3}, {"hours": 2.5}, {"hours": None}]
    assert shown(target, "{{ -hours * 1.2 }}", *rows, kind="number") == ["-3.6", "-3", None]


@pytest.mark.parametrize(
    ("expression", "row", "expected"),
    [
        ("Hi {{ name }}!", {"name": None}, "Hi !"),
        ("{{ 'Hi ' ~ name }}", {"name": None}, "Hi "),
        ("{{ 'Hi ' + name }}", {"name": None}, "Hi "),
        ("{{ 'Hi %s' % name }}", {"name": None}, None),
        ("{{ 'Hi %s' | format(name) }}", {"name": None}, "Hi "),
        ("{{ [name, 'x', hours] | join(', ') }}", {"name": None, "hours": None}, "x"),
        ("{{ name | upper }}", {"name": None}, None),
        ("{{ name | default('you') | upper }}", {"name": None}, "YOU"),
        ("{{ name.split(' ')[0] }}", {"name": None}, None),
        ("{{ hours * 1.2 + 1 }}", {"hours": None}, None),
        ("{{ hours | round(2) }} h", {"hours": None}, " h"),
        ("{{ hours | number }}", {"hours": None}, None),
        ("{{ 'long' if hours > 40 else 'short' }}", {"hours": None}, "short"),
        ("{{ address.city }}", {"address": None}, None),
        ("{{ address.city }}", {"address": {}}, None),
        ("{{ row.name }}", {}, None),
    ],
)
def test_null_is_no_value(target: Target, expression: str, row: dict[str, Any], expected: str | None) -> None:
    assert shown(target, expression, row) == [expected]
    assert target.rejects() == []


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("{{ rows | sum(attribute='hours') }}", "3.3"),
        ("{{ rows | mean(attribute='hours') }}", "1.65"),
        ("{{ rows | map(attribute='hours') | min }} {{ rows | map(attribute='hours') | max }}", "1.1 2.2"),
        ("{{ (rows | max(attribute='hours')).name }}", "Bob"),
        ("{{ rows | sort(attribute='hours', reverse=true) | map(attribute='name') | join(' ') }}", "Bob Ann Cid"),
        ("{{ rows | sort(attribute='name') | map(attribute='id') | join(' ') }}", "1 2 3 4"),
        ("{% for name, of in rows | groupby('name') %}{{ name }}={{ of | sum(attribute='hours') }};{% endfor %}",
         "Ann=1.1;Bob=2.2;Cid=0;=0;"),
        ("{{ rows | selectattr('hours', '>', 1.1) | list | length }}", "1"),
        ("{{ rows | length }} {{ rows | map(attribute='name') | join(', ') }}", "4 Ann, Bob, Cid"),
    ],
)  # fmt: skip
def test_nulls_are_left_out_of_what_is_made_of_many_rows(target: Target, expression: str, expected: str) -> None:
    weekly = {"group_by": ["week"], "fields": [{"id": "f", "type": "text", "data": expression}]}
    rows = [("Ann", 1.1), ("Bob", 2.2), ("Cid", None), (None, None)]
    messages = [record(id=at, week="W1", name=name, hours=hours) for at, (name, hours) in enumerate(rows, 1)]
    target.ran([schema(PROPERTIES), *messages, state(1)], streams={"hours": weekly})
    assert [data(post)["f"] for post in target.posts()] == [expected]


@pytest.mark.parametrize(
    ("expression", "english", "german"),
    [
        ("{{ hours | number }}", "12,345.678", "12.345,678"),
        ("{{ hours | number(1) }}", "12,345.7", "12.345,7"),
        ("{{ 2 | number(2) }}", "2.00", "2,00"),
        ("{{ hours | currency('eur') }}", "€12,345.68", "12.345,68\xa0€"),
        ("{{ 0.425 | percent }} {{ 0.425 | percent(1) }}", "43% 42.5%", "43\xa0% 42,5\xa0%"),
        ("{{ -0.004 | currency('EUR') }}", "€0.00", "0,00\xa0€"),
        ("{{ -0.004 | number(2) }} {{ -0.0004 | number }} {{ -0.004 | percent }}", "0.00 0 0%", "0,00 0 0\xa0%"),
        ("{{ -0.006 | number(2) }}", "-0.01", "-0,01"),
        ("{{ '2026-11-02' | date }}", "Nov 2, 2026", "02.11.2026"),
        ("{{ '2026-11-02t23:30:00z' | datetime('HH:mm', 'Europe/Berlin') }}", "00:30", "00:30"),
        ("{{ '2026-11-02' | date('EEEE d MMMM') }}", "Monday 2 November", "Montag 2 November"),
        ("{{ '2026-11-02T23:30:00Z' | date('short', 'Asia/Tokyo') }}", "11/3/26", "03.11.26"),
        ("{{ '2026-11-02T23:30:00Z' | datetime('HH:mm', 'Europe/Berlin') }}", "00:30", "00:30"),
    ],
)
def test_people_read_what_is_usual_where_they_live(
    target: Target, tmp_path: Path, expression: str, english: str, german: str
) -> None:
    assert shown(target, expression, {"hours": 12345.678}) == [english]
    target = Target(target.sandbox, target.channel, {**target.config, "ledger_url": f"sqlite:///{tmp_path}/de.db"})
    assert shown(target, expression, {"hours": 12345.678}, {"hours": 12345.678}, locale="de-DE")[-1] == german


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("{{ hours / 0 }}", "has an expression that divides by zero"),
        ("{{ [hours, 'x'] | sum }}", "has an expression with a value that is text, not a number"),
        ("{{ name | currency('GBP') }}", "has an expression with a value that is text, not a number"),
        ("{{ hours | currency('POUND') }}", "has an expression with a value that has no currency: the code must be"),
        ("{{ name | date }}", "has an expression with a value that is text, not a date"),
        ("{{ '2026-11-02' | date('HH:mm') }}", "has an expression with a value that is shown without its time of day"),
        ("{{ '2026-11-02T08:00' | date('HH:mm') }}", "has an expression with a value that is shown without its time"),
        ("{{ '9999-12-28' | add_days(7) }}", "has an expression with a value that is beyond what a date can be"),
        ("{{ '0001-01-01T00:00Z' | date('d', 'America/Lima') }}", "has an expression with a value that is beyond what"),
        ("{{ name.upper }}", "is a method, whose brackets are missing, not text"),
        ("of {{ name.upper }}", "has an expression with a value that is a method, whose brackets are missing"),
        ("{{ name | float }}", "has an expression with a value that is text, not a number"),
        ("{{ '1,234.50' | int }}", "has an expression with a value that is text, not a number"),
        ("{{ '8' + '2' }}", "has an expression with a value that is made of two texts that are numbers"),
        ("{{ name > 1 }}", "has an expression that fails: TypeError"),
    ],
)
def test_what_cannot_be_calculated_is_said(target: Target, expression: str, reason: str) -> None:
    assert shown(target, expression, {"hours": 1, "name": "x"}) == []
    assert [one["field"] for one in target.rejects()] == ["f"]
    assert target.rejects()[0]["reason"].startswith(reason)
