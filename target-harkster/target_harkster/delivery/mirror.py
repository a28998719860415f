"""Mode mirror: posts whose rows are gone are deleted, within bounds."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Any

from singer_http.http.errors import ApiError

from target_harkster.ledger.store import Phase

if TYPE_CHECKING:
    from collections.abc import Mapping

    from target_harkster.delivery.delivery import Delivery
    from target_harkster.ledger.store import Ledger
    from target_harkster.vendor.client import Channel

logger = logging.getLogger(__name__)


class TooManyDeletesError(ApiError):
    """More rows are gone than is believable, so that no post was deleted."""


class Mirror:
    """Deletes posts whose rows are gone.

    Args:
        delivery: Deletes.
        ledger: Knows which rows were seen.
        channels: Those that are open, by id.
        config: The target's settings.
    """

    def __init__(
        self, delivery: Delivery, ledger: Ledger, channels: Mapping[str, Channel], config: Mapping[str, Any]
    ) -> None:
        self._delivery = delivery
        self._ledger = ledger
        self._channels = channels
        self._most: int = config["mirror_max_deletes"]
        self._most_share: float = float(config["mirror_max_share"])
        self.deleted: Counter[str] = Counter()
        """Posts deleted, by stream."""
        self.failures: list[TooManyDeletesError] = []
        """Streams of which nothing was deleted."""

    def remove_gone(self, stream: str, version: int) -> None:
        """Delete the posts of a stream whose rows are not in a version of its table.

        Those in channels that the settings no longer name are left alone.
        """
        gone, total = self._ledger.gone(stream, version, self._channels)
        if len(gone) > self._most or len(gone) > self._most_share * total:
            self.failures.append(
                TooManyDeletesError(
                    f"{stream}: {len(gone)} of {total} rows are gone, more than mirror_max_deletes or mirror_max_share"
                    " allow to delete; no post was deleted."
                )
            )
            return
        for entry in gone:
            entry.phase = Phase.DELETING
            self._ledger.save(entry)
            self._delivery.finish(self._channels[entry.channel], entry)
            self.deleted[stream] += 1
        if self.deleted[stream]:
            logger.info("%s: %d posts were deleted, whose rows are gone.", stream, self.deleted[stream])
