"""Real taps in front of it, and real signals: each program is a process of its own, with pipes between them."""

import itertools
import json
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from api_sandbox import Fault, HarksterScenario, HustleScenario, RunningSandbox, Scenario, serve_in_thread

from demo.postgres import Postgres
from tests.conftest import HANGING
from tests.harkster.running import Message, Target, data, record, schema, state

ROOT = Path(__file__).parents[2]
SCRIPTS = Path(sys.executable).parent
TAP_POSTGRES = shutil.which("tap-postgres")
"""Its pins hold back other tools, so it is no part of this workspace: put an environment with it on PATH."""


def settings(folder: Path, name: str, values: dict[str, Any]) -> str:
    path = folder / f"{name}.json"
    path.write_text(json.dumps(values))
    return str(path)


def start(programs: Path, target: Target, folder: Path, source: Any, **more: Any) -> subprocess.Popen[bytes]:
    config = settings(folder, "target", {**target.config, **more})
    return subprocess.Popen(
        [programs / "target-harkster", "--config", config], stdin=source, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def load(programs: Path, tap: Sequence[Any], target: Target, folder: Path, **more: Any) -> list[Any]:
    """Run a tap and the target, which must both work, and give the STATEs."""
    with (folder / "tap.log").open("wb") as log:
        source = subprocess.Popen(tap, stdout=subprocess.PIPE, stderr=log, cwd=ROOT)
        with start(programs, target, folder, source.stdout, **more) as loads:
            out, told = loads.communicate(timeout=10 * HANGING)
        assert source.stdout is not None
        source.stdout.close()
        assert (source.wait(HANGING), loads.returncode) == (0, 0), ((folder / "tap.log").read_text(), told.decode())
    return [json.loads(line) for line in out.splitlines()]


def told(target: Target) -> list[tuple[str, str, int, int]]:
    return sorted((data(post)["id"], data(post)["name"], post.publications, post.updates) for post in target.posts())


@pytest.mark.parametrize("names_version", [True, False])
def test_a_tap_of_the_stock_sdk(target: Target, programs: Path, tmp_path: Path, *, names_version: bool) -> None:
    rows = tmp_path / "rows.jsonl"
    started = itertools.count(1_700_000_000_000, 60_000)
    mirror = {"streams": {"hours": {"mode": "mirror"}}, "mirror_max_share": 0.5}

    def sends(*names: str) -> None:
        rows.write_text("".join(json.dumps({"id": int(name[0]), "name": name}) + "\n" for name in names))
        tap = {"path": str(rows), "emit_activate_version_messages": names_version, "initialized_at": next(started)}
        assert load(
            programs, [programs / "stock-tap", "--config", settings(tmp_path, "tap", tap)], target, tmp_path, **mirror
        )

    sends("1", "2", "3")
    sends("1", "2", "3")
    assert told(target) == [(name, name, 1, 0) for name in "123"]
    sends("1", "3 changed", "4")
    gone = [] if names_version else [("2", "2", 1, 0)]
    assert told(target) == sorted([("1", "1", 1, 0), *gone, ("3", "3 changed", 1, 1), ("4", "4", 1, 0)])


def test_our_tap_with_batch_files(programs: Path, tmp_path: Path) -> None:
    hustle = HustleScenario(organizations=2, leads=9)
    with serve_in_thread(Scenario(hustle=hustle, harkster=HarksterScenario(requests_per_second=None))) as sandbox:
        sandbox.harkster.set_quota("Acme Inc.", quota=10_000)
        target = Target.into_new_channel(sandbox, tmp_path)
        batches = {
            "encoding": {"format": "jsonl", "compression": "gzip"},
            "storage": {"root": (tmp_path / "batches").as_uri()},
        }
        (tmp_path / "batches").mkdir()
        config = {
            "client_id": sandbox.hustle.client_id,
            "client_secret": sandbox.hustle.client_secret,
            "api_url": sandbox.hustle.api_url,
            "batch_config": batches,
        }
        tap = [programs / "tap-hustle", "--config", settings(tmp_path, "tap", config)]
        for _ in range(2):
            load(programs, tap, target, tmp_path, max_new_posts=1000)
        posts = target.posts()
        ids = Counter((str(post.name), str(data(post)["id"])) for post in posts)
        truth = sandbox.truth.ids
        assert ids == Counter((stream, str(one)) for stream in truth for one in truth[stream])
        assert {(post.publications, post.updates) for post in posts} == {(1, 0)}
        assert len(ids) > 20
        assert {"organizations", "leads"} <= {stream for stream, _ in ids}


@pytest.mark.skipif(TAP_POSTGRES is None, reason="meltanolabs-tap-postgres is not on PATH")
def test_a_tap_from_the_registry(
    target: Target, postgres: Postgres, programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGHOST", str(postgres.socket_directory))  # the tap knows of no sockets
    with postgres.connect() as connection:
        connection.execute("CREATE SCHEMA worked")
        connection.execute("CREATE TABLE worked.hours (id integer PRIMARY KEY, name text, hours numeric, day date)")
        connection.execute("INSERT INTO worked.hours VALUES (1, 'Ann', 7.25, '2026-11-02'), (2, NULL, 8, NULL)")
    config = {
        "host": "",
        "port": 5432,
        "user": "postgres",
        "password": "none",
        "database": postgres.database,
        "filter_schemas": ["worked"],
        "dates_as_string": False,
    }
    tap: list[Any] = [TAP_POSTGRES, "--config", settings(tmp_path, "tap", config)]
    catalog = json.loads(subprocess.check_output([*tap, "--discover"], stderr=subprocess.DEVNULL))
    for described in (one for stream in catalog["streams"] for one in stream["metadata"]):
        described["metadata"]["selected"] = True
    tap += ["--catalog", settings(tmp_path, "catalog", catalog)]
    upsert = {"streams": {"worked-hours": {"mode": "upsert"}}}
    for _ in range(2):
        load(programs, tap, target, tmp_path, **upsert)
    shown = [{**data(post), "updates": post.updates} for post in target.posts()]
    assert shown == [
        {"id": "1", "name": "Ann", "hours": "7.25", "day": "2026-11-02", "updates": 0},
        {"id": "2", "name": None, "hours": "8", "day": None, "updates": 0},
    ]


# Signals


def written(*messages: Message) -> bytes:
    return b"".join(json.dumps(message).encode() + b"\n" for message in messages)


@pytest.mark.parametrize("operation", ["create", "publish", "update", "delete"])
@pytest.mark.parametrize("is_carried_out", [True, False])
def test_sigterm_ends_a_run_whose_request_hangs(
    sandbox: RunningSandbox, target: Target, programs: Path, tmp_path: Path, operation: Any, *, is_carried_out: bool
) -> None:
    # Some are started as users start them: nothing is in between to take the signal.
    folder = SCRIPTS if operation == "create" else programs
    mirror = {"streams": {"hours": {"mode": "mirror"}}, "mirror_max_share": 1, "request_timeout": 3600}
    rows = [record(id=number, name=str(number)) for number in (1, 2, 3)]
    if operation in {"update", "delete"}:
        target.ran([schema(), *(record(id=key, name="old") for key in (1, 2, 3, 4)), state(0)], **mirror)
    gone = [record(id=4, name="old", _sdc_deleted_at="2026-11-02")] if operation == "delete" else []
    messages = [schema(), *rows, *gone, state(1)]
    fault = Fault(
        kind="hold", operation=operation, nth=(1 if operation == "delete" else 2,),
        path="*", when="before" if is_carried_out else "after",
    )  # fmt: skip
    sandbox.faults.replace(fault)
    with start(folder, target, tmp_path, subprocess.PIPE, **mirror) as run:
        assert run.stdin is not None
        run.stdin.write(written(*messages))
        run.stdin.close()
        sandbox.faults.wait_until_held()
        run.send_signal(signal.SIGTERM)
        assert run.wait(HANGING) == 128 + signal.SIGTERM  # and not after request_timeout
        assert run.stdout is not None
        # What is gone is in the ledger before the STATE, and deleted after it.
        assert run.stdout.read() == (b"1\n" if operation == "delete" else b"")
        assert run.stderr is not None
        assert b"Traceback" not in run.stderr.read()
    target.ran(messages, **mirror)
    sandbox.faults.clear()
    target.ran([schema(), state(2)], **mirror)
    four = [] if operation in {"create", "publish", "delete"} else [("4", "old", 1)]
    assert [one[:3] for one in told(target)] == [*((str(key), str(key), 1) for key in (1, 2, 3)), *four]
    published = Counter(
        data(post)["id"] for post in sandbox.harkster.posts(target.channel) for _ in range(post.publications)
    )
    assert set(published.values()) == {1}
