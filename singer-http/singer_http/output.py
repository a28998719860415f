"""Encodes Singer messages a page at a time, and writes whole lines to stdout, never half of one."""

from __future__ import annotations

import logging
import os
import select
import sys
from collections import defaultdict
from contextlib import suppress
from dataclasses import fields
from io import UnsupportedOperation
from typing import TYPE_CHECKING

from singer_sdk.batch import Batcher, lazy_chunked_generator
from singer_sdk.contrib.msgspec import encoder
from singer_sdk.helpers._batch import SDKBatchMessage
from singer_sdk.singerlib import StateMessage
from singer_sdk.singerlib.encoding.base import GenericSingerWriter
from typing_extensions import override

from singer_http.http.clock import Stopped
from singer_http.http.errors import FatalError
from singer_http.merged_state import sealed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from singer_sdk.helpers._batch import BatchConfig
    from singer_sdk.helpers.types import TapState
    from singer_sdk.singerlib.encoding.simple import Message

logger = logging.getLogger(__name__)

BUFFER = 1 << 18  # bytes that may wait in the buffer before they are written
PATIENCE = 5.0  # seconds that the reader of stdout may take nothing once a signal has asked for the end
_GLANCE = 0.5  # seconds after which a wait looks for signals: one that comes just before does not interrupt it
_NEWLINE = ord("\n")


class Stdout:
    """Writes whole lines to stdout, be it a file or a pipe, blocking or not, whatever it takes at a time.

    A pipe gets pieces that it takes whole or not at all, and that end with a line unless a line is longer than a piece:
    a process that is killed leaves no half of a line.
    """

    def __init__(self) -> None:
        self._signals = 0
        self._exit_code: int | None = None
        self._is_within_line = False
        self.is_closed = False

    def write(self, lines: bytes) -> None:
        """Write all of it, or raise :class:`FatalError`; after a failure everything is dropped.

        Raises :class:`Stopped` when a signal has asked for the end, and the reader of stdout takes nothing.
        """
        if self.is_closed:
            return
        try:
            self._write(lines)
        except UnsupportedOperation:  # a test or an embedding program took its place
            sys.stdout.write(lines.decode())
            sys.stdout.flush()
        except BrokenPipeError:
            self.is_closed = True
            raise FatalError("The reader of the messages went away before the end: see the target's log.") from None
        except OSError as error:
            self.is_closed = True
            raise FatalError(f"stdout cannot be written to: {error.strerror}. Mend that, and run again.") from None

    def end(self, code: int) -> None:
        """Have little patience with the reader from now on; when asked again, exit at the end of the line."""
        self._signals += 1
        if self._signals > 1:
            self._exit_code = code
            self._exit_between_lines()

    def _write(self, lines: bytes) -> None:
        if sys.stdout is None:  # it was closed when the process began
            raise BrokenPipeError
        sys.stdout.flush()
        descriptor = sys.stdout.fileno()
        ready = select.poll()
        ready.register(descriptor, select.POLLOUT)
        at = 0
        with memoryview(lines) as view:
            while at < len(lines):
                end = lines.rfind(b"\n", at, at + select.PIPE_BUF) + 1 or at + select.PIPE_BUF
                self._wait(ready)
                self._is_within_line = True
                with suppress(BlockingIOError):  # where somebody else writes to it too
                    at += os.write(descriptor, view[at:end])
                self._is_within_line = at > 0 and lines[at - 1] != _NEWLINE
                self._exit_between_lines()

    def _wait(self, ready: select.poll) -> None:
        waited = 0.0
        while not ready.poll(_GLANCE * 1000):
            if self._signals and not waited:
                logger.info("Stopping. The reader of stdout takes nothing: it is given %.0f s.", PATIENCE)
            waited += _GLANCE if self._signals else 0
            if waited >= PATIENCE:
                self.is_closed = True
                self._is_within_line = False  # there is no end of it to wait for
                self._exit_between_lines()
                logger.warning("The reader of stdout takes nothing: the run ends without its last STATE.")
                raise Stopped

    def _exit_between_lines(self) -> None:
        if self._exit_code is not None and not self._is_within_line:
            os._exit(self._exit_code)


class BufferedWriter(GenericSingerWriter["bytes", "Message"]):
    """Writes messages to stdout through a buffer that holds whole lines only.

    It empties the buffer when that is full, with every message that is not a RECORD, when the tap has to wait for the
    API, and at the end of the run.
    """

    def __init__(self) -> None:
        super().__init__()
        self._buffer: list[bytes] = []
        self._size = 0  # of the buffer, in bytes
        self.stdout = Stdout()
        self.written = 0  # bytes of messages so far
        self.state = b""  # the last STATE, as it was written
        self.on_written: Callable[[], None] = lambda: None  # called when stdout has taken all of them

    @override
    def serialize_message(self, message: Message) -> bytes:
        # The message's own to_dict copies the whole of it first: with many partitions, a STATE is large.
        every = {one.name: getattr(message, one.name) for one in fields(message)}
        if isinstance(message, StateMessage):
            every["value"] = sealed(message.value)
        return encoder.encode_lines([{name: value for name, value in every.items() if value is not None}])

    @override
    def write_message(self, message: Message) -> None:
        self._add(self.serialize_message(message))
        self.flush()

    def write_state(self, state: TapState) -> None:
        """Write a STATE, unless it is the last one again: its line tells, of which nobody has to keep a copy."""
        line = self.serialize_message(StateMessage(state))
        if line != self.state:
            self.state = line
            self._add(line)
            self.flush()

    def write_records(self, messages: Sequence[dict[str, Any]]) -> None:
        """Write RECORD messages, given as the dictionaries that they are encoded from."""
        self._add(encoder.encode_lines(messages))
        if self._size >= BUFFER:
            self.flush()

    def flush(self) -> None:
        """Hand everything to the reader of stdout."""
        lines, self._buffer, self._size = b"".join(self._buffer), [], 0
        if lines:
            try:
                self.stdout.write(lines)
            except FatalError as error:
                raise Stopped from error
            if not self.stdout.is_closed:
                self.on_written()

    def _add(self, lines: bytes) -> None:
        self._buffer.append(lines)
        self._size += len(lines)
        self.written += len(lines)


def batches(
    messages: Iterator[dict[str, Any]], tap_name: str, stream_name: str, config: BatchConfig
) -> Iterator[list[Any]]:
    """Write the records of RECORD messages to files, each of one stream whatever stream maps make of it.

    Yields the BATCH messages of all records taken so far: a STATE is good behind them. Raises :class:`Stopped` where a
    file cannot be written; its cause says so.
    """
    # A Batcher itself looks through all that is installed, for each batch.
    batcher = Batcher.get_batcher(config.encoding.format)(tap_name, stream_name, config)
    for some in lazy_chunked_generator(messages, config.batch_size):
        by_stream: defaultdict[str, list[Any]] = defaultdict(list)
        for message in some:
            by_stream[message["stream"]].append(message["record"])
        try:
            yield [
                SDKBatchMessage(stream=stream, encoding=config.encoding, manifest=manifest)
                for stream, records in by_stream.items()
                for manifest in batcher.get_batches(iter(records))
            ]
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise Stopped from FatalError(f"A BATCH file cannot be written: {reason}. Mend that, and run again.")
