"""Serves a sandbox on loopback: in the foreground, or in a thread of a test."""

import asyncio
import contextlib
import ipaddress
import signal
import socket
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api_sandbox.addresses import Addresses, addresses
from api_sandbox.control import application
from api_sandbox.delivery import TRANSPORT
from api_sandbox.running import RunningSandbox
from api_sandbox.sandbox import Sandbox
from api_sandbox.scenario import Scenario

LOOPBACK = "127.0.0.1"
_BACKLOG = 1024
_IDLE_SECONDS = 75  # Longer than any pause between the pages of a slow reader.


class NotLoopback(ValueError):  # noqa: N818 - reads better in a traceback than with a suffix
    """A host that other machines could reach; a sandbox with its known credentials stays off the network."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on loopback; port 0 takes any that is free.

    Raises:
        NotLoopback: The host is not on loopback.
        OSError: The port is taken.
    """
    try:
        address = ipaddress.ip_address(LOOPBACK if host == "localhost" else host)
    except ValueError:
        address = None
    if address is None or not address.is_loopback:
        raise NotLoopback(f"{host} is not an address of loopback")
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET  # noqa: PLR2004
    # asyncio turns Nagle's algorithm off only where the protocol is named; with it each answer waits 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((str(address), port))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _root(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Protocol(HttpToolsProtocol):
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


class _Server(uvicorn.Server):
    """uvicorn's server, which leaves signals alone and stops at once."""

    def __init__(self, sandbox: Sandbox, when_ready: Callable[["_Server"], None]) -> None:
        super().__init__(
            uvicorn.Config(
                application(sandbox),
                http=_Protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                date_header=False,  # each API has a clock of its own
                timeout_keep_alive=_IDLE_SECONDS,
            )
        )
        self._when_ready = when_ready
        self._stopping: asyncio.Event | None = None

    def stop(self) -> None:
        """Stop serving; to be called in the loop."""
        if self._stopping is not None:
            self._stopping.set()

    @override
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    @override
    async def main_loop(self) -> None:
        self._stopping = asyncio.Event()
        self._when_ready(self)
        await self._stopping.wait()

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        # Connections learn of their end in the next turns of the loop, and so their requests.
        await asyncio.sleep(0)
        tasks = list(self.server_state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for listener in sockets or []:
            listener.close()


def serve(scenario: Scenario, host: str, port: int, announce: Callable[[Addresses], None]) -> None:
    """Serve in the foreground until SIGTERM or SIGINT.

    Args:
        scenario: What to simulate.
        host: An address of loopback.
        port: 0 for any that is free.
        announce: Called once, when requests are answered.

    Raises:
        NotLoopback: The host is not on loopback.
        ScenarioError: The scenario is out of its bounds.
        OSError: The port is taken.
    """
    with listen(host, port) as listener:
        sandbox = Sandbox(scenario.checked())

        def ready(server: _Server) -> None:
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, server.stop)
            announce(addresses(sandbox, _root(listener)))

        asyncio.run(_Server(sandbox, ready).serve([listener]))


@contextlib.contextmanager
def serve_in_thread(scenario: Scenario | None = None) -> Iterator[RunningSandbox]:
    """Serve a sandbox on a free port of loopback, in a thread of its own, while the context lasts.

    Args:
        scenario: What to simulate; the default account if None.

    Raises:
        ScenarioError: The scenario is out of its bounds.
    """
    sandbox = Sandbox((scenario or Scenario()).checked())
    listener = listen(LOOPBACK, 0)
    where = addresses(sandbox, _root(listener))
    ready: Future[asyncio.AbstractEventLoop] = Future()
    server = _Server(sandbox, lambda _server: ready.set_result(asyncio.get_running_loop()))

    def work() -> None:
        try:
            asyncio.run(server.serve([listener]))
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)

    thread = threading.Thread(target=work, name="api-sandbox", daemon=True)
    thread.start()
    loop = ready.result()
    try:
        yield RunningSandbox(sandbox, where, loop)
    finally:
        loop.call_soon_threadsafe(server.stop)
        thread.join()
