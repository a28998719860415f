"""Says what the shards of a DAG run have not read. Knows nothing of Airflow, so it is tested without."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


class Outcome(TypedDict):
    """What the task of a shard hands on.

    Attributes:
        exit_code: Of Meltano; negative if a signal killed it.
        report: What the tap wrote to its `report_path`; None if it wrote nothing.
    """

    exit_code: int
    report: dict[str, Any] | None


def list_shards(count: int) -> list[str]:
    """The shards, as the setting `shard` takes them."""
    return [f"{number}/{count}" for number in range(1, count + 1)]


def find_lost_state(environment: Mapping[str, str]) -> str | None:
    """Say so if STATE would be lost at the end of each task; None if it is kept."""
    if environment.get("MELTANO_DATABASE_URI", "").startswith("postgresql"):
        return None
    return "Set MELTANO_DATABASE_URI to a database in PostgreSQL: else STATE is gone when the task ends."


def outcome(exit_code: int, report: Path) -> Outcome:
    """What came of a run whose tap was to write its report to a path."""
    return {"exit_code": exit_code, "report": json.loads(report.read_text()) if report.exists() else None}


def is_worth_a_retry(outcome: Outcome) -> bool:
    """Whether another try may read more: not if all was read but what is forbidden."""
    report = outcome["report"]
    if report is None or report["run"]["exit"]["reason"] != "incomplete":
        return True
    return any(
        part["ended"] in {"failed", "cut off"} for stream in report["streams"].values() for part in stream["partitions"]
    )


def find_faults(outcomes: Mapping[str, Outcome | None]) -> Iterator[str]:
    """Say what the shards have not read; nothing if they read everything.

    Args:
        outcomes: What the task of each shard handed on; None if it did not come to that.
    """
    for shard, ended in outcomes.items():
        report = ended["report"] if ended else None
        if ended is None or report is None:
            yield f"Shard {shard} left no report: its task was killed, or failed before it read. See the task's log."
            continue
        run = report["run"]
        reason, detail = run["exit"]["reason"], run["exit"]["detail"]
        yield from (f"Shard {shard}: {one['what']}: {one['why']}" for one in run["failures"])
        if reason == "running":
            yield f"Shard {shard} was killed while it read."
        elif run["failures"]:
            continue
        elif reason != "complete":
            yield f"Shard {shard} did not read everything ({reason}): {detail}"
        elif ended["exit_code"]:
            yield f"Shard {shard} was read, but Meltano ended with exit code {ended['exit_code']}. See the task's log."
