"""Windows as one chain of pages: which one comes next, and what happens when one is refused or too much."""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from singer_http.http.errors import ApiError, RefusedRequestError, ServerFailedError
from singer_http.reading.pages import Page
from typing_extensions import override

from tap_hubstaff.streams.base import LIMIT, ListSlice
from tap_hubstaff.times import parse_iso
from tap_hubstaff.windows.window import Window

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable

    from tap_hubstaff.windows.plan import WindowPlan
    from tap_hubstaff.windows.window import WindowSpec
    from tap_hubstaff.windows.window_resume import Read

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Feed:
    """A list that rows of a stream come from: by when things happened, or by when they were changed.

    Attributes:
        name: What STATE calls it.
        path: The list.
        spec: How it is asked for a window.
    """

    name: str
    path: str
    spec: WindowSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSlice(ListSlice):
    """The windows of one organization, as one chain of pages: a cursor is a window and a page in it.

    Attributes:
        feed: The list.
        read: Why it is read; None if STATE does not hold it.
        plan: The windows.
        now: Tells the time.
    """

    feed: Feed
    read: Read | None
    plan: WindowPlan
    now: Callable[[], dt.datetime]

    @override
    def query(self, cursor: str | None) -> dict[str, str | int]:
        window = self._window(cursor)
        if window.is_search:
            return {**self.params, **self.feed.spec.params(self.plan.probe(window)), LIMIT: 1}
        page: dict[str, str | int] = {} if window.page is None else {self.cursor_param: window.page}
        return {**self.params, **self.feed.spec.params(window), **page}

    @override
    def page(self, body: bytes, cursor: str | None) -> Page:
        page = self.parse(body)
        window = self._window(cursor)
        if window.is_search:
            found = self._searched(self.plan.after_acceptance(window))
            return Page(msgspec.Raw(b"[]"), found, is_last_of_part=True)
        self.plan.saw(window, _times(page.records, self.feed.spec.field))
        if page.next is not None:
            return Page(page.records, str(self.plan.onward(window, page.next)))
        following = self.plan.after(window)
        return Page(page.records, None if following is None else str(following), is_last_of_part=True)

    @override
    def is_divisible(self, cursor: str | None) -> bool:
        return self.plan.narrower(self._window(cursor)) is not None or ListSlice.is_divisible(self, cursor)

    @override
    def instead(self, cursor: str | None, failure: ApiError) -> str | None:
        window = self._window(cursor)
        if isinstance(failure, RefusedRequestError) and (following := self.plan.after_refusal(window, self.now())):
            return self._searched(following)
        if isinstance(failure, ServerFailedError) and (half := self.plan.narrower(window)):
            logger.info("%s: the API could not answer for the whole window. Asking for half of it.", self.label)
            return str(half)
        return ListSlice.instead(self, cursor, failure)

    def _searched(self, window: Window) -> str:
        if self.plan.kept_from is not None and not window.is_search:
            kept_from = self.plan.kept_from.date()
            logger.warning(
                "%s: the organization keeps nothing from before %s. Reading begins there.", self.label, kept_from
            )
        return str(window)

    def _window(self, cursor: str | None) -> Window:
        """The window of a cursor; without one, the first window."""
        return self.plan.first(self.now()) if cursor is None else Window.parse(cursor)


@functools.cache
def _rows_of(field: str) -> msgspec.json.Decoder[list[Any]]:
    row = msgspec.defstruct("Row", [("moment", Any, None)], rename={"moment": field})
    return msgspec.json.Decoder(list[row])  # type: ignore[valid-type] # made just now


def _times(records: msgspec.Raw, field: str) -> list[dt.datetime | None]:
    """The times of the rows of a page; None for a row without one."""
    return [time_of(row.moment) for row in _rows_of(field).decode(records)]


def time_of(moment: Any) -> dt.datetime | None:
    """The time in a property of a row; None if it holds no time."""
    try:
        return parse_iso(moment)
    except (TypeError, ValueError, AttributeError):
        return None
