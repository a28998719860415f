"""Sinks: the rows of one stream each, checked and mapped to posts, or kept to look up names in."""

from __future__ import annotations

import abc
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from singer_sdk import Sink
from singer_sdk.contrib.msgspec import decoder, encoder
from singer_sdk.exceptions import MissingKeyPropertiesError
from typing_extensions import override

from target_harkster.delivery.parcel import Lane, Parcel
from target_harkster.layout.errors import RowError
from target_harkster.layout.lookup import key_column, lookup_key
from target_harkster.layout.schemas import checks, faults
from target_harkster.ledger.digests import DigestRow
from target_harkster.ledger.lookups import LookupRow
from target_harkster.ledger.model import UNVERSIONED
from target_harkster.ledger.rejects import Reject
from target_harkster.ledger.store import Phase
from target_harkster.vendor.posts import marker_of, stream_marker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from singer_sdk import Target
    from singer_sdk.sinks.core import BaseJSONSchemaValidator

    from target_harkster.delivery.parcel import Refused
    from target_harkster.ledger.rejects import Kind
    from target_harkster.run import Run
    from target_harkster.vendor.client import Channel
    from target_harkster.vendor.posts import Content


_ADDED_COLUMNS = frozenset(
    {
        "_sdc_extracted_at",
        "_sdc_received_at",
        "_sdc_batched_at",
        "_sdc_deleted_at",
        "_sdc_sequence",
        "_sdc_table_version",
        "_sdc_sync_started_at",
    }
)
"""What other plugins of a pipeline may add to a row."""


def _strip(record: dict[str, Any]) -> bool:
    """Leave out what changes from run to run, while the row does not; whether the row is said to be gone."""
    is_gone = record.get("_sdc_deleted_at") is not None
    for column in _ADDED_COLUMNS.intersection(record):
        del record[column]
    return is_gone


class RowSink(Sink):
    """What all sinks have in common: the target hands them the rows one by one, however they came.

    Args:
        run: The run.
        target: As the SDK makes sinks, and so on.
    """

    def __init__(
        self,
        run: Run,
        target: Target,
        stream_name: str,
        schema: dict[str, Any],
        key_properties: Sequence[str] | None,
    ) -> None:
        super().__init__(target, stream_name, schema, key_properties)
        self._run = run

    @abc.abstractmethod
    def take(self, record: dict[str, Any], version: int | None) -> None:
        """Take a row.

        Args:
            record: The row.
            version: Of the table that the row is in.
        """

    @property
    def places(self) -> list[tuple[str, str]]:
        """The stream with each of its channels."""
        return []

    def retry(self, reject: Reject, refused: Refused) -> None:
        """Try a row again that an earlier run rejected.

        Args:
            reject: The row.
            refused: Called with the field and the reason, should it fail again.
        """

    def digest(self) -> dict[tuple[str, str], tuple[str, bool]]:
        """Post the groups whose rows have changed.

        Returns:
            By channel and marker, the keys of those that are done with, and whether nothing more is waited for, such as
            a name that has not come. What is refused when it is delivered is taken out again.
        """
        return {}

    # How the SDK would hand rows over

    @override
    def get_validator(self) -> BaseJSONSchemaValidator | None:
        return None  # rows are validated in take(), by a compiled validator

    @override
    def process_record(self, record: dict[str, Any], context: dict[str, Any]) -> None:
        self.take(record, None)

    @override
    def process_batch(self, context: dict[str, Any]) -> None:
        for record in context.get("records", ()):
            self.take(record, None)


@dataclass(slots=True)
class RowParcel(Parcel):
    """A row on its way to become a post.

    Attributes:
        sink: What makes the post.
        record: The row.
        retried: Told of the field and the reason if it fails again, where an earlier run has rejected it.
    """

    sink: HarksterSink
    record: dict[str, Any]
    retried: Refused | None

    @override
    def row(self) -> bytes:
        return encoder.encode(self.record)

    @override
    def content(self) -> Content:
        return self.sink.content(self)

    @override
    def is_wanted(self) -> bool:
        return self.sink.is_wanted(self)

    @override
    def refuse(self, field: str | None, reason: str) -> None:
        if self.retried is None:
            self.sink.reject(self.record, self.key, self.version, field, reason)
        else:
            self.retried(field, reason)


