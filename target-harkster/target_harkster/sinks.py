"""The sinks: each takes the rows of one stream, and makes posts of them or keeps them for lookups."""

from __future__ import annotations

import abc
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from singer_sdk import Sink
from singer_sdk.contrib.msgspec import encoder
from typing_extensions import override

from target_harkster.delivery.parcel import Lane, Parcel
from target_harkster.delivery.previous_post import is_of_same_row
from target_harkster.layout.errors import RowError, UnclearKeyError
from target_harkster.layout.lookup_filter import key_column, lookup_key
from target_harkster.layout.schemas import checks, faults
from target_harkster.ledger.keys import spellings
from target_harkster.ledger.lookup_rows import LookupRow
from target_harkster.ledger.model import UNVERSIONED
from target_harkster.ledger.rejects import Reject
from target_harkster.vendor.posts import marker_of, stream_marker

if TYPE_CHECKING:
    from collections.abc import Mapping

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
"""Columns that other plugins of a pipeline may add."""


def _strip(record: dict[str, Any]) -> bool:
    """Drop the added columns, which change although the row does not. Returns whether the row is gone."""
    is_gone = record.get("_sdc_deleted_at") is not None
    for column in _ADDED_COLUMNS.intersection(record):
        del record[column]
    return is_gone


class RowSink(Sink):
    """The base of all sinks. The target hands them rows one by one, however they came."""

    def __init__(self, run: Run, **sdk: Any) -> None:
        super().__init__(**sdk)
        self._run = run

    @abc.abstractmethod
    def take(self, record: dict[str, Any], version: int | None) -> None:
        """Take a row."""

    @property
    def stream_channels(self) -> list[tuple[str, str]]:
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


