"""No program outlives whoever started it, however that ended."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from demo.processes import DemoError, Program, running

if TYPE_CHECKING:
    from tests.pipelines.conftest import Survivors

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"
)
PARENT = "import subprocess, sys, time; subprocess.Popen(['sleep', '600']); print('ready', flush=True); time.sleep(600)"
OWNER = """
import sys, time
from pathlib import Path
from demo.processes import Program, running
directory = Path(sys.argv[1])
command = ["sh", "-c", "echo ready; exec sleep 600"]
with running(Program(name="sleep", command=command, log=directory / "log", output=directory / "output")) as program:
    program.wait_until(lambda: (directory / "output").read_text() == "ready\\n")
    print("ready", flush=True)
    time.sleep(600)
"""


def python(source: str, directory: Path) -> Program:
    command = [sys.executable, "-c", source]
    return Program(name="a program", command=command, log=directory / "log", output=directory / "output")


def is_ready(directory: Path) -> bool:
    return (directory / "output").read_text() == "ready\n"


def descendants(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def test_exit_code_comes_through(tmp_path: Path) -> None:
    with running(python("raise SystemExit(3)", tmp_path)) as program:
        assert program.wait() == 3


def test_ended_program_is_told_from_a_slow_one(tmp_path: Path) -> None:
    with (
        running(python("raise SystemExit('no such data')", tmp_path)) as program,
        pytest.raises(DemoError, match=r"(?s)a program ended with exit code 1.*no such data"),
    ):
        program.wait_until(lambda: False)


def test_slow_program_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    with (
        running(python("import time; time.sleep(600)", tmp_path)) as program,
        pytest.raises(DemoError, match="a program was not ready after 0 seconds"),
    ):
        program.wait_until(lambda: False, timeout=0.1)


def test_program_ends_with_all_that_it_started(tmp_path: Path, survivors: Survivors) -> None:
    with running(python(PARENT, tmp_path)) as program:
        program.wait_until(lambda: is_ready(tmp_path))
        started = descendants(program.guard.pid)
        assert len(started) == 2
    assert survivors(started) == []


def test_program_that_will_not_end_is_killed(tmp_path: Path) -> None:
    with running(replace(python(STUBBORN, tmp_path), patience=0.2)) as program:
        program.wait_until(lambda: is_ready(tmp_path))
    assert program.guard.returncode == 128 + signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_program_ends_with_its_owner(tmp_path: Path, number: signal.Signals, survivors: Survivors) -> None:
    root = Path(__file__).parents[2]
    owner = subprocess.Popen([sys.executable, "-c", OWNER, tmp_path], stdout=subprocess.PIPE, cwd=root)
    with owner:
        assert owner.stdout
        assert owner.stdout.readline() == b"ready\n"
        started = descendants(owner.pid)
        owner.send_signal(number)
    assert len(started) == 2
    assert survivors(started) == []
