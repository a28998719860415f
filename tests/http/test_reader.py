"""The reader: the same pages in the same order however they are fetched, and little fetched for nothing."""

from __future__ import annotations

import heapq
import random
import threading
from collections import Counter
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from unittest import mock

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from singer_http.http.clock import Clock, Stopped
from singer_http.http.errors import ApiError, RefusedRequestError, ServerFailedError
from singer_http.http.rules import PREDICTION_RULES
from singer_http.reading import reader as reader_module
from singer_http.reading.pages import Page, Slice
from singer_http.reading.reader import PAGES_PER_REQUEST, Reader
from tap_hustle.cursor_prediction import predicted_cursor
from typing_extensions import override

from tests.conftest import HANGING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from singer_http.http.session import Session


@dataclass(frozen=True)
class Asked:
    """A page as it is asked for."""

    path: str
    page: int
    is_tentative: bool


@pytest.fixture(autouse=True, scope="module")
def short_glances() -> Iterator[None]:
    """The one who waits for a page looks often whether it is time to go on."""
    with mock.patch.object(reader_module, "_GLANCE", 0.001):
        yield


class Simulation(Clock):
    """Time that goes on when all wait: those who fetch for their answers, and the one who reads for a page.

    Attributes:
        now: Seconds.
        reader: Whose time it is.
    """

    reader: Reader

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self._turn = threading.Condition()
        self._wakes: list[float] = []

    def sleep_until(self, wake: float) -> None:
        """Wait for an answer; for nothing more when nobody reads any longer."""
        with self._turn:
            if wake > self.now:
                heapq.heappush(self._wakes, wake)
                while self.now < wake and not self.reader._is_closed:
                    self.check()
                    self._turn.wait(0.01)

    def go_on(self) -> None:
        """Leap to the next answer when nobody is awake; to be called by the one who reads, when there is no page."""
        reader = self.reader
        with self._turn:
            while True:
                with reader._changed:
                    if reader._is_declaring:
                        return  # it is no answer that is waited for
                    asleep = len(self._wakes) == reader._in_flight
                    is_there = reader._has_all or len(reader._tracks) >= reader._wanted
                    for awaited in [track.requests[0] for track in reader._tracks if track.requests][:1]:
                        is_there = is_there and awaited.is_certain and awaited.outcome is not None
                if asleep:
                    break
                self._turn.wait(0.0005)
            if self._wakes and not is_there:
                self.now = self._wakes[0]
                while self._wakes and self._wakes[0] <= self.now:
                    heapq.heappop(self._wakes)
                self._turn.notify_all()


@dataclass
class FakeApi:
    """Lists of pages, served to any number of threads.

    Attributes:
        lists: The records of each page of each list, by path.
        cursors: What the cursor to the n-th page of a list looks like.
        delay: Seconds before an answer.
        trouble: Called with what is asked for; may raise.
        per_second: The rate that the reader is told of.
        latency: The latency that the reader is told of.
        turn: Seconds between two requests that the budget lets go.
    """

    lists: dict[str, list[list[int]]]
    cursors: Callable[[str, int], str] = lambda _, page: f"[{page},1000]"
    delay: Callable[[], float] = lambda: 0.0
    trouble: Callable[[Asked], None] = lambda _: None
    per_second: float = 1e9
    latency: float = 1.0
    turn: float = 0.0
    asked: Counter[tuple[str, str | None]] = field(default_factory=Counter)
    most_at_once: int = 0
    clock: Simulation = field(default_factory=Simulation)
    _free_at: float = 0.0
    _at_once: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.budget = SimpleNamespace(per_second=self.per_second, left=0)
        self._pages = {
            (path, self.cursors(path, number)): number
            for path, pages in self.lists.items()
            for number in reversed(range(1, len(pages)))
        }

    def get(
        self,
        path: str,
        params: dict[str, Any],
        _parse: object,
        rules: object,
        *,
        on_turn: Callable[[], None],
        label: str,
    ) -> Page:
        assert label
        if self.turn:
            with self._lock:
                self._free_at = turn = max(self._free_at, self.clock.now) + self.turn
            self.clock.sleep_until(turn)
        on_turn()
        cursor = params.get("cursor")
        with self._lock:
            self.asked[path, cursor] += 1
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            self.clock.sleep_until(self.clock.now + self.delay())
            number = 0 if cursor is None else self._pages.get((path, cursor))
            if number is None:
                raise RefusedRequestError("no such cursor")
            self.trouble(Asked(path, number, rules is PREDICTION_RULES))
            pages = self.lists[path]
            following = self.cursors(path, number + 1) if number + 1 < len(pages) else None
            return Page(msgspec.Raw(msgspec.json.encode([{"id": record} for record in pages[number]])), following)
        finally:
            with self._lock:
                self._at_once -= 1

    @property
    def requests(self) -> int:
        return self.asked.total()

    @property
    def needed(self) -> int:
        return sum(len(pages) for pages in self.lists.values())

    def slices(self) -> Iterator[Slice]:
        for path in self.lists:
            yield slice_of(path)

    def reader(self, slices: Iterable[Slice] | None = None, **settings: Any) -> Reader:
        given = self.slices() if slices is None else slices
        reader = Reader(cast("Session", self), given, **{"on_idle": self.clock.go_on, **settings})
        self.clock.reader = reader
        return reader


