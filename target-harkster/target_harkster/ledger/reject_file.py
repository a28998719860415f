"""The reject file: the rejects of the ledger for people to read, one JSON object a line."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import msgspec
from singer_http.http.errors import ConfigurationError
from singer_sdk.contrib.msgspec import decoder, encoder

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from target_harkster.ledger.rejects import Reject


class RejectFile:
    """The file. Jobs with ledgers of their own may share it: each replaces its own lines.

    Raises:
        ConfigurationError: It cannot be written there, or is another file.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        if not self._path.parent.is_dir():
            raise self._unwritable(FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)))
        try:
            all(self._lines())
        except OSError as error:
            raise self._unwritable(error) from None

    def write(self, rejects: Iterable[Reject], streams: Mapping[str, Collection[str]]) -> None:
        """Export the rejects of some streams, by channel."""
        lines = [reject.line() for reject in rejects]
        if not lines and not self._path.exists():
            return
        try:
            with filelock.FileLock(f"{self._path}.lock"):
                kept = [
                    encoder.encode(reject)
                    for reject in self._lines()
                    if reject.get("stream") not in streams.get(reject["channel"], ())
                ]
                draft = self._path.with_name(f"{self._path.name}.new")
                # For its owner alone: it holds people's data.
                with open(draft, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
                    file.write(b"".join(line + b"\n" for line in (*kept, *lines)))
                    file.flush()
                    os.fsync(file.fileno())
                draft.replace(self._path)
        except OSError as error:
            raise self._unwritable(error) from None

    def _lines(self) -> Iterator[dict[str, Any]]:
        """The lines. A last line without its end is left out: a run was killed while it wrote."""
        data = self._path.read_bytes() if self._path.exists() else b""
        for number, line in enumerate(data.split(b"\n")[:-1], 1):
            if line:
                try:
                    reject = dict(decoder.decode(line))
                    _ = reject["channel"]
                except (KeyError, msgspec.DecodeError, TypeError, ValueError):
                    raise ConfigurationError(f"reject_path: line {number} of {self._path} is no reject.") from None
                yield reject

    def _unwritable(self, error: OSError) -> ConfigurationError:
        return ConfigurationError(f"reject_path: {self._path} cannot be written ({error.strerror}).")
