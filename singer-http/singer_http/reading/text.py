"""Mends what JSON may hold and readers stumble over: half characters, U+0000, and numbers too long for floats."""

from __future__ import annotations

import re
from decimal import Decimal

_ESCAPES = re.compile(rb"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(u[dD][89a-fA-F]..)|(u0000)|.)", re.DOTALL)
"""A whole surrogate pair; half of one; U+0000; or any other escape, so that no escaped backslash is taken for one."""
_REPLACEMENT = "\ufffd"
_EXACT = 16  # characters of a number without an exponent up to which a float has all its digits


def mended(body: bytes) -> tuple[bytes, int]:
    """Put U+FFFD for each half of a surrogate pair and for broken UTF-8 in JSON; returns how often, too."""
    text = body.decode(errors="replace")
    count = text.count(_REPLACEMENT) - body.count(_REPLACEMENT.encode())
    halves = 0

    def replaced(match: re.Match[bytes]) -> bytes:
        nonlocal halves
        halves += match[1] is not None
        return rb"\ufffd" if match[1] else match[0]

    return _ESCAPES.sub(replaced, text.encode()), count + halves


def without_nul(body: bytes) -> bytes:
    """Drop U+0000 from JSON: PostgreSQL and others take it in no text."""
    if rb"\u0000" not in body:
        return body
    return _ESCAPES.sub(lambda match: b"" if match[2] else match[0], body)


def number(text: str) -> float | Decimal:
    """Decode a number with a fraction or an exponent: a float, if that is exactly the same number."""
    found = float(text)
    if len(text) <= _EXACT and "e" not in text and "E" not in text:
        return found
    exact = Decimal(text)
    return found if Decimal(repr(found)) == exact else exact
