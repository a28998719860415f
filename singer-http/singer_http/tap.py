"""The base class of a tap: its settings, its one run, and how that ends."""

from __future__ import annotations

import abc
import contextlib
import fnmatch
import io
import json
import signal
import sys
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import replace
from functools import cached_property
from itertools import chain
from typing import IO, TYPE_CHECKING, Any, cast

import click
from singer_sdk import Tap
from singer_sdk.mapper import RemoveRecordTransform
from singer_sdk.plugin_base import _ConfigInput
from singer_sdk.singerlib.catalog import REPLICATION_FULL_TABLE, Catalog
from singer_sdk.tap_base import CliTestOptionValue
from typing_extensions import override

from singer_http.catalog import with_chosen_methods
from singer_http.checked_settings import MAP_OPTIONS, CheckedSettings, json_object
from singer_http.http.clock import Clock, Stopped
from singer_http.http.errors import ApiError, ConfigurationError, IncompleteError
from singer_http.http.request_log import user_folder
from singer_http.http.shard import Shard, scope_settings
from singer_http.memory import return_large_blocks
from singer_http.operator_errors import exit_on_operator_error
from singer_http.output import BufferedWriter
from singer_http.report.reporter import Reporter
from singer_http.resume import Bookmark, fingerprint, validated
from singer_http.run import Run
from singer_http.stream import ApiStream

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path
    from types import FrameType

    from singer_sdk.helpers._state import StateWriter
    from singer_sdk.mapper import StreamMap

    from singer_http.http.session import Session


class _Maps(dict[str, list["StreamMap"]]):
    """The maps of the streams that ask for them: what is not selected has no properties that maps could be made of."""

    def __init__(self, tap: ApiTap) -> None:
        super().__init__()
        self._tap = tap

    def __missing__(self, name: str) -> list[StreamMap]:
        catalog = self._tap.input_catalog or self._tap.streams[name]._singer_catalog  # noqa: SLF001 - as the SDK does
        self._tap.mapper.register_raw_streams_from_catalog(Catalog({name: replace(catalog[name], stream=name)}))
        return self[name]


