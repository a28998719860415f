"""One activity: what a member tracked within one slot of ten minutes."""

from collections.abc import Mapping, Sequence
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
    """What one member tracked within one slot, without a pause. Times are in seconds since 1970.

    Attributes:
        key: Its id, which grows with the time of upload.
        date: The day of the organization.
        seen: From when on readers see it.
        spread: Chance for the fields that nobody counts.
    """

    key: int
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
    def id(self) -> str:
        """Its id."""
        return str(self.key)

    @property
    def ends(self) -> int:
        """When the work in it ended."""
        return self.starts + self.tracked

    @property
    def manual(self) -> bool:
        """Whether it was written by hand and not tracked by a client."""
        return self.spread % 20 == 0

    def seconds(self) -> Mapping[str, int]:
        """How long there was input, by kind; days sum it up."""
        manual = self.manual
        overall = 0 if manual else self.tracked * (self.spread % 101) // 100
        return {
            "keyboard": overall // 2,
            "mouse": overall - overall // 3,
            "overall": overall,
            "tracked": self.tracked,
            "input_tracked": 0 if manual else self.tracked,
        }

    def values(self, path: str) -> Sequence[Any]:
        """The ids that lists are filtered by."""
        if path == "user_id":
            return (self.member.user_id,)
        if path == "project_id":
            return (self.project.id,)
        if self.task is None or path not in {"task_id", "global_todo_id"}:
            return ()
        return (self.task.id,) if path == "task_id" else (self.task.global_todo_id,)

    def fields(self) -> Fields:
        """What the API answers."""
        manual = self.manual
        return {
            "id": self.key,
            "date": self.date.isoformat(),
            "created_at": instant(self.created),
            "updated_at": instant(self.updated),
            "time_slot": instant(self.starts - self.starts % SLOT),
            "starts_at": instant(self.starts),
            "user_id": self.member.user_id,
            "project_id": self.project.id,
            "task_id": None if self.task is None else self.task.id,
            **self.seconds(),
            "tracks_input": not manual,
            "billable": self.project.billable,
            "paid": self.spread % 7 == 0,
            "client_invoiced": self.spread % 11 == 0,
            "team_invoiced": self.spread % 13 == 0,
            "immutable": self.spread % 17 == 0,
            "time_type": "manual" if manual else "normal",
            "client": _CLIENTS[self.spread % len(_CLIENTS)],
        }