class GuessingSlice(Slice):
    """A slice whose cursors may be numbers in brackets."""

    __slots__ = ()

    @override
    def predict(self, before: str, last: str) -> str | None:
        return predicted_cursor(before, last)


def slice_of(path: str, start: str | None = None, failure: ApiError | None = None, interleave: int = 1) -> Slice:
    return GuessingSlice(
        stream=path.strip("/").split("-")[0],
        partition={"list": path},
        path=path,
        params={},
        cursor_param="cursor",
        start=start,
        parse=lambda _: pytest.fail("parsed by the fake"),
        interleave=interleave,
        failure=failure,
    )


def read(reader: Reader) -> dict[str, list[list[int]]]:
    """Everything, page by page, with what a slice failed with in the place of its next page."""
    found: dict[str, list[list[int]]] = {}
    with reader:
        for slice_, pages in reader:
            assert slice_.path not in found
            found[slice_.path] = []
            for page in pages:
                found[slice_.path].append([record["id"] for record in page.decode()])
    return found


def dice(seed: str | int) -> random.Random:
    return random.Random(seed)  # noqa: S311


def opaque(path: str, page: int) -> str:
    return dice(f"{path} {page}").randbytes(9).hex()


def drifting(path: str, page: int) -> str:
    return f"[{page},1000]" if page < 7 else opaque(path, page)


lists = st.lists(st.integers(1, 12), min_size=1, max_size=6).map(
    lambda lengths: {
        f"/list-{place}": [[place * 10_000 + page * 10 + record for record in range(3)] for page in range(length)]
        for place, length in enumerate(lengths)
    }
)


