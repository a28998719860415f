"""What the lists of the simulated Hubstaff API give, hide and refuse."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import requests
from api_sandbox import HubstaffForbidden, HubstaffScenario, RunningSandbox, Scenario, serve_in_thread
from api_sandbox.hubstaff.listing import LISTINGS, Listing

Serve = Callable[[Scenario], RunningSandbox]
Get = Callable[..., requests.Response]

NOW = datetime(2026, 3, 31, 13, 7, tzinfo=timezone.utc)
DAYS = 20
AHEAD = 35  # Schedules are made for days that are to come.
SIZE: dict[str, Any] = {"now": NOW, "history_days": DAYS, "requests_per_hour": None, "events_per_day": 0.6}
PARTS = {"project": "projects", "team": "teams", "integration": "integrations"}


def account(**settings: Any) -> Scenario:
    return Scenario(seed=11, hubstaff=HubstaffScenario(**{**SIZE, **settings}))


@pytest.fixture(scope="module")
def sandbox() -> Iterator[RunningSandbox]:
    with serve_in_thread(account()) as running:
        yield running


def windows(listing: Listing) -> Iterator[dict[str, str]]:
    """Windows that every list allows, which together are more than the history."""
    required = [window for window in listing.windows if window.required]
    if not required:
        yield {}
        return
    for window in required:
        for start in range(-DAYS - 3, AHEAD, 5):
            ends = NOW + timedelta(days=start), NOW + timedelta(days=start + (5 if window.unit == "time" else 4))
            texts = [f"{end:%Y-%m-%dT%H:%M:%SZ}" if window.unit == "time" else f"{end:%Y-%m-%d}" for end in ends]
            yield {f"{window.name}[start]": texts[0], f"{window.name}[stop]": texts[1]}


def wholly(listing: Listing) -> dict[str, Any]:
    """The parameters by which a list hides nothing."""
    params: dict[str, Any] = {}
    for name, choice in listing.choices.items():
        if choice.default is not None:
            params[f"{name}[]" if choice.many else name] = choice.everything or list(choice.values)
    if listing.stream in {"members", "project_members", "last_activities"}:
        params["include_removed"] = "true"
    return params


def paths(sandbox: RunningSandbox, listing: Listing) -> Iterator[str]:
    """The path of a list, for each thing that it may belong to."""
    if listing.scope == "organization":
        for own_id in sandbox.hubstaff.ids("organizations"):
            yield listing.path.replace("{organization_id}", own_id)
    elif listing.scope:
        for own_id in sandbox.hubstaff.ids(PARTS[listing.scope]):
            yield listing.path.replace(f"{{{listing.scope}_id}}", own_id)
    else:
        yield listing.path


def row_id(listing: Listing, row: dict[str, Any], path: str) -> str:
    owners = {f"{scope}_id": path.split("/")[1] for scope in (listing.scope,) if scope}
    return ":".join(str({**owners, **row}[name]) for name in listing.key)


@pytest.mark.parametrize("listing", [one for one in LISTINGS if one.paged], ids=lambda one: one.path)
def test_lists_read_to_their_ends_are_the_truth(sandbox: RunningSandbox, hubstaff: Get, listing: Listing) -> None:
    """Those of projects and clients, which are found in the organization too, are a part of it."""
    if listing.scope == "client" or listing.requires or listing.path == "projects/{project_id}/last_activities":
        return
    found: Counter[str] = Counter()
    for path in paths(sandbox, listing):
        for window in windows(listing):
            start: dict[str, Any] = {}
            while True:
                answer = hubstaff(sandbox, path, **{**wholly(listing), **window, "page_limit": 60, **start})
                assert answer.status_code == 200, answer.text
                page = answer.json()
                assert len(page[listing.envelope]) <= 60
                found.update(row_id(listing, row, path) for row in page[listing.envelope])
                if "pagination" not in page:
                    break
                start = {"page_start_id": page["pagination"]["next_page_start_id"]}
    truth = sandbox.hubstaff.ids(listing.stream)
    assert set(found) <= set(truth)
    repeated = {"attendance_schedules", "last_activities", "integration_project_links"}
    assert listing.stream in repeated or set(found.values()) == {1}
    if listing.scope != "project" or listing.kept is not None:
        assert set(found) == set(truth)
        assert sandbox.report().served[f"hubstaff/{listing.stream}"].keys() >= set(truth)


def test_lists_hide_what_is_not_asked_for(serve: Serve, hubstaff: Get) -> None:
    sandbox = serve(account(inactive_share=0.6, small=12, tasks=30, projects=9, removed_members=2))
    own_id = sandbox.hubstaff.ids("organizations")[0]
    for name, params, field, hidden in (
        ("projects", {"status": "all"}, "status", {"active"}),
        ("clients", {"status": "all"}, "status", {"active"}),
        ("time_off_policies", {"status": "all"}, "status", {"active"}),
        ("invites", {"status": "all"}, "status", {"pending"}),
        ("members", {"include_removed": "true"}, "membership_status", {"active"}),
        ("tasks", {"status[]": ["active", "completed", "deleted", "archived"]}, "status", {"active"}),
    ):
        path = f"organizations/{own_id}/{name}"
        shown = hubstaff(sandbox, path).json()[name]
        everything = hubstaff(sandbox, path, **params).json()[name]
        assert {row[field] for row in shown} == hidden
        assert len(everything) > len(shown), name
    assert hubstaff(sandbox, f"organizations/{own_id}/projects", status="deleted").status_code == 400


def test_the_default_page_has_100_rows_and_the_longest_500(serve: Serve, hubstaff: Get) -> None:
    sandbox = serve(account(tasks=1200, organizations=1))
    path = f"organizations/{sandbox.hubstaff.ids('organizations')[0]}/tasks"
    states = {"status[]": ["active", "completed", "deleted", "archived"]}
    first = hubstaff(sandbox, path, **states).json()
    assert len(first["tasks"]) == 100
    assert len(hubstaff(sandbox, path, **states, page_limit=500).json()["tasks"]) == 500
    following = first["pagination"]["next_page_start_id"]
    assert following > first["tasks"][-1]["id"]
    # The name says that the page starts there, so this row is in it.
    assert hubstaff(sandbox, path, **states, page_start_id=following).json()["tasks"][0]["id"] == following
    for wrong in ({"page_limit": 501}, {"page_limit": 0}, {"page_limit": "x"}, {"page_start_id": -1}):
        answer = hubstaff(sandbox, path, **wrong)
        assert answer.status_code == 400
        assert set(answer.json()) == {"code", "error_code", "error"}


def test_rows_without_ids_are_paged_by_numbers_that_they_do_not_show(sandbox: RunningSandbox, hubstaff: Get) -> None:
    path = f"organizations/{sandbox.hubstaff.ids('organizations')[1]}/members"
    page = hubstaff(sandbox, path, page_limit=2).json()
    assert "id" not in page["members"][0]
    assert page["pagination"]["next_page_start_id"] not in {row["user_id"] for row in page["members"]}


def test_side_loads_are_what_the_page_names(sandbox: RunningSandbox, hubstaff: Get) -> None:
    path = f"organizations/{sandbox.hubstaff.ids('organizations')[0]}/members"
    page = hubstaff(sandbox, path, **{"include[]": ["users"]}, page_limit=3).json()
    assert [user["id"] for user in page["users"]] == sorted(row["user_id"] for row in page["members"])
    assert "users" in hubstaff(sandbox, path, include="users,projects").json()
    assert "users" not in hubstaff(sandbox, path).json()
    assert hubstaff(sandbox, path, include="tasks").status_code == 400


def test_fields_that_are_hidden_until_asked_for(sandbox: RunningSandbox, hubstaff: Get) -> None:
    own_id = sandbox.hubstaff.ids("organizations")[0]
    extras = {"include_profile": "profile", "include_projects": "project_members", "include_limits": "limits"}
    for parameter, field in extras.items():
        rows = hubstaff(sandbox, f"organizations/{own_id}/members", **{parameter: "true"}).json()["members"]
        assert all(field in row for row in rows)
        assert not any(other in row for row in rows for other in set(extras.values()) - {field})
    for name in ("client_invoices", "team_invoices"):
        path = f"organizations/{own_id}/{name}"
        assert "line_items" not in hubstaff(sandbox, path).json()[name][0]
        assert hubstaff(sandbox, path, include_line_items="true").json()[name][0]["line_items"]
    todos = f"organizations/{own_id}/global_todos"
    assert "project_ids" not in hubstaff(sandbox, todos).json()["global_todos"][0]
    assert "project_ids" in hubstaff(sandbox, todos, include="project_ids").json()["global_todos"][0]


def test_rows_can_be_filtered(sandbox: RunningSandbox, hubstaff: Get) -> None:
    own_id = sandbox.hubstaff.ids("organizations")[0]
    path = f"organizations/{own_id}/activities"
    week = {"time_slot_start": "2026-03-24T00:00:00Z", "time_slot_stop": "2026-03-31T00:00:00Z", "page_limit": 500}
    rows = hubstaff(sandbox, path, **week).json()["activities"]
    user, project = rows[0]["user_id"], rows[0]["project_id"]
    wanted = [row["id"] for row in rows if row["user_id"] == user and row["project_id"] == project]
    found = hubstaff(sandbox, path, **week, **{"user_ids[]": [user], "project_ids": f"{project},1"})
    assert [row["id"] for row in found.json()["activities"]] == wanted
    assert hubstaff(sandbox, path, **week, user_ids="x").status_code == 400


def test_optional_fields_and_owners_are_left_out_as_the_vendor_leaves_them(sandbox: RunningSandbox) -> None:
    for stream in ("projects", "tasks", "members", "activities", "teams", "invites", "notes"):
        assert not any("organization_id" in row for row in sandbox.hubstaff.records(stream)), stream
    payments = sandbox.hubstaff.records("team_payments")
    assert all(isinstance(row["organization_id"], str) for row in payments)
    assert all(isinstance(row["time_off_request_days"], list) for row in sandbox.hubstaff.records("time_off_requests"))
    assert {type(row["trackable"]) for row in sandbox.hubstaff.records("members")} == {bool, str}


def test_users_may_be_members_of_several_organizations(sandbox: RunningSandbox) -> None:
    one, other = sandbox.hubstaff.truth.by_organization["users"].values()
    assert set(one) & set(other)
    assert len(sandbox.hubstaff.ids("users")) < len(one) + len(other)


def test_a_plain_member_sees_less_or_is_refused(serve: Serve, hubstaff: Get) -> None:
    sandbox = serve(account(role="user"))
    own_id = sandbox.hubstaff.ids("organizations")[0]
    me = hubstaff(sandbox, "users/me").json()["user"]["id"]
    week = {"time_slot_start": "2026-03-24T00:00:00Z", "time_slot_stop": "2026-03-31T00:00:00Z"}
    activities = hubstaff(sandbox, f"organizations/{own_id}/activities", **week).json()["activities"]
    assert {row["user_id"] for row in activities} == {me}
    members = hubstaff(sandbox, f"organizations/{own_id}/members").json()["members"]
    assert [row["user_id"] for row in members] == [me]
    assert 0 < len(hubstaff(sandbox, f"organizations/{own_id}/projects").json()["projects"]) < 4
    for name in ("tool_usages", "screenshots", "team_payments", "clients"):
        status = hubstaff(sandbox, f"organizations/{own_id}/{name}", **week).status_code
        assert status == (200 if name == "screenshots" else 403)


def test_a_manager_sees_everything_but_money(serve: Serve, hubstaff: Get) -> None:
    sandbox = serve(account(role="manager"))
    own_id = sandbox.hubstaff.ids("organizations")[0]
    assert hubstaff(sandbox, f"organizations/{own_id}/clients").status_code == 200
    assert hubstaff(sandbox, f"organizations/{own_id}/team_payments").status_code == 403


def test_what_is_forbidden_is_403(serve: Serve, hubstaff: Get) -> None:
    forbidden = (HubstaffForbidden(stream="teams", organizations=(1,)), HubstaffForbidden(stream="team_members"))
    sandbox = serve(account(organizations=3, inactive_organizations=(2,), forbidden=forbidden))
    one, other, inactive = sandbox.hubstaff.ids("organizations")
    assert hubstaff(sandbox, "organizations").json()["organizations"][2]["id"] == int(inactive)
    statuses = [hubstaff(sandbox, f"organizations/{own_id}/teams").status_code for own_id in (one, other, inactive)]
    assert statuses == [200, 403, 403]
    refused = hubstaff(sandbox, f"organizations/{inactive}/members").json()
    assert (refused["error_code"], "active plan" in refused["error"]) == (10004, True)
    team = sandbox.hubstaff.ids("teams")[0]
    assert hubstaff(sandbox, f"teams/{team}/members").status_code == 403
    assert hubstaff(sandbox, f"teams/{team}/projects").status_code == 200


def test_single_records(sandbox: RunningSandbox, hubstaff: Get) -> None:
    user = sandbox.hubstaff.records("users")[0]
    assert hubstaff(sandbox, f"users/{user['id']}").json() == {"user": user}
    assert hubstaff(sandbox, "users/1").status_code == 404
    assert hubstaff(sandbox, "organizations/1/members").status_code == 404
    assert hubstaff(sandbox, "error_codes").json()["error_codes"]


def test_the_same_scenario_gives_the_same_bytes(hubstaff: Get) -> None:
    def everything() -> list[bytes]:
        with serve_in_thread(account(clock="stopped")) as running:
            own_id = running.hubstaff.ids("organizations")[0]
            window = {"date_start": "2026-03-10", "date_stop": "2026-03-31"}
            names = ("members", "activities/daily", "timesheets", "attendance_shifts")
            return [hubstaff(running, f"organizations/{own_id}/{name}", **window).content for name in names]

    assert everything() == everything()


@pytest.mark.parametrize(
    "settings",
    [
        {"organizations": 0},
        {"history_days": 0},
        {"small": 0, "tasks": 0, "activities_per_day": 0, "tools_per_day": 0, "captures_per_day": 0},
        {"members": 1, "removed_members": 0, "shared_members": 0, "projects": 1},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_accounts_may_be_empty(serve: Serve, hubstaff: Get, settings: dict[str, Any]) -> None:
    sandbox = serve(account(**settings))
    for listing in LISTINGS:
        for path in paths(sandbox, listing) if listing.scope != "client" else ():
            for window in windows(listing):
                required = dict.fromkeys(listing.requires, 1)
                answer = hubstaff(sandbox, path, **window, **required)
                assert answer.status_code == 200, answer.text
                break
    assert hubstaff(sandbox, "users/me").status_code == 200
    assert len(sandbox.hubstaff.ids("organizations")) == settings.get("organizations", 2)


def test_the_truth_of_both_vendors_is_told_together(sandbox: RunningSandbox) -> None:
    told = requests.get(f"{sandbox.control_url}/truth", timeout=60).json()
    assert told["leads"]["ids"] == sandbox.truth.ids["leads"]
    assert told["hubstaff/projects"]["ids"] == sandbox.hubstaff.truth.ids["projects"]
    own_id = sandbox.hubstaff.ids("organizations")[0]
    owned = sandbox.hubstaff.ids("projects", own_id)
    assert told["hubstaff/projects"]["by_organization"][own_id]["ids"] == owned
    since = datetime(2026, 3, 25, tzinfo=timezone.utc)
    assert 0 < len(sandbox.hubstaff.ids("activities", since=since)) < told["hubstaff/activities"]["count"]


def test_truth_ends_where_lists_do(serve: Serve) -> None:
    sandbox = serve(account(history_days=60, organizations=1))
    first = min(row["date"] for row in sandbox.hubstaff.records("daily_tool_usages"))
    assert first == "2026-02-28"
    assert min(row["date"] for row in sandbox.hubstaff.records("daily_activities")) < first
