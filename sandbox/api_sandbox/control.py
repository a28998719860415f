"""The endpoints by which a test or a benchmark in another process steers a sandbox."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from api_sandbox.faults import Fault
from api_sandbox.harkster.control import Control, harkster_controls
from api_sandbox.harkster.routes import ROOT as HARKSTER_PREFIX
from api_sandbox.hubstaff.control import hubstaff_control_routes
from api_sandbox.sandbox import Sandbox

CONTROL_PREFIX = "/_sandbox"
Endpoint = Callable[[Request], Awaitable[Response]]


class _NewLeads(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `POST leads`."""

    organization: Annotated[int, msgspec.Meta(ge=0)]
    count: Annotated[int, msgspec.Meta(ge=1)]


def application(sandbox: Sandbox) -> Starlette:
    """The ASGI application of a sandbox: its APIs, and the endpoints that steer them."""
    return Starlette(
        routes=[
            Mount(CONTROL_PREFIX, routes=_control_routes(sandbox)),
            Mount("/hustle", app=sandbox.hustle),
            Mount("/hubstaff", app=sandbox.hubstaff),
            Mount(HARKSTER_PREFIX, app=sandbox.harkster),
        ]
    )


def _control_routes(sandbox: Sandbox) -> list[BaseRoute]:
    """The routes, relative to the control URL."""

    async def truth(request: Request) -> Response:
        found, with_ids = sandbox.truth(), _with_ids(request)
        return _json(
            {
                stream: _listed(ids, with_ids=with_ids)
                | {
                    "by_organization": {
                        owner: _listed(owned, with_ids=with_ids)
                        for owner, owned in found.by_organization.get(stream, {}).items()
                    }
                }
                for stream, ids in found.ids.items()
            }
        )

    async def report(request: Request) -> Response:
        made = sandbox.report()
        content = msgspec.to_builtins(made)
        content["elapsed"] = made.elapsed
        content["served_counts"] = {
            stream: {"records": sum(times.values()), "distinct": len(times)} for stream, times in made.served.items()
        }
        if not _with_ids(request):
            del content["served"]
        return _json(content)

    async def faults(request: Request) -> Response:
        sandbox.faults.replace(*msgspec.json.decode(await request.body(), type=list[Fault]))
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def reset(_request: Request) -> Response:
        sandbox.reset()
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def expire(_request: Request) -> Response:
        sandbox.hustle.tokens.expire_all()
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def leads(request: Request) -> Response:
        new = msgspec.json.decode(await request.body(), type=_NewLeads)
        if new.organization >= len(sandbox.hustle.selector.account.organizations):
            raise msgspec.ValidationError("there is no such organization")
        return _json({"ids": sandbox.hustle.book.append(new.organization, new.count)})

    return [
        Route("/truth", _refusing(truth), methods=["GET"]),
        Route("/report", _refusing(report), methods=["GET"]),
        Route("/faults", _refusing(faults), methods=["POST"]),
        Route("/reset", _refusing(reset), methods=["POST"]),
        Route("/tokens/expire", _refusing(expire), methods=["POST"]),
        Route("/leads", _refusing(leads), methods=["POST"]),
        Mount("/hubstaff", routes=hubstaff_control_routes(sandbox.hubstaff)),
        *(
            Route(f"/harkster{path}", _refusing(_endpoint(control)), methods=[method])
            for method, path, control in harkster_controls(sandbox.harkster)
        ),
    ]


def _endpoint(control: Control) -> Endpoint:
    """An endpoint that answers what a control gives."""

    async def endpoint(request: Request) -> Response:
        content = control(request.query_params, await request.body())
        return Response(status_code=HTTPStatus.NO_CONTENT) if content is None else _json(content)

    return endpoint


def _refusing(endpoint: Endpoint) -> Endpoint:
    """The endpoint, with a plain 400 for what it cannot use."""

    async def guarded(request: Request) -> Response:
        try:
            return await endpoint(request)
        except (msgspec.DecodeError, UnicodeDecodeError, LookupError) as error:
            return _json({"error": str(error)}, HTTPStatus.BAD_REQUEST)

    return guarded


def _with_ids(request: Request) -> bool:
    return request.query_params.get("ids", "true") != "false"


def _listed(ids: list[str], *, with_ids: bool) -> dict[str, Any]:
    return {"count": len(ids), "ids": ids} if with_ids else {"count": len(ids)}


def _json(content: Any, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")