class ApiTap(CheckedSettings, Tap):
    """A tap that reads an API through one session.

    A run goes on when a stream or a partition fails, says what failed at its end, and then ends with an error.
    A signal stops it between two pages, with a STATE that a later run goes on from.
    """

    message_writer_class = BufferedWriter

    def __init__(self, *, clock: Clock | None = None, **kwargs: Any) -> None:
        self.clock: Clock = clock or Clock()
        self._signal: int | None = None
        self._closing = ExitStack()
        if isinstance(kwargs.get("catalog"), dict):
            kwargs["catalog"] = with_chosen_methods(kwargs["catalog"])
        super().__init__(**kwargs)
        # The SDK's own copies each STATE, to know it again: with many partitions it is large.
        self._state_writer = cast("StateWriter", self.message_writer)

    @abc.abstractmethod
    def open_session(self, config: Mapping[str, Any]) -> Session:
        """Open the session, by the settings with a user agent."""

    @abc.abstractmethod
    def prepare(self) -> None:
        """Check, before the first message, what only the API can tell; raise what makes the run useless."""

    @abc.abstractmethod
    def check_connection(self) -> str:
        """Make one cheap request with the credentials, and say in a sentence what it showed."""

    @cached_property
    def run(self) -> Run:
        """What the streams share."""
        config = {"user_agent": f"{self.name}/{self.plugin_version}", **self.config}
        secrets = [name for name, setting in self.config_jsonschema["properties"].items() if setting.get("secret")]
        reporter = Reporter(self.name, self.plugin_version, self.config, secrets, self.clock)
        writer = cast("BufferedWriter", self.message_writer)
        return Run(lambda: self.open_session(config), self.clock, writer, reporter)

    @property
    def session(self) -> Session:
        """The one session of all streams."""
        return self.run.session

    @property
    def api_streams(self) -> list[ApiStream]:
        """The streams, in the order in which they are read."""
        return [stream for stream in self.streams.values() if isinstance(stream, ApiStream)]

    @property
    def state_folder(self) -> Path:
        """The folder for what outlives a run; raises :class:`RuntimeError` where the user has no home."""
        return user_folder(self.name)

    @override
    def setup_mapper(self) -> None:
        super(Tap, self).setup_mapper()
        self.mapper.stream_maps = _Maps(self)
        if self.config.get("stream_maps"):  # what is wrong with them is told now
            for stream in self.api_streams:
                _ = stream.selected and stream.stream_maps

    @override
    def load_state(self, state: dict[str, Any]) -> None:
        bookmarks = state.get("bookmarks")
        if state and not isinstance(bookmarks, dict):
            self.logger.warning(
                "The state holds no bookmarks as a tap writes them: everything is read from the beginning."
            )
        kinds = {stream.name: stream.bookmark for stream in self.api_streams}
        named = bookmarks if isinstance(bookmarks, dict) else {}
        super().load_state(
            {"bookmarks": {name: validated(name, one, kinds.get(name, Bookmark)) for name, one in named.items()}}
        )

    # The run

    @override  # type: ignore[misc]
    def sync_all(self) -> None:  # final in the SDK, and the only place around a whole run
        """Read every selected stream; raises an :class:`ApiError` where something could not be read."""
        run = self.run
        with run.reporter.of_run(
            run.failures, run.counted, lambda: [one.tally for one in self.api_streams if one.selected]
        ):
            self._sync_all()

    def _sync_all(self) -> None:
        is_complete = False
        try:
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
        for label, failure in self.run.failures:
            self.logger.error("Not %s: %s. %s", failure.not_done, label, failure)
        if self.run.failures:
            raise IncompleteError(f"The run is not complete: {len(self.run.failures)} parts of it, named above.")

    def give_up(self, cause: BaseException) -> None:
        """End the run early; raises the cause, unless that is no failure of the run."""
        raise cause from None

    def _read_all(self) -> None:
        self._check_stream_names()
        self._leave_to_other_shards()
        self._check_tables()
        if not any(stream.selected for stream in self.streams.values()):
            self.logger.warning("No stream is selected: nothing is read.")
        if self.config.get("changes_only"):
            self._follow_changes(
                stream
                for stream in self.api_streams
                if stream.selected and stream.is_kept and stream.replication_method == REPLICATION_FULL_TABLE
            )
        self.prepare()  # which may put the streams in another order
        streams = self.api_streams
        selected = [stream for stream in streams if stream.selected]
        for stream in selected:
            _ = stream.resume  # threads look at it, and must not be the first
        self.run.read_ahead(
            chain.from_iterable(stream.slices() for stream in selected if stream.is_read_ahead),
            parallel=self.config["max_parallel_requests"],
            predict=self.config.get("predict_cursors", False),
        )
        super().sync_all()
        for stream in streams:
            stream.forget_progress()

    def _leave_to_other_shards(self) -> None:
        """Leave what cannot be divided to the first shard."""
        shard = Shard.of(self.config)
        for stream in () if shard.is_first else self.api_streams:
            stream.selected = stream.selected and stream.is_by_organization
        if not shard.is_whole and self.config.get("emit_activate_version_messages"):
            self.logger.warning(
                "With shard, no ACTIVATE_VERSION is sent for lists of organizations: rows that are gone from them stay."
            )

    def _follow_changes(self, streams: Iterable[ApiStream]) -> None:
        """Let streams leave out the rows that the loader has."""
        from singer_http.changes.changed_rows import ChangedRows  # noqa: PLC0415 - these bring a database, which ...
        from singer_http.changes.store import Store  # noqa: PLC0415 - ... costs time, for those who use it

        try:
            store = Store(self.config.get("changes_url") or self.state_folder / "changes.db")
        except RuntimeError:
            raise ConfigurationError("changes_url must be set: this user has no home to keep a database in.") from None
        self._closing.callback(store.close)
        account = (self.name, self.config.get("api_url"), self.config.get("client_id"))
        for stream in streams:
            stream.changes = ChangedRows(
                store,
                fingerprint(stream.name, account, scope_settings(self.config), stream.path),
                stream.stream_maps,
                stream.bookmarks,
                now=self.clock.time(),
                most_share=self.config["max_deleted_share"],
            )

    def _check_stream_names(self) -> None:
        if unknown := sorted(set(self.config.get("skip_forbidden", ())) - self.streams.keys()):
            raise ConfigurationError(f"skip_forbidden names {', '.join(unknown)}, which are no streams of {self.name}.")
        selected = [name for name, entry in (self.input_catalog or {}).items() if entry.metadata.root.selected]
        if unknown := [name for name in selected if name not in self.streams]:
            raise ConfigurationError(
                f"The catalog selects {' and '.join(unknown)}, which are no streams of this tap: discover it again."
            )
        for name, rule in self.config.get("stream_maps", {}).items():
            self._check_map(name, rule if isinstance(rule, dict) else {})

    def _check_tables(self) -> None:
        """Refuse versions in a table of several streams: each stream's would remove the rows of the others."""
        owners: dict[str, ApiStream] = {}
        for stream in self.api_streams:
            for one in stream.stream_maps if stream.selected else ():
                table = one.stream_alias
                other = stream if isinstance(one, RemoveRecordTransform) else owners.setdefault(table, stream)
                full = [each for each in (other, stream) if each.replication_method == REPLICATION_FULL_TABLE]
                if other is not stream and any(each.is_versioned for each in full):
                    raise ConfigurationError(
                        f"stream_maps writes {other.name} and {stream.name} to one table, {table}. With"
                        " emit_activate_version_messages each would remove the rows of the other: give them two tables."
                    )

    def _check_map(self, name: str, rule: Mapping[str, Any]) -> None:
        """Refuse a map that names what does not exist, as it leaves out nothing, and one that leaves out too much."""
        source = rule.get("__source__", name)
        met = [self.streams[stream] for stream in fnmatch.filter(self.streams, source)]
        schemas = [stream.schema for stream in met]
        if not schemas and name != "__else__":
            raise ConfigurationError(f"stream_maps names {source}, which is no stream of {self.name}.")
        known = MAP_OPTIONS.union(*(schema["properties"] for schema in schemas))
        is_open = any(schema.get("additionalProperties") for schema in schemas)
        for key, value in rule.items():
            is_left_out = value in (None, "__NULL__") and not is_open
            if key not in known and (is_left_out or key.startswith("__")):
                raise ConfigurationError(f"stream_maps: {name}: there is no {key}: check its spelling.")
        for stream in met:
            for needed in stream.always_sent if isinstance(stream, ApiStream) and stream.selected else ():
                left_out = needed if needed in rule else "__else__"
                if "__filter__" in rule or (left_out in rule and rule[left_out] in (None, "__NULL__")):
                    option = "__filter__" if "__filter__" in rule else left_out
                    raise ConfigurationError(
                        f"stream_maps: {name}: {option} may leave out {needed}, which says that a row of {stream.name}"
                        " counts no longer: choose rows and columns where the table is used."
                    )

    def _end_run(self, *, complete: bool) -> None:
        """End the run: nothing more is fetched, and the last STATE says how far it got."""
        if self._signal is not None:
            self.logger.info("Stopping for signal %d.", self._signal)
        self.run.close()
        self._closing.close()
        # Of a batch that was not finished the bookmarks may know more than was written.
        if self.state and (complete or not self.config.get("batch_config")):
            self.state_writer.write_state(self.state)
        self.run.writer.flush()

    @override
    def _handle_termination(self, signum: int, frame: FrameType | None) -> None:
        """Stop at the next safe point; at once when asked a second time.

        It may interrupt a line of the log, or whatever else cannot be entered twice: it only leaves a note.
        """
        self._signal = signum
        self.clock.stop()
        cast("BufferedWriter", self.message_writer).stdout.end(128 + signum)

    # Command line

    @property
    @override
    def catalog_dict(self) -> dict[str, Any]:
        catalog: dict[str, Any] = super().catalog_dict
        for entry in catalog["streams"] if self.input_catalog is None else ():
            # The SDK drops words of others, such as x-pii.
            entry["schema"] = deepcopy(self.streams[entry["tap_stream_id"]].schema)
        return catalog

    @override
    def run_discovery(self) -> str:
        self.run.writer.stdout.write(f"{self.catalog_json_text}\n".encode())
        return self.catalog_json_text

    @classmethod
    @override
    def invoke(cls, *, state: IO[str] | None = None, catalog: IO[str] | None = None, **kwargs: Any) -> None:
        return_large_blocks()
        with exit_on_operator_error(cls.logger):
            super().invoke(state=_checked_file("--state", state), catalog=_checked_file("--catalog", catalog), **kwargs)

    @classmethod
    @override
    def cb_test(cls, ctx: click.Context, param: click.Option, value: str) -> None:
        """Answer ``--test`` with one request and a verdict on the connection."""
        if value != CliTestOptionValue.All.value:
            super().cb_test(ctx, param, value)
            return
        given = ctx.params.get("config") or _ConfigInput()
        tap = cls(config=given.config, parse_env_config=given.parse_env)
        with contextlib.closing(tap.session):
            click.echo(f"{cls.name}: {tap.check_connection()}")
        ctx.exit()


def _checked_file(option: str, file: IO[str] | None) -> IO[str] | None:
    return file and io.StringIO(json.dumps(json_object(option, file.name, file.read)))
