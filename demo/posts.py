"""Compare what was posted to Harkster with the hours that the warehouse has of Hubstaff."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from psycopg import sql

from demo.comparison import HUBSTAFF_SCHEMA, aligned

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from demo.postgres import Postgres
    from demo.sandbox import Sandbox

Week = tuple[str, str]
"""The name of an organization, and the Monday that a week of it begins with."""

_TRACKED = """
    SELECT name, date_trunc('week', date::date)::date::text, round(sum(tracked) / 3600.0, 2)
    FROM {activities} JOIN {organizations} ON organizations.id = organization_id GROUP BY 1, 2 ORDER BY 1, 2
"""


@dataclass(frozen=True)
class WeekCount:
    """The hours of a week on both sides.

    Attributes:
        week: Whose, and which.
        posts: What was posted of it, deleted posts included.
        tracked: Hours, by the warehouse, with two decimals as in a post; None where there is no work to post.
    """

    week: Week
    posts: Sequence[Mapping[str, Any]]
    tracked: Decimal | None

    @property
    def posted(self) -> list[Decimal]:
        """The hours that its posts tell of."""
        return [Decimal(str(_data(post, "hours") or 0)) for post in self.posts]

    @property
    def agrees(self) -> bool:
        """Whether its followers were told of it once, and see the right hours."""
        if self.tracked is None or len(self.posts) != 1:
            return False
        (post,), (hours,) = self.posts, self.posted
        is_seen_once = post["status"] == "published" and post["publications"] == 1
        return is_seen_once and hours == self.tracked

    @property
    def updates(self) -> int:
        """How often its posts got new content."""
        return sum(post["updates"] for post in self.posts)


def compare_posts(warehouse: Postgres, sandbox: Sandbox) -> list[WeekCount]:
    """Put the posts of each week beside the hours of it."""
    posts: dict[Week, list[Mapping[str, Any]]] = {}
    for post in sandbox.posts():
        heading = next((field.get("label") for field in post["dataset"] if field["id"] == "heading"), None)
        week = str(heading), str(_data(post, "week"))
        posts.setdefault(week, []).append(post)
    hours = _hours(warehouse)
    return [WeekCount(week, posts.get(week, []), hours.get(week)) for week in sorted(posts.keys() | hours.keys())]


def _hours(warehouse: Postgres) -> dict[Week, Decimal]:
    if not warehouse.count(HUBSTAFF_SCHEMA, "daily_activities").rows:
        return {}
    with warehouse.connect() as connection:
        query = sql.SQL(_TRACKED).format(
            activities=sql.Identifier(HUBSTAFF_SCHEMA, "daily_activities"),
            organizations=sql.Identifier(HUBSTAFF_SCHEMA, "organizations"),
        )
        return {(row[0], row[1]): row[2] for row in connection.execute(query)}


def _data(post: Mapping[str, Any], field: str) -> Any:
    return next((each.get("data") for each in post["dataset"] if each["id"] == field), None)


def post_table(weeks: Sequence[WeekCount]) -> str:
    """Lay out the weeks, for a person to read."""
    return aligned(
        [
            ("Harkster", "hours in the post", "hours in Hubstaff", ""),
            *(
                (
                    f"{week.week[0]}, week of {week.week[1]}",
                    " and ".join(f"{hours:.2f}" for hours in week.posted) or "no post",
                    "no hours" if week.tracked is None else f"{week.tracked:.2f}",
                    _remark(week),
                )
                for week in weeks
            ),
        ]
    )


def _remark(week: WeekCount) -> str:
    if not week.agrees:
        return "<- differs, or was not published once"
    return f"(updated {week.updates} times)" if week.updates > 1 else "(updated)" if week.updates else ""
