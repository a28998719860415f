"""How each type of field looks to people, as HTML. What was posted is shown as text, never as markup."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from decimal import Decimal
from html import escape
from itertools import groupby
from typing import Any

Field = Mapping[str, Any]

_TILES = frozenset({"number", "currency", "percentage", "counter"})
_NOTHING = '<span class="none">not set</span>'
_DAY_ONLY = 10  # Characters of a date without a time.


def fields(dataset: Sequence[Field]) -> str:
    """The fields of a post. Numbers that follow each other stand side by side."""
    parts = []
    for tiles, group in groupby(dataset, lambda field: field["type"] in _TILES):
        shown = "".join(_RENDERERS[field["type"]](field) for field in group)
        parts.append(f'<div class="tiles">{shown}</div>' if tiles else shown)
    return "".join(parts)


def moment(text: str) -> str:
    """A date, or a time in UTC, as people write it."""
    if len(text) == _DAY_ONLY:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=timezone.utc)
        return f"{day.day} {day:%B %Y}"
    # Python 3.10 reads no Z and only three or six digits of a second.
    whole, _, rest = text.replace("Z", "+00:00").partition(".")
    read = datetime.fromisoformat(whole + rest.lstrip("0123456789"))
    try:
        read = read.astimezone(timezone.utc)
    except OverflowError:  # On the first or the last day of all years.
        return escape(text)
    return f"{read.day} {read:%B %Y, %H:%M} UTC"


def _label(field: Field) -> str:
    text = field.get("label") or field.get("name")
    return f'<div class="label" dir="auto">{escape(text)}</div>' if text else ""


def _number_text(data: Any) -> str:
    """A number with commas between its thousands, and as many decimals as it came with."""
    return f"{Decimal(str(data)):,f}"


def _tile(field: Field, before: str = "", after: str = "") -> str:
    data = field.get("data")
    value = _NOTHING if data is None else f"{before}{escape(_number_text(data))}{after}"
    return f'<div class="tile {field["type"]}">{_label(field)}<div class="figure">{value}</div></div>'


def _currency(field: Field) -> str:
    return _tile(field, before=f'<span class="unit">{escape(field["options"]["ccy"])}</span> ')


def _percentage(field: Field) -> str:
    return _tile(field, after='<span class="unit"> %</span>')


def _block(field: Field, inner: str) -> str:
    return f'<div class="field {field["type"]}">{_label(field)}{inner}</div>'


def _text(field: Field) -> str:
    data = field.get("data")
    return _block(field, _NOTHING if data is None else f'<div class="value" dir="auto">{escape(data)}</div>')


def _bullets(field: Field) -> str:
    data = field.get("data")
    if data is None:
        return _block(field, _NOTHING)
    bullets = "".join(f"<li><bdi>{escape(line)}</bdi></li>" for line in data.splitlines())
    return _block(field, f'<ul dir="auto">{bullets}</ul>')


def _snippet(field: Field) -> str:
    data = field.get("data")
    return _block(field, _NOTHING if data is None else f"<pre>{escape(data)}</pre>")


def _heading(field: Field) -> str:
    return f'<h4 dir="auto">{escape(field.get("label") or "")}</h4>'


def _divider(_field: Field) -> str:
    return "<hr>"


def _date(field: Field) -> str:
    data = field.get("data")
    return _block(field, _NOTHING if data is None else f'<time datetime="{escape(data)}">{moment(data)}</time>')


def _status(field: Field) -> str:
    data = field.get("data")
    return _block(field, f'<span class="light {data or "unset"}">{(data or "not set").capitalize()}</span>')


def _progress(field: Field) -> str:
    data = field.get("data")
    if data is None:
        return _block(field, _NOTHING)
    share = _number_text(data)
    bar = f'<div class="bar"><i style="width:{share}%"></i></div>'
    return _block(field, f'<div class="gauge">{bar}<span>{share} %</span></div>')


_RENDERERS: Mapping[str, Callable[[Field], str]] = {
    "number": _tile,
    "currency": _currency,
    "percentage": _percentage,
    "counter": _tile,
    "text": _text,
    "note": _text,
    "bulletPoints": _bullets,
    "snippet": _snippet,
    "heading": _heading,
    "header": _heading,
    "divider": _divider,
    "date": _date,
    "status": _status,
    "progress": _progress,
}
