"""Text and numbers of the API that loaders stumble over, from the answer to the message."""

from __future__ import annotations

import datetime as dt
import re
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from api_sandbox import Fault
from singer_http.http.errors import MalformedAnswerError
from singer_http.messages import record_messages
from singer_http.reading.pages import IDLE_PAGES
from tap_hustle.tap import TapHustle

if TYPE_CHECKING:
    from collections.abc import Callable

    from api_sandbox import RunningSandbox

    from tests.conftest import RawServer
    from tests.hustle.conftest import Run

    Settings = Callable[..., dict[str, Any]]
    Serve = Callable[..., RunningSandbox]
    Tap = Callable[..., Run]

LOGIN = {"client_id": "someone@example.org", "client_secret": "hush-do-not-tell"}


@pytest.mark.parametrize("keep", [False, True])
def test_half_characters_and_nul_stop_no_list(
    tap: Tap, serve: Serve, settings: Settings, assert_complete: Callable[..., None], *, keep: bool
) -> None:
    sandbox = serve(Fault(kind="odd_text", path="/groups"), groups=30)
    run = tap(config=settings(sandbox, keep_nul=keep))
    assert run.code == 0
    assert_complete(run, sandbox)
    odd = "\0\ufffd" if keep else "\ufffd"
    names = {record["id"]: odd + record["name"] for record in sandbox.records("groups")}
    assert {record["id"]: record["name"] for record in run.records("groups")} == names
    (warning,) = run.said("WARNING")
    assert warning.startswith("groups: 90 characters could not be read")


@pytest.fixture
def lists(tap: Tap, raw_server: Callable[..., RawServer], answer: Callable[..., bytes]) -> Callable[..., Run]:
    """Run the tap on lists, each given as what one answer says; what is not given is empty."""

    def run(before: bytes = b"", settings: Any = None, **answers: bytes | Callable[[str], bytes]) -> Run:
        def by(request: Any, _ordinal: int) -> bytes:
            if request.method == "POST":
                return answer(200, before + b'{"access_token":"t","expires_in":7200}')
            path, _, query = request.target.removeprefix("/v3/").partition("?")
            told = answers.get(path, b"")
            if callable(told):
                return answer(200, told(query))
            return answer(200, before + b'{"items":[' + told + b'],"cursor":null,"hasMore":false}')

        return tap(config={**LOGIN, **(settings or {}), "api_url": f"{raw_server(by=by).url}/v3"}, leaps=True)

    return run


def deep(levels: int) -> bytes:
    return b'{"id":"b","name":%b%b}' % (b"[" * levels, b"]" * levels)


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        (deep(200_000), "JSON that is broken|nested too deep"),  # it depends on the stack how deep Python reads
        (b'{"id":"b","name":' + b"1" * 5000 + b"}", "a number too long"),
        (b'{"id":"b","name":1e99999999999999999999}', "a number too long"),
    ],
    ids=["depth", "digits", "exponent"],
)
def test_what_is_beyond_reading_ends_its_list_alone(lists: Callable[..., Run], odd: bytes, words: str) -> None:
    run = lists(agents=b'{"id":"a"},' + odd, tags=b'{"id":"t"}')
    assert (run.ids("agents"), run.ids("tags")) == ([], ["t"])
    sentence, end = run.said("ERROR")
    assert sentence.startswith("Not read: agents. ")
    assert re.search(words, sentence)
    assert "not complete" in end
    assert "Traceback" not in run.stderr


def test_what_is_too_deep_to_be_flattened_is_told_in_a_sentence() -> None:
    tap = TapHustle(config={**LOGIN, "flattening_enabled": True, "flattening_max_depth": 1})
    record: dict[str, Any] = {"id": "b"}
    for _ in range(200_000):
        record = {"id": "b", "name": record}
    with pytest.raises(MalformedAnswerError, match="nested too deep"):
        record_messages("agents", tap.streams["agents"].stream_maps, [record], None, dt.datetime.now(dt.timezone.utc))


def test_a_byte_order_mark_is_no_part_of_an_answer(lists: Callable[..., Run]) -> None:
    run = lists(b"\xef\xbb\xbf", tags=b'{"id":"t"}')
    assert (run.code, run.ids("tags"), run.said("WARNING")) == (0, ["t"], [])


def test_names_that_the_schema_does_not_know_fill_no_log(lists: Callable[..., Run]) -> None:
    odd = ",".join(f'"k{number:04}":1' for number in range(1000))
    run = lists(agents=f'{{"id":"a","{"x" * 9999}":1,"a\\nb":2}}'.encode(), tags=f'{{"id":"t",{odd}}}'.encode())
    assert run.ids("tags") == ["t"]
    of_agents, of_tags = run.said("WARNING")
    assert of_agents.endswith(f"were left out: 'a\\nb' (1 times), {'x' * 100} (1 times).")
    assert len(of_tags) < 1200
    assert of_tags.endswith(", others (950 times).")


def test_what_fails_in_an_expression_is_told_without_it(lists: Callable[..., Run]) -> None:
    maps = {"tags": {"name": "md5('hush-do-not-tell' + nme)"}}
    run = lists(settings={"stream_maps": maps}, tags=b'{"id":"t"}')
    assert run.code == 1
    assert "hush-do-not-tell" not in run.stderr
    (sentence,) = run.said("ERROR")
    assert sentence == "stream_maps: tags: an expression fails on a record (NameNotDefined)."


