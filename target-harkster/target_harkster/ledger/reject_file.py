"""The reject file: what the ledger knows of rejected rows, for people to read, one JSON object a line.

Earlier versions kept the rejects themselves in it, without their channels. Those are taken into the ledger where there
can be no doubt which channel they came from.
"""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import msgspec
from singer_http.http.errors import ConfigurationError
from singer_sdk.contrib.msgspec import decoder, encoder

from target_harkster.ledger.rejects import Reject

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from target_harkster.ledger.rejects import Kind, Rejects
    from target_harkster.ledger.store import Ledger

logger = logging.getLogger(__name__)

_RELEASED = frozenset({"stream", "key", "field", "reason", "record", "redacted", "schema", "key_properties"})
"""What each line has, since the first version."""
_IN_LEDGER = 3
"""The version from which ledgers have the rejects."""
_SQLITE = b"SQLite format 3\0"


class RejectFile:
    """The file. Jobs with ledgers of their own may share it: each replaces the lines of its own channels.

    Args:
        path: Where it is.

    Raises:
        ConfigurationError: It cannot be written there.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        if not self._path.parent.is_dir():
            raise self._unwritable(FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)))

    def write(self, rejects: Iterable[Reject], channels: Collection[str]) -> None:
        """Export rejects.

        Args:
            rejects: All that there are in these channels.
            channels: Those whose lines are replaced.
        """
        lines = [reject.line() for reject in rejects]
        if lines or self._path.exists():
            self._replace(lambda told: None if told.get("channel") in channels else told, lines)

    def take_in(self, ledger: Ledger, rejects: Rejects, first_run: str) -> None:
        """Take in what an earlier version has written, and say what is left in the file.

        Args:
            ledger: Knows into which channels the rows of a stream went.
            rejects: Where to.
            first_run: What becomes of the rows if they are new.
        """
        if not any("channel" not in told for told in self._told()):
            return
        # When its ledger was of that version itself, and not when it has only come to know of the stream since.
        is_ours = 0 < ledger.database.version_before < _IN_LEDGER and _is_alone(self._path, ledger.database.path)
        left = 0

        def taken(told: dict[str, Any]) -> dict[str, Any] | None:
            nonlocal left
            if "channel" in told:
                return told
            channels = ledger.channels_of(told["stream"]) if is_ours else set()
            if len(channels) != 1:
                left += 1
                return told
            kind: Kind = "post" if told["record"] is None else "row"
            reject = Reject(channel=channels.pop(), kind=kind, first_run=first_run, **told)
            rejects.take_in(reject)
            return dict(decoder.decode(reject.line()))

        self._replace(taken)
        if left:
            logger.warning(
                "%s: %d rejected rows were written there by an earlier version, and it is not known for which channel."
                " They are left there and not tried again: they are posted when their tap sends them again.",
                self._path,
                left,
            )

    def _replace(self, kept: Callable[[dict[str, Any]], dict[str, Any] | None], added: Iterable[bytes] = ()) -> None:
        try:
            with filelock.FileLock(f"{self._path}.lock"):
                told = [kept(one) for one in self._told()]
                lines = [encoder.encode(one) for one in told if one is not None]
                draft = self._path.with_name(f"{self._path.name}.new")
                # For its owner alone: there are people's data in it.
                with open(draft, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
                    file.write(b"".join(line + b"\n" for line in (*lines, *added)))
                    file.flush()
                    os.fsync(file.fileno())
                draft.replace(self._path)
        except OSError as error:
            raise self._unwritable(error) from None

    def _told(self) -> Iterator[dict[str, Any]]:
        """The lines. What follows the last line end was cut off when a run was killed."""
        data = self._path.read_bytes() if self._path.exists() else b""
        for number, line in enumerate(data.split(b"\n")[:-1], 1):
            if line:
                try:
                    told = dict(decoder.decode(line))
                    if not told.keys() >= _RELEASED:
                        raise TypeError  # noqa: TRY301 - the same as a line of another kind
                except (msgspec.DecodeError, TypeError, ValueError):
                    raise ConfigurationError(f"reject_path: line {number} of {self._path} is no reject.") from None
                yield told

    def _unwritable(self, error: OSError) -> ConfigurationError:
        return ConfigurationError(f"reject_path: {self._path} cannot be written ({error.strerror}).")


def _is_alone(path: Path, ledger: str | None) -> bool:
    """Whether a ledger lies beside the reject file, and no other one does: then no other job has written to it."""
    if ledger is None or Path(ledger).resolve().parent != path.resolve().parent:
        return False
    ledgers = {found.resolve() for found in path.resolve().parent.iterdir() if found.is_file() and _begins(found)}
    return ledgers == {Path(ledger).resolve()}


def _begins(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_SQLITE)) == _SQLITE
