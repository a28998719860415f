"""What the tap writes to a pipe that takes it slowly, or no longer: all that its STATE says, and no half line."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from api_sandbox import HustleScenario, RunningSandbox, Scenario, serve_in_thread
from singer_http.output import BUFFER

from tests.hustle.conftest import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.hustle.conftest import Started

PIPING = str(Path(__file__).with_name("piping.py"))
KINDS = ["buffered", "unbuffered", "not blocking"]
LEADS = 3000
"""Together more than a megabyte."""
ORGANIZATIONS = 2
PAGE = 100
CERTAIN = 1_000_000 - 2 * BUFFER
"""Bytes behind which a run that writes a megabyte has certainly more to write than is in its buffer."""


def read_slowly(started: Started, seed: str, *, until: int, end: bool) -> Run:
    """Read a run's pipe some bytes at a time; stop and continue the run at many places, and perhaps end it at the last.

    Args:
        started: The run.
        seed: Tells sizes and places.
        until: A place at which the run goes on for certain: nobody else may have its process id by then.
        end: Whether to end it.
    """
    chance = random.Random(seed)  # noqa: S311 - the same places in every run
    places = sorted(chance.sample(range(until), 40))
    assert started.pipe is not None
    taken = 0
    while piece := os.read(started.pipe.fileno(), chance.choice([1, 700, 4096])):
        started.received.append(piece)
        taken += len(piece)
        while places and places[0] <= taken:
            places.pop(0)
            if places or not end:
                started.kill(signal.SIGSTOP)
                started.kill(signal.SIGCONT)
            else:
                started.kill(signal.SIGTERM)
    return started.wait()


@pytest.fixture(scope="module")
def sandbox() -> Iterator[RunningSandbox]:
    scenario = HustleScenario(requests_per_second=None, leads=LEADS, organizations=ORGANIZATIONS)
    with serve_in_thread(Scenario(hustle=scenario)) as running:
        yield running


@pytest.fixture
def config(sandbox: RunningSandbox, settings: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    return settings(sandbox, page_size=PAGE)


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_stdout_is_all_is_written(
    *,
    start_tap: Callable[..., Started],
    sandbox: RunningSandbox,
    config: dict[str, Any],
    assert_complete: Callable[..., None],
    kind: str,
) -> None:
    started = start_tap(config=config, before=[PIPING, kind], piped=True)
    run = read_slowly(started, kind, until=CERTAIN, end=False)
    assert run.code == 0
    assert_complete(run, sandbox)


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_is_ended_has_written_what_its_state_says(
    *,
    start_tap: Callable[..., Started],
    tap: Callable[..., Run],
    sandbox: RunningSandbox,
    config: dict[str, Any],
    kind: str,
) -> None:
    started = start_tap(config=config, before=[PIPING, kind], piped=True)
    ended = read_slowly(started, kind, until=CERTAIN, end=True)
    assert ended.code == 128 + signal.SIGTERM
    assert ended.messages[-1]["type"] == "STATE"
    assert 0 < len(ended.ids("leads")) < LEADS
    resumed = tap(config=config, state=ended.states[-1])
    assert resumed.code == 0
    for stream, ids in sandbox.truth.ids.items():
        assert {*ended.ids(stream), *resumed.ids(stream)} == set(ids), stream
    # Nothing had been written after the last STATE: of each organization a page at most is read again.
    assert len(set(ended.ids("leads")) & set(resumed.ids("leads"))) <= ORGANIZATIONS * PAGE


def test_a_full_disk_is_told_in_a_sentence(start_tap: Callable[..., Started], config: dict[str, Any]) -> None:
    ended = start_tap(config=config, before=[PIPING, "full"]).wait()
    assert ended.code == 1
    assert "Traceback" not in ended.stderr
    assert ended.said("ERROR") == ["stdout cannot be written to: No space left on device. Mend that, and run again."]


def test_a_reader_that_goes_away_is_told_in_a_sentence(
    start_tap: Callable[..., Started], config: dict[str, Any]
) -> None:
    started = start_tap(config=config, piped=True)
    assert started.pipe is not None
    started.read(lines=1)
    started.pipe.close()
    assert started.exit_code() == 1
    log = started.err.read_text()
    assert "Traceback" not in log
    assert Run(1, b"", log).said("ERROR") == [
        "The reader of the messages went away before the end: see the target's log."
    ]


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_is_gone_before_what_it_asked_for_is_told_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, unbuffered: str
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    read, write = os.pipe()
    os.close(read)
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "tap_hustle", "--about"],
            stdout=write,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(write)
    assert ended.returncode == 1
    assert ended.stderr.endswith("The reader of stdout went away before the end.\n")
    assert ended.stderr.count("\n") == 1
