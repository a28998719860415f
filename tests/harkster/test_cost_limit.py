"""No expression takes for ever, or all of the memory: what would is refused in a sentence, and its row set aside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from target_harkster.layout.expressions import Expressions
from target_harkster.layout.schemas import Sample
from target_harkster.vendor.field_types import FieldError

from tests.harkster.running import data, record, schema

if TYPE_CHECKING:
    from tests.harkster.running import Target

STEPS = "has an expression that takes more than 300,000 steps"
SIZE = "has an expression that has more than 1,000,000 characters or items"
WIDTH = "has an expression that is asked for a width of more than 100"
FORM = "has an expression that has a form with a width of more than 99, or of one that is no number"
NUMBER = "has an expression with a value that is beyond what a number can be"
LONG = "('x' * 1000000)"


def grown(begin: str, grow: str) -> str:
    """Something that gets larger in every turn."""
    turns = f"{{% for turn in range(100) %}}{{% set it.x = {grow} %}}{{% endfor %}}"
    return f"{{% set it = namespace(x={begin}) %}}{turns}{{{{ it.x }}}}"


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("{{ range(10 ** 9) | list | length }}", SIZE),
        ("{{ range(1000000000) | list | length }}", SIZE),
        ("{{ 10 ** (10 ** 9) }}", NUMBER),
        ("{{ 'x' * 10 ** 9 }}", SIZE),
        ("{{ 1000000000 * 'x' }}", SIZE),
        ("{{ [0] * 1000000000 }}", SIZE),
        ("{{ '%1000000000d' % 1 }}", WIDTH),
        ("{{ '%.1000000000f' | format(1) }}", WIDTH),
        (f"{{{{ {'%s' * 100!r} | format(*[{LONG}] * 100) }}}}", SIZE),
        ("{{ '{:1000000000}'.format(1) }}", FORM),
        ("{{ '{:{}}'.format(1, 10 ** 9) }}", FORM),
        (f"{{{{ ('{{0}}' * 1000).format({LONG}) }}}}", SIZE),
        ("{{ 'x'.center(1000000000) }}", "has an expression that fails: access to attribute 'center' of 'str' object"),
        ("{{ 'x' | center(1000000000) }}", WIDTH),
        ("{{ 1 | number(1000000000) }}", WIDTH),
        ("{{ 1 | round(1000000000) }}", WIDTH),
        ("{{ [1] | batch(1000000000, 'x') | list }}", WIDTH),
        (f"{{{{ {LONG}.replace('x', {LONG}) }}}}", SIZE),
        (f"{{{{ {LONG} | replace('x', {LONG}) }}}}", SIZE),
        (f"{{{{ {LONG}.join(['a'] * 1000) }}}}", SIZE),
        (f"{{{{ ([{LONG}] * 1000) | join }}}}", SIZE),
        (f"{{{{ [{LONG}] * 1000000 }}}}", STEPS),
        (f"{{{{ ([{LONG}] * 1000000) | tojson }}}}", STEPS),
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", STEPS),
        (f"{{% for a in range(99999) %}}{{{{ {LONG} }}}}{{% endfor %}}", STEPS),
        (f"{{% for a in range(99999) %}}{'x' * 1000}{{% endfor %}}", STEPS),
        ("{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(99) }}", STEPS),
        (grown("3", "it.x * it.x"), NUMBER),
        (grown("'x'", "it.x + it.x"), SIZE),
        (grown("'x'", "it.x ~ it.x"), STEPS),
        (grown("[1]", "[it.x, it.x]"), STEPS),
    ],
)
def test_what_has_no_bounds_is_refused(monkeypatch: pytest.MonkeyPatch, expression: str, reason: str) -> None:
    monkeypatch.setattr("target_harkster.layout.cost_limit.STEPS", 300_000)
    evaluate = Expressions("en", lambda *_: None).value(expression)
    with pytest.raises(FieldError) as refused:
        evaluate(Sample())
    assert str(refused.value).startswith(reason)


def test_what_ends_nowhere_is_told_before_the_first_post(target: Target) -> None:
    fields = [{"id": "f", "type": "number", "data": "{{ range(10 ** 9) | sum }}"}]
    ran = target.run([schema(), record(id=1, name="one")], streams={"hours": {"fields": fields}})
    assert str(ran.error) == f"streams.hours, field f: it {SIZE}."
    assert target.posts() == []


def test_the_row_that_asks_for_too_much_is_set_aside(target: Target) -> None:
    fields = [{"id": "f", "type": "text", "data": "{{ 'x' * id }}"}]
    rows = [record(id=3, name="a"), record(id=10**9, name="b"), record(id=1, name="c")]
    target.ran([schema(), *rows], streams={"hours": {"fields": fields}})
    assert [data(post)["f"] for post in target.posts()] == ["xxx", "x"]
    assert [(one["key"], one["reason"]) for one in target.rejects()] == [("[1000000000]", SIZE)]


@pytest.mark.parametrize(
    ("expression", "shown"),
    [
        ("{% for x in [1, 2, 3] %}{{ loop.index }}/{{ loop.length }}{{ ', ' if not loop.last }}{% endfor %}",
         "1/3, 2/3, 3/3"),
        ("{% for x in [1, [2]] recursive %}{{ x if x is number else loop(x) }};{% endfor %}", "1;2;;"),
        ("{{ range(10 ** 1) | list | length }}", "10"),
        ("{{ ', '.join(['a', 'b']) }} {{ '{:.2f}'.format(3) }} {{ 'a-b'.replace('-', '') }} {{ '%05.1f' % 2.25 }}",
         "a, b 3.00 ab 002.3"),
        ("x{% for one in none %}{{ one }}{% endfor %}", "x"),
        ("{{ rows | map(attribute='name') }} of {{ rows | length }}", '["Ann","Bob"] of 2'),
    ],
)  # fmt: skip
def test_what_has_bounds_works_as_ever(expression: str, shown: str) -> None:
    rows = [{"name": "Ann"}, {"name": "Bob"}]
    assert Expressions("en", lambda *_: None).text(expression)({"rows": rows}) == shown
