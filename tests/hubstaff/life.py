"""The life of a Hubstaff account and of the runs that read it: whatever can happen in some months, in any order.

What the runs bring goes into a table for each stream, by key, as a loader keeps it. After every run that comes to its
end the table is the truth for all that the settings ask for, but for what the documentation says cannot be seen:

- deleted rows stay, as Hubstaff tells of no deletions; so do daily activities whose last work was moved or deleted, and
  those of more than a month ago keep what was deleted from them;
- work sessions around a deletion are right where it was within the ``lookback_days`` before the last run;
- under ``project_ids`` or ``task_ids``, work that moved to another project keeps its old session and day there;
- sessions that ``start_date`` or ``end_date`` cut are only the part that is within.
"""

from __future__ import annotations

import datetime as dt
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from unittest import mock

from api_sandbox import Fault, HubstaffScenario, Scenario, serve_in_thread
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from tap_hubstaff import tap
from tap_hubstaff.streams import list_streams, window_streams
from tap_hubstaff.times import iso, parse_iso
from tap_hubstaff.work_sessions.stream import TimeSessions
from typing_extensions import override

from tests.hubstaff.reading import KEYS, SandboxClock, read
from tests.hubstaff.test_run import counting, sessions_of

if TYPE_CHECKING:
    from pathlib import Path

    from api_sandbox import RunningSandbox

    from tests.hubstaff.reading import Run

HOUR = 3600
DAY = 24 * HOUR
ORGANIZATIONS = 3
ZONES = ("Asia/Kolkata", "Pacific/Honolulu", "Pacific/Auckland")
BEGINNINGS = (
    dt.datetime(2026, 3, 25, 20, tzinfo=dt.timezone.utc),  # summer time ends in Auckland on 5 April
    dt.datetime(2026, 9, 18, 9, 30, tzinfo=dt.timezone.utc),  # and begins on 27 September
)
HISTORY = 40
"""Days of work before the first run."""
WORK = ("activities", "daily_activities", "time_sessions")
STREAMS = (*WORK, "notes", "projects")
FILTERS = {"user_ids": "user_id", "project_ids": "project_id", "task_ids": "task_id"}
GROUP = ("date", "user_id", "project_id", "task_id")
"""What a daily activity is the sum of."""
DAYLIKE = {"activities": "time_slot", "daily_activities": "date", "notes": "time_slot"}
"""The property that start_date and end_date bound."""


@dataclass(frozen=True)
class Wish:
    """The settings that may change between two runs."""

    organizations: tuple[int, ...] = ()
    users: tuple[int, ...] = ()
    projects: tuple[int, ...] = ()
    tasks: tuple[int, ...] = ()
    start: int = HISTORY + 2
    """Days before the beginning of the life."""
    end: int | None = None
    """Days after it."""
    lookback: int = 1
    reread: int = 0
    page: int = 500
    streams: tuple[str, ...] = STREAMS
    requests: int | None = None
    """Requests an hour, with ``on_quota: stop``; None for as many as it likes."""


