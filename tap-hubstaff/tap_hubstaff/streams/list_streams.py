"""The streams that are read whole: master data, and all that changes without a date that shows it.

The Swagger says of each: name in the answer, and the parameters without which the list hides rows.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from singer_http.reading.pages import Page
from typing_extensions import override

from tap_hubstaff.streams.base import HubstaffStream

if TYPE_CHECKING:
    from collections.abc import Mapping

    from singer_http.tap import ApiTap
    from singer_sdk.helpers.types import Context, Record

    from tap_hubstaff.account import Account

ALL_TASKS = "active,completed,deleted,archived,archived_native_active,archived_native_completed,archived_native_deleted"
"""Every status that a task may have."""


class Organizations(HubstaffStream):
    """The organizations that the credentials belong to."""

    name = "organizations"
    shares = "organizations"
    path = "/organizations"
    is_never_empty = True
    is_by_organization = False

    @override
    def post_process(self, row: Record, context: Context | None = None) -> Record | None:
        wanted = self._account.wanted
        return row if wanted is None or row["id"] in wanted else None


class Users(HubstaffStream):
    """The people behind the members, removed ones included. Users have no list of their own.

    A user of several organizations comes once.
    """

    name = "users"
    shares = "members"
    path = "/organizations/{organization_id}/members"
    asked_for: ClassVar[Mapping[str, str | int]] = {"include": "users"}

    def __init__(self, tap: ApiTap, account: Account) -> None:
        super().__init__(tap, account)
        self._given: set[int] = set()

    @override
    def post_process(self, row: Record, context: Context | None = None) -> Record | None:
        if row["id"] in self._given:
            return None
        self._given.add(row["id"])
        del row["organization_id"]  # members say who belongs to which
        return row


class Members(HubstaffStream):
    """Members of organizations, removed ones included. Users and project members come with the same list."""

    name = "members"
    shares = "members"
    primary_keys = ("organization_id", "user_id")
    asked_for: ClassVar[Mapping[str, str | int]] = {
        "include_removed": "true",
        "include_profile": "true",
        "include_limits": "true",
    }
    filters = frozenset({"user_ids"})

    @override
    def post_process(self, row: Record, context: Context | None = None) -> Record | None:
        row.pop("project_members", None)  # a stream of their own
        # The Swagger says a string; the vendor's text says true, false or viewer.
        if isinstance(row.get("trackable"), bool):
            row["trackable"] = "true" if row["trackable"] else "false"
        return row


class ProjectMembers(HubstaffStream):
    """Who works on which project. It comes with the members, and takes no request for each project."""

    name = "project_members"
    shares = "members"
    path = "/organizations/{organization_id}/members"
    envelope = ("members",)
    primary_keys = ("project_id", "user_id")
    asked_for: ClassVar[Mapping[str, str | int]] = {
        "include_projects": "true",
        "project_statuses": "active,archived,deleted",
    }

    @override
    def parse(self, body: bytes) -> Page:
        page = super().parse(body)
        memberships = [
            {**membership, "user_id": member.user_id}
            for member in _decode_members(page.records)
            for membership in member.project_members or ()
        ]
        return Page(msgspec.Raw(msgspec.json.encode(memberships)), page.next)


class _Member(msgspec.Struct):
    user_id: int
    project_members: list[dict[str, msgspec.Raw]] | None = None


_decode_members = msgspec.json.Decoder(list[_Member]).decode


class Projects(HubstaffStream):
    """Projects, archived ones included."""

    name = "projects"
    asked_for: ClassVar[Mapping[str, str | int]] = {"status": "all"}
    filters = frozenset({"project_ids"})


class Tasks(HubstaffStream):
    """Tasks of every status."""

    name = "tasks"
    asked_for: ClassVar[Mapping[str, str | int]] = {"status": ALL_TASKS}
    filters = frozenset({"user_ids", "project_ids"})


class GlobalTodos(HubstaffStream):
    """To-dos that every project can use."""

    name = "global_todos"


class Clients(HubstaffStream):
    """Clients, archived ones included."""

    name = "clients"
    shares = "clients"
    asked_for: ClassVar[Mapping[str, str | int]] = {"status": "all"}


class Teams(HubstaffStream):
    """Teams."""

    name = "teams"
    shares = "teams"


class Invites(HubstaffStream):
    """Invitations, accepted and expired ones included."""

    name = "invites"
    asked_for: ClassVar[Mapping[str, str | int]] = {"status": "all"}


class LastActivities(HubstaffStream):
    """When each member was last seen tracking, removed ones included."""

    name = "last_activities"
    primary_keys = ("organization_id", "user_id")
    asked_for: ClassVar[Mapping[str, str | int]] = {"include_removed": "true"}


class Timesheets(HubstaffStream):
    """Timesheets. They are approved, denied and paid long after their days, so they are read whole."""

    name = "timesheets"


class JobSites(HubstaffStream):
    """Places of work."""

    name = "job_sites"


class AttendanceSchedules(HubstaffStream):
    """When members are expected to work.

    The list takes a stretch of days and gives every schedule that touches it. It is asked for one long stretch: a
    schedule that repeats would come again in each window.
    """

    name = "attendance_schedules"
    is_kept = False

    @override
    def query(self, partition: Mapping[str, Any] | None) -> dict[str, str | int]:
        # Whole years if no dates are set: every run asks the same, so that a read can continue.
        first, last = self._account.start_date.date(), dt.date(self._account.began.year + 1, 12, 31)
        if not self.config.get("start_date"):
            first = first.replace(month=1, day=1)
        if self._account.end_date is not None:
            last = self._account.end_date.date()
        return {**super().query(partition), "date[start]": first.isoformat(), "date[stop]": last.isoformat()}


class TimeOffPolicies(HubstaffStream):
    """Policies for time off, archived ones included."""

    name = "time_off_policies"
    asked_for: ClassVar[Mapping[str, str | int]] = {"status": "all"}


class TimeOffRequests(HubstaffStream):
    """Requests for time off, whatever the answer."""

    name = "time_off_requests"
    filters = frozenset({"user_ids"})

    @override
    def post_process(self, row: Record, context: Context | None = None) -> Record | None:
        # The Swagger says one object, its text one for each day.
        if isinstance(row.get("time_off_request_days"), dict):
            row["time_off_request_days"] = [row["time_off_request_days"]]
        return row


class TimeOffBalances(HubstaffStream):
    """What each member has left of each policy, in the current year."""

    name = "time_off_balances"
    primary_keys = ("time_off_policy_id", "user_id")
    filters = frozenset({"user_ids"})


class Holidays(HubstaffStream):
    """Holidays."""

    name = "holidays"


class TeamPayments(HubstaffStream):
    """Payments to members, with details. The vendor gives those of the last three years."""

    name = "team_payments"
    is_kept = False
    filters = frozenset({"user_ids", "project_ids"})

    @override
    def post_process(self, row: Record, context: Context | None = None) -> Record | None:
        if context is not None:
            row["organization_id"] = context["organization_id"]  # a string here, a number everywhere else
        return row


class ClientInvoices(HubstaffStream):
    """Invoices to clients, with their lines."""

    name = "client_invoices"
    asked_for: ClassVar[Mapping[str, str | int]] = {"include_line_items": "true"}


class TeamInvoices(HubstaffStream):
    """Invoices of members, with their lines."""

    name = "team_invoices"
    asked_for: ClassVar[Mapping[str, str | int]] = {"include_line_items": "true"}
    filters = frozenset({"user_ids"})


class Rates(HubstaffStream):
    """Pay and bill rates. The Swagger does not say what is in them, so unknown properties are kept."""

    name = "rates"
    filters = frozenset({"user_ids"})


class BudgetHistories(HubstaffStream):
    """Earlier and current budgets of projects and clients."""

    name = "budget_histories"
    filters = frozenset({"project_ids"})


class LimitHistories(HubstaffStream):
    """Earlier and current limits of members."""

    name = "limit_histories"
    filters = frozenset({"user_ids"})


class Integrations(HubstaffStream):
    """Connections to other systems."""

    name = "integrations"
    shares = "integrations"


class SmartNotificationRules(HubstaffStream):
    """Rules for notifications."""

    name = "smart_notification_rules"
    path = "/organizations/{organization_id}/insights/smart_notification_rules"


class WorkBreakProjects(HubstaffStream):
    """Breaks that members may take. The Swagger names the list in the singular."""

    name = "work_break_projects"
    envelope = ("work_break_projects", "work_break_project")
    filters = frozenset({"project_ids"})


class Seats(HubstaffStream):
    """How many seats are paid for, and how many are taken: one record for each organization."""

    name = "seats"
    primary_keys = ("organization_id",)
    envelope = ("organization_seat",)

    @override
    def query(self, partition: Mapping[str, Any] | None) -> dict[str, str | int]:
        return {}
