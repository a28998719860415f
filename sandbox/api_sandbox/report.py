"""What a sandbox has served, so that tests can hold it against the truth."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from api_sandbox.limits import BusiestWindow


@dataclass(frozen=True, slots=True)
class Served:
    """The page of a list that an answer shows.

    Attributes:
        page: Names the range of records, however it was asked for.
    """

    stream: str
    page: object
    ids: Callable[[], list[str]]


@dataclass(frozen=True, slots=True)
class Report:
    """What was served since the start or the last reset.

    Attributes:
        requests: All requests to the API, those for tokens included.
        outcomes: By path, how often each status was answered; `reset` and `close` for connections cut off.
        too_many_requests: How many answers were a 429.
        token_requests: Requests for a token.
        token_failures: Those of them that were answered with an error.
        busiest_second: The most resource requests that arrived in any second, refused ones included.
        served: By list, how many times each id was served in a page that could be read.
        first_request_at: Seconds of this machine's monotonic clock; None if nothing came.
        last_response_at: Likewise, when the last answer was handed to the network.
    """

    requests: int
    outcomes: dict[str, dict[str, int]]
    too_many_requests: int
    token_requests: int
    token_failures: int
    busiest_second: int
    served: dict[str, dict[str, int]]
    first_request_at: float | None
    last_response_at: float | None

    @property
    def elapsed(self) -> float:
        """Seconds from the first request to the end of the last answer."""
        if self.first_request_at is None or self.last_response_at is None:
            return 0.0
        return self.last_response_at - self.first_request_at


@dataclass(slots=True)
class Recorder:
    """Takes down what happens. Ids are put off until someone asks, so that serving stays quick."""

    _requests: int = 0
    _outcomes: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    _busiest: BusiestWindow = field(default_factory=BusiestWindow)
    _token_paths: set[str] = field(default_factory=set)
    _ids: dict[tuple[str, object], tuple[Served, int]] = field(default_factory=dict)
    _first: float | None = None
    _last: float | None = None

    def began(self, path: str, *, for_token: bool = False) -> None:
        """A request was read."""
        self._requests += 1
        if for_token:
            self._token_paths.add(path)
        if self._first is None:
            self._first = time.monotonic()

    def arrived(self, now: float) -> None:
        """A resource request is where the limiter counts it."""
        self._busiest.seen(now)

    def ended(self, path: str, outcome: str) -> None:
        """A request was answered, or its connection ended."""
        self._outcomes[path][outcome] += 1
        self._last = time.monotonic()

    def served(self, page: Served) -> None:
        """A page went out whole."""
        _, times = self._ids.get((page.stream, page.page), (page, 0))
        self._ids[page.stream, page.page] = (page, times + 1)

    def report(self) -> Report:
        """What was taken down until now."""
        served: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for page, times in self._ids.values():
            served[page.stream].update(dict.fromkeys(page.ids(), times))
        token_outcomes = [self._outcomes[path] for path in self._token_paths]
        return Report(
            requests=self._requests,
            outcomes={path: dict(counted) for path, counted in self._outcomes.items()},
            too_many_requests=sum(counted["429"] for counted in self._outcomes.values()),
            token_requests=sum(counted.total() for counted in token_outcomes),
            token_failures=sum(counted.total() - counted["200"] for counted in token_outcomes),
            busiest_second=self._busiest.peak,
            served={stream: dict(counted) for stream, counted in served.items()},
            first_request_at=self._first,
            last_response_at=self._last,
        )
