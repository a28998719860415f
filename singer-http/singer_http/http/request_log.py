"""When requests were sent, for a budget to count: in a file that all processes of a machine share."""

from __future__ import annotations

import fcntl
import logging
import math
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec
import platformdirs
from typing_extensions import override

from singer_http.http.clock import Stopped

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from singer_http.http.clock import Clock

logger = logging.getLogger(__name__)

T = TypeVar("T")
LONGEST = 1 << 24  # bytes of a log: no limit has so many requests
PATIENCE = 5.0  # seconds to wait for a process that has the lock of a file, and may have been stopped with it
_TRY = 0.001  # seconds after which to try again; in ordinary use a lock is held for less
_TRIES = 20  # without a look at the clock: a run that is being ended gives back what it had too
_GLANCE = 0.01
PUT_BACK = 1.0  # seconds that a clock is behind the log's last writer when it was put back


class Sent(msgspec.Struct, omit_defaults=True):
    """What a log holds, in seconds of the log's own clock."""

    times: list[float] = []  # when requests were sent, or are to be, in order
    paused_until: float = 0.0
    kept_back: int = 0  # requests of each period that are left to other runs
    written_at: float = 0.0
    login: Any = None  # of those who share one


encode = msgspec.json.encode
_decode = msgspec.json.Decoder(Sent).decode


class LogError(Exception):
    """The log is out of reach; the text says where it is and why."""


class RequestLog(Protocol):
    """Where a budget counts its requests."""

    def update(self, change: Callable[[float, Sent], T]) -> T:
        """Change what the log holds, given the time by its clock, while nobody else does; raises :class:`LogError`."""

    def close(self) -> None:
        """Close what it is kept in."""


class FileLog(RequestLog):
    """A log that all processes of a machine share; the system frees its lock when a process dies.

    Raises :class:`OSError` where there can be no such file.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._patience = PATIENCE
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.fchmod(self._file, 0o600)

    @override
    def update(self, change: Callable[[float, Sent], T]) -> T:
        try:
            self._lock()
            try:
                written = os.pread(self._file, min(os.fstat(self._file).st_size, LONGEST), 0)
                now = self._clock.time()
                sent = read_at(now, written, str(self._path))
                outcome = change(now, sent)
                # As long as before: a process that is killed here leaves no half of it behind.
                os.pwrite(self._file, encode(sent).ljust(len(written)), 0)
                return outcome
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)
        except OSError as error:
            raise LogError(f"{self._path}: {error.strerror}") from None

    @override
    def close(self) -> None:
        os.close(self._file)

    def _lock(self) -> None:
        """Take the lock; after one that was not to be had, the next is not waited for."""
        until, self._patience = self._clock.monotonic() + self._patience, 0.0
        tries = 0
        while not self._is_taken():
            tries += 1
            if tries <= _TRIES:
                time.sleep(_TRY)
            elif self._clock.monotonic() >= until:
                raise LogError(f"{self._path}: another process holds its lock and does not go on")
            else:
                try:
                    self._clock.sleep(_GLANCE)
                except Stopped:  # who asks may be on its way out, and goes on without the log
                    until = -math.inf
        self._patience = PATIENCE

    def _is_taken(self) -> bool:
        with suppress(BlockingIOError):
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False


def read_at(now: float, content: bytes | str, place: str) -> Sent:
    """Read what a log holds; one that is damaged starts over."""
    try:
        sent = _decode(content) if content else Sent()
    except (msgspec.DecodeError, UnicodeDecodeError):
        text = "%s is damaged, so the count starts over. The API may refuse requests for a while."
        logger.warning(text, place)
        sent = Sent()
    if sent.written_at > now + PUT_BACK:  # what was sent since would count for longer than its period
        sent.times = [moment for moment in sent.times if moment <= now]
        sent.paused_until = 0.0
    sent.written_at = now
    return sent


def user_folder(plugin: str) -> Path:
    """The folder for what a plugin keeps across runs; raises :class:`RuntimeError` where the user has no home."""
    return platformdirs.user_state_path(plugin).expanduser()
