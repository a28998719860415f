"""A program that runs tap-hubstaff, a process of its own for every run, but pays for the imports only once.

It reads jobs from its standard input, one JSON object a line, and answers each with two lines: the process id as
soon as there is one, then the exit code, negative for a signal.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from typing import Any

from singer_http.clock import SystemClock
from tap_hubstaff.__main__ import main


def look_ahead(seconds: float) -> None:
    """Let the tap live so many seconds later than this machine."""

    def later(_clock: SystemClock) -> float:
        return time.time() + seconds

    SystemClock.time = later  # type: ignore[assignment,method-assign]


def become_the_tap(job: dict[str, Any]) -> None:
    """Make of this process what a shell would have started."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for descriptor, path in ((1, job["stdout"]), (2, job["stderr"])):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), descriptor)
    os.environ.clear()
    os.environ.update(job["env"])
    sys.argv = ["tap-hubstaff", *job["args"]]
    look_ahead(job["ahead"])


def serve() -> dict[str, Any] | None:
    """Take jobs; returns None at the end of them, and in each child process its job."""
    gc.collect()
    gc.freeze()
    while line := sys.stdin.readline():
        job: dict[str, Any] = json.loads(line)
        pid = os.fork()
        if pid == 0:
            return job
        print(pid, flush=True)  # noqa: T201 - this is how it answers
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201
    return None


if __name__ == "__main__" and (own := serve()) is not None:
    become_the_tap(own)
    main()
