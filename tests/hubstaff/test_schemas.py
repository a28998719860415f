"""Schemas and streams against the vendor's Swagger, where it is at hand, and against our own rules."""

from __future__ import annotations

import copy
import json
import os
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from singer_http.http.errors import ConfigurationError
from tap_hubstaff.all_streams import STREAMS
from tap_hubstaff.streams import list_streams
from tap_hubstaff.streams.base import HubstaffStream
from tap_hubstaff.streams.window_base import WindowStream
from tap_hubstaff.tap import TapHubstaff

from docs.generate import described, units

if TYPE_CHECKING:
    from collections.abc import Iterator

SPECS = Path(os.environ.get("VENDOR_SPECS", Path(__file__).parents[3] / "shared" / "specs"))
SWAGGER = SPECS / "hubstaff-v2.swagger.json"
has_swagger = pytest.mark.skipif(not SWAGGER.is_file(), reason="the vendor's Swagger is not at hand (VENDOR_SPECS)")

ADDED = {"organization_id", "team_id", "project_id", "integration_id"}
"""What the tap adds: whose record it is."""
NOT_DESCRIBED = {"rates", "time_sessions"}
"""Streams whose records no definition of the Swagger describes."""
KNOWN_WRONG = {
    ("team_payments", "organization_id"): "a string there",
    ("time_off_requests", "time_off_request_days"): "one object there",
}
FROM_OTHER_DEFINITIONS = {"users": "User", "project_members": "NestedProjectMember", "seats": "OrganizationSeat"}
ANY: dict[str, type[HubstaffStream]] = {vars(stream)["name"]: stream for stream in STREAMS}
TWINS = re.compile(r"^/v2/(projects|clients)/\{\w+\}/|/time_off_policies/user_policies$")
"""Lists of one project, client or user, of what the organization's list has anyway."""


@cache
def swagger() -> Any:
    return json.loads(SWAGGER.read_text())


@cache
def tap() -> TapHubstaff:
    return TapHubstaff(config={"access_token": "hsoat_x"})


def operation(path: str) -> Any:
    return swagger()["paths"][f"/v2{path}"]["get"]


def definition(stream: str) -> Any:
    if stream in FROM_OTHER_DEFINITIONS:
        return swagger()["definitions"][FROM_OTHER_DEFINITIONS[stream]]
    (listed,) = operation(ANY[stream].path)["responses"]["200"]["schema"]["properties"].values()
    reference = listed["items"]["$ref"] if "items" in listed else listed["$ref"]
    return swagger()["definitions"][reference.rpartition("/")[2]]


def compared(described: Any, ours: Any, at: str, known_wrong: bool = False) -> list[str]:  # noqa: FBT001, FBT002
    """Where a schema of ours does not hold what the Swagger describes."""
    if "$ref" in described:
        described = swagger()["definitions"][described["$ref"].rpartition("/")[2]]
        described = {"type": "object", **described}
    types = ours["type"] if isinstance(ours["type"], list) else [ours["type"]]
    if known_wrong:
        return []
    kind = {"Array[String]": "array", "s": "string", "s/g": "string"}.get(described.get("type"), described.get("type"))
    wrong = [] if kind in types else [f"{at}: {kind} is none of {types}"]
    wrong += [] if ours.get("format") in {None, described.get("format")} else [f"{at}: nobody says {ours['format']}"]
    for name, inner in described.get("properties", {}).items():
        if name not in ours.get("properties", {}):
            wrong.append(f"{at}.{name} is missing")
        else:
            wrong += compared(inner, ours["properties"][name], f"{at}.{name}", (at, name) in KNOWN_WRONG)
    if "items" in described and "items" in ours:
        wrong += compared(described["items"], ours["items"], f"{at}[]")
    return wrong


