"""The Hustle API as an ASGI application."""

import asyncio
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from api_sandbox.delivery import Answer, deliver, error_answer, json_answer, spoil
from api_sandbox.dice import Dice, Ids
from api_sandbox.faults import PAGE_KINDS, Fault, FaultBook, FaultKind, Target
from api_sandbox.hustle.account import build_account
from api_sandbox.hustle.cursors import Cursors
from api_sandbox.hustle.errors import Refused, envelope
from api_sandbox.hustle.leads import LeadBook
from api_sandbox.hustle.pages import Page, Paginator
from api_sandbox.hustle.queries import Query, Selector, parse_query
from api_sandbox.hustle.resources import LISTS
from api_sandbox.hustle.scenario import HustleScenario
from api_sandbox.hustle.tokens import Credentials, LoginGuard, TokenDesk
from api_sandbox.limits import SlidingWindow, retry_after
from api_sandbox.report import Recorder

BASE = "/hustle/v3"
AUTH_PATH = f"{BASE}/oauth/token"
AUTH_PATHS = frozenset({AUTH_PATH, "/hustle/v2/oauth/token"})
"""The spec shows the first, the guide the second."""
_INSTEAD_OF_LOGIN: frozenset[FaultKind] = frozenset({"status", "empty_body", "not_json", "wrong_shape"})
"""Faults of the vendor's own making: nobody's login was tried, so none has failed."""


@dataclass(slots=True)
class _Outcome:
    """An answer, and the page in it if it is one."""

    answer: Answer
    page: Page | None = None


