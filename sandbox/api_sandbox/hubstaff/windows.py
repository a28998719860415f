"""Windows: which stretch of time a request asks for, and which stretches a list gives."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from api_sandbox.api import Refused
from api_sandbox.hubstaff.clock import DAY, Clock, day_of, instant, instant_months_before, parse_day, parse_instant
from api_sandbox.hubstaff.errors import ErrorCode, refuse

_ALWAYS = ("0000", "9999")


class Window(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A stretch that a list can be asked for.

    Attributes:
        name: The parameters are `name[start]` and `name[stop]`.
        field: The field whose value must be in it, if that is named otherwise.
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
    field: str = ""
    unit: Literal["time", "day"] = "time"
    required: bool = True
    days: int | None = None
    months: int | None = None
    reach_days: int | None = None
    apart: bool = False
    end_field: str | None = None
    stop_optional: bool = False
    by_plan: bool = False

    def of(self, content: Mapping[str, str]) -> str | None:
        """What must be in it, of a row."""
        return content.get(self.field or self.name)


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

    def holds(self, content: Mapping[str, str]) -> bool:
        """Whether a row is in it, or a part of the row's own stretch."""
        window, value = self.window, self.window.of(content)
        if value is None:
            return False
        if window.end_field is not None:
            end = content.get(window.end_field)
            return value <= self.stop and (end is None or end >= self.start)
        return self.start <= value and (value <= self.stop if window.unit == "day" else value < self.stop)


def read_windows(windows: Sequence[Window], given: Mapping[str, str], clock: Clock) -> dict[str, Bounds]:
    """The stretches of a request, by the name of the window."""
    found = {}
    for window in windows:
        texts = given.get(f"{window.name}[start]"), given.get(f"{window.name}[stop]")
        for end, text in zip(("start", "stop"), texts, strict=True):
            if text is None and window.required and not (end == "stop" and window.stop_optional):
                raise refuse(ErrorCode.INVALID, f"{window.name}[{end}] is missing")
        if texts != (None, None):
            found[window.name] = (_days if window.unit == "day" else _times)(window, texts, clock)
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


def too_early(window: Window) -> Refused:
    """A refusal of what is no longer kept."""
    return refuse(ErrorCode.TOO_LONG_AGO, f"{window.name} begins before what is kept")


Texts = tuple[str | None, str | None]


def _times(window: Window, texts: Texts, clock: Clock) -> Bounds:
    ends = [None if text is None else parse_instant(text) for text in texts]
    _check_read(window, texts, ends, "time")
    first, last = ends[0], clock.now() if ends[1] is None and window.required else ends[1]
    _check_length(window, None if first is None or last is None else (last - first) / DAY)
    reach = earliest(window, clock)
    if first is not None and reach is not None and first < reach:
        raise too_early(window)
    # Rows have whole seconds: the first one at or after a fraction is the next.
    start, stop = (
        always if end is None else instant(math.ceil(end)) for end, always in zip((first, last), _ALWAYS, strict=True)
    )
    return Bounds(window, start, stop)


def _days(window: Window, texts: Texts, clock: Clock) -> Bounds:
    ends = [None if text is None else parse_day(text) for text in texts]
    _check_read(window, texts, ends, "date")
    first, last = ends
    _check_length(window, None if first is None or last is None else (last - first).days)
    reach = earliest(window, clock)
    if first is not None and reach is not None and first < day_of(reach):
        raise too_early(window)
    pairs = zip(ends, _ALWAYS, strict=True)
    return Bounds(window, *(always if end is None else end.isoformat() for end, always in pairs))


def _check_read(window: Window, texts: Texts, ends: Sequence[object], kind: str) -> None:
    if any(text is not None and end is None for text, end in zip(texts, ends, strict=True)):
        raise refuse(ErrorCode.INVALID, f"{window.name} is not an ISO 8601 {kind}")


def _check_length(window: Window, days: float | None) -> None:
    """Check by how many days the ends differ."""
    if days is None:
        return
    if days < 0:
        raise refuse(ErrorCode.INVALID, f"{window.name}[stop] is before {window.name}[start]")
    counted = days + (1 if window.unit == "day" and not window.apart else 0)
    if window.days is not None and counted > window.days:
        raise refuse(ErrorCode.RANGE_TOO_LONG, f"{window.name} may have {window.days} days at most")
