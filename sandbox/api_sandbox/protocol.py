"""The HTTP protocol of the sandbox: uvicorn's, with the connection itself in reach of the application."""

import asyncio

from starlette.types import ASGIApp, Receive, Scope, Send
from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api_sandbox.delivery import TRANSPORT


class SandboxProtocol(HttpToolsProtocol):
    """Puts the transport into each scope, so that an answer can end in a reset. ASGI itself has no word for it."""

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app = _with_transport(self.app, transport)


def _with_transport(app: ASGIApp, transport: asyncio.Transport) -> ASGIApp:
    async def reaching(scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("extensions", {})[TRANSPORT] = transport
        try:
            await app(scope, receive, send)
        except asyncio.CancelledError:
            # Only a server that stops cancels, after it closed the connection: nobody is left to be told.
            if not transport.is_closing():
                raise

    return reaching
