"""What people do between two runs of a life."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from tests.hubstaff.truth import HISTORY


@dataclass(frozen=True)
class Pause:
    """What people do before a run.

    Attributes:
        changed: So many activities of all times are changed, and then
        hours: time passes, and then
        late: so many are uploaded,
        days: which were tracked in so many days before;
        beside: as many, right before or behind others of the same work.
        start: ``start_date`` is moved to so many days before the beginning of the life; or to an activity of them all,
            and so many minutes later. None where it stays.
    """

    changed: int
    hours: float
    late: int
    days: int
    beside: int
    start: int | tuple[int, int] | None


starts = st.sampled_from((0, 3, 20, HISTORY + 2)) | st.tuples(st.integers(0, 500), st.sampled_from((0, 3, 10)))
pauses = st.builds(
    Pause,
    changed=st.integers(0, 12),
    hours=st.sampled_from((0, 0.2, 1, 3, 7, 24, 50, 8 * 24)),
    late=st.integers(0, 6),
    days=st.sampled_from((1, 6, 20, 35)),
    beside=st.integers(0, 4),
    start=st.none() | st.none() | starts,
)
following = st.none() | pauses
"""What happens after a run that was no good, before the next one."""
