"""The names of users, projects, clients and tasks for work sessions: their activities tell them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tap_hubstaff.streams.named_base import NAMES

if TYPE_CHECKING:
    from collections.abc import Collection

    from singer_sdk.helpers.types import Record

    from tap_hubstaff.work_sessions.model import Work


@dataclass(slots=True)
class Names:
    """The names in rows of activities, for the sessions that are built of them."""

    _known: dict[tuple[str, int | None], str | None] = field(default_factory=dict)

    def see(self, row: Record, work: Work) -> None:
        """Take note of the names in a row of activities, if it has any."""
        if "user_name" in row:
            self._known.update(((name, work[place]), row[name]) for name, place in NAMES.items())

    def of(self, work: Work) -> dict[str, str | None]:
        """The names for a user, project and task."""
        return {
            name: self._known[name, work[place]] for name, place in NAMES.items() if (name, work[place]) in self._known
        }

    def keep(self, works: Collection[Work]) -> None:
        """Forget all other names."""
        kept = {(name, work[place]) for work in works for name, place in NAMES.items()}
        self._known = {own: name for own, name in self._known.items() if own in kept}
