"""All paths that list something, as data: what each gives, which parameters it knows, and what it hides."""

from collections.abc import Mapping
from typing import Literal

from api_sandbox.hubstaff.listing import Choice, Listing
from api_sandbox.hubstaff.windows import Window

_WORK = {"user_ids": "user_id", "project_ids": "project_id", "task_ids": "task_id"}
_TRACKED = {**_WORK, "global_todo_ids": "global_todo_id"}
_USERS = {"user_ids": "user_id"}
_PEOPLE, _WORKED = ("users",), ("users", "projects", "tasks")

_DAY_RANGE = Window("date", "date", "day", days=31, months=36)
_TOOL_DAYS = Window("date", "date", "day", days=14, months=1)


def _slots(days: int | None = None, months: int | None = None, by: str = "time_slot") -> Window:
    return Window("time_slot", by, days=days, months=months)


def _optional(name: str, by: str, unit: Literal["time", "day"] = "time", months: int | None = None) -> Window:
    return Window(name, by, unit, required=False, months=months)


_STATUS = {"status": Choice("status", ("active", "archived", "all"), ("active",), "all")}
_INVOICE = {"status": Choice("status", ("draft", "open", "closed"))}
_TOOL = {"tool_type": Choice("tool_type", ("application", "url"))}
_TASK_STATES = (
    "active",
    "completed",
    "deleted",
    "archived",
    "archived_native_active",
    "archived_native_completed",
    "archived_native_deleted",
)
_TASKS = {"status": Choice("status", _TASK_STATES, ("active",), many=True)}
_ROLES = {"membership_roles": Choice("membership_role", ("owner", "manager", "user", "unassigned"), many=True)}
_MEMBER_TIMES = (_optional("created_at", "created_at"), _optional("updated_at", "updated_at"))
_MEMBERSHIP = {"user_ids": "user_id"}
_UNUSUAL_TYPES = (
    "consistent_persistent_activity",
    "consistent_variable_activity",
    "unusual_high_mouse_activity",
    "unusual_high_keyboard_activity",
    "long_period_of_single_mouse_activity",
    "long_period_of_single_keyboard_activity",
    "breakless_work",
    "sustained_high_focus_time",
    "suspicious_activity",
)
_ORG, _PROJECT = "organizations/{organization_id}", "projects/{project_id}"


def _organization(name: str, stream: str | None = None, **more: object) -> Listing:
    return Listing(f"{_ORG}/{name}", stream or name, stream or name, **more)  # type: ignore[arg-type]


def _project(name: str, stream: str | None = None, **more: object) -> Listing:
    return Listing(f"{_PROJECT}/{name}", stream or name, stream or name, **more)  # type: ignore[arg-type]


def _tracking(prefix: str, filters: Mapping[str, str], includes: tuple[str, ...]) -> tuple[Listing, ...]:
    """What organizations and projects list alike."""
    work = {name: by for name, by in filters.items() if name in _WORK}
    updated = Window("updated", "updated_at", days=7, reach_days=45)
    summed = Window("updated", "updated_at", days=31, months=1, stop_optional=True)
    shots = {name: by for name, by in work.items() if name != "task_ids"}
    places = tuple(name for name in includes if name != "tasks")

    def at(name: str, stream: str, window: Window, **more: object) -> Listing:
        return Listing(f"{prefix}/{name}", stream, stream, (window,), **more)  # type: ignore[arg-type]

    worked = {"filters": work, "includes": includes}
    tracked = {"filters": filters, "includes": includes}
    tools = {**worked, "choices": _TOOL, "source": "events", "managers": True}
    return (
        at("activities", "activities", _slots(7, 6), **tracked, source="activities"),
        at("activities/updates", "activities", updated, **tracked, source="activity_updates"),
        at("activities/daily", "daily_activities", _DAY_RANGE, **worked, source="daily"),
        at("activities/daily/updates", "daily_activities", summed, **worked, source="daily_updates"),
        at("tool_usages", "tool_usages", _slots(7, 1), **tools),
        at("tool_usages/daily", "daily_tool_usages", _TOOL_DAYS, **tools),
        at("screenshots", "screenshots", _slots(7, 6), filters=shots, includes=places, source="events"),
        at("notes", "notes", _slots(31, 36), **worked, source="events"),
        at("locations", "locations", _slots(7), includes=places, source="events"),
        at(
            "time_edit_logs",
            "time_edit_logs",
            Window("created", "created_at", days=31, months=36),
            filters=work,
            includes=_WORKED,
            source="events",
        ),
        Listing(
            f"{prefix}/last_activities",
            "last_activities",
            "last_activities",
            includes=includes,
            source="last",
            key=("organization_id", "user_id"),
        ),
    )


