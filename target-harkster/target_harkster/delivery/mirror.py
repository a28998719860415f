"""What is gone at its source: judged when a stream is complete. In mode mirror its posts are deleted, within bounds."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from singer_http.http.errors import ApiError

from target_harkster.ledger.model import GONE
from target_harkster.ledger.store import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from target_harkster.delivery.attempts import Attempts
    from target_harkster.ledger.rejects import Rejects
    from target_harkster.ledger.store import Entry, Ledger
    from target_harkster.vendor.client import Channel

logger = logging.getLogger(__name__)


class TooManyDeletesError(ApiError):
    """More rows are gone than is believable, so that no post was deleted."""


@dataclass(slots=True)
class Presence:
    """Which rows of a stream are there, as far as its messages tell.

    A tap names the version of a table before its rows or after them; only after them is the message itself the sign
    that all have come. Otherwise that is the end of the input, with a STATE behind the last row.

    Attributes:
        stream: Its name.
        prefix: Of its markers.
        channels: Ids of its channels.
        is_mirrored: Posts go with their rows.
        version: Of the table, if the tap has named one.
        is_complete: It was named after the rows.
        is_covered: A STATE came after the rows.
        marked: The markers of the rows that came as deleted.
    """

    stream: str
    prefix: str
    channels: Sequence[str]
    is_mirrored: bool
    version: int | None = None
    is_complete: bool = False
    is_covered: bool = False
    marked: set[str] = field(default_factory=set)
    has_rows: bool = False

    def came(self, marker: str) -> None:
        """Note that a row is there."""
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


class Mirror:
    """Judges what is gone.

    Args:
        attempts: Delete posts.
        ledger: Knows which rows were seen.
        rejects: Knows those that have no posts yet.
        channels: Those that are open, by id.
        config: The target's settings.
    """

    def __init__(
        self,
        attempts: Attempts,
        ledger: Ledger,
        rejects: Rejects,
        channels: Mapping[str, Channel],
        config: Mapping[str, Any],
    ) -> None:
        self._attempts = attempts
        self._ledger = ledger
        self._rejects = rejects
        self._channels = channels
        self._most: int = config["mirror_max_deletes"]
        self._most_share: float = float(config["mirror_max_share"])
        self._streams: dict[str, Presence] = {}
        self.watch: Callable[[Entry], None] | None = None
        """Told of each post that is to be deleted."""
        self.deleted: Counter[str] = Counter()
        """Posts deleted, by stream."""
        self.failures: list[TooManyDeletesError] = []
        """Streams of which nothing was deleted."""

    def presence(self, stream: str, prefix: str, channels: Sequence[str], *, is_mirrored: bool) -> Presence:
        """What is known of a stream, whose SCHEMA may come again."""
        known = self._streams.setdefault(stream, Presence(stream, prefix, channels, is_mirrored))
        known.channels, known.is_mirrored = channels, is_mirrored
        return known

    @property
    def is_due(self) -> bool:
        """Whether there is something to judge before a STATE goes out."""
        return any(one.is_complete or one.marked for one in self._streams.values())

    def judge(self, *, is_end: bool = False) -> None:
        """Judge what is complete; all that came must be in the ledger.

        Args:
            is_end: The input has come to its end.
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
            self._judge(presence, version)

    def covered(self) -> None:
        """Note that a STATE came after all that has come so far."""
        for presence in self._streams.values():
            presence.is_covered = True

    def _judge(self, presence: Presence, version: int | None) -> None:
        if version is not None:
            self._rejects.judge(presence.stream, presence.channels, version)
        if presence.is_mirrored and (version is not None or presence.marked):
            # Also those that were adopted and of which no row has come.
            self._ledger.claim(presence.stream, presence.prefix)
            self._ledger.touch(presence.channels, presence.marked, GONE)
            self._remove(presence.stream, [one for one in presence.channels if one in self._channels], version)
        elif presence.marked:
            self._withdraw(presence)
        presence.marked.clear()
        if version is not None:
            self._ledger.complete(presence.stream, presence.channels, version)
            presence.version, presence.is_complete, presence.has_rows = None, False, False

    def _withdraw(self, presence: Presence) -> None:
        """Delete what waits to be published of rows that came as deleted. What people have seen stays."""
        for channel in (self._channels[one] for one in presence.channels if one in self._channels):
            for entry in self._ledger.find(channel.id, list(presence.marked)).values():
                if entry.phase in {Phase.DEFERRED, Phase.DRAFT} and not entry.held:
                    entry.phase = Phase.DELETING
                    self._ledger.save(entry)
                    self._attempts.deliver(channel, entry)

    def _remove(self, stream: str, channels: Sequence[str], version: int | None) -> None:
        gone, total = self._ledger.gone(stream, channels, version)
        if len(gone) > self._most or len(gone) > self._most_share * total:
            self.failures.append(
                TooManyDeletesError(
                    f"{stream}: {len(gone)} of {total} rows are gone, more than mirror_max_deletes or mirror_max_share"
                    " allow to delete; no post was deleted."
                )
            )
            return
        for entry in gone:
            if self.watch is not None:
                self.watch(entry)
            entry.phase = Phase.DELETING
            self._ledger.save(entry)
            self.deleted[stream] += self._attempts.deliver(self._channels[entry.channel], entry)
        if self.deleted[stream]:
            logger.info("%s: %d posts were deleted, whose rows are gone.", stream, self.deleted[stream])
