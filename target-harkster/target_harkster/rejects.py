"""The file of rows that could not be posted: durable before any STATE that is about them, and tried again later."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import msgspec
from singer_http.errors import ConfigurationError, FatalError
from singer_sdk.contrib.msgspec import decoder, encoder

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

REDACTED = "(redacted)"


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
    """The file, one reject a line.

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
        self._unsynced: list[bytes] = []
        self._added = 0
        self._earlier = self._read()
        self.count = 0
        """Rows rejected in this run."""

    @property
    def earlier(self) -> list[Reject]:
        """The rejects of earlier runs, the newest of each row."""
        return list(self._earlier.values())

    def read(self) -> list[Reject]:
        """The rejects that are in the file now, the newest of each row."""
        return list(self._read().values())

    def _read(self) -> dict[bytes, Reject]:
        """The rejects in the file, by their lines."""
        data = self._path.read_bytes() if self._path.exists() else b""
        newest: dict[tuple[str, str | None], bytes] = {}
        found: dict[bytes, Reject] = {}
        # What follows the last line end was cut off when a run was killed: its row comes again.
        for number, line in enumerate(data.splitlines(keepends=True), 1):
            if not line.endswith(b"\n"):
                break
            try:
                told = decoder.decode(line)
                reject = Reject(**told)
            except (msgspec.DecodeError, TypeError):
                raise ConfigurationError(f"reject_path: line {number} of {self._path} is no reject.") from None
            if reject.key is not None:
                found.pop(newest.get((reject.stream, reject.key), b""), None)
                newest[reject.stream, reject.key] = line
            found[line] = reject
        return found

    def add(self, reject: Reject) -> None:
        """Take a reject; it is in the file after :meth:`sync`."""
        self.count += 1
        if reject.record is not None and (hidden := sorted(self._redact.intersection(reject.record))):
            record = {**reject.record, **dict.fromkeys(hidden, REDACTED)}
            reject = replace(reject, record=record, redacted=hidden)
        self._unsynced.append(reject.line())

    def sync(self) -> None:
        """Make durable what was added."""
        added, self._unsynced = b"".join(self._unsynced), []
        if added and not self._is_dry:
            try:
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
            except OSError as error:
                raise _unwritable(self._path, error) from None
            self._added += added.count(b"\n")

    def settle(self, done: Collection[Reject]) -> None:
        """Strike out rejects of earlier runs: those that were posted, or whose rows came again."""
        self.sync()
        if not done or self._is_dry:
            return
        lines = self._path.read_bytes().splitlines(keepends=True)
        struck = {line for line, reject in self._earlier.items() if reject in done}
        # A row that was rejected again may have come to the same line: that one is of this run, and stays.
        new = lines[len(lines) - self._added :]
        kept = [line for line in lines[: len(lines) - self._added] if line not in struck and line.endswith(b"\n")]
        draft = self._path.with_name(f"{self._path.name}.new")
        try:
            with _opened(draft, "wb") as file:
                file.writelines([*kept, *new])
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
        except OSError as error:
            raise _unwritable(self._path, error) from None


def _opened(path: Path, mode: Literal["r+b", "wb"]) -> IO[bytes]:
    """The file, for its owner alone where it is made anew: there are people's data in it."""
    return open(path, mode, opener=lambda name, flags: os.open(name, flags, 0o600))


def _unwritable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"reject_path: {path} cannot be written ({error.strerror}).")
