"""Runs of the real tap inside the process of the tests, a hundred times as fast as as programs of their own."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import logging
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal
from unittest import mock

from singer_http.http.clock import Clock, Stopped
from singer_http.operator_errors import exit_on_operator_error
from tap_hustle.tap import TapHustle
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.hustle.account import Account

Pipe = Literal["buffered", "unbuffered", "nonblocking"]
_SMALL = 4096
"""Bytes that wait in a pipe at most: the least that Linux can do."""
_QUIET = {"LOGLEVEL": "WARNING", **dict.fromkeys(("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"), "")}
"""Environment of the runs: what nobody reads is not logged, and certificates that nobody asks for are not loaded."""
_SIP = 300
"""Bytes that a slow reader takes at once."""


class MachineClock(Clock):
    """The clock of the machine that the tap is on: as wrong as it likes, and on as soon as somebody waits.

    Args:
        account: Knows the true time.
        wrong: By how many seconds it is ahead.
        pace: Seconds that go by whenever somebody looks.
    """

    def __init__(self, account: Account, wrong: float, pace: float) -> None:
        self._account = account
        self._wrong = wrong
        self._pace = pace
        self._is_stopped = False

    @override
    def monotonic(self) -> float:
        self._account.now += self._pace
        return self._account.now

    @override
    def time(self) -> float:
        return self._account.now + self._wrong

    @override
    def sleep(self, seconds: float) -> None:
        self._account.now += max(seconds, 0.0)
        time.sleep(0)
        self.check()

    @override
    def check(self) -> None:
        if self._is_stopped:
            raise Stopped

    @override
    def stop(self) -> None:
        self._is_stopped = True


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run is to end.

    Attributes:
        how: ``complete``; or the loader takes no more; or a signal.
        messages: After so many messages.
        stream: After so many records of a stream instead, with the STATE that comes then.
    """

    how: Literal["complete", "closed", "signal"] = "complete"
    messages: int = 0
    stream: str | None = None

    def comes_with(self, message: dict[str, Any], before: list[dict[str, Any]]) -> bool:
        """Whether it is time, with a message after those that came before it."""
        if self.stream is None:
            return len(before) + 1 == self.messages
        records = sum(each["type"] == "RECORD" and each["stream"] == self.stream for each in before)
        return bool(message["type"] == "STATE") and records >= self.messages


@dataclass(slots=True)
class Ran:
    """A run that has ended.

    Attributes:
        code: Its exit code.
        messages: All that the loader was given.
        said: What was logged as a warning, or as an error.
        is_cut: Whether the loader ended before it.
    """

    code: int = 0
    messages: list[dict[str, Any]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    is_cut: bool = False


class _Log(logging.Handler):
    def __init__(self, said: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._said = said

    @override
    def emit(self, record: logging.LogRecord) -> None:
        self._said.append(record.getMessage())


def discovered() -> dict[str, Any]:
    """The catalog of the tap, to be changed at will."""
    catalog: dict[str, Any] = json.loads(_discovered())
    return catalog


@cache
def _discovered() -> str:
    return json.dumps(TapHustle(config={}, validate_config=False).catalog_dict)


def run(
    settings: dict[str, Any],
    catalog: dict[str, Any],
    state: dict[str, Any] | None,
    clock: MachineClock,
    *,
    pipe: Pipe = "buffered",
    is_slow: bool = False,
    ending: Ending = Ending(),
) -> Ran:
    """Run the tap; whatever it raises that is no sentence to an operator is raised."""
    ran = Ran()
    with _logged(ran.said), _handlers_kept(), _loader(ran, ending, pipe, _SIP if is_slow else _SMALL):
        try:
            with exit_on_operator_error(logging.getLogger(TapHustle.name)):
                # The SDK asks for the machine's time itself.
                with mock.patch("singer_sdk.plugin_base.time", SimpleNamespace(time=clock.time)):
                    tap = TapHustle(config=settings, catalog=catalog, state=state, clock=clock)
                tap.sync_all()
        except SystemExit as end:
            ran.code = end.code if isinstance(end.code, int) else 1
    return ran


@contextlib.contextmanager
def _logged(said: list[str]) -> Iterator[None]:
    log = _Log(said)
    logging.getLogger().addHandler(log)
    try:
        with mock.patch.dict(os.environ, _QUIET):
            yield
    finally:
        logging.getLogger().removeHandler(log)


@contextlib.contextmanager
def _handlers_kept() -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _loader(ran: Ran, ending: Ending, kind: Pipe, piece: int) -> Iterator[None]:
    """A pipe in the place of stdout, read by a thread until the run ends or the loader does."""
    source, sink = os.pipe()
    fcntl.fcntl(sink, fcntl.F_SETPIPE_SZ, _SMALL)
    lines = [b""]

    def read() -> None:
        is_over = ending.how == "complete"
        while chunk := os.read(source, piece):
            first, *others = chunk.split(b"\n")
            lines[-1] += first
            for part in others:
                message = json.loads(lines[-1])
                is_time = not is_over and ending.comes_with(message, ran.messages)
                is_over = is_over or is_time
                ran.messages.append(message)
                lines[-1] = part
                if is_time and ending.how == "signal":
                    os.kill(os.getpid(), signal.SIGTERM)
                elif is_time:
                    lines[-1] = b""
                    ran.is_cut = True
                    os.close(source)
                    return
        os.close(source)

    reader = threading.Thread(target=read)
    reader.start()
    stdout = _stdout(sink, kind)
    before = sys.stdout
    sys.stdout = stdout
    try:
        yield
    finally:
        sys.stdout = before
        with contextlib.suppress(BrokenPipeError):
            stdout.close()
        reader.join()
        assert lines == [b""], "the output ends with half a line"


def _stdout(sink: int, kind: Pipe) -> io.TextIOWrapper:
    """What Python makes of a pipe: by default, with PYTHONUNBUFFERED, and where the pipe does not block."""
    os.set_blocking(sink, kind != "nonblocking")
    return io.TextIOWrapper(os.fdopen(sink, "wb", -1 if kind == "buffered" else 0), write_through=kind != "buffered")
