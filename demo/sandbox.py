"""The sandbox APIs as a running program, and what they know to be true."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from urllib.request import ProxyHandler, Request, build_opener

from demo.processes import SCRIPTS, Program, running

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

# Loopback is reached directly, whatever proxy the environment names for the rest of the world.
_OPENER = build_opener(ProxyHandler({}))
_TIMEOUT = 30.0
_HUBSTAFF = "hubstaff/"
HUBSTAFF_UNREAD = "tracking_states"
# The shortest of the vendor's reaches is a month: what is simulated must not be older, or it could not be read.
_HUBSTAFF_REACH = timedelta(days=27)


@dataclass(frozen=True)
class Sandbox:
    """A running sandbox.

    Attributes:
        hustle: Where its Hustle API is, and the credentials that it takes.
        hubstaff: The same of its Hubstaff API, and how it is to be read: from when on, and where tokens are kept.
        harkster: Where its Harkster API is and what opens it, a channel there, and where the target keeps its files.
        page_url: Where it shows what was posted to Harkster.
        control_url: Where it is controlled.
    """

    hustle: Mapping[str, str]
    hubstaff: Mapping[str, str]
    harkster: Mapping[str, str]
    page_url: str
    control_url: str

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables that the sandbox environment in meltano.yml refers to."""
        return {
            f"SANDBOX_{vendor}_{name.upper()}": value
            for vendor, settings in (("HUSTLE", self.hustle), ("HUBSTAFF", self.hubstaff), ("HARKSTER", self.harkster))
            for name, value in settings.items()
        }

    def hustle_counts(self) -> dict[str, int]:
        """Return the true number of records of each Hustle stream."""
        return {
            stream: truth["count"]
            for stream, truth in self.ask("truth?ids=false").items()
            if not stream.startswith(_HUBSTAFF)
        }

    def hubstaff_counts(self) -> dict[str, int]:
        """Return the true number of records of each Hubstaff list that tap-hubstaff reads."""
        return {
            stream.removeprefix(_HUBSTAFF): truth["count"]
            for stream, truth in self.ask("truth?ids=false").items()
            if stream.startswith(_HUBSTAFF) and stream != _HUBSTAFF + HUBSTAFF_UNREAD
        }

    def hustle_ids(self, stream: str, organization: str | None = None) -> set[str]:
        """Return the ids of all records of a Hustle stream, or of those of one organization."""
        truth = self.ask("truth")[stream]
        return set(truth["by_organization"][organization]["ids"] if organization else truth["ids"])

    def posts(self) -> list[dict[str, Any]]:
        """Return what was posted to the channel, deleted posts included."""
        channel = self.harkster["channel"]
        found = self.ask(f"harkster/truth?channel={channel}")["posts"][channel]
        return [post for post in found if post["by_user"]]

    def page(self) -> bytes:
        """Return the web page that shows all channels with their posts."""
        with _OPENER.open(self.page_url, timeout=_TIMEOUT) as answer:
            page: bytes = answer.read()
        return page

    def ask(self, path: str, body: object = None) -> Any:
        """Send a request to the control API: GET, or POST where there is a body.

        Args:
            path: Path and query below the control URL.
            body: What to send as JSON.

        Returns:
            The decoded answer.
        """
        request = Request(  # noqa: S310  # always http on loopback
            f"{self.control_url}/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with _OPENER.open(request, timeout=_TIMEOUT) as answer:
            return json.loads(answer.read() or b"null")


@contextmanager
def running_sandbox(scenario: Path, directory: Path, scripts: Path = SCRIPTS) -> Iterator[Sandbox]:
    """Run a sandbox for as long as the block lasts.

    Args:
        scenario: What it simulates.
        directory: Where its output goes.
        scripts: Where its program is.

    Yields:
        The sandbox, ready for requests.
    """
    ready_line = directory / "sandbox.json"
    program = Program(
        name="the sandbox",
        command=[scripts / "api-sandbox", "serve", "--port", "0", "--scenario", scenario],
        log=directory / "sandbox.log",
        output=ready_line,
    )
    with running(program) as process:
        process.wait_until(lambda: ready_line.read_bytes().endswith(b"\n"))
        described = json.loads(ready_line.read_bytes())
        reading = {
            "start_date": (datetime.now(timezone.utc) - _HUBSTAFF_REACH).date().isoformat(),
            "token_path": str(directory / "hubstaff-tokens"),
        }
        harkster = described["harkster"]
        page_url = harkster.pop("page_url")
        writing = {
            "ledger_url": f"sqlite:///{directory / 'harkster.db'}",
            "reject_path": str(directory / "harkster-rejects.jsonl"),
        }
        yield Sandbox(
            described["hustle"],
            described["hubstaff"] | reading,
            harkster | writing,
            page_url,
            described["control_url"],
        )
