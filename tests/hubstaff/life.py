"""The life of a Hubstaff account and of the runs that read it: whatever can happen in some months, in any order.

After every run that comes to its end the table is the truth: see :mod:`tests.hubstaff.truth`.
"""

from __future__ import annotations

import datetime as dt
import logging
from contextlib import ExitStack
from dataclasses import replace
from itertools import count
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any
from unittest import mock

from api_sandbox import Fault, HubstaffScenario, Scenario
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from singer_http.http import transport
from singer_http.merged_state import unsealed
from singer_http.run import Run as TapRun
from tap_hubstaff import tap
from tap_hubstaff.streams import list_streams, window_streams
from tap_hubstaff.times import iso, parse_iso
from tap_hubstaff.windows.window_resume import DELAY
from tap_hubstaff.work_sessions.stream import TimeSessions
from typing_extensions import override

from tests.hubstaff.direct import DirectSandbox
from tests.hubstaff.pauses import Pause, following, pauses
from tests.hubstaff.reading import SandboxClock, is_cut_off, read
from tests.hubstaff.truth import DAY, HISTORY, STREAMS, Table, Truth, Unseen, Wish
from tests.merging import merged

if TYPE_CHECKING:
    from pathlib import Path

    from tests.hubstaff.reading import Run

HOUR = 3600
ZONES = ("Asia/Kolkata", "Pacific/Honolulu", "Pacific/Auckland")
BEGINNINGS = (
    dt.datetime(2026, 3, 25, 20, tzinfo=dt.timezone.utc),  # summer time ends in Auckland on 5 April
    dt.datetime(2026, 9, 18, 9, 30, tzinfo=dt.timezone.utc),  # and begins on 27 September
)
CLASSES = (
    window_streams.Activities,
    window_streams.DailyActivities,
    window_streams.Notes,
    TimeSessions,
    list_streams.Projects,
    list_streams.Organizations,
)
LONGEST = 300
"""Days of a life: at its end Hubstaff no longer gives the activities of its beginning."""


