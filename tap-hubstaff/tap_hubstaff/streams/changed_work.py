"""Which work was changed, as the updates of activities tell it.

``daily_activities`` and ``time_sessions`` are made of activities: they read again what was changed. Where the stream
``activities`` reads its updates anyway, they are listened to; otherwise they are asked for, once for both.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
from singer_http.http.errors import MalformedAnswerError

from tap_hubstaff.account import organization_of
from tap_hubstaff.times import parse_iso
from tap_hubstaff.windows.coverage import UPDATES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from singer_http.reading.pages import Page

    from tap_hubstaff.account import Account
    from tap_hubstaff.streams.window_slice import WindowSlice
    from tap_hubstaff.streams.window_stream import WindowStream

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
        account: Tells when the run began.
        activities: The stream, which knows how they are asked for.
        followers: The streams that are told of them, in the order in which they are read.
    """

    def __init__(self, account: Account, activities: WindowStream, followers: Sequence[WindowStream]) -> None:
        self._account = account
        self._activities = activities
        self._readers = (activities, *followers)
        self._found: dict[int, ChangedWork] = {}

    def is_asked_by(self, stream: WindowStream) -> bool:
        """Whether no stream before this one reads the updates."""
        return not any(each.selected for each in self._readers[: self._readers.index(stream)])

    def listen(self, slice_: WindowSlice, pages: Iterator[Page]) -> Iterator[Page]:
        """The pages of activities as they go by, those of updates taken note of."""
        if slice_.feed.name != UPDATES or slice_.start is not None:
            yield from pages
            return
        found = ChangedWork(slice_.plan.start, slice_.plan.stop)
        for page in pages:
            yield page
            found.add(page)
        self._found[organization_of(slice_.partition)] = found

    def since(self, partition: Mapping[str, Any] | None, moment: dt.datetime) -> ChangedWork:
        """What was changed since a moment, and may be some of before.

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


_decode = msgspec.json.Decoder(list[_Update]).decode
