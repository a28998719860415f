"""Kills the process of the tap at a given point of an exchange of tokens."""

from __future__ import annotations

import os
import signal
from itertools import count
from typing import TYPE_CHECKING, Any
from unittest import mock

from singer_http.http import transport
from singer_http.http.transport import Transport
from tap_hubstaff import auth, shared_tokens, token_store

if TYPE_CHECKING:
    from collections.abc import Callable

KILL_POINTS = {
    "before the lock": None,
    "lock taken": None,
    "mark half written": 1,
    "mark written": 1,
    "mark in place": 2,
    "before the request": None,
    "request sent": None,
    "answer received": None,
    "answer half written": 3,
    "answer written": 3,
    "answer in place": 4,
    "lock let go": None,
}
"""Where it may be; where that is in the store, the call of ``fsync`` at which it is."""
SHARED_KILL_POINTS = {
    "before the lock": None,
    "lock taken": None,
    "before the mark is shared": 1,
    "mark uncommitted": 1,
    "mark shared": 1,
    "before the request": None,
    "request sent": None,
    "answer received": None,
    "before the answer is shared": 2,
    "answer uncommitted": 2,
    "answer shared": 2,
    "lock let go": None,
}
"""The same where tokens are kept in a database: the write at which it is."""
LOST = frozenset(
    {"request sent", "answer received", "answer half written", "before the answer is shared", "answer uncommitted"}
)
"""When the vendor has taken the old token and the new one is nowhere: no more than its rules make unavoidable."""
_CALLED: dict[str, list[tuple[Any, str]]] = {
    "before the lock": [(auth.Rotation, "__call__")],
    "lock taken": [(token_store.TokenStore, "read"), (shared_tokens.SharedTokenStore, "read")],
    "before the request": [(Transport, "send")],
    "request sent": [(transport, "_read")],
    "answer received": [(auth, "request_token")],
    "lock let go": [(auth.Rotation, "_warn")],
}
"""What is called there, with either store."""


def prepare(point: str, may_die: Callable[[], bool] = lambda: True) -> None:
    """Have this process killed at a point.

    Args:
        point: Where; any other word for nowhere.
        may_die: Asked there.
    """

    def die() -> None:
        if may_die():
            os.kill(os.getpid(), signal.SIGKILL)

    for owner, name in _CALLED.get(point, ()):
        _put(owner, name, _killed(getattr(owner, name), die, is_behind=point == "answer received"))
    if (call := KILL_POINTS.get(point)) is not None:
        _put(os, "fsync", _fsync(call, may_die, is_half="half" in point))
    elif (call := SHARED_KILL_POINTS.get(point)) is not None:
        if "uncommitted" in point:
            asked = _killed(shared_tokens._asked, die, is_behind=True, call=call, query=shared_tokens._WRITE)
            _put(shared_tokens, "_asked", asked)
        else:
            write = shared_tokens.SharedTokenStore.write
            killed = _killed(write, die, is_behind="before" not in point, call=call)
            _put(shared_tokens.SharedTokenStore, "write", killed)


def _put(owner: Any, name: str, replacement: Any) -> None:
    mock.patch.object(owner, name, replacement).start()


def _killed(
    function: Callable[..., Any], die: Callable[[], None], *, is_behind: bool, call: int = 1, query: str | None = None
) -> Callable[..., Any]:
    """A function of which a call kills the process, before or behind it; if a query is given, calls with it count."""
    calls = count(1)

    def killed(*args: Any, **more: Any) -> Any:
        is_it = (query is None or query in args) and next(calls) == call
        if is_it and not is_behind:
            die()
        found = function(*args, **more)
        if is_it and is_behind:
            die()
        return found

    return killed


def _fsync(kill_at: int, may_die: Callable[[], bool], *, is_half: bool) -> Callable[[int], None]:
    """An ``fsync`` that kills the process at a call, with the whole file written or a half of it."""
    calls = count(1)

    def fsync(descriptor: int) -> None:
        if next(calls) == kill_at and may_die():
            if is_half:
                os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    return fsync
