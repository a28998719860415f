"""A sink: the rows of one stream, checked and mapped to posts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_sdk import Sink
from singer_sdk.contrib.msgspec import decoder, encoder
from singer_sdk.exceptions import MissingKeyPropertiesError
from typing_extensions import override

from target_harkster.delivery.outbox import Parcel
from target_harkster.layout.errors import RowError
from target_harkster.layout.schemas import checks, faults
from target_harkster.ledger.digests import DigestRow
from target_harkster.ledger.rejects import Reject
from target_harkster.vendor.posts import marker_of, stream_marker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from singer_sdk import Target
    from singer_sdk.sinks.core import BaseJSONSchemaValidator

    from target_harkster.delivery.outbox import Refused
    from target_harkster.run import Run
    from target_harkster.vendor.client import Channel


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


class HarksterSink(Sink):
    """Takes the rows of a stream. The posts that they come to are the target's: channels are shared by streams."""

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

    @property
    def places(self) -> list[tuple[str, str]]:
        """The stream with each of its channels."""
        return [(self.stream_name, channel) for channel in self._channel_ids]

    @override
    def get_validator(self) -> BaseJSONSchemaValidator | None:
        return None  # rows are validated in take(), by a compiled validator

    def take(self, record: dict[str, Any], version: int | None) -> None:
        """Make a post of a row, or a reject.

        Args:
            record: The row.
            version: Of the table that the row is in.

        Raises:
            MissingKeyPropertiesError: The row lacks a part of its key altogether.
        """
        for column in _ADDED_COLUMNS.intersection(record):
            del record[column]  # it changes from run to run, and the row does not
        for column in self._key_properties:
            if column not in record:
                raise MissingKeyPropertiesError(
                    f"A record of {self.stream_name} lacks {column}, which its SCHEMA names as a part of the key."
                )
        key: str | None = None
        try:
            key = self._layout.own_key_of(record)
            self._run.retries.came_again(self.stream_name, key)
            self._post(record, key, version, lambda field, reason: self.reject(key, field, reason, record))
        except RowError as error:
            if key is not None and version is not None and self._layout.mode == "mirror":
                # The row is there, whatever is wrong with it: its post is not one whose row is gone.
                self._run.ledger.touch(self._channel_ids, [marker_of(self._prefix, key)], version)
            self.reject(key, error.field, error.reason, record)

    def retry(self, reject: Reject, refused: Refused) -> None:
        """Try a row again that an earlier run rejected.

        Args:
            reject: The row.
            refused: Called with the field and the reason, should it fail again.
        """
        record = dict(reject.record or {})
        try:
            self._post(record, self._layout.own_key_of(record), None, refused)
        except RowError as error:
            refused(error.field, error.reason)

    def _post(self, record: dict[str, Any], own_key: str, version: int | None, refused: Refused) -> None:
        key = self._layout.key_of(record) if self._layout.group_by else own_key
        self._check(record)
        encoded = encoder.encode(record)
        channel = self._channel(record)
        marker = marker_of(self._prefix, key)
        if self._layout.group_by:
            self._run.outbox.add_row(
                DigestRow(self.stream_name, self._channel_ids, channel.id, marker, key, own_key, encoded)
            )
            return
        self._run.outbox.add(
            Parcel(
                stream=self.stream_name,
                channel=channel.id,
                key=key,
                marker=marker,
                source=self._layout.source_of(encoded),
                content=lambda: self._layout.content(record),
                mode=self._layout.mode,
                refused=refused,
                first_run=self._run.channels.first_run(self.stream_name, channel),
                version=version,
            )
        )

    def digest(self) -> dict[tuple[str, str], str]:
        """Post the groups whose rows have changed.

        Returns:
            By channel and marker, the keys of those that were mapped; what is refused when it is delivered is taken
            out again.
        """
        posted: dict[tuple[str, str], str] = {}
        digests = self._run.ledger.digests
        for channel_id, marker, key in digests.changed(self.stream_name) if self._layout.group_by else ():
            channel = self._run.channels.opened.get(channel_id)
            if channel is None:
                continue  # the settings have gone over to another channel
            rows = [decoder.decode(row) for row in digests.rows(channel_id, marker)]
            if not rows and not self._run.ledger.find(channel_id, [marker]):
                digests.shown(channel_id, marker)  # all its rows have moved on before there was a post
                continue

            def refused(
                field: str | None, reason: str, key: str = key, at: tuple[str, str] = (channel_id, marker)
            ) -> None:
                posted.pop(at, None)
                self.reject(key, field, reason, None)

            group = dict(zip(self._layout.group_by, decoder.decode(key), strict=True))
            try:
                content = self._layout.digest(group, rows)
            except RowError as error:
                refused(error.field, error.reason)
                continue
            posted[channel_id, marker] = key
            self._run.outbox.add(
                Parcel(
                    stream=self.stream_name,
                    channel=channel_id,
                    key=key,
                    marker=marker,
                    source=content.hash,
                    content=lambda content=content: content,  # type: ignore[misc]
                    mode=self._layout.mode,
                    refused=refused,
                    first_run=self._run.channels.first_run(self.stream_name, channel),
                )
            )
        return posted

    @override
    def activate_version(self, new_version: int) -> None:
        if self._layout.mode == "mirror":
            self._run.outbox.flush()
            # Also those that were adopted and of which no row has come.
            self._run.ledger.claim(self.stream_name, self._prefix)
            self._run.mirror.remove_gone(self.stream_name, new_version)

    def reject(self, key: str | None, field: str | None, reason: str, record: Mapping[str, Any] | None) -> None:
        """Set a row aside."""
        schema, keys = self.original_schema, self._key_properties
        self._run.reject(Reject(self.stream_name, key, field, reason, record, schema=schema, key_properties=keys))

    def _channel(self, record: Mapping[str, Any]) -> Channel:
        if self._channel_column is None:
            return self._channels[""]
        wanted = record.get(self._channel_column)
        channel = self._channels.get(wanted) if isinstance(wanted, str) and wanted else None
        if channel is None:
            raise RowError(self._channel_column, "is no channel that the settings allow")
        return channel

    def _check(self, record: Mapping[str, Any]) -> None:
        for path, keyword in faults(self._checks, record):
            raise RowError(path, f"does not hold to the {keyword} of its SCHEMA")

    # The SDK's own way of batches

    @override
    def process_record(self, record: dict[str, Any], context: dict[str, Any]) -> None:
        self.take(record, None)

    @override
    def process_batch(self, context: dict[str, Any]) -> None:
        for record in context.get("records", ()):
            self.take(record, None)
