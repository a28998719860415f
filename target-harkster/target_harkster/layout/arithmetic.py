"""How expressions calculate: arithmetic is decimal, and null means no value.

A null in arithmetic gives null, a comparison with it is false, a text shows nothing for it, and it is left out of sums,
means, least and greatest. What rounds, rounds half up. A text that reads as a number is one, as taps send decimals so.
"""

from __future__ import annotations

import datetime as dt
import decimal
import functools
import itertools
import operator
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import jinja2
from jinja2.filters import do_int, ignore_case, make_attrgetter, make_multi_attrgetter
from jinja2.utils import missing
from singer_sdk.contrib.msgspec import encoder

from target_harkster.layout.errors import check_size, check_width
from target_harkster.vendor.field_types import FieldError, as_decimal, as_moment, as_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

ARITHMETIC = decimal.Context(prec=100, rounding=decimal.ROUND_HALF_UP)
_QUOTIENTS = decimal.Context(prec=28, rounding=decimal.ROUND_HALF_UP)
"""Endless quotients are cut off sooner than exact results."""
_ROUNDINGS = {"common": decimal.ROUND_HALF_UP, "ceil": decimal.ROUND_CEILING, "floor": decimal.ROUND_FLOOR}
_LARGEST_BITS = 4_000
"""Most digits of two whole numbers together in a calculation."""
_LONGEST = 25
"""Most digits of a number without an exponent."""


def exact(value: Any) -> Any:
    """A value with exact numbers: no binary fractions and no exponents."""
    if isinstance(value, float):
        value = Decimal(repr(value))
    if isinstance(value, Decimal):
        return _plain(value)
    if isinstance(value, dict):
        return {key: exact(inner) for key, inner in value.items()}
    return [exact(inner) for inner in value] if isinstance(value, list) else value


def shown(value: Any) -> str:
    """A value within a text."""
    if value is None:
        return ""
    if isinstance(value, jinja2.Undefined):
        return str(value)  # raises, and says why
    if isinstance(value, dict | list | tuple):
        return encoder.encode(value).decode()
    return as_text(value)


def number(value: Any) -> int | Decimal:
    """A number, also one that comes as text."""
    if isinstance(value, int):
        return int(value)
    if isinstance(value, jinja2.Undefined):
        str(value)  # raises, and says why
    return _plain(as_decimal(value))


def _read(value: Any) -> Any:
    """Turn a text that reads as a number into the number."""
    try:
        return number(value) if isinstance(value, str) else value
    except FieldError:
        return value


def in_order(value: Any, *, case_sensitive: bool) -> tuple[bool, Any]:
    """What a value is sorted by. Numbers come first, also those in texts."""
    value = _read(value)
    return isinstance(value, str), value if case_sensitive else ignore_case(value)


def _plain(value: Decimal) -> Decimal:
    exponent = value.as_tuple().exponent
    return Decimal(int(value)) if isinstance(exponent, int) and exponent > 0 and value.adjusted() < _LONGEST else value


def trimmed(value: Decimal) -> Decimal:
    """Drop the zeros at the end that multiplication and division add."""
    return _plain(value.normalize()) if value.is_finite() else value


# Operators


def calculate(sign: str, left: Any, right: Any) -> Any:
    """Apply an operator of arithmetic; raises :class:`TooCostlyError` where it makes too much."""
    is_text = isinstance(left, str) or (isinstance(right, str) and sign == "+")
    if left is None or right is None:
        return shown(left) + shown(right) if is_text and sign == "+" else None
    if isinstance(left, str) and sign == "%":
        return formatted(left, *(right if isinstance(right, tuple) else (right,)))
    left, right = exact(left), exact(right)
    if not (isinstance(left, str) and isinstance(right, str)):
        left, right = _read(left), _read(right)
    elif sign == "+" and not (isinstance(_read(left), str) or isinstance(_read(right), str)):
        raise FieldError("is made of two texts that are numbers: add `left | float`, or join them with ~")
    are_whole = isinstance(left, int) and isinstance(right, int)
    if are_whole and left.bit_length() + right.bit_length() > _LARGEST_BITS:
        raise FieldError("is beyond what a number can be")
    if not isinstance(left, int | Decimal) or not isinstance(right, int | Decimal):
        _check_length(sign, left, right)
        return _OPERATORS[sign](left, right)
    if are_whole and sign in _WHOLE:
        return _OPERATORS[sign](left, right)
    result = _OPERATORS[sign](Decimal(left), Decimal(right))
    return result if sign in {"+", "-"} else trimmed(result)


