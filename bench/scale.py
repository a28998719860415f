"""``python -m bench.scale``: processes that share one limit, against a sandbox that enforces it.

Each asks for one page after the other, as fast as the budget lets it, with the session of tap-hustle. Told is how much
of the limit they used, how often the API refused, and what the least of them had of its fair share: where they count in
the file of this machine, in PostgreSQL, and in a PostgreSQL that is stopped and started on the way.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import sandbox
from demo.postgres import Cluster, embedded_cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LIMIT = 25
SCENARIO = {"hustle": {"organizations": 1, "leads": 100, "requests_per_second": LIMIT, "latency": 0.1}}
SETTINGS = {"max_parallel_requests": 4, "requests_per_second": LIMIT}
WORKER = """
import json, sys, threading, time
from tap_hustle.tap import TapHustle

config = json.loads(sys.argv[1])
session = TapHustle(config=config).session
session.log_in()
session.get("/organizations", {"limit": 1}, bytes)  # as the tap does before all else
print("ready", flush=True)
end = time.monotonic() + float(sys.stdin.readline())
answered = []
session.inspect = lambda answer: answered.append(time.monotonic())

def work():
    while time.monotonic() < end:
        session.get("/organizations", {"limit": 1}, bytes)

threads = [threading.Thread(target=work) for _ in range(config["max_parallel_requests"])]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(sum(moment < end for moment in answered))
"""


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--workers", type=int, default=8, help="processes (default: 8)")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long they work (default: 60)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, embedded_cluster() as cluster:

        def measure(
            name: str, workers: int, *, more: Mapping[str, str], then: Callable[[], None] = lambda: None
        ) -> None:
            own = Path(tempfile.mkdtemp(dir=directory))
            print(f"{name}: {_measured(workers, options.seconds, more, own, then)}", flush=True)

        measure("1 process", 1, more={})
        measure(f"{options.workers} processes, a file", options.workers, more={})
        with ExitStack() as running:
            postgres = running.enter_context(cluster.running())
            url = {"budget_url": postgres.sqlalchemy_url}
            measure(f"{options.workers} processes, PostgreSQL", options.workers, more=url)
        with ExitStack() as running:
            running.enter_context(cluster.running())
            away = options.seconds / 6
            name = f"{options.workers} processes, PostgreSQL away for {away:.0f} s"
            measure(name, options.workers, more=url, then=lambda: _stop_and_start(running, cluster, away))


def _stop_and_start(running: ExitStack, cluster: Cluster, seconds: float) -> None:
    time.sleep(seconds * 2)
    running.close()
    time.sleep(seconds)
    running.enter_context(cluster.running())


def _measured(workers: int, seconds: float, more: Mapping[str, str], own: Path, then: Callable[[], None]) -> str:
    with sandbox.running(SCENARIO, own) as api, ExitStack() as started:
        processes = []
        for number in range(1, workers + 1):
            config: dict[str, Any] = {**SETTINGS, **api.hustle, **more, "shard": f"{number}/{workers}"}
            command = [sys.executable, "-c", WORKER, json.dumps(config)]
            env = {"HOME": str(own), "PATH": os.environ.get("PATH", os.defpath)}
            processes.append(
                started.enter_context(
                    subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
                )
            )
        for process in processes:
            if process.stdout is not None:
                process.stdout.readline()
        for process in processes:
            if process.stdin is not None:
                process.stdin.write(f"{seconds}\n")
                process.stdin.flush()
        disturbance = threading.Thread(target=then)
        disturbance.start()
        counts = [int(process.communicate()[0]) for process in processes]
        disturbance.join()
        total, refused = sum(counts), api.served().refused
    least = min(counts) * workers / total
    return (
        f"{total:,} requests, {total / LIMIT / seconds:.1%} of the limit; {refused} refused;"
        f" the least of a fair share {least:.0%}"
    )


if __name__ == "__main__":
    main()
