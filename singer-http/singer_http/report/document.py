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
"""What the report of a run says that has not ended, or was killed."""

Ended = Literal["complete", "in doubt", "cut off", "forbidden", "failed", "not read"]
"""How a list ended: by the API's word, or why not."""
Scalar = str | int | float | bool | None


class Keys(msgspec.Struct, frozen=True):
    """The distinct keys of rows, without the keys.

    Attributes:
        count: How many there are.
        checksum: The sum of their hashes, whatever their order; see :mod:`singer_http.report.keys`.
    """

    count: int
    checksum: str


class Exit(msgspec.Struct, frozen=True):
    """How the run ended: complete, incomplete, early, stopped, failed; or that it is running."""

    reason: str
    detail: str | None = None


class Failure(msgspec.Struct, frozen=True):
    """What could not be read, and why."""

    what: str
    why: str


class PartitionReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one partition, or of a list that has none.

    Attributes:
        partition: Its ids; null for a list that is read whole.
        rows: Rows sent.
        pages: Pages whose rows were sent.
        requests: Requests sent for it, those that failed included.
        throttled: Answers with HTTP 429 among them.
        ended: How its list ended.
        resumed: Whether this run went on where another had stopped.
        remark: Why its list did not end by the API's word.
        keys: Keys of the rows sent; null if they have no key.
        bookmark_before: What STATE held of it.
        bookmark_after: What it holds now.
        warnings: What the log warns of.
        seconds: From its first page to its last.
    """

    partition: dict[str, Scalar] | None
    rows: int
    pages: int
    requests: int
    throttled: int
    ended: Ended
    resumed: bool
    remark: str | None
    keys: Keys | None
    bookmark_before: dict[str, Scalar | dict[str, Scalar]]
    bookmark_after: dict[str, Scalar | dict[str, Scalar]]
    warnings: list[str]
    seconds: float


class StreamReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was sent under one name, after stream maps.

    Attributes:
        sources: The tap's streams that it comes from.
        key: Its key properties.
        rows: Rows sent, repeated and deleted ones included.
        deleted: Rows sent as deleted.
        keys: Distinct keys of the rows that are not deleted; null if rows have no key.
        first: The earliest ``time_extracted`` of its rows.
        last: The latest.
        ended: How the worst of its lists ended.
        whole: Whether the rows are all that the API has.
        remark: Why they may not be.
        activated: Whether ACTIVATE_VERSION was sent: loaders then remove all other rows.
        warnings: What the log warns of, partitions apart.
        seconds: From when it was begun to when it was ended.
        partitions: Those that this run came to.
    """

    sources: list[str]
    key: list[str]
    rows: int
    deleted: int
    keys: Keys | None
    first: str | None
    last: str | None
    ended: Ended
    whole: bool
    remark: str | None
    activated: bool
    warnings: list[str]
    seconds: float
    partitions: list[PartitionReport]


class RunReport(msgspec.Struct, frozen=True, kw_only=True):
    """The run as a whole.

    Attributes:
        format: The version of this document.
        tap: The tap's name.
        versions: Of the tap and what it is made of.
        settings: Fingerprint of the settings, secrets left out.
        began: When it began, by this machine's clock.
        seconds: How long it took.
        exit: How it ended.
        rows: Rows sent.
        requests: Requests for data sent.
        throttled: Answers with HTTP 429 among them.
        failures: What could not be read.
        warnings: What the log warns of, streams apart.
    """

    format: int
    tap: str
    versions: dict[str, str]
    settings: str
    began: str
    seconds: float
    exit: Exit
    rows: int
    requests: int
    throttled: int
    failures: list[Failure]
    warnings: list[str]


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
            raise ConfigurationError(f"{path} is a report of format {document.run.format}: use the version it is of.")
        return document
