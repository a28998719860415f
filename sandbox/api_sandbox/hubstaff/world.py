"""The account as a whole: what there is, and what becomes of it as time goes on."""

import time
from bisect import insort
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import cached_property
from itertools import count
from typing import Any

import msgspec

from api_sandbox.hubstaff.account import Organization, build_account
from api_sandbox.hubstaff.activities import ActivityBook
from api_sandbox.hubstaff.clock import Clock, day_of
from api_sandbox.hubstaff.daily import DailyBook
from api_sandbox.hubstaff.events import EventBook
from api_sandbox.hubstaff.listing import LISTINGS, Listing
from api_sandbox.hubstaff.lists import Lists
from api_sandbox.hubstaff.rows import Row
from api_sandbox.hubstaff.scenario import HubstaffScenario
from api_sandbox.hubstaff.selector import Selector
from api_sandbox.truth import Truth

_OF_STREAM: dict[str, Listing] = {}
"""One path for each stream: that of organizations, where clients or projects have it too."""
for _one in sorted(LISTINGS, key=lambda listing: listing.scope in {"client", "project"}):
    _OF_STREAM.setdefault(_one.stream, _one)


class World:
    """Everything that there is to be read."""

    def __init__(self, seed: int, scenario: HubstaffScenario) -> None:
        start = time.time() if scenario.now is None else scenario.now.timestamp()
        self.clock = Clock(start, runs=scenario.clock == "running")
        self.seed = seed
        self.scenario = scenario
        self.account = build_account(seed, scenario, day_of(self.clock.start))
        self.activities = ActivityBook(seed, scenario, self.account, self.clock)
        self.daily = DailyBook(self.activities)
        # What nobody sees yet: when it is due, in which order it came, and what to do then.
        self._pending: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._changes = 0
        self._records: tuple[object, dict[str, bytes]] = (None, {})

    # Made when they are asked for first: most sandboxes are asked for one vendor's things only.
    @cached_property
    def lists(self) -> Lists:
        """What does not grow day by day."""
        return Lists(self.seed, self.scenario, self.account, self.clock)

    @cached_property
    def events(self) -> EventBook:
        """What happened, besides the work that was tracked."""
        everyone = self.account.organizations
        places = {
            stream: [[record.content["id"] for record in self.lists.rows[stream].get(one.id, ())] for one in everyone]
            for stream in ("job_sites", "attendance_schedules")
        }
        return EventBook(self.seed, self.scenario, self.account, self.clock, places)

    @cached_property
    def selector(self) -> Selector:
        """Finds rows."""
        return Selector(self.scenario, self.account, self.clock, self.lists, self.activities, self.daily, self.events)

    @property
    def version(self) -> tuple[object, ...]:
        """Differs whenever there may be something else to be read."""
        return *self.activities.version, self._changes

    def later(self, due: float, change: Callable[[], None]) -> None:
        """Let a change be seen from a time on."""
        insort(self._pending, (due, next(self._numbers), change))
        self.catch_up()

    def advance(self, seconds: float) -> None:
        """Move the clock on: people go on working, tokens grow old, the hour passes, changes are seen."""
        self.clock.advance(seconds)
        self.catch_up()

    def catch_up(self) -> None:
        """Let everything be seen that is due."""
        now = self.clock.now()
        while self._pending and self._pending[0][0] <= now:
            _due, _number, change = self._pending.pop(0)
            change()
            self._changes += 1

    def streams(self) -> Iterator[str]:
        """The names of all streams."""
        yield from _OF_STREAM
        yield "users"

    def rows(self, stream: str, since: float | None = None) -> Iterator[tuple[Organization | None, Row]]:
        """Every row of a stream with its organization: whatever the API can be asked for now."""
        self.catch_up()
        if stream == "organizations":
            yield from ((None, row) for row in self.lists.of(stream, 0))
            return
        if stream == "users":
            for organization in self.account.organizations:
                yield from ((organization, self.lists.users[one.user_id]) for one in organization.members)
            return
        listing = _OF_STREAM[stream]
        for organization in self.account.organizations:
            for owner in self._owners(listing, organization):
                rows = self.selector.everything(listing, owner, organization, since)
                yield from ((organization, row) for row in rows)

    def truth(self, streams: Iterable[str] | None = None, since: datetime | None = None) -> Truth:
        """What there is to be read now; in streams that grow day by day, since a time at most."""
        ids: dict[str, list[str]] = {}
        owned: dict[str, dict[str, list[str]]] = {}
        for stream in self.streams() if streams is None else streams:
            distinct: dict[str, None] = {}
            by_organization: defaultdict[str, list[str]] = defaultdict(list)
            for organization, row in self.rows(stream, None if since is None else since.timestamp()):
                distinct[row.id] = None
                if organization is not None:
                    by_organization[str(organization.id)].append(row.id)
            ids[stream] = list(distinct)
            owned[stream] = dict(by_organization)
        return Truth(ids, owned)

    def ids(self, stream: str, organization: str | None = None, since: datetime | None = None) -> list[str]:
        """The ids of one stream, of an organization (by its id) or all; quicker than the truth of a big account."""
        found = self.truth([stream], since)
        return found.ids[stream] if organization is None else found.by_organization[stream].get(organization, [])

    def records(self, stream: str) -> list[dict[str, Any]]:
        """Every record of a stream, as a sound API answers it if nothing is hidden."""
        self.catch_up()
        if self._records[0] != self.version:
            self._records = self.version, {}
        made = self._records[1]
        if stream not in made:
            made[stream] = msgspec.json.encode([row.fields() for _owner, row in self.rows(stream)])
        return msgspec.json.decode(made[stream], type=list[dict[str, Any]])

    def _owners(self, listing: Listing, organization: Organization) -> list[int]:
        if listing.scope == "organization":
            return [organization.id]
        parts = {"project": "projects", "team": "teams", "integration": "integrations"}[listing.scope]
        return [record.content["id"] for record in self.lists.of(parts, organization.id)]
