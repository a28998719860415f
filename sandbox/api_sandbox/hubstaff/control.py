"""The endpoints by which a test or a benchmark in another process steers the simulated Hubstaff account."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api_sandbox.hubstaff.api import HubstaffApi
from api_sandbox.hubstaff.changes import NothingToChange
from api_sandbox.hubstaff.clock import instant
from api_sandbox.hubstaff.scenario import Count, Positive, Tracked
from api_sandbox.hubstaff.tokens import OAUTH, PERSONAL

Endpoint = Callable[[Request], Awaitable[Response]]


class _Leap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `POST clock`."""

    advance: Annotated[float, msgspec.Meta(ge=0)]


class _ToChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `POST edits` and `POST deletions`."""

    stream: str
    count: Positive
    organization: Count | None = None


class _Late(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `POST late`."""

    count: Positive
    organization: Count | None = None
    days: Positive = 30


def hubstaff_control_routes(api: HubstaffApi) -> list[Route]:
    """The routes, relative to `hubstaff/` under the control URL."""
    control = _Control(api)
    posts: dict[str, Endpoint] = {
        "/edits": control.edits,
        "/deletions": control.deletions,
        "/late": control.late,
        "/activities": control.activities,
        "/tokens/expire": control.expire,
        "/tokens/reset": control.reset,
    }
    return [
        Route("/clock", _refusing(control.clock), methods=["GET", "POST"]),
        Route("/tokens", _refusing(control.tokens), methods=["GET"]),
        *(Route(path, _refusing(endpoint), methods=["POST"]) for path, endpoint in posts.items()),
    ]


@dataclass(frozen=True, slots=True)
class _Control:
    """What the endpoints do."""

    api: HubstaffApi

    async def clock(self, request: Request) -> Response:
        world = self.api.world
        if request.method == "POST":
            world.clock.advance(msgspec.json.decode(await request.body(), type=_Leap).advance)
            world.catch_up()
        return _json({"now": instant(world.clock.now())})

    async def edits(self, request: Request) -> Response:
        asked = msgspec.json.decode(await request.body(), type=_ToChange)
        return _json({"ids": self.api.changes.edit(asked.stream, asked.count, asked.organization)})

    async def deletions(self, request: Request) -> Response:
        asked = msgspec.json.decode(await request.body(), type=_ToChange)
        return _json({"ids": self.api.changes.delete(asked.stream, asked.count, asked.organization)})

    async def late(self, request: Request) -> Response:
        asked = msgspec.json.decode(await request.body(), type=_Late)
        return _json({"ids": self.api.changes.add_late(asked.count, asked.organization, asked.days)})

    async def activities(self, request: Request) -> Response:
        return _json({"ids": self.api.changes.add(msgspec.json.decode(await request.body(), type=list[Tracked]))})

    async def tokens(self, _request: Request) -> Response:
        return _json({kind: self.api.tokens.current(kind) for kind in (PERSONAL, OAUTH)})

    async def expire(self, _request: Request) -> Response:
        self.api.tokens.expire_access()
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def reset(self, _request: Request) -> Response:
        self.api.tokens.reset()
        return Response(status_code=HTTPStatus.NO_CONTENT)


def _refusing(endpoint: Endpoint) -> Endpoint:
    """The endpoint, with a plain 400 for a body that it cannot use."""

    async def guarded(request: Request) -> Response:
        try:
            return await endpoint(request)
        except (msgspec.DecodeError, UnicodeDecodeError, NothingToChange) as error:
            return _json({"error": str(error)}, HTTPStatus.BAD_REQUEST)

    return guarded


def _json(content: Any, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")
