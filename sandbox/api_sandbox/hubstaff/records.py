"""Records that know their place in their list, and how to find values in them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from api_sandbox.recipes import Fields


@dataclass(slots=True)
class Record:
    """A row that is kept whole.

    Attributes:
        key: Its place in its list; for rows without an id it is a number that the answer does not show.
        id: What truth and report call it.
        since: Seconds since 1970 from which on it exists.
    """

    key: int
    id: str
    content: Fields
    since: float = 0.0

    def fields(self) -> Fields:
        """What the API answers."""
        return self.content

    def values(self, path: str) -> Sequence[Any]:
        """The values at a path, whose parts are joined by dots."""
        return list(_found(self.content, path.split(".")))


def _found(value: Any, path: Sequence[str]) -> Iterator[Any]:
    if isinstance(value, list):
        for item in value:
            yield from _found(item, path)
    elif not path:
        if value is not None:
            yield value
    elif isinstance(value, dict) and path[0] in value:
        yield from _found(value[path[0]], path[1:])


@dataclass(slots=True)
class Numbers:
    """Ids of one kind of thing: growing, never twice in the account, and never one after the other.

    Between two ids there is always a number, so that a page can be asked for by another than its first row's id.
    """

    last: int

    def take(self, gap: int = 0) -> int:
        """The next one, after a gap."""
        self.last += 2 + gap
        return self.last
