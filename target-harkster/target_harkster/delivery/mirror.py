"""Notes in the ledger which rows are gone. In mode mirror, deletes their posts at the end of the input, within limits.

What is noted is durable before the STATE that covers it, so the tap need not tell it again. It stays noted until the
posts are deleted or the rows come back.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from target_harkster.ledger.model import GONE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from target_harkster.delivery.courier import Courier
    from target_harkster.ledger.rejects import Rejects
    from target_harkster.ledger.store import Ledger
    from target_harkster.vendor.client import Channel

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Presence:
    """Which rows of a stream are present, by its messages.

    A tap sends ACTIVATE_VERSION before or after the rows of a table. After them, the message itself says that all rows
    have come. Before them, the end of the input says so, if a STATE came after the last row.

    Attributes:
        stream: Its name.
        channels: Ids of its channels.
        is_mirrored: Posts go with their rows.
        version: Of the table, if the tap has named one.
        is_complete: It was named after the rows.
        is_covered: A STATE came after the rows.
        marked: The markers of the rows that came as deleted.
    """

    stream: str
    channels: Sequence[str]
    is_mirrored: bool
    version: int | None = None
    is_complete: bool = False
    is_covered: bool = False
    marked: set[str] = field(default_factory=set)
    has_rows: bool = False

    def came(self, marker: str) -> None:
        """Note that a row is present."""
        self.has_rows = True
        self.is_covered = False
        self.marked.discard(marker)

    def left(self, marker: str | None) -> None:
        """Note that a row came as deleted; without a marker where rows have no posts of their own."""
        self.has_rows = True
        self.is_covered = False
        if marker is not None:
            self.marked.add(marker)

    def announce(self, version: int) -> None:
        """Note the version of a table that is being sent, or was."""
        self.is_complete = self.has_rows and self.version is None
        self.is_covered = False
        self.version = version


@dataclass(slots=True, eq=False)
class Mirror:
    """Finds and deletes what is gone.

    Attributes:
        channels: Those that are open, by id.
        most: How many posts of a stream a run may delete.
        most_share: How large a share of them it may delete.
        deleted: Published posts that were deleted, by stream.
        failures: Why nothing was deleted of some streams.
    """

    courier: Courier
    ledger: Ledger
    rejects: Rejects
    channels: Mapping[str, Channel]
    most: int
    most_share: float
    deleted: Counter[str] = field(default_factory=Counter, init=False)
    failures: list[str] = field(default_factory=list, init=False)
    _streams: dict[str, Presence] = field(default_factory=dict, init=False)

    def presence(self, stream: str, channels: Sequence[str], *, is_mirrored: bool) -> Presence:
        """The presence of a stream, also when its SCHEMA comes again."""
        known = self._streams.setdefault(stream, Presence(stream, channels, is_mirrored))
        known.channels, known.is_mirrored = channels, is_mirrored
        if not is_mirrored:
            self.ledger.forget_gone(channels, stream)  # in other modes nobody notes that a row came back
        return known

    @property
    def is_due(self) -> bool:
        """Whether there is something to note before a STATE goes out."""
        return any(one.is_complete or one.marked for one in self._streams.values())

    def judge(self, *, is_end: bool = False) -> None:
        """Note what is gone of complete streams, and delete it at the end of the input.

        All rows must be in the ledger.
        """
        for presence in self._streams.values():
            version = presence.version
            if not presence.is_complete and not (is_end and presence.is_covered):
                if is_end and version is not None:
                    logger.warning(
                        "%s: no STATE came after its rows, as if the tap was cut off: what is gone is not looked for.",
                        presence.stream,
                    )
                version = None
            self._note(presence, version)
            if is_end and presence.is_mirrored:
                self._remove(presence.stream, presence.channels)

    def begin_table(self, presence: Presence) -> None:
        """Note that a table is being sent with its version: what came before without one is not in it."""
        self.ledger.begin_table(presence.stream, presence.channels)
        self.rejects.begin_table(presence.stream, presence.channels)

    def covered(self) -> None:
        """Note that a STATE came after all rows so far."""
        for presence in self._streams.values():
            presence.is_covered = True

    def _note(self, presence: Presence, version: int | None) -> None:
        if version is not None:
            self.rejects.judge(presence.stream, presence.channels, version)
            self.ledger.complete(presence.stream, presence.channels, version, is_mirrored=presence.is_mirrored)
            presence.version, presence.is_complete, presence.has_rows = None, False, False
        if presence.is_mirrored:
            self.ledger.touch(presence.channels, presence.marked, GONE)
        else:
            self._withdraw(presence)
        presence.marked.clear()

    def _withdraw(self, presence: Presence) -> None:
        """Delete waiting posts of rows that came as deleted. Posts that people have seen stay."""
        for channel in (self.channels[one] for one in presence.channels if one in self.channels):
            for entry in self.ledger.find(channel.id, list(presence.marked)).values():
                if entry.waits:
                    self.courier.remove(channel, entry)

    def _remove(self, stream: str, channels: Sequence[str]) -> None:
        gone, total = self.ledger.gone(stream, channels)
        if len(gone) > self.most or len(gone) > self.most_share * total:
            self.failures.append(
                f"{stream}: {len(gone)} of {total} rows are gone, more than mirror_max_deletes or mirror_max_share"
                " allow to delete, so no post was deleted. If they are meant to be gone, raise the limits for one run."
                " If not, let the tap send them again: rows that come keep their posts."
            )
            logger.error("%s", self.failures[-1])
            return
        for entry in gone:
            self.deleted[stream] += self.courier.remove(self.channels[entry.channel], entry)
        if self.deleted[stream]:
            logger.info("%s: %d posts were deleted, whose rows are gone.", stream, self.deleted[stream])
