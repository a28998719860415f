"""Answers of the simulated Hubstaff API against the vendor's Swagger, where a copy of it is at hand."""

import json
import os
import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import requests
from api_sandbox import HubstaffScenario, RunningSandbox, Scenario, serve_in_thread
from api_sandbox.hubstaff.listing import ITEMS, LISTINGS, Listing

SPEC_NAME = "hubstaff-v2.swagger.json"
SPECS = Path(os.environ.get("VENDOR_SPECS", Path(__file__).parents[3] / "shared" / "specs"))

pytestmark = pytest.mark.skipif(not (SPECS / SPEC_NAME).exists(), reason=f"no copy of {SPEC_NAME} in VENDOR_SPECS")

Get = Callable[..., requests.Response]

NOT_IN_SWAGGER = {"organizations/{organization_id}/tracking_states"}
IGNORED = {
    "time_zone",  # Moves nothing but the day that a filter means.
    "search[email]",
    "search[name]",
    "search",
    "direct_only",
    "only_global_todos",
    "include_secondary_activities",  # Does nothing, says the Swagger.
    "team_ids",
    "resource",
    "fields",
    "email",
    "user_id",
}
RATES = {"status", "start_date", "end_date"}
DRIFT = {
    ("members", "trackable"),  # A boolean, or a text.
    ("time_off_requests", "time_off_request_days"),  # A list, where the Swagger has one object.
    ("project_members", "last_client_activity"),
}
EMPTY = {"task_id", "last_task_id", "last_client_activity", "phone", "last_visited_at"}
"""Required fields that are null where there is nothing."""
TYPES: dict[str, Any] = {
    "integer": int,
    "number": (int, float),
    "string": str,
    "boolean": bool,
    "array": list,
    "object": dict,
}


