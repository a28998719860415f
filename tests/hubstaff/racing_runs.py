"""Runs that log in with one refresh token at the same moment, of which one is killed.

As a program: a server that forks all runs of a race for each line of its input, so that none has to begin by importing
everything, and answers with their exit codes when all have ended.
"""

from __future__ import annotations

import gc
import json
import logging
import mmap
import os
import signal
import struct
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from singer_http.http.clock import Clock
from singer_http.http.errors import AuthenticationError
from singer_http.http.transport import Transport
from tap_hubstaff import auth, shared_tokens, token_store
from tap_hubstaff.auth import Rotation
from tap_hubstaff.shared_tokens import SharedTokenStore
from tap_hubstaff.token_store import AnyTokenStore, TokenStore
from typing_extensions import override

from tests.hubstaff.kill_points import prepare

if TYPE_CHECKING:
    from types import FrameType

SHORT = 1.0
"""Seconds that a run really waits at most: it looks for the lock so often."""
SENDER = "sender"
"""The file with the process id of the run that sent a request last."""
TRACED = frozenset(str(module.__file__) for module in (auth, shared_tokens, token_store))
MOST_TIMES = 6
"""So often a run may come to a line that counts: it looks for the lock again and again."""
_OFFSET = struct.Struct("d")

Line = tuple[str, int, int]
"""A file, a line of it, and how many times the run has come there."""


class SharedClock(Clock):
    """The time of all runs of a race: long waiting is over at once, for all of them.

    Args:
        ahead: How many seconds later than this machine they live; in memory that they share.
    """

    def __init__(self, ahead: mmap.mmap) -> None:
        super().__init__()
        self._ahead = ahead

    @override
    def monotonic(self) -> float:
        return time.monotonic() + self._leapt()

    @override
    def time(self) -> float:
        return time.time() + self._leapt()

    @override
    def sleep(self, seconds: float) -> None:
        if seconds > SHORT:
            _OFFSET.pack_into(self._ahead, 0, self._leapt() + seconds)  # only the one that has the lock waits so long
        else:
            super().sleep(seconds)

    def _leapt(self) -> float:
        (leapt,) = _OFFSET.unpack_from(self._ahead)
        return float(leapt)


class Race(msgspec.Struct):
    """Runs that begin at the same moment.

    Attributes:
        auth_url: Where they log in.
        token: What the settings say.
        folder: Where they leave what comes of them; the tokens too, if there is no database.
        url: The database that keeps the tokens.
        runs: How many there are.
        ahead: How many seconds later than this machine they live.
        point: Where the first of them that comes there is killed.
        line: The same, as a line of a module.
        is_traced: Whether they leave the lines that they come to.
    """

    auth_url: str
    token: str
    folder: str
    url: str = ""
    runs: int = 8
    ahead: float = 0.0
    point: str = "nowhere"
    line: Line | None = None
    is_traced: bool = False


class Outcome(msgspec.Struct):
    """What came of one run: the access token that it has, or why it has none; and the lines that it came to."""

    access_token: str = ""
    error: str = ""
    lines: list[Line] = []


def store(race: Race, clock: Clock) -> AnyTokenStore:
    """Where the tokens are kept."""
    return SharedTokenStore(race.url, race.token, clock) if race.url else TokenStore(Path(race.folder), race.token)


def run(race: Race, ahead: mmap.mmap) -> Outcome:
    """Log in, unless it is killed first."""
    claimed, outcome = Path(race.folder, "claimed"), Outcome()

    def may_die() -> bool:
        with suppress(FileExistsError):
            claimed.touch(exist_ok=False)
            return True
        return False

    def see(frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code.co_filename not in TRACED:
            return None
        if event == "line":
            place = frame.f_code.co_filename, frame.f_lineno
            times[place] += 1
            line = *place, times[place]
            if race.is_traced and times[place] <= MOST_TIMES:
                outcome.lines.append(line)
            if line == race.line and may_die():
                os.kill(os.getpid(), signal.SIGKILL)
        return see

    times: Counter[tuple[str, int]] = Counter()
    prepare(race.point, may_die)
    send = Transport.send

    def sent(*args: Any, **more: Any) -> Any:
        Path(race.folder, SENDER).write_text(str(os.getpid()), encoding="utf-8")
        return send(*args, **more)

    Transport.send = sent  # type: ignore[method-assign]
    clock = SharedClock(ahead)
    transport = Transport(user_agent="tests/1.0", timeout=60, connections=1, clock=clock)
    rotation = Rotation(race.auth_url, transport, store(race, clock), None, clock)
    if race.is_traced or race.line:
        sys.settrace(see)
    try:
        outcome.access_token = rotation().value
    except AuthenticationError as error:
        outcome.error = str(error)
    finally:
        sys.settrace(None)
    return outcome


def start(race: Race) -> list[int]:
    """Fork the runs, and let all of them go at once; gives their process ids."""
    ahead = mmap.mmap(-1, _OFFSET.size)
    _OFFSET.pack_into(ahead, 0, race.ahead)
    gate, opening = os.pipe()
    started = []
    for number in range(race.runs):
        if (pid := os.fork()) == 0:
            os.close(opening)
            os.read(gate, 1)
            Path(race.folder, f"{number}.json").write_bytes(msgspec.json.encode(run(race, ahead)))
            os._exit(0)
        started.append(pid)
    os.close(gate)
    os.close(opening)
    return started


def serve() -> None:
    """Take races until the standard input ends."""
    token_store._GLANCE = 0.02
    for line in sys.stdin:
        started = start(msgspec.json.decode(line, type=Race))
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in started]
        print(json.dumps(codes), flush=True)  # noqa: T201 - this is how it answers


if __name__ == "__main__":
    logging.disable()
    gc.freeze()
    serve()
