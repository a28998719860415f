"""Runs the low-code manifest as its documentation tells: read, with the messages on stdout.

Usage: airbyte_source.py read --config CONFIG --catalog CATALOG
"""

from __future__ import annotations

import sys
from pathlib import Path

import yaml
from airbyte_cdk.entrypoint import AirbyteEntrypoint, launch
from airbyte_cdk.sources.declarative.concurrent_declarative_source import ConcurrentDeclarativeSource

MANIFEST = Path(__file__).with_name("airbyte_manifest.yaml")


def main(args: list[str]) -> None:
    parsed = AirbyteEntrypoint.parse_args(args)
    config = ConcurrentDeclarativeSource.read_config(parsed.config)
    manifest = yaml.safe_load(MANIFEST.read_text(encoding="utf-8"))
    if not config["is_limited"]:
        del manifest["api_budget"]
    source = ConcurrentDeclarativeSource(
        catalog=ConcurrentDeclarativeSource.read_catalog(parsed.catalog),
        config=config,
        state=[],
        source_config=manifest,
    )
    launch(source, args)


if __name__ == "__main__":
    main(sys.argv[1:])
