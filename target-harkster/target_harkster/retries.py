"""Rows that earlier runs rejected: tried again, unless they have come again by themselves."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from target_harkster.rejects import Reject, RejectFile
    from target_harkster.sinks import HarksterSink

logger = logging.getLogger(__name__)


class Retries:
    """What becomes of the rows in the reject file.

    Args:
        file: The file.
    """

    def __init__(self, file: RejectFile) -> None:
        self._file = file
        self._waiting = {(one.stream, one.key): one for one in file.earlier if one.key is not None}
        self._superseded: list[Reject] = []
        self._tried: list[Reject] = []
        self.failed: list[Reject] = []
        """Those that were tried and rejected again, each with its new reason."""

    @property
    def done(self) -> list[Reject]:
        """Those that need not be tried any more."""
        return [*self._superseded, *(reject for reject in self._tried if not self._has_failed(reject))]

    def came_again(self, stream: str, key: str) -> None:
        """Note that a row came; what an earlier run rejected of it is of no more interest."""
        if self._waiting and (older := self._waiting.pop((stream, key), None)):
            self._superseded.append(older)

    def streams(self) -> Iterator[Reject]:
        """The newest reject of each stream, which tells what its rows look like."""
        yield from {reject.stream: reject for reject in self._file.earlier if reject.schema is not None}.values()

    def attempt(self, sinks: Mapping[str, HarksterSink]) -> None:
        """Hand the rows to the sinks of their streams."""
        for reject in self._file.earlier:
            sink = sinks.get(reject.stream)
            if sink is None or reject.record is None or reject.redacted or reject in self._superseded:
                continue
            self._tried.append(reject)
            sink.retry(reject, partial(self._fail, reject))

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
        self._file.settle(self.done)

    def _fail(self, reject: Reject, field: str | None, reason: str) -> None:
        self.failed.append(replace(reject, field=field, reason=reason))

    def _has_failed(self, reject: Reject) -> bool:
        return any(reject == replace(failed, field=reject.field, reason=reject.reason) for failed in self.failed)
