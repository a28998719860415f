"""What several test packages need: clocks that do not wait, and servers as hostile as a test wants them."""

from __future__ import annotations

import gc
import heapq
import itertools
import logging
import os
import shutil
import socket
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from singer_http.http.clock import Clock, Stopped
from typing_extensions import override

from demo.postgres import Postgres, embedded_postgres
from tests.programs import look_up_versions_once, share_programs, warm_programs

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

T = TypeVar("T")
pytest_configure = share_programs

HANGING = 300
"""Seconds after which what should have come, or have ended, hangs."""


MEMORY = Path("/dev/shm")  # noqa: S108 - pytest makes a folder of its own in it
ROOM = 1 << 30  # bytes; a whole run writes a quarter of that
if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM:
    # Ledgers wait for the disk at each commit: a third of the time that their tests take.
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))

COLLECT_EVERY = (10_000, 50, 50)
"""New objects between two garbage collections, and how many of these between two of what is older."""

# A busy machine is no failure. All runs try the same examples, but for those that are to come upon new ones.
settings.register_profile("explore", deadline=None, max_examples=1000, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", settings.get_profile("explore"), max_examples=100, derandomize=True)
settings.load_profile("same")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what takes long first: what is short fills the gaps between the workers at the end."""
    long = ("pipelines", "test_commands", "kill")
    items.sort(key=lambda item: next((place for place, name in enumerate(long) if name in item.nodeid), len(long)))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Spare the garbage collector the thousands of tests, which stay to the end, and most of its rounds."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.set_threshold(*COLLECT_EVERY)
        gc.enable()


@pytest.fixture(autouse=True)
def own_certificates(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust no certificates that whoever tests has chosen: to read them all is half of what a run in a test costs."""
    if request.path.parent.name != "install":  # which asks real registries
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
            monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session", autouse=True)
def versions_are_looked_up_once() -> Iterator[None]:
    """A plugin looks for its version and the SDK's several times in each run, in the folder of all distributions."""
    with look_up_versions_once():
        yield


@pytest.fixture(autouse=True)
def state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what plugins keep across runs out of the home of whoever tests."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    """Take away what a command has the log written to: it would complain of its closed stderr in all later tests."""
    yield
    root = logging.getLogger()
    for handler in [one for one in root.handlers if type(one) is logging.StreamHandler]:  # not pytest's own kinds
        root.removeHandler(handler)


@pytest.fixture(scope="session")
def programs() -> Iterator[Path]:
    """A folder with the programs of `.venv/bin`, which begin at once."""
    with warm_programs() as folder:
        yield folder


@pytest.fixture(scope="session")
def new_database() -> Iterator[Callable[[], Postgres]]:
    """Create empty databases on one PostgreSQL for all tests of a worker: it takes a while to start."""
    numbers = itertools.count(1)
    with embedded_postgres() as server:
        yield lambda: server.new_database(f"test_{next(numbers)}")


@pytest.fixture
def postgres(new_database: Callable[[], Postgres]) -> Postgres:
    """A PostgreSQL in which nobody has left anything."""
    return new_database()


class FakeClock(Clock):
    """A clock that only goes on when somebody sleeps.

    Alone, a sleeper finds its time come at once. Threads that run ``together`` share a simulated time: it goes on
    to the next wake-up when all of them sleep, so that none finds more time gone by than it slept for.
    """

    EPOCH = 1_700_000_000.0

    def __init__(self) -> None:
        self._turn = threading.Condition()
        self._now = 1000.0
        self._awake = 0
        self._taking_part: set[int] = set()
        self._wakes: list[float] = []
        self._stopped = False
        self.slept: list[float] = []
        """Every sleep that was asked for."""

    @override
    def monotonic(self) -> float:
        with self._turn:
            return self._now

    @override
    def time(self) -> float:
        return self.EPOCH + self.monotonic()

    @override
    def sleep(self, seconds: float) -> None:
        with self._turn:
            self.slept.append(seconds)
            wake = self._now + max(0.0, seconds)
            if self.takes_part():
                self._sleep_until(wake)
            self._now = max(self._now, wake)
            if self._stopped:
                raise Stopped

    @override
    def check(self) -> None:
        with self._turn:
            if self._stopped:
                raise Stopped

    @override
    def stop(self) -> None:
        with self._turn:
            self._stopped = True
            self._turn.notify_all()

    def advance(self, seconds: float) -> None:
        """Let time go by although nobody sleeps."""
        with self._turn:
            self._now += seconds

    def lock(self) -> FakeLock:
        """A lock for code that sleeps while it holds one: who waits for it does not keep the time from going on."""
        return FakeLock(self, self._turn)

    def together(self, work: Sequence[Callable[[], T]]) -> list[T]:
        """Do everything at once, each in a thread of its own, and give what each returned."""
        results: dict[int, T] = {}
        errors: list[BaseException] = []

        def run(number: int) -> None:
            self._taking_part.add(threading.get_ident())
            try:
                results[number] = work[number]()
            except BaseException as error:  # noqa: BLE001 - raised again below, in the thread of the test
                errors.append(error)
            finally:
                with self._turn:
                    self._taking_part.discard(threading.get_ident())
                    self.fall_asleep()

        threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(len(work))]
        self._awake = len(threads)
        for thread in threads:
            thread.start()
        until = time.monotonic() + HANGING
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        if any(thread.is_alive() for thread in threads):
            self.stop()
            pytest.fail("a thread hangs")
        if errors:
            raise errors[0]
        return [results[number] for number in range(len(work))]

    def takes_part(self) -> bool:
        """Whether this thread is one of those that run together."""
        return threading.get_ident() in self._taking_part

    def fall_asleep(self) -> None:
        """One thread less is awake; to be called with the turn held."""
        self._awake -= 1
        self._go_on()

    def wake_up(self) -> None:
        """One thread more is awake; to be called with the turn held."""
        self._awake += 1

    def _sleep_until(self, wake: float) -> None:
        heapq.heappush(self._wakes, wake)
        self.fall_asleep()
        self._turn.wait_for(lambda: self._now >= wake or self._stopped)

    def _go_on(self) -> None:
        """Move to the next wake-up when nobody is awake; the woken count as awake from here on."""
        if self._awake == 0 and self._wakes:
            self._now = max(self._now, self._wakes[0])
            while self._wakes and self._wakes[0] <= self._now:
                heapq.heappop(self._wakes)
                self._awake += 1
            self._turn.notify_all()


class FakeLock:
    """A lock whose waiters a fake clock knows of; given to them in the order in which they came."""

    def __init__(self, clock: FakeClock, turn: threading.Condition) -> None:
        self._clock = clock
        self._turn = turn
        self._queue: list[tuple[int, bool]] = []

    def __enter__(self) -> None:
        with self._turn:
            me = (threading.get_ident(), self._clock.takes_part())
            self._queue.append(me)
            if self._queue[0] != me:
                if me[1]:
                    self._clock.fall_asleep()
                self._turn.wait_for(lambda: self._queue[0] == me)

    def __exit__(self, *_: object) -> None:
        with self._turn:
            self._queue.pop(0)
            # Awake from here on and not from when it gets to run, lest time go on in between.
            if self._queue and self._queue[0][1]:
                self._clock.wake_up()
            self._turn.notify_all()


@dataclass(frozen=True)
class Received:
    """A request as a raw server read it; header names are in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int


@dataclass
class RawServer:
    """A server of one thread a connection that answers with the very bytes it is given.

    The n-th request gets the n-th answer, and all further ones the last; or ``answer`` decides.
    """

    answer: Callable[[Received, int], Any]
    tls: Callable[[socket.socket, int], socket.socket] | None = None
    """Makes a TLS connection of each that is accepted, or raises OSError; given its number."""
    requests: list[Received] = field(default_factory=list)
    connections: int = 0
    _lock: threading.Condition = field(default_factory=threading.Condition)
    _listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    _open: set[socket.socket] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http{'s' * (self.tls is not None)}://127.0.0.1:{self._listener.getsockname()[1]}"

    def paths(self) -> list[str]:
        return [request.target for request in self.requests]

    def wait_for(self, requests: int) -> None:
        """Wait until so many requests have come: who sends them may have given them up before they are read."""
        with self._lock:
            assert self._lock.wait_for(lambda: len(self.requests) >= requests, HANGING), "requests do not come"

    @contextmanager
    def serving(self) -> Iterator[RawServer]:
        thread = threading.Thread(target=self._accept, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            # Wakes the thread that accepts; closing alone would not.
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            thread.join(HANGING)
            with self._lock:
                for connection in self._open:
                    with suppress(OSError):
                        connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with self._lock:
                    self.connections += 1
                    self._open.add(connection)
                    number = self.connections
                threading.Thread(target=self._converse, args=(connection, number), daemon=True).start()

    def _converse(self, connection: socket.socket, number: int) -> None:
        with connection, suppress(OSError), ExitStack() as stack:
            if self.tls is not None:
                connection = stack.enter_context(self.tls(connection, number))
                with self._lock:
                    self._open.add(connection)
            stream = stack.enter_context(connection.makefile("rb"))
            while request := self._read(stream, number):
                with self._lock:
                    self.requests.append(request)
                    ordinal = len(self.requests)
                    self._lock.notify_all()
                play = self.answer(request, ordinal)
                if callable(play):
                    play(connection, request)
                    break
                connection.sendall(play)
                if b"connection: close" in play.partition(b"\r\n\r\n")[0].lower():
                    break
        with self._lock:
            self._open.discard(connection)

    @staticmethod
    def _read(stream: Any, number: int) -> Received | None:
        first = stream.readline().decode("latin-1").split()
        if len(first) != 3:
            return None
        headers: dict[str, str] = {}
        while (line := stream.readline().decode("latin-1").strip()) != "":
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        body = stream.read(int(headers.get("content-length", 0)))
        return Received(first[0], first[1], headers, body, number)


def http_answer(status: int, body: bytes | str = b"", **headers: str) -> bytes:
    """The bytes of an answer with its Content-Length, unless the headers have one; ``_`` stands for ``-``."""
    content = body.encode() if isinstance(body, str) else body
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if not {"Content-Length", "Transfer-Encoding"} & named.keys():
        named["Content-Length"] = str(len(content))
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"HTTP/1.1 {status} Whatever\r\n{head}\r\n".encode("latin-1") + content


def hang_up(connection: socket.socket, _request: Received) -> None:
    """Reset the connection without an answer."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")


@pytest.fixture
def clock() -> FakeClock:
    """A clock that only goes on when somebody sleeps."""
    return FakeClock()


@pytest.fixture(scope="session")
def new_clock() -> Callable[[], FakeClock]:
    """Make such clocks, for tests of many examples."""
    return FakeClock


@pytest.fixture
def answer() -> Callable[..., bytes]:
    """Write an HTTP answer as bytes."""
    return http_answer


@pytest.fixture
def reset() -> Callable[[socket.socket, Received], None]:
    """An answer for a raw server: a connection reset."""
    return hang_up


@pytest.fixture
def raw_server() -> Iterator[Callable[..., RawServer]]:
    """Start servers that end with the test: given answers in their order, or a function of request and ordinal."""
    with ExitStack() as stack:

        def start(*answers: Any, by: Callable[[Received, int], Any] | None = None, tls: Any = None) -> RawServer:
            chosen = by or (lambda _request, ordinal: answers[min(ordinal, len(answers)) - 1])
            return stack.enter_context(RawServer(chosen, tls).serving())

        yield start


@pytest.fixture
def closed_port() -> Iterator[str]:
    """The URL of a port that nobody listens at, and that nobody else gets meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
