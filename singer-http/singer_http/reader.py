"""Reads slices ahead of the writer, several requests at once, and hands their pages over in the declared order.

How many requests are under way follows from Little's law: the rate that the budget allows, times the latency
measured. What is asked for first is what is certain to be needed: the next page of each slice that is being read,
then the first pages of the slices after them. Only when that leaves room is the page asked for that a slice's next
cursor is *predicted* to lead to.
"""

from __future__ import annotations

import datetime as dt
import logging
import math
import queue
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from typing_extensions import Self

from singer_http.clock import Stopped
from singer_http.errors import TOO_MUCH, ApiError, RefusedRequestError, UnwantedError
from singer_http.pages import Chain
from singer_http.prediction import following

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from singer_http.client import Session
    from singer_http.pages import Page, Slice

logger = logging.getLogger(__name__)

HELD_PER_REQUEST = 1
"""Pages of slices further on that may be under way or waiting, for each request that may be sent at once."""
_ENOUGH_WAITING = 8
"""Pages of one slice that wait for the writer and make it pointless to guess at more."""
_DEEP = 1024
"""Pages ahead that are more than any budget allows."""
_GLANCE = 0.1
"""Seconds after which a waiting writer looks whether the run is being ended."""


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


@dataclass(slots=True, eq=False)
class _Request:
    """One page of a track, asked for or about to be.

    Attributes:
        cursor: What it is asked for with.
        is_certain: Whether the API gave the cursor; it is predicted otherwise.
        is_guess: Whether it was sent as a prediction, with no second try.
        is_sent: Whether a thread has it.
        is_dropped: Whether nobody wants the answer any more.
        outcome: The page, or what came instead.
    """

    cursor: str | None
    is_certain: bool
    is_guess: bool = False
    is_sent: bool = False
    is_dropped: bool = False
    outcome: Fetched | BaseException | None = None


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
class _Track:
    """The requests of one slice, in the list's order.

    The pages up to ``frontier`` are known to belong to the list; those behind it are predicted.
    """

    slice: Slice
    score: Predictions
    requests: deque[_Request] = field(default_factory=deque)
    frontier: _Request | None = None
    depth: int = 1
    guard: Chain = field(init=False)
    before: str | None = None

    def __post_init__(self) -> None:
        self.guard = Chain(self.slice.start)
        if self.score.hits > self.score.misses:
            self.depth = _DEEP
        self._append(self.slice.start)
        if self.slice.failure is not None:
            self._fail(self.slice.failure)

    def settle(self, request: _Request) -> None:
        """Draw the conclusions from a request that has its outcome."""
        if request is self.frontier:
            self._advance()
        elif not isinstance(request.outcome, Fetched):
            # No error of the run: the page may not exist. It is asked for again if it turns out to be needed.
            self.depth = min(self.depth, 1)

    def certain(self) -> _Request | None:
        """The request to send next for what is known to be needed."""
        return self.frontier if self.frontier is not None and not self.frontier.is_sent else None

    def predicted(self, deepest: int) -> _Request | None:
        """The request to send next for a page that is only predicted, no more than so many pages ahead."""
        ahead = sum(not request.is_certain for request in self.requests)
        if self.frontier is None or ahead >= min(self.depth, deepest) or self._seems_to_end():
            return None
        if sum(request.outcome is not None for request in self.requests) > _ENOUGH_WAITING:
            return None  # it is the writer that is slow
        last = self.requests[-1].cursor
        previous = self.requests[-2].cursor if len(self.requests) > 1 else self.before
        cursor = following(previous, last) if previous is not None and last is not None else None
        if cursor is None:
            return None
        self.requests.append(_Request(cursor, is_certain=False, is_guess=True))
        return self.requests[-1]

    def take(self) -> _Request | None:
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
            if not isinstance(outcome, Fetched):
                if request.is_guess:
                    self.score.are_refused |= isinstance(outcome, RefusedRequestError)
                    request.is_guess, request.is_sent, request.outcome = False, False, None
                    return
                self._drop_after(request)
                if request is self.requests[0] and self._may_restart(request, outcome):
                    continue
                if self._may_narrow(request, outcome):
                    continue
                self.frontier = None
                return
            try:
                cursor = self.guard.follow(outcome.page, self.slice.label)
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

    def _step(self, request: _Request, cursor: str) -> None:
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

    def _may_restart(self, request: _Request, outcome: BaseException) -> bool:
        """Begin afresh where the API refuses the cursor that an earlier run left."""
        if request.cursor is None or request.cursor != self.slice.start or not isinstance(outcome, RefusedRequestError):
            return False
        logger.warning("%s: the API refuses to go on at the stored cursor; read from the beginning.", self.slice.label)
        self.requests.clear()
        self.guard = Chain(None)
        self._append(None)
        return True

    def _may_narrow(self, request: _Request, outcome: BaseException) -> bool:
        """Ask for less where the API seems to have been asked for too much at once."""
        cursor = self.slice.narrower(request.cursor) if isinstance(outcome, TOO_MUCH) else None
        if cursor is None:
            return False
        logger.info("%s: too much for one request; asking for less.", self.slice.label)
        self.requests.pop()
        self._append(cursor)
        return True

    def _append(self, cursor: str | None) -> None:
        self.frontier = _Request(cursor, is_certain=True)
        self.requests.append(self.frontier)

    def _fail(self, error: ApiError) -> None:
        self.requests[-1].is_sent = True
        self.requests[-1].outcome = error
        self.frontier = None

    def _drop_after(self, last: _Request | None) -> None:
        while self.requests and self.requests[-1] is not last:
            dropped = self.requests.pop()
            dropped.is_dropped = True
            self.score.misses += dropped.is_sent and not dropped.is_certain

    def _seems_to_end(self) -> bool:
        outcome = self.requests[-1].outcome
        return outcome is not None and (not isinstance(outcome, Fetched) or outcome.page.next is None)


