"""A tap of the stock SDK, with nothing but what the SDK does of itself: rows from a file of JSON lines.

As a program, of `tests/programs.py`, it takes ``--config`` like any other.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from singer_sdk import Stream, Tap
from singer_sdk import typing as th
from typing_extensions import override


class Hours(Stream):
    """The rows of the file."""

    name = "hours"
    primary_keys = ("id",)
    schema = th.PropertiesList(th.Property("id", th.IntegerType), th.Property("name", th.StringType)).to_dict()

    @override
    def get_records(self, context: Any) -> Iterable[dict[str, Any]]:
        for line in Path(self.config["path"]).read_text().splitlines():
            yield json.loads(line)


class StockTap(Tap):
    """The tap."""

    name = "stock-tap"
    config_jsonschema: ClassVar[dict[str, Any]] = th.PropertiesList(
        th.Property("path", th.StringType, required=True),
        th.Property("emit_activate_version_messages", th.BooleanType),
        th.Property("initialized_at", th.IntegerType, description="When it begins, in milliseconds."),
    ).to_dict()

    @property
    @override
    def initialized_at(self) -> int:
        # The SDK takes its second for the version of the table, and two runs may begin in one.
        return int(self.config.get("initialized_at", super().initialized_at))

    @override
    def discover_streams(self) -> list[Stream]:
        return [Hours(self)]
