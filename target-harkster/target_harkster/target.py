"""The target: takes messages, makes posts, and acknowledges a STATE once everything before it is durable."""

from __future__ import annotations

import contextlib
import functools
import signal
import sys
from typing import IO, TYPE_CHECKING, Any, ClassVar, cast

from singer_http.checked_settings import SQLITE_BESIDE, CheckedSettings, file_errors, url_errors
from singer_http.http.clock import Clock, Stopped
from singer_http.http.errors import ApiError, ConfigurationError
from singer_http.messages import map_failure
from singer_http.operator_errors import exit_on_operator_error
from singer_http.output import Stdout
from singer_sdk import Target
from singer_sdk.exceptions import RecordsWithoutSchemaException
from singer_sdk.helpers.capabilities import CapabilitiesEnum, PluginCapabilities
from singer_sdk.mapper import SameRecordTransform
from typing_extensions import override

from target_harkster.delivery.channels import Channels
from target_harkster.digest_sink import DigestSink
from target_harkster.layout.expressions import Expressions
from target_harkster.layout.stream_settings import check_stream
from target_harkster.ledger.database import LedgerError, ledger_file
from target_harkster.messages import BAD_INPUT, MessageReader, batch_rows, check_shape
from target_harkster.report.summary import tell_quota
from target_harkster.run import Run
from target_harkster.settings import SETTINGS
from target_harkster.sinks import HarksterSink, LookupSink, RowSink

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Mapping
    from types import FrameType

    from singer_sdk import Sink


