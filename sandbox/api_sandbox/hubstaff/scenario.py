"""What of the Hubstaff API a scenario can set."""

from datetime import datetime
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

Count = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]

Role = Literal["owner", "manager", "user"]


class Tracked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One activity that a test wants, by the places of its owners in their lists.

    Attributes:
        starts_at: When the work in the time slot began.
        tracked: Seconds worked.
        organization: Index of the organization.
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


class HubstaffForbidden(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the account that the user may not read: answered with 403.

    Attributes:
        stream: `*` or the name of a stream (`screenshots`), on all paths that give it.
        organizations: Indices of organizations; None forbids the stream in all of them.
    """

    stream: str = "*"
    organizations: tuple[Count, ...] | None = None


class HubstaffScenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Size, habits and limits of the simulated account. Times are in seconds."""

    organizations: Count = 2
    members: Positive = 5
    """In each organization; the first is its owner, and the user whose tokens these are."""
    removed_members: Count = 1
    """So many of them, the last ones, were removed half-way through the history."""
    shared_members: Count = 1
    """So many users, from the second member on, are members of every organization."""
    projects: Positive = 4
    """In each organization."""
    tasks: Count = 12
    """In each organization, spread over its projects."""
    small: Count = 4
    """Records of each of the small lists (teams, clients, invites, holidays …) in each organization."""
    inactive_share: Share = 0.3
    """Share of projects, clients, tasks, invites and policies that a list hides unless it is asked for all."""

    zones: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] = (
        "America/Denver",
        "Asia/Kolkata",
        "Pacific/Honolulu",
        "America/St_Johns",
        "Europe/Warsaw",
    )
    """Time zones of the organizations, by turns. The API does not tell them. The default ones have half-hours, summer
    time or none, and are far from UTC."""
    history_days: Count = 60
    """For so many days before `now` time was tracked."""
    now: datetime | None = None
    """Where the clock starts; None for the time of this machine."""
    clock: Literal["running", "stopped"] = "running"
    """Whether the clock goes on by itself too, or only when it is told to."""
    activities_per_day: Count = 6
    """Activities of a member on a working day."""
    weekend_share: Share = 0.2
    """Share of members who work on a Saturday or Sunday."""
    tools_per_day: Count = 2
    """Tool usages of a member on a working day."""
    captures_per_day: Count = 2
    """Screenshots, and as many locations, of a member on a working day."""
    events_per_day: Share = 0.2
    """Share of members who have an event of each other kind on a working day: note, edit log, visit, shift …"""
    late_share: Share = 0.02
    """Share of the activities that were uploaded hours or days after the work, as from a laptop without a net."""
    overlap_share: Share = 0.02
    """Share of the activities that begin before the one before has ended."""
    tracked: tuple[Tracked, ...] = ()
    """Activities besides those of chance."""
    activity_delay: Seconds = 1200.0
    """A change of an activity is seen by readers so much later at most."""
    daily_updates_of: Literal["all", "last_month"] = "all"
    """Whether updates of daily activities are of any day, or only of days of the last month: the Swagger's word
    that only activities of the last month are given can be read both ways."""

    role: Role = "owner"
    """Of the user whose tokens these are. A `user` sees own records only, and 403 where the lists are of managers."""
    inactive_organizations: tuple[Count, ...] = ()
    """Indices of organizations without an active plan: 403."""
    forbidden: tuple[HubstaffForbidden, ...] = ()
    trackable: Literal["boolean", "string", "mixed"] = "mixed"
    """How `trackable` of members is written: the guide says true, false or viewer, the Swagger says a string."""

    retention_days: Positive = 1096
    """Attendance shifts are kept for so many days before today: a request that begins before is refused (400)."""

    latency: Seconds = 0.0
    """Time on the way of each request: one half there, one half back."""
    requests_per_hour: Positive | None = 1000
    """Limit over every hour and application; None for no limit."""
    rate_limit_headers: bool = False
    """Whether answers have X-Rate-Limit-Limit, -Remaining and -Reset (seconds)."""
    refuse_default_agents: bool = True
    """Whether the default User-Agents of scripts are answered with 403 and `error code: 1010`."""
    wall_rows: Positive | None = None
    """A windowed request whose window selects more rows takes longer than the hosting allows."""
    wall_page: Positive | None = None
    """A page of more rows, of any list, takes longer than the hosting allows."""
    wall: Literal["empty", "503"] = "empty"
    """What it is answered with: 200 and nothing, or 503."""

    access_token_lifetime: Seconds = 86_400.0
    refresh_token_lifetime: Seconds = 7_776_000.0
    """90 days for personal access tokens."""
    exchanges_per_hour: Positive | None = 5
    """Exchanges of tokens that are allowed an hour to each application; None for no limit."""
    reuse: Literal["refuse", "revoke"] = "refuse"
    """Whether a used refresh token is just refused, or ends all tokens that came from it too."""
    reuse_status: Literal[400, 401] = 400
    """The status of `invalid_grant`."""
    expires_in: Seconds | None = None
    """What is told of the life of an access token, if not the truth."""

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