def _check_length(sign: str, left: Any, right: Any) -> None:
    """Refuse to repeat or join texts or lists if the result would be too large."""
    length, other = (len(side) if isinstance(side, str | list | tuple) else side for side in (left, right))
    if sign in {"*", "+"}:
        check_size(_OPERATORS[sign](length, other))


def _floor(left: Any, right: Any) -> Any:
    if isinstance(left, Decimal):
        return (left / right).to_integral_value(decimal.ROUND_FLOOR)
    return left // right


_WHOLE = frozenset({"+", "-", "*", "//", "%"})
"""Operators that turn two whole numbers into one."""
_OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": lambda left, right: _QUOTIENTS.divide(Decimal(left), Decimal(right)),
    "//": _floor,
    "%": lambda left, right: left - right * _floor(left, right),
    "**": lambda left, right: _QUOTIENTS.power(Decimal(left), Decimal(right)),
}


def compare(name: str, left: Any, right: Any) -> bool:
    """Compare two values by the name of Jinja's operator."""
    left, right = exact(left), exact(right)
    if name in {"in", "notin"}:
        return (right is not None and left in right) is (name == "in")
    if name not in {"eq", "ne"} and (left is None or right is None):
        return False
    if name not in {"eq", "ne"} and isinstance(_read(left), str) is isinstance(_read(right), str):
        left, right = _read(left), _read(right)
    return bool(getattr(operator, _COMPARISONS.get(name, name))(left, right))


_COMPARISONS = {"lteq": "le", "gteq": "ge"}
TESTS: Mapping[str, Callable[[Any, Any], bool]] = {
    name: lambda left, right, meaning=meaning: compare(meaning, left, right)  # type: ignore[misc]
    for meaning, names in {
        "eq": ("eq", "equalto", "=="),
        "ne": ("ne", "!="),
        "gt": ("gt", "greaterthan", ">"),
        "gteq": ("ge", ">="),
        "lt": ("lt", "lessthan", "<"),
        "lteq": ("le", "<="),
        "in": ("in",),
    }.items()
    for name in names
}


# Filters of many values


def _values(environment: jinja2.Environment, many: Iterable[Any], attribute: str | int | None) -> Iterator[Any]:
    """The values that are not null."""
    yield from (value for value in map(make_attrgetter(environment, attribute), many) if value is not None)


@jinja2.pass_environment
def _sum(environment: jinja2.Environment, many: Iterable[Any], attribute: Any = None, start: Any = 0) -> Any:
    return sum(map(number, _values(environment, many, attribute)), number(start))


@jinja2.pass_environment
def _mean(environment: jinja2.Environment, many: Iterable[Any], attribute: Any = None) -> Any:
    values = [number(value) for value in _values(environment, many, attribute)]
    return calculate("/", sum(values), len(values)) if values else None


def _extreme(choose: Callable[..., Any]) -> Callable[..., Any]:
    @jinja2.pass_environment
    def chosen(
        environment: jinja2.Environment,
        many: Iterable[Any],
        case_sensitive: bool = False,  # noqa: FBT001, FBT002 - as in Jinja
        attribute: Any = None,
    ) -> Any:
        value_of = make_attrgetter(environment, attribute)
        found = [one for one in many if value_of(one) is not None]
        return choose(found, key=lambda one: in_order(value_of(one), case_sensitive=case_sensitive), default=None)

    return chosen


@jinja2.pass_environment
def _sort(
    environment: jinja2.Environment,
    many: Iterable[Any],
    reverse: bool = False,  # noqa: FBT001, FBT002 - as in Jinja
    case_sensitive: bool = False,  # noqa: FBT001, FBT002
    attribute: Any = None,
) -> list[Any]:
    def nulls_last(value: Any) -> Any:
        return (value is None) is not reverse, in_order(value, case_sensitive=case_sensitive)

    return sorted(many, key=make_multi_attrgetter(environment, attribute, postprocess=nulls_last), reverse=reverse)


class _Group(NamedTuple):
    grouper: Any
    list: list[Any]


