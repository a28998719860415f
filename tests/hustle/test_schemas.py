"""Schemas: complete by the vendor's own document, and forgiving."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from singer_sdk.typing import DEFAULT_JSONSCHEMA_VALIDATOR
from tap_hustle.streams import STREAMS
from tap_hustle.tap import TapHustle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from api_sandbox import RunningSandbox

SPEC = "hustle-v3.openapi.json"
FOLDERS = [Path(os.environ["VENDOR_SPECS"])] if "VENDOR_SPECS" in os.environ else []
FOLDERS.append(Path(__file__).parents[3] / "shared" / "specs")
BY_NAME = {vars(stream)["name"]: stream for stream in STREAMS}
NAMES = list(BY_NAME)
IN_SPEC = {
    "organizations": "Organization",
    "groups": "Group",
    "agents": "Agent",
    "leads": "Lead",
    "tags": "Tag",
    "custom_fields": "Custom Field",
    "integrations": "Integration",
    "webhook_registrations": "WebhookRegistration",
}
OPEN = {("leads", ("customFields",))}
"""Objects whose keys are people's own."""

Path_ = tuple[str, ...]


@pytest.fixture(scope="module")
def schemas() -> dict[str, dict[str, Any]]:
    tap = TapHustle(config={"client_id": "a", "client_secret": "b"})
    return {name: stream.schema for name, stream in tap.streams.items()}


@pytest.fixture(scope="module")
def spec() -> dict[str, Any]:
    for folder in FOLDERS:
        if (folder / SPEC).is_file():
            found: dict[str, Any] = json.loads((folder / SPEC).read_text())
            return found
    pytest.skip(f"{SPEC} is not here; VENDOR_SPECS names the folder that has it")


def properties(schema: dict[str, Any], at: Path_ = ()) -> Iterator[tuple[Path_, dict[str, Any]]]:
    """Every property of a schema, at any depth, with its path."""
    for name, inner in schema.get("properties", {}).items():
        yield (*at, name), inner
        yield from properties(inner, (*at, name))
        if isinstance(inner.get("items"), dict):
            yield from properties(inner["items"], (*at, name, "[]"))


def in_spec(spec: dict[str, Any], schema: dict[str, Any], at: Path_ = ()) -> set[Path_]:
    """Every property that the vendor's document gives a resource, variants included."""
    if "$ref" in schema:
        target: Any = spec
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part.replace("~1", "/").replace("~0", "~").replace("%20", " ")]
        return in_spec(spec, target, at)
    found: set[Path_] = set()
    for variant in (*schema.get("allOf", ()), *schema.get("oneOf", ()), *schema.get("anyOf", ())):
        found |= in_spec(spec, variant, at)
    for name, inner in schema.get("properties", {}).items():
        found |= {(*at, name)} | in_spec(spec, inner, (*at, name))
    if isinstance(schema.get("items"), dict):
        found |= in_spec(spec, schema["items"], (*at, "[]"))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_field_of_the_vendors_document_is_there(
    schemas: dict[str, dict[str, Any]], spec: dict[str, Any], name: str
) -> None:
    documented = in_spec(spec, spec["components"]["schemas"][IN_SPEC[name]])
    ours = {path for path, _ in properties(schemas[name])}
    assert ("id",) in documented
    assert documented - ours == set()
    assert ours - documented == set()


@pytest.mark.parametrize("name", NAMES)
def test_what_the_vendor_gives_no_format_has_none(
    schemas: dict[str, dict[str, Any]], spec: dict[str, Any], name: str
) -> None:
    formatted = {path for path, found in properties(schemas[name]) if "format" in found}
    told = spec["components"]["schemas"][IN_SPEC[name]]["properties"]
    assert formatted == {(each,) for each, found in told.items() if "ISO-8601" in found.get("description", "")}


@pytest.mark.parametrize("name", NAMES)
def test_schemas_are_schemas(schemas: dict[str, dict[str, Any]], name: str) -> None:
    DEFAULT_JSONSCHEMA_VALIDATOR.check_schema(schemas[name])


@pytest.mark.parametrize("name", NAMES)
def test_everything_but_the_key_may_be_null(schemas: dict[str, dict[str, Any]], name: str) -> None:
    assert schemas[name]["properties"]["id"]["type"] == "string"
    assert schemas[name]["required"] == ["id"]
    for path, inner in properties(schemas[name]):
        assert path == ("id",) or "null" in inner["type"], path
        assert path == ("id",) or "required" not in inner, path


@pytest.mark.parametrize("name", NAMES)
def test_everything_is_described(schemas: dict[str, dict[str, Any]], name: str) -> None:
    for path, inner in properties(schemas[name]):
        assert inner.get("description", "").endswith("."), path


@pytest.mark.parametrize("name", NAMES)
def test_nothing_that_drifts_is_enforced(schemas: dict[str, dict[str, Any]], name: str) -> None:
    drifting = {"enum", "const", "pattern", "minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems"}

    def keywords(schema: Any) -> Iterator[str]:
        if isinstance(schema, dict):
            for key, value in schema.items():
                if key == "properties":
                    for inner in value.values():
                        yield from keywords(inner)
                else:
                    yield key
                    yield from keywords(value)

    assert drifting & set(keywords(schemas[name])) == set()


@pytest.mark.parametrize("name", NAMES)
def test_only_what_people_name_themselves_is_open(schemas: dict[str, dict[str, Any]], name: str) -> None:
    is_open = {(name, path) for path, inner in properties(schemas[name]) if inner.get("additionalProperties")}
    assert is_open == {(stream, path) for stream, path in OPEN if stream == name}
    assert not schemas[name].get("additionalProperties")


@pytest.mark.parametrize("name", NAMES)
def test_every_stream_is_described(name: str) -> None:
    assert BY_NAME[name].primary_keys == ("id",)
    assert BY_NAME[name].__doc__


@pytest.mark.parametrize("name", NAMES)
def test_the_sandbox_fills_every_field_with_what_the_schema_allows(
    schemas: dict[str, dict[str, Any]], serve: Callable[..., RunningSandbox], name: str
) -> None:
    sandbox = serve(organizations=8, leads=200, webhook_registrations=10, new_enum_values=True)
    validator = DEFAULT_JSONSCHEMA_VALIDATOR(schemas[name], format_checker=DEFAULT_JSONSCHEMA_VALIDATOR.FORMAT_CHECKER)
    filled: set[str] = set()
    for record in sandbox.records(name):
        assert [error.message for error in validator.iter_errors(record)] == []
        filled |= record.keys()
    assert filled == schemas[name]["properties"].keys()
