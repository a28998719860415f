"""A sandbox that is served in a thread, in the hands of a test. All of it can be called from any thread."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime, timezone
from functools import wraps
from operator import attrgetter
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec

from api_sandbox.addresses import Addresses, HarksterAddress, HubstaffAddress
from api_sandbox.faults import FaultBook
from api_sandbox.harkster.api import HarksterApi
from api_sandbox.harkster.clock import Clock
from api_sandbox.harkster.service import Service
from api_sandbox.hubstaff.api import HubstaffApi
from api_sandbox.hubstaff.changes import Changes
from api_sandbox.hubstaff.gate import HourlyLimit
from api_sandbox.hubstaff.tokens import TokenDesk
from api_sandbox.hubstaff.world import World
from api_sandbox.hustle.api import HustleApi
from api_sandbox.hustle.leads import LeadBook
from api_sandbox.sandbox import Sandbox
from api_sandbox.truth import Truth

_S = TypeVar("_S")
_T = TypeVar("_T")
_P = ParamSpec("_P")

Run = Callable[[Callable[[Any], Any]], Any]
"""Does some work with a part of a sandbox, in the thread that serves it."""


def _done(path: str, method: Callable[Concatenate[_S, _P], _T]) -> Callable[Concatenate[Any, _P], _T]:
    """A method that does that of a part, in the thread that serves it.

    Args:
        path: Leads to the part, in attributes.
        method: Of the part.
    """
    find: Callable[[Any], Any] = attrgetter(path) if path else lambda part: part

    @wraps(method)
    def done(running: Any, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        result: _T = running.run(lambda part: method(find(part), *args, **kwargs))
        return result

    return done


class RunningHubstaff(HubstaffAddress, frozen=True):
    """The Hubstaff API of a running sandbox."""

    run: Run

    ids = _done("world", World.ids)
    records = _done("world", World.records)
    advance = _done("world", World.advance)
    edit = _done("changes", Changes.edit)
    delete = _done("changes", Changes.delete)
    transfer = _done("changes", Changes.transfer)
    add_late = _done("changes", Changes.add_late)
    add = _done("changes", Changes.add)
    used_of_hour = _done("limit", HourlyLimit.used)
    current_refresh_token = _done("tokens", TokenDesk.current)
    reset_tokens = _done("tokens", TokenDesk.reset)
    expire_access_tokens = _done("", HubstaffApi.expire_tokens)

    @property
    def truth(self) -> Truth:
        """What there is to be read: ids by stream, and by stream and organization."""
        found: Truth = self.run(lambda api: api.world.truth())
        return found

    @property
    def now(self) -> datetime:
        """The time of the sandbox."""
        return datetime.fromtimestamp(self.run(lambda api: api.world.clock.now()), timezone.utc)


class RunningHarkster(HarksterAddress, frozen=True):
    """The Harkster API of a running sandbox."""

    run: Run

    truth = _done("", HarksterApi.truth)
    revoke_token = _done("", HarksterApi.expire_tokens)
    channel = _done("service", Service.channel_id)
    account = _done("service", Service.account_id)
    posts = _done("service", Service.posts_of_user)
    set_quota = _done("service", Service.set_quota)
    add_channel = _done("service", Service.open_channel)
    add_template = _done("service", Service.open_template)
    next_month = _done("service.clock", Clock.to_next_month)


class RunningFaults(msgspec.Struct, frozen=True):
    """The faults of a running sandbox."""

    run: Run

    add = _done("faults", FaultBook.add)
    replace = _done("faults", FaultBook.replace)

    def clear(self) -> None:
        """Take all faults away, and let go what they held."""
        self.replace()

    def wait_until_held(self, count: int = 1) -> None:
        """Wait until so many requests are held at least.

        Raises:
            TimeoutError: They do not come.
        """
        self.run(lambda sandbox: sandbox.faults.gate).wait_until_held(count)


class RunningSandbox:
    """A sandbox that is served in a thread, which can be asked after the end too."""

    def __init__(self, sandbox: Sandbox, where: Addresses, loop: asyncio.AbstractEventLoop) -> None:
        self._sandbox = sandbox
        self._loop = loop
        self.hustle = where.hustle
        self.hubstaff = RunningHubstaff(
            **msgspec.structs.asdict(where.hubstaff), run=lambda work: self.run(lambda sandbox: work(sandbox.hubstaff))
        )
        self.harkster = RunningHarkster(
            **msgspec.structs.asdict(where.harkster), run=lambda work: self.run(lambda sandbox: work(sandbox.harkster))
        )
        self.control_url = where.control_url
        self.faults = RunningFaults(self.run)

    records = _done("", Sandbox.records)
    report = _done("", Sandbox.report)
    reset = _done("", Sandbox.reset)
    expire_tokens = _done("hustle", HustleApi.expire_tokens)
    add_leads = _done("hustle.book", LeadBook.append)

    @property
    def truth(self) -> Truth:
        """What there is to be read of Hustle: ids by list, and by list and organization."""
        return self.run(Sandbox.truth_of_hustle)

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
