"""A signal may come at any moment: in the middle of a line of the log, or while the clock is being looked at."""

from __future__ import annotations

import io
import logging
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from singer_http.http.clock import Clock, Stopped
from tap_hubstaff.tap import TapHubstaff
from tap_hustle.tap import TapHustle
from target_harkster.target import TargetHarkster
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import FrameType

    from singer_sdk.plugin_base import PluginBase
    from typing_extensions import Buffer


MESSAGES = b"""
{"type": "SCHEMA", "stream": "s", "schema": {"properties": {"id": {"type": "integer"}}}, "key_properties": ["id"]}
{"type": "RECORD", "stream": "s", "record": {"id": 1}}
""".lstrip()


class _Interrupted(io.RawIOBase):
    """Interrupts whoever writes to it, while that thread holds the buffer before it."""

    def __init__(self, handle: Callable[[], None]) -> None:
        self._handle = handle
        self.written = b""

    @override
    def writable(self) -> bool:
        return True

    @override
    def write(self, data: Buffer) -> int:
        handle, self._handle = self._handle, lambda: None
        handle()
        self.written += bytes(data)
        return len(bytes(data))


@pytest.mark.parametrize(
    ("plugin", "config"),
    [
        (TapHustle, {"client_id": "me", "client_secret": "s", "api_url": "http://127.0.0.1:1"}),
        (TapHubstaff, {"access_token": "t", "api_url": "http://127.0.0.1:1"}),
        (
            TargetHarkster,
            {"access_token": "t", "channel": "c", "api_url": "http://127.0.0.1:1"},
        ),
    ],
)
def test_a_signal_during_a_line_of_the_log_ends_the_run(
    plugin: type[PluginBase],
    config: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    made: Any = plugin(config=config)
    raw = _Interrupted(lambda: made._handle_termination(signal.SIGTERM, None))
    stderr = io.TextIOWrapper(io.BufferedWriter(raw), line_buffering=True)
    monkeypatch.setattr(sys, "stderr", stderr)
    handler = logging.StreamHandler(stderr)
    made.logger.addHandler(handler)
    caplog.set_level(logging.INFO, made.logger.name)
    try:
        made.logger.warning("In between.")
        with pytest.raises(SystemExit) as ended:
            made.listen(io.BytesIO(MESSAGES)) if plugin is TargetHarkster else made.sync_all()
    finally:
        made.logger.removeHandler(handler)
    assert ended.value.code == 128 + signal.SIGTERM
    said = raw.written.decode().splitlines()
    assert said[0] == "In between."
    assert "Stopping for signal 15." in said
    assert not [line for line in said if "reentrant" in line]


def test_a_signal_at_any_moment_of_a_sleep_wakes_the_sleeper() -> None:
    moments = 0
    while True:
        clock, left = Clock(), [moments]

        def interrupt(_frame: FrameType, event: str, _arg: object, clock: Clock = clock, left: list[int] = left) -> Any:
            if event == "line":
                left[0] -= 1
                if left[0] == -1:
                    clock.stop()
            return interrupt

        ends: list[str] = []

        def sleep(clock: Clock = clock, ends: list[str] = ends, interrupt: Any = interrupt) -> None:
            sys.settrace(interrupt)
            try:
                clock.sleep(0.0)
                clock.check()
            except Stopped:
                ends.append("stopped")
            else:
                ends.append("slept")
            finally:
                sys.settrace(None)

        sleeper = threading.Thread(target=sleep, daemon=True)
        sleeper.start()
        sleeper.join(10)
        assert ends, f"it hangs when it is stopped at line {moments} of a sleep"
        if left[0] >= 0:
            break
        assert ends == ["stopped"]
        moments += 1
    assert moments > 1