@dataclass(slots=True)
class DigestParcel(Parcel):
    """A digest on its way to become a post.

    Attributes:
        rows: Those of the group.
        made: What it shows.
        refused: Told of the field and the reason, should it come to no post.
    """

    rows: list[dict[str, Any]]
    made: Content
    refused: Refused

    @override
    def row(self) -> bytes:
        return encoder.encode(self.rows)

    @override
    def content(self) -> Content:
        return self.made

    @override
    def refuse(self, field: str | None, reason: str) -> None:
        self.refused(field, reason)


class HarksterSink(RowSink):
    """Takes the rows of a stream. The posts that they come to are the run's: channels are shared by streams."""

    def __init__(
        self,
        run: Run,
        target: Target,
        stream_name: str,
        schema: dict[str, Any],
        key_properties: Sequence[str] | None,
    ) -> None:
        super().__init__(run, target, stream_name, schema, key_properties)
        self._prefix = stream_marker(stream_name)
        self._checks, unknown = checks(schema) if self.validate_schema else ([], [])
        if unknown:
            self.logger.warning(
                "%s: no draft of JSON schema allows what the SCHEMA says of %s: it is not used to check their values.",
                stream_name,
                ", ".join(unknown),
            )
        route = run.route(stream_name)
        self._channel_column = route.column
        self._channels = route.channels
        self._channel_ids = tuple(channel.id for channel in route.channels.values())
        self._layout = run.layout(stream_name, schema, self._key_properties, route)
        if self._layout.group_by:
            run.ledger.digests.keep_schema(stream_name, self._channel_ids, schema, self._key_properties)
        # What a digest is known by may read like what a row is known by.
        self._kinds: tuple[Kind, ...] = ("row", "stray") if self._layout.group_by else ("row", "stray", "post")
        self._presence = run.mirror.presence(
            stream_name, self._prefix, self._channel_ids, is_mirrored=self._layout.mode == "mirror"
        )
        self._lanes: dict[str, Lane] = {}

    @property
    @override
    def places(self) -> list[tuple[str, str]]:
        return [(self.stream_name, channel) for channel in self._channel_ids]

    @override
    def take(self, record: dict[str, Any], version: int | None) -> None:
        is_gone = not _ADDED_COLUMNS.isdisjoint(record) and _strip(record)
        for column in self._key_properties:
            if column not in record:
                raise MissingKeyPropertiesError(
                    f"A record of {self.stream_name} lacks {column}, which its SCHEMA names as a part of the key."
                )
        version = UNVERSIONED if version is None else version
        key: str | None = None
        try:
            key = self._layout.own_key_of(record)
            marker = marker_of(self._prefix, key)
            # That is durable before any STATE behind it: no older version is tried after a newer one was posted.
            self._run.rejects.came_again(self.stream_name, key, self._channel_ids, self._kinds)
            if is_gone:
                self._leave(key, marker)
                return
            self._presence.came(marker)
            self._post(record, key, marker, version)
        except RowError as error:
            if is_gone:
                return  # there is nothing of it
            if key is not None:
                self._run.outbox.settle(marker)  # what came before it counts as if it had come alone
                if self._layout.mode == "mirror":
                    # The row is there, whatever is wrong with it: its post is not one whose row is gone.
                    self._run.ledger.touch(self._channel_ids, [marker], version)
            self.reject(record, key, version, error.field, error.reason)

    @override
    def retry(self, reject: Reject, refused: Refused) -> None:
        record = dict(reject.record or {})
        try:
            if reject.kind == "row" and self._channel(record).id != reject.channel:
                refused(self._channel_column, "names another channel now; it is posted when its tap sends it again")
                return
            key = self._layout.own_key_of(record)
            marker = marker_of(self._prefix, key)
            posted = marker_of(self._prefix, self._layout.key_of(record))
            if not self._run.previous.is_as_known(self._channel(record).id, posted):
                refused(None, "has a post that was changed since, by people or by a run that this ledger does not know")
                return
            self._post(record, key, marker, reject.version, refused, reject.first_run)
        except RowError as error:
            refused(error.field, error.reason)

    def _leave(self, key: str, marker: str) -> None:
        """Note that a row is gone: it is posted no more, and its post goes where posts go with their rows."""
        self._run.outbox.drop(self.stream_name, marker, "gone")
        self._presence.left(None if self._layout.group_by else marker)
        if self._layout.group_by:
            nowhere = self._channel_ids[0]
            self._run.outbox.add_row(DigestRow(self.stream_name, self._channel_ids, nowhere, "", "", key, None))

    def _post(  # noqa: PLR0913, PLR0917 - what makes a post
        self,
        record: dict[str, Any],
        key: str,
        marker: str,
        version: int,
        retried: Refused | None = None,
        first_run: str = "publish",
    ) -> None:
        for check in self._checks:
            if not check.is_valid(record):
                for path, keyword in faults(self._checks, record):
                    raise RowError(path, f"does not hold to the {keyword} of its SCHEMA")
        encoded = encoder.encode(record)
        channel = self._channel(record)
        layout, run = self._layout, self._run
        if layout.group_by:
            group = layout.key_of(record)
            at = marker_of(self._prefix, group)
            run.outbox.add_row(DigestRow(self.stream_name, self._channel_ids, channel.id, at, group, key, encoded))
            return
        lane = self._lanes.get(channel.id) or self._lane(channel)
        if first_run != "publish" and lane.first_run == "publish":
            lane = replace(lane, first_run=first_run)
        parcel = RowParcel(lane, key, marker, layout.source_of(encoded), version, self, record, retried)
        if layout.is_conditional and layout.mode == "mirror" and not self.is_wanted(parcel):
            run.outbox.drop(self.stream_name, marker, "left out")
            self._presence.left(marker)  # its post goes, as if its row were gone
            return
        run.outbox.add(parcel)
        if layout.uses_previous:
            run.outbox.flush()  # it may be the one before the next

    def _lane(self, channel: Channel) -> Lane:
        lane = self._lanes.get(channel.id)
        if lane is None:
            others = () if self._layout.group_by else tuple(one for one in self._channel_ids if one != channel.id)
            lane = self._lanes[channel.id] = Lane(
                self.stream_name,
                channel.id,
                self._layout.mode,
                self._run.channels.first_run(self.stream_name, channel),
                self._run.channels.is_first(self.stream_name, channel),
                others,
                self._layout.is_conditional and not self._layout.group_by,
            )
        return lane

    def content(self, parcel: RowParcel) -> Content:
        """What a row comes to."""
        return self._layout.content(self._context(parcel))

    def is_wanted(self, parcel: RowParcel) -> bool:
        """Whether a row is to become a post."""
        return self._layout.is_wanted(self._context(parcel), self._run.now)

    def _context(self, parcel: RowParcel) -> Mapping[str, Any]:
        return self._layout.context(parcel.record, self._previous(parcel.lane.channel, parcel.marker, parcel.key))

    def _previous(self, channel: str, marker: str, key: str) -> Mapping[str, Any] | None:
        return self._run.previous.fields(self._layout, channel, marker, key) if self._layout.uses_previous else None

    @override
    def digest(self) -> dict[tuple[str, str], tuple[str, bool]]:
        done: dict[tuple[str, str], tuple[str, bool]] = {}
        changed = self._run.ledger.digests.changed(self.stream_name) if self._layout.group_by else ()
        for channel_id, marker, key in changed:
            channel = self._run.channels.opened.get(channel_id)
            if channel is not None:  # or else the settings have gone over to another one
                self._digest(channel, marker, key, done)
        return done

    def _digest(self, channel: Channel, marker: str, key: str, done: dict[tuple[str, str], tuple[str, bool]]) -> None:
        layout, ledger, at = self._layout, self._run.ledger, (channel.id, marker)
        rows = [decoder.decode(row) for row in ledger.digests.rows(*at)]
        entry = ledger.find(channel.id, [marker]).get(marker)
        is_known = entry is not None and entry.phase not in {Phase.BASELINE, Phase.DELETED}
        if not rows and not is_known:
            ledger.digests.shown(*at)  # all its rows have moved on before there was a post
            return

        def refused(field: str | None, reason: str) -> None:
            done.pop(at, None)
            reject = Reject(channel.id, self.stream_name, key, "post", field, reason, key_columns=layout.key)
            self._run.reject(replace(reject, schema=self.original_schema, key_properties=self._key_properties))

        group = dict(zip(layout.group_by, decoder.decode(key), strict=True))
        missed = ledger.lookups.missed
        try:
            context = layout.context_of_group(group, rows, self._previous(channel.id, marker, key))
            if not is_known and not layout.is_closed(context, self._run.now, ledger.digests.quiet_for(*at)):
                self._run.outbox.tally[self.stream_name]["open"] += 1
                return
            if not is_known and not layout.is_wanted(context, self._run.now):
                self._run.outbox.tally[self.stream_name]["left out"] += 1
                done[at] = key, True
                return
            content = layout.content(context)
        except RowError as error:
            refused(error.field, error.reason)
            return
        done[at] = key, ledger.lookups.missed == missed
        lane = self._lane(channel)
        self._run.outbox.add(DigestParcel(lane, key, marker, content.hash, UNVERSIONED, rows, content, refused))
        if layout.uses_previous:
            self._run.outbox.flush()  # it may be the one before the next

    @override
    def activate_version(self, new_version: int) -> None:
        self._presence.announce(new_version)

    def reject(self, record: dict[str, Any], key: str | None, version: int, field: str | None, reason: str) -> None:
        """Set a row aside."""
        channel, kind = self._place(record)
        self._run.reject(
            Reject(
                channel.id,
                self.stream_name,
                key,
                kind,
                field,
                reason,
                record,
                schema=self.original_schema,
                key_properties=self._key_properties,
                first_run=self._lane(channel).first_run,
                version=version,
                key_columns=self._layout.row_key,
            )
        )

    def _place(self, record: Mapping[str, Any]) -> tuple[Channel, Kind]:
        try:
            return self._channel(record), "row"
        except RowError:
            return next(iter(self._channels.values())), "stray"

    def _channel(self, record: Mapping[str, Any]) -> Channel:
        if self._channel_column is None:
            return self._channels[""]
        wanted = record.get(self._channel_column)
        channel = self._channels.get(wanted) if isinstance(wanted, str) and wanted else None
        if channel is None:
            raise RowError(self._channel_column, "is no channel that the settings allow")
        return channel


class LookupSink(RowSink):
    """Keeps the rows of a stream for others, which look up names in them. None of them is posted."""

    def __init__(
        self,
        run: Run,
        target: Target,
        stream_name: str,
        schema: dict[str, Any],
        key_properties: Sequence[str] | None,
    ) -> None:
        super().__init__(run, target, stream_name, schema, key_properties)
        self._key = key_column(stream_name, target.config["streams"][stream_name], self._key_properties)
        self._is_warned = False
        run.lookup.columns[stream_name] = frozenset(schema["properties"])

    @override
    def take(self, record: dict[str, Any], version: int | None) -> None:
        """Keep a row. One that is gone at its source still gives the name of what is left."""
        _strip(record)
        if record.get(self._key) is None:
            if not self._is_warned:
                self.logger.warning("%s: rows without %s cannot be looked up.", self.stream_name, self._key)
            self._is_warned = True
            return
        key = lookup_key(record[self._key])
        self._run.outbox.add_row(LookupRow(self.stream_name, key, encoder.encode(record)))

    @override
    def activate_version(self, new_version: int) -> None:
        pass  # what is gone at its source still has its name
