"""The time of the simulated vendor: this machine's, moved on by months on demand."""

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone


@dataclass(slots=True)
class Clock:
    """Tells the time, which never goes back."""

    _ahead: timedelta = timedelta()

    def now(self) -> datetime:
        """The time, in UTC."""
        return datetime.now(timezone.utc) + self._ahead

    def month(self) -> tuple[int, int]:
        """Year and month, over which a quota counts."""
        now = self.now()
        return now.year, now.month

    def to_next_month(self) -> None:
        """Go to the beginning of the next month."""
        now = self.now()
        first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        # 32 days after a first is in the next month, whatever its length.
        self._ahead += (first + timedelta(days=32)).replace(day=1) - now
