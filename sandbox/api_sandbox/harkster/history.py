"""Posts that others made before: what a channel looks like on the first day of a client."""

from datetime import timedelta

from api_sandbox.harkster.clock import Clock
from api_sandbox.harkster.directory import Channel
from api_sandbox.harkster.fields import Dataset
from api_sandbox.harkster.posts import Author, PostBook
from api_sandbox.harkster.scenario import HeadingName

_AUTHORS = tuple(Author(f"{name.lower()}-1", name) for name in ("Jamie", "Samantha", "Noor"))
_STATUSES = ("green", "amber", None, "red", "grey")
_DONE = ("New website is live\nBudget approved", "Two interviews\nOne offer", "Nothing, all were ill")
_WEEK = timedelta(days=7)


def write_history(posts: PostBook, channel: Channel, weeks: int, clock: Clock, heading: HeadingName) -> None:
    """Fill a channel with one post of somebody else in each of so many weeks, the last one a week ago."""
    for week in range(weeks):
        posts.write_history(
            channel,
            "Weekly check-in",
            _check_in(week, "header" if heading == "both" else heading),
            _AUTHORS[week % len(_AUTHORS)],
            clock.now() - (weeks - week) * _WEEK,
        )


def _check_in(week: int, heading: str) -> Dataset:
    return [
        {"type": heading, "id": "1", "label": "Summary"},
        {"type": "status", "id": "2", "label": "Status", "data": _STATUSES[week % len(_STATUSES)]},
        {"type": "progress", "id": "3", "label": "Progress", "data": str(min(100, 20 + 17 * week))},
        {"type": "divider", "id": "4"},
        {"type": "bulletPoints", "id": "5", "label": "Done", "data": _DONE[week % len(_DONE)]},
    ]
