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
from dataclasses import dataclass, field
from http import HTTPStatus

import msgspec

from api_sandbox.api import Refused
from api_sandbox.hustle.queries import Query
from api_sandbox.hustle.scenario import CursorKind


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
    _issued: dict[tuple[str, str], int] = field(default_factory=dict)
    _detours: dict[tuple[str, str], int] = field(default_factory=dict)

    @property
    def count_items(self) -> bool:
        """Whether places are numbers of items; of pages otherwise."""
        return self.kind in {"offsets", "opaque"}

    def issue(self, query: Query, place: int) -> str:
        """The cursor of a place."""
        cursor = self._write(query, place)
        self._issued[query.key, cursor] = place
        return cursor

    def issue_detour(self, query: Query, place: int) -> str:
        """Another cursor of a place, which differs from the one by which it is reached otherwise."""
        cursor = self._opaque(f"{query.key}/detour", place)
        self._detours[query.key, cursor] = place
        return cursor

    def read(self, query: Query, cursor: str) -> tuple[int, bool]:
        """The place of a cursor, and whether it is a detour."""
        if (query.key, cursor) in self._detours:
            return self._detours[query.key, cursor], True
        place = self._issued.get((query.key, cursor))
        if place is None and not self.refuse_unissued:
            place = self._guess(query, cursor)
        if place is None:
            raise Refused(HTTPStatus.BAD_REQUEST, "the cursor is not one of this list and query")
        return place, False

    def _write(self, query: Query, place: int) -> str:
        if self.kind == "opaque" or (self.kind == "drifting" and place >= self.drift_after):
            return self._opaque(query.key, place)
        return urlsafe_b64encode(b"[%d,%d]" % (place, query.limit)).decode().rstrip("=")

    def _guess(self, query: Query, cursor: str) -> int | None:
        """The place of a cursor that need not have been given: a sequential one tells it."""
        try:
            raw = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
            place, _limit = msgspec.json.decode(raw, type=tuple[int, int])
        except (ValueError, msgspec.DecodeError):
            return None
        # Written anew it must be the same: other spellings of the same place are never given.
        return place if place > 0 and self._write(query, place) == cursor else None

    def _opaque(self, key: str, place: int) -> str:
        return urlsafe_b64encode(hmac.digest(self.secret, f"{key}@{place}".encode(), "sha256")[:18]).decode()
