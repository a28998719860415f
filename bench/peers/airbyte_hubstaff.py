"""Runs the low-code manifest for Hubstaff as its documentation tells: read, with the messages on stdout.

Usage: airbyte_hubstaff.py read --config CONFIG --catalog CATALOG
"""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from airbyte_cdk.entrypoint import AirbyteEntrypoint, launch
from airbyte_cdk.sources.declarative.concurrent_declarative_source import ConcurrentDeclarativeSource

if TYPE_CHECKING:
    from collections.abc import Mapping

MANIFEST = Path(__file__).with_name("airbyte_hubstaff.yaml")
TIMES = {"datetime_format": "%Y-%m-%dT%H:%M:%SZ", "cursor_granularity": "PT1S"}
DAYS = {"datetime_format": "%Y-%m-%d", "cursor_granularity": "P1D"}


def manifest_of(config: Mapping[str, Any]) -> dict[str, Any]:
    manifest: dict[str, Any] = yaml.safe_load(MANIFEST.read_text(encoding="utf-8"))
    kinds = manifest["definitions"]
    for name, params in config["lists"].items():
        parameters = {"name": name, "path": name, **params}
        manifest["streams"].append({**copy.deepcopy(kinds["list"]), "name": name, "$parameters": parameters})
    for name, of in config["windowed"].items():
        stream = {**copy.deepcopy(kinds["windowed"]), "name": name, "$parameters": {**of, "name": name}}
        stream["incremental_sync"] |= DAYS if of["by_day"] else TIMES
        for end, key in (("start_datetime", "begin"), ("end_datetime", "end")):
            moment = of["begin"] if key == "begin" else config["end"]
            stream["incremental_sync"][end] |= {"datetime": moment, "datetime_format": "%Y-%m-%dT%H:%M:%S"}
        stream["incremental_sync"]["cursor_field"] = of["field"]
        manifest["streams"].append(stream)
    return manifest


def main(args: list[str]) -> None:
    parsed = AirbyteEntrypoint.parse_args(args)
    config = ConcurrentDeclarativeSource.read_config(parsed.config)
    source = ConcurrentDeclarativeSource(
        catalog=ConcurrentDeclarativeSource.read_catalog(parsed.catalog),
        config=config,
        state=[],
        source_config=manifest_of(config),
    )
    launch(source, args)


if __name__ == "__main__":
    main(sys.argv[1:])
