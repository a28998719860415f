"""The way out: whole lines, all of them, whatever stdout is and takes at a time."""

from __future__ import annotations

import errno
import fcntl
import io
import json
import os
import random
import signal
import sys
import threading
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from singer_http import output
from singer_http.http.clock import Stopped
from singer_http.http.errors import FatalError
from singer_http.output import BUFFER, BufferedWriter, Stdout
from singer_sdk.singerlib.encoding.simple import StateMessage
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HANGING = 30
"""Seconds after which what should have ended hangs."""
SIGNALS = 100
"""Signals that hit one process while it writes."""


class Pieces(io.StringIO):
    """Keeps every write apart."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []

    @override
    def write(self, text: str) -> int:
        self.pieces.append(text.encode())
        return len(text)


def record(number: int, text: str = "") -> dict[str, Any]:
    return {"type": "RECORD", "stream": "s", "record": {"id": number, "text": text}}


messages = st.lists(
    st.one_of(
        st.lists(st.builds(record, st.integers(), st.text(max_size=50)), max_size=4),
        st.builds(lambda size: [record(0, "x" * size)], st.integers(0, 2 * BUFFER)),
        st.just("state"),
        st.just("flush"),
    ),
    max_size=12,
)


@given(steps=messages)
@settings(deadline=None, max_examples=60)
def test_only_whole_lines_go_out_and_none_is_lost(steps: list[Any]) -> None:
    writer = BufferedWriter()
    expected: list[dict[str, Any]] = []
    with redirect_stdout(Pieces()) as stdout:
        for step in steps:
            if step == "state":
                writer.write_message(StateMessage({"bookmarks": {}}))
                expected.append({"type": "STATE", "value": {"bookmarks": {}}})
            elif step == "flush":
                writer.flush()
            else:
                writer.write_records(step)
                expected += step
            written = b"".join(stdout.pieces)
            assert len(expected) == 0 or writer.written >= len(written)
            waiting = writer.written - len(written)
            assert 0 <= waiting < BUFFER
            if step in ("state", "flush"):
                assert waiting == 0
        writer.flush()
    assert all(piece.endswith(b"\n") for piece in stdout.pieces if piece)
    assert [json.loads(line) for line in b"".join(stdout.pieces).splitlines()] == expected


def test_records_wait_for_company() -> None:
    writer = BufferedWriter()
    with redirect_stdout(Pieces()) as stdout:
        writer.write_records([record(1)])
        assert stdout.pieces == []
        writer.write_message(StateMessage({}))
    assert len(stdout.pieces) == 1
    assert len(stdout.pieces[0].splitlines()) == 2


# What stdout may be


@contextmanager
def pipe_for_stdout(monkeypatch: pytest.MonkeyPatch, *, blocking: bool) -> Iterator[int]:
    """Let the smallest of pipes, without a buffer before it, take the place of stdout; gives its other end."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writing, blocking)
    with open(writing, "wb", buffering=0) as raw:  # noqa: PTH123 - a descriptor
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, write_through=True))
        yield reading


def lines_of(chance: random.Random) -> list[bytes]:
    """Lines of all lengths, some longer than what a pipe takes whole."""
    sizes = [chance.choice([20, 300, 4096 - 1, 4096, 10_000]) for _ in range(80)]
    return [json.dumps({"line": number, "text": "x" * size}).encode() + b"\n" for number, size in enumerate(sizes)]


