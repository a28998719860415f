"""Serves a sandbox on loopback: in the foreground, or in a thread of a test."""

import asyncio
import contextlib
import ipaddress
import signal
import socket
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar

import msgspec
import uvicorn
from typing_extensions import override

from api_sandbox.control import CONTROL_PREFIX, application
from api_sandbox.faults import Fault
from api_sandbox.harkster.handle import HarksterAddress, RunningHarkster, address
from api_sandbox.hubstaff.handle import HubstaffAddress, RunningHubstaff
from api_sandbox.hustle.api import AUTH_PATH, BASE
from api_sandbox.protocol import SandboxProtocol
from api_sandbox.report import Report
from api_sandbox.sandbox import Sandbox
from api_sandbox.scenario import Scenario
from api_sandbox.truth import Truth

_T = TypeVar("_T")

LOOPBACK = "127.0.0.1"
_BACKLOG = 1024
_IDLE_SECONDS = 75  # Longer than any pause between the pages of a slow reader.


class NotLoopback(ValueError):  # noqa: N818 - reads better in a traceback than with a suffix
    """A host that other machines could reach; a sandbox with its known credentials stays off the network."""


class HustleAddress(msgspec.Struct, frozen=True):
    """Where the Hustle API is and what opens it.

    Attributes:
        api_url: Base of the lists, without a slash at the end.
        auth_url: Where tokens are given.
        client_id: Credentials.
        client_secret: Credentials.
    """

    api_url: str
    auth_url: str
    client_id: str
    client_secret: str


class Addresses(msgspec.Struct, frozen=True):
    """What a client needs to know of a running sandbox.

    Attributes:
        hustle: The Hustle API.
        hubstaff: The Hubstaff API.
        harkster: The Harkster API.
        control_url: Base of the control endpoints.
    """

    hustle: HustleAddress
    hubstaff: HubstaffAddress
    harkster: HarksterAddress
    control_url: str


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on loopback; port 0 takes any that is free.

    Raises:
        NotLoopback: The host is not on loopback.
        OSError: The port is taken.
    """
    try:
        address = ipaddress.ip_address(LOOPBACK if host == "localhost" else host)
    except ValueError as error:
        raise NotLoopback(f"{host} is not an address of loopback") from error
    if not address.is_loopback:
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


def addresses(sandbox: Sandbox, listener: socket.socket) -> Addresses:
    """Where a sandbox is that is served on a socket."""
    host, port = listener.getsockname()[:2]
    root = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    credentials = sandbox.hustle.credentials
    return Addresses(
        HustleAddress(root + BASE, root + AUTH_PATH, credentials.client_id, credentials.client_secret),
        HubstaffAddress.of(root, sandbox.hubstaff),
        address(sandbox.harkster, root),
        root + CONTROL_PREFIX,
    )


class _Server(uvicorn.Server):
    """uvicorn's server, which leaves signals alone and stops at once."""

    def __init__(self, sandbox: Sandbox, when_ready: Callable[["_Server"], None]) -> None:
        super().__init__(
            uvicorn.Config(
                application(sandbox),
                http=SandboxProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,  # each API has a clock of its own
                timeout_keep_alive=_IDLE_SECONDS,
            )
        )
        self._when_ready = when_ready
        self._stopping: asyncio.Event | None = None
        self.loop: asyncio.AbstractEventLoop | None = None

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
        self.loop = asyncio.get_running_loop()
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
            announce(addresses(sandbox, listener))

        asyncio.run(_Server(sandbox, ready).serve([listener]))


class _Faults:
    """The faults of a sandbox that runs in another thread."""

    def __init__(self, running: "RunningSandbox") -> None:
        self._running = running

    def add(self, *faults: Fault) -> None:
        """Put faults after those that are there."""
        self._running.run(lambda sandbox: sandbox.faults.add(*faults))

    def replace(self, *faults: Fault) -> None:
        """Put faults in the place of those that are there, with fresh counters, and let go what those held."""
        self._running.run(lambda sandbox: sandbox.faults.replace(*faults))

    def clear(self) -> None:
        """Take all faults away, and let go what they held."""
        self.replace()

    def wait_until_held(self, count: int = 1) -> None:
        """Wait until so many requests are held at least.

        Raises:
            TimeoutError: They do not come.
        """
        self._running.run(lambda sandbox: sandbox.faults.gate).wait_until_held(count)


class RunningSandbox:
    """A sandbox that is served in a thread. All methods can be called from any thread, and after the end too.

    Attributes:
        hustle: Where the Hustle API is and what opens it.
        hubstaff: Likewise, and how to steer it.
        harkster: The Harkster API: where it is, what opens it, and what was posted.
        control_url: Base of the control endpoints.
        faults: What goes wrong; more can be added.
    """

    def __init__(self, sandbox: Sandbox, where: Addresses, loop: asyncio.AbstractEventLoop) -> None:
        self._sandbox = sandbox
        self._loop = loop
        self.hustle = where.hustle
        self.hubstaff = RunningHubstaff(where.hubstaff, lambda work: self.run(lambda sandbox: work(sandbox.hubstaff)))
        self.harkster = RunningHarkster(where.harkster, lambda work: self.run(lambda sandbox: work(sandbox.harkster)))
        self.control_url = where.control_url
        self.faults = _Faults(self)

    @property
    def truth(self) -> Truth:
        """What there is to be read of Hustle: ids by list, and by list and organization."""
        return self.run(Sandbox.truth_of_hustle)

    def records(self, stream: str) -> list[dict[str, Any]]:
        """Every record of a list of Hustle, as a sound API answers it, in order."""
        return self.run(lambda sandbox: list(sandbox.records(stream)))

    def report(self) -> Report:
        """What was served since the start or the last reset."""
        return self.run(Sandbox.report)

    def reset(self) -> None:
        """Forget what was served, and Hustle's tokens, failed logins and blocks. Faults and data stay."""
        self.run(Sandbox.reset)

    def expire_tokens(self) -> None:
        """End the life of every access token of Hustle now."""
        self.run(lambda sandbox: sandbox.hustle.tokens.expire_all())

    def add_leads(self, organization: int, count: int) -> list[str]:
        """Add leads at the end of an organization's list, and give their ids.

        Args:
            organization: Index of the organization.
            count: How many.
        """
        return self.run(lambda sandbox: sandbox.hustle.book.append(organization, count))

    def run(self, work: Callable[[Sandbox], _T]) -> _T:
        """Do something with the sandbox between two steps of its requests."""
        if self._loop.is_closed():
            return work(self._sandbox)
        done: Future[_T] = Future()

        def step() -> None:
            try:
                done.set_result(work(self._sandbox))
            except BaseException as error:  # noqa: BLE001 - handed to the caller
                done.set_exception(error)

        self._loop.call_soon_threadsafe(step)
        return done.result()


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
    where = addresses(sandbox, listener)
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
