"""The file of rows that could not be posted: durable before any STATE that is about them, and tried again later."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import filelock
import msgspec
from singer_http.http.errors import ConfigurationError, FatalError
from singer_sdk.contrib.msgspec import decoder, encoder

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

REDACTED = "(redacted)"


Row = tuple[str, str, bool]
"""What a reject is of: stream, key (or record, where there is no key), and whether no record is known."""


class TooManyRejectsError(FatalError):
    """So many rows were rejected that something else than the rows must be wrong."""


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that could not be posted.

    Attributes:
        stream: Of the row.
        key: Of the row, as JSON; None where it has none.
        field: Id of the field or name of the property that is wrong, if it is one.
        reason: What is wrong, without the value.
        record: The row; None where it is not known, as of a digest.
        redacted: The properties of it that were blacked out, and keep it from being tried again.
        schema: What the row was checked against, so that it can be tried again without its tap.
        key_properties: The primary key of its stream.
    """

    stream: str
    key: str | None
    field: str | None
    reason: str
    record: Mapping[str, Any] | None = None
    redacted: Sequence[str] = ()
    schema: Mapping[str, Any] | None = None
    key_properties: Sequence[str] = ()

    @property
    def row(self) -> Row:
        """Of which row or digest it is."""
        key = encoder.encode(self.record).decode() if self.key is None else self.key
        return self.stream, key, self.record is None

    def line(self) -> bytes:
        """The reject as a line of the file."""
        told = {
            "stream": self.stream,
            "key": self.key,
            "field": self.field,
            "reason": self.reason,
            "record": self.record,
            "redacted": list(self.redacted),
            "schema": self.schema,
            "key_properties": list(self.key_properties),
        }
        return encoder.encode(told) + b"\n"


class RejectFile:
    """The file, one reject a line, and one at most of each row.

    Args:
        path: Where it is.
        redact: Properties whose values are not to be written.
        is_dry: Nothing is written.

    Raises:
        ConfigurationError: The file is not one of rejects.
    """

    def __init__(self, path: str, redact: Collection[str], *, is_dry: bool = False) -> None:
        self._path = Path(path)
        self._redact = frozenset(redact)
        self._is_dry = is_dry
        self._earlier = {reject.row: reject for reject in self.read()}
        self._written = set(self._earlier)
        self._added: dict[Row, bytes] = {}
        self._struck: set[Row] = set()
        self.count = 0
        """Rows rejected in this run."""

    @property
    def earlier(self) -> list[Reject]:
        """The rejects of earlier runs that are neither struck out nor replaced by newer ones."""
        return list(self._earlier.values())

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to strike out."""
        return not self._written and not self._added

    def read(self) -> list[Reject]:
        """The rejects that are in the file now, the newest of each row."""
        lines = self._lines()
        rejects = (self._understood(line, number) for number, line in enumerate(lines, 1))
        return list({reject.row: reject for reject in rejects}.values())

    def _lines(self) -> list[bytes]:
        data = self._path.read_bytes() if self._path.exists() else b""
        # What follows the last line end was cut off when a run was killed: its row comes again.
        return [line for line in data.split(b"\n")[:-1] if line]

    def _understood(self, line: bytes, number: int) -> Reject:
        try:
            return Reject(**decoder.decode(line))
        except (msgspec.DecodeError, TypeError):
            raise ConfigurationError(f"reject_path: line {number} of {self._path} is no reject.") from None

    def add(self, reject: Reject) -> None:
        """Take a row of this run; it is in the file after :meth:`sync`, in the place of any other of the same row."""
        self.count += 1
        self.keep(reject)

    def keep(self, reject: Reject) -> None:
        """Take a reject like :meth:`add`, of a row that is not of this run."""
        row = reject.row
        if reject.record is not None and (hidden := sorted(self._redact.intersection(reject.record))):
            record = {**reject.record, **dict.fromkeys(hidden, REDACTED)}
            reject = replace(reject, record=record, redacted=hidden)
            row = reject.row
        self.strike(row)
        self._added[row] = reject.line()

    def strike(self, *rows: Row) -> None:
        """Strike rejects out: their rows were posted, or came again. They are in the file until :meth:`sync`."""
        for row in rows:
            self._earlier.pop(row, None)
            self._added.pop(row, None)
            if row in self._written:
                self._struck.add(row)

    def sync(self) -> None:
        """Make durable what was taken and what was struck out, in one step."""
        if self._added or self._struck:
            if not self._is_dry:
                try:
                    self._write(b"".join(self._added.values()))
                except OSError as error:
                    raise _unwritable(self._path, error) from None
            self._written = (self._written - self._struck) | self._added.keys()
            self._added, self._struck = {}, set()

    def _write(self, added: bytes) -> None:
        if not self._path.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        # Runs into other channels may write to the same file.
        with filelock.FileLock(f"{self._path}.lock"):
            if not self._struck:
                self._append(added)
                return
            lines = [
                line
                for number, line in enumerate(self._lines(), 1)
                if self._understood(line, number).row not in self._struck
            ]
            draft = self._path.with_name(f"{self._path.name}.new")
            with _opened(draft, "wb") as file:
                file.write(b"".join(line + b"\n" for line in lines) + added)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)

    def _append(self, added: bytes) -> None:
        with _opened(self._path, "r+b" if self._path.exists() else "wb") as file:
            whole = file.seek(0, os.SEEK_END)
            if whole:
                file.seek(0)
                whole = file.read().rfind(b"\n") + 1
            file.truncate(whole)
            file.seek(whole)
            file.write(added)
            file.flush()
            os.fsync(file.fileno())


def _opened(path: Path, mode: Literal["r+b", "wb"]) -> IO[bytes]:
    """The file, for its owner alone where it is made anew: there are people's data in it."""
    return open(path, mode, opener=lambda name, flags: os.open(name, flags, 0o600))


def _unwritable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"reject_path: {path} cannot be written ({error.strerror}).")
