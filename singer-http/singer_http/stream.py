"""The base class of every stream: declares slices, writes their pages, and keeps the bookmarks true."""

from __future__ import annotations

import abc
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from singer_sdk.singerlib.catalog import REPLICATION_INCREMENTAL
from singer_sdk.streams import Stream
from typing_extensions import override

from singer_http.catalog import check_keys, chosen_key, set_primary_keys, with_keys
from singer_http.changes.all_rows import AllRows
from singer_http.conform import UNKNOWN_FIELDS, Conformer
from singer_http.http.clock import Stopped
from singer_http.http.errors import ApiError, FatalError, ForbiddenError, MalformedAnswerError, TooManyGoneError
from singer_http.http.shard import Shard, scope_settings
from singer_http.messages import record_messages
from singer_http.output import batches
from singer_http.reading.pages import Page, Slice
from singer_http.reading.reader import Reader
from singer_http.resume import START, Bookmark, Bookmarks, FullTable, Incremental, ResumePoint, fingerprint

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Generator, Iterator, Mapping, Sequence

    from singer_sdk import Tap
    from singer_sdk.helpers._batch import BatchConfig
    from singer_sdk.helpers.types import Context, Record
    from singer_sdk.metrics import Counter
    from singer_sdk.singerlib import Catalog, MetadataMapping

    from singer_http.changes.changed_rows import ChangedRows
    from singer_http.report.tally import Tally
    from singer_http.run import Run

    Partition = Mapping[str, Any]

_WRITING = ("stream_map", "keep_nul", "unknown_fields", "flattening", "faker", "batch_config")
"""What the settings that decide how records are written begin with."""


