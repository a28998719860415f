"""What of the Hubstaff API a scenario can set."""

from datetime import datetime
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from api_sandbox.settings import Count, ForbiddenParts, Positive, Seconds, Settings, Share

Role = Literal["owner", "manager", "user"]


class Tracked(Settings, frozen=True, kw_only=True):
    """One activity that a test wants, by the places of its owners in their lists.

    Attributes:
        tracked: Seconds worked.
        member: Index of the member in the organization, the removed ones included.
        project: Index of the project in the organization, the archived ones included.
        task: Index of the task in the project; None for work on no task.
    """

    starts_at: datetime
    tracked: Annotated[int, msgspec.Meta(ge=1, le=600)]
    organization: Count = 0
    member: Count = 0
    project: Count = 0
    task: Count | None = None


class HubstaffForbidden(ForbiddenParts, frozen=True, kw_only=True):
    """What the user may not read: answered with 403.

    Attributes:
        stream: `*` or the name of a stream (`screenshots`), on all paths that give it.
    """

    stream: str = "*"


class HubstaffScenario(Settings, frozen=True, kw_only=True):
    """Size, habits and limits of the simulated account: the README says what each means."""

    organizations: Count = 2
    members: Positive = 5
    removed_members: Count = 1
    shared_members: Count = 1
    projects: Positive = 4
    tasks: Count = 12
    small: Count = 4
    inactive_share: Share = 0.3

    zones: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] = (
        "America/Denver",
        "Asia/Kolkata",
        "Pacific/Honolulu",
        "America/St_Johns",
        "Europe/Warsaw",
    )
    history_days: Count = 60
    now: datetime | None = None
    clock: Literal["running", "stopped"] = "running"
    activities_per_day: Count = 6
    weekend_share: Share = 0.2
    tools_per_day: Count = 2
    captures_per_day: Count = 2
    events_per_day: Share = 0.2
    late_share: Share = 0.02
    overlap_share: Share = 0.02
    tracked: tuple[Tracked, ...] = ()
    activity_delay: Seconds = 1200.0
    daily_updates_of: Literal["all", "last_month"] = "all"

    role: Role = "owner"
    inactive_organizations: tuple[Count, ...] = ()
    forbidden: tuple[HubstaffForbidden, ...] = ()
    trackable: Literal["boolean", "string", "mixed"] = "mixed"

    retention_days: Positive = 1096

    latency: Seconds = 0.0
    requests_per_hour: Positive | None = 1000
    rate_limit_headers: bool = False
    refuse_default_agents: bool = True
    wall_rows: Positive | None = None
    wall_page: Positive | None = None
    wall: Literal["empty", "503"] = "empty"

    access_token_lifetime: Seconds = 86_400.0
    refresh_token_lifetime: Seconds = 7_776_000.0
    exchanges_per_hour: Positive | None = 5
    reuse: Literal["refuse", "revoke"] = "refuse"
    reuse_status: Literal[400, 401] = 400
    expires_in: Seconds | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.removed_members >= self.members:
            raise ValueError("removed_members must be less than members: the owner stays")
        if self.shared_members >= self.members - self.removed_members:
            raise ValueError("shared_members must be less than the members that are not removed")
        for zone in self.zones:
            try:
                ZoneInfo(zone)
            except ZoneInfoNotFoundError as error:
                raise ValueError(f"zones names {zone}, which is no time zone") from error
        if self.now is not None and self.now.tzinfo is None:
            raise ValueError("now needs an offset, such as Z")
        for wanted in self.tracked:
            if wanted.starts_at.tzinfo is None:
                raise ValueError("starts_at of tracked needs an offset, such as Z")
            if wanted.organization >= self.organizations or wanted.member >= self.members:
                raise ValueError("tracked names an organization or a member that is not there")
            if wanted.project >= self.projects:
                raise ValueError("tracked names a project that is not there")
