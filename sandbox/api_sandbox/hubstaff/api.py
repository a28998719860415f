"""The Hubstaff API and its account host."""

from collections import OrderedDict
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from typing_extensions import override

from api_sandbox.api import Refused, VendorApi, attempt
from api_sandbox.delivery import Answer, json_answer
from api_sandbox.faults import FaultBook, Target
from api_sandbox.hubstaff.changes import Changes
from api_sandbox.hubstaff.errors import ErrorCode, error_content, refuse, refuse_grant
from api_sandbox.hubstaff.gate import HourlyLimit, check_agent
from api_sandbox.hubstaff.listing import Listing
from api_sandbox.hubstaff.pages import Page, Paginator, sideloads
from api_sandbox.hubstaff.queries import Query, find_item, find_listing, parse_query
from api_sandbox.hubstaff.rows import Row
from api_sandbox.hubstaff.scenario import HubstaffScenario
from api_sandbox.hubstaff.tokens import TokenDesk
from api_sandbox.hubstaff.world import World
from api_sandbox.report import Recorder, Served

BASE = "/hubstaff/v2"
AUTH_PATH = "/hubstaff/account/access_tokens"
NAMESPACE = "hubstaff/"
"""Before the names of streams where those of other APIs are told too."""
_REMEMBERED = 64


class HubstaffApi(VendorApi):
    """The API of one account. Its tokens and its hour outlive a reset: forgetting them would lock clients out."""

    token_paths = frozenset({AUTH_PATH})
    # The refresh token sent in still works.
    before_grant = frozenset({"status", "not_json", "wrong_shape"})

    def __init__(self, seed: int, scenario: HubstaffScenario, faults: FaultBook, recorder: Recorder) -> None:
        super().__init__(scenario.latency, faults, recorder)
        self.world = World(seed, scenario)
        self.clock = self.world.clock.now
        self.changes = Changes(self.world)
        self.tokens = TokenDesk(seed, scenario, self.world.clock)
        self.limit = HourlyLimit(scenario, self.world.clock)
        self._paginator = Paginator()
        self._scenario = scenario
        self._remembered: OrderedDict[tuple[object, ...], list[Row]] = OrderedDict()

    @override
    def expire_tokens(self) -> None:
        self.tokens.expire_access()

    @override
    def error(self, refused: Refused) -> tuple[bytes, str]:
        return error_content(refused)

    @override
    def grant(self, request: Request, body: bytes) -> dict[str, Any]:
        self._check_agent(request)
        if request.method != "POST":
            raise refuse_grant(HTTPStatus.METHOD_NOT_ALLOWED, "invalid_request", "tokens are asked for with POST")
        headers = request.headers
        return self.tokens.answer(headers.get("content-type", ""), body, headers.get("authorization"))

    @override
    async def serve(self, request: Request, body: bytes, now: float) -> Answer:
        self._check_agent(request)
        self.world.catch_up()
        application = self.tokens.application(request.headers.get("authorization"))
        self.limit.admit(application)
        answer = attempt(lambda: self._answer(request))
        if isinstance(answer, Refused):
            answer = self.refusal(answer)
        answer.headers.update(self.limit.headers(application))
        return answer

    def _check_agent(self, request: Request) -> None:
        if self._scenario.refuse_default_agents:
            check_agent(request.headers.get("user-agent"))

    def _answer(self, request: Request) -> Answer:
        path: str = request.scope["path"]
        name = path.removeprefix(f"{BASE}/")
        if request.method != "GET":
            raise refuse(ErrorCode.METHOD_NOT_ALLOWED)
        listing, owner = find_listing(name)
        if listing is None:
            drawn = self.draw(Target(path))
            return self.spoilt(self._single(name), drawn)
        organization = self.world.selector.organization(listing, owner)
        told = None if organization is None else (str(organization.id), organization.index)
        found = attempt(lambda: self._find(listing, owner, request.scope["query_string"]))
        if not isinstance(found, Page):
            drawn = self.draw(Target(path, told))
            return self.spoilt(self.refusal(found) if isinstance(found, Refused) else found, drawn)
        cursor = str(found.query.start) if found.query.start else None
        drawn = self.draw(Target(path, told, page=found.number, cursor=cursor, steps_aside=found.detour))
        page = self._paginator.spoil(found, drawn)
        ids = page.ids
        served = Served(NAMESPACE + listing.stream, tuple(ids), lambda: ids)
        body = page.body(sideloads(self.world.lists, page.rows, page.query.includes))
        return self.spoilt(Answer(HTTPStatus.OK, body, served=served), drawn)

    def _find(self, listing: Listing, owner: int, query_string: bytes) -> Page | Answer:
        """The page that is asked for, or what the hosting answers in its place."""
        query = parse_query(listing, owner, query_string, self.world.clock)
        self.world.selector.check(query)
        rows = self._rows(query)
        page = self._paginator.page(query, rows)
        most_selected, most_shown = self._scenario.wall_rows, self._scenario.wall_page
        if (most_selected is not None and listing.walled and len(rows) > most_selected) or (
            most_shown is not None and len(page.rows) > most_shown
        ):
            return Answer(HTTPStatus.OK if self._scenario.wall == "empty" else 503, b"", sound=False)
        return page

    def _rows(self, query: Query) -> list[Row]:
        """The rows of a query; kept for its next pages."""
        key = (self.world.version, *query.key)
        rows = self._remembered.get(key)
        if rows is None:
            rows = self._remembered[key] = self.world.selector.rows(query)
            if len(self._remembered) > _REMEMBERED:
                self._remembered.popitem(last=False)
        return rows

    def _single(self, name: str) -> Answer:
        """One record, or what there is only one of."""
        if name == "error_codes":
            told = [{"code": one.code, "error_code": one.number, "description": one.meaning} for one in ErrorCode]
            return json_answer({"error_codes": told})
        lists = self.world.lists
        if name == "users/me":
            return json_answer({"user": lists.users[self.world.account.me].content if lists.users else None})
        stream, envelope, own_id = find_item(name)
        record = lists.find(stream, own_id)
        if record is None:
            raise refuse(ErrorCode.NOT_FOUND)
        return json_answer({envelope: record.content})
