"""The sandbox's own time, which can be moved on, and the words that the API has for times."""

import math
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from functools import lru_cache

MINUTE, HOUR, DAY = 60, 3600, 86_400
_FRACTION = re.compile(r"\.([0-9]+)")


@dataclass(slots=True)
class Clock:
    """Time that goes on by itself, and by leaps when told.

    Attributes:
        start: Seconds since 1970 at which the clock was set.
        runs: Whether it goes on by itself.
    """

    start: float
    runs: bool = True
    _leapt: float = 0.0
    _began: float = field(default_factory=time.monotonic)

    def now(self) -> float:
        """Seconds since 1970."""
        return self.horizon() + (time.monotonic() - self._began if self.runs else 0.0)

    def horizon(self) -> float:
        """The time up to which people have worked and recorded; it only leaps.

        What there is to be read so does not grow between two requests of a test, unless the test wants it.
        """
        return self.start + self._leapt

    def advance(self, seconds: float) -> None:
        """Leap."""
        self._leapt += seconds


@lru_cache(maxsize=1 << 16)
def instant(seconds: float) -> str:
    """A time as the API writes it: ISO 8601, UTC, whole seconds."""
    return datetime.fromtimestamp(math.floor(seconds), timezone.utc).isoformat().replace("+00:00", "Z")


def parse_instant(text: str) -> float | None:
    """Seconds since 1970 of an ISO 8601 time; without an offset it is UTC. None for anything else."""
    whole = text[:-1] + "+00:00" if text.endswith(("Z", "z")) else text
    # Python 3.10 reads fractions of three or six digits only.
    whole = _FRACTION.sub(lambda found: f".{found[1]:0<6.6}", whole)
    try:
        parsed = datetime.fromisoformat(whole)
    except ValueError:
        return None
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=timezone.utc)
    return parsed.timestamp()


def parse_day(text: str) -> date | None:
    """An ISO 8601 date; of a time, its date. None for anything else."""
    try:
        return date.fromisoformat(text[:10]) if len(text) == len("2026-01-01") or "T" in text else None
    except ValueError:
        return None


def day_of(seconds: float) -> date:
    """The UTC date of a time."""
    return datetime.fromtimestamp(seconds, timezone.utc).date()


def days_between(first: date, last: date) -> Iterator[date]:
    """The days from first to last, both included."""
    return (first + timedelta(days=number) for number in range((last - first).days + 1))


def months_before(day: date, months: int) -> date:
    """The same day of the month so many months before; the last of the month where there is no such day."""
    years, month = divmod(day.year * 12 + day.month - 1 - months, 12)
    first = date(years, month + 1, 1)
    following = date(years + month // 11, (month + 1) % 12 + 1, 1)
    return min(first + timedelta(days=day.day - 1), following - timedelta(days=1))


def instant_months_before(seconds: float, months: int) -> float:
    """The same time of the day so many months before."""
    return seconds - (day_of(seconds) - months_before(day_of(seconds), months)).days * DAY
