"""Kills the process of the tap at a given point of an exchange of tokens."""

from __future__ import annotations

import os
import signal
from itertools import count
from typing import TYPE_CHECKING, Any
from unittest import mock

from singer_http.http import transport
from singer_http.http.session import request_token
from singer_http.http.transport import Transport
from tap_hubstaff import auth, shared_tokens, tap
from tap_hubstaff.streams import window_streams
from tap_hubstaff.work_sessions import stream as session_stream

if TYPE_CHECKING:
    from collections.abc import Callable

KILL_POINTS = {
    "nowhere": None,
    "before all": None,
    "mark half written": 1,
    "mark written": 1,
    "mark in place": 2,
    "before the request": None,
    "request sent": None,
    "answer received": None,
    "answer half written": 3,
    "answer written": 3,
    "answer in place": 4,
}
"""Where it may be; where that is in the store, the call of ``fsync`` at which it is."""
SHARED_KILL_POINTS = {
    "before the mark is shared": 1,
    "mark shared": 1,
    "before the request": None,
    "request sent": None,
    "answer received": None,
    "before the answer is shared": 2,
    "answer shared": 2,
}
"""The same where tokens are kept in a database: the write at which it is."""
LOST = frozenset({"request sent", "answer received", "answer half written", "before the answer is shared"})
"""When the vendor has taken the old token and the new one is nowhere."""


def kill_self(*_: object, **__: object) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def prepare(point: str) -> None:
    # So that a process begins quickly.
    _put(tap, "STREAMS", (window_streams.Activities, session_stream.TimeSessions))
    if (call := SHARED_KILL_POINTS.get(point)) is not None:
        _put(shared_tokens.SharedTokenStore, "write", _shared(call, is_before="before" in point))
    elif (call := KILL_POINTS.get(point)) is not None:
        _put(os, "fsync", _fsync(call, is_half="half" in point))
    elif point == "before all":
        _put(auth.TokenStore, "read", kill_self)
    elif point == "before the request":
        _put(Transport, "send", kill_self)
    elif point == "request sent":
        _put(transport, "_read", kill_self)
    elif point == "answer received":
        _put(auth, "request_token", lambda *args: kill_self(request_token(*args)))


def _put(owner: Any, name: str, replacement: Any) -> None:
    mock.patch.object(owner, name, replacement).start()


def _fsync(kill_at: int, *, is_half: bool) -> Callable[[int], None]:
    """An ``fsync`` that kills the process at a call, with the whole file written or a half of it."""
    calls = count(1)

    def fsync(descriptor: int) -> None:
        if next(calls) == kill_at:
            if is_half:
                os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
            kill_self()

    return fsync


def _shared(kill_at: int, *, is_before: bool) -> Callable[..., None]:
    """A ``write`` into the database that kills the process before a call of it, or behind."""
    calls, write = count(1), shared_tokens.SharedTokenStore.write

    def killed(*args: Any) -> None:
        call = next(calls)
        if call == kill_at and is_before:
            kill_self()
        write(*args)
        if call == kill_at:
            kill_self()

    return killed
