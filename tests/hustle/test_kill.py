"""A run that is cut off, wherever that is, and gone on with: nothing is lost, and next to nothing read twice."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from api_sandbox import Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from api_sandbox import RunningSandbox

    from tests.hustle.conftest import Run, Started

    Settings = Callable[..., dict[str, Any]]
    Serve = Callable[..., RunningSandbox]
    Tap = Callable[..., Run]
    StartTap = Callable[..., Started]

POSITIONS = 25
"""Places in each recorded run at which it is cut off."""
KILLS = 3
"""Runs of each shape that are really killed, one after the other."""
PAGE = 7

FEW = {"groups": 4, "agents": 8, "tags": 8, "custom_fields": 8}
SHAPES: dict[str, dict[str, Any]] = {
    "one organization": {"organizations": 1, "leads": 140, **FEW},
    "uneven organizations": {"organizations": 6, "leads": 105, "lead_shares": "halving", "cursors": "drifting", **FEW},
    "many small ones": {"organizations": 12, "leads": 48, "groups": 1, "tags": 1, "custom_fields": 1, "agents": 1},
    "opaque and short": {
        "organizations": 3,
        "empty_organizations": 1,
        "leads": 77,
        "cursors": "opaque",
        "short_pages": 0.3,
        **FEW,
    },
}


def parts(run: Run) -> dict[tuple[str, str | None], Counter[str]]:
    """The ids that were delivered, by stream and partition, with how often."""
    found: dict[tuple[str, str | None], Counter[str]] = {}
    for message in run.of_type("RECORD"):
        partitioned = message["stream"] in {"leads", "groups", "integrations"}
        owner = message["record"]["organizationId"] if partitioned else None
        found.setdefault((message["stream"], owner), Counter())[message["record"]["id"]] += 1
    return found


def assert_goes_on(first: Run, second: Run, sandbox: RunningSandbox) -> None:
    """Both runs together delivered everything; what was unfinished between them is read again by a page at most."""
    assert second.code == 0, second.stderr
    for stream, ids in sandbox.truth.ids.items():
        assert {*first.ids(stream), *second.ids(stream)} == set(ids), stream
        assert len(second.ids(stream)) == len(set(second.ids(stream))), stream
    before, after = parts(first), parts(second)
    bookmarks = first.states[-1]["bookmarks"]
    unfinished = {stream for stream, bookmark in bookmarks.items() if "resume" in bookmark}
    for (stream, owner), delivered in after.items():
        if stream in unfinished:
            again = delivered.keys() & before.get((stream, owner), Counter()).keys()
            assert len(again) <= PAGE, (stream, owner)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_run_goes_on_after_any_state(
    tap: Tap, serve: Serve, settings: Settings, assert_clean: Callable[[Any], None], shape: str
) -> None:
    sandbox = serve(**SHAPES[shape])
    config = settings(sandbox, page_size=PAGE)
    whole = tap(config=config)
    assert whole.code == 0
    lines = whole.stdout.splitlines(keepends=True)
    after_states = [place + 1 for place, message in enumerate(whole.messages) if message["type"] == "STATE"]
    assert len(after_states) > 3
    chance = random.Random(shape)  # noqa: S311 - the same places in every run
    again: dict[int, Run] = {}
    resumed_in_the_middle = 0
    for _ in range(POSITIONS):
        number = chance.randrange(len(after_states) - 1)
        if number not in again:
            until_state = replace(whole, stdout=b"".join(lines[: after_states[number]]))
            again[number] = tap(config=config, state=until_state.states[-1])
            resumed_in_the_middle += "cursor" in json.dumps(until_state.states[-1])
            assert_goes_on(until_state, again[number], sandbox)
            assert_clean(again[number].states[-1])
        # The target had received some more when the tap died, for which there was no STATE yet.
        end = chance.randint(after_states[number], after_states[number + 1] - 1)
        cut = replace(whole, stdout=b"".join(lines[:end]))
        for stream, ids in sandbox.truth.ids.items():
            assert {*cut.ids(stream), *again[number].ids(stream)} == set(ids)
    assert resumed_in_the_middle > 0 or shape == "many small ones"  # of which none has three pages


@pytest.mark.parametrize("shape", SHAPES)
def test_a_killed_run_goes_on(start_tap: StartTap, tap: Tap, serve: Serve, settings: Settings, shape: str) -> None:
    # The last list is held: no run comes to its end by itself.
    sandbox = serve(Fault(kind="hold", path="/webhook_registrations"), **SHAPES[shape])
    config = settings(sandbox, page_size=PAGE)
    chance = random.Random(shape)  # noqa: S311 - the same places in every run
    latest = sum(map(len, sandbox.truth.ids.values())) // (2 * KILLS)
    state: Any = None
    runs: list[Run] = []
    for _ in range(KILLS):
        started = start_tap(config=config, state=state, piped=True)
        runs.append(started.killed_after(lines=chance.randint(1, latest)))
        state = runs[-1].states[-1]
    sandbox.faults.clear()
    last = tap(config=config, state=state)
    assert last.code == 0
    for stream, ids in sandbox.truth.ids.items():
        assert {own_id for run in (*runs, last) for own_id in run.ids(stream)} == set(ids), stream


def test_sigterm_ends_with_a_state_to_go_on_from(
    start_tap: StartTap, tap: Tap, serve: Serve, settings: Settings
) -> None:
    sandbox = serve(leads=400, organizations=2)
    config = settings(sandbox, page_size=PAGE, max_parallel_requests=2)
    first, second = sandbox.truth.by_organization["leads"].values()
    for number in (signal.SIGTERM, signal.SIGINT):
        sandbox.faults.replace(Fault(kind="hold", path="/leads", organization=1, page=10))
        before = [*first[: 10 * PAGE], *second[: 9 * PAGE]]  # they are read in turns
        started = start_tap(config=config, piped=True)
        started.read(until=first[10 * PAGE - 1])
        started.kill(number)
        stopped = started.wait()
        sandbox.faults.clear()
        assert stopped.code == 128 + number
        assert "Traceback" not in stopped.stderr
        assert stopped.messages[-1]["type"] == "STATE"
        assert sorted(stopped.ids("leads")) == sorted(before)
        resumed = tap(config=config, state=stopped.states[-1])
        assert_goes_on(stopped, resumed, sandbox)


def test_sigterm_while_waiting_for_the_api(start_tap: StartTap, serve: Serve, settings: Settings) -> None:
    sandbox = serve(Fault(kind="status", status=429, path="/leads", retry_after=3600))
    started = start_tap(config=settings(sandbox))
    started.wait_until_said("trying again in 36")
    started.kill(signal.SIGTERM)
    stopped = started.wait()
    assert stopped.code == 128 + signal.SIGTERM
    assert stopped.messages[-1]["type"] == "STATE"
    assert "Traceback" not in stopped.stderr


@pytest.fixture
def silent_server(raw_server: Callable[..., Any], answer: Callable[..., bytes]) -> Iterator[Any]:
    """A server that gives tokens and organizations, and then never answers again."""
    released = threading.Event()

    def by(request: Any, _ordinal: int) -> Any:
        if request.method == "POST":
            return answer(200, '{"access_token":"t","expires_in":7200}')
        if request.target.startswith("/organizations"):
            return answer(200, '{"items":[{"id":"o"}],"cursor":null,"hasMore":false}')
        return lambda *_: released.wait()

    yield raw_server(by=by)
    released.set()


def test_sigterm_does_not_wait_for_a_server_that_never_answers(start_tap: StartTap, silent_server: Any) -> None:
    started = start_tap(
        config={"client_id": "a", "client_secret": "b", "api_url": silent_server.url, "request_timeout": 3600}
    )
    silent_server.wait_for(requests=4)
    started.kill(signal.SIGTERM)
    stopped = started.wait()
    assert stopped.code == 128 + signal.SIGTERM
    assert "Traceback" not in stopped.stderr
    assert stopped.messages[-1]["type"] == "STATE"


def test_sigterm_ends_a_hanging_login(start_tap: StartTap, raw_server: Callable[..., Any]) -> None:
    released = threading.Event()
    server = raw_server(by=lambda _request, _ordinal: lambda *_: released.wait())
    config = {"client_id": "a", "client_secret": "b", "api_url": server.url, "request_timeout": 3600}
    started = start_tap(config=config)
    server.wait_for(requests=1)
    started.kill(signal.SIGTERM)
    stopped = started.wait()
    released.set()
    assert stopped.code == 128 + signal.SIGTERM
    assert "Traceback" not in stopped.stderr
    assert len(server.requests) == 1


def test_a_second_signal_ends_it_at_once(start_tap: StartTap, serve: Serve, settings: Settings) -> None:
    sandbox = serve(organizations=100, leads=100)
    started = start_tap(config=settings(sandbox), piped=True)
    started.read(until=sandbox.truth.ids["leads"][0])
    # Nobody reads any further: the last STATE of a run that ends in good order has no room in the pipe.
    started.kill(signal.SIGTERM)
    started.wait_until_said("Stopping. The reader of stdout takes nothing")
    started.kill(signal.SIGTERM)
    assert started.exit_code() == 128 + signal.SIGTERM
    assert "Traceback" not in started.err.read_text()


def test_a_reader_that_goes_away_is_said_in_a_sentence(serve: Serve, settings: Settings, tmp_path: Path) -> None:
    sandbox = serve(leads=3000)
    config = tmp_path / "config.json"
    config.write_text(json.dumps(settings(sandbox, page_size=100)))
    with subprocess.Popen(
        [sys.executable, "-m", "tap_hustle", "--config", str(config)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert len(process.stdout.read(10)) == 10
        process.stdout.close()
        said = process.stderr.read().decode()
        code = process.wait()
    assert code > 0
    assert "Traceback" not in said
    assert "Exception ignored" not in said
    (error,) = [line for line in said.splitlines() if "| ERROR" in line]
    assert "reader of the messages went away" in error


# Resume points that are not taken


@pytest.fixture
def cut_off(tap: Tap, serve: Serve, settings: Settings) -> tuple[RunningSandbox, dict[str, Any]]:
    """A sandbox, and the state of a run that was cut off in the middle of the leads of its second organization."""
    sandbox = serve(Fault(kind="status", status=400, path="/leads", organization=1, page=3), leads=90)
    state = tap(config=settings(sandbox, page_size=PAGE)).states[-1]
    sandbox.faults.clear()
    assert "resume" in state["bookmarks"]["leads"]
    return sandbox, state


def test_a_resume_point_is_taken(tap: Tap, settings: Settings, cut_off: tuple[RunningSandbox, dict[str, Any]]) -> None:
    sandbox, state = cut_off
    run = tap(config=settings(sandbox, page_size=PAGE), state=state)
    assert run.code == 0
    # Two pages were written, the last of which comes again: it may have changed since.
    assert len(run.ids("leads")) == 90 - PAGE
    assert run.said("WARNING") == []


@pytest.mark.parametrize(
    ("change", "reason"), [({"resume_max_age": 0}, "resume_max_age"), ({"page_size": PAGE + 1}, "settings")]
)
def test_a_resume_point_that_does_not_fit_is_dropped_with_a_warning(
    *,
    tap: Tap,
    settings: Settings,
    cut_off: tuple[RunningSandbox, dict[str, Any]],
    assert_complete: Callable[..., None],
    assert_clean: Callable[[Any], None],
    change: dict[str, Any],
    reason: str,
) -> None:
    sandbox, state = cut_off
    run = tap(config=settings(sandbox, **{"page_size": PAGE, **change}), state=state)
    assert run.code == 0
    assert_complete(run, sandbox)
    (warning,) = run.said("WARNING")
    assert "leads" in warning
    assert reason in warning
    assert_clean(run.states[-1])


@pytest.mark.parametrize(("age", "resumes"), [(3500, True), (3700, False)])
def test_the_age_of_a_resume_point_counts_from_the_beginning_of_the_read(
    tap: Tap, settings: Settings, cut_off: tuple[RunningSandbox, dict[str, Any]], age: int, *, resumes: bool
) -> None:
    sandbox, state = cut_off
    state["bookmarks"]["leads"]["resume"]["version"] = (int(time.time()) - age) * 1000
    run = tap(config=settings(sandbox, page_size=PAGE, resume_max_age=3600), state=state)
    assert run.code == 0
    assert len(run.ids("leads")) == (90 - PAGE if resumes else 90)
    assert len(run.said("WARNING")) == (0 if resumes else 1)


def test_a_cursor_that_is_refused_makes_its_partition_begin_anew(
    tap: Tap,
    settings: Settings,
    cut_off: tuple[RunningSandbox, dict[str, Any]],
    assert_complete: Callable[..., None],
    assert_clean: Callable[[Any], None],
) -> None:
    sandbox, state = cut_off
    (unfinished,) = [one for one in state["bookmarks"]["leads"]["partitions"] if "resume" in one]
    unfinished["resume"]["cursor"] = "no-longer-good"
    run = tap(config=settings(sandbox, page_size=PAGE), state=state)
    assert run.code == 0
    assert_complete(run, sandbox)
    (warning,) = run.said("WARNING")
    assert unfinished["context"]["organizationId"] in warning
    assert "leads" in warning
    assert_clean(run.states[-1])


def test_a_resume_point_of_a_version_to_come_is_not_kept_for_ever(
    tap: Tap, settings: Settings, cut_off: tuple[RunningSandbox, dict[str, Any]]
) -> None:
    # From a machine whose clock was wrong.
    sandbox, state = cut_off
    state["bookmarks"]["leads"]["resume"]["version"] = (int(time.time()) + 10 * 365 * 86400) * 1000
    run = tap(config=settings(sandbox, page_size=PAGE), state=state)
    assert run.code == 0
    assert len(run.ids("leads")) == 90
