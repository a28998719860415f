"""A target that dies anywhere, with an API that loses answers, still posts every row once and only once."""

import json
import multiprocessing
import random
import signal
from pathlib import Path
from typing import Any

import pytest
from api_sandbox import Fault, RunningSandbox

from tests.harkster.crashing import run
from tests.harkster.running import Message, Target, data, record, schema, state

STORIES = 96
"""Each kills two to four runs, the first ones of all stories at places spread over the whole of a run."""
SHARDS = 8
LEAST_KILLS = 200
"""In all stories together."""
MOST_RUNS = 12

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["tests.harkster.crashing"])

SEGMENTS: list[list[Message]] = [
    [record(id=1, name="one"), record(id=2, name="two"), record(stream="teams", id=1, name="Team 1")],
    [record(id=1, name="one, changed"), record(id=3, name="three")],
    [record(stream="teams", id=2, name="Team 2"), record(id=4, name="four"), record(id=2, name="two")],
]
"""What a tap sends between its STATEs."""
EXPECTED = {
    ("hours", 1): "one, changed",
    ("hours", 2): "two",
    ("hours", 3): "three",
    ("hours", 4): "four",
    ("teams", 1): "Team 1",
    ("teams", 2): "Team 2",
}
STREAMS: dict[str, Any] = {stream: {"mode": "upsert", "name": stream} for stream in ("hours", "teams")}

FAULTS = (
    Fault(kind="reset", operation="write", when="before", rate=0.08),
    Fault(kind="reset", operation="write", when="after", rate=0.08),
    Fault(kind="reset", operation="write", when="mid_body", rate=0.05),
    Fault(kind="status", operation="write", status=500, when="after", rate=0.06),
    Fault(kind="status", operation="write", status=503, when="before", html=True, rate=0.06),
    Fault(kind="status", status=429, rate=0.06),
    Fault(kind="status", operation="read", status=502, rate=0.05),
    Fault(kind="truncated", operation="write", rate=0.04),
)


def messages_after(states: Path) -> bytes:
    """What a tap sends that goes on from the last STATE."""
    lines = states.read_bytes().splitlines() if states.exists() else []
    whole = [line for line in lines if line.endswith(b"}")]
    done = json.loads(whole[-1])["segments"] if whole else 0
    messages = [schema(), schema(stream="teams")]
    for number, segment in enumerate(SEGMENTS[done:], done + 1):
        messages += [*segment, state({"segments": number})]
    return b"".join(json.dumps(message).encode() + b"\n" for message in messages)


def one_run(config: dict[str, Any], folder: Path, kill_at: int) -> int | None:
    states = folder / "states"
    process = _processes.Process(
        target=run, args=(config, messages_after(states), kill_at, str(states), str(folder / "points"))
    )
    process.start()
    process.join(60)
    return process.exitcode


def points_of_a_whole_run(sandbox: RunningSandbox, folder: Path) -> int:
    config = {**Target.into_new_channel(sandbox, folder).config, "streams": STREAMS}
    assert one_run(config, folder, 0) == 0
    return int((folder / "points").read_text())


@pytest.fixture(scope="module")
def whole(sandbox: RunningSandbox, tmp_path_factory: pytest.TempPathFactory) -> int:
    return points_of_a_whole_run(sandbox, tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("shard", range(SHARDS))
def test_every_row_is_posted_once_wherever_the_target_dies(
    shard: int, sandbox: RunningSandbox, whole: int, tmp_path: Path
) -> None:
    killed = 0
    for seed in range(shard, STORIES, SHARDS):
        folder = tmp_path / str(seed)
        folder.mkdir()
        killed += one_story(seed, sandbox, whole, folder)
    assert killed >= LEAST_KILLS // SHARDS


def one_story(seed: int, sandbox: RunningSandbox, whole: int, folder: Path) -> int:
    """Kill runs at some positions, then let them run until all is done; how many were killed."""
    chance = random.Random(seed)  # noqa: S311 - the same in every run
    target = Target.into_new_channel(sandbox, folder)
    config = {**target.config, "streams": STREAMS, "on_quota": chance.choice(["draft", "defer", "fail"])}
    if seed % 2:
        sandbox.faults.replace(*FAULTS)
    if seed % 5 == 0:
        config["max_posts_per_run"] = 3
    # A position beyond the end of a run kills nobody: the first one is within any run.
    kills = [1 + seed * whole // STORIES, chance.randrange(1, whole), *([chance.randrange(1, 40)] * (seed % 3))]
    killed = runs = 0
    try:
        while True:
            runs += 1
            assert runs <= MOST_RUNS, "it never comes to an end"
            if runs == 5:
                sandbox.faults.clear()
            ended = one_run(config, folder, kills.pop(0) if kills else 0)
            killed += ended == -signal.SIGKILL
            if ended == 0 and not kills and len(target.fields()) == len(EXPECTED):
                break
    finally:
        sandbox.faults.clear()
    check(target, seed)
    return killed


def check(target: Target, seed: int) -> None:
    posts = target.posts()
    found = {(str(post.name), int(data(post)["id"])): data(post)["name"] for post in posts}
    assert found == EXPECTED, seed
    assert len(posts) == len(EXPECTED), (seed, [post.status for post in posts])
    assert [post.publications for post in posts] == [1] * len(EXPECTED), seed
    assert {post.status for post in posts} == {"published"}, seed
