"""What has to be known of a path that lists something: read from `listings.yml`."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from api_sandbox.hubstaff.windows import Window
from api_sandbox.recipes import load_yaml

Source = Literal["list", "activities", "activity_updates", "daily", "daily_updates", "events", "last", "balances"]
Scope = Literal["", "organization", "project", "team", "integration", "client"]


class Choice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A parameter of few values.

    Attributes:
        values: Those that are allowed.
        field: What it is compared with, if that is named otherwise.
        default: What is chosen if the parameter is missing; None for everything.
        everything: The value that hides nothing.
        many: Whether several may be given.
    """

    values: tuple[str, ...]
    field: str = ""
    default: tuple[str, ...] | None = None
    everything: str | None = None
    many: bool = False


class Listing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A path that lists something.

    Attributes:
        path: With the id of what it belongs to, in braces.
        scope: What it belongs to.
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
        in_projects: Whether projects list the same, without the parameters that name projects.
    """

    path: str
    scope: Scope
    stream: str
    envelope: str
    windows: tuple[Window, ...] = ()
    filters: Mapping[str, str] = {}
    choices: Mapping[str, Choice] = {}
    includes: tuple[str, ...] = ()
    extras: Mapping[str, str] = {}
    source: Source = "list"
    own: str | None = "user_id"
    managers: bool = False
    money: bool = False
    paged: bool = True
    key: tuple[str, ...] = ("id",)
    requires: tuple[str, ...] = ()
    kept: str | None = None
    in_projects: bool = False

    @property
    def walled(self) -> bool:
        """Whether its answers can take too long."""
        return any(window.required for window in self.windows)


def _read(content: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Iterator[Listing]:
    for owner, lists in content.items():
        scope = owner.partition("{")[2].removesuffix("_id}")
        for name, said in lists.items():
            stream = said.get("stream", name.rpartition("/")[2])
            path = f"{owner}/{name}".lstrip("/")
            listing = msgspec.convert(
                {"stream": stream, "envelope": stream, **said, "path": path, "scope": scope}, Listing
            )
            yield listing
            if listing.in_projects:
                yield msgspec.structs.replace(
                    listing,
                    path=f"projects/{{project_id}}/{name}",
                    scope="project",
                    filters={name: path for name, path in listing.filters.items() if name != "project_ids"},
                    includes=tuple(name for name in listing.includes if name != "projects"),
                )


_CONTENT = load_yaml("api_sandbox.hubstaff", "listings.yml")

LISTINGS = tuple(_read(_CONTENT["lists"]))
"""Every path with a list that the Swagger has, and `tracking_states`, which it does not have yet."""

ITEMS: Mapping[str, tuple[str, str]] = {
    path: (path.rpartition("/")[2], envelope) for path, envelope in _CONTENT["items"].items()
}
"""Paths that give one record by its id: the stream and the key in the answer."""
