"""The 13 field types, checked as strictly as the vendor's guide can be read (guide, Field Types)."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from http import HTTPStatus
from math import isfinite
from typing import Any

from api_sandbox.api import Refused
from api_sandbox.harkster.scenario import DateForm, HeadingName, ValueForm

Dataset = list[dict[str, Any]]

_ATTRIBUTES = frozenset({"type", "id", "label", "data", "name", "options"})
_STATUSES = frozenset({"grey", "green", "amber", "red"})
_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?", re.ASCII)
_WHOLE = re.compile(r"-?[0-9]+", re.ASCII)
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})", re.ASCII
)
_MICROSECONDS = re.compile(r"\.([0-9]+)")
_FULL_PROGRESS = 100


class _FieldError(ValueError):
    """What is wrong with a field."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Where the guide leaves a choice, the one that is made."""

    heading: HeadingName
    values: ValueForm
    dates: DateForm


def check_dataset(dataset: Any, rules: Rules) -> None:
    """Check the fields of a post."""
    if not isinstance(dataset, list) or not dataset:
        raise Refused(HTTPStatus.BAD_REQUEST, "data.dataset must be a list of fields")
    seen: set[str] = set()
    for place, field in enumerate(dataset):
        try:
            _check(field, rules)
            _check_id(field.get("id"), seen)
        except _FieldError as wrong:
            raise Refused(HTTPStatus.BAD_REQUEST, f"data.dataset[{place}]: {wrong}") from wrong


def _check_id(own_id: str | None, seen: set[str]) -> None:
    """An id ties a field together over posts, so there can be only one of it in each."""
    if own_id is None:
        return
    if not own_id or own_id in seen:
        raise _FieldError(f"id {own_id!r} is empty or there twice")
    seen.add(own_id)


def _check(field: Any, rules: Rules) -> None:
    if not isinstance(field, dict):
        raise _FieldError("a field must be an object")
    kind = field.get("type")
    check = _CHECKS.get(kind) if isinstance(kind, str) else None
    if check is None or (kind in {"heading", "header"} and rules.heading not in {"both", kind}):
        raise _FieldError(f"type {kind!r} is unknown")
    unknown = field.keys() - _ATTRIBUTES
    if unknown:
        raise _FieldError(f"unknown attributes: {', '.join(sorted(unknown))}")
    for attribute in ("id", "label", "name"):
        if not isinstance(field.get(attribute), str | None):
            raise _FieldError(f"{attribute} must be a string")
    check(field, rules)
    if kind != "currency" and field.get("options"):
        raise _FieldError(f"{kind} takes no options")


def _check_number(field: Mapping[str, Any], rules: Rules) -> None:
    kind, data = field["type"], field.get("data")
    if isinstance(data, str):
        sound = rules.values != "numbers" and _DECIMAL.fullmatch(data) is not None
    else:
        is_number = isinstance(data, int | float) and not isinstance(data, bool) and isfinite(data)
        sound = data is None or (rules.values != "strings" and is_number)
    if not sound:
        raise _FieldError(f"data {data!r} is not a number")
    if kind == "counter" and (isinstance(data, float) or (isinstance(data, str) and not _WHOLE.fullmatch(data))):
        raise _FieldError(f"data {data!r} is not a whole number")
    # The guide says of a status that it must be null or a colour, and of a progress that it must be a number.
    if kind == "progress" and (data is None or not 0 <= float(data) <= _FULL_PROGRESS):
        raise _FieldError(f"data {data!r} is not from 0 to 100")


def _check_currency(field: Mapping[str, Any], rules: Rules) -> None:
    _check_number(field, rules)
    options = field.get("options")
    if not isinstance(options, dict) or options.keys() != {"ccy"}:
        raise _FieldError("currency needs options with ccy and nothing else")
    if not isinstance(options["ccy"], str) or not _CURRENCY.fullmatch(options["ccy"]):
        raise _FieldError(f"options.ccy {options['ccy']!r} is not the code of a currency")


def _check_text(field: Mapping[str, Any], _rules: Rules) -> None:
    data = field.get("data")
    if not isinstance(data, str | None):
        raise _FieldError("data must be a string")
    if field["type"] == "text" and re.search("[\n\r]", data or ""):
        raise _FieldError("data must be a single line")


def _check_bare(field: Mapping[str, Any], _rules: Rules) -> None:
    bare = ("label", "data", "name") if field["type"] == "divider" else ("data", "name")
    if any(field.get(attribute) is not None for attribute in bare):
        raise _FieldError(f"a {field['type']} has {', no '.join(('no ' + bare[0], *bare[1:-1]))} and no {bare[-1]}")


def _check_status(field: Mapping[str, Any], _rules: Rules) -> None:
    data = field.get("data")
    if data is not None and (not isinstance(data, str) or data not in _STATUSES):
        raise _FieldError(f"data {data!r} is not null, grey, green, amber or red")


def _check_date(field: Mapping[str, Any], rules: Rules) -> None:
    data = field.get("data")
    if data is not None and not (isinstance(data, str) and _is_date(data, rules.dates)):
        raise _FieldError(f"data {data!r} is not a date")


def _is_date(text: str, form: DateForm) -> bool:
    try:
        if form != "datetime" and _DATE.fullmatch(text):
            date.fromisoformat(text)
            return True
        if form != "date" and _MOMENT.fullmatch(text):
            # Python 3.10 reads six digits of a second and no Z.
            whole = _MICROSECONDS.sub("", text).replace("Z", "+00:00")
            datetime.fromisoformat(whole)
            return True
    except ValueError:
        return False
    return False


_CHECKS: Mapping[str, Callable[[Mapping[str, Any], Rules], None]] = {
    **dict.fromkeys(("number", "percentage", "counter", "progress"), _check_number),
    **dict.fromkeys(("text", "note", "bulletPoints", "snippet"), _check_text),
    **dict.fromkeys(("heading", "header", "divider"), _check_bare),
    "currency": _check_currency,
    "date": _check_date,
    "status": _check_status,
}
