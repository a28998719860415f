"""Windows: which stretch of time a request asks for, and which stretches a list gives."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from api_sandbox.api import Refused
from api_sandbox.hubstaff.clock import (
    DAY,
    Clock,
    day_of,
    instant,
    instant_months_before,
    parse_day,
    parse_instant,
)
from api_sandbox.hubstaff.errors import INVALID, RANGE_TOO_LONG, TOO_LONG_AGO, refuse


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch that a list can be asked for.

    Attributes:
        name: The parameters are `name[start]` and `name[stop]`.
        field: The field whose value must be in it.
        unit: `time`, whose stop is exclusive, or `day`, whose stop is inclusive.
        required: Whether both ends must be given, or either may be missing.
        days: The most days it may have; None for any number.
        months: How many months the list reaches back; None for all time.
        reach_days: Likewise, where the documents count in days.
        apart: Whether `days` is the most by which two days may differ, and not how many days there may be.
        end_field: Where rows are stretches too and those count that meet the window: the field of their end.
        stop_optional: Whether only the start must be given.
        by_plan: Whether the list reaches back as far as the organization's plan says.
    """

    name: str
    field: str
    unit: Literal["time", "day"] = "time"
    required: bool = True
    days: int | None = None
    months: int | None = None
    reach_days: int | None = None
    apart: bool = False
    end_field: str | None = None
    stop_optional: bool = False
    by_plan: bool = False


@dataclass(frozen=True, slots=True)
class Bounds:
    """The stretch that a request asks for, as texts that can be compared with those in the rows.

    Attributes:
        window: Which.
        start: The first that is in it.
        stop: For times the first that is not in it, for days the last that is.
    """

    window: Window
    start: str
    stop: str

    def holds(self, value: str | None, end: str | None = None) -> bool:
        """Whether a value, or a stretch up to `end`, is in it."""
        if value is None:
            return False
        if self.window.end_field is not None:
            return value <= self.stop and (end is None or end >= self.start)
        return self.start <= value and (value <= self.stop if self.window.unit == "day" else value < self.stop)


_ALWAYS = ("0000", "9999")


def read_windows(windows: Sequence[Window], given: Mapping[str, str], clock: Clock) -> dict[str, Bounds]:
    """The stretches of a request, by the name of the window.

    Raises:
        Refused: An end is missing or no time, the stretch is too long, reversed, or begins too long ago.
    """
    found = {}
    for window in windows:
        start, stop = given.get(f"{window.name}[start]"), given.get(f"{window.name}[stop]")
        if window.required and (start is None or (stop is None and not window.stop_optional)):
            missing = "start" if start is None else "stop"
            raise refuse(INVALID, f"{window.name}[{missing}] is missing")
        if start is None and stop is None:
            continue
        found[window.name] = (_days if window.unit == "day" else _times)(window, start, stop, clock)
    return found


def earliest(window: Window, clock: Clock) -> float | None:
    """Seconds since 1970 of the first time, or the beginning of the first day, that a list reaches back to.

    None where it reaches back for ever.
    """
    if window.reach_days is not None:
        return clock.now() - window.reach_days * DAY
    if window.months is None:
        return None
    then = instant_months_before(clock.now(), window.months)
    return then if window.unit == "time" else then - then % DAY


def _times(window: Window, start: str | None, stop: str | None, clock: Clock) -> Bounds:
    ends = [None if text is None else parse_instant(text) for text in (start, stop)]
    if (start is not None and ends[0] is None) or (stop is not None and ends[1] is None):
        raise refuse(INVALID, f"{window.name} is not an ISO 8601 time")
    first, last = ends
    if last is None and window.required:
        last = clock.now()
    if first is not None and last is not None:
        if last < first:
            raise refuse(INVALID, f"{window.name}[stop] is before {window.name}[start]")
        if window.days is not None and last - first > window.days * DAY:
            raise _too_long(window)
    reach = earliest(window, clock)
    if first is not None and reach is not None and first < reach:
        raise too_early(window)
    # Rows have whole seconds: the first one at or after a fraction is the next.
    texts = [fallback if end is None else instant(math.ceil(end)) for end, fallback in zip(ends, _ALWAYS, strict=True)]
    if ends[1] is None and last is not None:
        texts[1] = instant(math.ceil(last))
    return Bounds(window, *texts)


def _days(window: Window, start: str | None, stop: str | None, clock: Clock) -> Bounds:
    ends = [None if text is None else parse_day(text) for text in (start, stop)]
    if (start is not None and ends[0] is None) or (stop is not None and ends[1] is None):
        raise refuse(INVALID, f"{window.name} is not an ISO 8601 date")
    first, last = ends
    if first is not None and last is not None:
        if last < first:
            raise refuse(INVALID, f"{window.name}[stop] is before {window.name}[start]")
        counted = (last - first).days + (0 if window.apart else 1)
        if window.days is not None and counted > window.days:
            raise _too_long(window)
    reach = earliest(window, clock)
    if first is not None and reach is not None and first < day_of(reach):
        raise too_early(window)
    texts = [fallback if end is None else end.isoformat() for end, fallback in zip(ends, _ALWAYS, strict=True)]
    return Bounds(window, *texts)


def _too_long(window: Window) -> Refused:
    return refuse(RANGE_TOO_LONG, f"{window.name} may have {window.days} days at most")


def too_early(window: Window) -> Refused:
    """A refusal of what is no longer kept."""
    return refuse(TOO_LONG_AGO, f"{window.name} begins before what is kept")
