"""Keys: what rows and groups are known by, as JSON. A number and the same number as text are one.

So a tap may change the type of a key, and nothing of what was sent before need be known.
"""

from __future__ import annotations

import itertools
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from singer_sdk.contrib.msgspec import decoder, encoder

if TYPE_CHECKING:
    from collections.abc import Iterable

_LONGEST = 40
"""Longer numbers are compared as they are written."""
_NUMBER = re.compile(rf"(?!-0\Z)(?!.{{{_LONGEST + 1}}})-?(?:0|[1-9][0-9]*)(?:\.[0-9]*[1-9])?", re.ASCII)
"""The one text that counts as a number: not 01, which may be a code, nor 1.0, which may be a version."""
_MOST_CHOICES = 6
"""Of a key with more numbers only two spellings are known: all its numbers as numbers, and all as text."""

OLD_TEXT = r'^\[.*"-?[0-9]+(\.[0-9]+)?"'
"""Is found in all keys that earlier versions made of such texts. They kept text and numbers apart."""


def key_of(values: Iterable[Any]) -> str:
    """The key of a row or a group by the values of its columns."""
    return encoder.encode([value if type(value) is int else _part(value) for value in values]).decode()


def parts_of(key: str) -> list[Any]:
    """The values in a key, however a version has written it; none where it is not made of columns."""
    return [_part(value) for value in decoder.decode(key)] if key.startswith("[") else []


def spellings(key: str) -> list[str]:
    """A key, and behind it the others that earlier versions may have made of the same values."""
    if (digits := key[1:-1]).isdecimal():
        return [key, f'["{digits}"]']  # as most keys are
    parts = parts_of(key)
    choices = [[part] if (text := text_of(part)) is part else [part, text] for part in parts]
    if sum(len(some) > 1 for some in choices) > _MOST_CHOICES:
        made: Iterable[Iterable[Any]] = (parts, map(text_of, parts))
    else:
        made = itertools.product(*choices)
    return [encoder.encode(list(values)).decode() for values in made] if parts else [key]


def text_of(part: Any) -> Any:
    """A number in a key as the text that it may have been; other values as they are."""
    if isinstance(part, Decimal):
        return format(part, "f") if _is_short(part) else part
    return str(part) if isinstance(part, int) and not isinstance(part, bool) else part


def _part(value: Any) -> Any:
    if isinstance(value, str):
        if not _NUMBER.fullmatch(value):
            return value
        return Decimal(value) if "." in value else int(value)
    if isinstance(value, float):
        value = Decimal(repr(value))
    return _plain(value) if isinstance(value, Decimal) and _is_short(value) else value


def _is_short(value: Decimal) -> bool:
    return value.is_finite() and abs(value.adjusted()) <= _LONGEST


def _plain(value: Decimal) -> Decimal | int:
    """A number in a key. Equal numbers are the same, however they are written."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return Decimal(text) if "." in text else int(text)
