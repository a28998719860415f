"""The plain singer-sdk target: a sink that does nothing, so that what is left is the SDK's own work on each row."""

from __future__ import annotations

from typing import Any

from singer_sdk import Sink, Target


class NothingSink(Sink):
    def process_record(self, record: dict[str, Any], context: dict[str, Any]) -> None:
        pass

    def process_batch(self, context: dict[str, Any]) -> None:
        pass


class TargetNothing(Target):
    name = "target-nothing"
    default_sink_class = NothingSink


if __name__ == "__main__":
    TargetNothing.cli()
