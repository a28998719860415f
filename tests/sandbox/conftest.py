import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from api_sandbox import RunningSandbox, Scenario, serve_in_thread

LONG = 60  # Seconds after which a request of a test is a failure.


@pytest.fixture
def cleanup() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def serve(cleanup: ExitStack) -> Callable[[Scenario], RunningSandbox]:
    """Start a sandbox that ends with the test."""
    return lambda scenario: cleanup.enter_context(serve_in_thread(scenario))


@pytest.fixture
def stopped_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """No time goes by in the sandboxes: all requests of a test come in one second."""
    monkeypatch.setattr("api_sandbox.api.time", SimpleNamespace(monotonic=lambda: 0.0, time=time.time))


@pytest.fixture
def log_in(cleanup: ExitStack) -> Callable[[RunningSandbox], requests.Session]:
    """A session with a fresh token, closed with the test."""

    def logged_in(sandbox: RunningSandbox) -> requests.Session:
        session = cleanup.enter_context(requests.Session())
        credentials = {
            "grant_type": "client_credentials",
            "client_id": sandbox.hustle.client_id,
            "client_secret": sandbox.hustle.client_secret,
        }
        answer = session.post(sandbox.hustle.auth_url, json=credentials, timeout=LONG)
        answer.raise_for_status()
        session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        return session

    return logged_in


@pytest.fixture
def call(cleanup: ExitStack) -> Callable[..., requests.Response]:
    """Call the Harkster API of a sandbox with its token."""
    sessions: dict[str, requests.Session] = {}

    def called(sandbox: RunningSandbox, method: str, path: str, **options: Any) -> requests.Response:
        where = sandbox.harkster
        if where.api_url not in sessions:
            sessions[where.api_url] = cleanup.enter_context(requests.Session())
            sessions[where.api_url].headers["Authorization"] = f"Bearer {where.access_token}"
        return sessions[where.api_url].request(method, f"{where.api_url}/{path}", **{"timeout": LONG, **options})

    return called


@pytest.fixture
def get(log_in: Callable[[RunningSandbox], requests.Session]) -> Callable[..., requests.Response]:
    """GET a path of a sandbox, logged in once a test."""
    sessions: dict[str, requests.Session] = {}

    def gotten(sandbox: RunningSandbox, path: str, **params: Any) -> requests.Response:
        url = sandbox.hustle.api_url
        if url not in sessions:
            sessions[url] = log_in(sandbox)
        return sessions[url].get(f"{url}/{path}", params=params, timeout=LONG)

    return gotten


@pytest.fixture
def read_all(get: Callable[..., requests.Response]) -> Callable[..., list[dict[str, Any]]]:
    """All records of a list, by its cursors, as the vendor's guide tells to read it."""

    def read(sandbox: RunningSandbox, path: str, **params: Any) -> list[dict[str, Any]]:
        records: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            answer = get(sandbox, path, **params, **cursor)
            assert answer.status_code == 200, answer.text
            page = answer.json()
            records += page["items"]
            if not page["hasMore"] or page["cursor"] is None:
                return records
            cursor = {"cursor": page["cursor"]}

    return read


@pytest.fixture
def hubstaff(cleanup: ExitStack) -> Callable[..., requests.Response]:
    """GET a path of the Hubstaff API with the organization's token, as a client that tells its name."""
    session = cleanup.enter_context(requests.Session())
    session.headers["User-Agent"] = "tests of the sandbox"

    def gotten(sandbox: RunningSandbox, path: str, **params: Any) -> requests.Response:
        # Names with brackets are no Python names: time_slot_start stands for time_slot[start].
        bracketed = {re.sub(r"_(start|stop)$", r"[\1]", name): value for name, value in params.items()}
        headers = {"Authorization": f"Bearer {sandbox.hubstaff.organization_token}"}
        return session.get(f"{sandbox.hubstaff.api_url}/{path}", params=bracketed, headers=headers, timeout=LONG)

    return gotten
