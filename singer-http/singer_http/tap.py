"""The base class of both taps: shared settings, one session for all streams, and a run that ends in the open."""

from __future__ import annotations

import abc
import fnmatch
import io
import json
import signal
import sys
from functools import cached_property
from itertools import chain
from typing import IO, TYPE_CHECKING, Any, cast

import click
from singer_sdk import Tap
from singer_sdk.exceptions import ConfigValidationError
from singer_sdk.helpers._classproperty import classproperty
from singer_sdk.plugin_base import _ConfigInput
from singer_sdk.singerlib.encoding.simple import StateMessage
from singer_sdk.tap_base import CliTestOptionValue
from typing_extensions import override

from singer_http.catalog import check_streams, with_chosen_methods
from singer_http.http.clock import Clock, Stopped
from singer_http.http.errors import ApiError, ConfigurationError, IncompleteError
from singer_http.output import BufferedWriter
from singer_http.progress import Progress
from singer_http.reading.reader import Reader
from singer_http.resume import Bookmark, validated
from singer_http.settings import (
    batch_errors,
    checked,
    config_input,
    exit_on_operator_error,
    from_environment,
    json_object,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import FrameType

    from singer_http.http.session import Session
    from singer_http.reading.pages import Page, Slice
    from singer_http.stream import ApiStream

STATE_SHARE = 1 / 20
"""STATE messages may come to this share of all that is written ..."""
STATE_INTERVAL = 5.0
"""... but one is sent after so many seconds all the same, for runs that wait more than they write ..."""
STATE_RATE = 20_000.0
"""... unless they then came to more than so many bytes a second."""

_MAP_OPTIONS = frozenset({"__alias__", "__else__", "__filter__", "__key_properties__", "__source__"})
"""What a stream map may say besides properties."""


class ApiTap(Tap, abc.ABC):
    """A tap that reads an API through one session.

    A run goes on when a stream or a partition fails, says what failed at its end, and then ends with an error.
    A signal stops it between two pages, with a STATE that a later run goes on from.
    """

    message_writer_class = BufferedWriter

    def __init__(self, *, clock: Clock | None = None, **kwargs: Any) -> None:
        self.clock: Clock = clock or Clock()
        self._failures: list[tuple[str, ApiError]] = []
        self._reader: Reader | None = None
        self._signal: int | None = None
        self._state_written = 0
        self._state_size = 0
        self._state_time = 0.0
        if isinstance(kwargs.get("catalog"), dict):
            kwargs["catalog"] = with_chosen_methods(kwargs["catalog"])
        super().__init__(**kwargs)

    @cached_property
    @abc.abstractmethod
    def session(self) -> Session:
        """The one session of all streams."""

    @abc.abstractmethod
    def prepare(self) -> None:
        """Check, before the first message, what only the API can tell; raises what makes the run be of no use."""

    @abc.abstractmethod
    def check_connection(self) -> str:
        """Make one cheap request with the credentials, and say in a sentence what it showed."""

    @property
    def writer(self) -> BufferedWriter:
        """The writer of messages."""
        return cast("BufferedWriter", self.message_writer)

    # Settings

    @classproperty
    @override
    def _env_var_config(cls) -> dict[str, Any]:  # noqa: N805
        schema = cls.config_jsonschema
        cls.append_builtin_config(schema)
        return from_environment(schema, cls._env_var_prefix)

    @override
    def _validate_config(self, *, raise_errors: bool = True) -> list[str]:
        """Check the settings, naming each that is wrong and repeating no secret."""
        schema = self.config_jsonschema
        self.append_builtin_config(schema)
        self._config, errors = checked(
            self._config, schema, lambda config: chain(batch_errors(config), self.setting_errors(config))
        )
        if errors and raise_errors:
            raise ConfigValidationError("Config validation failed", errors=errors, schema=schema)
        return errors

    @abc.abstractmethod
    def setting_errors(self, config: Mapping[str, Any]) -> Iterator[str]:
        """Sentences on what the JSON schema of the settings cannot tell; each names its setting."""

    @override
    def load_state(self, state: dict[str, Any]) -> None:
        bookmarks = state.get("bookmarks")
        if state and not isinstance(bookmarks, dict):
            self.logger.warning(
                "The state holds no bookmarks as a tap writes them: everything is read from the beginning."
            )
        kinds = {name: cast("ApiStream", stream).bookmark for name, stream in self.streams.items()}
        named = bookmarks if isinstance(bookmarks, dict) else {}
        super().load_state(
            {"bookmarks": {name: validated(name, one, kinds.get(name, Bookmark)) for name, one in named.items()}}
        )

    # Reading

    def read(self, stream: ApiStream) -> Iterator[tuple[Slice, Iterator[Page]]]:
        """The slices of a stream, each with its pages."""
        if self._reader is not None:
            yield from self._reader.of_stream(stream.name)
            return
        # A stream on its own, such as in a dry run of some records: nothing is fetched that may not be needed.
        with Reader(self.session, stream.slices()) as reader:
            yield from reader

    def _ahead(self) -> Iterator[Slice]:
        """The slices of all selected streams, in the order in which the SDK reads the streams."""
        for stream in self.streams.values():
            if stream.selected:
                yield from cast("ApiStream", stream).slices()

    def state_is_due(self) -> bool:
        """Whether a STATE is worth its size now: all of them together stay a small share of the output."""
        written = self.writer.written - self._state_written
        waited = self.clock.monotonic() - self._state_time
        if written * STATE_SHARE < self._state_size and waited < max(STATE_INTERVAL, self._state_size / STATE_RATE):
            return False
        self._state_size = len(self.writer.serialize_message(StateMessage(self.state)))
        self._state_written = self.writer.written
        self._state_time = self.clock.monotonic()
        return True

    @cached_property
    def progress(self) -> Progress:
        """What the run says of itself while it goes on."""
        return Progress(self.session, self.logger)

    def _idle(self) -> None:
        self.writer.flush()
        self.progress.tick()

    def report(self, label: str, failure: ApiError) -> None:
        """Take note of what could not be read; the run goes on."""
        self.logger.warning("%s: could not be read, the rest goes on. %s", label, failure)
        self._failures.append((label, failure))

    @override  # type: ignore[misc]
    def sync_all(self) -> None:  # final in the SDK, and the only place around a whole run
        """Read every selected stream; raises an :class:`ApiError` where something could not be read."""
        try:
            is_complete = False
            try:
                self._read_all()
                is_complete = True
            finally:
                self._end_run(complete=is_complete)
        except (Stopped, ApiError) as end:
            cause = end.__cause__ if isinstance(end, Stopped) else end
            if cause is None or self._signal is not None:
                if cause is not None:  # such as a login that the signal ended
                    self.logger.error("%s", cause)  # noqa: TRY400
                sys.exit(128 + (self._signal or signal.SIGTERM))
            self.give_up(cause)
        if self._failures:
            for label, failure in self._failures:
                self.logger.error("Not read: %s. %s", label, failure)
            raise IncompleteError(f"The run is not complete: {len(self._failures)} parts of it, named above.")

    def give_up(self, cause: BaseException) -> None:
        """End the run for what concerns all of it; raises the cause, unless it makes no failure of the run."""
        raise cause from None

    def _read_all(self) -> None:
        self._check_stream_names()
        check_streams(self.input_catalog or {}, self.streams)
        if not any(stream.selected for stream in self.streams.values()):
            self.logger.warning("No stream is selected: nothing is read.")
        self.prepare()
        streams = cast("list[ApiStream]", list(self.streams.values()))
        for stream in streams:
            _ = stream.bookmarks  # threads look at them, and must not be the first
        self._reader = Reader(
            self.session,
            self._ahead(),
            parallel=self.config["max_parallel_requests"],
            predict=self.config.get("predict_cursors", False),
            on_idle=self._idle,
        )
        super().sync_all()
        for stream in streams:
            stream.forget_progress()

    def _check_stream_names(self) -> None:
        if unknown := sorted(set(self.config.get("skip_forbidden", ())) - self.streams.keys()):
            raise ConfigurationError(f"skip_forbidden names {', '.join(unknown)}, which are no streams of {self.name}.")
        for name, rule in self.config.get("stream_maps", {}).items():
            self._check_map(name, rule if isinstance(rule, dict) else {})

    def _check_map(self, name: str, rule: Mapping[str, Any]) -> None:
        """Refuse what would leave as it is what it is to leave out."""
        source = rule.get("__source__", name)
        schemas = [self.streams[met].schema for met in fnmatch.filter(self.streams, source)]
        if not schemas and name != "__else__":
            raise ConfigurationError(f"stream_maps names {source}, which is no stream of {self.name}.")
        known = _MAP_OPTIONS.union(*(schema["properties"] for schema in schemas))
        is_open = any(schema.get("additionalProperties") for schema in schemas)
        for key, value in rule.items():
            is_left_out = value in (None, "__NULL__") and not is_open
            if key not in known and (is_left_out or key.startswith("__")):
                raise ConfigurationError(f"stream_maps: {name}: there is no {key}: check its spelling.")

    def _end_run(self, *, complete: bool) -> None:
        """End the run: nothing more is fetched, and the last STATE says how far it got."""
        self.clock.stop()
        if self._reader is not None:
            self._reader.close()
            self.logger.info(
                "Pages asked for ahead of their cursors: %d used, %d for nothing.",
                self._reader.predictions.hits,
                self._reader.predictions.misses,
            )
        self.session.close()
        # Of a batch that was not finished the bookmarks may know more than was written.
        if self.state and (complete or not self.config.get("batch_config")):
            self.state_writer.write_state(self.state)
        self.writer.flush()

    @override
    def _handle_termination(self, signum: int, frame: FrameType | None) -> None:
        """Stop at the next safe point; at once when asked a second time."""
        self.writer.stdout.end(128 + signum)
        self._signal = signum
        self.logger.info("Stopping for signal %d.", signum)
        self.clock.stop()

    # Command line

    @override
    def run_discovery(self) -> str:
        self.writer.stdout.write(f"{self.catalog_json_text}\n".encode())
        return self.catalog_json_text

    @classmethod
    @override
    def invoke(cls, *, state: IO[str] | None = None, catalog: IO[str] | None = None, **kwargs: Any) -> None:
        with exit_on_operator_error(cls.logger):
            super().invoke(state=_sound("--state", state), catalog=_sound("--catalog", catalog), **kwargs)

    @classmethod
    @override
    def cb_config(cls, ctx: click.Context, param: click.Option, value: tuple[str, ...]) -> Any:
        with exit_on_operator_error(cls.logger):
            return config_input(value)

    @classmethod
    @override
    def cb_test(cls, ctx: click.Context, param: click.Option, value: str) -> None:
        """Answer ``--test`` with a verdict on the connection, for one request."""
        if value != CliTestOptionValue.All.value:
            super().cb_test(ctx, param, value)
            return
        given = ctx.params.get("config") or _ConfigInput()
        with exit_on_operator_error(cls.logger):
            tap = cls(config=given.config, parse_env_config=given.parse_env)
            try:
                click.echo(f"{cls.name}: {tap.check_connection()}")
            finally:
                tap.session.close()
        ctx.exit()


def _sound(option: str, file: IO[str] | None) -> IO[str] | None:
    return file and io.StringIO(json.dumps(json_object(option, file.name, file.read)))
