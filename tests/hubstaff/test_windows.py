"""Windows: every moment once, never longer than allowed, and as long as fills whole pages."""

from __future__ import annotations

import datetime as dt
import math
import random
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from tap_hubstaff.windows import DAY, Filter, Plan, Window, iso, parse_iso

UTC = dt.timezone.utc
NOW = dt.datetime(2026, 3, 31, 12, 30, tzinfo=UTC)
moments = st.datetimes(dt.datetime(2024, 1, 1), dt.datetime(2026, 3, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001
    lambda moment: moment.replace(microsecond=0)
)
TIMES = Filter("time_slot", "time_slot", longest=7)
DAYS = Filter("date", "date", longest=31, by_day=True)


def follow(plan: Plan, rows: dict[dt.date, int] | None = None) -> list[Window]:
    windows = [plan.first(NOW)]
    while True:
        window = windows[-1]
        day = window.start.date()
        while rows is not None and day < window.stop.date():
            plan.saw(window, [day] * rows.get(day, 0))
            day += DAY
        following = plan.after(window)
        if following is None:
            return windows
        windows.append(following)


@given(start=moments, length=st.timedeltas(dt.timedelta(seconds=1), dt.timedelta(days=400)))
def test_windows_leave_no_gap_and_do_not_overlap(start: dt.datetime, length: dt.timedelta) -> None:
    stop = start + length
    windows = follow(Plan(TIMES, start, stop, 500))
    assert (windows[0].start, windows[-1].stop) == (start, stop)
    assert all(one.stop == other.start for one, other in pairwise(windows))
    assert all(dt.timedelta(0) < window.length <= 7 * DAY for window in windows)


@given(
    daily=st.lists(st.integers(0, 700), min_size=7, max_size=7),
    noise=st.sampled_from([0.0, 0.05, 0.2]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=30, deadline=None)
def test_windows_cost_hardly_more_than_the_best_length_would(daily: list[int], noise: float, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    first = dt.date(2025, 1, 1)
    rows = {
        day: round(daily[day.weekday()] * max(0.0, chance.gauss(1, noise)))
        for day in (first + number * DAY for number in range(400))
    }

    def requests(cuts: list[tuple[dt.date, dt.date]]) -> int:
        total = 0
        for begin, end in cuts:
            held = sum(rows[begin + number * DAY] for number in range((end - begin).days))
            total += max(1, math.ceil(held / 500))
        return total

    start = dt.datetime(2025, 1, 1, tzinfo=UTC)
    ours = [
        (window.start.date(), window.stop.date()) for window in follow(Plan(DAYS, start, start + 400 * DAY, 500), rows)
    ]
    last = first + 400 * DAY
    fixed = min(
        requests([(first + at * DAY, min(first + (at + length) * DAY, last)) for at in range(0, 400, length)])
        for length in range(1, 32)
    )
    # The first window knows nothing, and the best length is only known afterwards.
    assert requests(ours) <= fixed * 1.05 + 3


def test_a_window_that_is_too_much_is_halved_to_the_floor() -> None:
    plan = Plan(TIMES, NOW - 30 * DAY, NOW, 500)
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
    assert len(follow(Plan(TIMES, start, start + length, 500))) == 1


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
    kept = Filter("time_slot", "time_slot", longest=7, months=1)
    plan = Plan(kept, NOW - 400 * DAY, NOW, 500)
    # A month before 31 March is 28 February.
    assert plan.first(NOW).start == dt.datetime(2026, 2, 28, 13, 30, tzinfo=UTC)
    late = Window(NOW - 60 * DAY, NOW - 53 * DAY, "9")
    assert plan.clamped(late, NOW).start == kept.earliest(NOW)
    recent = Window(NOW - 6 * DAY, NOW, "9")
    assert plan.clamped(recent, NOW) is recent
