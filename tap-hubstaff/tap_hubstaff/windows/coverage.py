"""What a bookmark of a windowed stream claims, and what is to be read so that it covers what the settings ask for.

A bookmark claims that all rows of a stretch of time were read as they were at some moment::

    {"start": "2026-01-01T00:00:00Z", "stop": "2026-02-01T00:00:00Z", "replication_key_value": "2026-02-11T11:40:00Z"}

``stop`` is there where ``end_date`` ended the stretch. What was cut off says besides what it was reading, as of when,
and what the bookmark may claim once that is done::

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
"""The vendor: data may be delayed so long."""
FOREVER = dt.datetime.max.replace(tzinfo=dt.timezone.utc)
WINDOWS = "windows"
"""Reading by when things happened."""
GAP = "gap"
"""The same, of what settings that have changed since ask for besides."""
UPDATES = "updates"
"""Reading what was changed since."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """All rows of a stretch of time, as of a moment.

    Attributes:
        start: Its beginning.
        stop: Its end, which is no part of it; :data:`FOREVER` where it goes on to the moment that it is as of.
        as_of: From when on anything may have changed.
    """

    start: dt.datetime
    stop: dt.datetime
    as_of: dt.datetime

    @classmethod
    def of(cls, bookmark: Mapping[str, Any]) -> Self | None:
        """What a bookmark claims; None where it does not say."""
        try:
            stop = parse_iso(bookmark["stop"]) if "stop" in bookmark else FOREVER
            return cls(parse_iso(bookmark["start"]), stop, parse_iso(bookmark["replication_key_value"]))
        except (LookupError, ValueError):
            return None

    def told(self) -> dict[str, Any]:
        """As a bookmark."""
        stop = {} if self.stop == FOREVER else {"stop": iso(self.stop)}
        return {"start": iso(self.start), **stop, "replication_key_value": iso(self.as_of)}

    def within(self, start: dt.datetime, stop: dt.datetime) -> Coverage | None:
        """What it claims of a stretch, None where that is nothing."""
        start, stop = max(self.start, start), min(self.stop, stop)
        return Coverage(start, stop, self.as_of) if start < stop else None


@dataclass(frozen=True, slots=True)
class Read:
    """Something to be read, window by window.

    Attributes:
        feed: What.
        begin: From when on.
        stop: Up to when.
        as_of: When this was begun: what changes later may be missing.
        claim: What is covered once it is done.
        left: The window, and the page in it, where it was cut off; None where it is begun.
        sessions: What was kept of sessions there.
    """

    feed: str
    begin: dt.datetime
    stop: dt.datetime
    as_of: dt.datetime
    claim: Coverage
    left: str | None = None
    sessions: dict[str, Any] | None = None

    def told(self, cursor: str) -> dict[str, Any]:
        """What the state holds of it while it goes on."""
        claims = [iso(self.claim.start), None if self.claim.stop == FOREVER else iso(self.claim.stop)]
        moments = {"begin": iso(self.begin), "stop": iso(self.stop), "as_of": iso(self.as_of)}
        return {"feed": self.feed, **moments, "claims": claims, "cursor": cursor}

    @classmethod
    def cut_off(cls, resume: Mapping[str, Any], before: Coverage | None) -> Self | None:
        """The read that was cut off; None where there was none, or it cannot be gone on with.

        Args:
            resume: What :meth:`told` has left.
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
    """What the settings ask for, and how it can be had.

    Attributes:
        spec: How windows of the list are asked for.
        updates: How its list of updates is asked for, None where there is none.
        start: From when on.
        stop: Up to when, :data:`FOREVER` for no end.
        end: Where the windows end by now.
        now: The time, by the API's clock.
        lookback: How much before the last run is read again, where there are no updates.
    """

    spec: WindowSpec
    updates: WindowSpec | None
    start: dt.datetime
    stop: dt.datetime
    end: dt.datetime
    now: dt.datetime
    lookback: dt.timedelta

    def reads(self, covered: Coverage | None, cut_off: Read | None) -> Iterator[Read]:
        """What is to be read, one after the other, until everything is covered that is wanted.

        Args:
            covered: What earlier runs have covered, None for nothing.
            cut_off: What the last one was reading.
        """
        covered = self.believed(covered)
        if cut_off is not None and self._may_go_on(cut_off, covered):
            covered = cut_off.claim.within(self.start, self.stop)
            yield replace(cut_off, claim=covered or cut_off.claim)
        if covered is None:
            yield self.everything
            return
        following = self._following(covered)
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
        """What is to be gone by: nothing where it is none of what is wanted, or where updates no longer tell."""
        if covered is None or covered.as_of > self.now or self.is_too_long_ago(covered):
            return None
        return covered.within(self.start, self.stop)

    @property
    def everything(self) -> Read:
        """All that is wanted, to be read at once."""
        return Read(WINDOWS, self.start, self.end, self.now, self.claim)

    @property
    def claim(self) -> Coverage:
        """What is covered by a run that reads everything."""
        return Coverage(self.start, self.stop, self.now - DELAY)

    def is_too_long_ago(self, covered: Coverage) -> bool:
        """Whether the list of updates no longer tells what has changed since."""
        return self.updates is not None and covered.as_of < self.updates.earliest(self.now)

    def _following(self, covered: Coverage) -> Read:
        """What has happened or changed since."""
        if self.updates is not None:
            return Read(UPDATES, covered.as_of, self.now, self.now, self.claim)
        since = covered.as_of - self.lookback
        since = midnight(since - WEST) if self.spec.by_day else since
        return Read(WINDOWS, max(since, self.start), self.end, self.now, self.claim)

    def _may_go_on(self, cut_off: Read, covered: Coverage | None) -> bool:
        """Whether a read that was cut off is still of use, and its claim still right."""
        claim = cut_off.claim
        if cut_off.as_of > self.now or self.is_too_long_ago(claim) or claim.within(self.start, self.stop) is None:
            return False
        if cut_off.feed != UPDATES and cut_off.stop > self.end:
            return False
        if covered is None:
            return cut_off.feed == WINDOWS and cut_off.begin <= claim.start
        if cut_off.feed == GAP:
            return cut_off.stop == covered.start or cut_off.begin == covered.stop
        return cut_off.feed == self._following(covered).feed