def test_of_a_name_that_comes_twice_the_last_counts(lists: Callable[..., Run]) -> None:
    run = lists(tags=b'{"id":"s","name":"a","id":"t","name":"b"}')
    assert [(tag["id"], tag["name"]) for tag in run.records("tags")] == [("t", "b")]


@pytest.mark.parametrize("items", [b"", b'{"id":"a"}'])
def test_a_list_without_end_ends_alone(lists: Callable[..., Run], items: bytes) -> None:
    numbers = count(1)

    def endless(_query: str) -> bytes:
        return b'{"items":[%b],"cursor":"c%d","hasMore":true}' % (items, next(numbers))

    run = lists(settings={"predict_cursors": False}, agents=endless, tags=b'{"id":"t"}')
    assert run.code == 1
    assert next(numbers) <= IDLE_PAGES + 3
    assert run.ids("tags") == ["t"]
    sentence, _ = run.said("ERROR")
    assert sentence.startswith(f"Not read: agents. GET /agents: {IDLE_PAGES} pages one after another with nothing new")
    assert run.states[-1]["bookmarks"]["agents"]["resume"].get("cursor") == (f"c{IDLE_PAGES}" if items else None)


@pytest.fixture
def organizations(tap: Tap, raw_server: Callable[..., RawServer], answer: Callable[..., bytes]) -> Callable[..., Run]:
    """Run the tap on one organization, given as JSON; it has nothing but itself."""

    def run(organization: bytes) -> Run:
        def by(request: Any, _ordinal: int) -> bytes:
            if request.method == "POST":
                return answer(200, '{"access_token":"t","expires_in":7200}')
            items = organization if request.target.startswith("/v3/organizations") else b""
            return answer(200, b'{"items":[' + items + b'],"cursor":null,"hasMore":false}')

        return tap(config={**LOGIN, "api_url": f"{raw_server(by=by).url}/v3"}, leaps=True)

    return run


def test_what_is_no_utf8_stops_no_list(organizations: Callable[..., Run]) -> None:
    run = organizations(b'{"id":"a","name":"Caf\xe9 \xf0\x9f\x98"}')
    assert run.code == 0
    assert [record["name"] for record in run.records("organizations")] == ["Caf\ufffd \ufffd"]
    (warning,) = run.said("WARNING")
    assert warning.startswith("organizations: 2 characters could not be read")


def test_a_page_that_cannot_be_read_is_named_as_what_it_is(organizations: Callable[..., Run]) -> None:
    run = organizations(b'{"id":"a","name":"Caf}')
    assert run.code != 0
    assert "Traceback" not in run.stderr
    errors = run.said("ERROR")
    assert any("JSON that is broken" in error for error in errors)
    assert not any("proxy" in error for error in errors)


@pytest.mark.parametrize("number", ["12345678901234567890123", "0.12345678901234567890123", "1.5", "-7"])
def test_numbers_stay_what_they_are(organizations: Callable[..., Run], number: str) -> None:
    run = organizations(f'{{"id":"a","balances":{{"smsBalance":{number}}}}}'.encode())
    assert run.code == 0
    assert re.findall(rb'"smsBalance":([^{}]*)}', run.stdout) == [number.encode()]


def test_a_webhook_without_a_known_config_is_one_sentence(
    tap: Tap, raw_server: Callable[..., RawServer], answer: Callable[..., bytes]
) -> None:
    def by(request: Any, _ordinal: int) -> bytes:
        if request.method == "POST":
            return answer(200, '{"access_token":"t","expires_in":7200}')
        items = {"organizations": '{"id":"a"}', "webhook_registrations": '{"id":"w","config":["x"]}'}
        name = request.target.split("/")[-1].partition("?")[0]
        return answer(200, '{"items":[' + items.get(name, "") + '],"cursor":null,"hasMore":false}')

    run = tap(config={**LOGIN, "api_url": f"{raw_server(by=by).url}/v3", "organization_ids": ["a"]})
    assert run.code == 1
    assert "Traceback" not in run.stderr
    assert any(error.startswith("Not read: webhook_registrations. A webhook") for error in run.said("ERROR"))


def test_what_concerns_a_secret_is_left_out_unless_asked_for(tap: Tap, serve: Serve, settings: Settings) -> None:
    sandbox = serve(leads=1)
    run = tap(config=settings(sandbox))
    assert run.code == 0
    assert run.records("webhook_registrations")
    assert not any("secretForHMAC" in record for record in run.records("webhook_registrations"))


def test_a_variable_may_hold_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAP_HUSTLE_MAX_DELETED_SHARE", "0.5")
    assert TapHustle(config=LOGIN, parse_env_config=True).config["max_deleted_share"] == 0.5


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PAGE_SIZE", "ten"),
        ("STREAM_MAPS", "{x"),
        ("REQUESTS_PER_SECOND", "hush-do-not-tell"),
        ("KEEP_NUL", "maybe"),
        ("MAX_DELETED_SHARE", "some"),
    ],
)
def test_a_variable_of_the_wrong_kind_is_one_sentence(tap: Tap, variable: str, value: str) -> None:
    run = tap("--config=ENV", env={f"TAP_HUSTLE_{variable}": value})
    assert run.code == 1
    (error,) = run.said("ERROR")
    assert error.startswith(f"{variable.lower()} is not valid: TAP_HUSTLE_{variable} must hold ")
    assert value not in run.stderr
    assert run.stdout == b""
