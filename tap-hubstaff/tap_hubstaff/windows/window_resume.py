"""What the bookmark of a window stream claims, and what to read until it covers what the settings ask for.

A bookmark claims that all rows of a stretch of time were read as they were at some moment::

    {"start": "2026-01-01T00:00:00Z", "stop": "2026-02-01T00:00:00Z", "replication_key_value": "2026-02-11T11:40:00Z"}

``stop`` is there only if ``end_date`` ended the stretch. A read that was cut off also says what it was reading, as of
when, and what the bookmark may claim once that is done::

    {"resume": {"feed": "windows", "begin": "2026-01-01T00:00:00Z", "stop": "2026-01-31T12:00:00Z",
                "as_of": "2026-01-31T12:00:00Z", "claims": ["2026-01-01T00:00:00Z", null],
                "cursor": "2026-01-04T00:00:00Z/2026-01-11T00:00:00Z/8800123"}}
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from typing_extensions import Self

from tap_hubstaff.times import WEST, iso, midnight, parse_iso

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tap_hubstaff.windows.window import WindowSpec

DELAY = dt.timedelta(minutes=20)
"""The vendor may delay data by so much."""
FOREVER = dt.datetime.max.replace(tzinfo=dt.timezone.utc)
WINDOWS = "windows"
"""Reading by when things happened."""
GAP = "gap"
"""The same, for what changed settings ask for besides."""
UPDATES = "updates"
"""Reading what was changed since."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """All rows of a stretch of time, as of a moment.

    Attributes:
        start: Its beginning.
        stop: Its end, exclusive; :data:`FOREVER` where it reaches to ``as_of``.
        as_of: Anything may have changed since.
    """

    start: dt.datetime
    stop: dt.datetime
    as_of: dt.datetime

    @classmethod
    def of(cls, bookmark: Mapping[str, Any]) -> Self | None:
        """What a bookmark claims; None if it does not say."""
        try:
            stop = parse_iso(bookmark["stop"]) if "stop" in bookmark else FOREVER
            return cls(parse_iso(bookmark["start"]), stop, parse_iso(bookmark["replication_key_value"]))
        except (LookupError, ValueError):
            return None

    def to_bookmark(self) -> dict[str, Any]:
        """As a bookmark holds it."""
        stop = {} if self.stop == FOREVER else {"stop": iso(self.stop)}
        return {"start": iso(self.start), **stop, "replication_key_value": iso(self.as_of)}

    def within(self, start: dt.datetime, stop: dt.datetime) -> Coverage | None:
        """What it claims of a stretch; None if nothing."""
        start, stop = max(self.start, start), min(self.stop, stop)
        return Coverage(start, stop, self.as_of) if start < stop else None


@dataclass(frozen=True, slots=True)
class Read:
    """Something to read, window by window.

    Attributes:
        feed: Which feed.
        begin: From when.
        stop: Until when.
        as_of: When the read began: later changes may be missing.
        claim: What is covered once it is done.
        left: The window and page where it was cut off; None if it begins now.
        sessions: What was stored of work sessions there.
    """

    feed: str
    begin: dt.datetime
    stop: dt.datetime
    as_of: dt.datetime
    claim: Coverage
    left: str | None = None
    sessions: dict[str, Any] | None = None

    def to_resume(self, cursor: str) -> dict[str, Any]:
        """What STATE holds of it until it is done."""
        claims = [iso(self.claim.start), None if self.claim.stop == FOREVER else iso(self.claim.stop)]
        moments = {"begin": iso(self.begin), "stop": iso(self.stop), "as_of": iso(self.as_of)}
        return {"feed": self.feed, **moments, "claims": claims, "cursor": cursor}

    @classmethod
    def cut_off(cls, resume: Mapping[str, Any], before: Coverage | None) -> Self | None:
        """The read that was cut off; None if there was none, or if it cannot continue.

        Args:
            resume: What :meth:`to_resume` wrote.
            before: What was covered before it.
        """
        try:
            begin, stop, as_of = (parse_iso(resume[name]) for name in ("begin", "stop", "as_of"))
            start, end = resume["claims"]
            until = as_of - DELAY if resume["feed"] != GAP or before is None else before.as_of
            claim = Coverage(parse_iso(start), FOREVER if end is None else parse_iso(end), until)
            return cls(resume["feed"], begin, stop, as_of, claim, str(resume["cursor"]), resume.get("sessions"))
        except (LookupError, ValueError, TypeError, AttributeError):
            return None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the settings ask for, and how to get it.

    Attributes:
        spec: How the list is asked for windows.
        updates: How its list of updates is asked; None if there is none.
        start: From when.
        stop: Until when; :data:`FOREVER` for no end.
        end: Where the windows end today.
        now: The time by the API's clock.
        lookback: How much before the last run is read again, if there are no updates.
    """

    spec: WindowSpec
    updates: WindowSpec | None
    start: dt.datetime
    stop: dt.datetime
    end: dt.datetime
    now: dt.datetime
    lookback: dt.timedelta

    def reads(self, covered: Coverage | None, cut_off: Read | None) -> Iterator[Read]:
        """What to read, in order, until all that is wanted is covered.

        Args:
            covered: What earlier runs covered; None for nothing.
            cut_off: What the last one was reading.
        """
        covered = self.believed(covered)
        if cut_off is not None and self._may_go_on(cut_off, covered):
            covered = cut_off.claim.within(self.start, self.stop)
            yield replace(cut_off, claim=covered or cut_off.claim)
        if covered is None:
            yield self.everything
            return
        following = self._next_read(covered)
        later = self.end if self.updates is not None else following.begin
        gaps = (
            (self.start, covered.start, replace(covered, start=self.start)),
            (covered.stop, later, replace(self.claim, as_of=covered.as_of)),
        )
        for begin, stop, claim in gaps:
            if begin < min(stop, self.end):
                yield Read(GAP, begin, min(stop, self.end), self.now, claim)
        yield following

    def believed(self, covered: Coverage | None) -> Coverage | None:
        """The coverage to build on; None if it is unwanted, of the future, or too old for the list of updates."""
        if covered is None or covered.as_of > self.now or self.is_too_long_ago(covered):
            return None
        return covered.within(self.start, self.stop)

    @property
    def everything(self) -> Read:
        """One read of all that is wanted."""
        return Read(WINDOWS, self.start, self.end, self.now, self.claim)

    @property
    def claim(self) -> Coverage:
        """What a run covers that reads everything."""
        return Coverage(self.start, self.stop, self.now - DELAY)

    def is_too_long_ago(self, covered: Coverage) -> bool:
        """Whether the list of updates no longer reaches back so far."""
        return self.updates is not None and covered.as_of < self.updates.earliest(self.now)

    def _next_read(self, covered: Coverage) -> Read:
        """The read of what happened or changed since."""
        if self.updates is not None:
            return Read(UPDATES, covered.as_of, self.now, self.now, self.claim)
        since = covered.as_of - self.lookback
        since = midnight(since - WEST) if self.spec.by_day else since
        return Read(WINDOWS, max(since, self.start), self.end, self.now, self.claim)

    def _may_go_on(self, cut_off: Read, covered: Coverage | None) -> bool:
        """Whether a read that was cut off is still useful, and its claim still true."""
        claim = cut_off.claim
        if cut_off.as_of > self.now or self.is_too_long_ago(claim) or claim.within(self.start, self.stop) is None:
            return False
        if cut_off.feed != UPDATES and cut_off.stop > self.end:
            return False
        if covered is None:
            return cut_off.feed == WINDOWS and cut_off.begin <= claim.start
        if cut_off.feed == GAP:
            return cut_off.stop == covered.start or cut_off.begin == covered.stop
        return cut_off.feed == self._next_read(covered).feed
