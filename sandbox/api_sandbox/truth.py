"""What there is to be read, whatever was served of it."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Truth:
    """The ids of the simulated account.

    Attributes:
        ids: By list, in the order of the list.
        by_organization: By list and the organization that owns the records; only lists whose records may have
            an owner. Records of the account as a whole are in `ids` alone.
    """

    ids: Mapping[str, list[str]]
    by_organization: Mapping[str, Mapping[str, list[str]]]

    def count(self, stream: str) -> int:
        """How many records a list has."""
        return len(self.ids[stream])

    def beside(self, prefix: str, other: "Truth") -> "Truth":
        """The same, and that of another account, with a prefix before the names of its lists."""
        return Truth(
            {**self.ids, **{prefix + name: ids for name, ids in other.ids.items()}},
            {**self.by_organization, **{prefix + name: owned for name, owned in other.by_organization.items()}},
        )
