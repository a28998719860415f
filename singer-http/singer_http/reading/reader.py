"""Reads slices ahead of the writer, several requests at once, and hands their pages over in the declared order.

How many requests are under way follows from Little's law: the rate that the budget allows, times the latency
measured. What is certain to be needed is asked for first: the next page of each slice that is being read, then the
first pages of the slices after them. Only when that leaves room is the page asked for that a slice's next cursor is
*predicted* to lead to.

Interleaved slices take turns, a page each: while enough of them are left to use the whole budget, nothing has to be
predicted, and no page waits for one of another slice for longer than a turn. Which page comes after which follows from
the lists alone, never from how they are fetched.
"""

from __future__ import annotations

import math
import queue
import threading
from collections import deque
from contextlib import AbstractContextManager
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from singer_http.http.clock import Stopped
from singer_http.http.rules import PREDICTION_RULES
from singer_http.reading.pages import Page, Slice
from singer_http.reading.track import PageRequest, Predictions, Track

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from singer_http.http.session import Session

    _Job = tuple[Callable[[], Any], Callable[[Any], None]]
    """Something that takes its time, and what is made of its outcome."""

PAGES_PER_REQUEST = 1
"""Pages that may be under way or waiting, for each request that may be sent at once, when one of a slice further on is
asked for; when one of the slice that the writer is at is, twice as many. What it waits for it always gets."""
_GLANCE = 0.1  # seconds after which a waiting writer looks whether the run is being ended


