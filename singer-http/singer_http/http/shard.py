"""Which part of the work a run does, where several runs share it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_BOUNDS = ("_ids", "shard")
_parts = re.compile(r"([1-9][0-9]{0,5})/([1-9][0-9]{0,5})").fullmatch


@dataclass(frozen=True, slots=True)
class Shard:
    """One of so many parts, counted from 1."""

    number: int = 1
    count: int = 1

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Shard:
        """The shard that the settings name, the whole where they name none; raises :class:`ValueError`."""
        if (text := config.get("shard")) is None:
            return cls()
        if (found := _parts(text)) is None or int(found[1]) > int(found[2]):
            raise ValueError(text)
        return cls(int(found[1]), int(found[2]))

    @property
    def is_whole(self) -> bool:
        """Whether it is all of the work."""
        return self.count == 1

    @property
    def is_first(self) -> bool:
        """Whether it does what cannot be divided."""
        return self.number == 1

    def holds(self, organization: object) -> bool:
        """Whether an organization belongs to it: decided by its id alone, so that others may come and go."""
        hashed = hashlib.sha256(str(organization).encode()).digest()
        return int.from_bytes(hashed[:8], "big") % self.count == self.number - 1


def scope_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that limit a run to some organizations, users, projects or tasks."""
    return {name: config[name] for name in sorted(config) if name.endswith(_BOUNDS) and config[name]}
