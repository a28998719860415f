"""What becomes of the simulated Hubstaff account when its clock is moved on."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import pytest
import requests
from api_sandbox import HubstaffScenario, RunningSandbox, Scenario, Tracked, serve_in_thread

Serve = Callable[[Scenario], RunningSandbox]
Get = Callable[..., requests.Response]

Rows = dict[str, dict[str, Any]]

NOW = datetime(2026, 3, 31, 12, tzinfo=timezone.utc)
LAG = 1200


def account(**settings: Any) -> Scenario:
    return Scenario(seed=2, hubstaff=HubstaffScenario(**{"now": NOW, "clock": "stopped", **settings}))


@pytest.fixture
def sandbox() -> Iterator[RunningSandbox]:
    with serve_in_thread(account()) as running:
        yield running


def read(sandbox: RunningSandbox, hubstaff: Get, path: str, start: datetime, stop: datetime) -> Rows:
    """What all organizations list of a window, by id."""
    found = {}
    name, _, window = path.partition("?")
    for own_id in sandbox.hubstaff.ids("organizations"):
        times = {f"{window}[start]": f"{start:%Y-%m-%dT%H:%M:%SZ}", f"{window}[stop]": f"{stop:%Y-%m-%dT%H:%M:%SZ}"}
        page = hubstaff(sandbox, f"organizations/{own_id}/{name}", **times, page_limit=500).json()
        assert "pagination" not in page
        found.update({str(row["id"]): row for row in page.popitem()[1]})
    return found


def updates(sandbox: RunningSandbox, hubstaff: Get, name: str, since: datetime) -> Rows:
    return read(sandbox, hubstaff, f"{name}?updated", since, sandbox.hubstaff.now + timedelta(seconds=1))


def daily_of(rows: list[dict[str, Any]]) -> dict[tuple[Any, ...], int]:
    """What a daily activity must sum up to."""
    summed: defaultdict[tuple[Any, ...], int] = defaultdict(int)
    for row in rows:
        summed[row["date"], row["user_id"], row["project_id"], row["task_id"]] += row["tracked"]
    return dict(summed)


def assert_daily_is_the_sum(sandbox: RunningSandbox) -> None:
    daily = sandbox.hubstaff.records("daily_activities")
    keys = ("date", "user_id", "project_id", "task_id")
    told = {tuple(row[key] for key in keys): row["tracked"] for row in daily}
    assert told == daily_of(sandbox.hubstaff.records("activities"))
    assert len({row["id"] for row in daily}) == len(daily)


def test_daily_activities_are_sums(sandbox: RunningSandbox) -> None:
    assert_daily_is_the_sum(sandbox)


def test_time_goes_on(sandbox: RunningSandbox, hubstaff: Get) -> None:
    before = set(sandbox.hubstaff.ids("activities"))
    ids = {row["id"]: row for row in sandbox.hubstaff.records("daily_activities")}
    sandbox.hubstaff.advance(3 * 86_400)
    assert sandbox.hubstaff.now == NOW + timedelta(days=3)
    after = sandbox.hubstaff.records("activities")
    new = {str(row["id"]) for row in after} - before
    assert new
    assert before < {str(row["id"]) for row in after}
    # What became visible since was changed since, or at most the delay before.
    assert new <= set(updates(sandbox, hubstaff, "activities/updates", NOW - timedelta(seconds=LAG)))
    assert_daily_is_the_sum(sandbox)
    again = {row["id"]: row for row in sandbox.hubstaff.records("daily_activities")}
    assert set(ids) < set(again)
    for stream in ("notes", "time_edit_logs", "tool_usages"):
        assert sandbox.hubstaff.ids(stream)


def test_readers_see_activities_late_but_not_later_than_the_delay(serve: Serve, hubstaff: Get) -> None:
    sandbox = serve(account(late_share=0))
    ids = sandbox.hubstaff.edit("activities", 40)
    at_once = set(updates(sandbox, hubstaff, "activities/updates", NOW))
    sandbox.hubstaff.advance(LAG // 2)
    half = set(updates(sandbox, hubstaff, "activities/updates", NOW)) & set(ids)
    sandbox.hubstaff.advance(LAG // 2)
    assert not at_once & set(ids)
    assert 0 < len(half) < 40
    assert set(ids) <= set(updates(sandbox, hubstaff, "activities/updates", NOW))


def test_edits_late_rows_and_deletions(sandbox: RunningSandbox, hubstaff: Get) -> None:
    rows = {str(row["id"]): row for row in sandbox.hubstaff.records("activities")}
    sums = daily_of(list(rows.values()))
    edited = sandbox.hubstaff.edit("activities", 60)
    late = sandbox.hubstaff.add_late(50)
    sandbox.hubstaff.advance(LAG)
    deleted = sandbox.hubstaff.delete("activities", 20)
    sandbox.hubstaff.advance(LAG)
    told = updates(sandbox, hubstaff, "activities/updates", NOW)
    left = sandbox.hubstaff.ids("activities")
    assert set(edited) - set(deleted) <= set(told)
    assert set(late) - set(deleted) <= set(told)
    assert not set(deleted) & (set(told) | set(left))
    assert {told[own_id]["updated_at"] for own_id in set(edited) & set(told)} == {"2026-03-31T12:00:00Z"}
    assert all(told[own_id]["starts_at"] < "2026-03-31T12" for own_id in set(late) & set(told))
    assert min(int(own_id) for own_id in late) > max(map(int, rows))
    assert_daily_is_the_sum(sandbox)
    # Every sum that is another is told of as updated, unless nothing is left of it.
    after = daily_of(sandbox.hubstaff.records("activities"))
    changed = {key for key in after if after[key] != sums.get(key)}
    keys = ("date", "user_id", "project_id", "task_id")
    since = updates(sandbox, hubstaff, "activities/daily/updates", NOW)
    assert changed <= {tuple(row[key] for key in keys) for row in since.values()}


def test_what_is_deleted_is_gone_everywhere(sandbox: RunningSandbox, hubstaff: Get) -> None:
    (gone,) = sandbox.hubstaff.delete("tasks", 1, organization=0)
    assert gone not in sandbox.hubstaff.ids("tasks")
    assert hubstaff(sandbox, f"tasks/{gone}").status_code == 404
    (project,) = sandbox.hubstaff.delete("projects", 1)
    assert hubstaff(sandbox, f"projects/{project}/members").status_code == 404
    with pytest.raises(ValueError, match="not 999"):
        sandbox.hubstaff.delete("tasks", 999)


def test_other_lists_change_at_once(sandbox: RunningSandbox, hubstaff: Get) -> None:
    sandbox.hubstaff.advance(60)
    changed = {stream: sandbox.hubstaff.edit(stream, 2, organization=0) for stream in ("members", "project_members")}
    assert all(len(ids) == 2 for ids in changed.values())
    own_id = sandbox.hubstaff.ids("organizations")[0]
    since = {"updated_at_start": "2026-03-31T12:01:00Z", "include_removed": "true"}
    members = hubstaff(sandbox, f"organizations/{own_id}/members", **since).json()["members"]
    assert {f"{own_id}:{row['user_id']}" for row in members} == set(changed["members"])
    (project,) = sandbox.hubstaff.edit("projects", 1, organization=0)
    record = next(row for row in sandbox.hubstaff.records("projects") if str(row["id"]) == project)
    assert record["name"].endswith("✎")


def test_updates_of_daily_activities_can_be_of_the_last_month_only(serve: Serve, hubstaff: Get) -> None:
    sandbox = serve(account(daily_updates_of="last_month", history_days=90))
    sandbox.hubstaff.edit("activities", 200)
    sandbox.hubstaff.advance(LAG)
    months = {row["date"][:7] for row in updates(sandbox, hubstaff, "activities/daily/updates", NOW).values()}
    assert "2026-03" in months
    assert not months & {"2025-12", "2026-01"}


def test_the_example_of_the_vendor(serve: Serve, hubstaff: Get) -> None:
    start = datetime(2026, 3, 30, 10, 5, tzinfo=timezone.utc)
    example = [
        Tracked(starts_at=start, tracked=300, task=0),
        Tracked(starts_at=start + timedelta(minutes=5), tracked=540, task=0),
        Tracked(starts_at=start + timedelta(minutes=16), tracked=350, task=0),
    ]
    sandbox = serve(account(activities_per_day=0, tracked=tuple(example[:2])))
    assert len(sandbox.hubstaff.ids("activities")) == 2
    (added,) = sandbox.hubstaff.add(example[2:])
    sandbox.hubstaff.advance(LAG)
    rows = sorted(read(sandbox, hubstaff, "activities?time_slot", NOW - timedelta(days=3), NOW).items())
    assert rows[-1][0] == added
    assert [(row["time_slot"], row["starts_at"][11:], row["tracked"]) for _own_id, row in rows] == [
        ("2026-03-30T10:00:00Z", "10:05:00Z", 300),
        ("2026-03-30T10:10:00Z", "10:10:00Z", 540),
        ("2026-03-30T10:20:00Z", "10:21:00Z", 350),
    ]
    assert len({(row["user_id"], row["project_id"], row["task_id"]) for _own_id, row in rows}) == 1
    with pytest.raises(ValueError, match="not there"):
        sandbox.hubstaff.add([Tracked(starts_at=start, tracked=1, member=99)])


def test_histories_have_every_kind_of_session(serve: Serve) -> None:
    sandbox = serve(account(activities_per_day=20, overlap_share=0.1, late_share=0.1))
    rows = sorted(sandbox.hubstaff.records("activities"), key=lambda row: (row["user_id"], row["starts_at"]))
    gaps = []
    for one, following in pairwise(rows):
        if one["user_id"] == following["user_id"]:
            ended = datetime.fromisoformat(one["starts_at"][:-1]) + timedelta(seconds=one["tracked"])
            gaps.append((datetime.fromisoformat(following["starts_at"][:-1]) - ended).total_seconds())
    assert sum(gap == 0 for gap in gaps) > len(gaps) / 3
    assert any(gap < 0 for gap in gaps)
    assert any(0 < gap < 120 for gap in gaps)
    assert any(one["starts_at"][:10] < one["created_at"][:10] for one in rows)
    # Ids follow the upload, not the work.
    assert [row["id"] for row in rows] != sorted(row["id"] for row in rows)
    assert sorted(rows, key=lambda row: row["id"]) == sorted(rows, key=lambda row: (row["created_at"], row["id"]))
    assert len({row["id"] for row in rows}) == len(rows)


def test_another_process_steers_by_requests(sandbox: RunningSandbox) -> None:
    control = f"{sandbox.control_url}/hubstaff"

    def tell(path: str, content: Any) -> requests.Response:
        return requests.post(f"{control}/{path}", json=content, timeout=60)

    assert tell("clock", {"advance": 3600}).json() == {"now": "2026-03-31T13:00:00Z"}
    assert requests.get(f"{control}/clock", timeout=60).json() == {"now": "2026-03-31T13:00:00Z"}
    assert len(tell("edits", {"stream": "activities", "count": 3}).json()["ids"]) == 3
    assert len(tell("late", {"count": 2, "organization": 1}).json()["ids"]) == 2
    assert len(tell("deletions", {"stream": "projects", "count": 1}).json()["ids"]) == 1
    example = [{"starts_at": "2026-03-30T10:05:00Z", "tracked": 300}]
    assert len(tell("activities", example).json()["ids"]) == 1
    tokens = requests.get(f"{control}/tokens", timeout=60).json()
    assert tokens["personal"] == sandbox.hubstaff.personal_access_token
    assert tell("tokens/expire", None).status_code == tell("tokens/reset", None).status_code == 204
    truth = requests.get(f"{sandbox.control_url}/truth?ids=false", timeout=60).json()
    assert truth["hubstaff/organizations"]["count"] == 2
    for path, content in (
        ("clock", {"advance": -1}),
        ("edits", {"stream": "nothing", "count": 1}),
        ("edits", {"stream": "seats", "count": 1}),
        ("late", {"count": 0}),
        ("activities", [{"starts_at": "2026-03-30T10:05:00Z", "tracked": 300, "member": 99}]),
    ):
        refused = tell(path, content)
        assert (refused.status_code, bool(refused.json()["error"])) == (400, True)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"removed_members": 5}, "removed_members"),
        ({"shared_members": 4}, "shared_members"),
        ({"now": datetime(2026, 1, 1)}, "offset"),  # noqa: DTZ001 - that is the point
        ({"projects": 1, "tracked": (Tracked(starts_at=NOW, tracked=1, project=1),)}, "project"),
        ({"tracked": (Tracked(starts_at=NOW, tracked=1, member=9),)}, "member"),
    ],
)
def test_scenarios_that_cannot_be_are_refused(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        account(**settings)
