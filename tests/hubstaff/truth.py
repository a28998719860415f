"""What the runs of a life have brought, what there is to be had, and where the two may differ.

What the runs bring goes into a table for each stream, by key, as a loader keeps it. After every run that comes to its
end the table is the truth for all that the settings ask for, but for what the documentation says cannot be seen:

- what happened longer ago than Hubstaff keeps it stays as it was loaded;
- deleted rows stay, as Hubstaff tells of no deletions; so do daily activities whose last work was moved or deleted, and
  those of more than a month ago keep what was deleted from them;
- work sessions around a deletion are right where it was within the lookback before the last run, and not of
  work that only runs have read with another filter, or of which nothing was left in the state;
- a full read of sessions finds no deletions;
- what changed in a whole table since its read began comes with the next one, where several runs went on with it;
- under ``project_ids`` or ``task_ids``, work that moved to another project keeps its old session and day there;
- deletions before ``start_date`` show in no session that reaches it, and one that no longer reaches it may stay;
- sessions that ``end_date`` cuts are only the part that is within, and where Hubstaff begins to give work they are not.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from tap_hubstaff.times import iso

from tests.hubstaff.reading import KEYS
from tests.hubstaff.test_run import counting, seconds, sessions_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from api_sandbox.running import RunningHubstaff

Row = dict[str, Any]

DAY = 24 * 3600
HISTORY = 36
"""Days of work before the first run."""
STREAMS = ("activities", "daily_activities", "time_sessions", "notes", "projects")
GROUP = ("date", "user_id", "project_id", "task_id")
"""What a daily activity is the sum of."""
DAYLIKE = {"activities": "time_slot", "daily_activities": "date", "notes": "time_slot"}
"""The property that start_date and end_date bound."""
KEPT = dt.timedelta(days=180)
"""For so long Hubstaff gives activities, at least. What became of older days nothing tells."""


@dataclass(frozen=True)
class Wish:
    """The settings that may change between two runs."""

    organization_ids: tuple[int, ...] = ()
    user_ids: tuple[int, ...] = ()
    project_ids: tuple[int, ...] = ()
    task_ids: tuple[int, ...] = ()
    start: int = (HISTORY + 2) * DAY
    """Seconds before the beginning of the life."""
    end: int | None = None
    """Days after it."""
    lookback_days: int = 1
    reread_days: int = 0
    page_size: int = 500
    streams: tuple[str, ...] = STREAMS
    full: tuple[str, ...] = ("projects",)
    """The streams that are read as full tables."""
    has_versions: bool = False

    def settings(self, began: dt.datetime) -> dict[str, Any]:
        """As the tap takes them, in a life that began then."""
        names = ("organization_ids", "user_ids", "project_ids", "task_ids")
        chosen = {name: list(getattr(self, name)) for name in names}
        return {
            **{name: numbers for name, numbers in chosen.items() if numbers},
            **{name: getattr(self, name) for name in ("lookback_days", "reread_days", "page_size")},
            "start_date": self.start_of(began),
            "emit_activate_version_messages": self.has_versions,
            **({} if self.end is None else {"end_date": _day(began, self.end)}),
        }

    def start_of(self, began: dt.datetime) -> str:
        """When what is wanted begins, in a life that began then."""
        return _earlier(began, self.start)

    @property
    def lookback(self) -> int:
        """Of so many days before the last run deletions are noticed."""
        return max(self.lookback_days, self.reread_days)

    @property
    def is_filtered(self) -> bool:
        """Whether a run leaves work out, or does not build sessions."""
        ids = (self.user_ids, self.project_ids, self.task_ids, self.organization_ids)
        return any(ids) or "time_sessions" not in {*self.streams} - {*self.full}

    @property
    def is_wide(self) -> bool:
        """Whether all work is asked for."""
        return replace(self, lookback_days=1, reread_days=0, page_size=500, has_versions=False) == Wish()

    def has(self, stream: str, row: Row, began: dt.datetime) -> bool:
        """Whether a row is asked for."""
        if self.organization_ids and row["organization_id"] not in self.organization_ids:
            return False
        if stream == "projects":
            return not self.project_ids or row["id"] in self.project_ids
        if not self.has_work_of(*_work(row)):
            return False
        moment, start = str(row[DAYLIKE[stream]]), self.start_of(began)
        is_early = moment < (start[:10] if stream == "daily_activities" else start)
        return not is_early and (self.end is None or moment[:10] <= _day(began, self.end))

    def has_work_of(self, user: int, project: int, task: int | None) -> bool:
        """Whether the work of a user on a project and task is asked for."""
        return (
            (not self.user_ids or user in self.user_ids)
            and (not self.project_ids or project in self.project_ids)
            and (not self.task_ids or task in self.task_ids)
        )


@dataclass
class Unseen:
    """What may be missed, by the documentation.

    Attributes:
        gone: All activities that are gone.
        deleted: Those that sessions may still be made of.
        begun: When the read of a full table had begun, by stream, where an earlier run did not come to its end.
        moved: Users whose work may have changed its project under a filter of projects or tasks.
        transferred: Activities that moved to another organization.
    """

    gone: list[Row] = field(default_factory=list)
    deleted: list[Row] = field(default_factory=list)
    begun: dict[str, str] = field(default_factory=dict)
    moved: set[int] = field(default_factory=set)
    transferred: set[int] = field(default_factory=set)


@dataclass
class Table:
    """What the runs have brought."""

    rows: dict[str, dict[tuple[Any, ...], Row]] = field(default_factory=lambda: {stream: {} for stream in STREAMS})
    versions: dict[str, dict[tuple[Any, ...], int | None]] = field(
        default_factory=lambda: {stream: {} for stream in STREAMS}
    )
    """That of every row that ever came, by stream and key."""

    def load(self, message: Row) -> None:
        """Take a message, as a loader does: ACTIVATE_VERSION removes the rows of all other versions."""
        stream = message.get("stream", "")
        rows, versions = self.rows.setdefault(stream, {}), self.versions.setdefault(stream, {})
        if message["type"] == "RECORD":
            key = _key(stream, message["record"])
            rows[key], versions[key] = message["record"], message.get("version")
        elif message["type"] == "ACTIVATE_VERSION":
            for key in [key for key in rows if versions[key] != message["version"]]:
                del rows[key]


@dataclass(frozen=True)
class Truth:
    """What there is to be had.

    Attributes:
        wish: What of it is asked for.
        began: When the life began.
        hubstaff: Who knows.
        owners: The organization of each project.
    """

    wish: Wish
    began: dt.datetime
    hubstaff: RunningHubstaff
    owners: dict[int, int]

    def assert_table(self, table: Table, unseen: Unseen, since: str) -> None:
        """Compare a table with the truth, where nothing happened since the run that filled it began."""
        found = {"activities": self._rows("activities")}
        if any(row["updated_at"] >= since for row in found["activities"]):
            return  # in the second in which the run began: that is the next run's
        found |= {stream: self._rows(stream) for stream in {*self.wish.streams} - {"activities", "time_sessions"}}
        month = iso(self.hubstaff.now - dt.timedelta(days=27))
        old_days = {tuple(row[name] for name in GROUP) for row in unseen.gone if row["date"] < month}
        if self.wish.project_ids or self.wish.task_ids:
            days = found.get("daily_activities", ())
            moved = [row for row in days if row["user_id"] in unseen.moved and row["date"] < month]
            old_days |= {tuple(row[name] for name in GROUP) for row in moved}
        for stream in set(self.wish.streams) - {"time_sessions"}:
            rows = [row for row in found[stream] if row["updated_at"] < unseen.begun.get(stream, "9999")]
            self._assert_rows(stream, rows, table.rows[stream], old_days)
        for stream in set(STREAMS) - {"projects"}:
            assert table.rows[stream].keys() == table.versions[stream].keys(), f"{stream}: rows are missing that came"
        if "activities" in self.wish.streams:
            known = {row["id"] for row in (*found["activities"], *unseen.gone)}
            there = {row["id"] for row in table.rows["activities"].values() if self._is_kept("activities", row)}
            assert there <= known, "activities: there are rows that never were"
        if "time_sessions" in self.wish.streams and "time_sessions" not in unseen.begun:
            self._assert_sessions(found["activities"], table.rows["time_sessions"].values(), unseen)

    def _rows(self, stream: str) -> list[Row]:
        number = "id" if stream == "projects" else "project_id"
        return [{**row, "organization_id": self.owners[row[number]]} for row in self.hubstaff.records(stream)]

    def _assert_rows(
        self, stream: str, rows: Iterable[Row], table: dict[tuple[Any, ...], Row], old_days: Collection[Any]
    ) -> None:
        for row in rows:
            if not (self.wish.has(stream, row, self.began) and self._is_kept(stream, row)):
                continue
            if stream == "daily_activities" and tuple(row[name] for name in GROUP) in old_days:
                continue
            found = table.get(_key(stream, row))
            assert found is not None, f"{stream}: {row} is missing"
            assert row.items() <= found.items(), f"{stream}: {found} is stale, {row} is true"

    def _is_kept(self, stream: str, row: Row) -> bool:
        """Whether Hubstaff still gives a row for certain."""
        return stream not in DAYLIKE or str(row[DAYLIKE[stream]]) >= self._kept_from

    @cached_property
    def _kept_from(self) -> str:
        return iso(self.hubstaff.now - KEPT)

    def _assert_sessions(self, activities: Sequence[Row], table: Collection[Row], unseen: Unseen) -> None:
        wanted: dict[int, list[Row]] = {}
        ours = self.wish.organization_ids or set(self.owners.values())
        for row in activities:
            if row["organization_id"] in ours and self.wish.has_work_of(*_work(row)):
                wanted.setdefault(row["organization_id"], []).append(row)
        expected: dict[int, tuple[Any, ...]] = {}
        for rows in wanted.values():
            expected |= sessions_of(rows)
        found = counting({row["id"]: row for row in table if row["organization_id"] in ours})
        known = {row["id"]: row["user_id"] for row in activities if row["organization_id"] in ours}
        lost = {row["id"] for row in table if row["superseded_by"] == row["id"] and row["id"] in known}
        lost = {number for number in lost if known[number] not in unseen.moved}
        lost -= unseen.transferred - expected.keys()  # these became part of another session where they are now
        assert not lost, f"time_sessions: {lost} are called gone"
        true, there = (self._sure(sessions, unseen) for sessions in (expected, found))
        # One that no longer reaches start_date may stay as it was.
        start = seconds(self.wish.start_of(self.began))
        there = {number: session for number, session in there.items() if number in true or session[3] >= start}
        differing = {number for number in true.keys() | there.keys() if true.get(number) != there.get(number)}
        told = [f"{number}: {there.get(number)}, not {true.get(number)}" for number in sorted(differing)]
        assert not told, f"time_sessions: {told}"

    def _sure(self, sessions: dict[int, tuple[Any, ...]], unseen: Unseen) -> dict[int, tuple[Any, ...]]:
        """Those that the documentation promises to be right."""
        kept_from = int((self.hubstaff.now - KEPT).timestamp()) + DAY
        start = seconds(self.wish.start_of(self.began))
        last = 10**12 if self.wish.end is None else seconds(_day(self.began, self.wish.end))
        # What was deleted is noticed by runs with the filter that it was read with.
        is_filtered = bool(self.wish.user_ids or self.wish.project_ids or self.wish.task_ids)
        deleted = unseen.gone if is_filtered else unseen.deleted
        around = [(row["user_id"], seconds(row["time_slot"])) for row in deleted]
        return {
            number: session
            for number, session in sessions.items()
            if self.wish.has_work_of(*session[:3])
            and kept_from <= session[3]
            and start <= session[4] <= last
            and session[0] not in unseen.moved
            and not any(user == session[0] and abs(slot - session[3]) < DAY for user, slot in around)
        }


def _work(row: Row) -> tuple[int, int, int | None]:
    return row["user_id"], row["project_id"], row["task_id"]


def _key(stream: str, row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in KEYS.get(stream, ("id",)))


@cache
def _day(began: dt.datetime, days: int) -> str:
    return (began + dt.timedelta(days=days)).date().isoformat()


@cache
def _earlier(began: dt.datetime, seconds: int) -> str:
    return iso(began - dt.timedelta(seconds=seconds))
