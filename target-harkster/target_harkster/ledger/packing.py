"""The rows of digests as bytes: packed together group by group, and hashed for the index."""

from __future__ import annotations

import zlib
from hashlib import blake2b
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[tuple[str, msgspec.Raw]]).decode


def row_number(channel: str, stream: str, row_key: str) -> int:
    """What a row is found by in the index: of 64 bits, so that two of a million rows do not meet."""
    return _hash(_encode((channel, stream, row_key)))


def record_number(record: bytes) -> int:
    """What a row is recognised by if it has not changed."""
    return _hash(record)


def pack(rows: Mapping[str, bytes]) -> bytes:
    """The rows of a group, by their keys, as the ledger keeps them."""
    return zlib.compress(_encode([(key, msgspec.Raw(record)) for key, record in rows.items()]))


def unpack(packed: bytes | None) -> dict[str, bytes]:
    """The rows that were packed, by their keys."""
    return {key: bytes(record) for key, record in _decode(zlib.decompress(packed))} if packed else {}


def _hash(content: bytes) -> int:
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "big", signed=True)
