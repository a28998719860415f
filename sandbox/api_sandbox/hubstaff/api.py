"""The Hubstaff API and its account host as an ASGI application."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from api_sandbox.delivery import Answer, deliver, error_answer, json_answer, spoil
from api_sandbox.faults import PAGE_KINDS, Fault, FaultBook, FaultKind, Target
from api_sandbox.hubstaff.changes import Changes
from api_sandbox.hubstaff.errors import (
    ERROR_CODES,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    UNAUTHORIZED,
    Refused,
    envelope,
    refuse,
    refuse_grant,
)
from api_sandbox.hubstaff.gate import HourlyLimit, refused_agent
from api_sandbox.hubstaff.pages import Page, Paginator
from api_sandbox.hubstaff.queries import Query, find_item, find_listing, parse_query
from api_sandbox.hubstaff.records import Row
from api_sandbox.hubstaff.scenario import HubstaffScenario
from api_sandbox.hubstaff.sideloads import Sideloads
from api_sandbox.hubstaff.tokens import TokenDesk
from api_sandbox.hubstaff.world import World
from api_sandbox.report import Recorder

BASE = "/hubstaff/v2"
AUTH_PATH = "/hubstaff/account/access_tokens"
NAMESPACE = "hubstaff/"
"""Before the names of streams where those of other APIs are told too."""

_NOT_EXCHANGED: frozenset[FaultKind] = frozenset({"status", "not_json", "wrong_shape"})
"""Faults that stand before the exchange of tokens: the refresh token sent in still works."""
_REMEMBERED = 64


@dataclass(slots=True)
class _Outcome:
    """An answer, and the page in it if it is one."""

    answer: Answer
    page: Page | None = None


class HubstaffApi:
    """The API of one account.

    Attributes:
        world: The account with its clock, and what there is to be read.
        changes: Changes it.
        tokens: Gives out tokens.
        limit: Of requests an hour.
    """

    def __init__(self, seed: int, scenario: HubstaffScenario, faults: FaultBook, recorder: Recorder) -> None:
        self.world = World(seed, scenario)
        self.changes = Changes(self.world)
        self.tokens = TokenDesk(seed, scenario, self.world.clock)
        self.limit = HourlyLimit(scenario, self.world.clock)
        self._paginator = Paginator()
        self._scenario = scenario
        self._faults = faults
        self._recorder = recorder
        self._remembered: OrderedDict[tuple[object, ...], list[Row]] = OrderedDict()

    def reset(self, recorder: Recorder) -> None:
        """Report to another recorder. Tokens and the hour go on: forgetting them would lock clients out."""
        self._recorder = recorder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path: str = scope["path"]
        recorder, for_token = self._recorder, path == AUTH_PATH
        recorder.began(path, for_token=for_token)
        request = Request(scope, receive)
        try:
            outcome = await (self._exchange(request) if for_token else self._resource(request))
        except Refused as refused:
            outcome = _Outcome(_refusal(refused))
        answer, page = outcome.answer, outcome.page
        if answer.is_held:
            await self._faults.gate.hold()
        await deliver(answer, scope, receive, send, self.world.clock.now)
        recorder.ended(path, answer.outcome)
        if page is not None and answer.sound:
            recorder.served(path, scope["query_string"], past_end=page.past_end)
            ids = page.ids
            recorder.served_ids(NAMESPACE + page.query.listing.stream, tuple(ids), lambda: ids)

    async def _exchange(self, request: Request) -> _Outcome:
        drawn = self._faults.draw(Target(request.url.path, with_token=False))
        body = await request.body()
        if any(fault.kind in _NOT_EXCHANGED or not fault.committed for fault in drawn):
            return _Outcome(_spoilt(json_answer({}), drawn))
        try:
            answer = self._agent(request) or self._granted(request, body)
        except Refused as refused:
            answer = _refusal(refused)
        return _Outcome(_spoilt(answer, drawn))

    def _agent(self, request: Request) -> Answer | None:
        return refused_agent(request.headers.get("user-agent")) if self._scenario.refuse_default_agents else None

    def _granted(self, request: Request, body: bytes) -> Answer:
        if request.method != "POST":
            raise refuse_grant(HTTPStatus.METHOD_NOT_ALLOWED, "invalid_request", "tokens are asked for with POST")
        headers = request.headers
        return json_answer(self.tokens.answer(headers.get("content-type", ""), body, headers.get("authorization")))

    async def _resource(self, request: Request) -> _Outcome:
        if self._scenario.latency:
            await asyncio.sleep(self._scenario.latency / 2)
        self._recorder.arrived(time.monotonic())
        refused_by_proxy = self._agent(request)
        if refused_by_proxy is not None:
            return _Outcome(refused_by_proxy)
        self.world.catch_up()
        application = self.tokens.application(request.headers.get("authorization"))
        self.limit.admit(application)
        try:
            outcome = self._answer(request)
        except Refused as refused:
            outcome = _Outcome(_refusal(refused))
        outcome.answer.headers.update(self.limit.headers(application))
        if self._scenario.latency:
            await asyncio.sleep(self._scenario.latency / 2)
        return outcome

    def _answer(self, request: Request) -> _Outcome:
        path = request.url.path
        name = path.removeprefix(f"{BASE}/")
        if request.method != "GET":
            raise refuse(HTTPStatus.METHOD_NOT_ALLOWED, METHOD_NOT_ALLOWED)
        if find_listing(name) is None:
            drawn = self._faults.draw(Target(path))
            self._expire(drawn)
            return _Outcome(_spoilt(self._single(name), drawn))
        found = self._find(name, request.scope["query_string"])
        drawn = self._faults.draw(self._target(path, name, found))
        self._expire(drawn)
        if isinstance(found, Refused):
            return _Outcome(_spoilt(_refusal(found), drawn))
        if isinstance(found, Answer):
            return _Outcome(_spoilt(found, drawn))
        page = self._paginator.spoil(found, (fault for fault in drawn if fault.kind in PAGE_KINDS))
        sideloads = Sideloads(self.world.lists).of(page.rows, page.query.includes)
        return _Outcome(_spoilt(Answer(HTTPStatus.OK, page.body(sideloads)), drawn), page)

    def _expire(self, drawn: Iterable[Fault]) -> None:
        if any(fault.kind == "expire_token" for fault in drawn):
            self.tokens.expire_access()
            raise refuse(HTTPStatus.UNAUTHORIZED, UNAUTHORIZED)

    def _find(self, name: str, query_string: bytes) -> Page | Answer | Refused:
        """The page that is asked for, or why there is none: faults come before both."""
        try:
            query = parse_query(name, query_string, self.world.clock)
            self.world.selector.check(query)
            rows = self._rows(query)
        except Refused as refused:
            return refused
        page = self._paginator.page(query, rows)
        if self._takes_too_long(page, len(rows)):
            if self._scenario.wall == "empty":
                return Answer(HTTPStatus.OK, b"", sound=False)
            return error_answer(HTTPStatus.SERVICE_UNAVAILABLE, b"")
        return page

    def _takes_too_long(self, page: Page, selected: int) -> bool:
        """Whether the hosting cuts a request off."""
        most_selected, most_shown = self._scenario.wall_rows, self._scenario.wall_page
        return (most_selected is not None and page.query.listing.walled and selected > most_selected) or (
            most_shown is not None and len(page.rows) > most_shown
        )

    def _rows(self, query: Query) -> list[Row]:
        """The rows of a query; kept for its next pages."""
        key = (self.world.version, *query.key)
        rows = self._remembered.get(key)
        if rows is None:
            rows = self._remembered[key] = self.world.selector.rows(query)
            if len(self._remembered) > _REMEMBERED:
                self._remembered.popitem(last=False)
        return rows

    def _target(self, path: str, name: str, found: Page | Answer | Refused) -> Target:
        listing, owner = find_listing(name) or (None, 0)
        organization = None if listing is None else self.world.selector.organization(listing, owner)
        told = None if organization is None else (str(organization.id), organization.index)
        if not isinstance(found, Page):
            return Target(path, told)
        cursor = str(found.query.start) if found.query.start else None
        return Target(path, told, page=found.number, cursor=cursor, steps_aside=found.detour)

    def _single(self, name: str) -> Answer:
        """One record, or what there is only one of."""
        if name == "error_codes":
            told = [{"code": one.code, "error_code": one.number, "description": one.meaning} for one in ERROR_CODES]
            return json_answer({"error_codes": told})
        lists = self.world.lists
        if name == "users/me":
            return json_answer({"user": lists.users[self.world.account.me].content if lists.users else None})
        named = find_item(name)
        record = None if named is None else lists.find(named[0], named[2])
        if named is None or record is None:
            raise refuse(HTTPStatus.NOT_FOUND, NOT_FOUND)
        content: dict[str, Any] = {named[1]: record.content}
        return json_answer(content)


def _refusal(refused: Refused) -> Answer:
    return error_answer(refused.status, refused.body, dict(refused.headers))


def _spoilt(answer: Answer, faults: Iterable[Fault]) -> Answer:
    for fault in faults:
        answer = spoil(answer, fault, envelope(fault.status, "a fault of the sandbox"))
    return answer
