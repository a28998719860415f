"""Tells how far a run has come, while it goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from singer_http.report.document import Progress
from singer_http.resume import RESUME

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from singer_http.http.session import Session
    from singer_http.report.tally import Tally

    Partitions = Sequence[Mapping[str, Any]] | None

EVERY = 60.0  # seconds


def progress_of(tally: Tally, partitions: Partitions, session: Session, now: float, *, is_in_turn: bool) -> Progress:
    """How far the stream that is being read has come.

    Args:
        tally: Of the stream.
        partitions: All that it has; None if it is read whole.
        session: Sends its requests.
        now: By the clock of the tally.
        is_in_turn: Whether its partitions are read one after the other: only then is it known what one takes.
    """
    owners: Sequence[Mapping[str, Any] | None] = [None] if partitions is None else partitions
    parts = [(partition, tally.part(partition)) for partition in owners]
    done = [part for _, part in parts if part is not None and part.ended != "cut off"]
    earlier = sum(part is None and tally.bookmarks.get(own).get(RESUME, {}).get("done", False) for own, part in parts)
    to_do = len(parts) - len(done) - earlier
    left = session.budget.left
    seconds = None
    if done and is_in_turn and tally.began is not None:
        requests = to_do / len(done) * sum(session.requests[part.label] for part in done)
        # As fast as so far, or as the limit allows.
        seconds = max((now - tally.began) * to_do / len(done), (requests - left) / session.budget.per_second)
    return Progress(
        stream=tally.name,
        partitions_done=len(parts) - to_do,
        partitions=len(parts),
        requests=session.requests.total(),
        requests_left=left,
        seconds_left=None if seconds is None else round(seconds),
    )
