from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import msgspec
import pytest
import requests
from api_sandbox import HustleScenario, RunningSandbox, Scenario
from api_sandbox.api import Refused
from api_sandbox.hustle.tokens import Credentials, LoginGuard, TokenDesk
from requests.adapters import HTTPAdapter
from typing_extensions import override

Serve = Callable[[Scenario], RunningSandbox]
Get = Callable[..., requests.Response]

DAY = 24 * 3600


@pytest.fixture
def sandbox(serve: Serve) -> RunningSandbox:
    return serve(Scenario())


def login(sandbox: RunningSandbox, url: str | None = None, **changes: Any) -> requests.Response:
    body = {
        "grant_type": "client_credentials",
        "client_id": sandbox.hustle.client_id,
        "client_secret": sandbox.hustle.client_secret,
        **changes,
    }
    body = {name: value for name, value in body.items() if value is not None}
    return requests.post(url or sandbox.hustle.auth_url, json=body, timeout=60)


def test_the_right_credentials_get_a_token(sandbox: RunningSandbox) -> None:
    answer = login(sandbox).json()
    assert {name: answer[name] for name in ("scope", "expires_in", "token_type")} == {
        "scope": "read:account write:account",
        "expires_in": 7200,
        "token_type": "Bearer",
    }
    assert set(answer) == {"access_token", "scope", "expires_in", "token_type"}
    assert answer["access_token"].count(".") == 2
    assert answer["access_token"].startswith("eyJ")
    assert login(sandbox).json()["access_token"] != answer["access_token"]


def test_the_path_of_the_guide_works_too(sandbox: RunningSandbox, get: Get) -> None:
    url = sandbox.hustle.auth_url.replace("v3", "v2")
    assert login(sandbox, url).status_code == 200
    assert get(sandbox, "leads").status_code == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"grant_type": None},
        {"client_id": None},
        {"client_secret": None},
        {"grant_type": "password"},
        {"client_secret": 5},
        {"audience": "x"},
    ],
)
def test_a_malformed_request_is_400(sandbox: RunningSandbox, changes: dict[str, Any]) -> None:
    answer = login(sandbox, **changes)
    assert answer.status_code == answer.json()["code"] == 400


def test_a_form_is_not_json(sandbox: RunningSandbox) -> None:
    form = {
        "grant_type": "client_credentials",
        "client_id": sandbox.hustle.client_id,
        "client_secret": sandbox.hustle.client_secret,
    }
    assert requests.post(sandbox.hustle.auth_url, data=form, timeout=60).status_code == 400
    assert requests.get(sandbox.hustle.auth_url, timeout=60).status_code == 405


def test_ten_failures_block_even_the_right_credentials(sandbox: RunningSandbox) -> None:
    assert [login(sandbox, client_secret="wrong").status_code for _ in range(10)] == [401] * 10
    blocked = login(sandbox)
    assert blocked.status_code == blocked.json()["code"] == 403
    report = sandbox.report()
    assert (report.token_requests, report.token_failures) == (11, 11)
    sandbox.reset()
    assert login(sandbox).status_code == 200


def test_a_success_does_not_forgive_failures(sandbox: RunningSandbox) -> None:
    for _ in range(9):
        login(sandbox, client_secret="wrong")
    assert login(sandbox).status_code == 200
    assert login(sandbox, client_secret="wrong").status_code == 401
    assert login(sandbox).status_code == 403


def test_the_block_is_of_one_account(sandbox: RunningSandbox) -> None:
    for _ in range(10):
        login(sandbox, client_id="other@example.org")
    assert login(sandbox, client_id="other@example.org").status_code == 403
    assert login(sandbox).status_code == 200


class FromElsewhere(HTTPAdapter):
    """Comes from another address of loopback."""

    @override
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> Any:
        return super().init_poolmanager(*args, **kwargs, source_address=("127.0.0.2", 0))


def test_the_block_is_of_one_caller(sandbox: RunningSandbox, cleanup: ExitStack) -> None:
    for _ in range(10):
        login(sandbox, client_secret="wrong")
    assert login(sandbox).status_code == 403
    elsewhere = cleanup.enter_context(requests.Session())
    elsewhere.mount("http://", FromElsewhere())
    body = {
        "grant_type": "client_credentials",
        "client_id": sandbox.hustle.client_id,
        "client_secret": sandbox.hustle.client_secret,
    }
    try:
        answer = elsewhere.post(sandbox.hustle.auth_url, json=body, timeout=60)
    except requests.ConnectionError:
        pytest.skip("this machine has no second address of loopback")
    assert answer.status_code == 200


def test_a_hundred_failures_in_a_day_block_every_account() -> None:
    now = [0.0]
    guard = LoginGuard(per_account=10, per_day=100, block_seconds=60, clock=lambda: now[0])
    for attempt in range(100):
        assert not guard.blocks("caller", f"account {attempt}")
        guard.failed("caller", f"account {attempt}")
        now[0] += 1
    assert guard.blocks("caller", "account never tried")
    assert not guard.blocks("another caller", "account never tried")
    now[0] = DAY - 0.5
    assert guard.blocks("caller", "account never tried")
    now[0] = DAY
    assert not guard.blocks("caller", "account never tried")


def test_a_block_ends() -> None:
    now = [0.0]
    guard = LoginGuard(per_account=2, per_day=100, block_seconds=60, clock=lambda: now[0])
    guard.failed("caller", "account")
    guard.failed("caller", "account")
    now[0] = 59.9
    assert guard.blocks("caller", "account")
    now[0] = 60.0
    assert not guard.blocks("caller", "account")
    guard.failed("caller", "account")
    assert not guard.blocks("caller", "account")


def test_a_token_lives_as_long_as_it_lives() -> None:
    now = [0.0]
    guard = LoginGuard(10, 100, 60)
    desk = TokenDesk(Credentials("a", "b"), guard, lifetime=50, expires_in=7200, clock=lambda: now[0])
    body = msgspec.json.encode({"grant_type": "client_credentials", "client_id": "a", "client_secret": "b"})
    answer = desk.answer("application/json; charset=utf-8", body, "caller")
    assert answer["expires_in"] == 7200
    now[0] = 49.9
    desk.check(f"bearer {answer['access_token']}")
    now[0] = 50.0
    with pytest.raises(Refused) as refused:
        desk.check(f"Bearer {answer['access_token']}")
    assert refused.value.status == 401


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer x.y.z", "Basic YTpi"])
def test_other_tokens_are_refused(sandbox: RunningSandbox, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = requests.get(f"{sandbox.hustle.api_url}/leads", headers=headers, timeout=60)
    assert answer.status_code == answer.json()["code"] == 401


def test_all_tokens_can_be_ended(sandbox: RunningSandbox, get: Get) -> None:
    assert get(sandbox, "leads").status_code == 200
    sandbox.expire_tokens()
    assert get(sandbox, "leads").status_code == 401


def test_token_requests_are_not_limited_per_second(serve: Serve) -> None:
    sandbox = serve(Scenario(hustle=HustleScenario(requests_per_second=1)))
    assert {login(sandbox).status_code for _ in range(5)} == {200}
    assert sandbox.report().busiest_second == 0


def test_credentials_can_be_set(serve: Serve) -> None:
    sandbox = serve(Scenario(hustle=HustleScenario(client_id="me@example.org", client_secret="s3cret")))
    assert login(sandbox, client_id="me@example.org", client_secret="s3cret").status_code == 200
