"""What bookmarks claim is true: whatever is cut off, set and set back, a run that ends well leaves nothing out."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from singer_http.resume import validated
from tap_hubstaff.streams.window_base import WindowBookmark
from tap_hubstaff.times import DAY, EAST, HOUR, iso, midnight
from tap_hubstaff.windows.window import Window, WindowSpec
from tap_hubstaff.windows.window_resume import DELAY, FOREVER, UPDATES, Coverage, Read, Wanted

BEGAN = dt.datetime(2026, 3, 1, 12, tzinfo=dt.timezone.utc)
BY_TIME = WindowSpec("time_slot", "time_slot", longest=7)
BY_DAY = WindowSpec("date", "date", longest=31, by_day=True)
UPDATED = WindowSpec("updated", "updated_at", longest=7, days=45)
DAYS = 30
"""How long a life lasts."""


@dataclass
class Row:
    """Something that happened, and when it was changed."""

    at: dt.datetime
    changed: list[dt.datetime]

    def version(self, now: dt.datetime) -> int:
        return sum(moment < now for moment in self.changed)


@dataclass
class Life:
    """An organization and the table of a loader, with the bookmark between runs.

    Attributes:
        rows: What happens.
        spec: How windows select.
        east: How far its days are ahead of UTC.
        follows: Whether there is a list of updates.
        table: The version of each row that was received.
        bookmark: What the state holds.
    """

    rows: list[Row]
    spec: WindowSpec
    east: dt.timedelta
    follows: bool
    table: dict[int, int] = field(default_factory=dict)
    bookmark: dict[str, Any] = field(default_factory=dict)

    def time(self, row: Row) -> dt.datetime:
        """What a row is selected by."""
        return midnight(row.at + self.east) if self.spec.by_day else row.at

    def wanted(self, start: dt.datetime, end: dt.datetime | None, now: dt.datetime) -> Wanted:
        stop = FOREVER if end is None else midnight(end) + DAY
        latest = midnight(now + EAST) + DAY if self.spec.by_day else now
        start = midnight(start) if self.spec.by_day else start
        return Wanted(self.spec, UPDATED if self.follows else None, start, stop, min(latest, stop), now, DAY)

    def run(self, wanted: Wanted, patience: int) -> bool:
        """Read, until as many windows were read as there is patience for; whether that was all."""
        covered = Coverage.of(self.bookmark)
        for read in list(wanted.reads(covered, Read.cut_off(self.bookmark.get("resume", {}), covered))):
            window = Window(read.begin, read.begin) if read.left is None else Window.parse(read.left)
            begin = window.start
            while begin < read.stop:
                if patience == 0:
                    return False
                patience -= 1
                stop = min(begin + 3 * DAY, read.stop)
                self.receive(read, begin, stop, wanted)
                begin = stop
                if begin < read.stop:
                    self.bookmark["resume"] = read.to_resume(str(Window(begin, min(begin + 3 * DAY, read.stop))))
            if read.begin < read.stop:
                self.bookmark = read.claim.to_bookmark()
            # As the state is written and read.
            self.bookmark = msgspec.to_builtins(msgspec.convert(json.loads(json.dumps(self.bookmark)), WindowBookmark))
        return True

    def receive(self, read: Read, begin: dt.datetime, stop: dt.datetime, wanted: Wanted) -> None:
        for number, row in enumerate(self.rows):
            version = row.version(wanted.now)
            if not version:
                continue
            moment = row.changed[version - 1] if read.feed == UPDATES else self.time(row)
            if begin <= moment < stop and wanted.start <= self.time(row) < wanted.stop:
                self.table[number] = version

    def missing(self, wanted: Wanted) -> list[int]:
        """The rows that a table is without, or has of an old version."""
        due = wanted.now - (dt.timedelta(0) if self.follows else DELAY)
        return [
            number
            for number, row in enumerate(self.rows)
            if wanted.start <= self.time(row) < wanted.stop
            and self.table.get(number, 0) < (row.version(due) if self.follows else min(1, row.version(due)))
        ]


moments = st.integers(0, DAYS * 24 - 1).map(lambda hours: BEGAN + hours * HOUR)
happened = st.builds(
    lambda at, later: Row(at, sorted([at, *(at + hours * HOUR for hours in later)])),
    moments,
    st.lists(st.integers(1, 20 * 24), max_size=3),
)
starts = st.integers(0, DAYS - 1).map(lambda days: BEGAN + days * DAY - 5 * HOUR)
ends = st.none() | st.integers(0, DAYS + 5).map(lambda days: midnight(BEGAN + days * DAY))
runs = st.lists(
    st.tuples(st.integers(1, 5 * 24), starts, ends, st.sampled_from([0, 1, 2, 3, 5, 1000])), min_size=1, max_size=10
)


@pytest.mark.parametrize("follows", [True, False])
@pytest.mark.parametrize("spec", [BY_TIME, BY_DAY], ids=lambda spec: spec.name)
@given(rows=st.lists(happened, min_size=1, max_size=12), runs=runs, east=st.integers(-12, 14), settled=st.booleans())
def test_a_run_that_ends_well_leaves_nothing_out(
    *, rows: list[Row], runs: list[Any], east: int, settled: bool, spec: WindowSpec, follows: bool
) -> None:
    life = Life(rows, spec, east * HOUR, follows)
    now = BEGAN
    for hours, start, end, patience in runs:
        now += hours * HOUR
        wanted = life.wanted(BEGAN - DAY if settled else min(start, now), end, now)
        if wanted.start >= wanted.stop:
            continue
        if life.run(wanted, patience):
            assert life.missing(wanted) == []
    wanted = life.wanted(BEGAN - DAY, None, now + HOUR)
    assert life.run(wanted, 1000)
    assert life.missing(wanted) == []


def test_a_first_load_that_was_cut_off_follows_what_changed_since_it_began() -> None:
    early = Row(BEGAN, [BEGAN, BEGAN + 10 * DAY])
    life = Life([early], BY_DAY, 0 * HOUR, follows=True)
    assert not life.run(life.wanted(BEGAN, None, BEGAN + 9 * DAY), 2)
    assert life.table == {0: 1}
    assert life.run(life.wanted(BEGAN, None, BEGAN + 11 * DAY), 1000)
    assert life.table == {0: 2}


def test_a_bookmark_of_the_future_is_not_believed() -> None:
    row = Row(BEGAN + DAY, [BEGAN + DAY])
    life = Life([row], BY_TIME, 0 * HOUR, follows=True)
    life.bookmark = Coverage(BEGAN, FOREVER, BEGAN + 3 * DAY).to_bookmark()
    assert life.run(life.wanted(BEGAN, None, BEGAN + 2 * DAY), 1000)
    assert life.table == {0: 1}
    assert life.bookmark["replication_key_value"] == iso(BEGAN + 2 * DAY - DELAY)


GARBAGE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just(iso(BEGAN)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(WindowBookmark.__struct_fields__) | st.text(max_size=3), inner, max_size=8)
    ),
    max_leaves=20,
)


@given(bookmark=GARBAGE)
def test_no_bookmark_breaks_a_run(bookmark: Any) -> None:
    kept = validated("activities", bookmark, WindowBookmark)
    covered = Coverage.of(kept)
    cut_off = Read.cut_off(kept.get("resume", {}), covered)
    wanted = Life([], BY_TIME, 0 * HOUR, follows=True).wanted(BEGAN, None, BEGAN + DAY)
    assert list(wanted.reads(covered, cut_off))