class HarksterSink(RowSink):
    """Makes posts of the rows of a stream. Several streams may share a channel."""

    _kinds: ClassVar[tuple[Kind, ...]] = ("row", "stray", "post")
    """The kinds of rejects that a row replaces when it comes again."""

    def __init__(self, run: Run, **sdk: Any) -> None:
        super().__init__(run, **sdk)
        stream, schema = self.stream_name, self.schema
        self._prefix = stream_marker(stream)
        self._checks, unknown = checks(schema) if self.validate_schema else ([], [])
        if unknown:
            self.logger.warning(
                "%s: no draft of JSON schema allows what the SCHEMA says of %s: it is not used to check their values.",
                stream,
                ", ".join(unknown),
            )
        # What is wrong with it is said before anything is asked for, or is posted that waited.
        self._layout = run.layout(stream, schema, self._key_properties)
        route = run.channels.route(stream, run.config)
        run.channels.check_key_columns(stream, route.channels.values(), self._layout.key_columns)
        run.channels.open(stream, route.channels.values())
        self._channel_column = route.column
        self._channels = route.channels
        self._only_channel = route.channels.get("") if route.column is None else None
        self._channel_ids = tuple(channel.id for channel in route.channels.values())
        # A row whose column names its channel is in no other one; without it, other jobs may post it elsewhere.
        self._former = run.ledger.channels_of(stream).difference(self._channel_ids) if route.column else ()
        run.moves.resume(stream, self._channel_ids)
        self._old_markers = run.ledger.old_markers(self._prefix, self._channel_ids)
        self._presence = run.mirror.presence(stream, self._channel_ids, is_mirrored=self._layout.mode == "mirror")
        self._lanes: dict[str, Lane] = {}

    def _known_as(self, key: str) -> tuple[str, str]:
        """A key with its marker: as an earlier version made them, if they are there."""
        for spelling in reversed(spellings(key)) if self._old_markers else ():
            if (marker := marker_of(self._prefix, spelling)) in self._old_markers:
                return spelling, marker
        return key, marker_of(self._prefix, key)

    @property
    @override
    def stream_channels(self) -> list[tuple[str, str]]:
        return [(self.stream_name, channel) for channel in self._channel_ids]

    @override
    def take(self, record: dict[str, Any], version: int | None) -> None:
        is_gone = not _ADDED_COLUMNS.isdisjoint(record) and _strip(record)
        version = UNVERSIONED if version is None else version
        key: str | None = None
        try:
            key, marker = self._known_as(self._layout.own_key_of(record))
            # Durable before any STATE behind it, so that no older version is posted over a newer one.
            self._run.rejects.came_again(self.stream_name, key, self._channel_ids, self._kinds)
            if version != UNVERSIONED and not self._presence.has_rows:
                self._run.mirror.begin_table(self._presence)
            if is_gone:
                self._withdraw(key, marker)
                return
            self._presence.came(marker)
            self._post(record, key, marker, version)
        except RowError as error:
            if is_gone:
                return  # it has no post
            if key is not None:
                self._run.queue.deliver_earlier(marker)  # earlier versions count as if they had come alone
                if self._layout.mode == "mirror":
                    # The row is present, although it is wrong: its post stays.
                    self._run.ledger.touch(self._channel_ids, [marker], version)
            # Each row with an unclear key is kept.
            key = None if isinstance(error, UnclearKeyError) else key
            self._reject(record, key, version, error.field, error.reason)

    @override
    def retry(self, reject: Reject, refused: Refused) -> None:
        record = dict(reject.record or {})
        try:
            if reject.kind == "row" and self._channel(record).id != reject.channel:
                refused(self._channel_column, "names another channel now; it is posted when its tap sends it again")
                return
            key, marker = self._known_as(self._layout.own_key_of(record))
            _, posted = self._known_as(self._layout.key_of(record))
            if not self._run.previous.is_as_known(self._channel(record).id, posted):
                refused(None, "has a post that was changed since, by people or by a run that this ledger does not know")
                return
            self._post(record, key, marker, reject.version, refused, reject.first_run)
        except RowError as error:
            refused(error.field, error.reason)

    def _withdraw(self, key: str, marker: str) -> None:  # noqa: ARG002 - digests need the key
        """Note that a row is gone. It is not posted; in mode mirror its post is deleted."""
        self._run.queue.drop(self.stream_name, marker, "gone")
        self._presence.left(marker)

    def _post(  # noqa: PLR0913, PLR0917 - what makes a post
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
        lane = self._lanes.get(channel.id) or self._lane(channel)
        if first_run != "publish" and lane.first_run == "publish":
            lane = replace(lane, first_run=first_run)
        parcel = Parcel(lane, key, marker, layout.source_of(encoded), version, self, record, None, refused)
        if layout.is_conditional and layout.mode == "mirror" and not self.is_wanted(parcel):
            if refused is not None:
                parcel.leave_out()
                return  # its post goes when its row comes again
            run.queue.drop(self.stream_name, marker, "left out")
            self._presence.left(marker)  # its post goes, as if its row were gone
            return
        run.queue.add(parcel)
        if layout.uses_previous:
            run.queue.flush()  # the next post may need it as the post before

    def _checked(self, record: dict[str, Any], key: str) -> tuple[bytes, Channel]:
        """A row as JSON, and its channel."""
        if "\ufffd" in key and self._layout.row_key:
            raise UnclearKeyError
        for check in self._checks:
            if not check.is_valid(record):
                for path, keyword in faults(self._checks, record):
                    raise RowError(path, f"does not hold to the {keyword} of its SCHEMA")
        return encoder.encode(record), self._only_channel or self._channel(record)

    def _lane(self, channel: Channel) -> Lane:
        lane = self._lanes.get(channel.id)
        if lane is None:
            lane = self._lanes[channel.id] = Lane(
                self.stream_name,
                channel.id,
                self._layout.mode,
                self._run.channels.first_run(self.stream_name, channel),
                self._run.channels.is_first(self.stream_name, channel),
                tuple(one for one in self._channel_ids if one != channel.id),
                self._former,
                self._layout.is_conditional,
            )
        return lane

    def content(self, parcel: Parcel) -> Content:
        """The content of a row."""
        content = self._layout.content(self._context(parcel))
        if not self._layout.uses_previous or self._layout.previous_by is not None:
            return content
        shown = self._run.previous.found(parcel.lane.channel, parcel.marker)
        if shown is None:
            return content
        with contextlib.suppress(RowError):
            alone = self._layout.content(self._layout.context(parcel.record))
            return shown if is_of_same_row(shown, content, alone) else content
        return content

    def is_wanted(self, parcel: Parcel) -> bool:
        """Whether a row is to become a post."""
        return self._layout.is_wanted(self._context(parcel), self._run.clock.time())

    def _context(self, parcel: Parcel) -> Mapping[str, Any]:
        return self._layout.context(parcel.record, self._previous(parcel.lane.channel, parcel.marker, parcel.key))

    def _previous(self, channel: str, marker: str, key: str) -> Mapping[str, Any] | None:
        return self._run.previous.fields(self._layout, channel, marker, key) if self._layout.uses_previous else None

    @override
    def activate_version(self, new_version: int) -> None:
        self._presence.announce(new_version)

    def refuse(self, parcel: Parcel, field: str | None, reason: str) -> None:
        """Reject a row that came to no post."""
        self._reject(parcel.record, parcel.key, parcel.version, field, reason)

    def _reject(self, record: dict[str, Any], key: str | None, version: int, field: str | None, reason: str) -> None:
        """Reject a row."""
        channel, kind = self._channel_and_kind(record)
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

    def _channel_and_kind(self, record: Mapping[str, Any]) -> tuple[Channel, Kind]:
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
    """Keeps the rows of a stream for lookups. None of them is posted."""

    def __init__(self, run: Run, **sdk: Any) -> None:
        super().__init__(run, **sdk)
        stream, schema = self.stream_name, self.schema
        self._key = key_column(stream, run.config["streams"][stream], self._key_properties)
        self._is_warned = False
        run.lookup.columns[stream] = frozenset(schema["properties"])

    @override
    def take(self, record: dict[str, Any], version: int | None) -> None:
        """Keep a row. Even one that is gone at its source still gives a name."""
        _strip(record)
        if record.get(self._key) is None:
            if not self._is_warned:
                self.logger.warning("%s: rows without %s cannot be looked up.", self.stream_name, self._key)
            self._is_warned = True
            return
        key = lookup_key(record[self._key])
        self._run.queue.add_row(LookupRow(self.stream_name, key, encoder.encode(record)))

    @override
    def activate_version(self, new_version: int) -> None:
        pass  # rows that are gone still give names
