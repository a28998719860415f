"""Console scripts that need not import anything: each run is a process forked from one that has."""

from __future__ import annotations

import functools
import os
import socket
import subprocess
import sys
from contextlib import AbstractContextManager, ExitStack, contextmanager
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from unittest import mock

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

HERE = Path(__file__).parent
SHARED = "TESTS_SHARED_PROGRAMS"
"""The variable that tells the workers of a test run where its programs are."""
PROGRAMS = (
    "api-sandbox",
    "harkster",
    "killed-runs",
    "meltano",
    "singer-http",
    "stock-tap",
    "tap-hubstaff",
    "tap-hustle",
    "target-csv",
    "target-harkster",
    "target-postgres",
)
OURS = {
    "killed-runs": "tests.harkster.killed_runs:serve",
    "stock-tap": "tests.harkster.stock_tap:StockTap.cli",
}
"""Those of them that are not installed."""


def look_up_versions_once() -> AbstractContextManager[Any]:
    """Let this process, and those forked from it, look only once for the version of each distribution."""
    return mock.patch.object(metadata, "version", functools.cache(metadata.version))


def share_programs(config: pytest.Config) -> None:
    """Have all workers use the same programs: to import them takes four seconds."""
    if config.getoption("numprocesses", None):  # this process starts the workers
        shared = ExitStack()
        config.add_cleanup(shared.close)
        os.environ[SHARED] = str(shared.enter_context(warm_programs()))


@contextmanager
def warm_programs() -> Iterator[Path]:
    """A folder with programs that take the place of those in `.venv/bin` for as long as the block lasts.

    They differ in this: what starts one has a stub for a child process, and the run itself is none of its descendants.
    A run whose stub is killed ends too, but a moment later. Tests that look at processes need the real ones.
    Meltano looks for its settings less often: see `tests/quick_meltano.py`.
    """
    if shared := os.environ.get(SHARED):
        yield Path(shared)
        return
    with TemporaryDirectory(prefix="programs-") as name:  # a short path, as a socket needs
        folder = Path(name)
        stub = folder / "stub"
        stub.write_text(f"#!{sys.executable} -IS\n{(HERE / 'program_stub.py').read_text()}")
        stub.chmod(0o755)
        for program in PROGRAMS:
            (folder / program).symlink_to(stub)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(folder / "socket"))
            listener.listen()
            # Its input ends with this process at the latest.
            with subprocess.Popen(
                [sys.executable, "-m", "tests.program_server", str(listener.fileno()), folder / "imported"],
                cwd=HERE.parent,
                stdin=subprocess.PIPE,
                pass_fds=[listener.fileno()],
            ) as server:
                yield folder
        assert server.returncode == 0
