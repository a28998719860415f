"""How the simulated Hubstaff account host rotates refresh tokens, and whom the API lets in."""

import json
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import requests
from api_sandbox import Fault, HubstaffScenario, RunningSandbox, Scenario, serve_in_thread

Serve = Callable[[Scenario], RunningSandbox]
Get = Callable[..., requests.Response]

AGENT = {"User-Agent": "tests of the sandbox"}
DAY = 86_400


def account(**settings: Any) -> Scenario:
    return Scenario(hubstaff=HubstaffScenario(**{"clock": "stopped", "exchanges_per_hour": None, **settings}))


@pytest.fixture
def sandbox() -> Iterator[RunningSandbox]:
    with serve_in_thread(account()) as running:
        yield running


def exchange(sandbox: RunningSandbox, token: str, **more: Any) -> requests.Response:
    form = {"grant_type": "refresh_token", "refresh_token": token}
    return requests.post(sandbox.hubstaff.auth_url, timeout=60, **{"data": form, "headers": AGENT, **more})


def opens(sandbox: RunningSandbox, token: str) -> int:
    headers = {**AGENT, "Authorization": f"Bearer {token}"}
    return requests.get(f"{sandbox.hubstaff.api_url}/users/me", headers=headers, timeout=60).status_code


def claims(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    found: dict[str, Any] = json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


def test_a_personal_access_token_is_exchanged_without_client_credentials(sandbox: RunningSandbox) -> None:
    answer = exchange(sandbox, sandbox.hubstaff.personal_access_token)
    given = answer.json()
    assert (given["token_type"], given["expires_in"]) == ("bearer", DAY)
    assert given["refresh_token"] == sandbox.hubstaff.current_refresh_token()
    assert claims(given["refresh_token"])["exp"] == int(sandbox.hubstaff.now.timestamp()) + 90 * DAY
    assert opens(sandbox, given["access_token"]) == 200


def test_a_refresh_token_dies_when_it_is_used(sandbox: RunningSandbox) -> None:
    first = sandbox.hubstaff.personal_access_token
    second = exchange(sandbox, first).json()
    used = exchange(sandbox, first)
    assert (used.status_code, used.json()["error"]) == (400, "invalid_grant")
    assert opens(sandbox, second["access_token"]) == 200
    assert exchange(sandbox, second["refresh_token"]).status_code == 200


def test_reuse_can_end_everything(serve: Serve) -> None:
    sandbox = serve(account(reuse="revoke", reuse_status=401))
    first = sandbox.hubstaff.personal_access_token
    second = exchange(sandbox, first).json()
    assert exchange(sandbox, first).status_code == 401
    assert exchange(sandbox, second["refresh_token"]).status_code == 401
    assert opens(sandbox, second["access_token"]) == 401
    assert sandbox.hubstaff.current_refresh_token() == ""


def test_a_refresh_token_is_no_access_token(sandbox: RunningSandbox) -> None:
    assert opens(sandbox, sandbox.hubstaff.personal_access_token) == 401
    assert opens(sandbox, "nonsense") == 401


def test_an_organization_token_goes_straight_in(sandbox: RunningSandbox) -> None:
    assert sandbox.hubstaff.organization_token.startswith("hsoat_")
    assert opens(sandbox, sandbox.hubstaff.organization_token) == 200
    assert exchange(sandbox, sandbox.hubstaff.organization_token).status_code == 400


def test_applications_show_their_credentials(sandbox: RunningSandbox) -> None:
    hubstaff = sandbox.hubstaff
    client = (hubstaff.client_id, hubstaff.client_secret)
    assert exchange(sandbox, hubstaff.refresh_token).status_code == 400
    assert exchange(sandbox, hubstaff.personal_access_token, auth=client).status_code == 400
    wrong = exchange(sandbox, hubstaff.refresh_token, auth=(client[0], "wrong"))
    assert (wrong.status_code, wrong.json()["error"]) == (401, "invalid_client")
    given = exchange(sandbox, hubstaff.refresh_token, auth=client).json()
    assert opens(sandbox, given["access_token"]) == 200
    assert given["refresh_token"] == hubstaff.current_refresh_token("oauth")


@pytest.mark.parametrize(
    "more",
    [
        {"data": {"grant_type": "refresh_token"}},
        {"data": {"grant_type": "client_credentials", "refresh_token": "x"}},
        {"data": None, "json": {"grant_type": "refresh_token", "refresh_token": "x"}},
        {"headers": {**AGENT, "Authorization": "Basic not-base64!"}},
    ],
)
def test_malformed_exchanges_kill_nothing(sandbox: RunningSandbox, more: dict[str, Any]) -> None:
    token = sandbox.hubstaff.personal_access_token
    assert exchange(sandbox, token, **more).status_code in {400, 401}
    assert exchange(sandbox, token).status_code == 200


def test_tokens_grow_old(sandbox: RunningSandbox) -> None:
    given = exchange(sandbox, sandbox.hubstaff.personal_access_token).json()
    sandbox.hubstaff.advance(DAY)
    assert opens(sandbox, given["access_token"]) == 401
    sandbox.hubstaff.advance(89 * DAY)
    assert exchange(sandbox, given["refresh_token"]).json()["error"] == "invalid_grant"


def test_the_truth_need_not_be_told_of_the_life_of_tokens(serve: Serve) -> None:
    sandbox = serve(account(expires_in=7, access_token_lifetime=60))
    given = exchange(sandbox, sandbox.hubstaff.personal_access_token).json()
    assert given["expires_in"] == 7
    sandbox.hubstaff.advance(59)
    assert opens(sandbox, given["access_token"]) == 200


def test_five_exchanges_an_hour_are_allowed(serve: Serve) -> None:
    sandbox = serve(account(exchanges_per_hour=5))
    token = sandbox.hubstaff.personal_access_token
    for _ in range(5):
        token = exchange(sandbox, token).json()["refresh_token"]
        sandbox.hubstaff.advance(60)
    refused = exchange(sandbox, token)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "3300")
    sandbox.hubstaff.advance(3300)
    assert exchange(sandbox, token).status_code == 200