class HubstaffLife(RuleBasedStateMachine):
    """Weeks of an account, and runs of the tap with whatever befalls them."""

    folder: Path
    """For the log of requests; set by the test."""

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self._sandbox: RunningSandbox
        self._wish = Wish()
        self._state: Any = None
        self._table: dict[str, dict[tuple[Any, ...], dict[str, Any]]] = {stream: {} for stream in STREAMS}
        self._deleted: list[dict[str, Any]] = []
        """Activities that are gone and may be missed."""
        self._gone: set[int] = set()
        self._old_days: set[tuple[Any, ...]] = set()
        """Days of more than a month ago from which something was deleted."""
        self._moved: set[int] = set()
        """Users whose work may have changed its project under a filter of projects or tasks."""
        self._least_lookback = 10**6
        self._number = 0

    @override
    def teardown(self) -> None:
        self._stack.close()

    # The account

    @initialize(
        beginning=st.sampled_from(BEGINNINGS),
        seed=st.integers(0, 5),
        updates=st.sampled_from(("last_month", "all")),
        delay=st.sampled_from((0.0, 1200.0)),
    )
    def begin(self, beginning: dt.datetime, seed: int, updates: Any, delay: float) -> None:
        scenario = HubstaffScenario(
            organizations=ORGANIZATIONS,
            zones=ZONES,
            members=3,
            removed_members=0,
            projects=2,
            tasks=3,
            history_days=HISTORY,
            activities_per_day=3,
            late_share=0.05,
            daily_updates_of=updates,
            activity_delay=delay,
            now=beginning,
            clock="stopped",
            requests_per_hour=None,
            exchanges_per_hour=None,
        )
        self._sandbox = self._stack.enter_context(serve_in_thread(Scenario(seed=seed, hubstaff=scenario)))
        classes = (
            window_streams.Activities,
            window_streams.DailyActivities,
            window_streams.Notes,
            TimeSessions,
            list_streams.Projects,
            list_streams.Organizations,
        )
        self._stack.enter_context(mock.patch.object(tap, "STREAMS", classes))
        self._hubstaff = self._sandbox.hubstaff
        self._began = beginning

    @rule(hours=st.sampled_from((0.2, 1, 3, 7, 11, 24, 50, 24 * 8, 24 * 33)))
    def time_passes(self, hours: float) -> None:
        self._hubstaff.advance(hours * HOUR)

    @rule(count=st.integers(1, 12))
    def work_is_changed(self, count: int) -> None:
        self._change(count)

    @rule(count=st.integers(1, 12), days=st.sampled_from((1, 6, 20, 38)))
    def work_is_uploaded_late(self, count: int, days: int) -> None:
        self._hubstaff.add_late(count, days=days)

    @rule(count=st.integers(1, 4))
    def work_is_deleted(self, count: int) -> None:
        before = {row["id"]: row for row in self._hubstaff.records("activities")}
        gone = [before[int(number)] for number in self._hubstaff.delete("activities", count)]
        self._gone |= {row["id"] for row in gone}
        seen = self._hubstaff.now.timestamp() - min(self._least_lookback, self._wish.lookback) * DAY
        month = iso(self._hubstaff.now - dt.timedelta(days=27))
        self._old_days |= {tuple(row[name] for name in GROUP) for row in gone if row["date"] < month}
        self._deleted += [row for row in gone if parse_iso(row["time_slot"]).timestamp() < seen]

    @rule(count=st.integers(1, 3))
    def projects_are_changed(self, count: int) -> None:
        self._hubstaff.edit("projects", count)

    def _change(self, count: int) -> None:
        before = {row["id"]: row["user_id"] for row in self._hubstaff.records("activities")}
        changed = {before[int(number)] for number in self._hubstaff.edit("activities", count)}
        if self._wish.projects or self._wish.tasks:
            self._moved |= changed

    # The settings

    @rule(data=st.data())
    def filters_are_set(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(("users", "projects", "tasks", "organizations")))
        known = sorted(int(number) for number in set(self._hubstaff.ids(name)))
        chosen = data.draw(st.lists(st.sampled_from(known), min_size=1, max_size=3, unique=True))
        self._wish = replace(self._wish, **{name: tuple(chosen)})  # type: ignore[arg-type]

    @rule()
    def filters_are_taken_away(self) -> None:
        self._wish = replace(self._wish, users=(), projects=(), tasks=(), organizations=())

    @rule(days=st.sampled_from((0, 3, 20, HISTORY + 2)))
    def start_is_moved(self, days: int) -> None:
        self._wish = replace(self._wish, start=days)

    @rule(days=st.none() | st.integers(-20, 20))
    def end_is_moved(self, days: int | None) -> None:
        if days is None or days > -self._wish.start:
            self._wish = replace(self._wish, end=days)

    @rule(
        lookback=st.sampled_from((0, 1, 4)),
        reread=st.sampled_from((0, 0, 3)),
        page=st.sampled_from((3, 40, 500)),
    )
    def reading_is_set(self, lookback: int, reread: int, page: int) -> None:
        self._wish = replace(self._wish, lookback=lookback, reread=reread, page=page)

    @rule(streams=st.sets(st.sampled_from(STREAMS), min_size=1))
    def streams_are_chosen(self, streams: set[str]) -> None:
        self._wish = replace(self._wish, streams=tuple(stream for stream in STREAMS if stream in streams))

    @rule()
    def all_streams_are_chosen(self) -> None:
        self._wish = replace(self._wish, streams=STREAMS)

    # The runs

    @rule()
    def run(self) -> None:
        run = self._run()
        assert run.code == 0, run.said("ERROR")
        self._load(run, len(run.messages))
        self._compare()

    @rule(share=st.floats(0, 1))
    def run_is_killed(self, share: float) -> None:
        """The tap or its target dies when this share of the messages is through."""
        run = self._run()
        self._load(run, int(share * len(run.messages)))

    @rule(requests=st.integers(2, 20))
    def run_stops_for_its_quota(self, requests: int) -> None:
        run = self._run(requests=requests)
        assert run.code == 0, run.said("ERROR")
        self._load(run, len(run.messages))
        if not any("The run ends here" in line for line in run.said("WARNING")):
            self._compare()

    @rule(days=st.sampled_from((-400, -2, -0.01, 0.01, 2, 400)))
    def run_with_a_wrong_clock(self, days: float) -> None:
        run = self._run(off=days * DAY)
        self._load(run, len(run.messages))
        if run.code == 0:
            self._compare()

    @rule(request=st.integers(1, 25), count=st.integers(1, 6), seconds=st.sampled_from((0, 1, 700, 5000)))
    def run_while_people_work(self, request: int, count: int, seconds: float) -> None:
        """Work is changed and time passes before the run sends its so many-th request."""

        def work(number: int) -> None:
            if number == request:
                self._hubstaff.advance(seconds)
                self._change(count)
                self._hubstaff.add_late(count, days=30)

        run = self._run(before_request=work)
        assert run.code == 0, run.said("ERROR")
        self._load(run, len(run.messages))

    @rule(
        path=st.sampled_from(("/activities", "/activities/updates", "/activities/daily", "/notes", "/projects")),
        organization=st.integers(0, ORGANIZATIONS - 1),
        nth=st.integers(1, 3),
        status=st.sampled_from((403, 404, 422)),
    )
    def run_with_a_failure(self, path: str, organization: int, nth: int, status: int) -> None:
        fault = Fault(kind="status", status=status, path=path, organization=organization, nth=(nth,))
        self._sandbox.faults.replace(fault)
        run = self._run()
        self._sandbox.faults.clear()
        self._load(run, len(run.messages))

    def _run(self, *, off: float = 0.0, requests: int | None = None, before_request: Any = None) -> Run:
        wish = self._wish
        self._number += 1
        # What happens in the second in which a run begins is the next run's.
        is_quiet = False
        while not is_quiet:
            self._hubstaff.advance(1)
            now = iso(self._hubstaff.now)
            is_quiet = all(row["updated_at"] < now for row in self._hubstaff.records("activities"))
        config = {
            "access_token": self._hubstaff.organization_token,
            "api_url": self._hubstaff.api_url,
            "auth_url": self._hubstaff.auth_url,
            # The log of requests is of another folder for each run: a quota is the matter of one rule alone.
            "token_path": str(self.folder / f"{id(self)}-{self._number}"),
            "requests_per_hour": requests or 1_000_000,
            "on_quota": "stop",
            "start_date": self._day(-wish.start),
            "lookback_days": wish.lookback,
            "reread_days": wish.reread,
            "page_size": wish.page,
            # One after the other: what happens before a request then always happens at the same place.
            "max_parallel_requests": 1 if before_request or requests else 4,
        }
        config |= {} if wish.end is None else {"end_date": self._day(wish.end)}
        chosen = {
            "organization_ids": wish.organizations,
            "user_ids": wish.users,
            "project_ids": wish.projects,
            "task_ids": wish.tasks,
        }
        config |= {name: list(numbers) for name, numbers in chosen.items() if numbers}
        self._least_lookback = min(self._least_lookback, wish.lookback)
        clock = SandboxClock(self._hubstaff, off)
        return read(self._sandbox, config, self._state, wish.streams, clock=clock, before_request=before_request)

    def _day(self, days: int) -> str:
        return (self._began + dt.timedelta(days=days)).date().isoformat()

    # The table and the truth

    def _load(self, run: Run, messages: int) -> None:
        """Take the first messages of a run, as a loader does; the last STATE among them is the next run's."""
        for message in run.messages[:messages]:
            if message["type"] == "RECORD":
                record = message["record"]
                key = tuple(record[name] for name in KEYS.get(message["stream"], ("id",)))
                self._table[message["stream"]][key] = record
            elif message["type"] == "STATE":
                self._state = message["value"]

    def _compare(self) -> None:
        for stream in self._wish.streams:
            if stream != "time_sessions":
                self._compare_rows(stream)
        if "time_sessions" in self._wish.streams:
            self._compare_sessions()

    def _compare_rows(self, stream: str) -> None:
        table = self._table[stream]
        for row in self._wanted(stream):
            if stream == "daily_activities" and tuple(row[name] for name in GROUP) in self._old_days:
                continue
            key = tuple(row[name] for name in KEYS.get(stream, ("id",)))
            assert key in table, f"{stream}: {row} is missing"
            found = {name: table[key].get(name) for name in row if name != "organization_id"}
            expected = {name: value for name, value in row.items() if name != "organization_id"}
            assert found == expected, f"{stream}: stale"
        if stream == "activities":
            known = {row["id"] for row in self._hubstaff.records(stream)}
            assert {number for (number,) in table} <= known | self._gone

    def _wanted(self, stream: str) -> list[dict[str, Any]]:
        """What there is of all that the settings ask for."""
        return [row for row in self._records(stream) if self._is_wanted(stream, row)]

    def _records(self, stream: str) -> list[dict[str, Any]]:
        organizations = set(self._wish.organizations or map(int, self._hubstaff.ids("organizations")))
        found = {}
        for organization in organizations:
            for number in self._hubstaff.ids(stream, str(organization)):
                found[number] = organization
        rows = []
        for row in self._hubstaff.records(stream):
            number = ":".join(str(row[name]) for name in KEYS.get(stream, ("id",)))
            if number in found:
                rows.append({**row, "organization_id": found[number]})
        return rows

    def _is_wanted(self, stream: str, row: dict[str, Any]) -> bool:
        wish = self._wish
        for name, chosen in (("user_id", wish.users), ("project_id", wish.projects), ("task_id", wish.tasks)):
            if chosen and stream in {*WORK, "notes"} and row.get(name) not in chosen:
                return False
            if chosen and stream == "projects" and name == "project_id" and row["id"] not in chosen:
                return False
        if (bound := DAYLIKE.get(stream)) is None:
            return True
        day = row[bound][:10]
        return self._day(-wish.start) <= day and (wish.end is None or day <= self._day(wish.end))

    def _compare_sessions(self) -> None:
        expected: dict[int, tuple[Any, ...]] = {}
        for organization in {row["organization_id"] for row in self._records("activities")}:
            rows = [row for row in self._wanted("activities") if row["organization_id"] == organization]
            expected |= sessions_of(rows)
        ours = {row["organization_id"] for row in self._records("activities")}
        table = self._table["time_sessions"].values()
        found = counting({row["id"]: row for row in table if row["organization_id"] in ours})
        assert self._sure(expected) == self._sure(found)

    def _sure(self, sessions: dict[int, tuple[Any, ...]]) -> dict[int, tuple[Any, ...]]:
        """Those that the documentation promises to be right."""
        wish = self._wish
        first = _seconds(self._day(-wish.start)) + DAY
        last = _seconds(self._day(wish.end)) if wish.end is not None else 10**12
        kept = {}
        for number, (user, project, task, starts, stops, *rest) in sessions.items():
            chosen = (
                (not wish.users or user in wish.users)
                and (not wish.projects or project in wish.projects)
                and (not wish.tasks or task in wish.tasks)
            )
            unsure = user in self._moved or any(
                row["user_id"] == user and abs(_seconds(row["time_slot"]) - starts) < DAY for row in self._deleted
            )
            if chosen and not unsure and first <= starts and stops <= last:
                kept[number] = (user, project, task, starts, stops, *rest)
        return kept


def _seconds(text: str) -> int:
    return int(parse_iso(text).timestamp())
