"""Pages: which part of a query's records a cursor leads to, and the envelope around it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import msgspec

from api_sandbox.dice import Dice
from api_sandbox.faults import Fault
from api_sandbox.hustle.cursors import Cursors
from api_sandbox.hustle.leads import Row
from api_sandbox.hustle.queries import Query
from api_sandbox.report import Served

_NEW_FIELDS = b',"addedLater":{"nested":[1,null,{"deep":true}]},"added_Later":1.5,"added later":null,"":"no name"}'
_THOUSAND = 1000


@dataclass(frozen=True, slots=True)
class Page:
    """One page, as it will be answered.

    Attributes:
        place: The place that the cursor sent in named; 0 for the first page.
        number: From 1 in the chain of pages.
        detour: Whether it was reached by the cursor of an `empty_page`.
    """

    query: Query
    rows: Sequence[Row]
    begin: int
    end: int
    place: int
    number: int
    detour: bool
    cursor: str | None
    has_more: bool
    new_fields: bool = False
    null_item: bool = False

    def body(self) -> bytes:
        """The page as JSON. The records are joined as they are kept, not serialised again."""
        items = [row.encoded for row in self.rows[self.begin : self.end]]
        if self.new_fields:
            items = [item[:-1] + _NEW_FIELDS for item in items]
        if self.null_item:
            items = [*items, b"null"]
        cursor = msgspec.json.encode(self.cursor)
        more = b"true" if self.has_more else b"false"
        return b"".join((b'{"items":[', b",".join(items), b'],"cursor":', cursor, b',"hasMore":', more, b"}"))

    def ids(self) -> list[str]:
        """The ids of the records of the page."""
        return [row.id for row in self.rows[self.begin : self.end]]

    def served(self, edits: int) -> Served:
        """What the report is told: of another state of the account, the same range may hold other records."""
        return Served(self.query.name, (self.query.key, self.begin, self.end, len(self.rows), edits), self.ids)


@dataclass(frozen=True, slots=True)
class Paginator:
    """Cuts the records of queries into pages."""

    cursors: Cursors
    last_page_cursor: bool
    short_pages: float
    seed: int

    def page(self, query: Query, rows: Sequence[Row], cursor: str | None) -> Page:
        """The page that a cursor leads to."""
        place, detour = (0, False) if cursor is None else self.cursors.read(query, cursor)
        total = len(rows)
        begin = min(place if self.cursors.count_items else self._page_begin(query, place, total), total)
        end = min(begin + self._size(query, place), total)
        more = end < total
        following: str | None = None
        # Nothing there, nothing more: null, by the spec's word on the cursor. The first page of an empty list too.
        if more or (end > begin and self.last_page_cursor):
            following = self.cursors.issue(query, end if self.cursors.count_items else place + 1)
        number = (begin // query.limit if self.cursors.count_items else place) + 1
        return Page(query, rows, begin, end, place, number, detour, following, more)

    def spoil(self, page: Page, faults: Iterable[Fault]) -> Page:
        """The page with faults in it."""
        for fault in faults:
            if fault.kind == "repeat_cursor":
                page = replace(page, cursor=self._earlier_cursor(page, fault.back))
            elif fault.kind == "more_without_cursor":
                page = replace(page, cursor=None, has_more=True)
            elif fault.kind == "cursor_without_more":
                cursor = page.cursor or self.cursors.issue(page.query, page.place + 1)
                page = replace(page, cursor=cursor, has_more=False)
            elif fault.kind == "empty_page":
                cursor = self.cursors.issue_detour(page.query, page.place)
                page = replace(page, end=page.begin, cursor=cursor, has_more=True)
            elif fault.kind == "unknown_fields":
                page = replace(page, new_fields=True)
            elif fault.kind == "null_item":
                page = replace(page, null_item=True)
        return page

    def _earlier_cursor(self, page: Page, back: int) -> str:
        step = page.query.limit if self.cursors.count_items else 1
        return self.cursors.issue(page.query, max(page.place - back * step, 1))

    def _page_begin(self, query: Query, pages: int, total: int) -> int:
        """Where a page begins, given how many come before it."""
        if not self.short_pages:
            return pages * query.limit
        begin = 0
        for number in range(pages):
            if begin >= total:
                break
            begin += self._size(query, number)
        return begin

    def _size(self, query: Query, place: int) -> int:
        """How many records a page has, if there are as many."""
        if not self.short_pages:
            return query.limit
        dice = Dice(f"{self.seed}/size/{query.key}/{place}")
        if dice.below(_THOUSAND) >= self.short_pages * _THOUSAND:
            return query.limit
        least = 1 if self.cursors.count_items else 0
        return max(dice.below(query.limit), least)
