"""The Harkster API as an ASGI application."""

import asyncio
import hmac
import time
from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from http import HTTPStatus

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from api_sandbox.delivery import HTML, Answer, deliver, spoil
from api_sandbox.faults import DELAY_KINDS, PAGE_KINDS, Fault, FaultBook, FaultKind, Target
from api_sandbox.harkster.errors import Refused, error_content, refusal
from api_sandbox.harkster.page import render
from api_sandbox.harkster.paging import Page, spoil_page, token_page
from api_sandbox.harkster.routes import ROOT, Call, understand
from api_sandbox.harkster.scenario import HarksterScenario
from api_sandbox.harkster.service import Sent, Service
from api_sandbox.harkster.truth import HarksterTruth
from api_sandbox.limits import SlidingWindow, retry_after
from api_sandbox.report import Recorder

CONTINUATION = "x-harkster-continuation"
_ENDS = {"empty": "", "null": "null"}
_INSTEAD: frozenset[FaultKind] = frozenset({"status", "empty_body", "not_json", "wrong_shape", "reset"})
"""Faults that may stand in the place of what is asked for, as nothing of the true answer is in them."""
_GONE = "gone"
"""Outcome of a request whose client left before it was read."""


class HarksterApi:
    """The API of one user, and the page that shows what was posted.

    Attributes:
        access_token: What opens it.
        service: What it does.
    """

    def __init__(self, seed: int, scenario: HarksterScenario, faults: FaultBook, recorder: Recorder) -> None:
        self.access_token = scenario.access_token or blake2b(f"{seed}/harkster".encode(), digest_size=20).hexdigest()
        self.service = Service(seed, scenario)
        self._window = SlidingWindow(scenario.requests_per_second, counts=scenario.rate_limit_counts)
        self._rate_refusals = 0
        self._revoked = False
        self._scenario = scenario
        self._faults = faults
        self._recorder = recorder

    def reset(self, recorder: Recorder) -> None:
        """Let the token work again, forget the limiter's window, and report to another recorder. Posts stay."""
        self._revoked = False
        self._window.clear()
        self._recorder = recorder

    def revoke(self) -> None:
        """Make the token useless until the next reset."""
        self._revoked = True

    def truth(self) -> HarksterTruth:
        """What has become of every post."""
        posts, directory = self.service.posts, self.service.directory
        return HarksterTruth(
            posts={
                channel.id: [post.truth() for post in posts.of_channel(channel)] for channel in directory.channels()
            },
            events=list(posts.events),
            used={account.id: posts.used(account) for account in directory.accounts},
            quota_refusals=posts.quota_refusals,
            rate_refusals=self._rate_refusals,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["path"] == f"{ROOT}/":
            await deliver(Answer(HTTPStatus.OK, render(self.service), HTML), scope, receive, send)
            return
        request, recorder = Request(scope, receive), self._recorder
        call = understand(request.method, request.url.path)
        recorder.began(call.label)
        try:
            body = await request.body()
        except ClientDisconnect:
            recorder.ended(call.label, _GONE)
            return
        headers = request.headers
        sent = Sent(headers.get(CONTINUATION), headers.get("content-type", ""), body)
        answer = await self._answer(call, sent, headers.get("authorization"))
        if answer.is_held:
            await self._faults.gate.hold()
        await deliver(answer, scope, receive, send)
        recorder.ended(call.label, answer.outcome)

    async def _answer(self, call: Call, sent: Sent, authorization: str | None) -> Answer:
        """The answer to a request, when it has been on the way for its time."""
        await asyncio.sleep(self._scenario.latency / 2)
        now = time.monotonic()
        self._recorder.arrived(now)
        try:
            self._admit(now, authorization)
            page = token_page(call.path, sent.continuation) if call.listing else None
            drawn = self._faults.draw(Target(call.path, page=page, operation=call.operation))
            answer = await self._faulty(call, sent, drawn)
        except Refused as refused:
            answer = refusal(refused, self._scenario.error_form)
        await asyncio.sleep(self._scenario.latency / 2)
        return answer

    def _admit(self, now: float, authorization: str | None) -> None:
        """Let a request in, or raise Refused."""
        scenario = self._scenario
        if not self._window.admit(now):
            self._rate_refusals += 1
            headers = {"x-harkster-quota-reached": "false"} if scenario.quota_reached_false else {}
            if scenario.retry_after is not None:
                headers["retry-after"] = retry_after(scenario.retry_after, scenario.retry_after_form)
            raise Refused(HTTPStatus.TOO_MANY_REQUESTS, "too many requests", headers)
        scheme, _, token = (authorization or "").partition(" ")
        if (
            self._revoked
            or scheme.lower() != "bearer"
            or not hmac.compare_digest(token.encode(), self.access_token.encode())
        ):
            raise Refused(HTTPStatus.UNAUTHORIZED, "the access token is missing or wrong")

    async def _faulty(self, call: Call, sent: Sent, drawn: Sequence[Fault]) -> Answer:
        """Do what is asked for, between the faults that come before and those that come after."""
        for fault in drawn:
            if fault.kind == "expire_token":
                self.revoke()
                raise Refused(HTTPStatus.UNAUTHORIZED, "the access token has just been revoked")
            if fault.kind == "slow" and fault.when == "before":
                await asyncio.sleep(fault.delay)
            if fault.kind == "hold" and fault.when == "before":
                await self._faults.gate.hold()
        instead = any(fault.kind in _INSTEAD and fault.when == "before" for fault in drawn)
        answer = Answer(HTTPStatus.OK, b"") if instead else self._sound(call, sent, drawn)
        for fault in drawn:
            body, media_type = error_content(fault.status, "a fault of the sandbox", self._scenario.error_form)
            spoilt = spoil(answer, fault, body)
            if fault.kind in DELAY_KINDS and fault.when == "before":
                spoilt = replace(spoilt, delay=answer.delay, is_held=answer.is_held)
            elif fault.kind == "status" and not fault.html:
                spoilt = replace(spoilt, media_type=media_type)
            answer = spoilt
        return answer

    def _sound(self, call: Call, sent: Sent, drawn: Sequence[Fault]) -> Answer:
        """Do what is asked for."""
        try:
            found = self.service.perform(call, sent)
        except Refused as refused:
            answer = refusal(refused, self._scenario.error_form)
        else:
            if isinstance(found, Page):
                found = self._listed(spoil_page(found, [fault for fault in drawn if fault.kind in PAGE_KINDS]))
            answer = found
        answer.headers.update(self._quota_headers(call))
        return answer

    def _listed(self, page: Page) -> Answer:
        headers = {} if page.following is None else {CONTINUATION: page.following}
        if page.following is None and self._scenario.continuation_end != "missing":
            headers[CONTINUATION] = _ENDS[self._scenario.continuation_end]
        return Answer(HTTPStatus.OK, msgspec.json.encode(page.items), headers=headers)

    def _quota_headers(self, call: Call) -> dict[str, str]:
        when = self._scenario.quota_headers
        account = self.service.account_of(call)
        if account is None or when == "never" or (when == "writes" and call.operation == "read"):
            return {}
        used = self.service.posts.used(account)
        return {"x-harkster-quota": str(account.quota), "x-harkster-usage": str(used)}
