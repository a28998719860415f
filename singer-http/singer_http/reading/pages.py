"""Slices and their pages, and the guard that ends a list which would never end."""

from __future__ import annotations

import datetime as dt
import re
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from singer_http.http.errors import ApiError, MalformedAnswerError
from singer_http.http.rules import RULES, Rules
from singer_http.http.session import UNREADABLE
from singer_http.reading.text import mended, number, without_nul

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

IDLE_PAGES = 100  # so many pages in a row that are empty, or as one before, are taken for a list without an end
_EMPTY = re.compile(rb"\s*\[\s*\]")
_decode_records = msgspec.json.Decoder(list[dict[str, Any]], float_hook=number).decode


@dataclass(slots=True)
class Page:
    """One page of a list.

    A page that waits as bytes takes a fifth of the memory, and the threads that fetch leave the decoding to the one
    that writes.
    """

    records: msgspec.Raw  # the JSON array of records, as it came
    next: str | None  # the cursor of the page that follows, None where the list ends
    doubt: str | None = None  # why the list may go on, although no page follows
    cursor: str | None = None  # what it was asked for with, None for the beginning of the list
    is_last_of_part: bool = False  # what follows is another part of the list, such as another month
    at: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.timezone.utc))  # when it arrived
    replaced: int = 0  # characters that could not be read, and for which U+FFFD stands

    @property
    def is_empty(self) -> bool:
        """Whether the page holds no record."""
        return _EMPTY.match(memoryview(self.records)) is not None

    def decode(self, *, keep_nul: bool = False) -> list[dict[str, Any]]:
        """Decode the records, as new objects; raises :class:`MalformedAnswerError` if they are not records.

        U+0000 is dropped from texts by default: many databases refuse it.
        """
        body = bytes(memoryview(self.records))
        if not keep_nul:
            body = without_nul(body)
        try:
            try:
                return _decode_records(body)
            except UNREADABLE:
                body, self.replaced = mended(body)
                return _decode_records(body)
        except (*UNREADABLE, ArithmeticError):
            raise MalformedAnswerError(
                "A page holds something other than records, values nested too deep or a number too long: tell the API's"
                " support."
            ) from None


@dataclass(frozen=True, slots=True)
class Slice:
    """One independent chain of pages: a stream, one of its partitions, and where to begin.

    Where pages move, ``is_as_left`` tells whether the page at ``start`` is as an earlier run left it. If it is not, or
    can no longer be had, the list is read from its beginning.
    """

    stream: str
    partition: Mapping[str, Any] | None  # its context, None where the stream has no partitions
    path: str  # below the API's base URL
    params: dict[str, str | int]  # the query of every page, the cursor left out
    cursor_param: str  # the name that the cursor goes by in the query
    start: str | None  # the cursor to begin with, None for the beginning of the list
    parse: Callable[[bytes], Page]  # makes a page of an answer's body, or raises msgspec.DecodeError
    is_as_left: Callable[[Page], bool] | None = None
    interleave: int = 1  # how many slices of the stream are read in turns, a page of each
    failure: ApiError | None = None  # why there is nothing to read at all, where that is known beforehand

    @property
    def label(self) -> str:
        """The slice's name in messages: the stream, and the partition where there is one."""
        named = ", ".join(f"{key} {value}" for key, value in (self.partition or {}).items())
        return f"{self.stream} ({named})" if named else self.stream

    def query(self, cursor: str | None) -> dict[str, str | int]:
        """The query for the page at a cursor."""
        return self.params if cursor is None else {**self.params, self.cursor_param: cursor}

    def page(self, body: bytes, cursor: str | None) -> Page:  # noqa: ARG002 - for those that need it
        """Make a page of the answer that came for a cursor; raises :class:`msgspec.DecodeError` if it is not one."""
        return self.parse(body)

    def readable(self, body: bytes, cursor: str | None) -> Page:
        """Make a page as :meth:`page` does, after mending text that cannot be read."""
        try:
            return self.page(body, cursor)
        except UNREADABLE:
            text, replaced = mended(body)
            if not replaced:
                raise
            page = self.page(text, cursor)
            page.replaced = replaced
            return page

    def predict(self, before: str, last: str) -> str | None:  # noqa: ARG002 - for those that need it
        """Predict the cursor after two others; None where they follow no pattern."""
        return None

    def rules(self, cursor: str | None) -> Rules:  # noqa: ARG002 - for those that need it
        """The rules for faults of the request for a cursor."""
        return RULES

    def instead(self, cursor: str | None, failure: ApiError) -> str | None:  # noqa: ARG002 - for those that need it
        """Choose what to ask for after a failure: another cursor, or less at the same one; or raise the failure."""
        raise failure


class LoopGuard:
    """Sees every page of a list, from the one at ``start`` on, and ends a list that would never end."""

    def __init__(self, start: str | None) -> None:
        self._seen = {start}
        self._contents: set[int] = set()
        self._idle = 0

    def follow(self, page: Page, path: str) -> str | None:
        """Return the cursor of the page after this one, None at the end.

        Raises :class:`ApiError` where it leads back, or the list only goes on without anything new.
        """
        if page.next is None:
            return None
        if page.next in self._seen:
            raise ApiError(
                f"GET {path}: the API gave the same cursor twice, so the list cannot be read to its end: tell the API's"
                " support."
            )
        self._seen.add(page.next)
        content = zlib.crc32(page.records)
        self._idle = self._idle + 1 if page.is_empty or content in self._contents else 0
        self._contents.add(content)
        if page.is_last_of_part:
            self._idle = 0
        if self._idle >= IDLE_PAGES:
            raise ApiError(
                f"GET {path}: {IDLE_PAGES} pages one after another with nothing new, so the list does not seem"
                " to end: tell the API's support."
            )
        return page.next
