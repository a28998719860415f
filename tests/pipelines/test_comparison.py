"""A missing or doubled row never looks like success."""

from __future__ import annotations

from decimal import Decimal

import pytest

from demo.comparison import StreamCount, compare, table
from demo.postgres import Postgres, TableCount
from demo.posts import WeekCount, post_table


@pytest.fixture
def warehouse(postgres: Postgres) -> Postgres:
    with postgres.connect() as connection:
        connection.execute("CREATE SCHEMA things")
        connection.execute("CREATE TABLE things.leads (id text)")
        connection.execute("INSERT INTO things.leads VALUES ('a'), ('b'), ('b')")
    return postgres


def test_counts_come_from_the_tables(warehouse: Postgres) -> None:
    leads, tags = compare(warehouse, "things", {"leads": 3, "tags": 0})
    assert leads == StreamCount("leads", TableCount(rows=3, ids=2), 3)
    assert tags == StreamCount("tags", TableCount(rows=0, ids=0), 0)
    assert not leads.agrees
    assert tags.agrees


@pytest.mark.parametrize(
    ("rows", "ids", "truth", "agrees"),
    [(3, 3, 3, True), (3, 2, 3, False), (3, 3, 4, False), (4, 4, 3, False), (0, 0, 0, True)],
)
def test_agreement_is_each_record_once(rows: int, ids: int, truth: int, *, agrees: bool) -> None:
    assert StreamCount("leads", TableCount(rows, ids), truth).agrees is agrees


def test_records_are_told_apart_by_their_key(warehouse: Postgres) -> None:
    with warehouse.connect() as connection:
        connection.execute("CREATE TABLE things.members (team text, member text)")
        connection.execute("INSERT INTO things.members VALUES ('a', 'x'), ('b', 'x'), ('b', 'x'), ('c', NULL)")
    (members,) = compare(warehouse, "things", {"members": 4}, {"members": ("team", "member")})
    assert members.loaded == TableCount(rows=4, ids=3)


def test_table_points_at_the_difference() -> None:
    counts = [StreamCount("leads", TableCount(20_000, 19_999), 20_000), StreamCount("tags", TableCount(5, 5), 5)]
    heading, leads, tags, total = table("Hustle", counts).splitlines()
    assert heading.split() == ["Hustle", "rows", "in", "PostgreSQL", "rows", "in", "the", "API"]
    assert leads.split() == ["leads", "20,000", "20,000", "<-", "differs:", "19,999", "distinct", "ids"]
    assert tags.split() == ["tags", "5", "5"]
    assert total.split() == ["all", "20,005", "20,005"]


WEEK = "Harbour", "2026-03-16"


def post(hours: str = "7.50", **differing: object) -> dict[str, object]:
    fields = [{"id": "hours", "type": "number", "data": hours}]
    return {"dataset": fields, "status": "published", "publications": 1, "updates": 0, **differing}


@pytest.mark.parametrize(
    ("posts", "tracked", "remark"),
    [
        ([post()], "7.5", ""),
        ([post("7.51")], "7.5", "<- differs"),
        ([post(updates=1)], "7.5", "(updated)"),
        ([post("7.48")], "7.5", "<- differs"),
        ([post(status="draft", publications=0)], "7.5", "<- differs"),
        ([post(publications=2)], "7.5", "<- differs"),
        ([post(), post()], "7.5", "<- differs"),
        ([post()], None, "<- differs"),
        ([], "7.5", "<- differs"),
    ],
)
def test_a_week_is_posted_once_with_its_hours(posts: list[dict[str, object]], tracked: str | None, remark: str) -> None:
    week = WeekCount(WEEK, posts, Decimal(tracked) if tracked else None)
    assert week.agrees is not remark.startswith("<-")
    assert remark in post_table([week]).splitlines()[1]
    assert "Harbour, week of 2026-03-16" in post_table([week])
