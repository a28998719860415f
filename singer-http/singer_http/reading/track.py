"""Follows one slice from page to page, and asks for pages ahead of their cursors."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass

from singer_http.http.errors import ApiError, RefusedRequestError, ServerFailedError
from singer_http.reading.pages import LoopGuard, Page, Slice

logger = logging.getLogger(__name__)

_DEEP = 1024  # pages ahead that are more than any budget allows


@dataclass(slots=True, eq=False)
class PageRequest:
    """One page of a track, asked for or about to be."""

    cursor: str | None
    is_certain: bool  # the API gave the cursor; it is predicted otherwise
    has_one_try: bool = False  # it was sent as a prediction, and is not tried again
    is_sent: bool = False  # a thread has it
    has_turn: bool = False  # the budget has let it go
    is_dropped: bool = False  # nobody wants the answer any more
    outcome: Page | BaseException | None = None  # the page, or what came instead


@dataclass(slots=True)
class Predictions:
    """Counts how the predictions of a run turned out."""

    hits: int = 0  # pages that were used
    misses: int = 0  # pages that were fetched for nothing
    are_refused: bool = False  # the API refused a cursor that was right, as it had not given it yet


class Track:
    """The requests of one slice, in the list's order.

    The pages up to the frontier are known to belong to the list; those behind it are predicted.
    """

    def __init__(self, slice_: Slice, score: Predictions) -> None:
        self.slice = slice_
        self.requests: deque[PageRequest] = deque()
        self._score = score
        self._frontier: PageRequest | None = None
        self._depth = _DEEP if score.hits > score.misses else 1
        self._guard = LoopGuard(slice_.start)
        self._before: str | None = None
        self._left = slice_.start
        self._append(slice_.start)
        if slice_.failure is not None:
            self._fail(slice_.failure)

    @property
    def pages_ahead(self) -> int:
        """Pages that are under way, or wait to be taken."""
        return len(self.requests) - (self.certain() is not None)

    def take_outcome(self, request: PageRequest) -> None:
        """Go on by the outcome of a request."""
        if request is self._frontier:
            while self._advance():
                pass
        elif not isinstance(request.outcome, Page):
            # No error of the run: the page may not exist. It is asked for again if it turns out to be needed.
            self._depth = min(self._depth, 1)

    def certain(self) -> PageRequest | None:
        """The request to send next for what is known to be needed."""
        return self._frontier if self._frontier is not None and not self._frontier.is_sent else None

    def predicted(self, deepest: int) -> PageRequest | None:
        """The request to send next for a page that is only predicted, no more than so many pages ahead."""
        ahead = sum(not request.is_certain for request in self.requests)
        if self._frontier is None or ahead >= min(self._depth, deepest) or self._seems_to_end():
            return None
        last = self.requests[-1].cursor
        previous = self.requests[-2].cursor if len(self.requests) > 1 else self._before
        cursor = self.slice.predict(previous, last) if previous is not None and last is not None else None
        if cursor is None:
            return None
        self.requests.append(PageRequest(cursor, is_certain=False, has_one_try=True))
        return self.requests[-1]

    def take(self) -> PageRequest | None:
        """The next request in order, once its outcome is there and certain to be of the list."""
        first = self.requests[0]
        if first.outcome is None or not first.is_certain:
            return None
        self._before = first.cursor
        return self.requests.popleft()

    def drop(self) -> None:
        """Drop all requests that are under way."""
        self._drop_after(None)
        self._frontier = None

    def _advance(self) -> bool:
        """Go on from the page at the frontier, if it is there, to the one at its real cursor."""
        request = self._frontier
        if request is None or (outcome := request.outcome) is None:
            return False
        if request.has_one_try and not isinstance(outcome, Page):
            self._score.are_refused |= isinstance(outcome, RefusedRequestError)
            request.has_one_try, request.is_sent, request.has_turn, request.outcome = False, False, False, None
            return False
        if self._may_restart(request, outcome) or self._may_ask_otherwise(request, outcome):
            return True
        try:
            cursor = self._guard.follow(outcome, self.slice.path) if isinstance(outcome, Page) else None
        except ApiError as error:
            self._drop_after(request)
            self._append(None)
            self._fail(error)
            return False
        if cursor is None:
            self._drop_after(request)
            self._frontier = None
            return False
        self._step(request, cursor)
        return True

    def _step(self, request: PageRequest, cursor: str) -> None:
        """Go on to the page at the real cursor."""
        place = self.requests.index(request) + 1
        predicted = self.requests[place] if place < len(self.requests) else None
        if predicted is not None and predicted.cursor == cursor:
            self._score.hits += 1
            self._depth = min(2 * self._depth, _DEEP)
            predicted.is_certain = True
            self._frontier = predicted
            return
        if predicted is not None:
            self._depth = 0
            self._drop_after(request)
        self._append(cursor)

    def _may_restart(self, request: PageRequest, outcome: Page | BaseException) -> bool:
        """Begin afresh where the page that an earlier run left has changed since, or is refused."""
        if self._left is None or request.cursor != self._left:
            return False
        is_as_left = self.slice.is_as_left
        if isinstance(outcome, Page):
            reason = "" if is_as_left is None or is_as_left(outcome) else "what was read before has changed since"
        else:
            faults = (RefusedRequestError, ServerFailedError) if is_as_left else RefusedRequestError
            reason = "the API refuses to go on at the stored cursor" if isinstance(outcome, faults) else ""
        if not reason:
            return False
        logger.warning("%s: %s; read from the beginning.", self.slice.label, reason)
        self._left = None
        self._drop_after(None)
        self._guard = LoopGuard(None)
        self._append(None)
        return True

    def _may_ask_otherwise(self, request: PageRequest, outcome: Page | BaseException) -> bool:
        """Ask for something else where the slice knows what."""
        if not isinstance(outcome, ApiError):
            return False
        try:
            cursor = self.slice.instead(request.cursor, outcome)
        except ApiError:
            return False
        self._drop_after(request)
        self.requests.pop()
        self._append(cursor)
        return True

    def _append(self, cursor: str | None) -> None:
        self._frontier = PageRequest(cursor, is_certain=True)
        self.requests.append(self._frontier)

    def _fail(self, error: ApiError) -> None:
        self.requests[-1].is_sent = True
        self.requests[-1].outcome = error
        self._frontier = None

    def _drop_after(self, last: PageRequest | None) -> None:
        while self.requests and self.requests[-1] is not last:
            dropped = self.requests.pop()
            dropped.is_dropped = True
            self._score.misses += dropped.is_sent and not dropped.is_certain

    def _seems_to_end(self) -> bool:
        outcome = self.requests[-1].outcome
        return outcome is not None and (not isinstance(outcome, Page) or outcome.next is None)
