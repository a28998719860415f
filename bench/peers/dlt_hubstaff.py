"""dlt's ``rest_api`` source for Hubstaff, extract step alone: what its documentation leads to for this API.

The source asks for one range of time at once, and Hubstaff takes none longer than its span. So a resource of fixed
windows, as long as the span, is the parent of each list: dependent resources are in the documentation.

Usage: dlt_hubstaff.py CONFIG DIRECTORY. What it extracted is then below DIRECTORY.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dlt
from dlt.sources.rest_api import RESTAPIConfig, rest_api_source

if TYPE_CHECKING:
    from collections.abc import Iterator


def windows(begin: str, end: str, days: int, *, by_day: bool) -> Iterator[dict[str, str]]:
    start, stop = dt.datetime.fromisoformat(begin), dt.datetime.fromisoformat(end)
    step = dt.timedelta(days=days)
    while start < stop:
        until = min(start + step, stop)
        if by_day:  # the last day is part of the window
            yield {"start": start.date().isoformat(), "stop": (until - dt.timedelta(days=1)).date().isoformat()}
        else:
            yield {"start": f"{start:%Y-%m-%dT%H:%M:%SZ}", "stop": f"{until:%Y-%m-%dT%H:%M:%SZ}"}
        start = until


def main(config: dict[str, Any], directory: str) -> None:
    organization = config["organization"]
    resources: list[Any] = []
    for name, params in config["lists"].items():
        path = f"organizations/{organization}/{name}"
        resources.append({"name": name, "endpoint": {"path": path, "params": params, "data_selector": name}})
    for name, of in config["windowed"].items():
        parent = f"windows_of_{name}"
        found = windows(of["begin"], config["end"], of["days"], by_day=of["by_day"])
        resources += [
            dlt.resource([list(found)], name=parent, selected=False),  # as one page of them
            {
                "name": name,
                "endpoint": {
                    "path": f"organizations/{organization}/{of['path']}",
                    "params": {
                        f"{of['filter']}[start]": f"{{resources.{parent}.start}}",
                        f"{of['filter']}[stop]": f"{{resources.{parent}.stop}}",
                    },
                    "data_selector": name,
                },
            },
        ]
    source: RESTAPIConfig = {
        "client": {
            "base_url": config["api_url"],
            "headers": {"User-Agent": "dlt-bench"},
            "auth": {"type": "bearer", "token": config["access_token"]},
            "paginator": {
                "type": "cursor",
                "cursor_path": "pagination.next_page_start_id",
                "cursor_param": "page_start_id",
            },
        },
        "resource_defaults": {
            "primary_key": "id",
            "write_disposition": "replace",
            "endpoint": {"params": {"page_limit": config["page_limit"]}},
        },
        "resources": resources,
    }
    pipeline = dlt.pipeline("hubstaff", destination="filesystem", pipelines_dir=directory)
    pipeline.extract(rest_api_source(source, name="hubstaff"))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), sys.argv[2])
