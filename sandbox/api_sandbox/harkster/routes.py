"""Which request is which operation (guide, Endpoints)."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

from api_sandbox.faults import Operation

ROOT = "/harkster"
BASE = f"{ROOT}/public/v1"

Action = Literal[
    "auth",
    "accounts",
    "account",
    "usages",
    "account_workspaces",
    "workspaces",
    "workspace",
    "workspace_channels",
    "channels",
    "channel",
    "templates",
    "template",
    "posts",
    "post",
    "create",
    "update",
    "publish",
    "delete",
]

_ROUTES: tuple[tuple[str, str, Action], ...] = (
    ("GET", "auth", "auth"),
    ("GET", "accounts", "accounts"),
    ("GET", "accounts/{id}", "account"),
    ("GET", "accounts/{id}/usages", "usages"),
    ("GET", "accounts/{id}/workspaces", "account_workspaces"),
    ("GET", "workspaces", "workspaces"),
    ("GET", "workspaces/{id}", "workspace"),
    ("GET", "workspaces/{id}/channels", "workspace_channels"),
    ("GET", "channels", "channels"),
    ("GET", "channels/{id}", "channel"),
    ("GET", "channels/{id}/templates", "templates"),
    ("GET", "channels/{id}/templates/{id}", "template"),
    # The guide's example of the request above is written so.
    ("GET", "channels/{id}/template/{id}", "template"),
    ("GET", "channels/{id}/posts", "posts"),
    ("GET", "channels/{id}/posts/{id}", "post"),
    ("POST", "channels/{id}/posts", "create"),
    ("PUT", "channels/{id}/posts/{id}", "update"),
    ("PUT", "channels/{id}/posts/{id}/publish", "publish"),
    ("DELETE", "channels/{id}/posts/{id}", "delete"),
)

_LISTS: frozenset[Action] = frozenset(
    {"accounts", "account_workspaces", "workspaces", "workspace_channels", "channels", "templates", "posts"}
)
_OPERATIONS: dict[str, Operation] = {
    "create": "create",
    "update": "update",
    "publish": "publish",
    "delete": "delete",
}


@dataclass(frozen=True, slots=True)
class Call:
    """A request, understood.

    Attributes:
        path: The whole path.
        label: Method and path with `{id}` in the place of ids, as the report calls it.
        action: What is asked for; None if that is nothing.
        collection: The first part of the path: whose `owner_id` it is.
        ids: The ids in the path.
        missing: The status where `action` is None.
    """

    path: str
    label: str
    action: Action | None
    collection: str = ""
    ids: tuple[str, ...] = ()
    missing: HTTPStatus = HTTPStatus.NOT_FOUND

    @property
    def owner_id(self) -> str:
        """The first id in the path; empty if there is none."""
        return self.ids[0] if self.ids else ""

    @property
    def operation(self) -> Operation:
        """What faults call it."""
        return _OPERATIONS.get(self.action or "", "read")

    @property
    def listing(self) -> bool:
        """Whether the answer is a page of a list."""
        return self.action in _LISTS


def understand(method: str, path: str) -> Call:
    """Find out what a request asks for."""
    parts = path.removeprefix(f"{BASE}/").split("/") if path.startswith(f"{BASE}/") else [""]
    missing = HTTPStatus.NOT_FOUND
    for expected, shape, action in _ROUTES:
        ids = _ids(shape.split("/"), parts)
        if ids is None:
            continue
        if method == expected:
            return Call(path, f"{method} {BASE}/{shape}", action, parts[0], ids)
        missing = HTTPStatus.METHOD_NOT_ALLOWED
    return Call(path, f"{method} {path}", None, missing=missing)


def _ids(shape: list[str], parts: list[str]) -> tuple[str, ...] | None:
    """The ids in a path of a shape; None if it is of another."""
    if len(shape) != len(parts):
        return None
    pairs = list(zip(shape, parts, strict=True))
    if any(here not in {"{id}", there} for here, there in pairs):
        return None
    return tuple(there for here, there in pairs if here == "{id}")
