"""Rows that earlier runs rejected: tried again, unless they have come again by themselves."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from target_harkster.ledger.rejects import Reject
from target_harkster.ledger.store import UNFINISHED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from target_harkster.delivery.outbox import Refused
    from target_harkster.ledger.rejects import RejectFile, Row
    from target_harkster.ledger.store import Entry

logger = logging.getLogger(__name__)


class Retries:
    """What becomes of the rows in the reject file.

    Args:
        file: The file.
    """

    def __init__(self, file: RejectFile) -> None:
        self._file = file
        self._tried: dict[Row, bool] = {}
        self.failed: list[Reject] = []
        """Those that were tried and rejected again, each with its new reason."""

    def came_again(self, stream: str, key: str) -> None:
        """Note that a row came; what was rejected of it is of no more interest.

        That is durable before any STATE behind it: an older version is not tried after a newer one was posted.
        """
        if not self._file.is_empty:
            self._file.strike((stream, key, False), (stream, key, True))

    def resumed(self, entry: Entry, reason: str | None) -> None:
        """Note what became of a post that an earlier run has left; with a reason it was refused."""
        row = (entry.stream, entry.key, True)
        if reason is not None:
            # Its row is not known any more, and it is the ledger that tries again.
            self._file.keep(Reject(entry.stream, entry.key, None, reason))
        elif entry.phase not in UNFINISHED:
            self._file.strike(row)

    def streams(self) -> Iterator[Reject]:
        """The newest reject of each stream, which tells what its rows look like."""
        yield from {reject.stream: reject for reject in self._file.earlier if reject.schema is not None}.values()

    def attempt(self, streams: Mapping[str, Callable[[Reject, Refused], None]]) -> None:
        """Hand the rows to their streams, each by what takes them."""
        for reject in self._file.earlier:
            retry = streams.get(reject.stream)
            if retry is not None and reject.record is not None and not reject.redacted:
                self._tried[reject.row] = True
                retry(reject, partial(self._fail, reject))

    def left(self) -> list[tuple[Reject, str]]:
        """What is still in the file, each with the reason why."""
        reasons = {(one.stream, one.key): one for one in self.failed}
        told = []
        for reject in self._file.read():
            newer = reasons.get((reject.stream, reject.key), reject)
            reason = f"{newer.field} {newer.reason}" if newer.field else f"it {newer.reason}"
            if reject.redacted:
                reason = (
                    f"it cannot be tried from the file, where reject_redact keeps {', '.join(reject.redacted)} out;"
                    " it is when its tap sends it again"
                )
            told.append((reject, reason))
        return told

    def settle(self) -> None:
        """Strike out what is done, when all that was handed to the sinks has been delivered."""
        if self.failed:
            logger.warning("Rows of earlier runs that were tried again and rejected again: %d.", len(self.failed))
        self._file.strike(*(row for row, is_done in self._tried.items() if is_done))
        self._file.sync()

    def _fail(self, reject: Reject, field: str | None, reason: str) -> None:
        self._tried[reject.row] = False
        self.failed.append(replace(reject, field=field, reason=reason))
