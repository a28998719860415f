"""The sink of digests: keeps rows in groups, and makes a post of each group."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from singer_sdk.contrib.msgspec import decoder
from typing_extensions import override

from target_harkster.delivery.parcel import LEFT_OUT, Lane, Parcel
from target_harkster.layout.errors import RowError
from target_harkster.ledger.digests import DigestRow
from target_harkster.ledger.model import UNVERSIONED
from target_harkster.ledger.phases import Phase
from target_harkster.ledger.rejects import Reject
from target_harkster.sinks import HarksterSink

if TYPE_CHECKING:
    from target_harkster.delivery.parcel import Refused
    from target_harkster.ledger.rejects import Kind
    from target_harkster.run import Run
    from target_harkster.vendor.client import Channel


class DigestSink(HarksterSink):
    """Makes a post of each group of rows. The rows stay in the ledger, as later ones change the post."""

    # The key of a digest may look like the key of a row.
    _kinds: ClassVar[tuple[Kind, ...]] = ("row", "stray")

    def __init__(self, run: Run, **sdk: Any) -> None:
        super().__init__(run, **sdk)
        run.ledger.digests.keep_schema(self.stream_name, self._channel_ids, self.schema, self._key_properties)

    @override
    def _withdraw(self, key: str, marker: str) -> None:
        self._run.queue.drop(self.stream_name, marker, "gone")
        self._presence.left(None)
        self._keep(self._channel_ids[0], "", "", key, None)

    @override
    def _post(
        self,
        record: dict[str, Any],
        key: str,
        marker: str,
        version: int,
        refused: Refused | None = None,
        first_run: str = "publish",
    ) -> None:
        encoded, channel = self._checked(record, key)
        layout, run = self._layout, self._run
        group, group_marker = self._known_as(layout.key_of(record))
        if layout.is_conditional and not layout.is_wanted(layout.context(record), run.clock.time()):
            run.queue.tally[self.stream_name]["left out"] += 1
            self._keep(channel.id, "", "", key, None)
            if refused is not None:
                refused(None, LEFT_OUT)
            return
        self._keep(channel.id, group_marker, group, key, encoded)

    def _keep(self, channel: str, marker: str, group: str, key: str, record: bytes | None) -> None:
        self._run.queue.add_row(DigestRow(self.stream_name, self._channel_ids, channel, marker, group, key, record))

    @override
    def _lane(self, channel: Channel) -> Lane:
        return replace(super()._lane(channel), others=(), former=(), is_conditional=False)

    @override
    def digest(self) -> dict[tuple[str, str], tuple[str, bool]]:
        done: dict[tuple[str, str], tuple[str, bool]] = {}
        changed = self._run.ledger.digests.changed(self.stream_name)
        if self._layout.uses_previous:  # so the post before is there first
            changed.sort(key=lambda group: (self._layout.place(group[2]) or ())[1:])
        for channel_id, marker, key in changed:
            channel = self._run.channels.opened.get(channel_id)
            if channel is not None:  # otherwise the settings name another one now
                self._digest(channel, marker, key, done)
        return done

    def _digest(self, channel: Channel, marker: str, key: str, done: dict[tuple[str, str], tuple[str, bool]]) -> None:
        layout, ledger, at = self._layout, self._run.ledger, (channel.id, marker)
        rows = [decoder.decode(row) for row in ledger.digests.rows(*at)]
        entry = ledger.find(channel.id, [marker]).get(marker)
        is_known = entry is not None and entry.phase not in {Phase.BASELINE, Phase.DELETED}
        if not rows and (entry is None or not is_known or entry.waits):
            if entry is not None and entry.waits:
                self._run.courier.remove(channel, entry)
            ledger.digests.shown(*at)  # its rows left before people saw a post
            return

        def refused(field: str | None, reason: str) -> None:
            done.pop(at, None)
            reject = Reject(channel.id, self.stream_name, key, "post", field, reason, key_columns=layout.key)
            self._run.reject(replace(reject, schema=self.original_schema, key_properties=self._key_properties))

        group = layout.group_of(key, rows)
        missed = ledger.lookups.missed
        try:
            context = layout.context_of_group(group, rows, self._previous(channel.id, marker, key))
            if not is_known and not layout.is_closed(context, self._run.clock.time(), ledger.digests.quiet_for(*at)):
                self._run.queue.tally[self.stream_name]["open"] += 1
                return
            content = layout.content(context)
        except RowError as error:
            refused(error.field, error.reason)
            return
        done[at] = key, ledger.lookups.missed == missed
        lane = self._lane(channel)
        if entry is not None and entry.waits:
            lane = replace(lane, mode="upsert")  # nobody has seen it, so it shows the rows that are there
        self._run.queue.add(Parcel(lane, key, marker, content.hash, UNVERSIONED, self, rows, content, refused))
        if layout.uses_previous:
            self._run.queue.flush()  # the next post may need it as the post before
