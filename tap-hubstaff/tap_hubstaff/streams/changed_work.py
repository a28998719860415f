"""Which work was changed: the updates of activities tell it.

``daily_activities`` and ``time_sessions`` are made of activities, and read again what was changed. If the stream
``activities`` reads its updates anyway, they are taken from there; else they are read once for both.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
from singer_http.http.errors import MalformedAnswerError

from tap_hubstaff.account import organization_of
from tap_hubstaff.times import parse_iso
from tap_hubstaff.windows.window_resume import UPDATES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from singer_http.reading.pages import Page

    from tap_hubstaff.account import Account
    from tap_hubstaff.streams.window_base import WindowStream
    from tap_hubstaff.streams.window_slice import WindowSlice

QUARTER = 6 * 60 * 60
"""Changed work is counted by quarters of a day, in seconds, instead of by slots."""


@dataclass(frozen=True, slots=True)
class ChangedWork:
    """The work of an organization that was changed within a stretch of time.

    Attributes:
        since: The beginning of the stretch.
        stop: Its end.
        slots: The earliest time slot of changed work, by the beginning of its quarter of a day and by user, in seconds
            since 1970.
        days: The organization's days of changed work, each with its user.
    """

    since: dt.datetime
    stop: dt.datetime
    slots: dict[tuple[int, int], int] = field(default_factory=dict)
    days: set[tuple[dt.date, int]] = field(default_factory=set)

    def add(self, page: Page) -> None:
        """Take note of a page of updates.

        Raises:
            MalformedAnswerError: An update does not tell whose work changed, and when it was.
        """
        try:
            for row in _decode(page.records):
                slot = int(parse_iso(row.time_slot).timestamp())
                place = slot - slot % QUARTER, row.user_id
                self.slots[place] = min(slot, self.slots.get(place, slot))
                self.days.add((dt.date.fromisoformat(row.date), row.user_id))
        except (msgspec.DecodeError, ValueError):
            raise MalformedAnswerError(
                "An update of an activity came without its user, its date or its time slot: tell Hubstaff's support."
            ) from None


class WorkUpdates:
    """The updates of activities in one run.

    Args:
        account: Tells when the run began.
        activities: The stream that reads them.
        derived: The streams that are made of activities, in the order in which they are read.
    """

    def __init__(self, account: Account, activities: WindowStream, derived: Sequence[WindowStream]) -> None:
        self._account = account
        self._activities = activities
        self._readers = (activities, *derived)
        self._found: dict[int, ChangedWork] = {}

    def is_asked_by(self, stream: WindowStream) -> bool:
        """Whether this stream has to read the updates, because none before it does."""
        return not any(each.selected for each in self._readers[: self._readers.index(stream)])

    def listen(self, slice_: WindowSlice, pages: Iterator[Page]) -> Iterator[Page]:
        """Pass on the pages of activities, and take note of those of updates."""
        if slice_.feed.name != UPDATES or slice_.start is not None:
            yield from pages
            return
        found = ChangedWork(slice_.plan.start, slice_.plan.stop)
        is_clear = True
        for page in pages:
            yield page
            try:
                found.add(page)
            except MalformedAnswerError:  # who needs them asks again, and fails alone
                is_clear = False
        if is_clear:
            self._found[organization_of(slice_.partition)] = found

    def since(self, partition: Mapping[str, Any] | None, moment: dt.datetime) -> ChangedWork:
        """What was changed since a moment, or since a little earlier.

        Args:
            partition: The organization.
            moment: No earlier than the vendor's list of updates reaches.

        Raises:
            ApiError: The updates could not be read.
        """
        organization, updates = organization_of(partition), self._activities.updates
        found = self._found.get(organization)
        if found is None or found.since > moment:
            found = ChangedWork(moment, self._account.began.replace(microsecond=0))
            if updates is not None:
                slice_ = self._activities.window_slice(partition, updates, found.since, found.stop)
                for page in self._activities.read_now(slice_):
                    found.add(page)
            self._found[organization] = found
        return found


class _Update(msgspec.Struct):
    user_id: int
    time_slot: str
    date: str


_decode = msgspec.json.Decoder(list[_Update], strict=False).decode
