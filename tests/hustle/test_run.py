"""A sound run, whole: what the SDK's standard tests leave unchecked."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from api_sandbox import Fault
from singer_http.http.budget import MARGIN
from singer_http.http.clock import Stopped
from singer_http.http.errors import ApiError
from tap_hustle.client import open_session
from tap_hustle.tap import TapHustle

from tests.conftest import HANGING
from tests.leaping import LeapingClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from api_sandbox import RunningSandbox

    from tests.hustle.conftest import Run, Timed

    Settings = Callable[..., dict[str, Any]]
    Serve = Callable[..., RunningSandbox]
    Tap = Callable[..., Run]
    Read = Callable[..., Timed]

PARTITIONED = ("groups", "integrations", "leads")
WHOLE = ("agents", "custom_fields", "organizations", "tags", "webhook_registrations")


def test_everything_comes_once(sound: Run, standing: RunningSandbox, assert_complete: Callable[..., None]) -> None:
    assert sound.code == 0
    assert_complete(sound, standing)
    assert sound.said("ERROR") == sound.said("WARNING") == []


def test_records_hold_what_the_api_said(sound: Run, standing: RunningSandbox) -> None:
    for stream in (*PARTITIONED, *WHOLE):
        by_id = {record["id"]: record for record in sound.records(stream)}
        records = ({name: row[name] for name in row.keys() - {"secretForHMAC"}} for row in standing.records(stream))
        assert by_id == {record["id"]: record for record in records}


def test_each_stream_has_one_schema_before_its_records(sound: Run) -> None:
    schemas = [message["stream"] for message in sound.of_type("SCHEMA")]
    assert sorted(schemas) == sorted((*PARTITIONED, *WHOLE))
    assert all(message["key_properties"] == ["id"] for message in sound.of_type("SCHEMA"))
    seen = set()
    for message in sound.messages:
        if message["type"] == "SCHEMA":
            seen.add(message["stream"])
        elif message["type"] == "RECORD":
            assert message["stream"] in seen


def test_the_last_state_is_clean_and_has_one_bookmark_a_partition(
    sound: Run, standing: RunningSandbox, assert_clean: Callable[[Any], None]
) -> None:
    assert sound.messages[-1]["type"] == "STATE"
    state = sound.states[-1]
    assert_clean(state)
    for stream in PARTITIONED:
        contexts = [bookmark["context"]["organizationId"] for bookmark in state["bookmarks"][stream]["partitions"]]
        assert sorted(contexts) == sorted(standing.truth.ids["organizations"])
    for stream in WHOLE:
        assert state["bookmarks"][stream] == {"holds": []}


def test_runs_one_after_the_other_read_the_same(
    *, tap: Tap, sound: Run, standing: RunningSandbox, settings: Settings, assert_complete: Callable[..., None]
) -> None:
    second = tap(config=settings(standing), state=sound.states[-1])
    assert second.code == 0
    assert_complete(second, standing)
    assert second.states[-1] == sound.states[-1]


@pytest.mark.parametrize("cursors", ["sequential", "offsets", "opaque", "drifting"])
@pytest.mark.parametrize("unissued", ["serve", "refuse"])
def test_any_cursors_and_any_parallelism_give_the_same(
    *, tap: Tap, serve: Serve, settings: Settings, assert_complete: Callable[..., None], cursors: str, unissued: str
) -> None:
    sandbox = serve(cursors=cursors, unissued_cursors=unissued, leads=120, lead_shares="halving", short_pages=0.2)
    outputs = []
    for parallel in (1, 16):
        run = tap(config=settings(sandbox, max_parallel_requests=parallel, page_size=4))
        assert run.code == 0
        assert_complete(run, sandbox)
        outputs.append(
            [{name: value for name, value in message.items() if name != "time_extracted"} for message in run.messages]
        )
    # STATE is sent by time and size, and a read has its time in it.
    serial, parallel_too = ([message for message in one if message["type"] != "STATE"] for one in outputs)
    assert serial == parallel_too


@pytest.mark.parametrize(
    "scenario",
    [
        {"organizations": 0, "leads": 0, "webhook_registrations": 0, "account_tags": 0, "account_custom_fields": 0},
        {"organizations": 1, "leads": 0},
        {"organizations": 1, "leads": 1},
        {"organizations": 5, "empty_organizations": 4, "leads": 15},
        {"organizations": 20, "leads": 20},
        {"organizations": 2, "leads": 14, "last_page_cursor": False, "new_enum_values": True},
    ],
)
@pytest.mark.parametrize("page_size", [1, 7, 1000])
def test_sizes_at_the_edges(
    *,
    tap: Tap,
    serve: Serve,
    settings: Settings,
    assert_complete: Callable[..., None],
    scenario: dict[str, Any],
    page_size: int,
) -> None:
    sandbox = serve(**scenario)
    run = tap(config=settings(sandbox, page_size=page_size))
    assert run.code == 0
    assert_complete(run, sandbox)


def test_one_token_serves_all_streams(tap: Tap, serve: Serve, settings: Settings) -> None:
    sandbox = serve()
    assert tap(config=settings(sandbox)).code == 0
    assert sandbox.report().token_requests == 1


def test_nothing_is_asked_for_twice(tap: Tap, serve: Serve, settings: Settings) -> None:
    sandbox = serve()
    assert tap(config=settings(sandbox)).code == 0
    report = sandbox.report()
    served = Counter(report.served["leads"].values())
    assert set(served) == {1}
    assert report.outcomes["/hustle/v3/organizations"]["200"] <= 2


def test_short_lived_tokens_are_renewed_in_time(
    read: Read, serve: Serve, settings: Settings, assert_complete: Callable[..., None]
) -> None:
    lifetime = 30
    sandbox = serve(token_lifetime=lifetime, leads=150)
    run = read(sandbox, settings(sandbox, requests_per_second=1, page_size=2))
    assert_complete(run, sandbox)
    # Never so late that the API refuses it, and never before its leeway.
    report = sandbox.report()
    assert run.seconds > 3 * lifetime
    assert run.seconds / lifetime <= report.token_requests <= 1 + run.seconds / (0.9 * lifetime)
    assert {outcome for outcomes in report.outcomes.values() for outcome in outcomes} == {"200"}
    assert report.token_failures == 0


def test_a_dry_run_shows_records_of_every_stream(tap: Tap, standing: RunningSandbox, settings: Settings) -> None:
    run = tap("--test=records", config=settings(standing))
    assert run.code == 0
    for stream in (*PARTITIONED, *WHOLE):
        assert run.ids(stream) != [], stream
        assert set(run.ids(stream)) <= set(standing.truth.ids[stream])


def test_the_schemas_alone_ask_the_api_for_nothing(tap: Tap, serve: Serve, settings: Settings) -> None:
    sandbox = serve()
    run = tap("--test=schema", config=settings(sandbox))
    assert run.code == 0
    assert sorted(message["stream"] for message in run.of_type("SCHEMA")) == sorted((*PARTITIONED, *WHOLE))
    assert sandbox.report().requests == 0


@pytest.mark.parametrize("args", [["--discover"], ["--about"], ["--about", "--format=json"], ["--version"], ["--help"]])
def test_what_the_tap_says_of_itself_needs_no_api(tap: Tap, serve: Serve, settings: Settings, args: list[str]) -> None:
    sandbox = serve()
    run = tap(*args, config=settings(sandbox))
    assert run.code == 0
    assert run.stdout
    assert sandbox.hustle.client_secret not in run.stdout.decode() + run.stderr
    assert sandbox.report().requests == 0


def test_the_rate_limit_is_kept(
    read: Read, serve: Serve, settings: Settings, assert_complete: Callable[..., None]
) -> None:
    sandbox = serve(requests_per_second=25, leads=420, rate_limit_counts="all")
    run = read(sandbox, settings(sandbox, requests_per_second=25, page_size=7), most_late=0.015)
    assert_complete(run, sandbox)
    report = sandbox.report()
    assert report.requests > 60
    assert report.too_many_requests == 0
    assert report.busiest_second <= 25
    assert run.seconds <= report.requests / 25 * (1 + MARGIN) + 0.1


@pytest.fixture
def config() -> dict[str, Any]:
    """Settings of a session that is opened without a tap."""
    given = {"client_id": "id", "client_secret": "secret", "user_agent": "tests/1.0"}
    return {**TapHustle(config=given).config}


def test_two_runs_on_a_machine_count_together(config: dict[str, Any]) -> None:
    clock = LeapingClock()
    first, second = open_session(config, clock), open_session(config, clock)
    other = open_session({**config, "client_id": "another"}, clock)
    for _ in range(20):
        first.budget.spend()
    assert [session.budget.left for session in (first, second, other)] == [5, 5, 25]
    for session in (first, second, other):
        session.close()


def test_where_nothing_can_be_kept_a_run_counts_for_itself(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    (tmp_path / "occupied").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "occupied"))
    session = open_session(config, LeapingClock())
    assert "Other runs with the same credentials are not seen" in caplog.text
    for _ in range(25):
        session.budget.spend()
    assert session.budget.left == 0
    session.close()


def test_a_limit_that_is_lower_than_we_think_costs_time_only(
    read: Read, serve: Serve, settings: Settings, assert_complete: Callable[..., None]
) -> None:
    sandbox = serve(requests_per_second=15, leads=100, retry_after=1)
    run = read(sandbox, settings(sandbox, requests_per_second=25))
    assert_complete(run, sandbox)
    assert sandbox.report().too_many_requests > 0


@pytest.mark.usefixtures("handlers_kept")
@pytest.mark.parametrize(
    ("faults", "ends_with"),
    [
        ([], None),
        ([Fault(kind="status", status=400, path="/leads", page=2)], ApiError),
        (
            [
                Fault(kind="expire_token", path="/leads", times=1),
                Fault(kind="status", status=401, path="/oauth/token", nth=(2,)),
            ],
            ApiError,
        ),
        ([Fault(kind="status", status=401, path="/oauth/token")], ApiError),
    ],
    ids=["sound", "a part fails", "no second token", "no token"],
)
def test_no_thread_outlives_a_run(
    serve: Serve,
    settings: Settings,
    capfdbinary: pytest.CaptureFixture[bytes],
    faults: list[Fault],
    ends_with: type[Exception] | None,
) -> None:
    sandbox = serve(*faults, leads=100, latency=0.01)
    before = set(threading.enumerate())
    tap = TapHustle(config=settings(sandbox))
    if ends_with is None:
        tap.sync_all()
    else:
        with pytest.raises(ends_with):
            tap.sync_all()
    for thread in set(threading.enumerate()) - before:
        thread.join(HANGING)
        assert not thread.is_alive()
    capfdbinary.readouterr()


@pytest.mark.usefixtures("handlers_kept")
def test_no_thread_outlives_a_reader_that_went_away(
    serve: Serve, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = serve(leads=300, latency=0.01)
    tap = TapHustle(config=settings(sandbox))
    before = set(threading.enumerate())

    def gone(*_: Any) -> None:
        raise Stopped from ApiError("gone")

    monkeypatch.setattr(tap.run.writer, "write_records", gone)
    with pytest.raises(ApiError, match="gone"):
        tap.sync_all()
    for thread in set(threading.enumerate()) - before:
        thread.join(HANGING)
        assert not thread.is_alive()
