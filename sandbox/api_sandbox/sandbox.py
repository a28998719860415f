"""A sandbox without its server: the APIs, their faults, their truth and their report."""

from typing import Any

import msgspec

from api_sandbox.faults import FaultBook
from api_sandbox.harkster.api import HarksterApi
from api_sandbox.hubstaff.api import NAMESPACE, HubstaffApi
from api_sandbox.hustle.api import HustleApi
from api_sandbox.hustle.queries import MAX_LIMIT, Query
from api_sandbox.report import Recorder, Report
from api_sandbox.scenario import Scenario
from api_sandbox.truth import Truth


class Sandbox:
    """All that one scenario simulates. Its methods belong in the thread that serves it."""

    def __init__(self, scenario: Scenario) -> None:
        self.faults = FaultBook(scenario.seed)
        self.faults.add(*scenario.faults)
        self._recorder = Recorder()
        self.hustle = HustleApi(scenario.seed, scenario.hustle, self.faults, self._recorder)
        self.hubstaff = HubstaffApi(scenario.seed, scenario.hubstaff, self.faults, self._recorder)
        self.harkster = HarksterApi(scenario.seed, scenario.harkster, self.faults, self._recorder)

    def truth(self) -> Truth:
        """What there is to be read; the streams of Hubstaff have `hubstaff/` before their names."""
        return self.truth_of_hustle().beside(NAMESPACE, self.hubstaff.world.truth())

    def truth_of_hustle(self) -> Truth:
        """What there is to be read of Hustle."""
        return self.hustle.selector.truth()

    def records(self, stream: str) -> list[dict[str, Any]]:
        """Every record of a list of Hustle, as a sound API answers it, in order."""
        rows = self.hustle.selector.rows(Query(stream, {}, MAX_LIMIT))
        return [msgspec.json.decode(row.encoded) for row in rows]

    def report(self) -> Report:
        """What was served."""
        return self._recorder.report()

    def reset(self) -> None:
        """Forget what was served, and Hustle's tokens, failed logins and blocks. Faults and data stay."""
        self._recorder = Recorder()
        self.hustle.reset(self._recorder)
        self.hubstaff.reset(self._recorder)
        self.harkster.reset(self._recorder)