class HubstaffLife(RuleBasedStateMachine):
    """Weeks of an account, and runs of the tap with whatever befalls them."""

    folder: Path
    """For the logs of requests; set by the test."""

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self._logs = mkdtemp(dir=self.folder)
        self._sandbox: DirectSandbox
        self._wish = Wish()
        self._states: list[tuple[frozenset[int], Any]] = [(frozenset(), None)]
        """Every STATE that a run left, and the activities of which whole runs without a filter told it."""
        self._first_state = 1
        """How many there were when the last ACTIVATE_VERSION came, and one more."""
        self._table = Table()
        self._unseen = Unseen()
        self._least_lookback = 10**6
        self._latest_start = ""
        self._number = 0

    @override
    def teardown(self) -> None:
        self._stack.close()

    # The account

    @initialize(
        now=st.sampled_from(BEGINNINGS),
        seed=st.integers(0, 5),
        daily_updates_of=st.sampled_from(("last_month", "all")),
        activity_delay=st.sampled_from((0.0, 1200.0)),
        zones=st.lists(st.sampled_from(ZONES), min_size=1, max_size=3, unique=True),
        pages=st.sampled_from((1, 4, 10**6)),
        merges=st.booleans(),
    )
    def begin(self, *, seed: int, zones: list[str], pages: int, merges: bool, **account: Any) -> None:
        """An account, and a tap that leaves a STATE after so many pages; what keeps it may merge it with others."""
        self._merges = merges
        scenario = HubstaffScenario(
            organizations=len(zones),
            zones=tuple(zones),
            members=2,
            removed_members=0,
            shared_members=0,
            projects=2,
            tasks=3,
            history_days=HISTORY,
            activities_per_day=2,
            late_share=0.05,
            clock="stopped",
            requests_per_hour=None,
            exchanges_per_hour=None,
            **account,
        )
        logging.disable(logging.INFO)  # of whole lives nobody wants to read all that runs say
        self._stack.callback(logging.disable, logging.NOTSET)
        put = self._stack.enter_context
        self._sandbox = DirectSandbox(Scenario(seed=seed, hubstaff=scenario))
        put(self._sandbox.reached())
        put(mock.patch.object(tap, "STREAMS", CLASSES))
        put(mock.patch.object(transport, "trusted_certificates", return_value=True))  # they take long to read
        is_due = (number % pages == 0 for number in count(1))
        put(mock.patch.object(TapRun, "is_due", side_effect=is_due))
        self._hubstaff = self._sandbox.hubstaff
        self._began = account["now"]
        self._zones = zones
        self._owners = {
            int(project): int(organization)
            for organization in self._hubstaff.ids("organizations")
            for project in self._hubstaff.ids("projects", organization)
        }

    @rule(days=st.sampled_from((16, 33, 160)))
    def weeks_pass(self, days: int) -> None:
        self._wait(days * DAY)

    @rule(number=st.integers(1, 4))
    def work_is_deleted(self, number: int) -> None:
        before = {row["id"]: row for row in self._hubstaff.records("activities")}
        self._lose(before, self._hubstaff.delete("activities", number))

    @precondition(lambda self: len(self._zones) > 1)
    @rule(number=st.integers(1, 4), days=st.sampled_from((2, 5, 60)), following=following)
    def work_moves_to_another_organization(self, number: int, days: int, following: Pause | None) -> None:
        before = {row["id"]: row for row in self._hubstaff.records("activities")}
        moved = self._hubstaff.transfer(number, days=days)
        self._lose(before, moved)
        self._unseen.transferred.update(map(int, moved))
        if self._wish.project_ids or self._wish.task_ids:
            self._unseen.moved |= {before[number]["user_id"] for number in map(int, moved) if number in before}
        self._go_on(following)

    def _lose(self, before: dict[int, Any], numbers: list[str]) -> None:
        """Note what is no longer where it was."""
        gone = [before[number] for number in map(int, numbers) if number in before]  # others are of long ago
        seen = iso(self._hubstaff.now - dt.timedelta(days=min(self._least_lookback, self._wish.lookback)))
        self._unseen.gone += gone
        self._unseen.deleted += [row for row in gone if row["time_slot"] < max(seen, self._latest_start)]
        self._forget()

    def _forget(self) -> None:
        """Of deleted work that no run told the state of, the state may not know."""
        known = self._states[-1][0]
        self._unseen.deleted += [row for row in self._unseen.gone if row["id"] not in known]

    @rule(number=st.integers(1, 2))
    def projects_are_changed(self, number: int) -> None:
        self._hubstaff.edit("projects", number)

    def _let(self, pause: Pause) -> None:
        if pause.start is not None:
            self._move(pause.start)
        self._change(pause.changed)
        self._wait(pause.hours * HOUR)
        self._hubstaff.add_late(pause.late, days=pause.days)
        self._hubstaff.add_late(pause.beside, days=pause.days, beside=True)

    def _move(self, start: int | tuple[int, int]) -> None:
        if isinstance(start, int):
            before = start * DAY
        else:
            worked = sorted(row["starts_at"] for row in self._hubstaff.records("activities"))
            moment = parse_iso(worked[start[0] % len(worked)]) + dt.timedelta(minutes=start[1])
            before = int((self._began - moment).total_seconds())
        if self._wish.end is None or self._wish.end * DAY > -before:
            self._wish = replace(self._wish, start=before)
        self._latest_start = max(self._latest_start, self._wish.start_of(self._began))

    def _wait(self, seconds: float) -> None:
        longest = (self._began - self._hubstaff.now).total_seconds() + LONGEST * DAY
        self._hubstaff.advance(min(seconds, max(longest, HOUR)))

    def _change(self, number: int) -> None:
        changed = set(map(int, self._hubstaff.edit("activities", number)))
        if self._wish.project_ids or self._wish.task_ids:
            rows = self._hubstaff.records("activities")
            self._unseen.moved |= {row["user_id"] for row in rows if row["id"] in changed}

    # The settings

    @rule(data=st.data())
    def filters_are_set(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(("users", "projects", "tasks", "organizations")))
        known = sorted({int(number) for number in self._hubstaff.ids(name)})
        chosen = data.draw(st.lists(st.sampled_from(known), min_size=1, max_size=3, unique=True))
        self._wish = replace(self._wish, **{f"{name[:-1]}_ids": tuple(chosen)})  # type: ignore[arg-type]

    @rule()
    def filters_are_taken_away(self) -> None:
        self._wish = replace(self._wish, user_ids=(), project_ids=(), task_ids=(), organization_ids=())

    @rule(days=st.none() | st.integers(-20, 20))
    def end_is_moved(self, days: int | None) -> None:
        if days is None or days * DAY > -self._wish.start:
            self._wish = replace(self._wish, end=days)

    @rule(
        lookback=st.sampled_from((0, 1, 4)), reread=st.sampled_from((0, 0, 3)), page=st.sampled_from((5, 40, 40, 500))
    )
    def reading_is_set(self, lookback: int, reread: int, page: int) -> None:
        self._wish = replace(self._wish, lookback_days=lookback, reread_days=reread, page_size=page)

    @rule(streams=st.sets(st.sampled_from(STREAMS), min_size=1) | st.just(set(STREAMS)))
    def streams_are_chosen(self, streams: set[str]) -> None:
        self._wish = replace(self._wish, streams=tuple(stream for stream in STREAMS if stream in streams))

    @rule(streams=st.sets(st.sampled_from(STREAMS)), has_versions=st.booleans())
    def methods_are_chosen(self, *, streams: set[str], has_versions: bool) -> None:
        full = tuple(stream for stream in STREAMS if stream in {*streams, "projects"})
        self._wish = replace(self._wish, full=full, has_versions=has_versions)

    # The runs

    @rule(pause=pauses)
    def run(self, pause: Pause) -> None:
        self._read_all(pause)

    @rule(pause=pauses, share=st.floats(0, 1), following=following)
    def run_is_killed(self, pause: Pause, share: float, following: Pause | None) -> None:
        """The tap or its target dies when this share of the messages is through."""
        self._let(pause)
        run = self._run()
        self._load(run, int(share * len(run.messages)))
        self._go_on(following)

    @rule(pause=pauses, requests=st.integers(5, 25), following=following)
    def run_stops_for_its_quota(self, pause: Pause, requests: int, following: Pause | None) -> None:
        self._let(pause)
        run = self._run(requests=requests)
        assert run.code == 0, run.said("ERROR")
        self._load(run)
        if not is_cut_off(run):
            self._compare()
        self._go_on(following)

    @rule(pause=pauses, days=st.sampled_from((-400, -2, -0.01, 0.01, 2, 400)), following=following)
    def run_with_a_wrong_clock(self, pause: Pause, days: float, following: Pause | None) -> None:
        self._let(pause)
        run = self._run(off=days * DAY)
        assert run.code == 0, run.said("ERROR")
        self._load(run)
        self._compare()
        self._go_on(following)

    @rule(
        pause=pauses,
        request=st.integers(1, 25),
        meanwhile=pauses,
        seconds=st.sampled_from((0, 1, 700, 5000)),
        following=following,
    )
    def run_while_people_work(
        self, pause: Pause, request: int, meanwhile: Pause, seconds: float, following: Pause | None
    ) -> None:
        """Work is changed and time passes before the run sends its so many-th request."""

        def work(number: int) -> None:
            if number == request:
                self._let(replace(meanwhile, hours=seconds / HOUR))

        self._let(pause)
        run = self._run(before_request=work)
        assert run.code == 0, run.said("ERROR")
        self._load(run)
        self._go_on(following)

    @rule(
        pause=pauses,
        path=st.sampled_from(("/activities", "/activities/updates", "/activities/daily", "/notes", "/projects")),
        organization=st.integers(0, len(ZONES) - 1),
        nth=st.integers(1, 3),
        status=st.sampled_from((403, 404, 422)),
        is_repeated=st.booleans(),
        following=following,
    )
    def run_with_a_failure(
        self,
        *,
        pause: Pause,
        path: str,
        organization: int,
        nth: int,
        status: int,
        is_repeated: bool,
        following: Pause | None,
    ) -> None:
        """A list fails. The next run may come at once, and read only what this one did not."""
        # What earlier runs have read is older than the hour that the next run allows.
        self._let(replace(pause, hours=max(2, pause.hours)) if is_repeated else pause)
        organization %= len(self._zones)
        fault = Fault(kind="status", status=status, path=path, organization=organization, nth=(nth,))
        self._sandbox.faults.replace(fault)
        run = self._run()
        self._sandbox.faults.replace()
        self._load(run)
        if is_repeated:
            run = self._run(refresh={"*": HOUR})
            assert run.code == 0, run.said("ERROR")
            self._load(run)
            self._compare()
        self._go_on(following)

    @rule(back=st.integers(1, 6), following=following)
    def state_is_put_back(self, back: int, following: Pause | None) -> None:
        """The state is that of an earlier run again, or lost; no older than the last ACTIVATE_VERSION."""
        del self._states[max(self._first_state, len(self._states) - back) :]
        self._forget()
        self._go_on(following)

    @rule(pause=pauses, days=st.sampled_from((3, 20)), share=st.floats(0, 1))
    def first_run_is_killed(self, pause: Pause, days: int, share: float) -> None:
        """The state is lost, and the run after it begins earlier."""
        del self._states[self._first_state :]
        self._forget()
        for start in (days, HISTORY + 2):
            self._let(replace(pause, start=start))
            run = self._run()
            self._load(run, int(share * len(run.messages)) if start == days else None)
        assert run.code == 0, run.said("ERROR")
        self._compare()

    def _read_all(self, pause: Pause) -> None:
        self._let(pause)
        run = self._run()
        assert run.code == 0, run.said("ERROR")
        self._load(run)
        self._compare()

    def _go_on(self, following: Pause | None) -> None:
        if following is not None:
            self._read_all(following)

    def _run(
        self,
        *,
        off: float = 0.0,
        requests: int | None = None,
        before_request: Any = None,
        refresh: dict[str, int] | None = None,
    ) -> Run:
        self._number += 1
        if refresh is None:  # what was done until now is then before the second in which the run begins
            self._hubstaff.advance(1)
        self._since = iso(self._hubstaff.now)
        config = {
            "access_token": self._hubstaff.organization_token,
            "api_url": self._hubstaff.api_url,
            "auth_url": self._hubstaff.auth_url,
            # The log of requests is of another folder for each run: a quota is the matter of one rule alone.
            "token_path": f"{self._logs}/{self._number if requests else 0}",
            "requests_per_hour": requests or 1_000_000,
            "refresh": refresh or {},
            "on_quota": "stop",
            # One after the other: what happens before a request then always happens at the same place.
            "max_parallel_requests": 1 if before_request or requests else 4,
            **self._wish.settings(self._began),
        }
        self._least_lookback = min(self._least_lookback, self._wish.lookback)
        clock = SandboxClock(self._hubstaff, off)
        state, streams = self._states[-1][1], self._wish.streams
        bookmarks = {stream: unsealed(one) for stream, one in (state or {}).get("bookmarks", {}).items()}
        versions = {stream: bookmarks.get(stream, {}).get("resume", {}).get("version") for stream in self._wish.full}
        self._unseen.begun = {stream: iso(_moment(begun / 1000) - DELAY) for stream, begun in versions.items() if begun}
        return read(clock, config, state, streams, full=self._wish.full, before_request=before_request)

    def _load(self, run: Run, messages: int | None = None) -> None:
        """Take the first messages of a run, as a loader does; the last STATE among them is the next run's."""
        known, kept = self._states[-1]
        for message in run.messages[:messages]:
            self._table.load(message)
            if message["type"] == "STATE":
                kept = merged(message["value"], kept if self._merges else None)
                self._states.append((known, kept))
            elif message["type"] == "ACTIVATE_VERSION":
                self._first_state = len(self._states) + 1
        if "time_sessions" in self._wish.full:
            self._unseen.deleted += self._unseen.gone
        is_whole = run.code == 0 and messages is None and not is_cut_off(run)
        if is_whole and self._wish.is_wide:
            self._unseen.moved.clear()
        if is_whole and not self._wish.is_filtered:
            rows = (row for row in self._hubstaff.records("activities") if row["created_at"] < self._since)
            told = {row["id"] for row in rows if self._wish.has("activities", row, self._began)}
            self._states[-1] = (known | told, self._states[-1][1])

    def _compare(self) -> None:
        truth = Truth(self._wish, self._began, self._hubstaff, self._owners)
        truth.assert_table(self._table, self._unseen, self._since)


def _moment(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.timezone.utc)
