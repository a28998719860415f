"""Side loads: the records that the rows of a page name, in the same answer."""

from collections.abc import Mapping, Sequence

from api_sandbox.hubstaff.lists import Lists
from api_sandbox.hubstaff.records import Row
from api_sandbox.recipes import Fields

_PATHS: Mapping[str, tuple[str, ...]] = {
    "users": (
        "user_id",
        "assignee_ids",
        "author_id",
        "invited_by_id",
        "blame_user_id",
        "details.user_id",
        "matches.user_id",
        "created_by_id",
    ),
    "projects": ("project_id", "project_ids", "last_project_id", "details.project_id", "project_members.project_id"),
    "tasks": ("task_id", "last_task_id"),
    "clients": ("client_id",),
    "job_sites": ("job_site_id",),
    "attendance_schedules": ("attendance_schedule_id",),
    "time_off_policies": ("time_off_policy_id",),
}
"""Where rows name what can be side loaded."""


def sideloads(lists: Lists, rows: Sequence[Row], includes: Sequence[str]) -> dict[str, list[Fields]]:
    """The records that are named, each once, in the order of ids."""
    found: dict[str, list[Fields]] = {}
    for name in includes:
        ids = {own_id for row in rows for path in _PATHS[name] for own_id in row.values(path)} - {None}
        records = (lists.find(name, own_id) for own_id in sorted(ids))
        found[name] = [record.content for record in records if record is not None]
    return found
