"""The Hustle API."""

import random
from collections.abc import Callable
from functools import cached_property
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.requests import Request
from typing_extensions import override

from api_sandbox.api import Refused, VendorApi, attempt
from api_sandbox.delivery import JSON, Answer
from api_sandbox.dice import Dice, Ids
from api_sandbox.faults import FaultBook, Target
from api_sandbox.hustle.account import Account, build_account
from api_sandbox.hustle.cursors import Cursors
from api_sandbox.hustle.leads import LeadBook
from api_sandbox.hustle.pages import Page, Paginator
from api_sandbox.hustle.queries import Query, Selector, parse_query
from api_sandbox.hustle.resources import LISTS
from api_sandbox.hustle.scenario import HustleScenario
from api_sandbox.hustle.tokens import Credentials, LoginGuard, TokenDesk
from api_sandbox.limits import SlidingWindow, retry_headers
from api_sandbox.report import Recorder

BASE = "/hustle/v3"
AUTH_PATH = f"{BASE}/oauth/token"
Watcher = Callable[[str], None]


class HustleApi(VendorApi):
    """The API of one account.

    Attributes:
        before_answer: Called with the path of each request for resources before anything is looked up for it.
    """

    # The spec shows the first, the guide the second.
    token_paths = frozenset({AUTH_PATH, "/hustle/v2/oauth/token"})
    # Faults of the vendor's own making: nobody's login was tried, so none has failed.
    before_grant = frozenset({"status", "empty_body", "not_json", "wrong_shape"})

    def __init__(self, seed: int, scenario: HustleScenario, faults: FaultBook, recorder: Recorder) -> None:
        super().__init__(scenario.latency, faults, recorder)
        secret = Dice(f"{seed}/secret").below(2**256).to_bytes(32, "big")
        self.credentials = Credentials(
            scenario.client_id or f"sandbox+{seed}@example.org", scenario.client_secret or secret.hex()[:40]
        )
        guard = LoginGuard(scenario.failed_logins, scenario.failed_logins_a_day, scenario.block_seconds)
        told = scenario.token_lifetime if scenario.expires_in is None else scenario.expires_in
        self.tokens = TokenDesk(self.credentials, guard, scenario.token_lifetime, told)
        cursors = Cursors(
            scenario.cursors, secret, scenario.drift_after, refuse_unissued=scenario.unissued_cursors == "refuse"
        )
        self._paginator = Paginator(cursors, scenario.last_page_cursor, scenario.short_pages, seed)
        self._window = SlidingWindow(scenario.requests_per_second, counts=scenario.rate_limit_counts)
        self.forbidden = scenario.forbidden
        self.before_answer: Watcher = lambda _: None
        self._seed = seed
        self._ids = Ids.of_seed(seed)
        self._scenario = scenario
        # Not for secrets: the way there takes the same times in every run.
        self._jitter = random.Random(seed)  # noqa: S311
        if scenario.warm:
            self.book.warm()

    # Made when they are asked for first: most sandboxes are asked for another vendor's things only.
    @cached_property
    def _account(self) -> Account:
        return build_account(self._seed, self._scenario, self._ids)

    @cached_property
    def book(self) -> LeadBook:
        """All leads."""
        return LeadBook(self._seed, self._scenario, self._ids, self._account)

    @cached_property
    def selector(self) -> Selector:
        """Finds records; the truth to test against comes from it too."""
        return Selector(self._account, self.book)

    @override
    def reset(self, recorder: Recorder) -> None:
        """Forget tokens, blocks and the limiter's window, and report to another recorder."""
        super().reset(recorder)
        self.expire_tokens()
        self.tokens.guard.clear()
        self._window.clear()

    @override
    def expire_tokens(self) -> None:
        self.tokens.expire_all()

    @override
    def error(self, refused: Refused) -> tuple[bytes, str]:
        return msgspec.json.encode({"code": refused.status, "message": refused.message}), JSON

    @override
    def way_there(self) -> float:
        return super().way_there() + self._scenario.latency_jitter * self._jitter.random()

    @override
    def grant(self, request: Request, body: bytes) -> dict[str, Any]:
        if request.method != "POST":
            raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "tokens are asked for with POST")
        caller = request.client.host if request.client else ""
        return self.tokens.answer(request.headers.get("content-type", ""), body, caller)

    @override
    async def serve(self, request: Request, body: bytes, now: float) -> Answer:
        scenario = self._scenario
        if not self._window.admit(now):
            headers = retry_headers(scenario.retry_after, scenario.retry_after_form)
            raise Refused(HTTPStatus.TOO_MANY_REQUESTS, "more requests per second than allowed", headers)
        path: str = request.scope["path"]
        self.before_answer(path)
        name = path.removeprefix(f"{BASE}/")
        if name not in LISTS:
            raise Refused(HTTPStatus.NOT_FOUND, "there is no such resource")
        if request.method != "GET":
            raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "this sandbox answers GET only")
        self.tokens.check(request.headers.get("authorization"))
        query, cursor = parse_query(name, request.scope["query_string"])
        organization = self.selector.organization(query)
        found = attempt(lambda: self._page(query, cursor, organization))
        if isinstance(found, Refused):
            return self.spoilt(self.refusal(found), self.draw(Target(path, organization, cursor=cursor)))
        target = Target(path, organization, page=found.number, cursor=cursor, steps_aside=found.detour)
        drawn = self.draw(target)
        page = self._paginator.spoil(found, drawn)
        served = page.served(self.selector.account.edits)
        return self.spoilt(Answer(HTTPStatus.OK, page.body(), served=served), drawn)

    def _page(self, query: Query, cursor: str | None, organization: tuple[str, int] | None) -> Page:
        index = None if organization is None else organization[1]
        if any(one.path in {"*", f"/{query.name}"} and one.covers(index) for one in self.forbidden):
            raise Refused(HTTPStatus.FORBIDDEN, "these credentials may not read this")
        return self._paginator.page(query, self.selector.rows(query), cursor)
