"""What a query selects: an ordered list of records of which any range can be had as JSON."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

from api_sandbox.hustle.leads import Key, LeadBook
from api_sandbox.hustle.resources import Record


class Rows(Protocol):
    """The records that a query selects, in the order of the list."""

    def __len__(self) -> int:
        """How many they are."""
        ...

    def ids(self, begin: int, end: int) -> list[str]:
        """The ids of a range."""
        ...

    def encoded(self, begin: int, end: int) -> list[bytes]:
        """A range as JSON, record by record."""
        ...


@dataclass(frozen=True, slots=True)
class RecordRows:
    """Rows of any list but leads."""

    records: Sequence[Record]

    def __len__(self) -> int:
        return len(self.records)

    def ids(self, begin: int, end: int) -> list[str]:
        """The ids of a range."""
        return [record.id for record in self.records[begin:end]]

    def encoded(self, begin: int, end: int) -> list[bytes]:
        """A range as JSON."""
        return [record.encoded for record in self.records[begin:end]]


@dataclass(frozen=True, slots=True)
class LeadRows:
    """All leads of some organizations, one organization after the other, as many as there are now.

    Attributes:
        book: The leads.
        organizations: Indices of the organizations.
        ends: For each of them, how many leads there are up to its last one.
    """

    book: LeadBook
    organizations: Sequence[int]
    ends: Sequence[int]

    @classmethod
    def of(cls, book: LeadBook, organizations: Sequence[int]) -> "LeadRows":
        """The leads that the organizations have now. Leads added later are not among them."""
        return cls(book, organizations, tuple(accumulate(map(book.count, organizations))))

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def ids(self, begin: int, end: int) -> list[str]:
        """The ids of a range."""
        return [
            own_id
            for organization, first, last in self._parts(begin, end)
            for own_id in self.book.ids(organization, first, last)
        ]

    def encoded(self, begin: int, end: int) -> list[bytes]:
        """A range as JSON."""
        parts = list(self._parts(begin, end))
        if len(parts) == 1:
            return self.book.encoded(*parts[0])
        return [lead for part in parts for lead in self.book.encoded(*part)]

    def _parts(self, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
        """A range as ranges within organizations."""
        for place in range(bisect_right(self.ends, begin), len(self.ends)):
            first = self.ends[place - 1] if place else 0
            if first >= end:
                return
            if first < self.ends[place]:
                yield self.organizations[place], max(begin - first, 0), min(end, self.ends[place]) - first


@dataclass(frozen=True, slots=True)
class ChosenLeads:
    """Leads one by one."""

    book: LeadBook
    keys: Sequence[Key]

    def __len__(self) -> int:
        return len(self.keys)

    def ids(self, begin: int, end: int) -> list[str]:
        """The ids of a range."""
        return [self.book.id_of(key) for key in self.keys[begin:end]]

    def encoded(self, begin: int, end: int) -> list[bytes]:
        """A range as JSON."""
        return [self.book.encoded_one(key) for key in self.keys[begin:end]]
