"""What stands before the API: the proxy that refuses scripts, and the limit of requests an hour."""

import math
from collections import defaultdict
from dataclasses import dataclass, field
from http import HTTPStatus

from api_sandbox.api import Refused
from api_sandbox.hubstaff.clock import HOUR, Clock
from api_sandbox.hubstaff.errors import PROXY, ErrorCode, refuse
from api_sandbox.hubstaff.scenario import HubstaffScenario
from api_sandbox.hubstaff.tokens import PERSONAL
from api_sandbox.limits import SlidingWindow

_SCRIPTS = (
    "python-requests",
    "python-urllib",
    "urllib",
    "python-httpx",
    "python/",
    "aiohttp",
    "curl",
    "wget",
    "go-http-client",
    "java/",
    "okhttp",
    "axios",
)
"""How the default User-Agents of scripts begin, in small letters."""


def check_agent(agent: str | None) -> None:
    """Let a request pass that does not come from a script that hides its name."""
    name = (agent or "").strip().lower()
    if not name or name.startswith(_SCRIPTS):
        raise Refused(HTTPStatus.FORBIDDEN, "scripts are refused", code=PROXY)


@dataclass(slots=True)
class HourlyLimit:
    """So many requests an hour for each application, wherever the hour begins."""

    scenario: HubstaffScenario
    clock: Clock
    _windows: defaultdict[str, SlidingWindow] = field(init=False)

    def __post_init__(self) -> None:
        """Begin with empty hours."""
        self._windows = defaultdict(lambda: SlidingWindow(self.scenario.requests_per_hour, seconds=HOUR))

    def admit(self, application: str) -> None:
        """Count a request."""
        window, now = self._windows[application], self.clock.now()
        if not window.admit(now):
            headers = {"retry-after": str(math.ceil(window.wait(now))), **self.headers(application)}
            raise refuse(ErrorCode.TOO_MANY_REQUESTS, headers=headers)

    def headers(self, application: str) -> dict[str, str]:
        """What an answer tells of the limit."""
        limit = self.scenario.requests_per_hour
        if limit is None or not self.scenario.rate_limit_headers:
            return {}
        window, now = self._windows[application], self.clock.now()
        return {
            "x-rate-limit-limit": str(limit),
            "x-rate-limit-remaining": str(limit - window.used(now)),
            "x-rate-limit-reset": str(math.ceil(window.wait(now))),
        }

    def used(self, application: str = PERSONAL) -> int:
        """How many requests of an application (personal, oauth, organization) count within the last hour."""
        return self._windows[application].used(self.clock.now())
