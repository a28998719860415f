"""The application of a sandbox: its APIs, and the endpoints by which another process steers it."""

import inspect
import types
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import cache
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from api_sandbox.harkster.html_page import render
from api_sandbox.harkster.routes import ROOT as HARKSTER
from api_sandbox.hubstaff.clock import instant
from api_sandbox.hubstaff.scenario import Tracked
from api_sandbox.hubstaff.tokens import OAUTH, PERSONAL
from api_sandbox.sandbox import Sandbox

CONTROL_PREFIX = "/_sandbox"

Endpoint = Callable[[Request], Awaitable[Response]]


def application(sandbox: Sandbox) -> ASGIApp:
    """The ASGI application of a sandbox: its APIs at once, and what is beside them when it is first asked for."""
    apis: Mapping[str, ASGIApp] = {
        "/hustle": sandbox.hustle,
        "/hubstaff": sandbox.hubstaff,
        HARKSTER: sandbox.harkster,
    }
    beside = cache(lambda: _beside(sandbox))

    async def routed(scope: Scope, receive: Receive, send: Send) -> None:
        root, _, path = scope["path"][1:].partition("/")
        api = apis.get(f"/{root}") if path else None
        await (api or beside())(scope, receive, send)

    return routed


def _beside(sandbox: Sandbox) -> Starlette:
    """What is beside the APIs: how another process steers them, and Harkster's page."""

    async def page(_request: Request) -> Response:
        return HTMLResponse(render(sandbox.harkster.service))

    routes: list[BaseRoute] = [Route(path, _endpoint(work), methods=["GET"]) for path, work in _to_ask(sandbox).items()]
    routes += [Route(path, _endpoint(work), methods=["POST"]) for path, work in _to_tell(sandbox).items()]
    return Starlette(routes=[Mount(CONTROL_PREFIX, routes=routes), Route(f"{HARKSTER}/", page)])


def _to_ask(sandbox: Sandbox) -> Mapping[str, Callable[..., Any]]:
    """What can be asked for, by path under the control URL; parameters are those of the query."""
    hubstaff, harkster = sandbox.hubstaff, sandbox.harkster

    def truth(*, ids: bool = True) -> Any:
        def listed(own: list[str]) -> dict[str, Any]:
            return {"count": len(own), "ids": own} if ids else {"count": len(own)}

        found = sandbox.truth()
        return {
            stream: listed(own)
            | {"by_organization": {one: listed(its) for one, its in found.by_organization.get(stream, {}).items()}}
            for stream, own in found.ids.items()
        }

    def report(*, ids: bool = True) -> Any:
        made = sandbox.report()
        content = msgspec.to_builtins(made) | {"elapsed": made.elapsed}
        content["served_counts"] = {
            stream: {"records": sum(times.values()), "distinct": len(times)} for stream, times in made.served.items()
        }
        return content if ids else {name: value for name, value in content.items() if name != "served"}

    def posts(channel: str | None = None) -> Any:
        found = harkster.truth()
        if channel is None:
            return found
        wanted = harkster.service.channel_id(channel)
        return msgspec.structs.replace(found, posts={wanted: found.posts[wanted]})

    return {
        "/truth": truth,
        "/report": report,
        "/hubstaff/clock": lambda: {"now": instant(hubstaff.world.clock.now())},
        "/hubstaff/tokens": lambda: {kind: hubstaff.tokens.current(kind) for kind in (PERSONAL, OAUTH)},
        "/harkster/truth": posts,
        "/harkster/channels": lambda: [
            {"id": one.id, "path": one.path, "access": one.access} for one in harkster.service.directory.channels()
        ],
    }


def _to_tell(sandbox: Sandbox) -> Mapping[str, Callable[..., Any]]:
    """What can be done, by path under the control URL; parameters are those of the body."""
    hubstaff, harkster = sandbox.hubstaff, sandbox.harkster

    def advance(advance: Annotated[float, msgspec.Meta(ge=0)]) -> Any:
        hubstaff.world.advance(advance)
        return {"now": instant(hubstaff.world.clock.now())}

    def activities(*tracked: Tracked) -> list[str]:
        return hubstaff.changes.add(tracked)

    return {
        "/faults": sandbox.faults.replace,
        "/reset": sandbox.reset,
        "/tokens/expire": sandbox.hustle.expire_tokens,
        "/leads": sandbox.hustle.book.append,
        "/leads/night": sandbox.hustle.book.pass_night,
        "/hubstaff/clock": advance,
        "/hubstaff/edits": hubstaff.changes.edit,
        "/hubstaff/deletions": hubstaff.changes.delete,
        "/hubstaff/late": hubstaff.changes.add_late,
        "/hubstaff/activities": activities,
        "/hubstaff/tokens/expire": hubstaff.expire_tokens,
        "/hubstaff/tokens/reset": hubstaff.tokens.reset,
        "/harkster/quota": harkster.service.set_quota,
        "/harkster/month": harkster.service.clock.to_next_month,
        "/harkster/token/revoke": harkster.expire_tokens,
        "/harkster/channels": harkster.service.open_channel,
        "/harkster/templates": harkster.service.open_template,
    }


def _endpoint(work: Callable[..., Any]) -> Endpoint:
    """An endpoint that does some work, with a plain 400 for what it cannot use."""
    read = _reader(work)

    async def endpoint(request: Request) -> Response:
        try:
            positional, named = read(request, await request.body())
            done = work(*positional, **named)
        except (msgspec.MsgspecError, ValueError, LookupError) as error:
            return _json({"error": str(error)}, HTTPStatus.BAD_REQUEST)
        if done is None:
            return Response(status_code=HTTPStatus.NO_CONTENT)
        return _json({"id": done} if isinstance(done, str) else {"ids": done} if _are_ids(done) else done)

    return endpoint


def _reader(work: Callable[..., Any]) -> Callable[[Request, bytes], tuple[list[Any], dict[str, Any]]]:
    """Reads the parameters of some work: a list where it takes any number of a thing, else an object."""
    parameters = list(_parameters(work))
    if [kind for kind, _ in parameters] == [inspect.Parameter.VAR_POSITIONAL]:
        items = types.GenericAlias(list, (parameters[0][1][1],))
        return lambda _request, body: (msgspec.json.decode(body, type=items), {})
    content = msgspec.defstruct("Content", [one for _, one in parameters], forbid_unknown_fields=True)

    def read(request: Request, body: bytes) -> tuple[list[Any], dict[str, Any]]:
        if request.method == "GET":
            # The values of a query are texts, whatever they mean.
            read = msgspec.convert(dict(request.query_params), content, strict=False)
        else:
            read = msgspec.json.decode(body if parameters else b"{}", type=content)
        return [], msgspec.structs.asdict(read)

    return read


def _parameters(work: Callable[..., Any]) -> Iterator[tuple[Any, tuple[str, Any] | tuple[str, Any, Any]]]:
    for name, one in inspect.signature(work).parameters.items():
        is_required = one.default is inspect.Parameter.empty
        yield one.kind, (name, one.annotation) if is_required else (name, one.annotation, one.default)


def _are_ids(done: Any) -> bool:
    return isinstance(done, list) and all(isinstance(one, str) for one in done)


def _json(content: Any, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")
