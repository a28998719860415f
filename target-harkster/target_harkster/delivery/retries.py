"""Rows that earlier runs rejected: tried again, unless they have come again by themselves."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from target_harkster.delivery.parcel import Refused
    from target_harkster.ledger.rejects import Place, Reject, Rejects

logger = logging.getLogger(__name__)


class Retries:
    """What becomes of the rows that earlier runs rejected.

    Args:
        rejects: Those that stand.
    """

    def __init__(self, rejects: Rejects) -> None:
        self._rejects = rejects
        self._tried: dict[Place, bool] = {}
        self.failed: dict[Place, Reject] = {}
        """Those that were tried and rejected again, each with its new reason."""

    def streams(self) -> Iterator[Reject]:
        """The newest reject of each stream, which tells what its rows look like."""
        yield from {one.stream: one for one in self._rejects.of() if one.schema is not None}.values()

    def attempt(self, streams: Mapping[str, Callable[[Reject, Refused], None]]) -> None:
        """Hand the rows to their streams, each by what takes them."""
        for reject in self._rejects.earlier:
            retry = streams.get(reject.stream)
            if retry is not None and reject.record is not None and not reject.redacted:
                self._tried[reject.place] = True
                retry(reject, partial(self._fail, reject))

    def left(self) -> list[tuple[Reject, str]]:
        """What is still rejected, each with the reason why."""
        told = []
        for reject in self._rejects.of():
            reason = self.failed.get(reject.place, reject).told
            if reject.redacted:
                reason = (
                    f"it cannot be tried without its tap, as reject_redact keeps {', '.join(reject.redacted)} out of"
                    " the ledger; it is when its tap sends it again"
                )
            told.append((reject, reason))
        return told

    def settle(self) -> None:
        """Strike out what is done, when all that was handed to the sinks has been delivered."""
        if self.failed:
            logger.warning("Rows of earlier runs that were tried again and rejected again: %d.", len(self.failed))
        self._rejects.strike(*(place for place, is_done in self._tried.items() if is_done))
        self._rejects.sync()

    def _fail(self, reject: Reject, field: str | None, reason: str) -> None:
        self._tried[reject.place] = False
        self.failed[reject.place] = replace(reject, field=field, reason=reason)