class TargetHarkster(CheckedSettings, Target):
    """Singer target that turns records into Harkster posts, each published once."""

    name = "target-harkster"
    config_jsonschema: ClassVar[dict[str, Any]] = SETTINGS
    default_sink_class = HarksterSink
    message_reader_class = MessageReader
    capabilities: ClassVar[list[CapabilitiesEnum]] = [*Target.capabilities, PluginCapabilities.BATCH]

    def __init__(self, *, clock: Clock | None = None, **kwargs: Any) -> None:
        self.clock: Clock = clock or Clock()
        self._signal: int | None = None
        self._stdout = Stdout()
        self._unmapped: dict[str, RowSink] = {}
        super().__init__(**kwargs)

    # Settings

    @override
    def setting_errors(self, config: Mapping[str, Any]) -> Iterator[str]:
        yield from url_errors("api_url", config["api_url"])
        yield from self._file_errors(config)
        try:
            expressions = Expressions(config["locale"], lambda *_: None)
        except ConfigurationError as error:
            yield str(error)
            return
        for stream, settings in config["streams"].items():
            try:
                check_stream(stream, settings, expressions)
                if settings.get("mode") != "lookup":
                    Channels.wanted(stream, config)
            except ConfigurationError as error:
                yield str(error)

    @staticmethod
    def _file_errors(config: Mapping[str, Any]) -> Iterator[str]:
        """Say which files are no place for the ledger, or are meant for two things."""
        try:
            ledger = ledger_file(config["ledger_url"])
        except ConfigurationError as error:
            yield str(error)
            return
        files = {
            "ledger_url": (ledger, rf"{SQLITE_BESIDE}|\.[0-9a-f]{{16}}\.lock"),
            "reject_path": (config["reject_path"], r"\.new|\.lock"),
            "preview_path": (config.get("preview_path"), ""),
        }
        yield from file_errors({setting: (path, beside) for setting, (path, beside) in files.items() if path})

    @classmethod
    @override
    def append_builtin_config(cls, config_jsonschema: dict[str, Any]) -> None:
        super().append_builtin_config(config_jsonschema)
        for setting in ("add_record_metadata", "batch_config", "batch_size_rows", "load_method"):
            # They are for tables and for writing files, which this target does not do.
            config_jsonschema["properties"].pop(setting, None)

    # The run

    @functools.cached_property
    def run(self) -> Run:
        """The run, opened at its first use."""
        user_agent = self.config.get("user_agent") or f"{self.name}/{self.plugin_version}"
        return Run({**self.config, "user_agent": user_agent}, self.clock, self._stdout)

    @override
    def get_sink_class(self, stream_name: str) -> type[Sink]:
        settings = self.config["streams"].get(stream_name, {})
        kind: type[RowSink] = DigestSink if settings.get("group_by") else HarksterSink
        if settings.get("mode") == "lookup":
            kind = LookupSink
        # A final method of the SDK calls it like a class.
        return cast("type[Sink]", functools.partial(kind, self.run))

    @override  # type: ignore[misc]
    def process_lines(self, file_input: IO[Any] | None) -> Counter[str]:  # final in the SDK, and the only way around
        """Process messages. What is durable is acknowledged, however the run ends."""
        history = self.run.ledger.history
        with self._ended_well():
            history.begin()
            try:
                return super().process_lines(file_input)
            except BAD_INPUT:
                # The mistake is the tap's. What it sent before is still good, but is no whole first run.
                self.run.queue.flush()
                raise

    @override
    def process_endofpipe(self) -> None:
        with self._ended_well():
            came = self._sinks()
            self._take_up_digests()
            self.run.end(came, self._sinks())
        self.run.close()

    def retry(self) -> None:
        """Try rejected rows again without their taps. This ends no first run, and leaves it to the caller to close."""
        history = self.run.ledger.history
        with self._ended_well():
            history.begin()
            for reject in self.run.reject_retries.streams():
                self.get_sink(
                    reject.stream, schema=dict(reject.schema or {}), key_properties=list(reject.key_properties)
                )
            self.run.finish(self._sinks())
            tell_quota(self.run.channels, self.run.post_quota, self.run.ledger)
            self.run.note_end("complete")

    def _take_up_digests(self) -> None:
        """Open the sinks of digests that wait, for example for a name, and whose own tap is silent in this run."""
        for stream, (schema, key_properties) in self.run.ledger.digests.waiting().items():
            if stream not in self._sinks_active and self.config["streams"].get(stream, {}).get("group_by"):
                try:
                    self.get_sink(stream, schema=schema, key_properties=key_properties)
                except (ConfigurationError, LedgerError) as error:
                    self.logger.warning("%s: its digests wait for its own tap. %s", stream, error)

    def _sinks(self) -> dict[str, RowSink]:
        return {stream: self._sink(stream) for stream in self._sinks_active}

    def _sink(self, stream: str) -> RowSink:
        sink = self._sinks_active[stream]
        if not isinstance(sink, RowSink):
            raise TypeError(stream)
        return sink

    @contextlib.contextmanager
    def _ended_well(self) -> Iterator[None]:
        """End the run properly if it cannot go on, and the process by its signal if it was stopped."""
        try:
            yield
        except BaseException as error:
            self._end_run(error)
            raise

    def _end_run(self, error: BaseException) -> None:
        if self._signal is not None:
            self.logger.info("Stopping for signal %d.", self._signal)
        try:
            self.run.leave(error)
        except Stopped as stopped:  # nobody reads the last STATE
            error = stopped
        if isinstance(error, Stopped) or self._signal is not None:
            if isinstance(error, ApiError):  # for example a write that the signal ended
                self.logger.error("%s", error)
            sys.exit(128 + (self._signal or signal.SIGTERM))

    # Messages

    @override
    def _process_record_message(self, message_dict: dict[str, Any]) -> None:
        try:
            stream, record = message_dict["stream"], message_dict["record"]
        except KeyError:
            self._assert_line_requires(message_dict, requires={"stream", "record"})
            raise
        if not isinstance(record, dict) or not isinstance(stream, str):
            check_shape(message_dict)
        self._take(stream, record, message_dict.get("version"))

    def _take(self, stream: str, record: dict[str, Any], version: int | None) -> None:
        """Take a row, however it came."""
        sink = self._unmapped.get(stream)
        if sink is None and stream not in self.mapper.stream_maps:
            raise RecordsWithoutSchemaException(
                f"A record of {stream} came before its SCHEMA; the tap must send the SCHEMA first."
            )
        self.run.row_came(stream)
        if sink is not None:
            sink.take(record, version)
            return
        for stream_map in self.mapper.stream_maps[stream]:
            try:
                mapped = stream_map.transform(dict(record))
            except Exception as error:  # noqa: BLE001 - an expression may raise anything
                raise ConfigurationError(
                    f"stream_maps is not valid: an expression for {stream} fails on a row ({map_failure(error)})."
                ) from None
            if mapped is not None:
                self._sink(stream_map.stream_alias).take(mapped, version)

    @override
    def _process_batch_message(self, message_dict: dict[str, Any]) -> None:
        self._assert_line_requires(message_dict, requires={"stream", "encoding", "manifest"})
        check_shape(message_dict)
        for record in batch_rows(message_dict):
            self._take(message_dict["stream"], record, message_dict.get("version"))

    @override
    def _process_schema_message(self, message_dict: dict[str, Any]) -> None:
        self._assert_line_requires(message_dict, requires={"stream", "schema"})
        check_shape(message_dict)
        check_shape({"properties": message_dict["schema"].get("properties", {})})
        self.run.schema_came()
        super()._process_schema_message(message_dict)
        stream = message_dict["stream"]
        self._unmapped.pop(stream, None)
        match self.mapper.stream_maps[stream]:
            case [SameRecordTransform(flattening_enabled=False) as unchanged]:
                self._unmapped[stream] = self._sink(unchanged.stream_alias)

    @override
    def _process_state_message(self, message_dict: dict[str, Any]) -> None:
        self._assert_line_requires(message_dict, requires={"value"})
        self.run.state_came(message_dict["value"])

    @override
    def _process_activate_version_message(self, message_dict: dict[str, Any]) -> None:
        self._assert_line_requires(message_dict, requires={"stream", "version"})
        check_shape(message_dict)
        for stream_map in self.mapper.stream_maps.get(message_dict["stream"], ()):
            self._sink(stream_map.stream_alias).activate_version(message_dict["version"])

    @override
    def _handle_termination(self, signum: int, frame: FrameType | None) -> None:
        """Stop at the next safe point, or at once at the second signal.

        It may interrupt a line of the log, or whatever else cannot be entered twice: it only leaves a note.
        """
        self._signal = signum
        self.clock.stop()
        self._stdout.end(128 + signum)
        if isinstance(self.message_reader, MessageReader):
            self.message_reader.wake()

    # Command line

    @classmethod
    @override
    def invoke(cls, **kwargs: Any) -> None:
        with exit_on_operator_error(cls.logger):
            try:
                super().invoke(**kwargs)
            except BAD_INPUT as error:
                raise ApiError(str(error)) from None
