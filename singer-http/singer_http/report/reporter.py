"""Follows a run, and writes its report however the run ends."""

from __future__ import annotations

import datetime as dt
import logging
import platform
from collections import Counter
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from singer_http.http.errors import ApiError, ConfigurationError, ForbiddenError, IncompleteError
from singer_http.report.document import FORMAT, RUNNING, Document, Exit, Failure, RunReport, StreamReport
from singer_http.report.log import Warnings
from singer_http.report.tally import Part, SentRows, Tally, stream_report
from singer_http.resume import fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from singer_http.http.clock import Clock
    from singer_http.http.session import Session
    from singer_http.reading.pages import Page, Slice
    from singer_http.report.tally import Reported

logger = logging.getLogger(__name__)

_UNTOLD = {"report_path", "stream_map_config"}
"""Settings that the fingerprint leaves out besides those that are declared secret: the second may hold keys."""
_BOUNDS = ("_ids", "shard")
"""What settings end with by which a run reads some organizations, users, projects or tasks only."""


class Followed(Protocol):
    """A run, as far as the report looks at it."""

    failures: list[tuple[str, ApiError]]

    @property
    def opened(self) -> Session | None:
        """Its session; None if it needed none."""


class Reporter:
    """Follows a run for its report; does nothing unless ``report_path`` is set.

    Args:
        tap: The tap's name.
        version: The tap's version.
        config: Its settings.
        secrets: Which of them are secret.
        clock: Tells how long things take.
    """

    def __init__(self, tap: str, version: str, config: Mapping[str, Any], secrets: Iterable[str], clock: Clock) -> None:
        self._path = Path(config["report_path"]) if config.get("report_path") else None
        self._tap = tap
        self._version = version
        self._settings = fingerprint({name: config[name] for name in config.keys() - set(secrets) - _UNTOLD})
        self._bounds = [name for name in sorted(config) if name.endswith(_BOUNDS) and config[name]]
        self._now = clock.monotonic
        self._began, self._start = dt.datetime.now(dt.timezone.utc), self._now()
        self._tallies: dict[str, Tally] = {}
        self._pending: list[tuple[Part, SentRows]] = []
        self._warnings = Warnings((tap, tap.replace("-", "_"), __name__.partition(".")[0]))

    # While the run goes on

    def begin(self, stream: Reported) -> None:
        """Note that a stream is being read from now on, before its bookmarks change."""
        if self._path is not None:
            tally = self._tally(stream)
            tally.began, tally.is_begun = self._now(), True

    def end(self, stream: Reported) -> None:
        """Note that a stream was read, with or without failures."""
        if self._path is not None:
            self._tally(stream).ended = self._now()

    def page(self, stream: Reported, slice_: Slice, page: Page) -> None:
        """Note that a page was read and its rows were sent."""
        if self._path is None:
            return
        part = self._part(stream, slice_)
        part.resumed |= not part.pages and page.cursor is not None
        part.pages += 1
        part.ended_at = self._now()
        if page.doubt is not None:
            part.ended, part.remark = "in doubt", page.doubt
        elif part.remark is None:
            part.ended = "complete" if page.next is None else "cut off"

    def fail(self, stream: Reported, slice_: Slice, failure: ApiError) -> None:
        """Note that a list could not be read to its end."""
        if self._path is not None:
            part = self._part(stream, slice_)
            part.ended, part.remark = "forbidden" if isinstance(failure, ForbiddenError) else "failed", str(failure)

    def sent(self, stream: Reported, slice_: Slice, messages: Sequence[dict[str, Any]]) -> None:
        """Note that RECORD messages are about to be written; they count when :meth:`written` is called."""
        if self._path is not None and messages:
            part = self._part(stream, slice_)
            self._pending += [(part, rows) for rows in self._tally(stream).rows(messages)]

    def written(self) -> None:
        """Note that the reader of stdout took all messages so far."""
        for part, rows in self._pending:
            part.sent[rows.name].add(rows)
        self._pending.clear()

    def _tally(self, stream: Reported) -> Tally:
        if stream.name not in self._tallies:
            self._tallies[stream.name] = Tally(stream, self._bounds, self._now())
        return self._tallies[stream.name]

    def _part(self, stream: Reported, slice_: Slice) -> Part:
        return self._tally(stream).part(slice_.partition, slice_.label, self._now())

    # When it ends

    @contextmanager
    def of_run(self, run: Followed, streams: Callable[[], Iterable[Reported]]) -> Iterator[None]:
        """Write the report of the run that is the block: first that it is running, then how it ended.

        Args:
            run: The run.
            streams: Gives those that are selected.

        Raises:
            ConfigurationError: It cannot be written where it is to be.
        """
        if self._path is None:
            yield
            return
        try:
            self._document(run, Exit(RUNNING), {}).write(self._path)  # else an older one stays if the run is killed
        except OSError as error:
            raise ConfigurationError(f"report_path: {self._path} cannot be written: {error.strerror}.") from None
        logging.getLogger().addHandler(self._warnings)
        end = Exit("failed")
        try:
            yield
            left = [stream.name for stream in streams() if self._tally(stream).ended is None]
            end = Exit("early", f"Not read to the end: {', '.join(left)}.") if left else Exit("complete")
        except IncompleteError as error:
            end = Exit("incomplete", str(error))
            raise
        except SystemExit as error:
            end = Exit("stopped", f"exit code {error.code}")
            raise
        except BaseException as error:
            end = Exit("failed", str(error) if isinstance(error, ApiError) else type(error).__name__)
            raise
        finally:
            logging.getLogger().removeHandler(self._warnings)
            self._write(run, end, streams(), self._path)

    def _write(self, run: Followed, end: Exit, streams: Iterable[Reported], path: Path) -> None:
        by_name: dict[str, list[Tally]] = {}
        for tally in map(self._tally, streams):
            for name in tally.names:
                by_name.setdefault(name, []).append(tally)
        counts = (run.opened.requests, run.opened.throttled) if run.opened else (Counter[str](), Counter[str]())
        warnings = self._warnings.by_label
        document = self._document(
            run, end, {name: stream_report(name, some, *counts, warnings) for name, some in by_name.items()}
        )
        try:
            document.write(path)
        except OSError as error:
            logger.error("The report cannot be written: %s: %s.", error.strerror, path)  # noqa: TRY400
            return
        told, whole = document.run, sum(stream.whole for stream in document.streams.values())
        text = "Report: %s. %s rows of %d streams sent, %d of them whole; %d requests, %d answers with HTTP 429. See %s"
        logger.info(
            text, end.reason, f"{told.rows:,}", len(document.streams), whole, told.requests, told.throttled, path
        )

    def _document(self, run: Followed, end: Exit, streams: dict[str, StreamReport]) -> Document:
        labels = {part.label for tally in self._tallies.values() for part in tally.parts.values()}
        return Document(
            RunReport(
                format=FORMAT,
                tap=self._tap,
                versions={
                    self._tap: self._version,
                    **{name: version(name) for name in ("singer-http", "singer-sdk")},
                    "python": platform.python_version(),
                },
                settings=self._settings,
                began=self._began.isoformat(),
                seconds=round(self._now() - self._start, 3),
                exit=end,
                rows=sum(stream.rows for stream in streams.values()),
                requests=run.opened.requests.total() if run.opened else 0,
                throttled=run.opened.throttled.total() if run.opened else 0,
                failures=[Failure(label, str(failure)) for label, failure in run.failures],
                warnings=self._warnings.rest(labels | self._tallies.keys()),
            ),
            streams,
        )
