"""Finds the rows that a query selects, as the user of the tokens may see them."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta

from api_sandbox.hubstaff.account import Account, Organization
from api_sandbox.hubstaff.activities import ActivityBook
from api_sandbox.hubstaff.clock import DAY, Clock, day_of, instant, months_before, parse_instant
from api_sandbox.hubstaff.daily import DailyBook, DailyRow
from api_sandbox.hubstaff.errors import ErrorCode, refuse
from api_sandbox.hubstaff.events import EventBook
from api_sandbox.hubstaff.listing import Listing
from api_sandbox.hubstaff.lists import Lists
from api_sandbox.hubstaff.queries import Query, flag
from api_sandbox.hubstaff.records import Record
from api_sandbox.hubstaff.rows import Row
from api_sandbox.hubstaff.scenario import HubstaffScenario
from api_sandbox.hubstaff.windows import Bounds, earliest, too_early

_PARTS = {"team": "teams", "integration": "integrations", "client": "clients", "project": "projects"}
_DAY_LENGTH = len("2026-01-01")


@dataclass(slots=True)
class Selector:
    """Finds rows."""

    scenario: HubstaffScenario
    account: Account
    clock: Clock
    lists: Lists
    activities: ActivityBook
    daily: DailyBook
    events: EventBook
    _owners: dict[tuple[str, int], Organization] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Note which organization each part belongs to."""
        for organization in self.account.organizations:
            for scope, stream in _PARTS.items():
                for record in self.lists.rows[stream].get(organization.id, ()):
                    self._owners[scope, record.content["id"]] = organization
            self._owners["organization", organization.id] = organization

    def organization(self, listing: Listing, owner: int) -> Organization | None:
        """The organization that a path is about; None for the account's own, and for what is not there."""
        part = _PARTS.get(listing.scope)
        if part is not None and self.lists.find(part, owner) is None:
            return None
        return self._owners.get((listing.scope, owner))

    def check(self, query: Query) -> None:
        """Let a request pass that may be answered."""
        listing = query.listing
        organization = self.organization(listing, query.owner)
        if listing.scope and organization is None:
            raise refuse(ErrorCode.NOT_FOUND)
        if organization is not None and organization.index in self.scenario.inactive_organizations:
            raise refuse(ErrorCode.INACTIVE_PLAN)
        index = None if organization is None else organization.index
        if any(one.stream in {"*", listing.stream} and one.covers(index) for one in self.scenario.forbidden):
            raise refuse(ErrorCode.FORBIDDEN)
        role = self.scenario.role
        if (listing.money and role != "owner") or (listing.managers and role == "user"):
            raise refuse(ErrorCode.FORBIDDEN)
        for bounds in query.bounds.values():
            if bounds.window.by_plan and bounds.start < day_of(self._kept_from()).isoformat():
                raise too_early(bounds.window)

    def _kept_from(self) -> float:
        """Seconds since 1970 from which on an organization keeps what it keeps by its plan."""
        return self.clock.now() - self.scenario.retention_days * DAY

    def rows(self, query: Query) -> list[Row]:
        """All rows of a query, in the order of the list."""
        rows = self._source(query)
        wanted = query.filters.items()
        if query.listing.stream == "budget_histories" and wanted:
            # Of a project or of a client, never both: the filters add up, says the Swagger.
            return [row for row in rows if any(_names(row, path, ids) for path, ids in wanted)]
        for path, ids in wanted:
            rows = [row for row in rows if _names(row, path, ids)]
        if self.scenario.role == "user" and query.listing.own is not None:
            rows = [row for row in rows if self._mine(row, query.listing.own)]
        return rows

    def everything(self, listing: Listing, owner: int, organization: Organization, since: float | None) -> list[Row]:
        """Every row of a list that can be read, whatever it hides if it is not asked for more."""
        if listing.source == "last":
            return list(self._last(organization))
        if not listing.paged:
            return [self._seats(organization)]
        if listing.source in {"list", "balances"}:
            return list(self.lists.of(listing.kept or listing.stream, owner))
        window = listing.windows[0]
        reach = self._kept_from() if window.by_plan else earliest(window, self.clock)
        starts = [start for start in (reach, since) if start is not None]
        start = max(starts, default=float(organization.midnight(organization.began) - DAY))
        if listing.source == "activities":
            return list(self.activities.by_slot(organization, start, self.clock.horizon() + DAY))
        today = day_of(self.clock.horizon()) + timedelta(days=1)
        if listing.source == "daily":
            first = max(day_of(start), organization.began - timedelta(days=366))
            return list(self.daily.by_date(organization, first, today))
        text = instant(math.ceil(start)) if window.unit == "time" else day_of(start).isoformat()
        rows = self.events.between(listing.stream, organization, day_of(start), today)
        return [row for row in rows if (window.of(row.content) or "") >= text]

    def _source(self, query: Query) -> list[Row]:
        listing = query.listing
        if listing.scope == "":
            return list(self.lists.of(listing.stream, 0))
        organization = self._owners[listing.scope, query.owner]
        rows = list(self._of_organization(query, organization))
        if listing.scope == "project" and listing.kept is None and listing.source != "last":
            rows = [row for row in rows if query.owner in row.values("project_id")]
        if listing.scope == "client":
            rows = [row for row in rows if query.owner in row.values("client_id")]
        return rows

    def _of_organization(self, query: Query, organization: Organization) -> Iterable[Row]:
        listing = query.listing
        if not listing.paged:
            return [self._seats(organization)]
        if listing.source == "last":
            return self._last_of(query, organization)
        # What grows day by day is not read without a window.
        bounds = query.bounds[listing.windows[0].name] if listing.walled else None
        if bounds is None or listing.source == "list":
            return self._held(query, self._listed(query, organization))
        if listing.source == "events":
            first, last = (date.fromisoformat(end[:_DAY_LENGTH]) for end in (bounds.start, bounds.stop))
            return self._held(query, self.events.between(listing.stream, organization, first, last))
        return self._tracked(listing, organization, bounds)

    def _tracked(self, listing: Listing, organization: Organization, bounds: Bounds) -> Iterable[Row]:
        if listing.source == "daily":
            return self.daily.by_date(organization, *map(date.fromisoformat, (bounds.start, bounds.stop)))
        start, stop = (parse_instant(end) or 0.0 for end in (bounds.start, bounds.stop))
        if listing.source == "daily_updates":
            return self._daily_updates(organization, start, stop)
        find = self.activities.by_slot if listing.source == "activities" else self.activities.by_update
        return find(organization, start, stop)

    def _listed(self, query: Query, organization: Organization) -> Iterable[Record]:
        listing = query.listing
        by_part = listing.kept is not None or listing.scope in {"team", "integration"}
        owner = query.owner if by_part else organization.id
        rows: Iterable[Record] = self.lists.of(listing.kept or listing.stream, owner)
        if listing.source == "balances" and query.parameters.get("year", "") not in {"", *self._years(organization)}:
            return ()
        if listing.stream in {"members", "project_members"} and not flag(query.parameters, "include_removed"):
            rows = (row for row in rows if row.content["membership_status"] != "removed")
        if listing.requires:
            rows = (row for row in rows if row.content["status"] == "active")
        return rows

    def _held(self, query: Query, rows: Iterable[Record]) -> Iterable[Record]:
        """The rows within the stretches, and of the chosen values."""
        chosen = {path: values for path, values in query.chosen.items() if path != "project_statuses"}
        for row in rows:
            if all(bounds.holds(row.content) for bounds in query.bounds.values()) and all(
                not values.isdisjoint(row.values(path)) for path, values in chosen.items()
            ):
                yield row

    def _daily_updates(self, organization: Organization, start: float, stop: float) -> list[DailyRow]:
        rows = self.daily.by_update(organization, start, stop)
        if self.scenario.daily_updates_of == "all":
            return rows
        first = months_before(day_of(self.clock.now()), 1)
        return [row for row in rows if row.activities[0].date >= first]

    def _last_of(self, query: Query, organization: Organization) -> list[Record]:
        removed = {member.user_id for member in organization.members if member.removed is not None}
        rows = self._last(organization)
        if not flag(query.parameters, "include_removed"):
            rows = [row for row in rows if row.content["user_id"] not in removed]
        if query.listing.scope == "project":
            rows = [row for row in rows if row.content.get("last_project_id") == query.owner]
        return rows

    def _last(self, organization: Organization) -> list[Record]:
        # Of those that ended at once, the first counts.
        activities = sorted(self.activities.all(organization), key=lambda one: (one.ends, -one.key))
        latest = {activity.member.user_id: activity for activity in activities}
        rows = []
        for member in organization.members:
            last = latest.get(member.user_id)
            content = {
                "last_client_activity": None if last is None else instant(last.ends),
                "online": False,
                **({} if last is None else {"last_project_id": last.project.id}),
                "last_task_id": None if last is None or last.task is None else last.task.id,
                "user_id": member.user_id,
            }
            rows.append(Record(500 + 3 * member.lane, f"{organization.id}:{member.user_id}", content))
        return rows

    def _seats(self, organization: Organization) -> Record:
        occupied = sum(member.removed is None for member in organization.members)
        return Record(1, str(organization.id), {"paid": occupied + 2, "occupied": occupied, "open": 2})

    def _years(self, organization: Organization) -> set[str]:
        last = day_of(self.clock.now()).year
        return {str(year) for year in range(organization.began.year, last + 1)}

    def _mine(self, row: Row, path: str) -> bool:
        if path == "member":
            mine = self.account.organizations
            return any(row.key == project.id for one in mine for project in one.members[0].projects)
        return self.account.me in row.values(path)


def _names(row: Row, path: str, ids: frozenset[str]) -> bool:
    return not ids.isdisjoint(map(str, row.values(path)))
