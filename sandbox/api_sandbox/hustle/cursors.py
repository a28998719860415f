"""What cursors look like and where they lead.

A cursor names a place in the list that a query selects: a number of pages, or a number of items. The four kinds:

- `sequential`: base64 of `[pages, limit]`, without padding. The vendor's own example is of this look: `WzEsMV0`
  (`[1,1]`) follows the first page at a limit of 1, and `WzIsMV0` (`[2,1]`) the second. Whether the first number
  is one of pages or of items cannot be told at a limit of 1; hence:
- `offsets`: the same with a number of items, `[items, limit]`.
- `opaque`: random looks, and good for one query alone.
- `drifting`: `sequential` for the first pages, `opaque` later on.

As in the vendor's example, a sequential cursor says nothing of the filters, so only its limit ties it to a query.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as BadBase64
from dataclasses import dataclass, field
from http import HTTPStatus

import msgspec

from api_sandbox.api import Refused
from api_sandbox.hustle.queries import Query
from api_sandbox.hustle.scenario import CursorKind

_SEAL_BYTES = 12
_PLACE_BYTES = 6
_GREATEST = 256**_PLACE_BYTES - 1


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")


def _raw(text: str) -> bytes:
    try:
        return urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except (BadBase64, UnicodeEncodeError, ValueError):
        return b""


@dataclass(slots=True)
class Cursors:
    """Writes and reads the cursors of one server.

    Attributes:
        drift_after: Under `drifting`, how many pages sequential cursors lead to, the first page included.
        refuse_unissued: Whether a cursor works only where this server gave it.
    """

    kind: CursorKind
    secret: bytes
    drift_after: int
    refuse_unissued: bool
    _issued: set[tuple[str, str]] = field(default_factory=set)
    _detours: dict[tuple[str, str], int] = field(default_factory=dict)

    @property
    def count_items(self) -> bool:
        """Whether places are numbers of items; of pages otherwise."""
        return self.kind in {"offsets", "opaque"}

    def issue(self, query: Query, place: int) -> str:
        """The cursor of a place."""
        cursor = self._write(query, place)
        if self.refuse_unissued:
            self._issued.add((query.key, cursor))
        return cursor

    def issue_detour(self, query: Query, place: int) -> str:
        """Another cursor of a place, which differs from the one by which it is reached otherwise."""
        cursor = self._seal(f"{query.key}/detour", place)
        self._detours[query.key, cursor] = place
        return cursor

    def read(self, query: Query, cursor: str) -> tuple[int, bool]:
        """The place of a cursor, and whether it is a detour.

        Raises:
            Refused: No server ever gave such a cursor for the query.
        """
        detour = self._detours.get((query.key, cursor))
        if detour is not None:
            return detour, True
        place = self._guess(query, cursor)
        # Written anew it must be the same: other spellings of the same place were never given.
        unknown = place is None or self._write(query, place) != cursor
        if unknown or (self.refuse_unissued and (query.key, cursor) not in self._issued):
            raise Refused(HTTPStatus.BAD_REQUEST, "the cursor is not one of this list and query")
        assert place is not None  # noqa: S101 - told to the type checker
        return place, False

    def _write(self, query: Query, place: int) -> str:
        if self.kind == "opaque" or (self.kind == "drifting" and place >= self.drift_after):
            return self._seal(query.key, place)
        return _text(b"[%d,%d]" % (place, query.limit))

    def _guess(self, query: Query, cursor: str) -> int | None:
        raw = _raw(cursor)
        if len(raw) == _SEAL_BYTES + _PLACE_BYTES:
            return self._unseal(query.key, raw)
        try:
            place, _limit = msgspec.json.decode(raw, type=tuple[int, int])
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        return place if 0 < place <= _GREATEST else None

    def _seal(self, key: str, place: int) -> str:
        seal = self._digest(f"{key}@{place}")[:_SEAL_BYTES]
        return _text(seal + self._mask(seal, place.to_bytes(_PLACE_BYTES, "big")))

    def _unseal(self, key: str, raw: bytes) -> int | None:
        seal, masked = raw[:_SEAL_BYTES], raw[_SEAL_BYTES:]
        place = int.from_bytes(self._mask(seal, masked), "big")
        return place if self._digest(f"{key}@{place}")[:_SEAL_BYTES] == seal else None

    def _mask(self, seal: bytes, place: bytes) -> bytes:
        return bytes(a ^ b for a, b in zip(place, self._digest(seal.hex()), strict=False))

    def _digest(self, text: str) -> bytes:
        return hmac.digest(self.secret, text.encode(), "sha256")
