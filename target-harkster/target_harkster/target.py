"""The target: messages in, posts out, and a STATE only behind what is durable."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from typing import IO, TYPE_CHECKING, Any, ClassVar

from rich.console import Console
from singer_http.http.clock import Clock, Stopped, SystemClock
from singer_http.http.errors import ApiError, ConfigurationError, IncompleteError
from singer_http.settings import setting_sentence, spoken, url_errors
from singer_sdk import Target
from singer_sdk.contrib.msgspec import encoder
from singer_sdk.exceptions import (
    ConfigValidationError,
    InvalidJSONSchema,
    MissingKeyPropertiesError,
    RecordsWithoutSchemaException,
)
from singer_sdk.mapper import SameRecordTransform
from singer_sdk.plugin_base import JSONSchemaValidator
from singer_sdk.singerlib.exceptions import InvalidInputLine
from typing_extensions import override

from target_harkster.delivery.channels import Channels
from target_harkster.delivery.delivery import Delivery
from target_harkster.delivery.mirror import Mirror
from target_harkster.delivery.outbox import Outbox
from target_harkster.delivery.quota import Allowance
from target_harkster.delivery.retries import Retries
from target_harkster.layout.routes import find_route, find_template, make_layout
from target_harkster.ledger.rejects import RejectFile, TooManyRejectsError
from target_harkster.ledger.store import Ledger
from target_harkster.messages import MessageReader, check_shape
from target_harkster.report.plan import PlanningApi, plan_of, print_plan
from target_harkster.report.preview import Preview
from target_harkster.report.summary import tell_quota, tell_rows
from target_harkster.settings import SETTINGS
from target_harkster.sinks import HarksterSink
from target_harkster.vendor.client import HarksterApi
from target_harkster.vendor.posts import Spelling

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import FrameType

    import click

    from target_harkster.delivery.outbox import Parcel
    from target_harkster.layout.layout import Layout
    from target_harkster.layout.routes import Route
    from target_harkster.ledger.rejects import Reject
    from target_harkster.ledger.store import Phase
    from target_harkster.vendor.client import Usage

BAD_INPUT = (InvalidInputLine, InvalidJSONSchema, MissingKeyPropertiesError, RecordsWithoutSchemaException)
"""What a tap can do wrong, each told in a sentence."""
_SECRETS = frozenset({"access_token", "ledger_url"})


class TargetHarkster(Target):
    """Singer target that turns records into Harkster posts, each published once."""

    name = "target-harkster"
    config_jsonschema: ClassVar[dict[str, Any]] = SETTINGS
    default_sink_class = HarksterSink
    message_reader_class = MessageReader

    ledger: Ledger
    api: HarksterApi
    channels: Channels
    allowance: Allowance
    outbox: Outbox
    mirror: Mirror
    retries: Retries

    def __init__(self, *, clock: Clock | None = None, **kwargs: Any) -> None:
        self.clock: Clock = clock or SystemClock()
        self._signal: int | None = None
        self._is_open = False
        self._rows: Counter[str] = Counter()
        self._unmapped: dict[str, HarksterSink] = {}
        self._rejected: Counter[str] = Counter()
        self._states_seen = 0
        self._is_covered = False
        self.prints_plan = True
        """Whether a dry run ends with its table."""
        super().__init__(**kwargs)

    # Settings

    @override
    def _validate_config(self, *, raise_errors: bool = True) -> list[str]:
        """Check the settings, naming each that is wrong and repeating no secret."""
        schema = self.config_jsonschema
        self.append_builtin_config(schema)
        # A setting that is null is one that is not set: it takes its default.
        self._config = {setting: value for setting, value in self._config.items() if value is not None}
        errors = [setting_sentence(error, _SECRETS) for error in JSONSchemaValidator(schema).iter_errors(self._config)]
        errors = list(dict.fromkeys(errors)) or list(url_errors("api_url", self._config["api_url"]))
        if errors and raise_errors:
            raise ConfigValidationError("Config validation failed", errors=errors, schema=schema)
        return errors

    @classmethod
    @override
    def append_builtin_config(cls, config_jsonschema: dict[str, Any]) -> None:
        super().append_builtin_config(config_jsonschema)
        for setting in ("add_record_metadata", "batch_size_rows", "load_method"):
            # About tables, which there are none of here.
            config_jsonschema["properties"].pop(setting, None)

    # The run

    def open(self) -> None:
        """Make ready what a run needs: nothing is sent before, and nothing is left open by :meth:`close`."""
        user_agent = self.config.get("user_agent") or f"{self.name}/{self.plugin_version}"
        config = {**self.config, "user_agent": user_agent}
        self._rejects = RejectFile(config["reject_path"], config["reject_redact"], is_dry=config["dry_run"])
        self.retries = Retries(self._rejects)
        path = config.get("preview_path")
        self._preview = Preview(path, is_dry=config["dry_run"]) if path else None
        self.ledger = Ledger(config["ledger_url"], self.clock, is_dry=config["dry_run"])
        self.api = (PlanningApi if config["dry_run"] else HarksterApi)(config, self.clock)
        spelling = Spelling(config["heading_type"], config["numbers_as"] == "number", config["marker"])
        self.allowance = allowance = Allowance(self.api, config)
        delivery = Delivery(self.api, self.ledger, allowance, spelling, config, self.clock)
        self.channels = Channels(self.api, self.ledger, allowance, delivery, config, self.retries.resumed)
        self.mirror = Mirror(delivery, self.ledger, self.channels.opened, config)
        self.outbox = Outbox(
            delivery, self.ledger, self.channels.opened, self.clock, self._acknowledge, self._delivered
        )
        self._is_open = True

    def close(self) -> None:
        """Let go of everything."""
        if self._is_open:
            self._is_open = False
            self.api.close()
            self.ledger.close()

    @override  # type: ignore[misc]
    def process_lines(self, file_input: IO[Any] | None) -> Counter[str]:  # final in the SDK, and the only way around
        """Process messages; what is durable is acknowledged, however it ends."""
        if not self._is_open:
            self.open()
        try:
            return super().process_lines(file_input)
        except BAD_INPUT as error:
            # The fault is the tap's; what it sent before is as good as ever.
            self.outbox.flush()
            self._leave(error)
            raise
        except BaseException as error:
            self._leave(error)
            raise

    @override
    def process_endofpipe(self) -> None:
        try:
            self._finish()
            self._settle()
            self.outbox.close()
            if self._preview is not None:
                self._preview.write()
            self._summarise()
        except BaseException as error:
            self._leave(error)
            raise
        self.close()

    def retry(self) -> None:
        """Try the rows of the reject file again, without their taps. No first run is over by that."""
        try:
            for reject in self.retries.streams():
                self.get_sink(
                    reject.stream, schema=dict(reject.schema or {}), key_properties=list(reject.key_properties)
                )
            self._finish()
            tell_quota(self.channels, self.allowance, self.ledger)
        except BaseException as error:
            self._leave(error)
            raise
        self.close()

    def _finish(self) -> None:
        """Deliver what came, what was rejected before, and the digests of both."""
        self.outbox.flush()
        self.retries.attempt({sink.stream_name: sink for sink in self._sinks()})
        self.outbox.flush()
        digests = [(sink.stream_name, sink.digest()) for sink in self._sinks()]
        self.outbox.flush()
        for stream, posted in digests:
            for (channel, marker), key in posted.items():
                self.ledger.digests.shown(channel, marker)
                self._rejects.strike((stream, key, True))
        self.retries.settle()
        self.channels.clear_up()

    def _settle(self) -> None:
        """Note which first runs are over: what comes later is news.

        A tap that was cut off ends its messages like one that has come to its end, but with no STATE behind them.
        """
        if not self._states_seen:
            self.channels.settle(self.channels.begun)
        elif self._is_covered:
            self.channels.settle(place for sink in self._sinks() for place in sink.places)

    def _sinks(self) -> Iterator[HarksterSink]:
        yield from map(self._sink, self._sinks_active)

    def _sink(self, stream: str) -> HarksterSink:
        sink = self._sinks_active[stream]
        if not isinstance(sink, HarksterSink):
            raise TypeError(stream)
        return sink

    def _leave(self, error: BaseException) -> None:
        """End a run that cannot go on: the last STATE says how far it got."""
        if self._is_open:
            if not isinstance(error, Stopped):
                self.clock.stop()
            try:
                self.outbox.close()
            finally:
                self.close()
        if isinstance(error, Stopped):
            sys.exit(128 + (self._signal or signal.SIGTERM))

    def _summarise(self) -> None:
        rows = sum(self._rows.values())
        if not self.config["dry_run"]:
            tell_rows(self.tally, self._rows)
            tell_quota(self.channels, self.allowance, self.ledger)
        elif self.prints_plan:
            # Not on stdout, where whoever runs the target looks for STATEs.
            print_plan(plan_of(self.tally), self.quotas(), Console(stderr=True))
        for stream in self.config["streams"]:
            if stream not in self._sinks_active:
                self.logger.warning("streams.%s: the tap sent no such stream.", stream)
        for failure in self.mirror.failures:
            self.logger.error("%s", failure)
        if self._rejects.count:
            where = "" if self.config["dry_run"] else f"; they are in {self.config['reject_path']}"
            self.logger.warning("Rejected rows: %d%s.", self._rejects.count, where)
        if self._rejects.count > float(self.config["max_reject_share"]) * rows:
            raise TooManyRejectsError(
                f"{self._rejects.count} of {rows} rows were rejected, a larger share than max_reject_share allows."
            )
        if self.mirror.failures:
            raise IncompleteError("The run is not complete: more rows are gone than may be deleted, see above.")

    @property
    def tally(self) -> dict[str, Counter[str]]:
        """By stream, what became of its rows."""
        tally = {stream: counts.copy() for stream, counts in self.outbox.tally.items()}
        for name, counted in (("rejected", self._rejected), ("delete", self.mirror.deleted)):
            for stream, number in counted.items():
                tally.setdefault(stream, Counter())[name] = number
        return tally

    def quotas(self) -> dict[str, Usage]:
        """By name of the channel, what is left of its quota."""
        return {
            channel.path: self.api.usages[channel.account_id]
            for channel in self.channels.opened.values()
            if channel.account_id in self.api.usages
        }

    # What sinks ask of the target

    def route(self, stream: str) -> Route:
        """Where the rows of a stream go."""
        return find_route(stream, self.config, self.channels)

    def layout(
        self,
        stream: str,
        properties: Mapping[str, Mapping[str, Any]],
        key_properties: Sequence[str],
        route: Route,
    ) -> Layout:
        """What the rows of a stream become."""
        wanted = self.config["streams"].get(stream, {}).get("template")
        template = None
        if wanted is not None:
            template = find_template(stream, wanted, next(iter(route.channels.values())), self.api)
        return make_layout(stream, self.config, properties, key_properties, template)

    def reject(self, reject: Reject) -> None:
        """Set a row aside.

        Raises:
            TooManyRejectsError: It is one too many.
        """
        self._rejects.add(reject)
        self._rejected[reject.stream] += 1
        where = f"{reject.stream}, {reject.field}" if reject.field else reject.stream
        self.logger.warning("%s: a row was rejected: %s %s.", where, reject.field or "it", reject.reason)
        if self._rejects.count > self.config["max_rejects"]:
            self._rejects.sync()
            raise TooManyRejectsError(f"More than {self.config['max_rejects']} rows were rejected (max_rejects).")

    def _delivered(self, parcel: Parcel, phase: Phase) -> None:
        if self._preview is not None:
            name = self.channels.opened[parcel.channel].path
            self._preview.add(parcel.stream, name, phase.value, parcel.content())

    def _acknowledge(self, state: Any) -> None:
        self._rejects.sync()
        if not self.config["dry_run"]:
            sys.stdout.write(encoder.encode(state).decode() + "\n")
            sys.stdout.flush()

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
        version = message_dict.get("version")
        sink = self._unmapped.get(stream)
        if sink is None and stream not in self.mapper.stream_maps:
            raise RecordsWithoutSchemaException(
                f"A record of {stream} came before its SCHEMA; the tap must send the SCHEMA first."
            )
        self._rows[stream] += 1
        self._is_covered = False
        if sink is not None:
            sink.take(record, version)
            return
        for stream_map in self.mapper.stream_maps[stream]:
            mapped = stream_map.transform(dict(record))
            if mapped is not None:
                self._sink(stream_map.stream_alias).take(mapped, version)

    @override
    def _process_schema_message(self, message_dict: dict[str, Any]) -> None:
        self._assert_line_requires(message_dict, requires={"stream", "schema"})
        check_shape(message_dict)
        check_shape({"properties": message_dict["schema"].get("properties", {})})
        self._is_covered = False
        if self._sinks_active:
            self.outbox.flush()
        super()._process_schema_message(message_dict)
        stream = message_dict["stream"]
        self._unmapped.pop(stream, None)
        match self.mapper.stream_maps[stream]:
            case [SameRecordTransform(flattening_enabled=False) as unchanged]:
                self._unmapped[stream] = self._sink(unchanged.stream_alias)

    @override
    def _process_state_message(self, message_dict: dict[str, Any]) -> None:
        self._assert_line_requires(message_dict, requires={"value"})
        self.outbox.add_state(message_dict["value"])
        self._states_seen += 1
        self._is_covered = True

    @override
    def _process_activate_version_message(self, message_dict: dict[str, Any]) -> None:
        self._assert_line_requires(message_dict, requires={"stream", "version"})
        check_shape(message_dict)
        for stream_map in self.mapper.stream_maps.get(message_dict["stream"], ()):
            self._sinks_active[stream_map.stream_alias].activate_version(message_dict["version"])

    @override
    def _handle_termination(self, signum: int, frame: FrameType | None) -> None:
        """Stop at the next safe point; at once when asked a second time."""
        if self._signal is not None:
            os._exit(128 + signum)
        self._signal = signum
        self.logger.info("Stopping for signal %d.", signum)
        self.clock.stop()
        if isinstance(self.message_reader, MessageReader):
            self.message_reader.wake()

    # Command line

    @classmethod
    @override
    def invoke(cls, **kwargs: Any) -> None:
        with spoken(cls.logger):
            try:
                super().invoke(**kwargs)
            except BAD_INPUT as error:
                raise ApiError(str(error)) from None

    @classmethod
    @override
    def cb_config(cls, ctx: click.Context, param: click.Option, value: tuple[str, ...]) -> Any:
        with spoken(cls.logger):
            try:
                return super().cb_config(ctx, param, value)
            except (OSError, ValueError):
                raise ConfigurationError(f"--config: {', '.join(value)} is not a readable JSON file.") from None