_IN_PROJECT = {name: by for name, by in _TRACKED.items() if name != "project_ids"}
_VISITS = (Window("enter", "enter_at"),)

LISTINGS: tuple[Listing, ...] = (
    Listing("organizations", "organizations", "organizations", own=None),
    *_tracking(_ORG, _TRACKED, _WORKED),
    *_tracking(_PROJECT, _IN_PROJECT, ("users", "tasks")),
    _organization(
        "members",
        filters=_MEMBERSHIP,
        choices={
            **_ROLES,
            "project_statuses": Choice("", ("active", "archived", "deleted"), ("active",), many=True),
        },
        windows=_MEMBER_TIMES,
        includes=("users", "projects"),
        extras={"include_profile": "profile", "include_projects": "project_members", "include_limits": "limits"},
        key=("organization_id", "user_id"),
    ),
    Listing(
        f"{_PROJECT}/members",
        "project_members",
        "members",
        filters=_MEMBERSHIP,
        choices=_ROLES,
        windows=_MEMBER_TIMES,
        includes=_PEOPLE,
        extras={"include_profile": "profile"},
        kept="project_members",
        key=("project_id", "user_id"),
    ),
    _organization("projects", filters={"project_ids": "id"}, choices=_STATUS, includes=("clients",), own="member"),
    _organization(
        "tasks",
        filters={"user_ids": "assignee_ids", "project_ids": "project_id", "global_todo_ids": "global_todo_id"},
        choices=_TASKS,
        includes=("users", "projects"),
        own="assignee_ids",
    ),
    _project(
        "tasks",
        filters={"user_ids": "assignee_ids", "global_todo_ids": "global_todo_id"},
        choices=_TASKS,
        includes=_PEOPLE,
        own="assignee_ids",
    ),
    _organization("global_todos", extras={"include=project_ids": "project_ids"}, own=None),
    _organization("clients", choices=_STATUS, includes=("projects",), own=None, managers=True),
    _organization("teams", own=None),
    Listing("teams/{team_id}/members", "team_members", "team_members", includes=_PEOPLE, key=("team_id", "user_id")),
    Listing(
        "teams/{team_id}/projects",
        "team_projects",
        "team_projects",
        includes=("projects",),
        own=None,
        key=("team_id", "project_id"),
    ),
    _organization(
        "invites",
        filters={"email": "email"},
        choices={"status": Choice("status", ("all", "pending", "accepted", "expired"), ("pending",), "all")},
        includes=("users", "projects"),
        own=None,
        managers=True,
    ),
    _organization("job_sites", windows=(_optional("created", "created_at"),), own=None),
    _organization("job_site_visits", windows=_VISITS, filters=_USERS, includes=("users", "job_sites"), source="events"),
    _organization(
        "passive_job_site_visits", windows=_VISITS, filters=_USERS, includes=("users", "job_sites"), source="events"
    ),
    _organization(
        "attendance_schedules",
        windows=(Window("date", "start_date", "day", end_field="repeat_until"),),
        includes=_PEOPLE,
    ),
    _organization(
        "attendance_shifts",
        windows=(Window("date", "date", "day", days=31, apart=True, by_plan=True),),
        includes=("users", "attendance_schedules"),
        source="events",
    ),
    _organization("time_off_policies", choices=_STATUS, own=None),
    _organization("time_off_policies/user_policies", "time_off_policies", own=None, requires=("user_id",)),
    _organization(
        "time_off_requests",
        windows=(
            _optional("created", "created_at"),
            _optional("starts_at", "starts_at"),
            _optional("approved_at", "approved_at"),
        ),
        filters=_USERS,
        includes=("users", "time_off_policies"),
    ),
    _organization(
        "time_off_balances",
        filters={**_USERS, "time_off_policy_ids": "time_off_policy_id"},
        includes=("users", "time_off_policies"),
        source="balances",
        key=("organization_id", "user_id", "time_off_policy_id"),
    ),
    _organization("holidays", windows=(_optional("created", "created_at"), _optional("date", "date", "day")), own=None),
    _organization(
        "timesheets",
        windows=(
            Window("date", "start_date", "day", required=False, end_field="stop_date"),
            _optional("approved", "approved_on", "day"),
        ),
        choices={"status": Choice("status", ("open", "submitted", "approved", "denied"))},
        includes=_PEOPLE,
    ),
    _organization(
        "team_payments",
        windows=(_optional("created", "created_at", months=36),),
        filters={"user_ids": "details.user_id", "project_ids": "details.project_id"},
        includes=("users", "projects"),
        own=None,
        money=True,
    ),
    _organization(
        "client_invoices",
        windows=(_optional("issue_date", "issue_date", "day"),),
        filters={"client_ids": "client_id"},
        choices=_INVOICE,
        includes=("users", "clients", "projects", "tasks"),
        extras={"include_line_items": "line_items"},
        own=None,
        money=True,
    ),
    _organization(
        "team_invoices",
        windows=(_optional("issue_date", "issue_date", "day"),),
        filters=_USERS,
        choices=_INVOICE,
        includes=("users", "projects"),
        extras={"include_line_items": "line_items"},
        own=None,
        money=True,
    ),
    _organization(
        "rates",
        filters=_USERS,
        choices={
            "kind": Choice("kind", ("pay", "bill"), many=True),
            "rate_type": Choice("rate_type", ("hourly", "fixed"), many=True),
        },
        includes=_PEOPLE,
        own=None,
        money=True,
    ),
    _organization(
        "budget_histories",
        windows=(_optional("start_date", "start_date", "day"),),
        filters={"project_ids": "project_id", "client_ids": "client_id"},
        includes=("clients", "projects"),
        own=None,
        managers=True,
    ),
    _project("budget_histories", own=None, managers=True),
    Listing("clients/{client_id}/budget_histories", "budget_histories", "budget_histories", own=None, managers=True),
    _organization(
        "limit_histories",
        windows=(_optional("date", "start_date", "day"),),
        filters=_USERS,
        choices={"limit_type": Choice("limit_type", ("daily", "weekly", "expected_per_week"))},
    ),
    _organization("integrations", own=None, managers=True),
    Listing(
        "integrations/{integration_id}/project_links",
        "integration_project_links",
        "project_links",
        own=None,
        key=("integration_id", "project_id"),
    ),
    Listing(
        "integrations/{integration_id}/user_links",
        "integration_user_links",
        "user_links",
        key=("integration_id", "user_id"),
    ),
    Listing(
        "integrations/{integration_id}/tasks",
        "integration_tasks",
        "tasks",
        filters={"user_ids": "assignee_ids", "project_ids": "project_id", "remote_ids": "remote_id"},
        choices=_TASKS,
        includes=("users", "projects"),
        own="assignee_ids",
    ),
    Listing(
        f"{_PROJECT}/integration_links",
        "integration_project_links",
        "project_links",
        own=None,
        kept="project_integration_links",
        key=("integration_id", "project_id"),
    ),
    Listing(
        f"{_ORG}/insights/smart_notification_rules",
        "smart_notification_rules",
        "smart_notification_rules",
        own=None,
        managers=True,
    ),
    Listing(
        f"{_ORG}/insights/smart_notifications",
        "smart_notifications",
        "smart_notifications",
        windows=(Window("created", "created_at"),),
        filters={"user_ids": "matches.user_id", "rule_id": "rule_snapshot.id"},
        includes=_PEOPLE,
        source="events",
        own="matches.user_id",
    ),
    Listing(
        f"{_ORG}/insights/unusual_activities",
        "unusual_activities",
        "unusual_activities",
        windows=(_slots(by="starts_at"),),
        filters=_USERS,
        includes=_PEOPLE,
        choices={
            "confidence_level": Choice("confidence_level", ("high", "medium", "low")),
            "unusual_activity_type": Choice("type", _UNUSUAL_TYPES),
        },
        source="events",
        managers=True,
    ),
    _organization("work_break_projects", filters={"project_ids": "id"}, own=None),
    Listing(f"{_ORG}/seats", "seats", "organization_seat", paged=False, own=None, money=True, key=("organization_id",)),
    _organization("tracking_states", windows=(Window("occurred", "occurred_at"),), filters=_USERS, source="events"),
)
"""Every path with a list that the Swagger has, and `tracking_states`, which it does not have yet."""

ITEMS: Mapping[str, tuple[str, str]] = {
    "organizations": ("organizations", "organization"),
    "projects": ("projects", "project"),
    "tasks": ("tasks", "task"),
    "users": ("users", "user"),
    "clients": ("clients", "client"),
    "teams": ("teams", "team"),
    "invites": ("invites", "invite"),
    "job_sites": ("job_sites", "job_site"),
    "budget_histories": ("budget_histories", "budget_history"),
    "limit_histories": ("limit_histories", "limit_history"),
    "team_payments": ("team_payments", "team_payment"),
    "time_off_policies": ("time_off_policies", "time_off_policy"),
    "time_off_requests": ("time_off_requests", "time_off_request"),
    "insights/smart_notification_rules": ("smart_notification_rules", "smart_notification_rule"),
}
"""Paths that give one record by its id: the stream and the key in the answer."""