@has_swagger
@pytest.mark.parametrize("name", sorted(ANY.keys() - NOT_DESCRIBED))
def test_schemas_hold_what_the_vendor_describes(name: str) -> None:
    schema = tap().streams[name].schema
    described = {"type": "object", **definition(name)}
    assert compared(described, schema, name) == []
    extra = schema["properties"].keys() - described["properties"].keys() - ADDED - set(ANY[name].primary_keys)
    assert extra == set()


IN_THE_SWAGGER = {
    "seconds": re.compile(r"\bseconds\b", re.IGNORECASE),
    "minutes": re.compile(r"\bminutes\b", re.IGNORECASE),
    "hours": re.compile(r"\bhours\b", re.IGNORECASE),
    "percent": re.compile(r"\bpercentage\b", re.IGNORECASE),
}


def units_of(described: Any, ours: Any, at: str) -> Iterator[tuple[str, set[str], set[str]]]:
    """Every number with a unit in the Swagger: the units there, and in our description."""
    if "$ref" in described:
        described = swagger()["definitions"][described["$ref"].rpartition("/")[2]]
    for name, inner in described.get("properties", {}).items():
        own = ours["properties"][name]
        text = inner.get("description", "") if inner.get("type") in {"integer", "number"} else ""
        if theirs := {unit for unit, pattern in IN_THE_SWAGGER.items() if pattern.search(text)}:
            yield f"{at}.{name}", theirs, set(units(own["description"])) & IN_THE_SWAGGER.keys()
        if (at, name) not in KNOWN_WRONG:
            yield from units_of(inner, own, f"{at}.{name}")
            yield from units_of(inner.get("items", {}), own.get("items", {}), f"{at}.{name}[]")


@has_swagger
def test_units_are_those_of_the_vendor() -> None:
    found = [
        each
        for name in sorted(ANY.keys() - NOT_DESCRIBED)
        for each in units_of(definition(name), tap().streams[name].schema, name)
    ]
    assert len(found) > 50
    assert [(at, theirs, ours) for at, theirs, ours in found if theirs != ours] == []
    assert ("timesheets.tracked", {"minutes"}, {"minutes"}) in found


def test_a_name_that_means_several_things_says_so() -> None:
    meanings: dict[str, dict[Any, set[str]]] = {}
    for stream in tap().streams.values():
        for name, schema in stream.schema["properties"].items():
            kinds = set(schema["type"]) - {"null", "integer", "string"} if isinstance(schema["type"], list) else ()
            unit = tuple(units(schema["description"])) or tuple(kinds)
            meanings.setdefault(name, {}).setdefault(unit, set()).add(stream.name)
    several = {name: found for name, found in meanings.items() if len(found) > 1}
    assert {"tracked", "keyboard", "billable", "amount"} <= several.keys()
    for name, found in several.items():
        for streams in found.values():
            others = set.union(*found.values()) - streams
            for own in streams:
                said = tap().streams[own].schema["properties"][name]["description"]
                assert any(other in said for other in others) or "every other stream" in said, (own, name)


def test_times_tell_their_time_zone() -> None:
    for stream in tap().streams.values():
        for path, schema in described(stream.schema):
            if schema.get("format") == "date-time":
                assert "in UTC" in schema["description"], (stream.name, path)


def test_what_nothing_describes_has_no_format() -> None:
    assert [found for _, found in described(tap().streams["rates"].schema) if "format" in found] == []


