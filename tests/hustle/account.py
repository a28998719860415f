"""An account that lives: what happens to it, in the sandbox and in a book of all that ever was in it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Literal

from api_sandbox.hustle.scenario import Forbidden

if TYPE_CHECKING:
    from collections.abc import Iterator

    from api_sandbox import RunningSandbox
    from api_sandbox.hustle.api import HustleApi

Fields = dict[str, Any]
Owner = str | None
List = tuple[str, Owner]
"""A list as it is asked for: a stream, and the organization where it is read by organization."""

STREAMS = ("organizations", "groups", "agents", "tags")
ORGANIZATIONS = 3
NEVER, FOR_EVER = float("-inf"), float("inf")


def life_settings(served: RunningSandbox, *, parallel: int, activate: bool) -> dict[str, Any]:
    """Settings of a tap that reads an account in small pages and waits for nothing."""
    return {
        "client_id": served.hustle.client_id,
        "client_secret": served.hustle.client_secret,
        "api_url": served.hustle.api_url,
        "page_size": 2,
        "requests_per_second": 100_000,
        "request_timeout": 86_400,
        "max_parallel_requests": parallel,
        "emit_activate_version_messages": activate,
    }


@dataclass(frozen=True, slots=True)
class Edit:
    """Something that happens to the account.

    Attributes:
        what: What happens. ``hide`` takes an organization away with all that it owns, ``show`` gives it back. ``blank``
            takes a row's name away, ``revert`` gives it back the first that it had, ``return`` brings back rows that
            were removed, and ``transfer`` gives a row to another organization.
        stream: The list.
        organization: By its place among all that there ever were; one beyond them is the account itself.
        place: The row that it happens to, counted from the end where negative; cut down to the rows that there are.
        rows: How many.
    """

    what: Literal[
        "add",
        "insert",
        "change",
        "blank",
        "revert",
        "remove",
        "return",
        "move",
        "transfer",
        "hide",
        "show",
        "forbid",
        "allow",
    ]
    stream: str = "agents"
    organization: int = 0
    place: int = 0
    rows: int = 1


class Account:
    """The account of a sandbox, and its past.

    Args:
        api: The sandbox's.
    """

    def __init__(self, api: HustleApi) -> None:
        self._api = api
        self._account = api.selector.account
        self.now = 1_700_000_000.0
        """The time, in the account and by the API's clock. Each edit takes a second."""
        self.is_read = False
        """Whether a run is under way."""
        api.clock = lambda: self.now
        self._organizations = [organization.id for organization in self._account.organizations]
        self._hidden: dict[str, list[tuple[str, Fields]]] = {}
        self._numbers = count()
        self._versions: defaultdict[tuple[str, str], list[tuple[float, Fields | None]]] = defaultdict(list)
        self._shifted: defaultdict[List, float] = defaultdict(lambda: NEVER)
        self._out_of_order: defaultdict[tuple[str, str], float] = defaultdict(lambda: NEVER)
        self._forbidden: dict[List, float] = {}
        self._templates = {name: self._account.records[name][0].fields for name in STREAMS}
        for name in STREAMS:
            for record in self._account.records[name]:
                self._versions[name, record.id].append((0.0, record.fields))

    # What happens

    def happen(self, edit: Edit) -> None:
        """Let something happen; what has nothing to happen to does not."""
        self.now += 1
        getattr(self, f"_{edit.what}")(edit)

    def _add(self, edit: Edit, *, at_end: bool = True) -> None:
        owner = self._owner(edit)
        if owner in self._hidden or (owner is None and edit.stream != "tags") or edit.stream == "organizations":
            return
        rows = self._account.records[edit.stream]
        place = len(rows) if at_end else edit.place % (len(rows) + 1)
        for number in range(edit.rows):
            fields = {key: value for key, value in self._templates[edit.stream].items() if key != "organizationId"}
            fields |= {"id": f"new-{next(self._numbers)}", "name": f"as of {self.now}"}
            if owner is not None:
                fields["organizationId"] = owner
            self._put(edit.stream, fields, None if at_end else place + number)

    def _insert(self, edit: Edit) -> None:
        self._add(edit, at_end=False)

    def _change(self, edit: Edit) -> None:
        for fields in self._chosen(edit):
            self._put(edit.stream, {**fields, "name": f"as of {self.now}"})

    def _blank(self, edit: Edit) -> None:
        for fields in self._chosen(edit):
            self._put(edit.stream, {key: value for key, value in fields.items() if key != "name"})

    def _revert(self, edit: Edit) -> None:
        for fields in self._chosen(edit):
            first = next(form for _, form in self._versions[edit.stream, fields["id"]] if form is not None)
            self._put(edit.stream, {**fields, "name": first["name"]})

    def _return(self, edit: Edit) -> None:
        for (name, own_id), versions in self._versions.items():
            _, fields = versions[-2] if len(versions) > 1 else versions[-1]
            if name == edit.stream and versions[-1][1] is None and fields is not None:
                owner = fields.get("organizationId")
                if owner not in self._hidden and own_id not in self._account.by_id[name]:
                    self._put(name, fields)

    def _transfer(self, edit: Edit) -> None:
        others = [own for own in self.organizations if own != self._owner(edit)]
        if edit.stream in {"groups", "agents"} and others:
            for fields in self._chosen(edit):
                self._put(edit.stream, {**fields, "organizationId": others[0]})

    def _remove(self, edit: Edit) -> None:
        if edit.stream != "organizations":
            for fields in self._chosen(edit):
                self._take(edit.stream, fields)

    def _move(self, edit: Edit) -> None:
        for fields in self._chosen(edit):
            self._take(edit.stream, fields)
            self._put(edit.stream, fields, edit.rows)
            self._out_of_order[edit.stream, fields["id"]] = self.now

    def _hide(self, edit: Edit) -> None:
        owner = self._owner(edit)
        if owner is None or owner in self._hidden:
            return
        self._hidden[owner] = []
        for name in STREAMS:
            for record in self._account.records[name]:
                if owner in {record.id, record.organization_id}:
                    self._hidden[owner].append((name, record.fields))
                    self._take(name, record.fields)

    def _show(self, edit: Edit) -> None:
        for name, fields in self._hidden.pop(self._owner(edit) or "", []):
            self._put(name, fields)

    def _forbid(self, edit: Edit) -> None:
        owner = self._owner(edit) if edit.stream == "groups" else None
        self._forbidden[edit.stream, owner] = FOR_EVER
        self._set_forbidden()

    def _allow(self, _edit: Edit) -> None:
        self._forbidden = {which: min(until, self.now) for which, until in self._forbidden.items()}
        self._set_forbidden()

    def _set_forbidden(self) -> None:
        self._api.forbidden = tuple(
            Forbidden(path=f"/{name}", organizations=None if owner is None else (self._organizations.index(owner),))
            for (name, owner), until in self._forbidden.items()
            if until == FOR_EVER
        )

    def _owner(self, edit: Edit) -> Owner:
        return dict(enumerate(self._organizations)).get(edit.organization)

    def _chosen(self, edit: Edit) -> list[Fields]:
        rows = [
            record.fields
            for record in self._account.records[edit.stream]
            if edit.stream == "organizations" or record.organization_id == self._owner(edit)
        ]
        begin = max(edit.place + len(rows), 0) if edit.place < 0 else edit.place
        return rows[begin : begin + edit.rows]

    def _put(self, name: str, fields: Fields, place: int | None = None) -> None:
        if fields["id"] not in self._account.by_id[name] and place is not None:
            self._shift(name, fields)
            self._out_of_order[name, fields["id"]] = self.now
        self._account.put(name, fields, place)
        self._versions[name, fields["id"]].append((self.now, fields))

    def _take(self, name: str, fields: Fields) -> None:
        self._shift(name, fields)
        self._account.remove(name, fields["id"])
        self._versions[name, fields["id"]].append((self.now, None))

    def _shift(self, name: str, fields: Fields) -> None:
        if self.is_read:
            self._shifted[list_of(name, fields)] = self.now

    # What was

    @property
    def organizations(self) -> list[str]:
        """The organizations that there are."""
        return [record.id for record in self._account.records["organizations"]]

    @property
    def every_organization(self) -> list[str]:
        """The organizations that there ever were."""
        return self._organizations

    def rows(self, name: str) -> Iterator[Fields]:
        """The rows that are there."""
        return (record.fields for record in self._account.records[name])

    def is_forbidden_now(self, name: str, owner: Owner) -> bool:
        """Whether a list may not be read: a whole one for None, else that of an organization."""
        return any(self._forbidden.get((name, who)) == FOR_EVER for who in (None, owner))

    def steady(self, name: str, begin: float) -> Iterator[Fields]:
        """The rows that have been there since then, as they are."""
        for record in self._account.records[name]:
            if self._appeared(name, record.id) <= begin:
                yield record.fields

    def _appeared(self, name: str, own_id: str) -> float:
        """When a row came last that is there."""
        versions = self._versions[name, own_id]
        return max(
            then
            for number, (then, fields) in enumerate(versions)
            if fields is not None and (number == 0 or versions[number - 1][1] is None)
        )

    def forms(self, name: str, own_id: str, begin: float) -> list[Fields]:
        """What a row has looked like since then."""
        versions = self._versions[name, own_id]
        last = max((number for number, (then, _) in enumerate(versions) if then <= begin), default=0)
        return [fields for _, fields in versions[last:] if fields is not None]

    @property
    def is_anything_forbidden(self) -> bool:
        """Whether anything is forbidden now."""
        return bool(self._api.forbidden)

    def is_forbidden(self, name: str, owner: Owner, begin: float) -> bool:
        """Whether a list was forbidden at any time since then."""
        return any(self._forbidden.get((name, who), NEVER) >= begin for who in (None, owner))

    def may_hide(self, name: str, fields: Fields, begin: float) -> bool:
        """Whether reads since then may not have been shown a row, as rows moved between their pages.

        One that came after they moved was seen all the same.
        """
        lists = {list_of(name, fields), ("organizations", None)} if name == "groups" else {list_of(name, fields)}
        shifted = max(self._shifted[each] for each in lists)
        moved = self._out_of_order[name, fields["id"]]
        return moved >= begin or (shifted >= begin and shifted >= self._appeared(name, fields["id"]))


def list_of(name: str, fields: Fields) -> List:
    """The list that a row is in."""
    return name, fields["organizationId"] if name == "groups" else None
