"""The programs that are measured: how each is started, and what its output looks like."""

from __future__ import annotations

import json
import subprocess
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.runs import OURS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HERE = Path(__file__).parent
PEERS_PYTHON = HERE / ".venv" / "bin" / "python"
SCRIPTS = Path(sysconfig.get_path("scripts"))
NO_LIMIT = 1_000_000
"""Requests a second that nobody reaches."""


@dataclass(frozen=True)
class Task:
    """What a program is to read, and where it may keep files.

    Attributes:
        hustle: Where the API is, and the credentials.
        is_limited: Whether the API has its limit.
        directory: Empty at first.
        env: The program's environment.
    """

    hustle: Mapping[str, str]
    is_limited: bool
    directory: Path
    env: Mapping[str, str]

    def store(self, name: str, content: object) -> Path:
        """Write a file of JSON."""
        path = self.directory / name
        path.write_text(json.dumps(content), encoding="utf-8")
        return path


@dataclass(frozen=True)
class Program:
    """A program that reads the leads of all organizations.

    Attributes:
        name: For the table.
        form: What its output is for :mod:`bench.outputs`.
        command: Prepares it and says how it is started.
        output: Where its output is, as a path below its directory.
    """

    name: str
    form: str
    command: Callable[[Task], list[str]]
    output: str = "output.jsonl"


def _ours(task: Task) -> list[str]:
    limit = {} if task.is_limited else {"requests_per_second": NO_LIMIT}
    config = task.store("config.json", {**task.hustle, **limit})
    return singer([str(SCRIPTS / "tap-hustle")], config, task)


def _sdk(task: Task) -> list[str]:
    return singer(peer("sdk_tap.py"), task.store("config.json", task.hustle), task)


def _dlt(task: Task) -> list[str]:
    return [*peer("dlt_source.py"), str(task.store("config.json", task.hustle)), str(task.directory / "dlt")]


def _airbyte(task: Task) -> list[str]:
    config = task.store("config.json", {**task.hustle, "is_limited": task.is_limited})
    stream = {"name": "leads", "json_schema": {}, "supported_sync_modes": ["full_refresh"]}
    selected = {"stream": stream, "sync_mode": "full_refresh", "destination_sync_mode": "overwrite"}
    catalog = task.store("catalog.json", {"streams": [selected]})
    return [*peer("airbyte_source.py"), "read", "--config", str(config), "--catalog", str(catalog)]


def peer(script: str) -> list[str]:
    """The command of a script among the peers."""
    return [str(PEERS_PYTHON), str(HERE / "peers" / script)]


def singer(tap: list[str], config: Path, task: Task) -> list[str]:
    """The command of a Singer tap that is to read leads and nothing else."""
    tap = [*tap, "--config", str(config)]
    discovered = subprocess.run([*tap, "--discover"], check=True, capture_output=True, env=task.env).stdout
    catalog = json.loads(discovered)
    for stream in catalog["streams"]:
        for entry in stream["metadata"]:
            if not entry["breadcrumb"]:
                entry["metadata"]["selected"] = stream["tap_stream_id"] == "leads"
    return [*tap, "--catalog", str(task.store("catalog.json", catalog))]


PROGRAMS = {
    OURS: Program("tap-hustle", "singer", _ours),
    "sdk": Program("plain singer-sdk tap", "singer", _sdk),
    "dlt": Program("dlt rest_api, extract", "dlt", _dlt, output="dlt"),
    "airbyte": Program("airbyte-cdk low-code", "airbyte", _airbyte),
}
