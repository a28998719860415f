"""The streams that have a list for each team or integration.

The Swagger says of each: path, name in the answer, and whose list it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from tap_hubstaff.streams.list_streams import ALL_TASKS
from tap_hubstaff.streams.owned_base import OwnedStream

if TYPE_CHECKING:
    from collections.abc import Mapping


class TeamMembers(OwnedStream):
    """Who belongs to which team."""

    name = "team_members"
    path = "/teams/{team_id}/members"
    primary_keys = ("team_id", "user_id")
    owners = "teams"
    owner_key = "team_id"


class TeamProjects(OwnedStream):
    """Which team works on which project."""

    name = "team_projects"
    path = "/teams/{team_id}/projects"
    primary_keys = ("team_id", "project_id")
    owners = "teams"
    owner_key = "team_id"


class IntegrationProjectLinks(OwnedStream):
    """Which project is which in another system."""

    name = "integration_project_links"
    path = "/integrations/{integration_id}/project_links"
    envelope = ("project_links",)
    primary_keys = ("integration_id", "project_id")
    owners = "integrations"
    owner_key = "integration_id"


class IntegrationUserLinks(OwnedStream):
    """Which user is which in another system."""

    name = "integration_user_links"
    path = "/integrations/{integration_id}/user_links"
    envelope = ("user_links",)
    primary_keys = ("integration_id", "user_id")
    owners = "integrations"
    owner_key = "integration_id"


class IntegrationTasks(OwnedStream):
    """Tasks of every status that come from another system."""

    name = "integration_tasks"
    path = "/integrations/{integration_id}/tasks"
    envelope = ("tasks",)
    asked_for: ClassVar[Mapping[str, str | int]] = {"status": ALL_TASKS}
    filters = frozenset({"user_ids", "project_ids"})
    owners = "integrations"
    owner_key = "integration_id"
