"""Reads slices, page after page, in the order in which they were declared."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from singer_http.pages import Chain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from singer_http.client import Session
    from singer_http.pages import Page, Slice


@dataclass(frozen=True, slots=True)
class Fetched:
    """A page as it was fetched.

    Attributes:
        cursor: What it was asked for with, None for the beginning of the list.
        page: The page.
        at: When it arrived, in UTC.
    """

    cursor: str | None
    page: Page
    at: dt.datetime


class Reader:
    """Follows slices through one session.

    Args:
        session: Sends the requests.
        slices: What to read, in order.
    """

    def __init__(self, session: Session, slices: Iterable[Slice]) -> None:
        self._session = session
        self._slices = slices

    def __iter__(self) -> Iterator[tuple[Slice, Iterator[Fetched]]]:
        """Each slice with its pages, to be taken in this order."""
        return ((of, self._pages(of)) for of in self._slices)

    def _pages(self, of: Slice) -> Iterator[Fetched]:
        chain = Chain(of)
        cursor = of.start
        while True:
            page = self._session.get(of.path, of.query(cursor), of.parse)
            yield Fetched(cursor, page, dt.datetime.now(dt.timezone.utc))
            if (following := chain.follow(page)) is None:
                return
            cursor = following
