"""How many requests and hours the next run will take, by STATE and by the organizations there are."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Forecast:
    """The requests of a run.

    Attributes:
        first: For the organizations and the user of the credentials.
        organizations: For each organization, by list.
        unknown: Streams that were never read: each takes at least a request, perhaps many.
        an_hour: How many may be sent in an hour.
        left: How many of them may be sent now.
    """

    first: int
    organizations: Mapping[int, Mapping[str, int]]
    unknown: tuple[str, ...]
    an_hour: int
    left: int

    @property
    def requests(self) -> int:
        """All of them."""
        return self.first + sum(sum(lists.values()) for lists in self.organizations.values())

    @property
    def hours(self) -> float:
        """How long the run will wait for the budget."""
        return max(0, self.requests - self.left) / self.an_hour

    def json(self) -> str:
        """For programs."""
        details: dict[str, Any] = {
            "requests": self.requests,
            "hours": round(self.hours, 2),
            "requests_per_hour": self.an_hour,
            "requests_left": self.left,
            "never_read": self.unknown,
            "organizations": [
                {"id": own, "requests": sum(lists.values()), "lists": lists}
                for own, lists in self.organizations.items()
            ],
        }
        return json.dumps(details, indent=2)

    def text(self) -> str:
        """For people."""
        extent = "at least" if self.unknown else "about"
        lines = [
            f"The next run will take {extent} {self.requests} requests: {self.hours:.1f} h at {self.an_hour} an hour."
        ]
        for own, lists in self.organizations.items():
            lines.append(f"organization {own}: {sum(lists.values())}")
            lines += [f"  {name}: {requests}" for name, requests in lists.items() if requests]
        if self.unknown:
            lines.append(f"Never read so far: {', '.join(self.unknown)}.")
        return "\n".join(lines)
