"""`make demo` tells the truth, and leaves nothing behind however it ends."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
import yaml

if TYPE_CHECKING:
    from tests.pipelines.conftest import Survivors

ROOT = Path(__file__).parents[2]
PIPELINE = "meltano run hustle-to-postgres verify:hustle hubstaff-to-postgres verify:hubstaff hubstaff-to-harkster"
NO_HUBSTAFF = {"organizations": 0}
HELD = {"kind": "hold", "path": "/webhook_registrations"}
"""The last list: a demo does not get any further."""
HUBSTAFF = {"organizations": 1, "members": 3, "shared_members": 0, "history_days": 5, "activity_delay": 0}


WARM = """
import sys
from functools import partial
from pathlib import Path
from demo import __main__ as demo
scripts = Path(sys.argv.pop(1))
demo.Meltano = partial(demo.Meltano, scripts=scripts)
demo.running_sandbox = partial(demo.running_sandbox, scripts=scripts)
demo.main()
"""


def start_demo(directory: Path, *command: str | Path, **scenario: object) -> subprocess.Popen[str]:
    path = directory / "scenario.yml"
    path.write_text(yaml.safe_dump({"hustle": {"leads": 50}, "hubstaff": NO_HUBSTAFF} | scenario))
    return subprocess.Popen(
        [sys.executable, "-u", *(command or ("-m", "demo")), "--scenario", path, "--page", directory / "page.html"],
        cwd=ROOT,
        env={**os.environ, "XDG_STATE_HOME": str(directory / "state")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@dataclass(frozen=True)
class Interior:
    """What a demo has started and made by now."""

    processes: list[psutil.Process]
    directories: list[Path]


def while_running(program: str, demo: subprocess.Popen[str]) -> Interior:
    """Wait until a demo runs a program, and look inside."""
    while True:
        assert demo.poll() is None
        processes = psutil.Process(demo.pid).children(recursive=True)
        commands = {process: command_line(process) for process in processes}
        if any(Path(word).name == program for words in commands.values() for word in words[:2]):
            break
        time.sleep(0.05)
    options = (word.partition("=") for words in commands.values() for word in words)
    sockets = {Path(value) for name, _, value in options if name == "--unix_socket_directories"}
    logs = {Path(words[words.index("--env-file") + 1]).parent for words in commands.values() if "--env-file" in words}
    return Interior(processes, [*sockets, *logs])


def command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


def test_demo_loads_everything_twice(programs: Path, tmp_path: Path) -> None:
    with start_demo(tmp_path, "-c", WARM, programs, hubstaff=HUBSTAFF) as demo:
        output, errors = demo.communicate()
    assert demo.returncode == 0, errors
    assert output.count(PIPELINE) == 2
    assert "differs" not in output
    assert "exactly once" in output
    assert not errors
    rows = [line.rpartition(", week of ")[2].split()[0] for line in output.splitlines() if ", week of " in line]
    weeks = set(rows)
    assert weeks
    assert "(updated)" in output or len(rows) < 2 * len(weeks)  # on a Monday, the late hours may be all of their week
    page = (tmp_path / "page.html").read_text()
    # With names for the ids of the organization and of its people.
    assert page.count("Person by person") == len(weeks)
    assert "Weekly hours</h4>" not in page
    assert "A former member" not in page
    assert (tmp_path / "page.html").as_uri() in output
    assert not (tmp_path / "state").exists()  # the user's own, where logs and tokens would be kept


def test_failing_demo_says_why_and_keeps_its_logs(tmp_path: Path) -> None:
    with start_demo(tmp_path, hustle={"leads": "many"}) as demo:
        output, errors = demo.communicate()
    assert demo.returncode == 1
    assert "PostgreSQL" not in output
    assert "$.hustle.leads" in errors
    directory = Path(next(line for line in errors.splitlines() if "logs" in line).split()[-1])
    assert any(directory.iterdir())
    shutil.rmtree(directory)


@pytest.mark.parametrize(("number", "program"), [(signal.SIGINT, "tap-hustle"), (signal.SIGTERM, "meltano")])
def test_interrupted_demo_leaves_nothing_behind(
    tmp_path: Path, number: signal.Signals, program: str, survivors: Survivors
) -> None:
    with start_demo(tmp_path, faults=[HELD]) as demo:
        interior = while_running(program, demo)
        demo.send_signal(number)
        _, errors = demo.communicate()
    assert demo.returncode == 128 + number
    assert errors == ""
    assert survivors(interior.processes) == []
    assert len(interior.directories) == 2
    assert [directory for directory in interior.directories if directory.exists()] == []


def test_killed_demo_leaves_no_process_behind(tmp_path: Path, survivors: Survivors) -> None:
    with start_demo(tmp_path, faults=[HELD]) as demo:
        interior = while_running("meltano", demo)
        demo.kill()
    assert survivors(interior.processes) == []
    for directory in interior.directories:
        shutil.rmtree(directory)
