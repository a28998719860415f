"""What the APIs of the three vendors have in common: the way of a request through latency, faults and report."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from api_sandbox.delivery import Answer, deliver, json_answer, spoil
from api_sandbox.faults import Fault, FaultBook, FaultKind, Target
from api_sandbox.report import Recorder

_T = TypeVar("_T")


@dataclass(eq=False)
class Refused(Exception):  # noqa: N818 - a refusal is an answer, not a defect
    """A request that an API answers with an error. Whatever reads or does what is asked for may raise it.

    Attributes:
        code: What the vendor calls the error, where it has a name for it.
    """

    status: int
    message: str
    headers: dict[str, str] = field(default_factory=dict)
    code: Any = None


def attempt(work: Callable[[], _T]) -> "_T | Refused":
    """What some work gives, or why it is refused: for faults that come before both."""
    try:
        return work()
    except Refused as refused:
        return refused


class VendorApi(ABC):
    """An API as an ASGI application.

    Attributes:
        clock: Tells the time that answers are dated by, in seconds since 1970.
    """

    token_paths: frozenset[str] = frozenset()
    """Where tokens are given."""
    before_grant: frozenset[FaultKind] = frozenset()
    """Faults that stand in the place of a token: none was asked for."""

    def __init__(self, latency: float, faults: FaultBook, recorder: Recorder) -> None:
        self.clock: Callable[[], float] = time.time
        self._latency = latency
        self._faults = faults
        self._recorder = recorder

    def reset(self, recorder: Recorder) -> None:
        """Report to another recorder."""
        self._recorder = recorder

    @abstractmethod
    def expire_tokens(self) -> None:
        """End the life of every access token now."""

    @abstractmethod
    def error(self, refused: Refused) -> tuple[bytes, str]:
        """Body and media type of an error, in the vendor's form."""

    @abstractmethod
    async def serve(self, request: Request, body: bytes, now: float) -> Answer:
        """Answer a request for resources that arrived at a time of the monotonic clock, or raise Refused."""

    @abstractmethod
    def grant(self, request: Request, body: bytes) -> dict[str, Any]:
        """Give a token, or raise Refused."""

    def label(self, request: Request) -> str:
        """What the report calls a request."""
        path: str = request.scope["path"]
        return path

    def way_there(self) -> float:
        """Seconds that a request for resources takes to arrive."""
        return self._latency / 2

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request, recorder = Request(scope, receive), self._recorder
        label, for_token = self.label(request), scope["path"] in self.token_paths
        recorder.began(label, for_token=for_token)
        try:
            body = b"" if request.method == "GET" else await request.body()
        except ClientDisconnect:
            recorder.ended(label, "gone")
            return
        answer = self._token(request, body) if for_token else await self._resource(request, body)
        if answer.is_held:
            await self._faults.gate.hold()
        await deliver(answer, scope, receive, send, self.clock)
        recorder.ended(label, answer.outcome)
        if answer.served is not None and answer.sound:
            recorder.served(answer.served)

    def refusal(self, refused: Refused) -> Answer:
        """The answer to a request that is refused."""
        return Answer(refused.status, *self.error(refused), dict(refused.headers), sound=False)

    def draw(self, target: Target) -> list[Fault]:
        """The faults that act on a request. One that ends all tokens refuses it."""
        drawn = self._faults.draw(target)
        if any(fault.kind == "expire_token" for fault in drawn):
            self.expire_tokens()
            raise Refused(HTTPStatus.UNAUTHORIZED, "the access token has just expired")
        return drawn

    def spoilt(self, answer: Answer, faults: Iterable[Fault]) -> Answer:
        """The answer with faults of its delivery."""
        for fault in faults:
            answer = spoil(answer, fault, self.error(Refused(fault.status, "a fault of the sandbox")))
        return answer

    def _token(self, request: Request, body: bytes) -> Answer:
        drawn = self._faults.draw(Target(request.scope["path"], with_token=False))
        if any(fault.kind in self.before_grant or not fault.committed for fault in drawn):
            return self.spoilt(json_answer({}), drawn)
        given = attempt(lambda: self.grant(request, body))
        return self.spoilt(self.refusal(given) if isinstance(given, Refused) else json_answer(given), drawn)

    async def _resource(self, request: Request, body: bytes) -> Answer:
        await pass_by(self.way_there())
        now = time.monotonic()
        self._recorder.arrived(now)
        try:
            answer = await self.serve(request, body, now)
        except Refused as refused:
            answer = self.refusal(refused)
        await pass_by(self._latency / 2)
        return answer


async def pass_by(seconds: float) -> None:
    """Let time pass, if there is any to."""
    if seconds:
        await asyncio.sleep(seconds)
