"""Text and numbers of the API that loaders stumble over, from the answer to the message."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from api_sandbox import Fault

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


@pytest.mark.parametrize(
    ("variable", "value"),
    [("PAGE_SIZE", "ten"), ("STREAM_MAPS", "{x"), ("REQUESTS_PER_SECOND", "hush-do-not-tell"), ("KEEP_NUL", "maybe")],
)
def test_a_variable_of_the_wrong_kind_is_one_sentence(tap: Tap, variable: str, value: str) -> None:
    run = tap("--config=ENV", env={f"TAP_HUSTLE_{variable}": value})
    assert run.code == 1
    (error,) = run.said("ERROR")
    assert error.startswith(f"{variable.lower()} is not valid: TAP_HUSTLE_{variable} must hold ")
    assert value not in run.stderr
    assert run.stdout == b""
