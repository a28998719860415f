"""Changes the number of shards without reading again: STATE of all shards becomes one, and one becomes many."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import msgspec

from singer_http.http.errors import ConfigurationError
from singer_http.http.shard import Shard
from singer_http.merged_state import sealed, unsealed
from singer_http.resume import RESUME

if TYPE_CHECKING:
    from collections.abc import Sequence

    State = dict[str, Any]

_ORGANIZATION = ("organizationId", "organization_id")
"""What a partition may call its organization."""


class _ReadOfShard(msgspec.Struct):
    """A read under way, as far as it matters here."""

    version: int = 0
    fingerprint: str | None = None


class _PartitionOfShard(msgspec.Struct):
    context: dict[str, str | int] = {}


class _StreamOfShard(msgspec.Struct):
    partitions: list[_PartitionOfShard] = []
    version: int = 0
    resume: _ReadOfShard | None = None


def valid(state: Any) -> State:
    """Return what is a STATE; it may be empty. Raises :class:`ConfigurationError` where it is none, or a message."""
    try:
        if state:
            msgspec.convert(state["bookmarks"], dict[str, _StreamOfShard])
        return dict(state)
    except (KeyError, TypeError, ValueError, msgspec.ValidationError):
        raise ConfigurationError(
            "does not hold a STATE: it must be an object with bookmarks, as in the value of a STATE message."
        ) from None


def merged(states: Sequence[State]) -> State:
    """Make one STATE of those of all shards, given in their order.

    What a shard's STATE says of organizations that are not its own is of an earlier number of shards, and is left out.
    Raises :class:`ConfigurationError` where that is all it says.
    """
    shards = [Shard(number, len(states)) for number in range(1, len(states) + 1)]
    streams = [_bookmarks(state) for state in states]
    for shard, stream in zip(shards, streams, strict=True):
        partitions = [one for part in stream.values() for one in part.get("partitions", ())]
        if partitions and not any(_holds(shard, one) for one in partitions):
            raise ConfigurationError(
                f"The STATE at place {shard.number} has no organization of shard {shard.number}/{shard.count}. Give the"
                " STATE of each shard once, in the order of the shards."
            )
    parts = {name: [stream.get(name, {}) for stream in streams] for name in chain.from_iterable(streams)}
    return sealed({"bookmarks": {name: _merged(shards, part) for name, part in parts.items()}})


def _merged(shards: Sequence[Shard], parts: Sequence[State]) -> State:
    own = [
        [one for one in part.get("partitions", ()) if _holds(shard, one)]
        for shard, part in zip(shards, parts, strict=True)
    ]
    if not any(own):
        return parts[0]  # the first shard reads what has no partitions
    stream = {name: value for part in reversed(parts) for name, value in part.items()}
    stream.pop("changes", None)  # it does not cover what other shards sent since
    if versions := [part["version"] for part in parts if "version" in part]:
        stream["version"] = max(versions)
    # Reads under way become one, as old as the oldest of them. Those with other settings than the first are given up.
    reads = [part[RESUME] for part in parts if RESUME in part]
    if reads:
        known = reads[0].get("fingerprint")
        stream[RESUME] = min((one for one in reads if one.get("fingerprint") == known), key=_version)
        for part, bookmarks in zip(parts, own, strict=True):
            if part.get(RESUME, {}).get("fingerprint") != known:
                bookmarks[:] = [{name: value for name, value in one.items() if name != RESUME} for one in bookmarks]
    return stream | {"partitions": list(chain.from_iterable(own))}


def split(state: State, count: int) -> list[State]:
    """Divide the STATE of one run, or of merged shards, among so many shards."""
    shards = [Shard(number, count) for number in range(1, count + 1)]
    return [
        sealed(
            {
                "bookmarks": {
                    name: part | {"partitions": [one for one in part["partitions"] if _holds(shard, one)]}
                    if part.get("partitions")
                    else part
                    for name, part in _bookmarks(state).items()
                    if part.get("partitions") or shard.is_first
                }
            }
        )
        for shard in shards
    ]


def _bookmarks(state: State) -> State:
    return {name: unsealed(one) for name, one in state.get("bookmarks", {}).items()}


def _holds(shard: Shard, bookmark: State) -> bool:
    context = bookmark.get("context", {})
    return shard.holds(next((context[name] for name in _ORGANIZATION if name in context), None))


def _version(read: State) -> int:
    return int(read.get("version", 0))
