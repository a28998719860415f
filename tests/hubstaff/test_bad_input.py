"""Settings and credentials that cannot work: one sentence that says what to do, before the first message."""

from __future__ import annotations

import stat
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from unittest import mock

import msgspec
import pytest
from api_sandbox.hubstaff.activity import Activity
from singer_http.http.errors import ConfigurationError
from singer_http.reading.pages import Page
from tap_hubstaff import client
from tap_hubstaff.client import parse_page, state_folder
from tap_hubstaff.streams.list_streams import WorkBreakProjects
from tap_hubstaff.tap import TapHubstaff

from tests.hubstaff import reading
from tests.hubstaff.reading import SandboxClock
from tests.hubstaff.test_run import sessions_of, warehouse

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from api_sandbox import RunningSandbox

    from tests.hubstaff.reading import Run

    Settings = Callable[..., dict[str, Any]]
    Serve = Callable[..., RunningSandbox]
    Tap = Callable[..., Run]
    Read = Callable[..., Run]


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({}, "One of personal_access_token, access_token and refresh_token must be set."),
        ({"access_token": "a", "personal_access_token": "b"}, "set the one that is to be used"),
        ({"refresh_token": "a", "client_id": "b"}, "refresh_token needs client_id and client_secret"),
        ({"personal_access_token": "hsoat_a"}, "set access_token instead"),
        ({"access_token": "a", "start_date": "yesterday"}, "start_date is not valid: it must be a date"),
        ({"access_token": "a", "start_date": "2025-02-01", "end_date": "2025-01-01"}, "end_date is not valid"),
        ({"access_token": "a", "end_date": "9999-12-31"}, "end_date is not valid: it must be a date"),
        ({"access_token": "a", "lookback_days": 10**9}, "lookback_days is not valid"),
        ({"access_token": "a", "reread_days": 10**9}, "reread_days is not valid"),
        ({"access_token": "a", "links_max_age": 10**12}, "links_max_age is not valid"),
        ({"access_token": "a", "refresh": {"tasks": 10**12}}, "refresh.tasks is not valid"),
        ({"access_token": "a", "page_size": 501}, "page_size is not valid"),
        ({"access_token": "a", "requests_per_hour": 1001}, "requests_per_hour is not valid: the vendor allows 1,000"),
        ({"access_token": "a", "on_quota": "panic"}, "on_quota is not valid"),
        ({"access_token": "a", "organization_ids": ["seven"]}, "organization_ids is not valid"),
        ({"access_token": "a", "api_url": "http://api.example.com"}, "api_url is not valid: plain http"),
        ({"access_token": 5}, "access_token is not valid"),
        ({"access_token": "a", "refresh": {"holiday": 60}}, "refresh names holiday, which are no streams"),
        ({"access_token": "a", "refresh": {"holidays": "daily"}}, "refresh.holidays is not valid"),
    ],
)
def test_settings_that_cannot_work(tap: Tap, config: dict[str, Any], sentence: str) -> None:
    run = tap(config=config)
    assert (run.code, run.stdout) == (1, b"")
    (said,) = run.said("ERROR")
    assert sentence in said
    assert "Traceback" not in run.stderr


def test_an_organization_that_is_not_shown(tap: Tap, serve: Serve, settings: Settings) -> None:
    sandbox = serve(history_days=1, organizations=1, shared_members=0)
    run = tap(config=settings(sandbox, organization_ids=[1]))
    assert (run.code, run.records("organizations")) == (1, [])
    (said,) = run.said("ERROR")
    assert said.startswith("organization_ids names 1, which these credentials do not show")


def test_whether_a_start_date_is_in_the_future_is_judged_by_the_clock_of_the_api(
    serve: Serve, settings: Settings
) -> None:
    sandbox = serve(clock="stopped", history_days=2, organizations=1, shared_members=0)
    slow, fast = (SandboxClock(sandbox.hubstaff, days * 24 * 3600) for days in (-400, 400))
    run = reading.read(slow, settings(sandbox, days=3), None, ("activities",))
    assert run.code == 0, run.said("ERROR")
    assert sorted(run.ids("activities")) == sorted(sandbox.hubstaff.ids("activities"))
    run = reading.read(fast, settings(sandbox, days=-1), None, ("activities",))
    assert (run.code, run.of_type("RECORD")) == (1, [])
    (said,) = run.said("ERROR")
    assert said == "start_date is not valid: it is in the future, so there is nothing to read."


