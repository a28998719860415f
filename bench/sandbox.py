"""The sandbox API in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sysconfig
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import ProxyHandler, Request, build_opener

from bench.runs import Account

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_OPENER = build_opener(ProxyHandler({}))  # loopback is reached directly, whatever proxy the environment names
_TIMEOUT = 60.0


@dataclass(frozen=True)
class Served:
    """What the API saw since it was last told to forget.

    Attributes:
        requests: All but those for tokens.
        refused: Answered with a 429.
        first: When the first request came, tokens included, on the machine's monotonic clock.
    """

    requests: int
    refused: int
    first: float


@dataclass(frozen=True)
class Sandbox:
    """A running sandbox.

    Attributes:
        hustle: Where its Hustle API is, and the credentials that it takes.
        harkster: Where its Harkster API is, its token, and a channel.
        control_url: Where it is controlled.
    """

    hustle: Mapping[str, str]
    harkster: Mapping[str, str]
    control_url: str

    def account(self) -> Account:
        """What there is to read."""
        truth = self._ask("truth?ids=false")
        leads = {owner: owned["count"] for owner, owned in truth["leads"]["by_organization"].items()}
        return Account.of(truth["organizations"]["count"], leads)

    def lead_ids(self) -> set[str]:
        """The ids of all leads."""
        return set(self._ask("truth")["leads"]["ids"])

    def pass_night(self, changed: int, gone: int) -> None:
        """Change every so many-th lead, and let every so many-th go."""
        self._ask("leads/night", "POST", {"changed": changed, "gone": gone})

    def forget(self) -> None:
        """Begin a new report."""
        self._ask("reset", method="POST")

    def served(self) -> Served:
        """What was served since."""
        report = self._ask("report?ids=false")
        return Served(
            requests=report["requests"] - report["token_requests"],
            refused=report["too_many_requests"],
            first=report["first_request_at"] or 0.0,
        )

    def changes(self) -> int:
        """How many things were done to posts of Harkster since the start."""
        return len(self._ask("harkster/truth")["events"])

    def _ask(self, path: str, method: str = "GET", body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"{self.control_url}/{path}", data, method=method)  # noqa: S310 - always http on loopback
        with _OPENER.open(request, timeout=_TIMEOUT) as answer:
            return json.loads(answer.read() or b"null")


@contextmanager
def running(scenario: Mapping[str, object], directory: Path) -> Iterator[Sandbox]:
    """Run a sandbox for as long as the block lasts."""
    file = directory / "scenario.json"
    file.write_text(json.dumps(scenario), encoding="utf-8")
    command: list[str | Path] = [Path(sysconfig.get_path("scripts")) / "api-sandbox", "serve", "--scenario", file]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            described = json.loads(process.stdout.readline() if process.stdout else b"")
            yield Sandbox(described["hustle"], described["harkster"], described["control_url"])
        finally:
            process.terminate()
