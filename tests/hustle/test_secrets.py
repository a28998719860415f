"""No secret, token or person's data in a log, an error or a STATE, down to DEBUG, whatever the API says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from api_sandbox import Fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from api_sandbox import RunningSandbox

    from tests.conftest import RawServer, Received
    from tests.hustle.conftest import Run

    Settings = Callable[..., dict[str, Any]]
    Serve = Callable[..., RunningSandbox]
    Tap = Callable[..., Run]
    RawServe = Callable[..., RawServer]

SECRET = "s3cr3t-of-the-client"
ID = "someone+private@example.org"
TOKEN = "t0k3n-of-the-hour"
PERSON = {"id": "lead1", "firstName": "Wilhelmina-Xanthippe", "phoneNumber": "+15550001111", "notes": "owes-me-money"}
PRIVATE = (SECRET, ID, TOKEN, "Wilhelmina", "5550001111", "owes-me")
LOGIN = {"client_id": ID, "client_secret": SECRET}
DEBUG = {"LOGLEVEL": "DEBUG", "TAP_HUSTLE_LOGLEVEL": "DEBUG"}


def told(run: Run) -> str:
    """All that a run says apart from its records."""
    return run.stderr + json.dumps(run.states) + json.dumps(run.of_type("SCHEMA"))


def assert_discreet(run: Run, private: tuple[str, ...] = PRIVATE) -> None:
    said = told(run)
    assert [word for word in private if word in said] == []


def parrot(request: Received) -> str:
    """A body that says everything that it should not."""
    return json.dumps(
        {"message": [request.headers.get("authorization"), request.body.decode(), f"Bearer {TOKEN}"], "lead": PERSON}
    )


def and_close(answer: str) -> Callable[..., None]:
    """Bytes that end with the connection."""
    return lambda connection, _request: connection.sendall(answer.encode())


ANSWERS: dict[str, Callable[[Callable[..., bytes], Received], Any]] = {
    **{
        str(status): lambda answer, request, status=status: answer(status, parrot(request))  # type: ignore[misc]
        for status in (301, 400, 401, 403, 404, 408, 422, 429, 500, 503)
    },
    "not a list": lambda answer, request: answer(200, parrot(request)),
    "not JSON": lambda answer, request: answer(200, f"<p>{parrot(request)}"),
    "cut": lambda answer, request: answer(200, parrot(request)[:-1]),
    "cut off": lambda answer, request: answer(200, parrot(request), Content_Length="9999", Connection="close"),
    "records of a wrong kind": lambda answer, request: answer(200, json.dumps({"items": [parrot(request)]})),
    "records without a key": lambda answer, request: answer(
        200, json.dumps({"items": [{**PERSON, "id": None}], "told": parrot(request), "hasMore": False})
    ),
    "not a cursor": lambda answer, request: answer(
        200, json.dumps({"items": [], "cursor": [parrot(request)], "hasMore": True})
    ),
    "in headers": lambda answer, _request: answer(500, Retry_After=TOKEN, X_Secret=SECRET, Location=f"/{TOKEN}"),
    "bad header": lambda _answer, _request: and_close(f"HTTP/1.1 200 {SECRET}\r\n{TOKEN}\r\n\r\n{SECRET}"),
    "bad status line": lambda _answer, _request: and_close(f"{SECRET} {TOKEN}\r\n\r\n"),
    "bad length": lambda answer, request: answer(200, parrot(request), Content_Length=SECRET, Connection="close"),
    "bad encoding": lambda answer, request: answer(200, parrot(request), Content_Encoding="gzip"),
    "bad chunks": lambda answer, request: answer(200, parrot(request), Transfer_Encoding="chunked", Connection="close"),
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_an_api_that_repeats_what_it_was_told_is_not_repeated(
    tap: Tap, raw_server: RawServe, answer: Callable[..., bytes], kind: str
) -> None:
    def by(request: Received, _ordinal: int) -> Any:
        if request.method == "POST":
            return answer(200, json.dumps({"access_token": TOKEN, "expires_in": 7200}))
        return ANSWERS[kind](answer, request)

    server = raw_server(by=by)
    run = tap(config={**LOGIN, "api_url": server.url}, env=DEBUG, leaps=True)
    assert run.code == 1
    assert "Traceback" not in run.stderr
    assert "DEBUG" in run.stderr
    assert_discreet(run)


@pytest.mark.parametrize("kind", ANSWERS)
def test_a_token_endpoint_that_repeats_what_it_was_told_is_not_repeated(
    tap: Tap, raw_server: RawServe, answer: Callable[..., bytes], kind: str
) -> None:
    server = raw_server(by=lambda request, _ordinal: ANSWERS[kind](answer, request))
    run = tap(config={**LOGIN, "api_url": server.url}, env=DEBUG, leaps=True)
    assert run.code == 1
    assert "Traceback" not in run.stderr
    assert_discreet(run)


FAULTS = [
    [],
    [Fault(kind="expire_token", path="/leads", page=2, times=1)],
    [Fault(kind="truncated", path="/leads"), Fault(kind="null_item", path="/agents")],
    [Fault(kind="unknown_fields"), Fault(kind="status", status=500, times=5)],
    [Fault(kind="repeat_cursor", path="/leads"), Fault(kind="not_json", path="/tags")],
]


@pytest.mark.parametrize("faults", FAULTS, ids=lambda faults: "+".join(fault.kind for fault in faults) or "none")
def test_no_persons_data_in_the_log(tap: Tap, serve: Serve, settings: Settings, faults: list[Fault]) -> None:
    sandbox = serve(*faults, leads=40)
    run = tap(config=settings(sandbox), env=DEBUG, leaps=True)
    people = [*sandbox.records("leads"), *sandbox.records("agents")]
    private = {person[field] for person in people for field in ("phoneNumber", "email", "fullName") if field in person}
    assert len(private) > 20
    assert run.stderr.count("DEBUG") > 3
    assert_discreet(run, (sandbox.hustle.client_id, sandbox.hustle.client_secret, "eyJ", *sorted(private)))


def test_a_stream_map_that_fails_does_not_quote_the_record(tap: Tap, serve: Serve, settings: Settings) -> None:
    sandbox = serve(leads=10)
    run = tap(config=settings(sandbox, stream_maps={"leads": {"x": "int(phoneNumber + 'x')"}}), env=DEBUG)
    assert run.code > 0
    phones = tuple(lead["phoneNumber"] for lead in sandbox.records("leads"))
    assert_discreet(run, (sandbox.hustle.client_secret, "eyJ", *phones))


def test_settings_of_a_wrong_type_are_not_quoted(tap: Tap) -> None:
    for wrong in ([SECRET], {"a": SECRET}):
        run = tap(config={"client_id": ID, "client_secret": wrong}, env=DEBUG)
        assert run.code == 1
        assert "client_secret" in run.stderr
        assert_discreet(run)


def test_about_and_discovery_tell_no_secret(tap: Tap) -> None:
    for option in ("--about", "--discover", "--test=schema"):
        run = tap(option, config=LOGIN, env=DEBUG)
        assert run.code == 0
        said = run.stdout.decode() + run.stderr
        assert SECRET not in said
        assert ID not in said