def test_one_organization_of_two(tap: Tap, serve: Serve, settings: Settings) -> None:
    sandbox = serve(history_days=2)
    one = int(sandbox.hubstaff.ids("organizations")[0])
    run = tap(config=settings(sandbox, days=4, organization_ids=[one]))
    assert run.code == 0
    assert run.ids("organizations") == [str(one)]
    found = {row["organization_id"] for name in ("members", "activities", "teams") for row in run.records(name)}
    assert found == {one}


def test_a_default_user_agent_is_refused_and_ours_is_not(tap: Tap, serve: Serve, settings: Settings) -> None:
    sandbox = serve(history_days=1, organizations=1, shared_members=0)
    assert tap("--test", config=settings(sandbox)).code == 0
    refused = tap("--test", config=settings(sandbox, user_agent="python-requests/2.32"))
    assert refused.code == 1
    assert len(refused.said("ERROR")) == 1


def test_a_damaged_log_of_requests_is_begun_anew(tap: Tap, serve: Serve, settings: Settings, tmp_path: Path) -> None:
    sandbox = serve(history_days=1, organizations=1, shared_members=0)
    config = settings(sandbox)
    assert tap("--test", config=config).code == 0
    (log,) = (tmp_path / "tokens").glob("*.requests")
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    log.chmod(0o644)
    assert tap("--test", config=config).code == 0
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    for damaged in (b"no log", log.read_bytes()[:4] + b"\xff" * 8192, b'{"times":["soon"]}'):
        log.write_bytes(damaged)
        run = tap("--test", config=config)
        assert run.code == 0, run.stderr
        assert "Traceback" not in run.stderr
        (said,) = run.said("WARNING")
        assert "is damaged" in said
        assert not tap("--test", config=config).said("WARNING")


def test_a_user_without_a_home_has_to_say_where_tokens_are_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setattr("pwd.getpwuid", mock.Mock(side_effect=KeyError))
    with pytest.raises(ConfigurationError, match="token_path must be set"):
        state_folder({})
    assert state_folder({"token_path": str(tmp_path)}) == tmp_path


def test_one_record_may_stand_where_a_list_should() -> None:
    page = parse_page(b'{"work_break_project": {"id": 7, "policy": null}}', WorkBreakProjects.envelope)
    assert page.decode() == [{"id": 7, "policy": None}]
    with pytest.raises(msgspec.ValidationError):
        parse_page(b'{"work_break_project": 7}', WorkBreakProjects.envelope)


@pytest.mark.parametrize("number", ["12345678901234567890123", "0.12345678901234567890123", "7.50"])
def test_numbers_stay_what_they_are_in_every_list(number: str, tmp_path: Path) -> None:
    tap = TapHubstaff(config={"access_token": "a", "token_path": str(tmp_path)})
    streams = {stream.name: stream for stream in tap.discover_streams()}
    rate = Decimal(number)
    member = f'{{"user_id":1,"pay_rate":{number},"project_members":[{{"project_id":2,"pay_rate":{number}}}]}}'
    body = f'{{"members":[{member}],"organization_seat":{{"pay_rate":{number}}}}}'.encode()
    for name in ("members", "project_members", "seats"):
        (row,) = streams[name].parse(body).decode()
        assert Decimal(str(row["pay_rate"])) == rate
    (row,) = streams["project_members"].parse(body).decode()
    assert (row["project_id"], row["user_id"]) == (2, 1)


