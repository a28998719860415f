"""Runs the tap in this process, in the sandbox's own time, which is a stopped clock."""

from __future__ import annotations

import io
import logging
import sys
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from unittest import mock

from singer_http.http.transport import Transport
from singer_sdk.singerlib import SelectionMask
from tap_hubstaff import tap as tap_module
from tap_hubstaff.client import open_session
from tap_hubstaff.tap import TapHubstaff
from typing_extensions import override

from tests.leaping import LeapingClock
from tests.tap_processes import Run as AnyRun

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from api_sandbox.running import RunningHubstaff

NOT_SELECTED = SelectionMask({(): False})
"""Of what is not read: to resolve the selection of all its properties takes longer than a small run."""
KEYS = {
    "members": ("organization_id", "user_id"),
    "project_members": ("project_id", "user_id"),
    "team_members": ("team_id", "user_id"),
    "team_projects": ("team_id", "project_id"),
    "last_activities": ("organization_id", "user_id"),
    "time_off_balances": ("organization_id", "user_id", "time_off_policy_id"),
    "integration_project_links": ("integration_id", "project_id"),
    "integration_user_links": ("integration_id", "user_id"),
    "seats": ("organization_id",),
}
"""What the sandbox calls the records of streams without ids."""


class Run(AnyRun):
    """A run of the tap, whose streams have keys of their own."""

    @override
    def ids(self, stream: str, key: tuple[str, ...] = ("id",)) -> list[str]:
        return super().ids(stream, KEYS.get(stream, key))

    @classmethod
    def of(cls, run: AnyRun) -> Run:
        return cls(run.code, run.stdout, run.stderr)


class SandboxClock(LeapingClock):
    """The sandbox's own time, which is a stopped clock.

    Args:
        hubstaff: Whose time.
        off: Seconds by which this machine's clock differs from it.
    """

    def __init__(self, hubstaff: RunningHubstaff, off: float = 0.0) -> None:
        super().__init__(hubstaff.now.timestamp())
        self._hubstaff = hubstaff
        self._off = off

    @override
    def time(self) -> float:
        return self.now + self._off

    @override
    def leap(self, seconds: float) -> None:
        self._hubstaff.advance(seconds)
        self.now = self._hubstaff.now.timestamp()


def read(
    clock: LeapingClock,
    config: Any,
    state: Any,
    streams: tuple[str, ...],
    *,
    full: Collection[str] = (),
    before_request: Callable[[int], None] | None = None,
) -> Run:
    """Run the tap once.

    Args:
        clock: Its clock.
        config: Its settings.
        state: What an earlier run left.
        streams: What is selected; empty for everything.
        full: What is read as full tables, besides what always is.
        before_request: Called with the number of each request before it is sent.
    """
    out = io.BytesIO()
    with ExitStack() as stack:
        log = stack.enter_context(_logged())
        stack.enter_context(mock.patch.object(sys, "stdout", io.TextIOWrapper(out, write_through=True)))
        if before_request is not None:
            stack.enter_context(mock.patch.object(Transport, "send", _counting(before_request, clock)))
        code = 0
        watched = mock.patch.object(tap_module, "open_session", lambda *args: clock.watch(open_session(*args)))
        stack.enter_context(watched)
        try:
            tap = TapHubstaff(config=config, state=state, clock=clock)
            for name, stream in tap.streams.items():
                if streams and name not in streams:
                    stream._mask = NOT_SELECTED
                else:
                    stream.metadata.root.selected = True
                if name in full:
                    stream.forced_replication_method, stream.replication_key = "FULL_TABLE", None
            tap.sync_all()
        except Exception as error:  # noqa: BLE001 - as the command line would say it
            code = 1
            TapHubstaff.logger.error("%s", error)
        written = out.getvalue()
    return Run(code, written, "".join(f"- - | {line.levelname} | {line.name} | {line.getMessage()}\n" for line in log))


def _counting(before: Callable[[int], None], clock: LeapingClock) -> Callable[..., Any]:
    send, lock, numbers = Transport.send, threading.Lock(), [0]

    def counted(transport: Transport, *args: Any) -> Any:
        with lock:
            numbers[0] += 1
            before(numbers[0])
            clock.leap(0)  # time may have passed
        return send(transport, *args)

    return counted


@contextmanager
def _logged() -> Iterator[list[logging.LogRecord]]:
    records: list[logging.LogRecord] = []

    class Keeping(logging.Handler):
        @override
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    handler = Keeping()
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield records
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def is_cut_off(run: Run) -> bool:
    """Whether the run ended before its end, as the quota is short."""
    return any("The run ends here" in line or "the quota is short" in line for line in run.said("WARNING"))
