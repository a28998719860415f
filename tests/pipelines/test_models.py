"""The views in models/ say of loaded tables what the sandbox knows to be true."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from contextlib import ExitStack
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from api_sandbox import HubstaffScenario, RunningSandbox, Scenario, Tracked, serve_in_thread

from demo.models import MODELS, create_views, rows, verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from demo.postgres import Postgres

NOW = datetime(2026, 3, 31, 12, 30, tzinfo=timezone.utc)
STREAMS = {
    "activities",
    "clients",
    "daily_activities",
    "last_activities",
    "members",
    "organizations",
    "projects",
    "tasks",
    "time_sessions",
    "users",
}


TAP_README = Path(__file__).parents[2] / "tap-hubstaff" / "README.md"


@pytest.fixture
def sandbox() -> Iterator[RunningSandbox]:
    """Two organizations far from UTC on both sides, with a member who left."""
    hubstaff = HubstaffScenario(
        organizations=2,
        zones=("Asia/Kolkata", "Pacific/Honolulu"),
        history_days=25,
        now=NOW,
        clock="stopped",
        requests_per_hour=None,
        exchanges_per_hour=None,
    )
    with serve_in_thread(Scenario(hubstaff=hubstaff)) as running:
        yield running


@pytest.fixture
def warehouse(sandbox: RunningSandbox, postgres: Postgres, tmp_path: Path, programs: Path) -> Postgres:
    """The tables after a first load, late uploads, edits of any age, and a second load; and the views on them."""
    load(sandbox, postgres, tmp_path, programs)
    sandbox.hubstaff.edit("activities", 40)
    sandbox.hubstaff.add_late(30, days=20)
    sandbox.hubstaff.advance(86_400)
    load(sandbox, postgres, tmp_path, programs)
    create_views(postgres)
    return postgres


def load(sandbox: RunningSandbox, postgres: Postgres, folder: Path, programs: Path, **settings: object) -> None:
    """Run the tap into the loader, from where the last run came to."""
    tap = {
        "access_token": sandbox.hubstaff.organization_token,
        "api_url": sandbox.hubstaff.api_url,
        "auth_url": sandbox.hubstaff.auth_url,
        "token_path": str(folder / "tokens"),
        "start_date": (sandbox.hubstaff.now - timedelta(days=40)).date().isoformat(),
        **settings,
    }
    loader = {"sqlalchemy_url": postgres.sqlalchemy_url, "default_target_schema": "tap_hubstaff"}
    as_in_meltano_yml = {"use_copy": True, "validate_records": False}
    config, state, catalog = folder / "tap.json", folder / "state.json", folder / "catalog.json"
    config.write_text(json.dumps(tap))
    (folder / "loader.json").write_text(json.dumps(loader | as_in_meltano_yml))
    if not catalog.exists():
        found = json.loads(subprocess.check_output([programs / "tap-hubstaff", "--config", config, "--discover"]))
        streams = [stream for stream in found["streams"] if stream["tap_stream_id"] in STREAMS]
        catalog.write_text(json.dumps({"streams": streams}))
    resumed = ["--state", str(state)] if state.exists() else []
    with ExitStack() as stack, (folder / "log").open("a") as log:
        reading = stack.enter_context(
            subprocess.Popen(
                [programs / "tap-hubstaff", "--config", config, "--catalog", catalog, *resumed],
                stdout=subprocess.PIPE,
                stderr=log,
            )
        )
        states = subprocess.check_output(
            [programs / "target-postgres", "--config", folder / "loader.json"], stdin=reading.stdout, stderr=log
        )
    assert reading.returncode == 0, (folder / "log").read_text()[-3000:]
    state.write_text(states.splitlines()[-1].decode())


def activities(sandbox: RunningSandbox) -> list[dict[str, Any]]:
    """All activities, with the organizations that the API has them under."""
    return of_organizations(sandbox, "activities")


def of_organizations(sandbox: RunningSandbox, stream: str) -> list[dict[str, Any]]:
    owned = sandbox.hubstaff.truth.by_organization["projects"]
    owners = {int(project): int(organization) for organization, projects in owned.items() for project in projects}
    return [{**row, "organization_id": owners[row["project_id"]]} for row in sandbox.hubstaff.records(stream)]


def names(sandbox: RunningSandbox, stream: str, name: str = "name") -> dict[int, str]:
    return {record["id"]: record[name] for record in sandbox.hubstaff.records(stream)}


def hours_are_those_of_the_activities(sandbox: RunningSandbox, warehouse: Postgres) -> None:
    people, projects = names(sandbox, "users"), names(sandbox, "projects")
    expected: Counter[Any] = Counter()
    for activity in activities(sandbox):
        key = (activity["date"], people[activity["user_id"]], projects[activity["project_id"]])
        expected[key, activity["organization_id"]] += activity["tracked"]
    found: Counter[Any] = Counter()
    for row in rows(warehouse, "hours"):
        found[(row["date"].isoformat(), row["person"], row["project"]), row["organization_id"]] += round(
            row["hours"] * 3600
        )
    assert found == expected
    assert {row["client"] for row in rows(warehouse, "hours")} - {None} <= set(names(sandbox, "clients").values())


def the_timesheet_is_the_union_of_the_activities(sandbox: RunningSandbox, warehouse: Postgres) -> None:
    sheet = rows(warehouse, "timesheet")
    assert sum(round(row["hours"] * 3600) for row in sheet) == sum(
        activity["tracked"] for activity in activities(sandbox)
    )
    for activity in activities(sandbox):
        start = datetime.fromisoformat(activity["starts_at"].replace("Z", "+00:00"))
        stop = start + timedelta(seconds=activity["tracked"])
        covering = [
            row
            for row in sheet
            if (row["user_id"], row["project_id"], row["task_id"])
            == (activity["user_id"], activity["project_id"], activity["task_id"])
            and row["organization_id"] == activity["organization_id"]
            and row["started_at"].replace(tzinfo=timezone.utc) <= start
            and stop <= row["stopped_at"].replace(tzinfo=timezone.utc)
        ]
        assert len(covering) == 1


def a_week_is_paid_at_the_rate_of_the_member(sandbox: RunningSandbox, warehouse: Postgres) -> None:
    rates = {(member["user_id"], member["pay_rate"]) for member in sandbox.hubstaff.records("members")}
    seconds: Counter[Any] = Counter()
    for activity in activities(sandbox):
        day = date.fromisoformat(activity["date"])
        monday = day - timedelta(days=day.weekday())
        seconds[activity["organization_id"], activity["user_id"], monday] += activity["tracked"]
    paid = {(row["organization_id"], row["user_id"], row["week"]): row for row in rows(warehouse, "payroll_week")}
    assert {key: round(row["hours"] * 3600) for key, row in paid.items()} == seconds
    assert {(row["user_id"], row["pay_rate"]) for row in paid.values()} <= {
        (user, rate and Decimal(rate)) for user, rate in rates
    }
    for row in paid.values():
        assert row["amount"] == (row["pay_rate"] and round(row["hours"] * row["pay_rate"], 2))
    assert any(row["amount"] for row in paid.values())


def billable_and_utilization_add_up(sandbox: RunningSandbox, warehouse: Postgres) -> None:
    days = of_organizations(sandbox, "daily_activities")
    billable = rows(warehouse, "billable")
    assert sum(round(row["billable_hours"] * 3600) for row in billable) == sum(day["billable"] for day in days)
    assert sum(round(row["other_hours"] * 3600) for row in billable) == sum(
        day["tracked"] - day["billable"] for day in days
    )
    for row in rows(warehouse, "utilization"):
        of_week = [
            day
            for day in days
            if (day["organization_id"], day["user_id"]) == (row["organization_id"], row["user_id"])
            and row["week"] <= date.fromisoformat(day["date"]) < row["week"] + timedelta(days=7)
        ]
        tracked = sum(day["tracked"] for day in of_week)
        assert row["days"] == len({day["date"] for day in of_week})
        assert float(row["billable_share"]) == pytest.approx(sum(day["billable"] for day in of_week) / tracked)
        assert 0 <= row["activity"] <= 1


def who_is_online(sandbox: RunningSandbox, warehouse: Postgres) -> None:
    people = names(sandbox, "users")
    assert Counter((row["person"], row["online"]) for row in rows(warehouse, "online")) == Counter(
        (people[one["user_id"]], one["online"]) for one in sandbox.hubstaff.records("last_activities")
    )


def a_member_who_is_gone_is_not_online(_sandbox: RunningSandbox, warehouse: Postgres) -> None:
    gone, *others = ((row["organization_id"], row["user_id"]) for row in rows(warehouse, "online"))
    with warehouse.connect() as connection, connection.transaction(force_rollback=True):
        # So target-postgres keeps what `changes_only` sends of a row that is gone.
        connection.execute(
            """
            UPDATE tap_hubstaff.last_activities
            SET _sdc_deleted_at = now(), online = NULL, last_client_activity = NULL, last_project_id = NULL
            WHERE organization_id = %s AND user_id = %s
            """,
            gone,
        )
        found = connection.execute("SELECT organization_id, user_id FROM hubstaff.online").fetchall()
    assert sorted(found) == sorted(others)


def reconcile_finds_one_activity_that_is_missing(sandbox: RunningSandbox, warehouse: Postgres) -> None:
    assert rows(warehouse, "reconcile") == []
    people = names(sandbox, "users")
    days = sorted({activity["date"] for activity in activities(sandbox)})
    missing = next(one for one in activities(sandbox) if one["date"] == days[len(days) // 2])
    with warehouse.connect() as connection, connection.transaction(force_rollback=True):
        connection.execute("DELETE FROM tap_hubstaff.activities WHERE id = %s", [missing["id"]])
        (row,) = connection.execute(
            "SELECT date, person, daily_hours > activity_hours FROM hubstaff.reconcile"
        ).fetchall()
    assert row == (date.fromisoformat(missing["date"]), people[missing["user_id"]], True)
    assert verdict(warehouse) == "activities and daily activities agree on every person and day"


VIEWS = (
    hours_are_those_of_the_activities,
    the_timesheet_is_the_union_of_the_activities,
    a_week_is_paid_at_the_rate_of_the_member,
    billable_and_utilization_add_up,
    who_is_online,
    a_member_who_is_gone_is_not_online,
    reconcile_finds_one_activity_that_is_missing,
)


def test_the_views_say_what_is_true(sandbox: RunningSandbox, warehouse: Postgres, subtests: pytest.Subtests) -> None:
    # In one test, as each worker would load again for the tests that it has of them.
    for says_what_is_true in VIEWS:
        with subtests.test(says_what_is_true.__name__):
            says_what_is_true(sandbox, warehouse)


NEW_YORK = ZoneInfo("America/New_York")


def night_and_days(sunday: date) -> list[Tracked]:
    """Work of one member without a pause around a Sunday, and of two more on single slots of the days before."""
    begin, end = (
        datetime(day.year, day.month, day.day, hour, tzinfo=NEW_YORK).astimezone(timezone.utc)
        for day, hour in ((sunday - timedelta(days=1), 21), (sunday + timedelta(days=1), 3))
    )
    slots = int((end - begin) / timedelta(minutes=10))
    night = [Tracked(starts_at=begin + number * timedelta(minutes=10), tracked=600) for number in range(slots)]
    noons = [begin - timedelta(days=days, hours=8) for days in range(1, 13)]
    once = [Tracked(starts_at=noon, tracked=540, member=1, project=1) for noon in noons]
    more = [
        Tracked(starts_at=noon + number * timedelta(minutes=10), tracked=600, member=2)
        for noon in noons
        for number in range(3)
    ]
    return [*night, *once, *more]


def seconds_by_day(sandbox: RunningSandbox) -> Counter[tuple[date, int]]:
    """What is true: by day in New York, and person."""
    found: Counter[tuple[date, int]] = Counter()
    for activity in sandbox.hubstaff.records("activities"):
        starts = datetime.fromisoformat(activity["starts_at"].replace("Z", "+00:00"))
        found[starts.astimezone(NEW_YORK).date(), activity["user_id"]] += activity["tracked"]
    return found


def in_seconds(found: list[dict[str, Any]], column: str, *key: str) -> Counter[Any]:
    """Hours of a view as seconds, by some of its columns."""
    seconds: Counter[Any] = Counter()
    for row in found:
        seconds[tuple(row[name] for name in key)] += round(row[column] * 3600)
    return seconds


def assert_paid(sandbox: RunningSandbox, warehouse: Postgres) -> None:
    weeks: Counter[tuple[date, int]] = Counter()
    for (day, user), seconds in seconds_by_day(sandbox).items():
        weeks[day - timedelta(days=day.weekday()), user] += seconds
    assert in_seconds(rows(warehouse, "payroll_week"), "hours", "week", "user_id") == weeks
    the_timesheet_is_the_union_of_the_activities(sandbox, warehouse)


@pytest.mark.parametrize("sunday", [date(2026, 3, 8), date(2026, 11, 1)], ids=["23 hours", "25 hours"])
def test_pay_leaves_out_deleted_work_and_follows_the_clocks(
    sunday: date, postgres: Postgres, tmp_path: Path, programs: Path
) -> None:
    scenario = HubstaffScenario(
        organizations=1,
        zones=("America/New_York",),
        now=datetime(sunday.year, sunday.month, sunday.day + 3, 12, tzinfo=timezone.utc),
        clock="stopped",
        history_days=0,
        activities_per_day=0,
        removed_members=0,
        activity_delay=0.0,
        requests_per_hour=None,
        exchanges_per_hour=None,
    )
    with serve_in_thread(Scenario(hubstaff=scenario)) as sandbox:
        work = night_and_days(sunday)
        entered = dict(zip(sandbox.hubstaff.add(work), work, strict=True))
        load(sandbox, postgres, tmp_path, programs, reread_days=30)
        create_views(postgres)
        assert in_seconds(rows(postgres, "hours"), "hours", "date", "user_id") == seconds_by_day(sandbox)
        assert_paid(sandbox, postgres)
        assert rows(postgres, "reconcile") == []

        before = seconds_by_day(sandbox)
        gone = sandbox.hubstaff.delete("activities", 40)
        # People edit a time sheet by deleting work and entering it anew, too.
        again = sandbox.hubstaff.add([entered[number] for number in gone[::2] if entered[number].member != 1])
        moved = sandbox.hubstaff.edit("activities", 150)
        sandbox.hubstaff.advance(86_400)
        load(sandbox, postgres, tmp_path, programs, reread_days=30)
        now = seconds_by_day(sandbox)
        assert gone
        assert again
        assert moved
        assert before.keys() - now.keys()  # days of which nothing is left
        assert_paid(sandbox, postgres)
        hours = in_seconds(rows(postgres, "hours"), "hours", "date", "user_id")
        first, *_, last = sorted({day for day, _ in hours})
        wrong = {key for key, seconds in hours.items() if seconds != now[key] and first < key[0] < last}
        named = in_seconds(rows(postgres, "reconcile"), "activity_hours", "date", "user_id")
        assert named == {key: now[key] for key in wrong}
        assert before.keys() - now.keys() <= {*wrong, *(key for key in before if key[0] in {first, last})}
        assert wrong & now.keys()  # the last work on a project was moved or deleted, other work of that day is left
        assert_as_the_readme_says(postgres, now)


def assert_as_the_readme_says(postgres: Postgres, true: Counter[tuple[date, int]]) -> None:
    """Ask what the README of the tap tells people to ask."""
    counting, by_date = re.findall(r"```sql\n(.*?)```", TAP_README.read_text(), re.DOTALL)
    found: Counter[tuple[date, int]] = Counter()
    with postgres.connect() as connection:
        tracked = connection.execute(counting.replace("*", "sum(tracked)", 1)).fetchall()
        for user, day, seconds in connection.execute(by_date):
            found[day, user] += seconds
    assert tracked == [(true.total(),)]
    assert found == true


def test_every_model_says_what_it_is() -> None:
    for path in MODELS.rglob("*.sql"):
        assert path.read_text().startswith("-- "), path