def test_members_that_are_none_end_their_lists_alone(
    read: Read, serve: Serve, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = serve(clock="stopped", history_days=1, organizations=1, shared_members=0)
    decode = client._decode_envelope

    def without_users(body: bytes) -> dict[str, msgspec.Raw]:
        envelope = decode(body)
        if "members" in envelope:
            envelope["members"] = msgspec.Raw(b'[{"name":"nobody"}]')
        return envelope

    monkeypatch.setattr(client, "_decode_envelope", without_users)
    run = read(sandbox, settings(sandbox), None, "project_members", "projects")
    assert run.ids("projects")
    assert next(error.split(" (")[0] for error in run.said("ERROR")) == "Not read: project_members"
    assert run.code == 1


def test_numbers_may_be_null(read: Read, serve: Serve, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox = serve(clock="stopped", history_days=3, organizations=1, shared_members=0, activity_delay=0.0)
    config, streams = settings(sandbox, lookback_days=5), ("activities", "time_sessions", "daily_activities")
    fields = Activity.fields
    (odd,) = sandbox.hubstaff.edit("activities", 1)

    def without(row: Activity) -> dict[str, Any]:
        told = fields(row)
        numbers = {name for name, value in told.items() if type(value) is int and not name.endswith("id")}
        return {**told, **dict.fromkeys(numbers)} if str(told["id"]) == odd else told

    monkeypatch.setattr(Activity, "fields", without)
    state = None
    for _ in range(2):
        run = read(sandbox, config, state, *streams)
        state = run.states[-1]
        assert run.code == 0, run.said("ERROR")
        assert {row["tracked"] is None for row in run.records("activities") if str(row["id"]) == odd} == {True}
        assert len([line for line in run.said("WARNING") if "without tracked time" in line]) == 1
        sandbox.hubstaff.advance(1800)


def _with_odd(monkeypatch: pytest.MonkeyPatch, odd: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    fields = Activity.fields

    def told(row: Activity) -> dict[str, Any]:
        return {**fields(row), **change(fields(row))} if str(row.id) == odd else fields(row)

    monkeypatch.setattr(Activity, "fields", told)


@pytest.mark.parametrize("change", [{"starts_at": None}, {"tracked": "some"}, {"user_id": []}], ids=str)
def test_what_cannot_be_read_of_an_activity_stops_only_the_sessions_of_its_organization(
    read: Read, serve: Serve, settings: Settings, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    sandbox = serve(clock="stopped", history_days=15, organizations=2, shared_members=0, activity_delay=0.0)
    activities = sandbox.hubstaff.records("activities")
    odd = activities[len(activities) // 4]
    streams = ("activities", "time_sessions")
    with monkeypatch.context() as patched:
        _with_odd(patched, str(odd["id"]), lambda _: change)
        failed = read(sandbox, settings(sandbox, page_size=7), None, *streams)
    assert failed.code == 1
    assert sorted(failed.ids("activities")) == sorted(sandbox.hubstaff.ids("activities"))
    owners = {row["id"]: row["organization_id"] for row in failed.records("activities")}
    label = f"time_sessions (organization_id {owners[odd['id']]})"
    sentence = "An activity came without its times, or with an odd value."
    assert failed.said("ERROR")[:-1] == [f"Not read: {label}. {sentence}"]
    others = sessions_of([row for row in activities if owners[row["id"]] != owners[odd["id"]]])
    assert others
    assert {number: one for number, one in warehouse(failed).items() if number in others} == others
    again = read(sandbox, settings(sandbox, page_size=7), failed.states[-1], *streams)
    assert again.code == 0, again.said("ERROR")
    assert warehouse(failed, again) == sessions_of(activities)


@pytest.mark.parametrize("kind", [str, float])
def test_sessions_read_numbers_as_activities_do(
    read: Read, serve: Serve, settings: Settings, monkeypatch: pytest.MonkeyPatch, kind: Callable[[Any], Any]
) -> None:
    sandbox = serve(clock="stopped", history_days=15, organizations=1, shared_members=0, activity_delay=0.0)
    activities = sandbox.hubstaff.records("activities")
    odd = str(activities[len(activities) // 4]["id"])
    _with_odd(
        monkeypatch, odd, lambda row: {name: kind(value) for name, value in row.items() if type(value) in {int, float}}
    )
    run = read(sandbox, settings(sandbox, include_names=True), None, "activities", "time_sessions")
    assert run.code == 0, run.said("ERROR")
    assert warehouse(run) == sessions_of(activities)
    assert all(row["user_name"] for row in run.records("time_sessions"))


def test_an_odd_update_stops_only_what_has_to_know_it(
    read: Read, serve: Serve, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = serve(clock="stopped", history_days=15, organizations=1, shared_members=0, activity_delay=0.0)
    streams = ("activities", "daily_activities", "time_sessions")
    runs = [read(sandbox, settings(sandbox), None, *streams)]
    odd, *_ = sandbox.hubstaff.edit("activities", 3)
    sandbox.hubstaff.advance(7200)
    with monkeypatch.context() as patched:
        _with_odd(patched, odd, lambda _: {"date": None})
        runs.append(read(sandbox, settings(sandbox), runs[-1].states[-1], *streams))
    named = {line.split(" (")[0] for line in runs[-1].said("ERROR") if line.startswith("Not read")}
    assert named == {"Not read: daily_activities", "Not read: time_sessions"}
    assert odd in runs[-1].ids("activities")
    runs.append(read(sandbox, settings(sandbox), runs[-1].states[-1], *streams))
    assert runs[-1].code == 0, runs[-1].said("ERROR")
    assert warehouse(*runs) == sessions_of(sandbox.hubstaff.records("activities"))


@pytest.mark.parametrize("created", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z", 5, None])
def test_an_organization_may_say_anything_of_its_age(
    read: Read, serve: Serve, settings: Settings, monkeypatch: pytest.MonkeyPatch, created: Any
) -> None:
    sandbox = serve(clock="stopped", history_days=1, organizations=1, shared_members=0)
    decode = Page.decode

    def aged(page: Page, **how: Any) -> list[dict[str, Any]]:
        return [{**row, "created_at": created} for row in decode(page, **how)]

    monkeypatch.setattr(Page, "decode", aged)
    run = read(sandbox, settings(sandbox), None, "activities", "daily_activities")
    assert run.code == 0, run.said("ERROR")
    assert sorted(run.ids("activities")) == sorted(sandbox.hubstaff.ids("activities"))


CLAIM = {"start": "2026-01-01T00:00:00Z", "replication_key_value": "2026-01-01T00:00:00Z"}


def test_states_that_are_none_of_ours_are_read_past(tap: Tap, serve: Serve, settings: Settings) -> None:
    sandbox = serve(history_days=3, organizations=1, shared_members=0)
    context = {"organization_id": int(sandbox.hubstaff.ids("organizations")[0])}
    odd: dict[str, dict[str, Any]] = {
        "activities": {"resume": {"feed": "windows", "stop": "soon", "cursor": "a/b"}},
        "notes": {"resume": {"feed": "windows"}},
        "daily_activities": {
            "resume": {"feed": "windows", "stop": "2025-01-01T00:00:00Z", "cursor": 7},
        },
        "screenshots": {"replication_key_value": "soon"},
        "time_sessions": {**CLAIM, "sessions": {"at": 1767225600, "open": [], "given": [[]], "since": 0}},
        "locations": {"resume": 5},
        "members": {"replication_key_value": []},
        "projects": {"requests": 10**400, "read_at": "0001-01-01T00:00:00Z"},
        "tool_usages": {**CLAIM, "requests": 3, "density": {"windows": [10**40, 0]}},
        "attendance_shifts": {**CLAIM, "kept_days": 10**9},
    }
    bookmarks = {name: {"partitions": [{"context": context, **bookmark}]} for name, bookmark in odd.items()}
    run = tap(config=settings(sandbox, days=4), state={"bookmarks": bookmarks})
    assert run.code == 0, run.said("ERROR")
    for stream in odd.keys() - {"time_sessions"}:
        assert set(run.ids(stream)) >= set(sandbox.hubstaff.ids(stream)), stream
