"""Predicts the cursor after two known ones, where they follow an arithmetic pattern.

Cursors are opaque by contract, so no prediction is relied on: a page that was asked for with one is used only if the
real cursor turns out to be the same (see :mod:`singer_http.reading.reader`).
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST = 500
"""Characters of a cursor beyond which it is no position in a list but a whole query, and not worth a look."""
_NUMBERS = re.compile(r"(\d+)")


def predicted_cursor(earlier: str, later: str) -> str | None:
    """The cursor that continues the step from one cursor to the next, None where there is no pattern.

    The text of both, as it is or inside base64, must be the same but for its numbers. Each number goes on by its
    last step: ``[1,1000]``, ``[2,1000]`` is followed by ``[3,1000]``.
    """
    if max(len(earlier), len(later)) > LONGEST:
        return None
    for decode, encode in _CODECS:
        texts = [decode(earlier), decode(later)]
        if texts[0] is None or texts[1] is None or [encode(texts[0]), encode(texts[1])] != [earlier, later]:
            continue
        continued = _continued(texts[0], texts[1])
        if continued is not None:
            return encode(continued)
    return None


def _continued(earlier: str, later: str) -> str | None:
    before, after = _NUMBERS.split(earlier), _NUMBERS.split(later)
    if before[::2] != after[::2] or before == after:
        return None
    for place in range(1, len(after), 2):
        number = 2 * int(after[place]) - int(before[place])
        if number < 0:
            return None
        width = len(after[place]) if after[place].startswith("0") else 0
        after[place] = str(number).zfill(width)
    return "".join(after)


def _base64(altchars: bytes, *, padded: bool) -> tuple[Callable[[str], str | None], Callable[[str], str]]:
    def decode(cursor: str) -> str | None:
        try:
            text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars, validate=True).decode("ascii")
        except (binascii.Error, ValueError):
            return None
        return text if text.isprintable() else None

    def encode(text: str) -> str:
        cursor = base64.b64encode(text.encode(), altchars).decode()
        return cursor if padded else cursor.rstrip("=")

    return decode, encode


_CODECS = (
    _base64(b"-_", padded=False),
    _base64(b"-_", padded=True),
    _base64(b"+/", padded=False),
    _base64(b"+/", padded=True),
    (str, str),
)
