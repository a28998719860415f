"""Which request is which operation (guide, Endpoints)."""

from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus

from api_sandbox.faults import Operation

ROOT = "/harkster"
BASE = f"{ROOT}/public/v1"

_LISTS = frozenset({"accounts", "workspaces", "channels", "templates", "posts"})
_WRITES: dict[str, Operation] = {"POST": "create", "PUT": "update", "DELETE": "delete"}


@dataclass(frozen=True, slots=True)
class Call:
    """A request, understood.

    Attributes:
        path: The whole path.
        label: Method and path with `{id}` in the place of ids, as the report calls it.
        route: Method and path below the base, likewise; None if there is nothing of the kind.
        ids: The ids in the path.
        missing: The status where `route` is None.
    """

    path: str
    label: str
    route: str | None
    ids: tuple[str, ...] = ()
    missing: HTTPStatus = HTTPStatus.NOT_FOUND

    @property
    def owner_id(self) -> str:
        """The first id in the path; empty if there is none."""
        return self.ids[0] if self.ids else ""

    @property
    def collection(self) -> str:
        """The first part of the path: what the first id is of."""
        return "" if self.route is None else self.route.partition(" ")[2].partition("/")[0]

    @property
    def operation(self) -> Operation:
        """What faults call it."""
        if self.route is None:
            return "read"
        return "publish" if self.route.endswith("/publish") else _WRITES.get(self.route.partition(" ")[0], "read")

    @property
    def is_listing(self) -> bool:
        """Whether the answer is a page of a list."""
        return self.route is not None and self.route.startswith("GET ") and self.route[4:].split("/")[-1] in _LISTS


def understand(routes: Iterable[str], method: str, path: str) -> Call:
    """Find out what a request asks for."""
    parts = path.removeprefix(f"{BASE}/").split("/") if path.startswith(f"{BASE}/") else [""]
    missing = HTTPStatus.NOT_FOUND
    for route in routes:
        expected, _, shape = route.partition(" ")
        pairs = list(zip(shape.split("/"), parts, strict=False))
        if shape.count("/") + 1 != len(parts) or any(here not in {"{id}", there} for here, there in pairs):
            continue
        if method == expected:
            ids = tuple(there for here, there in pairs if here == "{id}")
            return Call(path, f"{method} {BASE}/{shape}", route, ids)
        missing = HTTPStatus.METHOD_NOT_ALLOWED
    return Call(path, f"{method} {path}", None, missing=missing)
