"""Tries rows again that earlier runs rejected, unless their tap has sent them again."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from target_harkster.delivery.parcel import Refused
    from target_harkster.ledger.rejects import Reject, RejectId, Rejects

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class RejectRetries:
    """Tries the rejects of earlier runs again.

    Attributes:
        rejects: Those of the ledger.
        channels: Ids of those that are open.
        failed: Those that were tried and rejected again, each with its new reason.
    """

    rejects: Rejects
    channels: Collection[str]
    failed: dict[RejectId, Reject] = field(default_factory=dict, init=False)
    _tried: dict[RejectId, bool] = field(default_factory=dict, init=False)

    def streams(self) -> Iterator[Reject]:
        """The newest reject of each stream, with the SCHEMA of its rows."""
        yield from {one.stream: one for one in self.rejects.stored() if one.schema is not None}.values()

    def attempt(self, streams: Mapping[str, Callable[[Reject, Refused], None]]) -> None:
        """Hand each row to the sink of its stream."""
        for reject in self.rejects.earlier:
            retry = streams.get(reject.stream)
            if retry is not None and reject.record is not None and not reject.redacted:
                self._tried[reject.id] = True
                retry(reject, partial(self._fail, reject))

    def left(self) -> list[tuple[Reject, str]]:
        """What is still rejected, with the reasons."""
        left = []
        for reject in self.rejects.stored():
            reason = self.failed.get(reject.id, reject).sentence
            if reject.channel not in self.channels:
                reason = f"it was not tried: the settings name other channels than its own ({reject.channel}); {reason}"
            if reject.redacted:
                reason = (
                    f"it cannot be tried without its tap, as reject_redact keeps {', '.join(reject.redacted)} out of"
                    " the ledger; it is when its tap sends it again"
                )
            left.append((reject, reason))
        return left

    def finish(self) -> None:
        """Strike out the rejects that became posts, after everything was delivered."""
        if self.failed:
            logger.warning("Rows of earlier runs that were tried again and rejected again: %d.", len(self.failed))
        self.rejects.strike(*(reject_id for reject_id, is_done in self._tried.items() if is_done))

    def _fail(self, reject: Reject, field: str | None, reason: str) -> None:
        self._tried[reject.id] = False
        self.failed[reject.id] = replace(reject, field=field, reason=reason)
