"""The writer of Singer messages: encoded a page at a time, written in large pieces, never half a line."""

from __future__ import annotations

import os
import sys
from dataclasses import fields
from typing import IO, TYPE_CHECKING

from singer_sdk.contrib.msgspec import encoder
from singer_sdk.singerlib.encoding.base import GenericSingerWriter
from typing_extensions import override

from singer_http.http.clock import Stopped
from singer_http.http.errors import OutputClosedError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from singer_sdk.singerlib.encoding.simple import Message

BUFFER = 1 << 18
"""Bytes that may wait in the buffer before they are written."""


class BufferedWriter(GenericSingerWriter["bytes", "Message"]):
    """Writes messages to stdout through a buffer that holds whole lines only.

    The buffer is emptied when it is full, with every message that is not a RECORD, when the tap has to wait for
    the API, and at the end of the run, however it ends. Signals do not interrupt it: see :mod:`singer_http.tap`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._buffer = bytearray()
        self.written = 0
        """Bytes of messages so far."""

    @override
    def serialize_message(self, message: Message) -> bytes:
        # The message's own to_dict copies the whole of it first: with many partitions, a STATE is large.
        every = ((one.name, getattr(message, one.name)) for one in fields(message))
        return encoder.encode_lines([{name: value for name, value in every if value is not None}])

    @override
    def write_message(self, message: Message) -> None:
        self._add(self.serialize_message(message))
        self.flush()

    def write_records(self, messages: Sequence[dict[str, Any]]) -> None:
        """Write RECORD messages, given as the dictionaries that they are encoded from."""
        self._add(encoder.encode_lines(messages))
        if len(self._buffer) >= BUFFER:
            self.flush()

    def flush(self) -> None:
        """Hand everything to the reader of stdout."""
        stdout = _stdout()
        try:
            if self._buffer:
                stdout.write(self._buffer)
                self._buffer.clear()
            stdout.flush()
        except BrokenPipeError:
            # What stdout itself still holds would fail again when the interpreter ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stdout.fileno())
            self._buffer.clear()
            raise Stopped from OutputClosedError(
                "The reader of the messages went away before the tap had finished: see the target's log."
            )

    def _add(self, lines: bytes) -> None:
        self._buffer += lines
        self.written += len(lines)


def _stdout() -> IO[bytes]:
    # Looked up each time: tests and embedding programs replace it.
    return sys.stdout.buffer
