"""Pages: which part of a query's rows `page_start_id` leads to, and what is side loaded with it."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Any

import msgspec

from api_sandbox.faults import Fault
from api_sandbox.hubstaff.lists import Lists
from api_sandbox.hubstaff.queries import Query
from api_sandbox.hubstaff.rows import Row
from api_sandbox.recipes import Fields

_NEW_FIELDS = {"added_later": {"nested": [1, None, {"deep": True}]}, "added later": None, "": "no name"}


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


@dataclass(frozen=True, slots=True)
class Page:
    """One page, as it will be answered.

    Attributes:
        number: From 1 in the chain of pages.
        following: What `next_page_start_id` is; None where there is no pagination in the answer.
        detour: Whether it was reached by the `next_page_start_id` of an `empty_page`.
        detours: Places that an `empty_page` may send to: those that lead to the same rows.
        pagination: Whether the answer has a `pagination` of null, as if something had been forgotten.
    """

    query: Query
    rows: Sequence[Row]
    number: int
    following: int | None
    detour: bool = False
    detours: tuple[int, ...] = ()
    pagination: bool = False
    new_fields: bool = False
    null_item: bool = False

    @property
    def ids(self) -> list[str]:
        """The ids of the rows."""
        return [row.id for row in self.rows]

    def body(self, sideloads: dict[str, list[Fields]]) -> bytes:
        """The page as JSON."""
        listing = self.query.listing
        items: list[Any] = [self._shown(row.fields()) for row in self.rows]
        if self.new_fields:
            items = [{**item, **_NEW_FIELDS} for item in items]
        if self.null_item:
            items.append(None)
        content: dict[str, Any] = {listing.envelope: items if listing.paged else items[0], **sideloads}
        if self.following is not None or self.pagination:
            content["pagination"] = {"next_page_start_id": self.following}
        return msgspec.json.encode(content)

    def _shown(self, fields: Fields) -> Fields:
        """A row without the fields that were not asked for."""
        hidden = set(self.query.listing.extras.values()) - self.query.shown
        statuses = self.query.chosen.get("project_statuses")
        shown = {name: value for name, value in fields.items() if name not in hidden} if hidden else fields
        if statuses is not None and "project_members" in shown:
            kept = [one for one in shown["project_members"] if one["project_status"] in statuses]
            return {**shown, "project_members": kept}
        return shown


@dataclass(slots=True)
class Paginator:
    """Cuts rows into pages, and spoils them.

    `next_page_start_id` is the key of the first row of the next page: the name says that it starts there.
    """

    _detours: set[tuple[object, int]] = field(default_factory=set)

    def page(self, query: Query, rows: Sequence[Row]) -> Page:
        """The page of a query."""
        begin = bisect_left(rows, query.start, key=attrgetter("key"))
        shown = rows[begin : begin + query.limit]
        end = begin + len(shown)
        before = rows[begin - 1].key if begin else 0
        detours = () if begin == len(rows) else (before + 1, rows[begin].key)
        return Page(
            query=query,
            rows=shown,
            number=-(-begin // query.limit) + 1,
            following=rows[end].key if end < len(rows) else None,
            detour=(query.key, query.start) in self._detours,
            detours=tuple(place for place in detours if place != query.start),
        )

    def spoil(self, page: Page, faults: Iterable[Fault]) -> Page:
        """The page with faults in it."""
        for fault in faults:
            if fault.kind == "repeat_cursor":
                page = replace(page, following=page.query.start)
            elif fault.kind == "more_without_cursor":
                page = replace(page, following=None, pagination=True)
            elif fault.kind == "cursor_without_more":
                last = page.rows[-1].key if page.rows else page.query.start
                page = replace(page, following=page.following or last + 1)
            elif fault.kind == "empty_page" and page.detours:
                self._detours.add((page.query.key, page.detours[0]))
                page = replace(page, rows=(), following=page.detours[0])
            elif fault.kind == "unknown_fields":
                page = replace(page, new_fields=True)
            elif fault.kind == "null_item":
                page = replace(page, null_item=True)
        return page


def sideloads(lists: Lists, rows: Sequence[Row], includes: Sequence[str]) -> dict[str, list[Fields]]:
    """The records that are named, each once, in the order of ids."""
    found: dict[str, list[Fields]] = {}
    for name in includes:
        ids = {own_id for row in rows for path in _PATHS[name] for own_id in row.values(path)} - {None}
        records = (lists.find(name, own_id) for own_id in sorted(ids))
        found[name] = [record.content for record in records if record is not None]
    return found
