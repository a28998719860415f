"""What has to be known of a path that lists something."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from api_sandbox.hubstaff.windows import Window

Source = Literal["list", "activities", "activity_updates", "daily", "daily_updates", "events", "last", "balances"]
Scope = Literal["", "organization", "project", "team", "integration", "client"]


@dataclass(frozen=True, slots=True)
class Choice:
    """A parameter of few values.

    Attributes:
        field: What it is compared with.
        values: Those that are allowed.
        default: What is chosen if the parameter is missing; None for everything.
        everything: The value that hides nothing.
        many: Whether several may be given.
    """

    field: str
    values: tuple[str, ...]
    default: tuple[str, ...] | None = None
    everything: str | None = None
    many: bool = False


@dataclass(frozen=True, slots=True)
class Listing:
    """A path that lists something.

    Attributes:
        path: With the id of what it belongs to, in braces.
        stream: What is listed.
        envelope: The key of the list in the answer.
        windows: Which stretches of time can be asked for.
        filters: Parameters of ids, and where these ids are in the rows.
        choices: Parameters of few values.
        includes: What can be side loaded.
        extras: Parameters that show a field which is hidden otherwise; `include=name` for values of `include`.
        source: Where rows come from.
        own: Where in a row the user is to whom it belongs, if a plain member sees own rows only.
        managers: Whether a plain member is refused.
        money: Whether managers are refused too.
        paged: Whether it is a list at all; else the one row that there is.
        key: Fields, or what the path belongs to, that make a row's id where rows have none.
        requires: Parameters of ids that must be given, besides windows.
        kept: Under which name its rows are kept, where they are kept by project.
    """

    path: str
    stream: str
    envelope: str
    windows: tuple[Window, ...] = ()
    filters: Mapping[str, str] = field(default_factory=dict)
    choices: Mapping[str, Choice] = field(default_factory=dict)
    includes: tuple[str, ...] = ()
    extras: Mapping[str, str] = field(default_factory=dict)
    source: Source = "list"
    own: str | None = "user_id"
    managers: bool = False
    money: bool = False
    paged: bool = True
    key: tuple[str, ...] = ("id",)
    requires: tuple[str, ...] = ()
    kept: str | None = None

    @property
    def scope(self) -> Scope:
        """What the path belongs to."""
        for scope in ("organization", "project", "team", "integration", "client"):
            if f"{{{scope}_id}}" in self.path:
                return scope
        return ""

    @property
    def walled(self) -> bool:
        """Whether its answers can take too long."""
        return any(window.required for window in self.windows)
