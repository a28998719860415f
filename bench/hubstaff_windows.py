"""How many requests the windows of a list take, told by its rows alone: no API, so that many accounts can be tried."""

from __future__ import annotations

import math
from bisect import bisect_left
from statistics import mean
from typing import TYPE_CHECKING

from api_sandbox import HubstaffScenario
from api_sandbox.hubstaff.world import World
from tap_hubstaff.times import DAY, EAST, midnight, parse_iso
from tap_hubstaff.windows.plan import WindowPlan

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from tap_hubstaff.streams.window_base import WindowStream
    from tap_hubstaff.windows.window import Window, WindowSpec

ACCOUNTS = 16


class Rows:
    """A list as the API pages it: by id, within a window of time.

    Args:
        rows: The id and the time of each.
        page: Rows in a full page.
    """

    def __init__(self, rows: Iterable[tuple[int, dt.datetime]], page: int) -> None:
        self.rows = sorted(rows, key=lambda row: row[1])
        self.page = page
        self._times = [time for _, time in self.rows]

    def before(self, time: dt.datetime) -> int:
        """How many rows are of before."""
        return bisect_left(self._times, time)

    @property
    def full(self) -> int:
        """The requests of completely full pages."""
        return max(1, math.ceil(len(self.rows) / self.page))

    def read(self, spec: WindowSpec, begin: dt.datetime, stop: dt.datetime) -> Iterator[list[int]]:
        """The ids of each page that is asked for."""
        plan = WindowPlan(spec, begin, stop, self.page)
        window: Window | None = plan.first(stop)
        while window is not None:
            ids = sorted(self.rows[self.before(window.start) : self.before(window.stop)])
            here = ids[bisect_left(ids, (int(window.page or 0),)) :]
            plan.saw(window, [time for _, time in here[: self.page]])
            yield [own for own, _ in here[: self.page]]
            more = len(here) > self.page
            window = plan.onward(window, str(here[self.page][0])) if more else plan.after(window)


def beside_full_pages(
    streams: Iterable[type[WindowStream]], shape: Mapping[str, Any], now: dt.datetime, begin: dt.datetime, page: int
) -> float:
    """The requests of streams beside those of full pages, in the mean of accounts of one shape."""
    days = (now - begin).days
    streams = tuple(streams)
    found = []
    for seed in range(ACCOUNTS):
        world = World(seed, HubstaffScenario(**shape, history_days=days, now=now, clock="stopped"))
        requests = full = 0
        for stream in streams:
            spec = stream.spec
            first = max(begin, spec.earliest(now))
            told = ((row.key, parse_iso(row.fields()[spec.field])) for _, row in world.rows(str(vars(stream)["name"])))
            rows = Rows(((own, time) for own, time in told if time >= first), page)
            stop = midnight(now + EAST) + DAY if spec.by_day else now
            requests += sum(1 for _ in rows.read(spec, first, stop))
            full += rows.full
        found.append(requests / full)
    return mean(found)
