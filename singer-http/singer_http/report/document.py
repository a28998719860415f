"""The report of a run as a document: what is in it, and how it is written and read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

import msgspec

from singer_http.http.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = 1
RUNNING = "running"
"""The reason of a run that goes on, or that was killed since the report was last written: that is every minute."""
BROKEN_OFF = frozenset({"stopped", "failed"})
"""The reasons of a run that did not come to its end."""

Ended = Literal["complete", "in doubt", "cut off", "forbidden", "failed", "not read"]
"""How a list ended: by the API's word, or why not."""
Scalar = str | int | float | bool | None


class Keys(msgspec.Struct, frozen=True):
    """The distinct keys of rows, without the keys."""

    count: int
    checksum: str  # the sum of their hashes, whatever their order; see singer_http.report.keys


class Exit(msgspec.Struct, frozen=True):
    """How the run ended."""

    reason: str  # complete, incomplete, early, stopped, failed; or running
    detail: str | None = None


class Failure(msgspec.Struct, frozen=True):
    """What could not be read, and why."""

    what: str
    why: str


class PartitionReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one partition, or of a list that has none."""

    partition: dict[str, Scalar] | None  # its ids; None for a list that is read whole
    rows: int  # sent
    pages: int  # whose rows were sent
    requests: int  # sent for it, those that failed included
    throttled: int  # answers with HTTP 429 among them
    ended: Ended
    resumed: bool  # whether this run went on where another had stopped
    remark: str | None  # why its list did not end by the API's word
    keys: Keys | None  # of the rows sent; None if they have no key
    bookmark_before: dict[str, Scalar | dict[str, Scalar]]  # in STATE
    bookmark_after: dict[str, Scalar | dict[str, Scalar]]
    warnings: list[str]
    seconds: float  # from its first page to its last


class StreamReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was sent under one name, after stream maps."""

    sources: list[str]  # the tap's streams that it comes from
    key: list[str]  # its key properties
    rows: int  # sent, repeated and deleted ones included
    deleted: int  # sent as deleted
    keys: Keys | None  # of the rows that are not deleted; None if rows have no key
    first: str | None  # the earliest time_extracted of its rows
    last: str | None  # the latest
    ended: Ended  # the worst of its lists
    whole: bool  # whether the rows are all that the API has
    remark: str | None  # why they may not be
    activated: bool  # whether ACTIVATE_VERSION was sent: loaders then remove all other rows
    warnings: list[str]  # partitions apart
    seconds: float
    partitions: list[PartitionReport]  # those that this run came to


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a run has come."""

    stream: str  # that is being read
    partitions_done: int  # of it, those of the read that this run continues included
    partitions: int
    requests: int  # sent by the run
    requests_left: int  # that the limit allows at this moment
    seconds_left: int | None  # for the stream, at least; None if that is not known


class RunReport(msgspec.Struct, frozen=True, kw_only=True):
    """The run as a whole."""

    format: int  # the version of this document
    tap: str
    versions: dict[str, str]  # of the tap and what it is made of
    settings: str  # their fingerprint, secrets left out
    began: str  # by this machine's clock
    seconds: float
    exit: Exit
    rows: int  # sent
    requests: int  # for data
    throttled: int  # answers with HTTP 429 among them
    failures: list[Failure]
    warnings: list[str]  # streams apart
    progress: Progress | None = None  # of a run that has not ended, or was killed


class Document(msgspec.Struct, frozen=True):
    """The report of a run."""

    run: RunReport
    streams: dict[str, StreamReport]

    def write(self, path: Path) -> None:
        """Put the document in the place of what is at a path, whole or not at all, for its owner alone.

        Raises:
            OSError: It cannot be written.
        """
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        with open(draft, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)

    @classmethod
    def read(cls, path: Path) -> Document:
        """Read the document at a path.

        Raises:
            ConfigurationError: There is none that this version can read.
        """
        try:
            document = msgspec.json.decode(path.read_bytes(), type=cls)
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be read: {error.strerror}.") from None
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise ConfigurationError(f"{path} is no report of a run: give what report_path names.") from None
        if document.run.format != FORMAT:
            raise ConfigurationError(
                f"{path} is a report of format {document.run.format}, which this version cannot read: use"
                " the one that wrote it."
            )
        return document