@settings(max_examples=60, deadline=None)
@given(
    lists=lists,
    cursors=st.sampled_from([lambda _, page: f"[{page},1000]", opaque, drifting]),
    parallel=st.integers(1, 16),
    predict=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_the_same_pages_in_the_same_order(
    *, lists: dict[str, list[list[int]]], cursors: Callable[[str, int], str], parallel: int, predict: bool, seed: int
) -> None:
    delays = dice(seed)
    api = FakeApi(lists, cursors, delay=lambda: delays.choice([0, 0, 0.001, 0.003]))
    assert read(api.reader(parallel=parallel, predict=predict)) == lists
    assert api.most_at_once <= parallel
    if parallel == 1 or not predict:
        assert api.requests == api.needed


@settings(max_examples=40, deadline=None)
@given(lists=lists, parallel=st.integers(1, 16), seed=st.integers(0, 10**6))
def test_errors_of_pages_ahead_are_no_errors_of_the_run(
    lists: dict[str, list[list[int]]], parallel: int, seed: int
) -> None:
    chance = dice(seed)

    def trouble(asked: Asked) -> None:
        if asked.is_tentative and chance.random() < 0.5:
            raise ServerFailedError("a fault that a second try would have mended")

    api = FakeApi(lists, trouble=trouble, delay=lambda: chance.choice([0, 0.002]))
    assert read(api.reader(parallel=parallel, predict=True)) == lists


def test_a_failing_slice_gives_its_pages_then_its_error_and_the_rest_goes_on() -> None:
    everything = {"/list-0": [[1], [2], [3], [4]], "/list-1": [[5]], "/list-2": [[6], [7]]}

    def trouble(asked: Asked) -> None:
        if (asked.path, asked.page) == ("/list-0", 2):
            raise ServerFailedError("broken for good")

    found: dict[str, list[int]] = {}
    failed = []
    with FakeApi(everything, trouble=trouble).reader(parallel=8, predict=True) as reader:
        for slice_, pages in reader:
            found[slice_.path] = []
            try:
                for page in pages:
                    found[slice_.path] += [record["id"] for record in page.decode()]
            except ServerFailedError:
                failed.append(slice_.path)
    assert found == {"/list-0": [1, 2], "/list-1": [5], "/list-2": [6, 7]}
    assert failed == ["/list-0"]


def test_a_slice_that_is_known_to_fail_fails_in_its_place() -> None:
    api = FakeApi({"/list-0": [[1]], "/list-2": [[3]]})
    slices = [slice_of("/list-0"), slice_of("/list-1", failure=ServerFailedError("no partitions")), slice_of("/list-2")]
    order = []
    with api.reader(slices, parallel=4) as reader:
        for slice_, pages in reader:
            try:
                order.append((slice_.path, len(list(pages))))
            except ServerFailedError:
                order.append((slice_.path, -1))
    assert order == [("/list-0", 1), ("/list-1", -1), ("/list-2", 1)]


def test_a_list_that_leads_back_ends_with_an_error() -> None:
    api = FakeApi({"/list-0": [[page] for page in range(50)]}, lambda _, page: f"[{(page - 1) % 5 + 1},1000]")
    delivered = 0
    with api.reader(parallel=8, predict=True) as reader:
        _, pages = next(iter(reader))
        with pytest.raises(ApiError, match="the same cursor twice"):  # noqa: PT012
            for _ in pages:
                delivered += 1
    assert delivered <= 6


def test_a_stored_cursor_that_is_refused_begins_afresh(caplog: pytest.LogCaptureFixture) -> None:
    api = FakeApi({"/list-0": [[1], [2], [3]]})
    with api.reader([slice_of("/list-0", start="gone")], parallel=4, predict=True) as reader:
        _, pages = next(iter(reader))
        assert [page.decode()[0]["id"] for page in pages] == [1, 2, 3]
    assert "list" in caplog.text
    assert "from the beginning" in caplog.text


def test_a_stored_cursor_is_gone_on_with() -> None:
    api = FakeApi({"/list-0": [[page] for page in range(20)]})
    with Reader(cast("Session", api), [slice_of("/list-0", start="[12,1000]")], parallel=4, predict=True) as reader:
        _, pages = next(iter(reader))
        assert [page.decode()[0]["id"] for page in pages] == list(range(12, 20))


@pytest.mark.parametrize(("cursors", "wasted"), [(opaque, 0), (drifting, 4)])
def test_unpredictable_cursors_waste_no_more_than_was_under_way(
    cursors: Callable[[str, int], str], wasted: int
) -> None:
    # 20 a second at 150 ms: three on their way, and one that waits for its turn.
    api = FakeApi({"/list-0": [[page] for page in range(30)]}, cursors, lambda: 0.004, per_second=20, latency=0.15)
    assert read(api.reader(parallel=16, predict=True))["/list-0"] == [[page] for page in range(30)]
    assert api.requests - api.needed <= wasted


def test_an_api_that_refuses_cursors_it_has_not_given_is_not_asked_again() -> None:
    def trouble(asked: Asked) -> None:
        if asked.is_tentative:
            raise RefusedRequestError("not given yet")

    everything = {f"/list-{n}": [[page] for page in range(20)] for n in range(5)}
    api = FakeApi(everything, trouble=trouble, delay=lambda: 0.001)
    assert read(api.reader(parallel=16, predict=True)) == everything
    # A prediction or two of each list were under way when the first was known to have been right.
    assert api.requests - api.needed <= 3 * len(everything)


def test_prediction_wastes_no_more_than_was_under_way_at_the_end() -> None:
    everything = {"/list-0": [[page] for page in range(100)]}
    api = FakeApi(everything, delay=lambda: 0.02, per_second=200, latency=0.02, turn=0.005)
    reader = api.reader(parallel=16, predict=True)
    assert len(read(reader)["/list-0"]) == 100
    assert reader.predictions.hits >= 90
    # Four, where no thread is late, and one that waits for its turn.
    assert api.requests - api.needed <= api.most_at_once + 1
    come_to_rest(reader)  # some may have waited for their turn still
    assert reader.predictions.misses == api.requests - api.needed


def test_no_more_under_way_than_the_budget_can_use() -> None:
    # 50 a second at 40 ms: two on their way, and one that waits for its turn.
    everything = {f"/list-{n}": [[n]] for n in range(30)}
    api = FakeApi(everything, delay=lambda: 0.04, per_second=50, latency=0.04, turn=0.02)
    read(api.reader(parallel=16))
    assert api.most_at_once <= 3


def test_no_less_under_way_than_the_budget_can_use() -> None:
    # The latency measured is a tenth of what it is: what counts is that somebody waits for the next turn.
    everything = {f"/list-{n}": [[n]] for n in range(30)}
    api = FakeApi(everything, delay=lambda: 0.05, per_second=200, latency=0.005, turn=0.005)
    read(api.reader(parallel=16))
    assert api.most_at_once >= 5


def come_to_rest(reader: Reader) -> None:
    """Wait until nothing is under way: nothing will be until a page is taken."""
    with reader._changed:
        assert reader._changed.wait_for(lambda: reader._in_flight == 0, HANGING)


@pytest.mark.parametrize("cursors", [opaque, lambda _, page: f"[{page},1000]"], ids=["opaque", "predictable"])
@pytest.mark.parametrize("interleave", [1, 12])
@pytest.mark.parametrize("pages", [1, 2, 25])
def test_a_writer_that_stands_still_holds_the_reader_up(
    cursors: Callable[[str, int], str], interleave: int, pages: int
) -> None:
    everything = {f"/list-{n}": [[100 * n + page] for page in range(pages)] for n in range(400 // pages)}
    api = FakeApi(everything, cursors)
    slices = [slice_of(path, interleave=interleave) for path in everything]

    def on_idle() -> None:
        with reader._changed:
            assert reader._in_flight or not reader._tracks or reader._tracks[0].requests[0].is_sent, (
                "the writer waits for a page that nobody asks for"
            )

    taken = 0
    with api.reader(slices, parallel=4, predict=True, on_idle=on_idle) as reader:
        for _, its_pages in reader:
            for _ in its_pages:
                taken += 1
                if taken % 37 == 1:
                    come_to_rest(reader)
                    # The page that is waited for may be one more.
                    assert api.requests - reader.predictions.misses - taken <= 2 * PAGES_PER_REQUEST * 4 + 1
    assert taken == api.needed


def test_leaving_in_the_middle_ends_the_threads() -> None:
    before = set(threading.enumerate())
    api = FakeApi({f"/list-{n}": [[n]] * 5 for n in range(20)}, delay=lambda: 0.002)
    with api.reader(parallel=8, predict=True) as reader:
        for _, pages in reader:
            next(pages)
            break
    for thread in set(threading.enumerate()) - before:
        thread.join(HANGING)
    assert set(threading.enumerate()) <= before


def test_a_run_that_is_ended_stops_waiting() -> None:
    api = FakeApi({"/list-0": [[1], [2]]}, delay=lambda: 60)
    with api.reader(parallel=2, on_idle=api.clock.stop) as reader, pytest.raises(Stopped):
        next(next(iter(reader))[1])


def test_a_bug_in_the_declaration_of_slices_is_not_swallowed() -> None:
    def slices() -> Iterator[Slice]:
        yield slice_of("/list-0")
        raise ZeroDivisionError

    api = FakeApi({"/list-0": [[1]]})
    with api.reader(slices(), parallel=4) as reader, pytest.raises(ZeroDivisionError):  # noqa: PT012
        for _, pages in reader:
            assert len(list(pages)) == 1


def in_turns(lists: dict[str, list[list[int]]], interleave: int) -> list[tuple[str, list[int]]]:
    """Pages as they are to come where so many lists are read in turns."""
    waiting = [(path, list(pages)) for path, pages in lists.items()]
    order = []
    while waiting:
        path, pages = waiting.pop(0)
        order.append((path, pages.pop(0)))
        if pages:
            waiting.insert(min(interleave - 1, len(waiting)), (path, pages))
    return order


@settings(max_examples=60, deadline=None)
@given(
    lists=lists,
    interleave=st.integers(2, 5),
    parallel=st.integers(1, 16),
    predict=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_interleaved_slices_take_turns_however_they_are_fetched(
    *, lists: dict[str, list[list[int]]], interleave: int, parallel: int, predict: bool, seed: int
) -> None:
    delays = dice(seed)
    api = FakeApi(lists, delay=lambda: delays.choice([0, 0, 0.001, 0.003]))
    slices = [slice_of(path, interleave=interleave) for path in lists]
    with api.reader(slices, parallel=parallel, predict=predict) as reader:
        found = [(slice_.path, page.decode()) for slice_, pages in reader for page in pages]
    assert [(path, [record["id"] for record in records]) for path, records in found] == in_turns(lists, interleave)


def test_interleaved_slices_leave_nothing_to_predict_until_few_are_left() -> None:
    # 100 a second at 40 ms is four on their way, and there are four lists to take the next page from.
    everything = {f"/list-{n}": [[page] for page in range(8)] for n in range(4)}
    api = FakeApi(everything, delay=lambda: 0.04, per_second=100, latency=0.04, turn=0.01)
    slices = [slice_of(path, interleave=16) for path in everything]
    with api.reader(slices, parallel=16, predict=True) as reader:
        assert sum(1 for _, pages in reader for _ in pages) == api.needed
    # One prediction at the end of each at most, where alone each would have three or four.
    assert api.requests - api.needed <= len(everything)


def test_an_interleaved_slice_that_fails_or_is_left_has_no_more_turns() -> None:
    everything = {"/list-0": [[1], [2], [3]], "/list-1": [[4], [5], [6]], "/list-2": [[7], [8], [9]]}

    def trouble(asked: Asked) -> None:
        if (asked.path, asked.page) == ("/list-0", 1):
            raise ServerFailedError("broken for good")

    order: list[int] = []
    api = FakeApi(everything, trouble=trouble)
    slices = [slice_of(path, interleave=3) for path in everything]
    with api.reader(slices, parallel=4, predict=True) as reader:
        for slice_, pages in reader:
            try:
                for page in pages:
                    order.append(page.decode()[0]["id"])
                    if order[-1] == 5:
                        break
            except ServerFailedError:
                order.append(-int(slice_.path[-1]))
    assert order == [1, 4, 7, 0, 5, 8, 9]


def test_streams_are_taken_one_after_the_other() -> None:
    api = FakeApi({"/a-0": [[1]], "/a-1": [[2]], "/b-0": [[3]], "/b-1": [[4]]})
    with api.reader(parallel=4) as reader:
        assert [slice_.path for slice_, pages in reader.of_stream("a") if list(pages)] == ["/a-0", "/a-1"]
        assert [slice_.path for slice_, pages in reader.of_stream("nothing of it")] == []
        assert [slice_.path for slice_, pages in reader.of_stream("b") if list(pages)] == ["/b-0", "/b-1"]


@pytest.mark.parametrize("predict", [False, True])
def test_a_declaration_that_takes_its_time_holds_no_ready_page_back(*, predict: bool) -> None:
    api = FakeApi({"/list-0": [[1], [2], [3]], "/list-1": [[4]]})
    may_go_on = threading.Event()

    def slices() -> Iterator[Slice]:
        yield slice_of("/list-0")
        assert may_go_on.wait(HANGING)  # such as for an answer
        yield slice_of("/list-1")

    with Reader(cast("Session", api), slices(), parallel=4, predict=predict) as reader:
        taken = iter(reader)
        _, pages = next(taken)
        assert [page.decode()[0]["id"] for page in pages] == [1, 2, 3]
        may_go_on.set()
        _, pages = next(taken)
        assert [page.decode()[0]["id"] for page in pages] == [4]
        assert next(taken, None) is None


def test_a_declaration_that_fails_does_so_where_its_slice_would_come() -> None:
    api = FakeApi({"/list-0": [[1], [2]]})

    def slices() -> Iterator[Slice]:
        yield slice_of("/list-0")
        raise ServerFailedError("no more slices can be told")

    with Reader(cast("Session", api), slices(), parallel=4) as reader:
        taken = iter(reader)
        assert len(list(next(taken)[1])) == 2
        with pytest.raises(ServerFailedError, match="no more slices"):
            next(taken)