@pytest.fixture(scope="module")
def spec() -> Any:
    return json.loads((SPECS / SPEC_NAME).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def sandbox() -> Iterator[RunningSandbox]:
    hubstaff = HubstaffScenario(
        now=datetime(2026, 3, 31, 12, tzinfo=timezone.utc),
        events_per_day=1.0,
        trackable="string",
        small=9,
        history_days=30,
        requests_per_hour=None,
    )
    with serve_in_thread(Scenario(seed=5, hubstaff=hubstaff)) as running:
        yield running


def lists_of(spec: Any) -> dict[str, Any]:
    """The operations that list something, by path."""
    return {
        path.removeprefix("/v2/"): methods["get"]
        for path, methods in spec["paths"].items()
        if "get" in methods and any(one["name"] == "page_limit" for one in methods["get"].get("parameters", ()))
    }


def test_every_list_of_the_swagger_is_there(spec: Any) -> None:
    ours = {listing.path for listing in LISTINGS if listing.paged} - NOT_IN_SWAGGER
    assert ours == set(lists_of(spec))
    assert len(ours) == 62
    for path, (_stream, envelope) in ITEMS.items():
        single = next(one for name, one in spec["paths"].items() if re.fullmatch(rf"/v2/{path}/{{\w+}}", name))
        assert envelope in single["get"]["responses"]["200"]["schema"]["properties"]


@pytest.mark.parametrize("listing", LISTINGS, ids=lambda listing: listing.path)
def test_every_parameter_is_known_and_no_other(spec: Any, listing: Listing) -> None:
    if listing.path in NOT_IN_SWAGGER or not listing.paged:
        return
    documented = {one["name"]: one for one in lists_of(spec)[listing.path]["parameters"] if one["in"] == "query"}
    known = {f"{window.name}[{end}]" for window in listing.windows for end in ("start", "stop")}
    known |= {*listing.filters, *listing.choices, *(name.partition("=")[0] for name in listing.extras)}
    known |= {"include"} if listing.includes else set()
    left_out = IGNORED | (RATES if listing.stream == "rates" else set())
    missing = set(documented) - known - left_out - {"page_start_id", "page_limit", "include_removed", "year"}
    assert not missing
    # The Swagger has no stop for these two.
    assert known - set(documented) <= {"date[stop]", "approved[stop]"}
    if listing.includes:
        assert set(listing.includes) <= set(documented["include"]["items"]["enum"])
    for window in listing.windows:
        assert documented[f"{window.name}[start]"]["required"] is window.required


def schema(spec: Any, found: Any) -> Any:
    reference = found.get("$ref")
    return found if reference is None else spec["definitions"][reference.rpartition("/")[2]]


def check(spec: Any, stream: str, row: dict[str, Any], wanted: Any) -> None:
    wanted = schema(spec, wanted)
    properties = wanted.get("properties", {})
    missing = {name for name in wanted.get("required", ()) if name not in row}
    assert not missing
    for name, value in row.items():
        assert not properties or name in properties or name == "project_ids", name
        if (stream, name) in DRIFT or (value is None and name in EMPTY) or name not in properties:
            continue
        kind = schema(spec, properties[name])
        expected = TYPES.get(kind.get("type"))
        assert expected is None or isinstance(value, expected), (name, value)
        assert "enum" not in kind or value in kind["enum"], (name, value)
        if isinstance(value, dict) and kind.get("properties"):
            check(spec, stream, value, kind)
        for item in value if isinstance(value, list) else ():
            if isinstance(item, dict):
                check(spec, stream, item, kind["items"])


def ask(sandbox: RunningSandbox, hubstaff: Get, listing: Listing) -> requests.Response:
    """All there is on one page, of a stretch that every list allows."""
    now = sandbox.hubstaff.now
    params: dict[str, Any] = {"page_limit": 500}
    for window in listing.windows:
        if window.required:
            ends = now - timedelta(days=6), now
            texts = [end.isoformat() if window.unit == "time" else end.date().isoformat() for end in ends]
            params[f"{window.name}[start]"], params[f"{window.name}[stop]"] = texts
    for name, choice in listing.choices.items():
        if choice.everything is not None or choice.default is not None:
            params[f"{name}[]" if choice.many else name] = choice.everything or list(choice.values)
    for name in listing.extras:
        parameter, _, value = name.partition("=")
        params[parameter] = value or "true"
    params |= dict.fromkeys(listing.requires, sandbox.hubstaff.records("users")[0]["id"])
    path = listing.path
    for scope in ("organization", "project", "team", "integration", "client"):
        if f"{{{scope}_id}}" in path:
            path = path.replace(f"{{{scope}_id}}", str(sandbox.hubstaff.records(f"{scope}s")[0]["id"]))
    return hubstaff(sandbox, path, **params)


@pytest.mark.parametrize("listing", LISTINGS, ids=lambda listing: listing.path)
def test_rows_are_valid(spec: Any, sandbox: RunningSandbox, hubstaff: Get, listing: Listing) -> None:
    answer = ask(sandbox, hubstaff, listing)
    assert answer.status_code == 200, answer.text
    rows = answer.json()[listing.envelope]
    if not listing.paged:
        rows = [rows]
    assert rows or listing.stream in {"budget_histories", "last_activities"}
    operation = spec["paths"].get(f"/v2/{listing.path}", {"get": {"responses": {"200": {}}}})["get"]
    wanted = operation["responses"]["200"].get("schema", {}).get("properties", {})
    # The Swagger says nothing of rates, and has one break where there is a list of them.
    singular = {"work_break_projects": "work_break_project"}.get(listing.envelope, listing.envelope)
    if wanted:
        found = schema(spec, wanted[singular])
        for row in rows:
            check(spec, listing.stream, row, found.get("items", found))


def test_errors_are_valid(spec: Any, sandbox: RunningSandbox, hubstaff: Get) -> None:
    wanted = {"$ref": "#/definitions/Hubstaff_Public_V2_Entities_Error"}
    for path, status in (("organizations?page_limit=0", 400), ("organizations/1/members", 404), ("nothing", 404)):
        answer = hubstaff(sandbox, path)
        assert answer.status_code == status
        check(spec, "errors", answer.json(), wanted)