class Reader(AbstractContextManager["Reader"]):
    """Reads slices through one session, with threads of its own, which end with the context.

    Slices are taken as needed, by any thread, one at a time. A slice that takes its time to be declared holds up those
    after it, and no page of those before.
    """

    def __init__(
        self,
        session: Session,
        slices: Iterable[Slice],
        *,
        parallel: int = 1,  # the most requests at once
        predict: bool = False,  # asks for pages ahead of their cursors
        on_idle: Callable[[], None] = lambda: None,  # called by the one who takes pages, while waiting for one
    ) -> None:
        self._session = session
        self._slices = iter(slices)
        self._parallel = parallel
        self._predict = predict and parallel > 1
        self._on_idle = on_idle
        self._tracks: deque[Track] = deque()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()
        self._in_flight = 0
        self._waiting = 0
        self._is_awaited = False
        self._wanted = 1
        self._is_declaring = False
        self._has_all = False
        self._is_closed = False
        self._failure: BaseException | None = None
        self._bug: Exception | None = None
        self.predictions = Predictions()

    @override
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

    # The writer's side

    def __iter__(self) -> Iterator[tuple[Slice, Iterator[Page]]]:
        return self.of_stream(None)

    def of_stream(self, stream: str | None) -> Iterator[tuple[Slice, Iterator[Page]]]:
        """The slices that come next, as long as they belong to a stream (None: any), with their pages.

        An interleaved slice comes again for each of its pages, until all are taken or one slice is left.
        """
        while (first := self._first(1)) and stream in {None, first[0].slice.stream}:
            (track,) = first
            yield track.slice, self._pages(track)
            with self._changed:
                # Whether it was read to its end or not, unless it will have more turns.
                if self._tracks and self._tracks[0] is track:
                    self._tracks.popleft().drop()

    def _first(self, count: int) -> list[Track]:
        """The tracks that come next: so many, or all there are."""

        def declared() -> list[Track] | None:
            self._wanted = count
            self._fill()
            is_known = len(self._tracks) >= count or self._has_all
            return list(islice(self._tracks, count)) if is_known else None

        found: list[Track] = self._wait(declared)
        if not found and self._failure is not None:
            raise self._failure
        return found

    def _pages(self, track: Track) -> Iterator[Page]:
        while track.requests:
            outcome: Page | BaseException = self._wait(lambda: self._taken(track))
            if not isinstance(outcome, Page):
                raise outcome
            yield outcome
            if self._gives_way(track):
                return

    def _gives_way(self, track: Track) -> bool:
        """Pass the turn to the slices beside this one, unless it is at its end or there are none."""
        if not track.requests or track.slice.interleave == 1:
            return False
        self._first(track.slice.interleave)
        with self._changed:
            if not self._tracks or (interleaved := self._interleaved()) == 1:
                return False
            self._tracks.popleft()
            self._tracks.insert(interleaved - 1, track)
            return True

    def _wait(self, ready: Callable[[], Any]) -> Any:
        """Wait until something is ready, and call ``on_idle`` now and then meanwhile."""
        is_idle = False
        while True:
            with self._changed:
                if self._bug is not None:
                    raise self._bug
                if (found := ready()) is not None:
                    return found
                if is_idle:
                    self._changed.wait(_GLANCE)
            is_idle = True
            self._on_idle()
            self._session.clock.check()

    def _taken(self, track: Track) -> Page | BaseException | None:
        """The next page of the slice at the head, once it is there."""
        request = track.take()
        self._is_awaited = request is None
        self._fill()
        return None if request is None else request.outcome

    # What to do next: called with the lock

    def _fill(self) -> None:
        """Put as many requests under way as are worth it."""
        while not self._is_closed and self._in_flight < self._parallel and (job := self._choose()) is not None:
            self._in_flight += 1
            self._jobs.put(job)
            if self._in_flight > len(self._threads):
                # A daemon: a request that hangs must not keep a process alive that was told to end.
                thread = threading.Thread(target=self._work, name=f"reader-{len(self._threads)}", daemon=True)
                self._threads.append(thread)
                thread.start()

    def _choose(self) -> _Job | None:
        """What is worth doing next, the most certain first."""
        may_declare = not self._has_all and not self._is_declaring
        if may_declare and len(self._tracks) < self._wanted:
            return self._declaration()
        budget = self._session.budget
        in_use = math.ceil(budget.per_second * self._session.latency)
        # One more waits for its turn, so that the budget never waits for a request. What is needed in any case may
        # also use at once what the budget has left over.
        has_room = self._waiting == 0 or self._in_flight <= in_use
        if not has_room and self._in_flight >= budget.left:
            return None
        ahead = sum(track.pages_ahead for track in self._tracks)
        tracks = [track for track in self._by_need() if self._has_memory_for(track, ahead)]
        for track in tracks:
            if (request := track.certain()) is not None:
                return self._sent(track, request)
        if may_declare and self._has_memory_for(None, ahead):
            return self._declaration()
        if self._predict and has_room and tracks and not (self._is_declaring or self.predictions.are_refused):
            deepest = math.ceil(in_use / self._interleaved())
            for track in tracks:
                if (request := track.predicted(deepest)) is not None:
                    return self._sent(track, request)
        return None

    def _declaration(self) -> _Job:
        self._is_declaring = True
        return self._declare, self._take_slice

    def _sent(self, track: Track, request: PageRequest) -> _Job:
        request.is_sent = True
        self._waiting += 1
        return partial(self._fetch, track.slice, request), partial(self._take_outcome, track, request)

    def _interleaved(self) -> int:
        """How many of the first tracks are read in turns."""
        first = self._tracks[0].slice
        return sum(track.slice.stream == first.stream for track in islice(self._tracks, first.interleave))

    def _by_need(self) -> list[Track]:
        """The tracks, the one first whose next page will be waited for first."""
        interleaved = self._interleaved() if self._tracks else 0
        return [
            *sorted(islice(self._tracks, interleaved), key=lambda track: len(track.requests)),
            *islice(self._tracks, interleaved, None),
        ]

    def _has_memory_for(self, track: Track | None, ahead: int) -> bool:
        """Whether memory allows one more page, of this track or of one to come (None), besides those ahead."""
        most = PAGES_PER_REQUEST * self._parallel
        if track is not None and track is self._tracks[0]:
            if self._is_awaited and not track.requests[0].is_sent:
                return True
            most *= 2
        return ahead < most

    # The threads' side

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            work, take = job
            outcome = work()
            with self._changed:
                self._in_flight -= 1
                try:
                    take(outcome)
                    self._fill()
                except Exception as error:  # noqa: BLE001 - a bug; the writer must not wait for ever
                    self._bug = error
                self._changed.notify_all()

    def _declare(self) -> Slice | BaseException | None:
        try:
            return next(self._slices, None)
        except (Exception, Stopped) as error:  # noqa: BLE001 - it is raised again where the slice is waited for
            return error

    def _take_slice(self, outcome: Slice | BaseException | None) -> None:
        self._is_declaring = False
        if isinstance(outcome, Slice):
            self._tracks.append(Track(outcome, self.predictions))
        else:
            self._has_all = True
            self._failure = outcome

    def _fetch(self, slice_: Slice, request: PageRequest) -> Page | BaseException:
        try:
            page = self._session.get(
                slice_.path,
                slice_.query(request.cursor),
                lambda body: slice_.readable(body, request.cursor),
                PREDICTION_RULES if request.has_one_try else slice_.rules(request.cursor),
                on_turn=lambda: self._note_turn(request),
                label=slice_.label,
            )
        except (Exception, Stopped) as error:  # noqa: BLE001 - it is raised again where the page is waited for
            return error
        page.cursor = request.cursor
        return page

    def _note_turn(self, request: PageRequest) -> None:
        """Note that a request has its turn, so that the next one can wait."""
        with self._changed:
            self._waiting -= not request.has_turn
            request.has_turn = True
            self._fill()

    def _take_outcome(self, track: Track, request: PageRequest, outcome: Page | BaseException) -> None:
        self._waiting -= not request.has_turn
        request.outcome = outcome
        if not request.is_dropped:
            track.take_outcome(request)