@has_swagger
@pytest.mark.parametrize("name", sorted(ANY))
def test_lists_are_where_and_as_the_vendor_says(name: str) -> None:
    stream = tap().streams[name]
    assert isinstance(stream, HubstaffStream)
    described = operation(stream.path)
    known = {parameter["name"]: parameter for parameter in described.get("parameters", ())}
    asked = {**stream.asked_for, **dict.fromkeys(stream.filters, "")}
    assert asked.keys() <= known.keys()
    for parameter, value in stream.asked_for.items():
        choices = known[parameter].get("enum") or known[parameter].get("items", {}).get("enum")
        assert choices is None or set(str(value).split(",")) <= set(choices), parameter
    defaults = {parameter: found["default"] for parameter, found in known.items() if found.get("default")}
    assert defaults.keys() <= asked.keys(), "a default of the list hides rows"
    if not isinstance(stream, WindowStream):
        return
    feeds = [(stream.path, stream.spec)]
    if stream.updates is not None:
        feeds.append((stream.updates.path, stream.updates.spec))
    for path, spec in feeds:
        at_its_path = {parameter["name"] for parameter in operation(path)["parameters"]}
        assert {f"{spec.name}[start]", f"{spec.name}[stop]"} <= at_its_path
        text = operation(path)["description"]
        if said := re.search(r"ange limit is (\d+) days|difference .* is (\d+) days", text):
            assert spec.longest == int(said[1] or said[2]), name


@has_swagger
def test_every_list_of_the_vendor_is_a_stream() -> None:
    ours = {f"/v2{stream.path}" for stream in STREAMS}
    ours |= {f"/v2{stream.updates.path}" for stream in STREAMS if issubclass(stream, WindowStream) and stream.updates}
    listed = {
        path
        for path, found in swagger()["paths"].items()
        if any(parameter["name"] == "page_limit" for parameter in found.get("get", {}).get("parameters", ()))
    }
    assert {path for path in listed - ours if not TWINS.search(path)} == set()
    # The one list of projects that is no twin is told with the members.
    assert list_streams.ProjectMembers.asked_for["include_projects"] == "true"


@pytest.mark.parametrize("name", sorted(ANY))
def test_schemas_keep_our_rules(name: str) -> None:
    schema = tap().streams[name].schema
    keys = set(ANY[name].primary_keys)
    assert keys <= schema["properties"].keys()
    assert not schema.get("additionalProperties"), "loaders have no column for what the schema does not name"
    for property_name, found in schema["properties"].items():
        nullable = "null" in found["type"] if isinstance(found["type"], list) else False
        assert nullable != (property_name in keys), property_name
        assert found["description"].strip()
    text = json.dumps(schema)
    assert '"enum"' not in text
    assert '"pattern"' not in text


def test_sessions_and_activities_take_the_same_windows() -> None:
    assert ANY["time_sessions"].path == ANY["activities"].path


def test_a_catalog_saved_before_a_property_came_is_taken() -> None:
    catalog = TapHubstaff(config={"access_token": "a-token"}).catalog_dict
    for stream in catalog["streams"]:
        kept = {*stream["key_properties"], stream.get("replication_key"), *ANY[stream["stream"]].always_sent}
        properties = stream["schema"]["properties"]
        stream["schema"]["properties"] = {name: properties[name] for name in properties if name in kept}
        stream["metadata"] = [entry for entry in stream["metadata"] if {*entry["breadcrumb"][1:]} <= kept]
    older = TapHubstaff(config={"access_token": "a-token"}, catalog=catalog)
    assert older.streams["rates"].effective_schema["properties"].keys() == {*older.streams["rates"].primary_keys}


def test_whether_a_session_counts_is_in_every_row() -> None:
    catalog = TapHubstaff(config={"access_token": "a-token"}).catalog_dict
    (sessions,) = (stream for stream in catalog["streams"] if stream["stream"] == "time_sessions")
    for entry in sessions["metadata"]:
        entry["metadata"]["selected"] = not entry["breadcrumb"]
    chosen = TapHubstaff(config={"access_token": "a-token"}, catalog=copy.deepcopy(catalog))
    (sent,) = chosen.streams["time_sessions"].stream_maps
    assert sent.transformed_schema["properties"].keys() == {"id", "started_at", "superseded_by"}
    del sessions["schema"]["properties"]["superseded_by"]
    with pytest.raises(ConfigurationError, match="leaves superseded_by out of the schema of stream time_sessions"):
        TapHubstaff(config={"access_token": "a-token"}, catalog=catalog)
