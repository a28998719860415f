"""What happens on working days besides tracking: tools, screenshots, locations, notes, edits, visits, shifts."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from api_sandbox.hubstaff.account import Account, Member, Organization, Project
from api_sandbox.hubstaff.clock import DAY, HOUR, MINUTE, Clock, day_of, instant, parse_instant
from api_sandbox.hubstaff.records import Fields, Record
from api_sandbox.hubstaff.scenario import HubstaffScenario
from api_sandbox.hustle.dice import Dice
from api_sandbox.hustle.texts import TEXTS

_FIRST_DAY = date(2015, 1, 1).toordinal()
_ROOM = 64  # Ids of one kind for a member on a day.
_SLOT = 10 * MINUTE
_THOUSAND = 1000

UNUSUAL_TYPES = (
    "consistent_persistent_activity",
    "consistent_variable_activity",
    "unusual_high_mouse_activity",
    "unusual_high_keyboard_activity",
    "long_period_of_single_mouse_activity",
    "long_period_of_single_keyboard_activity",
    "breakless_work",
    "sustained_high_focus_time",
    "suspicious_activity",
)
CONFIDENCES = ("high", "medium", "low")
_TOOLS = ("Chrome", "Excel", "Ολοκληρωμένο", "端末", "VS Code")


@dataclass(frozen=True, slots=True)
class Occasion:
    """Where, when and by whom something happened.

    Attributes:
        organization: Where.
        member: By whom.
        project: On what.
        task_id: On which task, if on one.
        day: The day of the organization.
        at: Seconds since 1970.
        dice: Chance for the rest.
        places: Ids of the job sites of the organization.
        schedules: Ids of the attendance schedules of the organization.
    """

    organization: Organization
    member: Member
    project: Project
    task_id: int | None
    day: date
    at: int
    dice: Dice
    places: Sequence[int]
    schedules: Sequence[int]

    @property
    def work(self) -> Fields:
        """Who and on what."""
        return {"user_id": self.member.user_id, "project_id": self.project.id, "task_id": self.task_id}

    @property
    def slot(self) -> Fields:
        """When, in the fields that what is tracked has in common."""
        return {
            "date": self.day.isoformat(),
            "time_slot": instant(self.at - self.at % _SLOT),
            "created_at": instant(self.at + 5 * MINUTE),
            "updated_at": instant(self.at + 5 * MINUTE),
        }


def _without_none(fields: Fields) -> Fields:
    return {name: value for name, value in fields.items() if value is not None}


def _tool(on: Occasion) -> Fields:
    kind = on.dice.pick(("application", "url"))
    tool: Fields = {"name": on.dice.pick(_TOOLS), "tool_type": kind, **_without_none(on.work), **on.slot}
    tool["tracked"] = 1 + on.dice.below(600)
    if kind == "url":
        tool["name"] = "docs.example.org"
        title = on.dice.pick(TEXTS.notes)
        tool["details"] = [{"title": title, "url": "https://docs.example.org/?q=a%20b", "tracked": tool["tracked"]}]
    else:
        tool["activations"] = on.dice.below(40)
    return tool


def _daily_tool(on: Occasion) -> Fields:
    made = _tool(on)
    made.pop("details", None)
    del made["time_slot"]
    return made


def _screenshot(on: Occasion) -> Fields:
    work = on.work
    del work["task_id"]
    address = f"https://screenshots.example.org/{on.at}/{on.member.lane}"
    return {
        "full_url": f"{address}.jpg?signature={on.dice.below(10**9)}",
        "thumb_url": f"{address}_t.jpg",
        **on.slot,
        "recorded_at": instant(on.at),
        **work,
        "offset_x": on.dice.pick((0, 1920, -1080)),
        "offset_y": 0,
        "width": 1920,
        "height": 1080,
        "screen": on.dice.below(3),
    }


def _location(on: Occasion) -> Fields:
    place = on.dice.pick(TEXTS.places)
    made = {
        "user_id": on.member.user_id,
        "project_id": on.project.id,
        **on.slot,
        "recorded_at": instant(on.at),
        "latitude": place.lat,
        "longitude": place.lng,
        "accuracy": on.dice.below(500) / 10,
        "event": on.dice.pick(("enter", "exit", "move")),
    }
    if on.places and on.dice.chance(40):
        made["job_site_id"] = on.dice.pick(on.places)
    return made


def _note(on: Occasion) -> Fields:
    return {**on.slot, "recorded_at": instant(on.at), "note": on.dice.pick(TEXTS.notes), **on.work}


def _edit_log(on: Occasion) -> Fields:
    action = on.dice.pick(("add", "edit", "delete"))
    added, gone = (0 if action == "delete" else 600), (0 if action == "add" else 300)
    changed: Fields = {} if action == "delete" else {"project_id": on.project.id, "task_id": on.task_id}
    if action != "add":
        changed |= {
            "original_starts_at": instant(on.at - HOUR),
            "original_stops_at": instant(on.at - HOUR + gone),
            "original_project_id": on.project.id,
        }
    return {
        "created_at": instant(on.at),
        "starts_at": instant(on.at - HOUR),
        "stops_at": instant(on.at - HOUR + added),
        "blame_user_id": on.organization.members[0].user_id,
        "user_id": on.member.user_id,
        **_without_none(changed),
        "action": action,
        "added_duration": added,
        "deleted_duration": gone,
        "replaced_duration": min(added, gone),
        "reason": on.dice.pick(TEXTS.notes),
    }


def _visit(on: Occasion) -> Fields | None:
    if not on.places:
        return None
    left = on.dice.chance(80)
    return {
        "job_site_id": on.dice.pick(on.places),
        "user_id": on.member.user_id,
        "status": "exited" if left else "entered",
        "created_at": instant(on.at),
        "updated_at": instant(on.at + HOUR),
        "enter_at": instant(on.at),
        **({"exit_at": instant(on.at + HOUR), "last_seen_at": instant(on.at + HOUR)} if left else {}),
    }


def _shift(on: Occasion) -> Fields | None:
    if not on.schedules:
        return None
    begins = on.organization.midnight(on.day) + 9 * HOUR
    return {
        "user_id": on.member.user_id,
        "organization_id": on.organization.id,
        "attendance_schedule_id": on.dice.pick(on.schedules),
        "created_at": instant(begins - DAY),
        "updated_at": instant(on.at),
        "date": on.day.isoformat(),
        "start_time": instant(begins),
        "duration": 8 * HOUR,
        "minimum_time": 6 * HOUR,
        "status": on.dice.pick(("completed", "late", "missed", "abandoned")),
        "actual_start_time": instant(begins + 60),
        "actual_stop_time": instant(begins + 7 * HOUR),
        "actual_duration": 7 * HOUR - 60,
    }


def _notification(on: Occasion) -> Fields:
    value = on.dice.below(10_000) / 10
    return {
        "matches": [{"user_id": on.member.user_id, "value": value}],
        "total_count": 1,
        "rule_snapshot": {
            "id": 880_001,
            "name": "Idle too long",
            "frequency": "daily",
            "metric_type": "idle_time",
            "condition": "above",
            "condition_value": 600.0,
            "time_unit": "per_day",
        },
        "from": on.day.isoformat(),
        "to": on.day.isoformat(),
        "created_at": instant(on.at),
    }


def _unusual(on: Occasion) -> Fields:
    return {
        "user_id": on.member.user_id,
        "type": on.dice.pick(UNUSUAL_TYPES),
        "keyboard_active_seconds": on.dice.below(3600),
        "mouse_active_seconds": on.dice.below(3600),
        "time_tracked_seconds": 3600,
        "overall_active_seconds": on.dice.below(3600),
        "url": f"https://app.example.org/insights/unusual/{on.at}",
        "date": on.day.isoformat(),
        "confidence_level": on.dice.pick(CONFIDENCES),
        "top_apps_in_use": {on.dice.pick(_TOOLS): on.dice.below(600)},
        "top_urls_visited": ["https://example.org/ü"],
        "screenshot_ids": [],
        "suspicious_apps": [],
        "starts_at": instant(on.at - HOUR),
        "ends_at": instant(on.at),
        "created_at": instant(on.at + MINUTE),
        "updated_at": instant(on.at + MINUTE),
    }


def _tracking_state(on: Occasion) -> Fields:
    return {"user_id": on.member.user_id, "type": on.dice.pick(("start", "stop")), "occurred_at": instant(on.at)}


Maker = Callable[[Occasion], Fields | None]

_MAKERS: dict[str, Maker] = {
    "tool_usages": _tool,
    "daily_tool_usages": _daily_tool,
    "screenshots": _screenshot,
    "locations": _location,
    "notes": _note,
    "time_edit_logs": _edit_log,
    "job_site_visits": _visit,
    "passive_job_site_visits": _visit,
    "attendance_shifts": _shift,
    "smart_notifications": _notification,
    "unusual_activities": _unusual,
    "tracking_states": _tracking_state,
}


@dataclass(slots=True)
class EventBook:
    """All events of an account, made day by day when somebody asks.

    Attributes:
        seed: Decides them.
        scenario: How many.
        account: Whose.
        clock: Until when.
        job_sites: Ids by index of the organization.
        schedules: Likewise, of attendance schedules.
    """

    seed: int
    scenario: HubstaffScenario
    account: Account
    clock: Clock
    job_sites: Sequence[Sequence[int]]
    schedules: Sequence[Sequence[int]]
    _days: dict[tuple[str, int, date], list[Record]] = field(default_factory=dict)

    def between(self, stream: str, organization: Organization, first: date, last: date) -> list[Record]:
        """At least those of the days from first to last, both included, in the order of ids."""
        now = self.clock.horizon()
        # Days of the organization and of UTC are not the same.
        first = max(first - timedelta(days=2), organization.began)
        last = min(last + timedelta(days=1), day_of(now) + timedelta(days=1))
        days = (first + timedelta(days=number) for number in range((last - first).days + 1))
        return [row for day in days for row in self._day(stream, organization, day) if row.since <= now]

    def _day(self, stream: str, organization: Organization, day: date) -> list[Record]:
        key = (stream, organization.index, day)
        if key not in self._days:
            self._days[key] = list(self._make(stream, organization, day))
        return self._days[key]

    def _make(self, stream: str, organization: Organization, day: date) -> Iterator[Record]:
        for member in organization.members:
            if day < member.joined or (member.removed is not None and day >= member.removed):
                continue
            dice = Dice(f"{self.seed}/{stream}/{organization.index}/{member.index}/{day.toordinal()}")
            place = (day.toordinal() - _FIRST_DAY) * self.account.lanes + member.lane
            for number in range(self._many(stream, dice)):
                content = _MAKERS[stream](self._occasion(stream, organization, member, day, number))
                if content is not None:
                    own_id = place * _ROOM + 2 * number
                    since = organization.midnight(day) + DAY if stream == "daily_tool_usages" else 0.0
                    yield Record(own_id, str(own_id), {"id": own_id, **content}, max(since, _since(content)))

    def _many(self, stream: str, dice: Dice) -> int:
        if stream in {"tool_usages", "daily_tool_usages"}:
            return min(self.scenario.tools_per_day, _ROOM // 2)
        if stream in {"screenshots", "locations"}:
            return min(self.scenario.captures_per_day, _ROOM // 2)
        return int(dice.below(_THOUSAND) < self.scenario.events_per_day * _THOUSAND)

    def _occasion(self, stream: str, organization: Organization, member: Member, day: date, number: int) -> Occasion:
        dice = Dice(f"{self.seed}/{stream}/{organization.index}/{member.index}/{day.toordinal()}/{number}")
        project = dice.pick(member.projects)
        task = dice.pick(project.tasks) if project.tasks and dice.chance(60) else None
        return Occasion(
            organization=organization,
            member=member,
            project=project,
            task_id=None if task is None else task.id,
            day=day,
            at=organization.midnight(day) + 8 * HOUR + dice.below(10 * HOUR),
            dice=dice,
            places=self.job_sites[organization.index],
            schedules=self.schedules[organization.index],
        )


def _since(content: dict[str, Any]) -> float:
    """From when on an event exists: the latest time that it tells of itself."""
    told = [content[name] for name in ("created_at", "updated_at", "occurred_at") if name in content]
    return max((parse_instant(text) or 0.0 for text in told), default=0.0)
