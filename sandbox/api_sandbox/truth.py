"""What there is to be read, whatever was served of it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

from typing_extensions import override

_V = TypeVar("_V")


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

    def with_another(self, prefix: str, load: Callable[[], "Truth"]) -> "Truth":
        """The same, and that of another account, with a prefix before the names of its lists.

        Args:
            prefix: No list of this account begins with it.
            load: Finds out the other truth; not before somebody asks, since it may take long.
        """
        once = cache(load)
        return Truth(
            _Extended(self.ids, prefix, lambda: once().ids),
            _Extended(self.by_organization, prefix, lambda: once().by_organization),
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Extended(Mapping[str, _V]):
    """A mapping and another one, whose keys have a prefix and which is made when somebody asks for them."""

    own: Mapping[str, _V]
    prefix: str
    other: Callable[[], Mapping[str, _V]]

    @override
    def __getitem__(self, key: str) -> _V:
        return self.other()[key.removeprefix(self.prefix)] if key.startswith(self.prefix) else self.own[key]

    @override
    def __iter__(self) -> Iterator[str]:
        yield from self.own
        yield from (self.prefix + key for key in self.other())

    @override
    def __len__(self) -> int:
        return len(self.own) + len(self.other())
