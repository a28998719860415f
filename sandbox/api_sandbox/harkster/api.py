"""The Harkster API."""

import hmac
from collections.abc import Iterable
from dataclasses import replace
from hashlib import blake2b
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.requests import Request
from typing_extensions import override

from api_sandbox.api import Refused, VendorApi, pass_by
from api_sandbox.delivery import Answer
from api_sandbox.faults import DELAY_KINDS, Fault, FaultBook, FaultKind, Target
from api_sandbox.harkster.errors import error_content
from api_sandbox.harkster.paging import Page, spoil_page, token_page
from api_sandbox.harkster.routes import Call
from api_sandbox.harkster.scenario import HarksterScenario
from api_sandbox.harkster.service import Sent, Service
from api_sandbox.harkster.truth import HarksterTruth
from api_sandbox.limits import SlidingWindow, retry_headers
from api_sandbox.report import Recorder
from api_sandbox.tokens import bearer

CONTINUATION = "x-harkster-continuation"
_ENDS = {"empty": "", "null": "null"}
_INSTEAD: frozenset[FaultKind] = frozenset({"status", "empty_body", "not_json", "wrong_shape", "reset"})
"""Faults that may stand in the place of what is asked for, as nothing of the true answer is in them."""


class HarksterApi(VendorApi):
    """The API of one user."""

    def __init__(self, seed: int, scenario: HarksterScenario, faults: FaultBook, recorder: Recorder) -> None:
        super().__init__(scenario.latency, faults, recorder)
        self.access_token = scenario.access_token or blake2b(f"{seed}/harkster".encode(), digest_size=20).hexdigest()
        self.service = Service(seed, scenario)
        self._window = SlidingWindow(scenario.requests_per_second, counts=scenario.rate_limit_counts)
        self._revoked = False
        self._scenario = scenario

    @override
    def reset(self, recorder: Recorder) -> None:
        """Let the token work again, forget the limiter's window, and report to another recorder. Posts stay."""
        super().reset(recorder)
        self._revoked = False
        self._window.clear()

    @override
    def expire_tokens(self) -> None:
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
        )

    @override
    def label(self, request: Request) -> str:
        return self._call(request).label

    @override
    def error(self, refused: Refused) -> tuple[bytes, str]:
        return error_content(refused.status, refused.message, self._scenario.error_form)

    @override
    def grant(self, request: Request, body: bytes) -> dict[str, Any]:
        raise Refused(HTTPStatus.NOT_FOUND, "a user's token comes from the app")

    @override
    async def serve(self, request: Request, body: bytes, now: float) -> Answer:
        """Do what is asked for, between the faults that come before and those that come after."""
        self._admit(now, request.headers.get("authorization"))
        call = self._call(request)
        sent = Sent(request.headers.get(CONTINUATION), request.headers.get("content-type", ""), body)
        page = token_page(call.path, sent.continuation) if call.is_listing else None
        drawn = self.draw(Target(call.path, page=page, operation=call.operation))
        for fault in drawn:
            if fault.kind == "slow" and fault.when == "before":
                await pass_by(fault.delay)
            if fault.kind == "hold" and fault.when == "before":
                await self._faults.gate.hold()
        instead = any(fault.kind in _INSTEAD and fault.when == "before" for fault in drawn)
        return self.spoilt(Answer(HTTPStatus.OK, b"") if instead else self._sound(call, sent, drawn), drawn)

    @override
    def spoilt(self, answer: Answer, faults: Iterable[Fault]) -> Answer:
        for fault in faults:
            spoilt = super().spoilt(answer, [fault])
            if fault.kind in DELAY_KINDS and fault.when == "before":
                # Its time has passed already.
                spoilt = replace(spoilt, delay=answer.delay, is_held=answer.is_held)
            answer = spoilt
        return answer

    def _call(self, request: Request) -> Call:
        return self.service.understand(request.method, request.scope["path"])

    def _admit(self, now: float, authorization: str | None) -> None:
        """Let a request in, or raise Refused."""
        scenario = self._scenario
        if not self._window.admit(now):
            headers = {"x-harkster-quota-reached": "false"} if scenario.quota_reached_false else {}
            headers |= retry_headers(scenario.retry_after, scenario.retry_after_form)
            raise Refused(HTTPStatus.TOO_MANY_REQUESTS, "too many requests", headers)
        if self._revoked or not hmac.compare_digest(bearer(authorization).encode(), self.access_token.encode()):
            raise Refused(HTTPStatus.UNAUTHORIZED, "the access token is missing or wrong")

    def _sound(self, call: Call, sent: Sent, drawn: list[Fault]) -> Answer:
        """Do what is asked for."""
        try:
            found = self.service.perform(call, sent)
            answer = self._listed(spoil_page(found, drawn)) if isinstance(found, Page) else found
        except Refused as refused:
            answer = self.refusal(refused)
        when, account = self._scenario.quota_headers, self.service.account_of(call)
        if account is not None and (when == "always" or (when == "writes" and call.operation != "read")):
            used = self.service.posts.used(account)
            answer.headers.update({"x-harkster-quota": str(account.quota), "x-harkster-usage": str(used)})
        return answer

    def _listed(self, page: Page) -> Answer:
        following = _ENDS.get(self._scenario.continuation_end) if page.following is None else page.following
        headers = {} if following is None else {CONTINUATION: following}
        return Answer(HTTPStatus.OK, msgspec.json.encode(page.items), headers=headers)
