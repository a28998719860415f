"""The pages of one slice on their way: asked for one after the other, or ahead of their cursors."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass, field

from singer_http.http.errors import ApiError, RefusedRequestError, ServerFailedError
from singer_http.reading.pages import LoopGuard, Page, Slice

logger = logging.getLogger(__name__)

_ENOUGH_WAITING = 8
"""Pages of one slice that wait for the writer and make it pointless to guess at more."""
_DEEP = 1024
"""Pages ahead that are more than any budget allows."""


@dataclass(slots=True, eq=False)
class PageRequest:
    """One page of a track, asked for or about to be.

    Attributes:
        cursor: What it is asked for with.
        is_certain: Whether the API gave the cursor; it is predicted otherwise.
        is_guess: Whether it was sent as a prediction, with no second try.
        is_sent: Whether a thread has it.
        has_turn: Whether the budget has let it go.
        is_dropped: Whether nobody wants the answer any more.
        outcome: The page, or what came instead.
    """

    cursor: str | None
    is_certain: bool
    is_guess: bool = False
    is_sent: bool = False
    has_turn: bool = False
    is_dropped: bool = False
    outcome: Page | BaseException | None = None


@dataclass(slots=True)
class Predictions:
    """How the predictions of a run turned out.

    Attributes:
        hits: Pages that were used.
        misses: Pages that were fetched for nothing.
        are_refused: Whether the API refused a cursor that was right, as it had not given it yet.
    """

    hits: int = 0
    misses: int = 0
    are_refused: bool = False


@dataclass(slots=True, eq=False)
class Track:
    """The requests of one slice, in the list's order.

    The pages up to ``frontier`` are known to belong to the list; those behind it are predicted.
    """

    slice: Slice
    score: Predictions
    requests: deque[PageRequest] = field(default_factory=deque)
    frontier: PageRequest | None = None
    depth: int = 1
    guard: LoopGuard = field(init=False)
    before: str | None = None
    left: str | None = field(init=False)

    def __post_init__(self) -> None:
        self.guard = LoopGuard(self.slice.start)
        self.left = self.slice.start
        if self.score.hits > self.score.misses:
            self.depth = _DEEP
        self._append(self.slice.start)
        if self.slice.failure is not None:
            self._fail(self.slice.failure)

    @property
    def held(self) -> int:
        """Pages that are under way, or wait to be taken."""
        return len(self.requests) - (self.certain() is not None)

    def settle(self, request: PageRequest) -> None:
        """Draw the conclusions from a request that has its outcome."""
        if request is self.frontier:
            self._advance()
        elif not isinstance(request.outcome, Page):
            # No error of the run: the page may not exist. It is asked for again if it turns out to be needed.
            self.depth = min(self.depth, 1)

    def certain(self) -> PageRequest | None:
        """The request to send next for what is known to be needed."""
        return self.frontier if self.frontier is not None and not self.frontier.is_sent else None

    def predicted(self, deepest: int) -> PageRequest | None:
        """The request to send next for a page that is only predicted, no more than so many pages ahead."""
        ahead = sum(not request.is_certain for request in self.requests)
        if self.frontier is None or ahead >= min(self.depth, deepest) or self._seems_to_end():
            return None
        if sum(request.outcome is not None for request in self.requests) > _ENOUGH_WAITING:
            return None  # it is the writer that is slow
        last = self.requests[-1].cursor
        previous = self.requests[-2].cursor if len(self.requests) > 1 else self.before
        cursor = self.slice.guess(previous, last) if previous is not None and last is not None else None
        if cursor is None:
            return None
        self.requests.append(PageRequest(cursor, is_certain=False, is_guess=True))
        return self.requests[-1]

    def take(self) -> PageRequest | None:
        """The next request in order, once its outcome is there and certain to be of the list."""
        first = self.requests[0]
        if first.outcome is None or not first.is_certain:
            return None
        self.before = first.cursor
        return self.requests.popleft()

    def drop(self) -> None:
        """Give up what is still under way."""
        self._drop_after(None)
        self.frontier = None

    def _advance(self) -> None:
        """Follow the real cursors as far as pages are there."""
        while self.frontier is not None and self.frontier.outcome is not None:
            request, outcome = self.frontier, self.frontier.outcome
            if not isinstance(outcome, Page):
                if request.is_guess:
                    self.score.are_refused |= isinstance(outcome, RefusedRequestError)
                    request.is_guess, request.is_sent, request.has_turn, request.outcome = False, False, False, None
                    return
                self._drop_after(request)
                if self._may_restart(request, outcome) or self._may_ask_otherwise(request, outcome):
                    continue
                self.frontier = None
                return
            if self._may_restart(request, outcome):
                continue
            try:
                cursor = self.guard.follow(outcome, self.slice.label)
            except ApiError as error:
                self._drop_after(request)
                self._append(None)
                self._fail(error)
                return
            if cursor is None:
                self._drop_after(request)
                self.frontier = None
                return
            self._step(request, cursor)

    def _step(self, request: PageRequest, cursor: str) -> None:
        """Go on to the page at the real cursor."""
        place = self.requests.index(request) + 1
        guess = self.requests[place] if place < len(self.requests) else None
        if guess is not None and guess.cursor == cursor:
            self.score.hits += 1
            self.depth = min(2 * self.depth, _DEEP)
            guess.is_certain = True
            self.frontier = guess
            return
        if guess is not None:
            self.depth = 0
            self._drop_after(request)
        self._append(cursor)

    def _may_restart(self, request: PageRequest, outcome: Page | BaseException) -> bool:
        """Begin afresh where the page that an earlier run left is another one by now, or cannot be had."""
        if self.left is None or request.cursor != self.left or (reason := self._reason_to_restart(outcome)) is None:
            return False
        logger.warning("%s: %s; read from the beginning.", self.slice.label, reason)
        self.left = None
        self._drop_after(None)
        self.guard = LoopGuard(None)
        self._append(None)
        return True

    def _reason_to_restart(self, outcome: Page | BaseException) -> str | None:
        is_as_left = self.slice.is_as_left
        if isinstance(outcome, Page):
            is_good = is_as_left is None or is_as_left(outcome)
            return None if is_good else "what was read before has changed since"
        is_refused = isinstance(outcome, RefusedRequestError) or (is_as_left and isinstance(outcome, ServerFailedError))
        return "the API refuses to go on at the stored cursor" if is_refused else None

    def _may_ask_otherwise(self, request: PageRequest, outcome: BaseException) -> bool:
        """Ask for something else where the slice knows what."""
        if not isinstance(outcome, ApiError):
            return False
        try:
            cursor = self.slice.instead(request.cursor, outcome)
        except ApiError:
            return False
        self.requests.pop()
        self._append(cursor)
        return True

    def _append(self, cursor: str | None) -> None:
        self.frontier = PageRequest(cursor, is_certain=True)
        self.requests.append(self.frontier)

    def _fail(self, error: ApiError) -> None:
        self.requests[-1].is_sent = True
        self.requests[-1].outcome = error
        self.frontier = None

    def _drop_after(self, last: PageRequest | None) -> None:
        while self.requests and self.requests[-1] is not last:
            dropped = self.requests.pop()
            dropped.is_dropped = True
            self.score.misses += dropped.is_sent and not dropped.is_certain

    def _seems_to_end(self) -> bool:
        outcome = self.requests[-1].outcome
        return outcome is not None and (not isinstance(outcome, Page) or outcome.next is None)
