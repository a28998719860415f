"""Every fault, wherever it strikes: everything is delivered, or what was not is named. Never a silent loss."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from api_sandbox import Fault, Forbidden

if TYPE_CHECKING:
    from collections.abc import Callable

    from api_sandbox import RunningSandbox

    from tests.hustle.conftest import Run

    Settings = Callable[..., dict[str, Any]]
    Serve = Callable[..., RunningSandbox]
    Tap = Callable[..., Run]
    Complete = Callable[..., None]
    NothingLost = Callable[[Run, RunningSandbox], set[str]]

PASSING: dict[str, dict[str, Any]] = {
    "500": {"kind": "status", "status": 500},
    "502 as a proxy says it": {"kind": "status", "status": 502, "html": True},
    "503 for a while": {"kind": "status", "status": 503, "retry_after": 30},
    "429": {"kind": "status", "status": 429},
    "429 until a date": {"kind": "status", "status": 429, "retry_after": 3, "retry_after_form": "date"},
    "408": {"kind": "status", "status": 408},
    "empty body": {"kind": "empty_body"},
    "204": {"kind": "status", "status": 204},
    "not JSON": {"kind": "not_json"},
    "truncated": {"kind": "truncated"},
    "truncated and closed": {"kind": "truncated", "honest_length": False},
    "truncated but for the last byte": {"kind": "truncated", "keep": 0.999},
    "reset before": {"kind": "reset"},
    "reset in the middle": {"kind": "reset", "when": "mid_body"},
    "an object": {"kind": "wrong_shape", "shape": "object"},
    "a list": {"kind": "wrong_shape", "shape": "list"},
    "null": {"kind": "wrong_shape", "shape": "null"},
    "a string": {"kind": "wrong_shape", "shape": "text"},
    "expired token": {"kind": "expire_token"},
    "slow": {"kind": "slow", "delay": 0.1},
    "dribbling": {"kind": "slow", "chunk_bytes": 200, "pause": 0.005},
    "empty page": {"kind": "empty_page"},
    "unknown fields": {"kind": "unknown_fields"},
}
LASTING = {
    **{name: PASSING[name] for name in ("500", "empty body", "not JSON", "truncated", "an object", "null")},
    **{name: PASSING[name] for name in ("reset before", "reset in the middle", "truncated and closed")},
    **{str(status): {"kind": "status", "status": status} for status in (400, 401, 403, 404, 418, 302)},
    "an item is null": {"kind": "null_item"},
}
PLACES: tuple[dict[str, Any], ...] = (
    {"path": "/leads", "organization": 0, "page": 1},
    {"path": "/leads", "organization": 1, "page": 2},
    {"path": "/leads", "organization": 2, "page": 3},
    {"path": "/agents", "page": 1},
    {"path": "/tags", "page": 3},
)
"""First, middle and last pages of partitions and of lists that are read whole."""
LISTS = ("organizations", "groups", "agents", "leads", "tags", "custom_fields", "integrations", "webhook_registrations")


@pytest.mark.parametrize("fault", [name for name in PASSING if name != "expired token"])
def test_a_passing_fault_costs_nothing_but_time(
    tap: Tap, serve: Serve, settings: Settings, assert_complete: Complete, fault: str
) -> None:
    everywhere = [
        Fault(**PASSING[fault], **place, times=1) for place in (*PLACES, {"path": "/organizations", "page": 1})
    ]
    sandbox = serve(*everywhere, leads=45)
    run = tap(config=settings(sandbox), leaps=True)
    assert run.code == 0, run.stderr
    assert_complete(run, sandbox)
    assert run.said("ERROR") == []


@pytest.mark.parametrize("place", [*PLACES, {"path": "/organizations", "page": 1}], ids=str)
def test_an_expired_token_is_renewed_once(
    tap: Tap, serve: Serve, settings: Settings, assert_complete: Complete, place: dict[str, Any]
) -> None:
    sandbox = serve(Fault(kind="expire_token", **place, times=1), leads=45, latency=0.01)
    run = tap(config=settings(sandbox))
    assert run.code == 0
    assert_complete(run, sandbox)
    assert sandbox.report().token_requests == 2


@pytest.mark.parametrize("fault", LASTING)
def test_a_lasting_fault_is_named_and_stops_nothing_else(
    tap: Tap, serve: Serve, settings: Settings, assert_nothing_lost: NothingLost, fault: str
) -> None:
    sandbox = serve(*[Fault(**LASTING[fault], **place) for place in PLACES], leads=45)
    run = tap(config=settings(sandbox), leaps=True)
    assert run.code == 1
    missing = assert_nothing_lost(run, sandbox)
    owners = [f"leads (organizationId {owner})" for owner in sandbox.truth.ids["organizations"]]
    assert missing == {*owners, "agents", "tags"}
    # What came before the fault was delivered: pages of leads 0 and 1 and 2, and of the tags all but the last.
    delivered = [
        sum(record["organizationId"] == owner.split()[-1][:-1] for record in run.records("leads")) for owner in owners
    ]
    assert delivered == [0, 7, 14]
    assert len(run.records("tags")) == 14
    assert len([sentence for sentence in run.said("ERROR") if sentence.startswith("Not read: ")]) == 5


@pytest.mark.parametrize("fault", LASTING)
def test_organizations_that_cannot_be_listed_take_only_what_is_read_by_them_along(
    tap: Tap, serve: Serve, settings: Settings, assert_complete: Complete, fault: str
) -> None:
    sandbox = serve(Fault(**LASTING[fault], path="/organizations", page=1))
    run = tap(config=settings(sandbox), leaps=True)
    assert run.code == 1
    assert "Traceback" not in run.stderr
    assert_complete(run, sandbox, "agents", "tags", "custom_fields", "webhook_registrations")
    named = [sentence.partition(".")[0] for sentence in run.said("ERROR") if sentence.startswith("Not read: ")]
    assert sorted(named) == [f"Not read: {name}" for name in ("groups", "integrations", "leads", "organizations")]
    assert {message["stream"] for message in run.of_type("RECORD")}.isdisjoint({"groups", "integrations", "leads"})


@dataclass(frozen=True)
class Login:
    """How the token endpoint behaves, and what comes of it."""

    fault: dict[str, Any]
    times: int | None
    requests: int
    code: int


@pytest.mark.parametrize(
    "login",
    [
        Login({"kind": "status", "status": 500}, 1, 2, 0),
        Login({"kind": "status", "status": 503, "retry_after": 2}, 2, 3, 0),
        Login({"kind": "status", "status": 429}, 1, 2, 0),
        Login({"kind": "slow", "delay": 0.1}, None, 1, 0),
        Login({"kind": "status", "status": 408}, 2, 3, 0),
        Login({"kind": "empty_body"}, 2, 3, 0),
        Login({"kind": "not_json"}, 1, 2, 0),
        Login({"kind": "truncated"}, 1, 2, 0),
        Login({"kind": "truncated", "honest_length": False}, 1, 2, 0),
        Login({"kind": "reset"}, 1, 2, 0),
        Login({"kind": "reset", "when": "mid_body"}, 1, 2, 0),
        Login({"kind": "wrong_shape", "shape": "object"}, 1, 2, 0),
        Login({"kind": "status", "status": 500}, None, 8, 1),
        Login({"kind": "status", "status": 429}, None, 8, 1),
        Login({"kind": "status", "status": 302}, None, 1, 1),
        Login({"kind": "status", "status": 401}, 1, 1, 1),
        Login({"kind": "status", "status": 403, "html": True}, 1, 1, 1),
        Login({"kind": "status", "status": 404}, 1, 1, 1),
        Login({"kind": "empty_body"}, None, 4, 1),
        Login({"kind": "reset"}, None, 3, 1),
        Login({"kind": "reset", "when": "mid_body"}, None, 8, 1),
        Login({"kind": "wrong_shape", "shape": "list"}, None, 4, 1),
        Login({"kind": "wrong_shape", "shape": "null"}, None, 4, 1),
        Login({"kind": "wrong_shape", "shape": "text"}, None, 4, 1),
    ],
    ids=str,
)
def test_the_token_endpoint_fails(
    tap: Tap, serve: Serve, settings: Settings, assert_complete: Complete, login: Login
) -> None:
    sandbox = serve(Fault(**login.fault, path="/oauth/token", times=login.times))
    run = tap(config=settings(sandbox), leaps=True)
    assert run.code == login.code
    assert sandbox.report().token_requests == login.requests
    if login.code == 0:
        assert_complete(run, sandbox)
    else:
        assert run.stdout == b""
        (sentence,) = run.said("ERROR")
        assert "/oauth/token" in sentence
        assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "reset"},
        {"kind": "empty_body"},
        {"kind": "truncated", "honest_length": False},
        {"kind": "status", "status": 408},
        {"kind": "status", "status": 429, "retry_after": 30},
        {"kind": "status", "status": 502, "html": True},
    ],
    ids=str,
)
def test_a_renewal_has_the_patience_that_lists_have(
    tap: Tap, serve: Serve, settings: Settings, assert_complete: Complete, fault: dict[str, Any]
) -> None:
    sandbox = serve(
        Fault(kind="expire_token", path="/leads", page=2, times=1),
        Fault(**fault, path="/oauth/token", nth=(2, 3, 4)),
        leads=45,
    )
    run = tap(config=settings(sandbox), leaps=True)
    assert run.code == 0, run.stderr
    assert_complete(run, sandbox)
    assert sandbox.report().token_requests == 5
    assert run.said("ERROR") == []


def test_a_token_that_cannot_be_renewed_ends_the_run_at_once(tap: Tap, serve: Serve, settings: Settings) -> None:
    sandbox = serve(
        Fault(kind="expire_token", path="/leads", page=2, times=1),
        Fault(kind="status", status=401, path="/oauth/token", nth=(2, 3, 4, 5)),
        leads=200,
    )
    run = tap(config=settings(sandbox), leaps=True)
    assert run.code == 1
    assert "Traceback" not in run.stderr
    assert sandbox.report().token_requests == 2  # ten failures would block the caller
    (sentence,) = run.said("ERROR")
    assert "refused the credentials" in sentence
    assert run.messages[-1]["type"] == "STATE"

    resumed = tap(config=settings(sandbox), state=run.states[-1], leaps=True)
    assert resumed.code == 1  # the fault is still there
    sandbox.faults.clear()
    resumed = tap(config=settings(sandbox), state=run.states[-1])
    assert resumed.code == 0
    for stream, ids in sandbox.truth.ids.items():
        assert {*run.ids(stream), *resumed.ids(stream)} == set(ids)


def test_everything_always_refuses_the_token(
    tap: Tap, serve: Serve, settings: Settings, assert_nothing_lost: NothingLost
) -> None:
    sandbox = serve(*[Fault(kind="status", status=401, path=f"/{name}") for name in LISTS])
    run = tap(config=settings(sandbox), leaps=True)
    assert run.code == 1
    assert run.of_type("RECORD") == []
    assert_nothing_lost(run, sandbox)
    assert sandbox.report().token_requests < 20


def test_more_without_a_cursor_ends_the_list_with_a_warning(
    tap: Tap, serve: Serve, settings: Settings, assert_complete: Complete
) -> None:
    sandbox = serve(Fault(kind="more_without_cursor", path="/leads", organization=1, page=2), leads=60)
    run = tap(config=settings(sandbox))
    assert run.code == 0
    assert_complete(run, sandbox, *(name for name in LISTS if name != "leads"))
    owned = sandbox.truth.by_organization["leads"]
    cut = sandbox.truth.ids["organizations"][1]
    for owner, ids in owned.items():
        delivered = [record["id"] for record in run.records("leads") if record["organizationId"] == owner]
        assert delivered == (ids[:14] if owner == cut else ids)
    (warning,) = run.said("WARNING")
    assert "cursor" in warning
    assert "leads" in warning
    assert cut in warning


def test_more_without_a_cursor_on_the_last_page_loses_nothing(
    tap: Tap, serve: Serve, settings: Settings, assert_complete: Complete
) -> None:
    sandbox = serve(Fault(kind="more_without_cursor", path="/agents", page=2))
    run = tap(config=settings(sandbox))
    assert run.code == 0
    assert_complete(run, sandbox)
    assert len(run.said("WARNING")) == 1


def test_a_cursor_without_more_ends_the_list(
    tap: Tap, serve: Serve, settings: Settings, assert_complete: Complete
) -> None:
    sandbox = serve(Fault(kind="cursor_without_more", path="/leads", page=3), leads=60)
    run = tap(config=settings(sandbox))
    assert run.code == 0
    assert_complete(run, sandbox)
    assert sandbox.report().outcomes["/hustle/v3/leads"]["200"] >= 9


@pytest.mark.parametrize("back", [0, 1])
@pytest.mark.parametrize("path", ["/leads", "/organizations"])
@pytest.mark.parametrize("predict", [False, True])
def test_a_loop_of_cursors_ends_with_an_error(
    *,
    tap: Tap,
    serve: Serve,
    settings: Settings,
    assert_nothing_lost: NothingLost,
    back: int,
    path: str,
    predict: bool,
) -> None:
    sandbox = serve(
        Fault(kind="repeat_cursor", path=path, page=back + 2), organizations=4, leads=200, lead_shares=(1, 1, 1, 9)
    )
    run = tap(config=settings(sandbox, page_size=1 if path == "/organizations" else 5, predict_cursors=predict))
    assert run.code == 1
    assert_nothing_lost(run, sandbox)
    assert any("same cursor twice" in sentence for sentence in run.said("ERROR"))


def test_empty_pages_in_a_row_go_on(tap: Tap, serve: Serve, settings: Settings, assert_complete: Complete) -> None:
    sandbox = serve(Fault(kind="empty_page"), leads=60)
    run = tap(config=settings(sandbox))
    assert run.code == 0
    assert_complete(run, sandbox)
    assert sandbox.report().outcomes["/hustle/v3/leads"]["200"] >= 18


def test_unknown_fields_are_left_out_and_counted_in_one_warning_a_stream(
    tap: Tap, serve: Serve, settings: Settings, assert_complete: Complete
) -> None:
    sandbox = serve(Fault(kind="unknown_fields"))
    run = tap(config=settings(sandbox))
    assert run.code == 0
    assert_complete(run, sandbox)
    warnings = run.said("WARNING")
    assert sorted(warning.partition(":")[0] for warning in warnings) == sorted(LISTS)
    for warning in warnings:
        stream = warning.partition(":")[0]
        assert f"addedLater ({len(sandbox.truth.ids[stream])} times)" in warning
    for message in run.of_type("RECORD"):
        assert not {"addedLater", "added_Later", "added later", ""} & message["record"].keys()


def test_unknown_fields_are_kept_in_a_column(
    tap: Tap, serve: Serve, settings: Settings, assert_complete: Complete
) -> None:
    sandbox = serve(Fault(kind="unknown_fields"))
    run = tap(config=settings(sandbox, unknown_fields="keep"))
    assert run.code == 0
    assert_complete(run, sandbox)
    for message in run.of_type("SCHEMA"):
        assert "object" in message["schema"]["properties"]["_unknown_fields"]["type"]
    for message in run.of_type("RECORD"):
        assert {"addedLater", "added_Later", "added later", ""} <= message["record"]["_unknown_fields"].keys()
        assert "addedLater" not in message["record"]
    assert "that the schema does not know are kept in _unknown_fields: " in run.said("WARNING")[0]


def test_unknown_fields_fail_before_their_page_is_written(tap: Tap, serve: Serve, settings: Settings) -> None:
    sandbox = serve(Fault(kind="unknown_fields", path="/groups"))
    run = tap(config=settings(sandbox, unknown_fields="fail"))
    assert run.code == 1
    assert {message["stream"] for message in run.of_type("RECORD")} == {*LISTS} - {"groups"}
    (warning, *_) = (line for line in run.said("WARNING") if line.startswith("groups"))
    assert re.search(
        r"The schema does not know these fields of the API: .*addedLater, added_Later\. Let unknown_fields keep",
        warning,
    )


def test_a_catalog_without_the_column_of_unknown_fields_is_refused(tap: Tap, serve: Serve, settings: Settings) -> None:
    sandbox = serve()
    catalog = json.loads(tap("--discover", config=settings(sandbox)).stdout)
    run = tap(config=settings(sandbox, unknown_fields="keep"), catalog=catalog)
    assert run.code == 1
    assert run.said("ERROR")[0].startswith("The catalog leaves _unknown_fields out of the schema of stream ")
    assert run.of_type("RECORD") == []


@pytest.mark.parametrize("key", ["", '"id":null,', '"id":"",'])
def test_a_record_without_its_key_is_a_named_failure(
    tap: Tap, raw_server: Callable[..., Any], answer: Callable[..., bytes], key: str
) -> None:
    def by(request: Any, _ordinal: int) -> bytes:
        if request.target.startswith("/oauth/token"):
            return answer(200, '{"access_token":"t","expires_in":7200}')
        if request.target.startswith("/tags"):
            items = f'[{{"id":"good"}},{{{key}"name":"Ada Lovelace"}}]'
            return answer(200, f'{{"items":{items},"cursor":null,"hasMore":false}}')
        return answer(200, '{"items":[],"cursor":null,"hasMore":false}')

    server = raw_server(by=by)
    run = tap(config={"client_id": "a", "client_secret": "b", "api_url": server.url})
    assert run.code == 1
    (named,) = [sentence for sentence in run.said("ERROR") if sentence.startswith("Not read: ")]
    assert named.startswith("Not read: tags. A record came without its key")
    assert "Ada" not in run.stderr


@pytest.mark.parametrize("path", ["/integrations", "/webhook_registrations"])
def test_a_forbidden_stream_is_named_and_stops_nothing_else(
    tap: Tap, serve: Serve, settings: Settings, assert_nothing_lost: NothingLost, path: str
) -> None:
    sandbox = serve(forbidden=(Forbidden(path=path),))
    run = tap(config=settings(sandbox))
    assert run.code == 1
    missing = assert_nothing_lost(run, sandbox)
    assert {label.partition(" ")[0] for label in missing} == {path.strip("/")}
    assert all("403" in sentence for sentence in run.said("ERROR") if sentence.startswith("Not read: "))
    assert sandbox.report().outcomes[f"/hustle/v3{path}"] == {"403": len(missing)}


def test_a_forbidden_organization_is_named_and_stops_nothing_else(
    tap: Tap, serve: Serve, settings: Settings, assert_nothing_lost: NothingLost
) -> None:
    sandbox = serve(forbidden=(Forbidden(organizations=(1,)),))
    run = tap(config=settings(sandbox))
    assert run.code == 1
    closed = sandbox.truth.ids["organizations"][1]
    assert assert_nothing_lost(run, sandbox) == {
        f"{stream} (organizationId {closed})" for stream in ("groups", "integrations", "leads")
    }


def test_forbidden_everywhere(tap: Tap, serve: Serve, settings: Settings, assert_nothing_lost: NothingLost) -> None:
    sandbox = serve(forbidden=(Forbidden(),))
    run = tap(config=settings(sandbox))
    assert run.code == 1
    assert_nothing_lost(run, sandbox)
    assert run.of_type("RECORD") == []


def test_what_failed_goes_on_where_it_stopped(
    tap: Tap, serve: Serve, settings: Settings, assert_nothing_lost: NothingLost, assert_clean: Callable[[Any], None]
) -> None:
    sandbox = serve(Fault(kind="status", status=400, path="/leads", organization=1, page=2), leads=60)
    failed = tap(config=settings(sandbox))
    closed = sandbox.truth.ids["organizations"][1]
    assert assert_nothing_lost(failed, sandbox) == {f"leads (organizationId {closed})"}
    partitions = failed.states[-1]["bookmarks"]["leads"]["partitions"]
    assert [bookmark["context"]["organizationId"] for bookmark in partitions if "resume" in bookmark] == [closed]
    for stream in LISTS:
        if stream != "leads":
            assert_clean(failed.states[-1]["bookmarks"][stream])

    sandbox.faults.clear()
    mended = tap(config=settings(sandbox), state=failed.states[-1])
    assert mended.code == 0
    of_closed = sandbox.truth.by_organization["leads"][closed]
    first, second = (
        [record["id"] for record in run.records("leads") if record["organizationId"] == closed]
        for run in (failed, mended)
    )
    assert first == of_closed[:7]
    assert second == of_closed  # the page that the resume point is at comes again: it may have changed since
    assert_clean(mended.states[-1])


def test_a_storm_of_429s_is_outlasted(tap: Tap, serve: Serve, settings: Settings, assert_complete: Complete) -> None:
    # 70 refusals, with a pause of up to a minute after each, outlast half an hour.
    sandbox = serve(*[Fault(kind="status", status=429, times=70, path=path) for path in ("/organizations", "/tags")])
    run = tap(config=settings(sandbox), leaps=True)
    assert run.code == 0, run.stderr
    assert_complete(run, sandbox)
    assert sandbox.report().too_many_requests == 140


KINDS_AT_ONCE = [
    *[fault for name, fault in PASSING.items() if name not in {"503 for a while", "slow", "dribbling"}],
    {"kind": "slow", "delay": 0.01},
    {"kind": "null_item"},
    {"kind": "repeat_cursor"},
    {"kind": "status", "status": 400},
    {"kind": "status", "status": 403, "html": True},
]


@pytest.mark.parametrize("seed", range(4))
def test_all_faults_together(
    tap: Tap, serve: Serve, settings: Settings, assert_nothing_lost: NothingLost, seed: int
) -> None:
    faults = [Fault(**fault, path=f"/{name}", rate=0.05) for fault in KINDS_AT_ONCE for name in LISTS]
    sandbox = serve(*faults, seed=seed, leads=150, organizations=6)
    run = tap(config=settings(sandbox), leaps=True)
    assert_nothing_lost(run, sandbox)
    assert any(outcomes.keys() - {"200"} for outcomes in sandbox.report().outcomes.values())


@pytest.mark.parametrize("seed", range(2))
def test_all_passing_faults_together_lose_nothing(
    tap: Tap, serve: Serve, settings: Settings, assert_complete: Complete, seed: int
) -> None:
    # Those that are tried often enough for an unlucky row of them never to happen.
    names = (
        "500",
        "502 as a proxy says it",
        "429",
        "408",
        "truncated and closed",
        "reset before",
        "reset in the middle",
    )
    faults = [
        Fault(**PASSING[fault], path=f"/{name}", rate=0.02)
        for fault in (*names, "empty page", "unknown fields")
        for name in LISTS
    ]
    sandbox = serve(*faults, seed=seed, leads=150, organizations=6)
    run = tap(config=settings(sandbox, page_size=3), leaps=True)
    assert run.code == 0, run.said("ERROR")
    assert_complete(run, sandbox)
