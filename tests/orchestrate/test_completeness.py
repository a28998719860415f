"""What the last task says of the shards."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from singer_http.report.document import Document, Failure, PartitionReport, StreamReport

from orchestrate.dags.completeness import Outcome, find_faults, find_lost_state, is_worth_a_retry, list_shards, outcome
from tests.run_reports import run_report

if TYPE_CHECKING:
    from pathlib import Path

FORBIDDEN = Failure("leads of organization 7", "HTTP 403: forbidden.")


def report(reason: str, *failures: Failure, ends: tuple[str, ...] = ("complete",), detail: str | None = None) -> Any:
    """A report as a tap writes it: how the run ended, what it could not read, and how the partitions of leads ended."""
    parts = [
        PartitionReport(
            partition={"organizationId": number},
            rows=1,
            pages=1,
            requests=1,
            throttled=0,
            ended=ended,  # type: ignore[arg-type]
            resumed=False,
            remark=None,
            keys=None,
            bookmark_before={},
            bookmark_after={},
            warnings=[],
            seconds=1.0,
        )
        for number, ended in enumerate(ends)
    ]
    leads = StreamReport(
        sources=["leads"],
        key=["id"],
        rows=len(parts),
        deleted=0,
        keys=None,
        first=None,
        last=None,
        ended="complete",
        whole=False,
        remark=None,
        activated=False,
        warnings=[],
        seconds=1.0,
        partitions=parts,
    )
    run = run_report(reason, detail, rows=len(parts), requests=1, failures=failures)
    return msgspec.to_builtins(Document(run, {"leads": leads}))


def of_shard(exit_code: int, content: Any) -> dict[str, Outcome | None]:
    """What the tasks handed on: one as said, and another that read everything."""
    return {"1/2": {"exit_code": 0, "report": report("complete")}, "2/2": {"exit_code": exit_code, "report": content}}


def test_shards_are_listed_as_the_setting_takes_them() -> None:
    assert list_shards(3) == ["1/3", "2/3", "3/3"]


@pytest.mark.parametrize(
    ("url", "is_kept"),
    [(None, False), ("sqlite:///meltano.db", False), ("postgresql+psycopg://meltano@host/meltano", True)],
)
def test_a_database_that_is_gone_with_the_task_is_refused(url: str | None, is_kept: bool) -> None:  # noqa: FBT001
    fault = find_lost_state({"MELTANO_DATABASE_URI": url} if url else {})
    assert (fault is None) is is_kept
    assert is_kept or "Set MELTANO_DATABASE_URI" in str(fault)


def test_nothing_is_said_of_shards_that_read_everything() -> None:
    assert list(find_faults(of_shard(0, report("complete", ends=("complete", "complete"))))) == []
    # The user has said of these that they may be left out.
    assert list(find_faults(of_shard(0, report("complete", ends=("complete", "forbidden"))))) == []


@pytest.mark.parametrize(
    ("ended", "said"),
    [
        ({"1/2": of_shard(0, None)["1/2"], "2/2": None}, "Shard 2/2 left no report: "),
        (of_shard(1, None), "Shard 2/2 left no report: "),
        (of_shard(-9, report("running")), "Shard 2/2 was killed while it read."),
        (of_shard(0, report("running")), "Shard 2/2 was killed while it read."),
        (
            of_shard(1, report("incomplete", FORBIDDEN, detail="1 part was not read.")),
            "Shard 2/2: leads of organization 7: HTTP 403: forbidden.",
        ),
        (
            of_shard(0, report("early", detail="Not read to the end: leads.")),
            "Shard 2/2 did not read everything (early): Not read to the end: leads.",
        ),
        (
            of_shard(143, report("stopped", detail="exit code 143")),
            "Shard 2/2 did not read everything (stopped): exit code 143",
        ),
        (of_shard(1, report("complete")), "Shard 2/2 was read, but Meltano ended with exit code 1."),
    ],
)
def test_what_a_shard_lacks_is_said(ended: dict[str, Outcome | None], said: str) -> None:
    (fault,) = find_faults(ended)
    assert fault.startswith(said)


def test_a_shard_that_was_killed_is_said_to_be_so_beside_what_it_could_not_read() -> None:
    killed, forbidden = sorted(find_faults(of_shard(-9, report("running", FORBIDDEN))), key=len)
    assert killed == "Shard 2/2 was killed while it read."
    assert forbidden == "Shard 2/2: leads of organization 7: HTTP 403: forbidden."


def test_everything_that_could_not_be_read_is_named() -> None:
    failures = [Failure(f"leads of organization {number}", "HTTP 403: forbidden.") for number in (7, 8)]
    assert [fault.split(": ")[1] for fault in find_faults(of_shard(1, report("incomplete", *failures)))] == [
        "leads of organization 7",
        "leads of organization 8",
    ]


@pytest.mark.parametrize(
    ("content", "is_tried_again"),
    [
        (None, True),
        (report("running"), True),
        (report("failed"), True),
        (report("complete"), True),  # the loader failed
        (report("incomplete", FORBIDDEN, ends=("complete", "forbidden")), False),
        (report("incomplete", FORBIDDEN, ends=("failed", "forbidden")), True),
        (report("incomplete", FORBIDDEN, ends=("forbidden", "cut off")), True),
    ],
)
def test_what_is_forbidden_is_not_tried_again(content: Any, is_tried_again: bool) -> None:  # noqa: FBT001
    assert is_worth_a_retry({"exit_code": 1, "report": content}) is is_tried_again


def test_a_report_is_handed_on_if_there_is_one(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    assert outcome(-9, path) == {"exit_code": -9, "report": None}
    path.write_text(json.dumps(report("complete")))
    assert outcome(0, path) == {"exit_code": 0, "report": report("complete")}