class HustleApi:
    """The API of one account.

    Attributes:
        credentials: What opens it.
        tokens: Gives out tokens.
        book: The leads.
        selector: Finds records; the truth to test against comes from it too.
        forbidden: What the credentials may not read.
        clock: Tells the time that answers are dated by, in seconds since 1970.
        before_answer: Called with the path of each request for resources before anything is looked up for it.
    """

    def __init__(self, seed: int, scenario: HustleScenario, faults: FaultBook, recorder: Recorder) -> None:
        ids = Ids.of_seed(seed)
        account = build_account(seed, scenario, ids)
        secret = Dice(f"{seed}/secret").below(2**256).to_bytes(32, "big")
        self.credentials = Credentials(
            scenario.client_id or f"sandbox+{seed}@example.org", scenario.client_secret or secret.hex()[:40]
        )
        guard = LoginGuard(scenario.failed_logins, scenario.failed_logins_a_day, scenario.block_seconds)
        told = scenario.token_lifetime if scenario.expires_in is None else scenario.expires_in
        self.tokens = TokenDesk(self.credentials, guard, scenario.token_lifetime, told)
        self.book = LeadBook(seed, scenario, ids, account)
        self.selector = Selector(account, self.book)
        cursors = Cursors(
            scenario.cursors, secret, scenario.drift_after, refuse_unissued=scenario.unissued_cursors == "refuse"
        )
        self._paginator = Paginator(cursors, scenario.last_page_cursor, scenario.short_pages, seed)
        self._window = SlidingWindow(scenario.requests_per_second, counts=scenario.rate_limit_counts)
        self.forbidden = scenario.forbidden
        self.before_answer: Callable[[str], None] = lambda _: None
        self.clock: Callable[[], float] = time.time
        self._scenario = scenario
        self._faults = faults
        self._recorder = recorder
        # Not for secrets: the way there takes the same times in every run.
        self._jitter = random.Random(seed)  # noqa: S311
        if scenario.warm:
            self.book.warm()

    def reset(self, recorder: Recorder) -> None:
        """Forget tokens, blocks and the limiter's window, and report to another recorder."""
        self.tokens.expire_all()
        self.tokens.guard.clear()
        self._window.clear()
        self._recorder = recorder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path: str = scope["path"]
        recorder, for_token = self._recorder, path in AUTH_PATHS
        recorder.began(path, for_token=for_token)
        try:
            outcome = await (self._token(Request(scope, receive)) if for_token else self._resource(scope))
        except Refused as refused:
            outcome = _Outcome(_refusal(refused))
        answer, page = outcome.answer, outcome.page
        if answer.is_held:
            await self._faults.gate.hold()
        await deliver(answer, scope, receive, send, self.clock)
        recorder.ended(path, answer.outcome)
        if page is not None and answer.sound:
            recorder.served(path, scope["query_string"], past_end=page.past_end)
            # The same range of a list that has changed since may hold other records.
            records = (page.query.key, page.begin, page.end, len(page.rows), self.selector.account.edits)
            recorder.served_ids(page.query.name, records, page.ids)

    async def _token(self, request: Request) -> _Outcome:
        drawn = self._faults.draw(Target(request.url.path, with_token=False))
        body = await request.body()
        if any(fault.kind in _INSTEAD_OF_LOGIN for fault in drawn):
            return _Outcome(_spoilt(json_answer({}), drawn))
        try:
            answer = self._granted(request, body)
        except Refused as refused:
            answer = _refusal(refused)
        return _Outcome(_spoilt(answer, drawn))

    def _granted(self, request: Request, body: bytes) -> Answer:
        if request.method != "POST":
            raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "tokens are asked for with POST")
        caller = request.client.host if request.client else ""
        return json_answer(self.tokens.answer(request.headers.get("content-type", ""), body, caller))

    async def _resource(self, scope: Scope) -> _Outcome:
        scenario = self._scenario
        on_the_way = scenario.latency / 2 + scenario.latency_jitter * self._jitter.random()
        if on_the_way:
            await asyncio.sleep(on_the_way)
        now = time.monotonic()
        self._recorder.arrived(now)
        try:
            outcome = self._list(scope, now)
        except Refused as refused:
            outcome = _Outcome(self._with_retry_after(_refusal(refused)))
        if scenario.latency:
            await asyncio.sleep(scenario.latency / 2)
        return outcome

    def _with_retry_after(self, answer: Answer) -> Answer:
        scenario = self._scenario
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS and scenario.retry_after is not None:
            answer.headers["retry-after"] = retry_after(scenario.retry_after, scenario.retry_after_form)
        return answer

    def _list(self, scope: Scope, now: float) -> _Outcome:
        """Answer a request that arrived at `now`."""
        if not self._window.admit(now):
            raise Refused(HTTPStatus.TOO_MANY_REQUESTS, "more requests per second than allowed")
        path: str = scope["path"]
        self.before_answer(path)
        name = path.removeprefix(f"{BASE}/")
        if name not in LISTS:
            raise Refused(HTTPStatus.NOT_FOUND, "there is no such resource")
        if scope["method"] != "GET":
            raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "this sandbox answers GET only")
        self.tokens.check(Request(scope).headers.get("authorization"))
        query, cursor = parse_query(name, scope["query_string"])
        found = self._find(query, cursor)
        drawn = self._faults.draw(self._target(path, query, cursor, found))
        if any(fault.kind == "expire_token" for fault in drawn):
            self.tokens.expire_all()
            raise Refused(HTTPStatus.UNAUTHORIZED, "the access token has just expired")
        if isinstance(found, Refused):
            return _Outcome(_spoilt(_refusal(found), drawn))
        page = self._paginator.spoil(found, (fault for fault in drawn if fault.kind in PAGE_KINDS))
        return _Outcome(_spoilt(Answer(HTTPStatus.OK, page.body()), drawn), page)

    def _find(self, query: Query, cursor: str | None) -> Page | Refused:
        """The page that is asked for, or why there is none: faults come before both."""
        try:
            self._check_allowed(query)
            return self._paginator.page(query, self.selector.rows(query), cursor)
        except Refused as refused:
            return refused

    def _target(self, path: str, query: Query, cursor: str | None, found: Page | Refused) -> Target:
        organization = self.selector.organization(query)
        if isinstance(found, Refused):
            return Target(path, organization, cursor=cursor)
        return Target(path, organization, page=found.number, cursor=cursor, steps_aside=found.detour)

    def _check_allowed(self, query: Query) -> None:
        organization = self.selector.organization(query)
        for forbidden in self.forbidden:
            if forbidden.path not in {"*", f"/{query.name}"}:
                continue
            if forbidden.organizations is None or (
                organization is not None and organization[1] in forbidden.organizations
            ):
                raise Refused(HTTPStatus.FORBIDDEN, "these credentials may not read this")


def _refusal(refused: Refused) -> Answer:
    return error_answer(refused.status, envelope(refused.status, refused.message))


def _spoilt(answer: Answer, faults: Iterable[Fault]) -> Answer:
    for fault in faults:
        answer = spoil(answer, fault, envelope(fault.status, "a fault of the sandbox"))
    return answer
