"""The request log that a credential's runs share: a file on this machine, or a place that several machines reach."""

from __future__ import annotations

import hashlib
import logging
import math
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.request import url2pathname

from typing_extensions import override

from singer_http.http.errors import ConfigurationError
from singer_http.http.request_log import FileLog, LogError, RequestLog, Sent
from singer_http.http.shard import Shard

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from singer_http.http.clock import Clock

logger = logging.getLogger(__name__)

T = TypeVar("T")
RETRY = 5.0  # seconds after which a log that was out of reach is tried again
LONGEST_SILENCE = 60.0  # seconds, at most, to send nothing when the log is lost
FILE = "file://"
SHARES = 8  # runs that are taken to share a budget where no setting says how many do


class SharedLog(RequestLog):
    """Counts in another log. While that is out of reach, it allows a share of the requests.

    When it is lost, nothing is sent for a period, or a minute: what others sent last is not known. When it answers
    again, it learns what this run sends, but the run keeps to its share until every other run must have found it too.

    Args:
        log: The other log.
        requests: That a period may hold.
        period: Its seconds.
        shard: Which of how many runs share them this one is.
        clock: Measures.
    """

    def __init__(self, log: RequestLog, requests: int, period: float, shard: Shard, clock: Clock) -> None:
        self._log = log
        self._requests = requests
        self._silence = min(1.1 * period, LONGEST_SILENCE)  # what is under way arrives later than it was sent
        self._shard = shard
        share, rest = divmod(requests, shard.count)
        self._share = max(1, share + (shard.number <= rest))
        self._groups = math.ceil(shard.count / requests)  # where there is not one request for each, they take turns
        self._turn = (shard.number % self._groups * 2 * period, period)
        self._clock = clock
        self._own = Sent()
        self._ahead = clock.time() - clock.monotonic()  # seconds by which the other log's clock is ahead
        self._retry_at = self._alone_until = -math.inf

    @override
    def update(self, change: Callable[[float, Sent], T]) -> T:
        if self._clock.monotonic() >= self._retry_at:
            try:
                return self._log.update(partial(self._in_touch, change))
            except LogError as error:
                self._lose(error)
        return self._alone(change, self._clock.monotonic() + self._ahead)

    @override
    def close(self) -> None:
        self._log.close()

    def _lose(self, error: LogError) -> None:
        now = self._clock.monotonic()
        if self._alone_until < math.inf:
            logger.warning(
                "The request log is out of reach (%s): after %.0f s without any, this run keeps to %d of %d"
                " requests until it is back.",
                *(error, self._silence, self._share, self._requests),
            )
            pause = max(self._own.paused_until, now + self._ahead + self._silence)
            used = self._own.times[:: self._shard.count]  # its share of what all have used
            self._own = Sent(used, pause, kept_back=self._requests - self._share)
        self._alone_until = math.inf
        self._retry_at = now + RETRY

    def _in_touch(self, change: Callable[[float, Sent], T], now: float, sent: Sent) -> T:
        moment = self._clock.monotonic()
        self._ahead = now - moment
        if self._alone_until == math.inf:
            logger.info("The request log can be reached again.")
            self._alone_until = moment + RETRY + 2 * self._silence
        if moment >= self._alone_until:
            self._own = sent
            return change(now, sent)
        earlier = Counter(sent.times) - Counter(self._own.times)  # what of its own has moved counts once
        outcome = self._alone(change, now)
        sent.times = sorted([*earlier.elements(), *self._own.times])
        sent.paused_until = max(sent.paused_until, self._own.paused_until)
        return outcome

    def _alone(self, change: Callable[[float, Sent], T], now: float) -> T:
        """Change what is known here."""
        begin, length = self._turn
        cycle = self._groups * 2 * length
        if self._groups > 1 and (since := (now - begin) % cycle) > length:
            self._own.paused_until = max(self._own.paused_until, now + cycle - since)
        return change(now, self._own)


def open_log(  # noqa: PLR0913, PLR0917
    config: Mapping[str, Any], credential: str, folder: Path, requests: int, period: float, clock: Clock
) -> RequestLog:
    """Open the log that all runs with a credential share, in a folder of this machine or where ``budget_url`` says.

    Raises :class:`OSError` where the folder cannot be used, and :class:`ConfigurationError` for ``budget_url``.
    """
    name = hashlib.sha256(f"{credential} {config['api_url']}".encode()).hexdigest()[:32]
    url = config.get("budget_url")
    shard = Shard.of(config)
    if url is None:
        return SharedLog(_file(folder, name, clock), requests, period, shard, clock)
    shard = shard if "shard" in config else Shard(SHARES, SHARES)
    return SharedLog(_log_at(url, name, clock), requests, period, shard, clock)


def _file(folder: Path, name: str, clock: Clock) -> RequestLog:
    return FileLog(folder / f"{name}.requests", clock)


def _log_at(url: str, name: str, clock: Clock) -> RequestLog:
    if url.startswith(FILE):
        folder = url2pathname(url.removeprefix(FILE))
        try:
            return _file(Path(folder), name, clock)
        except OSError as error:
            raise ConfigurationError(
                f"budget_url is not valid: {folder} cannot be written to ({error.strerror})."
            ) from None
    try:
        from singer_http.http.postgres_log import PostgresLog  # noqa: PLC0415 - an extra, and not for every run
    except ImportError:
        raise ConfigurationError(
            "budget_url needs a driver for PostgreSQL: install the extra postgres of this tap."
        ) from None
    return PostgresLog(url, name)
