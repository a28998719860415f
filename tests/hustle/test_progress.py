"""What a run says every minute of how far it has come."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from api_sandbox import Fault
from msgspec import Raw
from singer_http.reading.pages import Page, Slice
from singer_http.report.progress import progress_of
from singer_http.report.tally import Tally
from singer_http.resume import Bookmarks

from tests.reports import key_report

if TYPE_CHECKING:
    from collections.abc import Callable

    from api_sandbox import RunningSandbox
    from singer_http.report.document import Progress

    from tests.conftest import FakeClock
    from tests.tap_processes import Starter

    Settings = Callable[..., dict[str, Any]]
    Serve = Callable[..., RunningSandbox]

OPERATIONS = Path(__file__).parents[2] / "docs/operations.md"


def test_a_run_of_more_than_a_minute_says_how_far_it_is(
    start_tap: Starter, serve: Serve, settings: Settings, tmp_path: Path
) -> None:
    held = Fault(kind="hold", path="/webhook_registrations")
    sandbox = serve(held, organizations=4, leads=500, lead_shares="halving")
    (_, _, after) = OPERATIONS.read_text().partition("`SINGER_SDK_LOG_CONFIG`")
    (tmp_path / "logging.yml").write_text(after.split("```")[1].removeprefix("yaml"))
    report = tmp_path / "report.json"
    config = settings(sandbox, requests_per_second=1, max_parallel_requests=1, report_path=str(report))
    started = start_tap(config=config, leaps=True, env={"SINGER_SDK_LOG_CONFIG": str(tmp_path / "logging.yml")})
    sandbox.faults.wait_until_held()
    told_so_far = json.loads(report.read_text())
    running = told_so_far["run"]
    sandbox.faults.clear()
    run = started.wait()
    assert run.code == 0, run.stderr
    lines = [json.loads(line) for line in run.stderr.splitlines()]
    *_, line = [line for line in lines if "progress" in line["extra"]]
    told = line["extra"]["progress"]
    done, sent, left = told["partitions_done"], told["requests"], told["requests_left"]
    assert line["message"] == (
        f"Progress: leads, {done} of 4 partitions; {sent} requests sent, {left} left now; its end is not known."
    )
    stream = {"stream": "leads", "partitions_done": done, "partitions": 4}
    assert told == {**stream, "requests": sent, "requests_left": left, "seconds_left": None}
    assert left in {0, 1}
    assert sent < sandbox.report().requests
    assert running["exit"]["reason"] == "running"
    assert running["progress"] == told
    ended = json.loads(report.read_text())
    assert ended["run"]["progress"] is None
    before, after = told_so_far["streams"], ended["streams"]
    assert [before["agents"][name] for name in ("ended", "rows", "keys")] == ["complete", 16, after["agents"]["keys"]]
    assert 0 < before["leads"]["rows"] < after["leads"]["rows"]
    assert before["leads"]["keys"] == key_report((one,) for one in run.ids("leads")[: before["leads"]["rows"]])
    assert not before["leads"]["whole"]
    assert (before["webhook_registrations"]["ended"], before["webhook_registrations"]["rows"]) == ("not read", 0)
    assert running["rows"] == sum(stream["rows"] for stream in before.values())


ORGANIZATIONS = [{"organization_id": number} for number in range(10)]


def progress(clock: FakeClock, *, left: int, per_second: float, done: int = 2, **more: Any) -> Progress:
    """How far a stream is whose first organizations are done, each in ten seconds and six requests."""
    state = {"partitions": [{"context": ORGANIZATIONS[-1], "resume": {"done": True}}]}
    tally = Tally("projects", [], Bookmarks(state), clock.monotonic, None)
    tally.begin()
    requests: Counter[str] = Counter()
    for organization in ORGANIZATIONS[: done + 1]:
        own = Slice("projects", organization, "", {}, "", None, lambda _: pytest.fail("is not read"))
        ends = organization is not ORGANIZATIONS[done]
        tally.page(own, Page(Raw(b"[]"), next=None if ends else "2"))
        requests[own.label] += 6
        clock.advance(10 * ends)
    budget = SimpleNamespace(left=left, per_second=per_second)
    session: Any = SimpleNamespace(budget=budget, requests=requests)
    return progress_of(tally, ORGANIZATIONS, session, clock.monotonic(), **{"is_in_turn": True, **more})


def test_the_end_is_told_by_what_partitions_took_so_far(clock: FakeClock) -> None:
    told = progress(clock, left=1000, per_second=1.0)
    # Two now, and one that an earlier run has read; seven are to do.
    assert (told.partitions_done, told.partitions, told.requests, told.seconds_left) == (3, 10, 18, 70)


def test_the_end_is_told_by_the_limit_where_that_takes_longer(clock: FakeClock) -> None:
    assert progress(clock, left=2, per_second=0.1).seconds_left == 400  # (7 x 6 - 2) / 0.1


def test_no_end_is_told_that_is_not_known(clock: FakeClock) -> None:
    assert progress(clock, left=2, per_second=0.1, done=0).seconds_left is None
    assert progress(clock, left=2, per_second=0.1, is_in_turn=False).seconds_left is None
