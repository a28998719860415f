"""Windows: every moment once, never longer than allowed, and halved where they are too much."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from tap_hubstaff.times import DAY, iso, parse_iso
from tap_hubstaff.windows.plan import WindowPlan
from tap_hubstaff.windows.window import Window, WindowSpec

UTC = dt.timezone.utc
NOW = dt.datetime(2026, 3, 31, 12, 30, tzinfo=UTC)
moments = st.datetimes(dt.datetime(2024, 1, 1), dt.datetime(2026, 3, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001
    lambda moment: moment.replace(microsecond=0)
)
TIMES = WindowSpec("time_slot", "time_slot", longest=7)
DAYS = WindowSpec("date", "date", longest=31, by_day=True)


def follow(plan: WindowPlan) -> list[Window]:
    windows = [plan.first(NOW)]
    while (following := plan.after(windows[-1])) is not None:
        windows.append(following)
    return windows


@given(start=moments, length=st.timedeltas(dt.timedelta(seconds=1), dt.timedelta(days=400)))
def test_windows_leave_no_gap_and_do_not_overlap(start: dt.datetime, length: dt.timedelta) -> None:
    stop = start + length
    windows = follow(WindowPlan(TIMES, start, stop, 500))
    assert (windows[0].start, windows[-1].stop) == (start, stop)
    assert all(one.stop == other.start for one, other in pairwise(windows))
    assert all(dt.timedelta(0) < window.length <= 7 * DAY for window in windows)


def test_a_window_that_is_too_much_is_halved_to_the_floor() -> None:
    plan = WindowPlan(TIMES, NOW - 30 * DAY, NOW, 500)
    window = plan.first(NOW)
    lengths = []
    while (narrower := plan.narrower(window)) is not None:
        assert narrower.start == window.start
        window = narrower
        lengths.append(window.length)
    assert lengths[0] <= 4 * DAY
    assert lengths[-1] < 2 * dt.timedelta(hours=1)
    following = plan.after(window)
    assert following is not None
    assert following.start == window.stop
    assert following.length <= window.length


@given(start=moments, length=st.timedeltas(dt.timedelta(seconds=1), 7 * DAY))
def test_what_is_short_enough_is_one_window(start: dt.datetime, length: dt.timedelta) -> None:
    assert len(follow(WindowPlan(TIMES, start, start + length, 500))) == 1


def test_days_are_asked_for_by_their_last() -> None:
    window = Window(parse_iso("2026-01-01"), parse_iso("2026-02-01"), "17")
    assert DAYS.params(window) == {"date[start]": "2026-01-01", "date[stop]": "2026-01-31"}
    assert TIMES.params(window) == {
        "time_slot[start]": "2026-01-01T00:00:00Z",
        "time_slot[stop]": "2026-02-01T00:00:00Z",
    }
    assert Window.parse(str(window)) == window


@given(moments)
def test_times_are_written_and_read(moment: dt.datetime) -> None:
    assert parse_iso(iso(moment)) == moment


def test_what_the_vendor_no_longer_keeps_is_not_asked_for() -> None:
    kept = WindowSpec("time_slot", "time_slot", longest=7, months=1)
    plan = WindowPlan(kept, NOW - 400 * DAY, NOW, 500)
    # A month before 31 March is 28 February.
    assert plan.first(NOW).start == dt.datetime(2026, 2, 28, 13, 30, tzinfo=UTC)
    late = Window(NOW - 60 * DAY, NOW - 53 * DAY, "9")
    assert plan.clamped(late, NOW).start == kept.earliest(NOW)
    recent = Window(NOW - 6 * DAY, NOW, "9")
    assert plan.clamped(recent, NOW) is recent
