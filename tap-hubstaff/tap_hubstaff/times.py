"""Times: as the API reads and writes them, in UTC, and days whose time zone the API does not tell."""

from __future__ import annotations

import calendar
import datetime as dt

HOUR = dt.timedelta(hours=1)
DAY = dt.timedelta(days=1)
BEGINNING = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
EAST = dt.timedelta(hours=14)
"""The first time zone to begin a day; the API does not tell which one an organization's days are of."""
WEST = dt.timedelta(hours=12)
"""The last time zone to begin a day."""


def iso(moment: dt.datetime) -> str:
    """A time as the API reads it: UTC, whole seconds."""
    return f"{moment.astimezone(dt.timezone.utc).isoformat(timespec='seconds').removesuffix('+00:00')}Z"


def parse_iso(text: str) -> dt.datetime:
    """Read a date or a time in ISO 8601; UTC where it does not say.

    Raises:
        ValueError: It is neither.
    """
    moment = dt.datetime.fromisoformat(f"{text[:-1]}+00:00" if text.endswith("Z") else text)
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.timezone.utc)


def midnight(moment: dt.datetime) -> dt.datetime:
    """The beginning of a moment's day, in UTC."""
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def months_before(moment: dt.datetime, months: int) -> dt.datetime:
    """The same day of the month so many months earlier, or the last one of that month."""
    years, month = divmod(moment.year * 12 + moment.month - 1 - months, 12)
    last = calendar.monthrange(years, month + 1)[1]
    return moment.replace(year=years, month=month + 1, day=min(moment.day, last))
