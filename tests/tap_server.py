"""A program that runs a tap, a process of its own for every run, but pays for the imports only once.

Its argument is the package of the tap. It reads jobs from its standard input, one JSON object a line, and answers each
with two lines: the process id as soon as there is one, then the exit code, negative for a signal.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import sys
import threading
import time
import traceback
import warnings
from contextlib import suppress
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any

from singer_http.http.clock import Clock

from tests.programs import look_up_versions_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def leap_when_waiting() -> None:
    """Let all waiting be over at once, with the clock to match: what is waited for takes no time."""
    sleep = Clock.sleep
    lock = threading.Lock()
    leapt = 0.0

    def monotonic(_clock: Clock) -> float:
        return time.monotonic() + leapt

    def leap(clock: Clock, seconds: float) -> None:
        nonlocal leapt
        end = clock.monotonic() + seconds
        with lock:
            leapt = max(leapt, end - time.monotonic())
        sleep(clock, 0)

    Clock.monotonic = monotonic  # type: ignore[assignment,method-assign]
    Clock.time = lambda _clock: time.time() + leapt  # type: ignore[assignment,method-assign]
    Clock.sleep = leap  # type: ignore[assignment,method-assign]


def live_later(seconds: float) -> None:
    """Let the tap live so much later."""
    earlier = Clock.time
    Clock.time = lambda clock: earlier(clock) + seconds  # type: ignore[assignment,method-assign]


def become_the_tap(job: dict[str, Any]) -> None:
    """Make of this process what a shell would have started."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(job[name], descriptor)
    os.chdir(job["cwd"])
    os.environ.clear()
    os.environ.update(job["env"])
    sys.argv = [job["command"], *job["args"]]
    if job["leaps"]:
        leap_when_waiting()
    if job["ahead"]:
        live_later(job["ahead"])
    if job["before"] is not None:
        program, *arguments = job["before"]
        runpy.run_path(program)["prepare"](*arguments)


def import_all(modules: Iterable[str]) -> None:
    """Import what a run had to import, lest the next ones have to."""
    for module in modules:
        with suppress(Exception):
            importlib.import_module(module)
    assert threading.active_count() == 1, "a thread would be missing in the child processes"
    # What is here by now stays: no child has to look through it, which would copy it too.
    gc.collect()
    gc.freeze()


def serve(imported: IO[str]) -> dict[str, Any] | None:
    """Take jobs; returns None at the end of them, and in each child process its job.

    Args:
        imported: Where runs leave the names of the modules that they had to import.
    """
    import_all(())
    while line := sys.stdin.readline():
        job: dict[str, Any] = json.loads(line)
        # Before it answers: who reads from a pipe finds that there is somebody who writes to it.
        opened = {name: os.open(job[name], os.O_WRONLY | os.O_CREAT, 0o600) for name in ("stdout", "stderr")}
        pid = os.fork()
        if pid == 0:
            return job | opened
        for descriptor in opened.values():
            os.close(descriptor)
        print(pid, flush=True)  # noqa: T201 - this is how it answers
        _, status = os.waitpid(pid, 0)
        imported.seek(0)
        modules = imported.read().split()
        imported.seek(0)
        imported.truncate()
        if modules:
            import_all(modules)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201
    return None


def exit_code_of(program: Callable[[], Any]) -> int:
    """Run a program as the interpreter would, and return its exit code."""
    code: object = 0
    try:
        program()
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 - nothing comes after
        traceback.print_exc()
        code = 1
    if not isinstance(code, int | None):
        print(code, file=sys.stderr)  # noqa: T201 - as the interpreter does
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code or 0


def warm_up(package: str) -> None:
    """Let what the first run of all would import and compute be there before it."""
    (tap,) = (
        found
        for name, found in vars(importlib.import_module(f"{package}.tap")).items()
        if name.lower() == package.replace("_", "")
    )
    warm = tap(config={}, validate_config=False)
    for stream in warm.streams.values():
        _ = stream.stream_maps


if __name__ == "__main__":
    # The SDK's word on an old Python, as in the tests themselves.
    warnings.filterwarnings("ignore", r"Python 3\.\d+ (will )?reach(ed)? its end of life")
    tap = importlib.import_module(f"{sys.argv[1]}.__main__")
    with look_up_versions_once():
        warm_up(sys.argv[1])
        with TemporaryFile("w+") as imported:
            if (own := serve(imported)) is not None:
                known = {*sys.modules}
                become_the_tap(own)
                code = exit_code_of(tap.main)
                print(*(module for module in sys.modules if module not in known), file=imported, flush=True)
                # At once, without taking apart what was imported for all.
                os._exit(code)