class Reader:
    """Reads slices through one session, with threads of its own.

    It is a context manager: leaving it ends the threads.

    Args:
        session: Sends the requests.
        slices: What to read, in order. Taken from as needed, by any thread, one at a time.
        parallel: The most requests at once; 1 sends one after the other.
        predict: Whether to ask for pages ahead of their cursors.
        on_idle: Called by the one who takes pages, now and then while waiting for one.
    """

    def __init__(
        self,
        session: Session,
        slices: Iterable[Slice],
        *,
        parallel: int = 1,
        predict: bool = False,
        on_idle: Callable[[], None] = lambda: None,
    ) -> None:
        self._session = session
        self._slices = iter(slices)
        self._parallel = parallel
        self._predict = predict and parallel > 1
        self._on_idle = on_idle
        self._tracks: deque[_Track] = deque()
        self._jobs: queue.SimpleQueue[tuple[_Track, _Request] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()
        self._in_flight = 0
        self._is_closed = False
        self._failure: Exception | None = None
        self._bug: Exception | None = None
        self.predictions = Predictions()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Send nothing more, and let the threads end with the request they are at."""
        with self._changed:
            self._is_closed = True
            for track in self._tracks:
                track.drop()
            self._tracks.clear()
        for _ in self._threads:
            self._jobs.put(None)

    def __iter__(self) -> Iterator[tuple[Slice, Iterator[Fetched]]]:
        """Every slice with its pages, to be taken in this order."""
        while (track := self._head()) is not None:
            yield track.slice, self._pages(track)
            self._leave(track)

    def of_stream(self, stream: str) -> Iterator[tuple[Slice, Iterator[Fetched]]]:
        """The slices that come next, as long as they belong to a stream."""
        while (track := self._head()) is not None and track.slice.stream == stream:
            yield track.slice, self._pages(track)
            self._leave(track)

    def _head(self) -> _Track | None:
        with self._changed:
            if not self._tracks:
                self._open()
            self._fill()
            if not self._tracks and self._failure is not None:
                raise self._failure
            return self._tracks[0] if self._tracks else None

    def _leave(self, track: _Track) -> None:
        """Go on to the next slice, whether this one was read to its end or not."""
        with self._changed:
            track.drop()
            if self._tracks and self._tracks[0] is track:
                self._tracks.popleft()

    def _pages(self, track: _Track) -> Iterator[Fetched]:
        while track.requests:
            outcome = self._take(track)
            if not isinstance(outcome, Fetched):
                raise outcome
            yield outcome

    def _take(self, track: _Track) -> Fetched | BaseException:
        """Wait for the next page of the slice at the head."""
        is_idle = False
        while True:
            with self._changed:
                if self._bug is not None:
                    raise self._bug
                if (request := self._taken(track)) is not None:
                    return request
                if is_idle:
                    self._changed.wait(_GLANCE)
            is_idle = True
            self._on_idle()
            self._session.clock.check()

    def _taken(self, track: _Track) -> Fetched | BaseException | None:
        request = track.take()
        self._fill()
        return None if request is None else request.outcome

    def _open(self) -> _Track | None:
        """Begin with the next slice."""
        try:
            following_slice = next(self._slices, None)
        except Exception as error:  # noqa: BLE001 - raised again where the slice is waited for
            self._failure = error
            return None
        if following_slice is None:
            return None
        track = _Track(following_slice, self.predictions)
        self._tracks.append(track)
        return track

    def _fill(self) -> None:
        """Send as many requests as are worth having under way."""
        while not self._is_closed and (chosen := self._choose()) is not None:
            chosen[1].is_sent = True
            self._in_flight += 1
            self._jobs.put(chosen)
            if self._in_flight > len(self._threads):
                # A daemon: a request that hangs must not keep a process alive that was told to end.
                thread = threading.Thread(target=self._work, name=f"reader-{len(self._threads)}", daemon=True)
                self._threads.append(thread)
                thread.start()

    def _choose(self) -> tuple[_Track, _Request] | None:
        """The next request that is worth sending, the most certain first."""
        budget = self._session.budget
        in_use = math.ceil(budget.per_second * self._session.latency)
        # One more waits for its turn, so that the budget never waits for a request. What is needed in any case may
        # also use at once what the budget has left over.
        if self._in_flight < min(self._parallel, max(in_use + 1, budget.left)):
            for track in self._tracks:
                if (request := track.certain()) is not None and self._has_room(track):
                    return track, request
            while self._has_room(None) and (opened := self._open()) is not None:
                if (request := opened.certain()) is not None:
                    return opened, request
        if self._predict and not self.predictions.are_refused and self._in_flight < min(self._parallel, in_use + 1):
            for track in self._tracks:
                if self._has_room(track) and (request := track.predicted(in_use)) is not None:
                    return track, request
        return None

    def _has_room(self, track: _Track | None) -> bool:
        """Whether a page more may be held: for the slice that the writer is at always, for all others together."""
        if track is not None and track is self._tracks[0]:
            return True
        held = sum(len(track.requests) for track in self._tracks) - len(self._tracks[0].requests) if self._tracks else 0
        return held < HELD_PER_REQUEST * self._parallel

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            track, request = job
            outcome = self._fetch(track.slice, request)
            with self._changed:
                try:
                    self._settle(track, request, outcome)
                except Exception as error:  # noqa: BLE001 - a bug; the writer must not wait for ever
                    self._bug = error
                self._changed.notify_all()

    def _settle(self, track: _Track, request: _Request, outcome: Fetched | BaseException) -> None:
        self._in_flight -= 1
        request.outcome = outcome
        if isinstance(outcome, UnwantedError) and not request.is_certain:
            self.predictions.misses -= 1
        if not request.is_dropped:
            track.settle(request)
        self._fill()

    def _fetch(self, of: Slice, request: _Request) -> Fetched | BaseException:
        try:
            page = self._session.get(
                of.path,
                of.query(request.cursor),
                lambda body: of.page(body, request.cursor),
                is_wanted=lambda: not request.is_dropped,
                is_tentative=request.is_guess,
                is_divisible=of.narrower(request.cursor) is not None,
            )
        except (Exception, Stopped) as error:  # noqa: BLE001 - it is raised again where the page is waited for
            return error
        return Fetched(request.cursor, page, dt.datetime.now(dt.timezone.utc))