@pytest.mark.parametrize("committed", [True, False])
def test_the_answer_to_an_exchange_can_be_lost(sandbox: RunningSandbox, *, committed: bool) -> None:
    token = sandbox.hubstaff.personal_access_token
    sandbox.faults.add(Fault(kind="reset", path="/access_tokens", times=1, committed=committed))
    with pytest.raises(requests.ConnectionError):
        exchange(sandbox, token)
    assert (sandbox.hubstaff.current_refresh_token() == token) is not committed
    assert exchange(sandbox, token).status_code == (400 if committed else 200)


@pytest.mark.parametrize("kind", ["empty_body", "truncated"])
def test_answers_that_cannot_be_read_come_after_the_exchange(sandbox: RunningSandbox, kind: Any) -> None:
    sandbox.faults.add(Fault(kind=kind, path="/access_tokens", times=1))
    token = sandbox.hubstaff.personal_access_token
    with suppress(requests.RequestException):
        assert exchange(sandbox, token).status_code == 200
    assert sandbox.hubstaff.current_refresh_token() != token


def test_an_error_of_the_account_host_comes_before_the_exchange(sandbox: RunningSandbox) -> None:
    sandbox.faults.add(Fault(kind="status", status=503, path="/access_tokens", times=1))
    token = sandbox.hubstaff.personal_access_token
    assert exchange(sandbox, token).status_code == 503
    assert exchange(sandbox, token).status_code == 200


def test_tokens_can_be_ended_and_begun_anew(sandbox: RunningSandbox) -> None:
    first = sandbox.hubstaff.personal_access_token
    given = exchange(sandbox, first).json()
    sandbox.reset()
    assert opens(sandbox, given["access_token"]) == 200
    sandbox.hubstaff.expire_access_tokens()
    assert opens(sandbox, given["access_token"]) == 401
    given = exchange(sandbox, given["refresh_token"]).json()
    sandbox.hubstaff.reset_tokens()
    assert exchange(sandbox, given["refresh_token"]).status_code == 400
    assert exchange(sandbox, first).status_code == 200


def test_a_fault_ends_access_tokens(sandbox: RunningSandbox) -> None:
    given = exchange(sandbox, sandbox.hubstaff.personal_access_token).json()
    sandbox.faults.add(Fault(kind="expire_token", path="/users/me", times=1))
    assert opens(sandbox, given["access_token"]) == 401
    assert opens(sandbox, given["access_token"]) == 401
    assert exchange(sandbox, given["refresh_token"]).status_code == 200


def test_the_report_counts_exchanges(sandbox: RunningSandbox) -> None:
    exchange(sandbox, sandbox.hubstaff.personal_access_token)
    exchange(sandbox, sandbox.hubstaff.personal_access_token)
    report = sandbox.report()
    assert (report.token_requests, report.token_failures) == (2, 1)
