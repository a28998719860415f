"""Runs of the target that are killed, for real, between any two things that it does."""

import io
import itertools
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from singer_http.clock import Clock, Stopped
from singer_http.transport import Transport
from sqlalchemy.engine.default import DefaultDialect
from target_harkster import outbox
from target_harkster.target import TargetHarkster
from typing_extensions import override


class FastClock(Clock):
    """Time that does not pass while one sleeps, but has passed afterwards."""

    def __init__(self) -> None:
        self._ahead = 0.0
        self._stopped = False

    @override
    def monotonic(self) -> float:
        return time.monotonic() + self._ahead

    @override
    def time(self) -> float:
        return time.time() + self._ahead

    @override
    def sleep(self, seconds: float) -> None:
        self.check()
        self._ahead += max(0.0, seconds)

    @override
    def check(self) -> None:
        if self._stopped:
            raise Stopped

    @override
    def stop(self) -> None:
        self._stopped = True


def run(config: dict[str, Any], lines: bytes, kill_at: int, states: str, points: str) -> None:
    """Run the target on some messages in this process, which has to be one of its own.

    Args:
        config: The settings.
        lines: The messages.
        kill_at: At which point to die; points are before and after each request, commit and STATE. 0 lives.
        states: File that the STATEs go to.
        points: File that the number of points goes to.
    """
    os.dup2(os.open(states, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    passed = itertools.count(1)

    def point() -> None:
        at = next(passed)
        if at == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    for owner, name in (
        (Transport, "send"),
        (DefaultDialect, "do_commit"),
        (TargetHarkster, "_acknowledge"),
    ):
        _surround(owner, name, point)
    outbox.BATCH = 2  # so that a row can change after it was posted, and not in the same batch
    try:
        TargetHarkster(config=config, clock=FastClock()).listen(io.BytesIO(lines))  # type: ignore[arg-type]
    except Exception as error:  # noqa: BLE001 - the exit status and the name of the error are what is looked at
        Path(points).write_text(type(error).__name__, encoding="ascii")
        sys.stdout.flush()
        os._exit(1)
    Path(points).write_text(str(next(passed) - 1), encoding="ascii")
    sys.stdout.flush()
    os._exit(0)


def _surround(owner: Any, name: str, point: Any) -> None:
    original = getattr(owner, name)

    def surrounded(*args: Any, **kwargs: Any) -> Any:
        point()
        result = original(*args, **kwargs)
        point()
        return result

    setattr(owner, name, surrounded)
