"""STATEs on their way out: whole, however little is taken of them, and told where they cannot be written."""

from __future__ import annotations

import fcntl
import io
import json
import os
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from singer_http import output
from singer_http.http.errors import FatalError

from tests.harkster.running import as_input, record, schema, state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harkster.running import Target

HANGING = 30
"""Seconds after which what should have ended hangs."""
LARGE = {"bookmarks": {f"stream_{number}": {"cursor": "x" * 500} for number in range(100)}}
MESSAGES = [schema(), record(id=1, name="one"), state({"small": 1}), record(id=2, name="two"), state(LARGE)]


@contextmanager
def pipe_for_stdout(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Let the smallest of pipes, which does not block, take the place of stdout; gives its other end."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writing, False)
    with open(writing, "wb", buffering=0) as raw:  # noqa: PTH123 - a descriptor
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, write_through=True))
        yield reading


def test_a_state_arrives_whole(monkeypatch: pytest.MonkeyPatch, target: Target) -> None:
    received: list[bytes] = []

    def read(reading: int) -> None:
        with open(reading, "rb", buffering=0) as pipe:
            while piece := pipe.read(700):
                received.append(piece)

    with pipe_for_stdout(monkeypatch) as reading:
        reader = threading.Thread(target=read, args=(reading,), daemon=True)
        reader.start()
        target.make().listen(as_input(MESSAGES))  # type: ignore[arg-type]
    reader.join(HANGING)
    states: list[Any] = [json.loads(line) for line in b"".join(received).splitlines()]
    assert states[-1] == LARGE


def test_a_reader_that_is_gone_is_told(monkeypatch: pytest.MonkeyPatch, target: Target) -> None:
    with pipe_for_stdout(monkeypatch) as reading:
        os.close(reading)
        with pytest.raises(FatalError, match="went away"):
            target.make().listen(as_input(MESSAGES))  # type: ignore[arg-type]
    assert len(target.fields()) == 2


def test_nobody_who_takes_the_last_state_does_not_keep_a_stopped_run_alive(
    monkeypatch: pytest.MonkeyPatch, target: Target
) -> None:
    monkeypatch.setattr(output, "_GLANCE", 0.01)
    monkeypatch.setattr(output, "PATIENCE", 0.01)
    running = target.make()
    with pipe_for_stdout(monkeypatch):

        def input_until_the_signal() -> Iterator[bytes]:
            yield from as_input(MESSAGES)
            running._handle_termination(15, None)

        with pytest.raises(SystemExit) as ended:
            running.listen(input_until_the_signal())  # type: ignore[arg-type]
    assert ended.value.code == 128 + 15
