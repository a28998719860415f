"""One activity: what a member tracked within one slot of ten minutes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from api_sandbox.hubstaff.account import Member, Project, Task
from api_sandbox.hubstaff.clock import MINUTE, instant
from api_sandbox.recipes import Fields

SLOT = 10 * MINUTE
_CLIENTS = ("windows", "mac", "linux", "android", "ios", "web")


@dataclass(slots=True, eq=False)
class Activity:
    """What one member tracked within one slot, without a pause.

    Attributes:
        id: Grows with the time of upload.
        organization: Index of the organization.
        member: Who.
        project: On what.
        task: On which task of it, if on one.
        starts: Seconds since 1970.
        tracked: Seconds.
        date: The day of the organization.
        created: Seconds since 1970 of the upload.
        updated: Of the last change.
        seen: From when on readers see it.
        spread: Chance for the fields that nobody counts.
        gone: Whether it was deleted.
    """

    id: int
    organization: int
    member: Member
    project: Project
    task: Task | None
    starts: int
    tracked: int
    date: date
    created: int
    updated: int
    seen: float
    spread: int
    gone: bool = False

    @property
    def ends(self) -> int:
        """When the work in it ended."""
        return self.starts + self.tracked

    @property
    def manual(self) -> bool:
        """Whether it was written by hand and not tracked by a client."""
        return self.spread % 20 == 0

    @property
    def overall(self) -> int:
        """Seconds with input of any kind."""
        return 0 if self.manual else self.tracked * (self.spread % 101) // 100

    @property
    def keyboard(self) -> int:
        """Seconds with input by keyboard."""
        return self.overall // 2

    @property
    def mouse(self) -> int:
        """Seconds with input by mouse."""
        return self.overall - self.overall // 3

    @property
    def input_tracked(self) -> int:
        """Seconds in which input was looked for."""
        return 0 if self.manual else self.tracked


@dataclass(frozen=True, slots=True)
class ActivityRow:
    """An activity as the API answers it."""

    activity: Activity

    @property
    def key(self) -> int:
        """Its id."""
        return self.activity.id

    @property
    def id(self) -> str:
        """Its id."""
        return str(self.activity.id)

    def values(self, path: str) -> Sequence[Any]:
        """The ids that lists are filtered by."""
        found = self.activity
        if path == "user_id":
            return (found.member.user_id,)
        if path == "project_id":
            return (found.project.id,)
        if found.task is None or path not in {"task_id", "global_todo_id"}:
            return ()
        return (found.task.id,) if path == "task_id" else (found.task.global_todo_id,)

    def fields(self) -> Fields:
        """What the API answers."""
        found = self.activity
        return {
            "id": found.id,
            "date": found.date.isoformat(),
            "created_at": instant(found.created),
            "updated_at": instant(found.updated),
            "time_slot": instant(found.starts - found.starts % SLOT),
            "starts_at": instant(found.starts),
            "user_id": found.member.user_id,
            "project_id": found.project.id,
            "task_id": None if found.task is None else found.task.id,
            "keyboard": found.keyboard,
            "mouse": found.mouse,
            "overall": found.overall,
            "tracked": found.tracked,
            "input_tracked": found.input_tracked,
            "tracks_input": not found.manual,
            "billable": found.project.billable,
            "paid": found.spread % 7 == 0,
            "client_invoiced": found.spread % 11 == 0,
            "team_invoiced": found.spread % 13 == 0,
            "immutable": found.spread % 17 == 0,
            "time_type": "manual" if found.manual else "normal",
            "client": _CLIENTS[found.spread % len(_CLIENTS)],
        }
