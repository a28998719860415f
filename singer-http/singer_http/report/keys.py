"""Hashes keys, and sums the hashes up to a checksum that SQL can calculate too.

The text of a key is hashed to 64 bits: the first 8 bytes of its SHA-256. The checksum of a set is the sum of its
hashes, modulo 2 to the 64th. It does not depend on their order, and tells sets apart unless somebody forges one. A
repeated row must count once, so the hashes themselves are kept: 8 bytes a row.
"""

from __future__ import annotations

import datetime as dt
from array import array
from hashlib import sha256
from itertools import chain
from typing import TYPE_CHECKING, Any

from singer_http.report.document import Keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    Record = Mapping[str, Any]

SEPARATOR = "\x1f"
"""Between the values of a composite key."""
MODULUS = 1 << 64
_AT_A_TIME = 1 << 13  # keys that are made distinct at once


def hasher(key: Sequence[str], properties: Mapping[str, Any]) -> Callable[[Record], int]:
    """Make the function that hashes the key of a record.

    Args:
        key: Its properties.
        properties: The JSON schemas of all properties.
    """
    texts = [(name, _date_time_text if _is_date_time(properties.get(name, {})) else _text) for name in key]
    if len(texts) == 1:
        ((only, text),) = texts
        return lambda record: _hash(text(record.get(only)))
    return lambda record: _hash(SEPARATOR.join(text(record.get(name)) for name, text in texts))


def _hash(text: str) -> int:
    return int.from_bytes(sha256(text.encode(errors="replace")).digest()[:8], "big")


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def _is_date_time(schema: Mapping[str, Any]) -> bool:
    return bool(schema.get("format") == "date-time")


def _date_time_text(value: Any) -> str:
    """A time as a column without a time zone keeps it: loaders drop the offset."""
    try:
        moment = dt.datetime.fromisoformat(value.replace("Z", "+00:00")) if isinstance(value, str) else value
        return str(moment.replace(tzinfo=None).isoformat(timespec="microseconds"))
    except (ValueError, AttributeError, TypeError):
        return _text(value)


def checksum(total: int) -> str:
    """A checksum as text, from the sum of the hashes."""
    return f"{total % MODULUS:016x}"


def distinct(hashes: Sequence[array[int]], gone: Iterable[int] = ()) -> Keys:
    """Count and sum up what is in some arrays, each hash once, without those that are gone.

    They are first spread over small arrays by their values: a set of all would take ten times their memory.
    """
    left_out = frozenset(gone)
    parts = 1 + sum(map(len, hashes)) // _AT_A_TIME
    spread = [array("Q") for _ in range(parts)]
    for each in chain.from_iterable(hashes):
        spread[each % parts].append(each)
    count = total = 0
    for some in spread:
        alive = frozenset(some) - left_out
        count += len(alive)
        total += sum(alive)
    return Keys(count, checksum(total))
