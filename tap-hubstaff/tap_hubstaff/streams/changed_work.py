"""Which work was changed, as the updates of activities tell it.

``daily_activities`` and ``time_sessions`` are made of activities: they read again what was changed. Where the stream
``activities`` reads its updates anyway, they are listened to; otherwise they are asked for, once for both.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import msgspec
from singer_http.http.errors import MalformedAnswerError
from singer_http.reading.reader import Reader

from tap_hubstaff.times import parse_iso
from tap_hubstaff.windows.coverage import UPDATES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from singer_http.reading.pages import Page

    from tap_hubstaff.streams.window_stream import WindowSlice, WindowStream
    from tap_hubstaff.tap import TapHubstaff

QUARTER = 6 * 60 * 60
"""To a quarter of a day the times of changed work are told apart, and not to a slot."""


@dataclass(frozen=True, slots=True)
class ChangedWork:
    """The work of an organization that was changed within a stretch of time.

    Attributes:
        since: The beginning of the stretch.
        stop: Its end.
        slots: The earliest time slot of changed work, by quarter of a day (its beginning) and user; seconds since 1970.
        days: The organization's days of changed work, each with the user.
    """

    since: dt.datetime
    stop: dt.datetime
    slots: dict[tuple[int, int], int] = field(default_factory=dict)
    days: set[tuple[dt.date, int]] = field(default_factory=set)

    def add(self, page: Page) -> None:
        """Take note of a page of updates.

        Raises:
            MalformedAnswerError: An update does not tell whose work it is of, and when that was.
        """
        try:
            for row in _decode(page.records):
                slot = int(parse_iso(row.time_slot).timestamp())
                place = slot - slot % QUARTER, row.user_id
                self.slots[place] = min(slot, self.slots.get(place, slot))
                self.days.add((dt.date.fromisoformat(row.date), row.user_id))
        except (msgspec.DecodeError, ValueError):
            raise MalformedAnswerError(
                "An update of an activity came without its user, its date or its time slot."
            ) from None


class WorkUpdates:
    """What the updates of activities tell in one run.

    Args:
        tap: The tap, whose stream ``activities`` knows how they are asked for.
    """

    def __init__(self, tap: TapHubstaff) -> None:
        self._tap = tap
        self._found: dict[int, ChangedWork] = {}

    def listen(self, slice_: WindowSlice, pages: Iterator[Page]) -> Iterator[Page]:
        """The pages of activities as they go by, those of updates taken note of."""
        if slice_.feed.name != UPDATES or slice_.start is not None:
            yield from pages
            return
        found = ChangedWork(slice_.plan.start, slice_.plan.stop)
        for page in pages:
            yield page
            found.add(page)
        self._found[_organization(slice_.partition)] = found

    def since(self, partition: Mapping[str, Any] | None, moment: dt.datetime) -> ChangedWork:
        """What was changed since a moment, and may be some of before.

        Args:
            partition: The organization.
            moment: No earlier than the vendor's list of updates reaches.

        Raises:
            ApiError: The updates could not be read.
        """
        found = self._found.get(_organization(partition))
        if found is None or found.since > moment:
            activities = cast("WindowStream", self._tap.streams["activities"])
            found = ChangedWork(moment, self._tap.began.replace(microsecond=0))
            if activities.updates is not None:
                updates = activities.windows(partition, activities.updates, found.since, found.stop)
                with Reader(self._tap.session, [updates]) as reader:
                    for _, pages in reader:
                        for page in pages:
                            found.add(page)
            self._found[_organization(partition)] = found
        return found


def _organization(partition: Mapping[str, Any] | None) -> int:
    return cast("int", cast("dict[str, Any]", partition)["organization_id"])


class _Update(msgspec.Struct):
    user_id: int
    time_slot: str
    date: str


_decode = msgspec.json.Decoder(list[_Update]).decode