@jinja2.pass_environment
def _groupby(
    environment: jinja2.Environment,
    many: Iterable[Any],
    attribute: Any,
    default: Any = None,
    case_sensitive: bool = False,  # noqa: FBT001, FBT002 - as in Jinja
) -> list[_Group]:
    value_of = make_attrgetter(environment, attribute, default=default)

    def key(one: Any) -> Any:
        value = value_of(one)
        return value is None, value if case_sensitive else ignore_case(value)

    groups = [list(group) for _, group in itertools.groupby(sorted(many, key=key), key)]
    return [_Group(value_of(group[0]), group) for group in groups]


def join(many: Iterable[Any], between: str = "", attribute: Any = None) -> str:
    """The values that are not null, one after the other; raises :class:`TooCostlyError` where it is too much."""
    values = (one if attribute is None else one[attribute] for one in many)
    texts, between = [shown(value) for value in values if value is not None], shown(between)
    check_size(sum(map(len, texts)) + len(between) * len(texts))
    return between.join(texts)


# Filters of one value


def _default(value: Any, instead: Any = "", boolean: bool = False) -> Any:  # noqa: FBT001, FBT002 - as in Jinja
    is_missing = value is None or isinstance(value, jinja2.Undefined) or (boolean and not value)
    return instead if is_missing else value


def _round(value: Any, precision: int = 0, method: str = "common") -> Decimal:
    return trimmed(rounded(value, precision, method))


def rounded(value: Any, precision: int, method: str = "common") -> Decimal:
    """A number with so many digits behind its point."""
    return Decimal(number(value)).quantize(Decimal(1).scaleb(-precision), _ROUNDINGS[method])


def _float(value: Any, default: Any = missing) -> Any:
    try:
        return number(value)
    except FieldError:
        # Jinja's own default is 0, which looks like a number that was there.
        if default is missing:
            raise
        return default


def _int(value: Any, default: Any = missing, base: int = 10) -> Any:
    return int(_float(value, default)) if base == 10 else do_int(value, default, base)  # noqa: PLR2004 - as in Jinja


def formatted(text: str, *values: Any, **named: Any) -> str:
    """Fill a text by the rules of ``%``."""
    remaining = iter(values)
    check_size(text.count("%") * max((len(shown(value)) for value in (*values, *named.values())), default=0))

    def filled(match: re.Match[str]) -> str:
        flags, width, digits, kind = match["flags"], match["width"], match["digits"], match["kind"]
        if kind == "%":
            return "%"
        check_width(int(width or 0))
        check_width(int(digits or 0))
        value = named[match["name"]] if match["name"] else next(remaining)
        if value is None or kind == "s":
            return f"%{flags}{width}s" % shown(value)
        if kind in "fF":
            # Python itself would calculate with binary fractions.
            sides = ("<" if "-" in flags else "", "+" if "+" in flags else "", "0" if flags.strip("+ #") == "0" else "")
            return format(Decimal(number(value)), f"{''.join(sides)}{width}.{6 if digits is None else digits or 0}f")
        return str(f"%{flags}{width}{'' if digits is None else '.' + digits}{kind}" % value)

    return _CONVERSION.sub(filled, text)


_CONVERSION = re.compile(
    r"%(?:\((?P<name>\w+)\))?(?P<flags>[-+ 0#]*)(?P<width>\d*)(?:\.(?P<digits>\d*))?(?P<kind>[a-zA-Z%])"
)


def _add_days(value: Any, days: int) -> str:
    return (as_moment(value) + dt.timedelta(days=int(days))).isoformat()


def null_stays(take: Callable[..., Any]) -> Callable[..., Any]:
    """Make a filter give null for a null."""
    place = int(hasattr(take, "jinja_pass_arg"))

    @functools.wraps(take)
    def taken(*args: Any, **kwargs: Any) -> Any:
        return None if args[place] is None else take(*args, **kwargs)

    return taken


FILTERS: Mapping[str, Callable[..., Any]] = {
    "add_days": _add_days,
    "float": _float,
    "format": formatted,
    "groupby": _groupby,
    "int": _int,
    "join": join,
    "max": _extreme(max),
    "mean": _mean,
    "min": _extreme(min),
    "round": _round,
    "sort": _sort,
    "sum": _sum,
}
NULL_FILTERS: Mapping[str, Callable[..., Any]] = {"default": _default, "d": _default}
"""Filters that do something with a null."""
