"""dlt's ``rest_api`` source all the way into PostgreSQL, in the way that is fastest there.

Usage: dlt_warehouse.py CONFIG DIRECTORY. Files are CSV, which is loaded with COPY. Lists stay columns of JSON, as with
the others: as tables of their own, which is dlt's default, they take longer.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import dlt
from dlt.destinations import postgres
from dlt.sources.rest_api import rest_api_source
from dlt_source import source_of


def main(config: dict[str, str], directory: str) -> None:
    destination = postgres(credentials=config["postgres"])
    pipeline = dlt.pipeline("hustle", destination=destination, dataset_name="hustle", pipelines_dir=directory)
    source = rest_api_source(source_of(config), name="hustle", max_table_nesting=0).with_resources("leads")
    pipeline.run(source, loader_file_format="csv")


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), sys.argv[2])
