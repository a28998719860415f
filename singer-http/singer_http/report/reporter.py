"""Follows a run, and writes its report however the run ends."""

from __future__ import annotations

import datetime as dt
import logging
import platform
from collections import Counter
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from singer_http.http.errors import ApiError, ConfigurationError, IncompleteError
from singer_http.report.document import FORMAT, RUNNING, Document, Exit, Failure, Progress, RunReport
from singer_http.report.progress import EVERY, progress_of
from singer_http.report.tally import Tally, stream_report
from singer_http.report.warning_handler import WarningHandler
from singer_http.resume import fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from singer_sdk.mapper import StreamMap

    from singer_http.http.clock import Clock
    from singer_http.http.session import Session
    from singer_http.report.progress import Partitions
    from singer_http.report.tally import Counts
    from singer_http.resume import Bookmarks

    Failures = Sequence[tuple[str, ApiError]]

logger = logging.getLogger(__name__)

_LEFT_OUT = {"report_path", "stream_map_config"}
"""Settings that the fingerprint leaves out besides those that are declared secret: the second may hold keys."""


class Reporter:
    """Follows a run for its report, which is written if ``report_path`` is set.

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
        self._settings = fingerprint({name: config[name] for name in config.keys() - set(secrets) - _LEFT_OUT})
        self._now = clock.monotonic
        self._began, self._start = dt.datetime.now(dt.timezone.utc), self._now()
        self._tell_at = self._start + EVERY
        self._unwritten: list[Callable[[], None]] = []
        self._warnings = WarningHandler((tap, tap.replace("-", "_"), __name__.partition(".")[0]))
        self._so_far: Callable[[], tuple[Failures, Counts, Sequence[Tally]]] = lambda: ((), (Counter(), Counter()), ())

    def tally(self, stream: str, maps: Sequence[StreamMap], bookmarks: Bookmarks) -> Tally:
        """Begin to follow a stream, before its bookmarks change."""
        return Tally(stream, maps, bookmarks, self._now, None if self._path is None else self._unwritten)

    def written(self) -> None:
        """Note that the reader of stdout took all messages so far."""
        for count in self._unwritten:
            count()
        self._unwritten.clear()

    def tell_progress(
        self, tally: Tally, partitions: Callable[[], Partitions], session: Session, *, is_in_turn: bool
    ) -> None:
        """Say every minute how far a stream has come, and write the report so far; see :func:`progress_of`."""
        if (now := self._now()) < self._tell_at:
            return
        self._tell_at = now + EVERY
        found = progress_of(tally, partitions(), session, now, is_in_turn=is_in_turn)
        text = "Progress: %s, %d of %d partitions; %d requests sent, %d left now; %s."
        end = "its end is not known" if found.seconds_left is None else f"at least {found.seconds_left} s to its end"
        of = (found.stream, found.partitions_done, found.partitions, found.requests, found.requests_left, end)
        logger.info(text, *of, extra={"progress": msgspec.to_builtins(found)})
        if self._path is not None:
            with suppress(OSError):  # which will be told of at the end
                self._document(Exit(RUNNING), found).write(self._path)

    @contextmanager
    def of_run(
        self, failures: Failures, counted: Callable[[], Counts], tallies: Callable[[], Sequence[Tally]]
    ) -> Iterator[None]:
        """Write the report of the run that is the block: first that it is running, then how it ended.

        Args:
            failures: Gets what could not be read.
            counted: Tells how many requests were sent, and how many were answered with HTTP 429, by label.
            tallies: Gives those of the streams that are selected.

        Raises:
            ConfigurationError: It cannot be written where it is to be.
        """
        if self._path is None:
            yield
            return
        try:
            self._document(Exit(RUNNING)).write(self._path)  # an older one may be there
        except OSError as error:
            raise ConfigurationError(f"report_path: {self._path} cannot be written: {error.strerror}.") from None
        self._so_far = lambda: (failures, counted(), tallies())
        logging.getLogger().addHandler(self._warnings)
        end = Exit("failed")
        try:
            yield
            left = [tally.name for tally in tallies() if tally.ended is None]
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
            _write(self._document(end), self._path)

    def _document(self, end: Exit, progress: Progress | None = None) -> Document:
        failures, counts, tallies = self._so_far()
        by_name: dict[str, list[Tally]] = {}
        for tally in tallies:
            for name in tally.keys:
                by_name.setdefault(name, []).append(tally)
        warnings = self._warnings.by_label
        streams = {name: stream_report(name, some, counts, warnings) for name, some in by_name.items()}
        labels = {part.label for tally in tallies for part in tally.parts.values()}
        requests, throttled = counts
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
                requests=requests.total(),
                throttled=throttled.total(),
                failures=[Failure(label, str(failure)) for label, failure in failures],
                warnings=self._warnings.rest(labels | {tally.name for tally in tallies}),
                progress=progress,
            ),
            streams,
        )


def _write(document: Document, path: Path) -> None:
    try:
        document.write(path)
    except OSError as error:
        logger.error("The report cannot be written: %s: %s.", error.strerror, path)  # noqa: TRY400
        return
    run, streams = document.run, document.streams.values()
    whole = sum(stream.whole for stream in streams)
    text = "Report: %s. %s rows of %d streams sent, %d of them whole; %d requests, %d answers with HTTP 429. See %s"
    logger.info(text, run.exit.reason, f"{run.rows:,}", len(streams), whole, run.requests, run.throttled, path)
