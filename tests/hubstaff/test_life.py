"""Lives of an account: after every run that comes to its end, the tables are the truth."""

from __future__ import annotations

import datetime as dt
import os
import random
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from singer_http import resume
from singer_http.stream import ApiStream
from tap_hubstaff.account import Account
from tap_hubstaff.streams.base import HubstaffStream
from tap_hubstaff.streams.window_base import WindowStream
from tap_hubstaff.streams.window_streams import DailyActivities
from tap_hubstaff.windows.filtered_bookmarks import FilteredBookmarks
from tap_hubstaff.windows.window_resume import DELAY, GAP, Read, Wanted
from tap_hubstaff.work_sessions import late_changes, stream
from tap_hubstaff.work_sessions.stream import TimeSessions

from tests.hubstaff.life import HubstaffLife

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STEPS = 25
LIVES = int(os.environ.get("LIVES", "0"))
"""How many random lives to live, in place of the same few."""
PARTS = 4
"""Of them, for several workers."""


@pytest.fixture(autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    HubstaffLife.folder = tmp_path_factory.mktemp("life")


def live(number: int, lives: int, **more: Any) -> None:
    """Live some lives, which are the same each time for the same number."""
    lived = settings(
        stateful_step_count=STEPS,
        max_examples=lives,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
        **more,
    )
    run_state_machine_as_test(seed(number)(HubstaffLife), settings=lived)


@pytest.mark.parametrize("part", range(PARTS))
def test_after_every_run_the_tables_are_the_truth(part: int) -> None:
    live(random.getrandbits(32) if LIVES else part, (LIVES or 40) // PARTS)


# Faults that there were: the life finds each, or it is worth nothing.


def _as_of_the_run_that_went_on() -> Any:
    """A bookmark takes the clock of the run that came to the end, and not of the one that began."""
    told = Wanted.reads

    def reads(self: Wanted, *args: Any) -> Iterator[Read]:
        for read in told(self, *args):
            yield replace(read, claim=replace(read.claim, as_of=self.now - DELAY))
            if read.left is not None:
                return

    return mock.patch.object(Wanted, "reads", reads)


def _one_bookmark_for_all_filters() -> Any:
    return mock.patch.object(WindowStream, "bookmarks", property(lambda self: FilteredBookmarks(self.stream_state, {})))


def _no_gaps() -> Any:
    """What an earlier ``start_date`` or no ``end_date`` asks for besides is not read."""
    told = Wanted.reads
    return mock.patch.object(
        Wanted, "reads", lambda self, *args: (read for read in told(self, *args) if read.feed != GAP)
    )


def _days_of_the_last_month_only() -> Any:
    return mock.patch.object(DailyActivities, "_older_days", return_value=())


def _time_by_the_machine() -> Any:
    return mock.patch.object(
        Account, "now", lambda self: dt.datetime.fromtimestamp(self._tap.clock.time(), dt.timezone.utc)
    )


def _versions_of_what_is_not_kept() -> Any:
    return mock.patch.object(WindowStream, "is_kept", new=True)


def _reads_continue_from_later_than_is_wanted() -> Any:
    """A read of work sessions that was cut off claims to have begun where ``start_date`` now is."""
    told = TimeSessions._cut_off

    def cut_off(self: TimeSessions, *args: Any) -> Read | None:
        left = told(self, *args)
        if left is None or left.begin > left.claim.start:
            return left
        start = min(left.claim.start, self._wanted.start)
        return replace(left, begin=start, claim=replace(left.claim, start=start))

    return mock.patch.object(TimeSessions, "_cut_off", cut_off)


def _sessions_begin_where_reads_begin() -> Any:
    return mock.patch.object(late_changes, "leading_to", return_value=[])


def _what_failed_counts_as_read() -> Any:
    return mock.patch.object(HubstaffStream, "_leave_out", ApiStream._leave_out)


def _merged_states_are_believed() -> Any:
    return mock.patch.object(resume, "unsealed", lambda state: state)


def _work_that_moved_away_is_gone() -> Any:
    return mock.patch.object(stream, "take_out")


FAULTS: tuple[Callable[[], Any], ...] = (
    _as_of_the_run_that_went_on,
    _one_bookmark_for_all_filters,
    _no_gaps,
    _days_of_the_last_month_only,
    _time_by_the_machine,
    _versions_of_what_is_not_kept,
    _reads_continue_from_later_than_is_wanted,
    _sessions_begin_where_reads_begin,
    _what_failed_counts_as_read,
    _merged_states_are_believed,
    _work_that_moved_away_is_gone,
)


@contextmanager
def quiet() -> Iterator[None]:
    """Hypothesis tells of what it finds; here that is what is wanted."""
    with mock.patch("hypothesis.core.report"), mock.patch("hypothesis.stateful.report"):
        yield


@pytest.mark.skipif(not LIVES, reason="make lives puts the faults back")
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__.strip("_"))
def test_a_life_finds_a_fault_that_is_put_back(fault: Callable[[], Any]) -> None:
    with fault(), pytest.raises(AssertionError, match=r"missing|stale|time_sessions|in the future"), quiet():
        live(random.getrandbits(32), 200, phases=[Phase.generate])