@pytest.mark.parametrize("blocking", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_all_is_written_however_little_is_taken_and_whatever_interrupts(
    monkeypatch: pytest.MonkeyPatch, seed: int, *, blocking: bool
) -> None:
    chance = random.Random(seed)  # noqa: S311 - the same places in every run
    lines = lines_of(chance)
    total = sum(map(len, lines))
    places = sorted(chance.sample(range(total), SIGNALS))
    received = bytearray()
    interruptions: list[int] = []
    main = threading.get_ident()
    before = signal.signal(signal.SIGUSR1, lambda *_: interruptions.append(len(received)))

    def read(reading: int) -> None:
        with open(reading, "rb", buffering=0) as pipe:
            while piece := pipe.read(chance.choice([1, 700, 4096, 9000])):
                received.extend(piece)
                while places and places[0] <= len(received):
                    places.pop(0)
                    signal.pthread_kill(main, signal.SIGUSR1)

    try:
        with pipe_for_stdout(monkeypatch, blocking=blocking) as reading:
            reader = threading.Thread(target=read, args=(reading,), daemon=True)
            reader.start()
            writer = Stdout()
            for some in (lines[:30], lines[30:31], lines[31:]):
                writer.write(b"".join(some))
        reader.join(HANGING)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert bytes(received) == b"".join(lines)
    assert interruptions


@pytest.mark.parametrize("blocking", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_a_process_that_is_told_twice_to_end_ends_between_lines(
    monkeypatch: pytest.MonkeyPatch, seed: int, *, blocking: bool
) -> None:
    monkeypatch.setattr(output, "_GLANCE", 0.01)
    chance = random.Random(seed)  # noqa: S311
    lines = lines_of(chance)
    place = chance.randrange(sum(map(len, lines[:-20])))
    hearing, telling = os.pipe()
    with pipe_for_stdout(monkeypatch, blocking=blocking) as reading:
        child = os.fork()
        if child == 0:
            # Nothing of the test is to go on in the child, whatever happens.
            try:
                writer = Stdout()

                def end(*_: object) -> None:
                    os.write(telling, b".")
                    writer.end(77)

                signal.signal(signal.SIGTERM, end)
                writer.write(b"".join(lines))
            finally:
                os._exit(1)
    received = bytearray()
    with open(reading, "rb", buffering=0) as pipe, open(hearing, "rb", buffering=0) as told:  # noqa: PTH123
        is_told = False
        while piece := pipe.read(chance.choice([1, 700, 4096])):
            received += piece
            if len(received) >= place and not is_told:
                is_told = True
                for _ in range(2):
                    os.kill(child, signal.SIGTERM)
                    told.read(1)
    os.close(telling)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 77
    assert place <= len(received) < sum(map(len, lines))
    assert b"".join(lines).startswith(received)
    assert received.endswith(b"\n")


@pytest.mark.parametrize("size", [100, 10_000], ids=["between lines", "within a line"])
def test_a_reader_that_takes_nothing_does_not_keep_a_run_alive_that_was_told_to_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, size: int
) -> None:
    monkeypatch.setattr(output, "_GLANCE", 0.01)
    monkeypatch.setattr(output, "PATIENCE", 0.01)
    lines = json.dumps({"text": "x" * size}).encode() + b"\n"
    with pipe_for_stdout(monkeypatch, blocking=True) as reading:
        writer = Stdout()
        writer.end(77)
        with pytest.raises(Stopped) as raised:
            writer.write(100 * lines)
        assert raised.value.__cause__ is None
        writer.write(lines)  # nothing comes behind what may be half a line
    with open(reading, "rb") as pipe:  # noqa: PTH123
        received = pipe.read()
    assert (100 * lines).startswith(received)
    assert received.endswith(b"\n") == (size < 4096)
    assert "without its last STATE" in caplog.text


def test_a_reader_that_is_gone_stops_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    with pipe_for_stdout(monkeypatch, blocking=True) as reading:
        os.close(reading)
        writer = BufferedWriter()
        with pytest.raises(Stopped) as raised:
            writer.write_message(StateMessage({}))
        assert isinstance(raised.value.__cause__, FatalError)
        assert "went away" in str(raised.value.__cause__)
        writer.write_message(StateMessage({}))  # nothing is left that could fail again
        writer.flush()


@pytest.mark.parametrize("problem", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_takes_no_more_is_told_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, problem: int
) -> None:
    room = 5000
    write = os.write

    def write_while_there_is_room(descriptor: int, data: memoryview) -> int:
        nonlocal room
        if not room:
            raise OSError(problem, os.strerror(problem))
        data = data[:room]
        room -= len(data)
        return write(descriptor, data)

    with (tmp_path / "out").open("wb", buffering=0) as raw:
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, write_through=True))
        monkeypatch.setattr(os, "write", write_while_there_is_room)
        writer = BufferedWriter()
        with pytest.raises(Stopped) as raised:
            writer.write_records([record(number, "x" * 1000) for number in range(BUFFER // 1000)])
        assert (
            str(raised.value.__cause__)
            == f"stdout cannot be written to: {os.strerror(problem)}. Mend that, and run again."
        )
        room = 5000
        writer.write_message(StateMessage({}))
    assert (tmp_path / "out").stat().st_size == 5000


def test_a_stdout_that_was_closed_from_the_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(FatalError):
        Stdout().write(b"{}\n")
