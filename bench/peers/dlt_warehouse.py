"""dlt's ``rest_api`` source all the way into PostgreSQL, in the format that is fastest there: CSV, loaded with COPY.

Usage: dlt_warehouse.py CONFIG DIRECTORY. Lists become tables of their own, which is dlt's default, unless the
configuration has a ``max_table_nesting`` of 0: then they are columns of JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import dlt
from dlt.destinations import postgres
from dlt.sources.rest_api import rest_api_source
from dlt_source import source_of


def main(config: dict[str, Any], directory: str) -> None:
    destination = postgres(credentials=config["postgres"])
    pipeline = dlt.pipeline("hustle", destination=destination, dataset_name="hustle", pipelines_dir=directory)
    source = rest_api_source(source_of(config), name="hustle", max_table_nesting=config["max_table_nesting"])
    pipeline.run(source.with_resources("leads"), loader_file_format="csv")


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), sys.argv[2])