class ApiStream(Stream, abc.ABC):
    """A list of an API, read whole or partition by partition.

    A subclass says where the list is (:attr:`path`), what its schema and key are, and, through its plugin's own
    base class, how a page is parsed and which partitions there are.
    """

    path: ClassVar[str]  # the list, below the API's base URL; {name} stands for a property of the partition
    cursor_param: ClassVar[str] = "cursor"  # what a page is asked for with
    incremental_key: ClassVar[str | None] = None
    """The property that an INCREMENTAL read is said to follow; None where the stream cannot be read so."""
    always_sent: ClassVar[tuple[str, ...]] = ()  # besides the keys, what no row can be understood without
    slice_type: ClassVar[type[Slice]] = Slice  # what its slices are
    is_never_empty: ClassVar[bool] = False
    """Whether an empty list is more likely to be a fault of the API than the truth."""
    bookmark: ClassVar[type[Bookmark]] = Bookmark  # what STATE holds of a partition
    interleave: ClassVar[int] = 1  # how many partitions are read in turns, a page of each
    is_by_organization: ClassVar[bool] = False  # each has a list: shards divide these; the first reads the rest
    is_kept: ClassVar[bool] = True  # the API gives a row for as long as it exists; other rows stay in the table

    def __init__(self, tap: Tap, run: Run) -> None:
        super().__init__(tap=tap)
        self.run = run
        self.changes: AllRows | ChangedRows = AllRows()  # decides which rows are sent
        self.not_done: str | None = None  # what could not be done of it, such as "read"
        self._doubt: str | None = "other shards read the rest" if self._is_part else None
        self._written = 0

    @abc.abstractmethod
    def parse(self, body: bytes) -> Page:
        """Make a page of an answer's body; raises :class:`msgspec.DecodeError` if it is not one."""

    @abc.abstractmethod
    def query(self, partition: Partition | None) -> dict[str, str | int]:
        """The query of every page of a partition, the cursor left out."""

    @property
    @override
    def partitions(self) -> list[dict[str, Any]] | None:
        """The partitions that are read one by one; None for a list that is read whole."""
        return None

    @property
    def bounds(self) -> Any:
        """Whatever decides, besides path and query, which rows a read gives."""
        return sorted(set(self.config.get("organization_ids") or ()))

    @cached_property
    def tally(self) -> Tally:
        """What is counted of it for the report of the run."""
        return self.run.reporter.tally(self.name, self.stream_maps, self.bookmarks)

    @cached_property
    def bookmarks(self) -> Bookmarks:
        """The stream's part of the state."""
        return Bookmarks(self.stream_state)

    @cached_property
    def resume(self) -> FullTable | Incremental:
        """The read of this run, and where it continues."""
        rows = (self.path, self.query(None), self.bounds)
        if self.replication_method == REPLICATION_INCREMENTAL:
            return Incremental(self.name, self.bookmarks, fingerprint(rows))
        left_out = sorted(".".join(breadcrumb) for breadcrumb, is_selected in self.mask.items() if not is_selected)
        written = {setting: value for setting, value in self.config.items() if setting.startswith(_WRITING)}
        written |= {"emit_activate_version_messages": self.is_versioned, **({"is_part": True} if self._is_part else {})}
        known = fingerprint(rows, self.config.get("client_id"), self.primary_keys, left_out, written)
        return FullTable(self.name, self.bookmarks, known, self.run.session.now(), self.config["resume_max_age"])

    @property
    def _is_part(self) -> bool:  # others read the rest of the organizations
        return self.is_by_organization and not Shard.of(self.config).is_whole

    @property
    def is_versioned(self) -> bool:
        """Whether records carry a version: only where all of them are sent."""
        is_wanted = bool(self.config.get("emit_activate_version_messages"))
        return is_wanted and self.is_kept and not self.changes.is_known

    # Catalog

    @property
    @override
    def metadata(self) -> MetadataMapping:
        metadata = super().metadata
        if self.incremental_key and metadata.root.valid_replication_keys is None:
            metadata.root.valid_replication_keys = [self.incremental_key]
        return with_keys(metadata, (*self.primary_keys, self.replication_key, *self.always_sent))

    @override
    def apply_catalog(self, catalog: Catalog) -> None:
        set_primary_keys(catalog.get_stream(self.name), self.primary_keys)
        super().apply_catalog(catalog)
        key, method = self.replication_key, self.replication_method
        self.replication_key = chosen_key(self.name, method, key, self.incremental_key)
        known = (self._input_schema or self.schema).get("properties", {})
        column = UNKNOWN_FIELDS if self.config["unknown_fields"] == "keep" else None
        check_keys(self.name, (*self.primary_keys, self.replication_key, column, *self.always_sent), known)

    # Slices

    def slices(self) -> Iterator[Slice]:
        """Declare what is to be read, in order: every partition that the last run did not complete.

        Any thread may call it ahead of the read: it only looks at the state.
        """
        if self.resume.is_done:
            return
        try:
            partitions: Sequence[Partition | None] = [None] if self.partitions is None else self.partitions
        except ApiError as failure:
            yield replace(self._slice(None), failure=failure)
            return
        for partition in partitions:
            if (point := self.resume.point(partition)) is not None:
                yield self._slice(partition, point)

    def _slice(self, partition: Partition | None, point: ResumePoint = START) -> Slice:
        return self.slice_type(
            stream=self.name,
            partition=partition,
            path=self.path.format_map(partition or {}),
            params=self.query(partition),
            cursor_param=self.cursor_param,
            start=point.cursor,
            parse=self.parse,
            interleave=self.interleave,
        )

    # Reading

    @property
    def is_read_ahead(self) -> bool:
        """Whether the run's reader reads the slices; False where their pages are at hand before the stream's turn."""
        return True

    def read(self) -> Iterator[tuple[Slice, Iterator[Page]]]:
        """Give the slices in order, each with its pages."""
        if self.run.reader is not None:
            yield from self.run.reader.of_stream(self.name)
            return
        # A stream on its own, such as in a dry run of some records: nothing is fetched that may not be needed.
        with Reader(self.run.session, self.slices()) as reader:
            yield from reader

    @override
    def get_records(self, context: Context | None) -> Iterator[Record]:
        raise NotImplementedError  # a run reads slices

    def _begin(self) -> None:
        """Note in the state that the stream is being read."""
        self.resume.begin()
        self.changes.begin(self.bookmarks)
        if isinstance(self.resume, FullTable) and self.is_versioned:
            self._stream_version = self.resume.version

    @override
    def _sync_records(
        self, context: Context | None = None, *, write_messages: bool = True
    ) -> Generator[Record, Any, None]:
        """Write the records of every slice; a slice that fails is reported, and the next one is read.

        Where they are not to be written, their RECORD messages are yielded, for batches to be made of them: a page's
        bookmark moves when the record after it is asked for, so never past what was taken.
        """
        self._written = 0
        self.tally.begin()
        self._begin()
        self.run.stream = self.name
        with self.get_record_counter() as counter, self.get_sync_timer():
            try:
                for slice_, pages in self.read():
                    counter.with_context(slice_.partition)
                    try:
                        yield from self._sync_slice(slice_, pages, counter, write_messages=write_messages)
                    except FatalError:
                        raise
                    except ApiError as failure:
                        self._leave_out(slice_, failure)
                for partition, messages in self.changes.gone(self._count_partitions()):
                    yield from self._write(self._slice(partition), messages, is_written=write_messages)
            except TooManyGoneError as failure:
                self._leave_out(self._slice(failure.partition), failure)
            except FatalError as failure:
                raise Stopped from failure
        self.run.writer.flush()
        for sentence in self._conform.remarks():
            self.logger.warning("%s: %s", self.name, sentence)

    @override
    def _sync_batches(self, batch_config: BatchConfig, context: Context | None = None) -> None:
        messages = self._sync_records(context, write_messages=False)
        with self.get_batch_counter() as counter:
            for written in batches(messages, self.tap_name, self.name, batch_config):
                for message in written:
                    counter.increment()
                    self.run.writer.write_message(message)
                self._write_state_message()

    def _leave_out(self, slice_: Slice, failure: ApiError) -> None:
        """Report a failure of the run; a 403 that the settings say is known is worth a warning."""
        self.tally.fail(slice_, failure)
        if isinstance(failure, ForbiddenError) and self.name in self.config.get("skip_forbidden", ()):
            self.logger.warning("%s: left out, as skip_forbidden says. %s", slice_.label, failure)
            self._doubt = "a part of it was left out"
            self.changes.leave_out()
        else:
            self.not_done = failure.not_done
            self.run.report(slice_.label, failure)

    def _sync_slice(
        self, slice_: Slice, pages: Iterator[Page], counter: Counter, *, write_messages: bool
    ) -> Iterator[Record]:
        for page in pages:
            self.run.clock.check()  # between two pages is where a run can be stopped
            if page.doubt:
                self.logger.warning("%s: %s", slice_.label, page.doubt)
                self._doubt = "it may not have been read to its end"
            records = self._records(page, slice_)
            room = None if self.ABORT_AT_RECORD_COUNT is None else self.ABORT_AT_RECORD_COUNT - self._written
            yield from self._sent(slice_, records[:room], page.at, is_written=write_messages)
            self._written += len(records)
            self._check_max_record_limit(self._written - 1)
            counter.increment(len(records))
            self._turn_page(slice_, page, records)
            self.run.note_page(self.tally, slice_, page, lambda: self.partitions)
            if write_messages:
                self.write_due_state()

    def _sent(self, slice_: Slice, records: Sequence[Record], at: dt.datetime, *, is_written: bool) -> Iterator[Record]:
        """Write the RECORD messages of records, or give them."""
        messages = record_messages(self.name, self.stream_maps, records, self._stream_version, at)
        yield from self._write(slice_, self.changes.select(slice_.partition, messages), is_written=is_written)

    def _write(self, slice_: Slice, messages: list[dict[str, Any]], *, is_written: bool) -> Iterator[Record]:
        """Write RECORD messages, or give them one by one where they go into batches."""
        for some in [messages] if is_written else ([message] for message in messages):
            self.tally.sent(slice_, some)
            if is_written:
                self.run.writer.write_records(some)
            else:
                yield from some

    def _records(self, page: Page, slice_: Slice) -> list[Record]:
        """The records of a page, complete and conformed."""
        records = []
        partition = (slice_.partition or {}).items()
        for raw in page.decode(keep_nul=self.config["keep_nul"]):
            for name, value in partition:
                raw.setdefault(name, value)
            for key in self.primary_keys:
                if raw.get(key) in (None, ""):
                    keys = ", ".join(self.primary_keys)
                    raise MalformedAnswerError(f"A record came without its key ({keys}): tell the API's support.")
            if (record := self.post_process(raw, slice_.partition)) is not None:
                records.append(record)
        self._conform.replaced += page.replaced
        return self._conform(records)

    # State

    def _turn_page(self, slice_: Slice, page: Page, records: Sequence[Record]) -> None:
        """Move the bookmark behind a page whose records are all written."""
        point = self._point_behind(page)
        if isinstance(self.resume, FullTable):
            is_last = page.next is None and page.doubt is None
            self.resume.turn(slice_.partition, point, is_last=is_last)
            if is_last and slice_.start is None:
                self.changes.complete(slice_.partition)
        else:
            key = self.incremental_key or ""
            newest = max((value for record in records if isinstance(value := record.get(key), str)), default="")
            self.resume.turn(slice_.partition, point, key, newest)
        self.state_manager.is_flushed = False

    def _point_behind(self, page: Page) -> ResumePoint | None:
        """Where the next run continues if this page is the last one written; None where that stays as it was."""
        return None if page.next is None else ResumePoint(page.next)

    def write_due_state(self) -> None:
        """Write a STATE message if it is worth its size."""
        if self.run.is_due():
            self._write_state_message()

    @override
    def _abort_sync(self, abort_reason: Exception) -> None:
        self.run.writer.flush()
        super()._abort_sync(abort_reason)

    @override
    def finalize_state_progress_markers(self, state: dict[str, Any] | None = None) -> None:
        """Note that the stream is complete; called by the SDK when it has been read."""
        if not self.selected:
            return
        if isinstance(self.resume, FullTable) and not (self.not_done or self.resume.is_done or self._is_part):
            self.resume.end(is_activated=self._activate())  # of a part, what each organization's bookmark says is all
        if not (self.not_done and self._stream_version):
            self.changes.mark_written()
        self.tally.end(self._remark, is_activated=self.resume.is_activated)
        self.state_manager.is_flushed = False
        self.write_due_state()

    def _activate(self) -> bool:
        """Have loaders remove the rows that are gone, if everything that is there has been read for certain."""
        if self._stream_version is None:
            return False
        if (doubt := self.doubt) is None:
            self._write_activate_version_message(self._stream_version)
        else:
            self.logger.warning("%s: no ACTIVATE_VERSION is sent, as %s; rows that are gone stay.", self.name, doubt)
        return doubt is None

    @property
    def doubt(self) -> str | None:
        """Why a read that failed nowhere may not have given all that is there; None if it has."""
        return self._doubt if self._count_partitions() else "nothing is there to read it from"

    @property
    def _remark(self) -> str | None:
        """Why the rows sent may not be all that is there; None if they are."""
        if self.not_done:
            return f"a part of it could not be {self.not_done}"
        if self.changes.unchanged:
            return "only what is new, changed or gone was sent"
        bounds = " and ".join(scope_settings(self.config))
        return self.resume.remark or self.doubt or (f"{bounds} chose a part of the account" if bounds else None)

    def _count_partitions(self) -> int:
        """How many partitions there are; 0 if one failed, or if there is suddenly nothing."""
        if self.not_done or (self.is_never_empty and not self._written):
            return 0
        with suppress(ApiError):
            return 1 if self.partitions is None else len(self.partitions)
        return 0

    def forget_progress(self) -> None:
        """Leave nothing of a complete read in the state, as the run has come to its end."""
        self.bookmarks.forget(done_only=bool(self.not_done) or not self.selected)

    # What the SDK would do before and around each read

    @property
    @override
    def emit_activate_version_messages(self) -> bool:
        return False  # the SDK's way is to send it before the read; ours is sent when the read is complete

    @override
    def get_replication_key_signpost(self, context: Context | None = None) -> None:
        return None  # bookmarks are cursors: there is no time that they must not pass

    @cached_property
    def _conform(self) -> Conformer:
        return Conformer(self.effective_schema, self.mask, is_strict=self.config["unknown_fields"] == "fail")
