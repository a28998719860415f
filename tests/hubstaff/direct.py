"""A sandbox without a server: what would go over a connection is handed over, which is quicker by far."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar
from unittest import mock
from urllib.parse import urlencode, urlsplit

import msgspec
from api_sandbox.addresses import addresses
from api_sandbox.running import RunningHubstaff
from api_sandbox.sandbox import Sandbox
from requests.structures import CaseInsensitiveDict
from singer_http.http.transport import Answer, Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from api_sandbox import Scenario
    from api_sandbox.faults import FaultBook
    from api_sandbox.hubstaff.api import HubstaffApi
    from singer_http.http.transport import Request

T = TypeVar("T")


class DirectSandbox:
    """The Hubstaff API of a sandbox, for whoever is in this process.

    Args:
        scenario: What to simulate.

    Attributes:
        hubstaff: Where it is, and how to steer it.
        faults: What goes wrong.
    """

    def __init__(self, scenario: Scenario) -> None:
        sandbox = Sandbox(scenario.checked())
        self._api = sandbox.hubstaff
        self._turn = threading.Lock()
        self.faults: FaultBook = sandbox.faults
        where = addresses(sandbox, "http://127.0.0.1").hubstaff
        self.hubstaff = RunningHubstaff(**msgspec.structs.asdict(where), run=self._do)

    @contextmanager
    def reached(self) -> Iterator[None]:
        """Have all requests answered by it."""
        answer = self._answer

        def send(transport: Transport, base_url: str, request: Request, token: str | None) -> Answer:
            given = answer(base_url, request, token)
            transport.api_time.learn(given.headers)
            transport.answered.add(base_url)
            return given

        with mock.patch.object(Transport, "send", send):
            yield

    def _do(self, work: Callable[[HubstaffApi], T]) -> T:
        with self._turn:
            return work(self._api)

    def _answer(self, base_url: str, request: Request, token: str | None) -> Answer:
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b""}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": request.method,
            "path": urlsplit(base_url).path + request.path,
            "query_string": urlencode(request.params or {}).encode(),
            "headers": [(b"user-agent", b"tap-hubstaff"), (b"authorization", f"Bearer {token}".encode())],
            "scheme": "http",
            "server": ("127.0.0.1", 80),
        }
        with self._turn:
            try:
                self._api(scope, receive, send).send(None)
            except StopIteration:
                start, *rest = sent
            else:
                raise AssertionError("an answer that waits needs a server")
        headers = CaseInsensitiveDict({name.decode(): value.decode() for name, value in start["headers"]})
        return Answer(start["status"], headers, b"".join(message.get("body", b"") for message in rest), 0.0)
