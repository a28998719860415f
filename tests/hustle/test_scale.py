"""The processes of which `make scale` measures how they share a limit."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from api_sandbox import HustleScenario, Scenario, serve_in_thread

from bench.scale import SETTINGS, WORKER

if TYPE_CHECKING:
    from pathlib import Path


def test_a_process_asks_as_the_tap_does(tmp_path: Path) -> None:
    with serve_in_thread(Scenario(hustle=HustleScenario(organizations=1, leads=1))) as sandbox:
        hustle = sandbox.hustle
        config = {
            **SETTINGS,
            "shard": "1/2",
            "client_id": hustle.client_id,
            "client_secret": hustle.client_secret,
            "api_url": hustle.api_url,
            "auth_url": hustle.auth_url,
        }
        command = [sys.executable, "-c", WORKER, json.dumps(config)]
        written = subprocess.check_output(command, input=b"0\n", env={"HOME": str(tmp_path)})
        report = sandbox.report()
    assert written.split() == [b"ready", b"0"]  # answers in no time at all
    assert (report.token_requests, report.requests) == (1, 2)
