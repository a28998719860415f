"""The definitions for Meltano Hub: as fresh as the plugins, and in the words that the Hub takes."""

from __future__ import annotations

from importlib.metadata import metadata
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema
import pytest
import yaml

from docs.hub import HUB, hub_files

FILES = dict(hub_files())
TEXT = {"type": "string", "minLength": 1}
KINDS = ["string", "integer", "decimal", "boolean", "array", "object", "options", "password", "date_iso8601"]
SETTING = {
    "type": "object",
    "required": ["name"],
    "additionalProperties": False,
    "properties": {
        **dict.fromkeys(("name", "label", "description"), TEXT),
        "kind": {"enum": KINDS},
        "sensitive": {"type": "boolean"},
        "value": {},
        "options": {"items": {"properties": {"label": TEXT, "value": TEXT}, "additionalProperties": False}},
    },
}
TEXTS = ("name", "variant", "namespace", "label", "description", "docs", "logo_url", "pip_url", "executable")
DEFINITION = {
    "type": "object",
    "required": ["name", "namespace", "variant", "quality"],
    "additionalProperties": False,
    "properties": {
        **dict.fromkeys(TEXTS, TEXT),
        "keywords": {"type": "array", "items": TEXT},
        "maintenance_status": {"enum": ["active", "beta", "development", "inactive", "unknown"]},
        "quality": {"enum": ["gold", "silver", "bronze", "unknown"]},
        "capabilities": {"type": "array", "items": TEXT},
        "settings": {"type": "array", "items": SETTING},
        "settings_group_validation": {"type": "array", "items": {"type": "array", "items": TEXT}},
    },
}
"""What the Hub's own JSON schemas take of what is said here."""


def test_every_file_is_fresh() -> None:
    assert {path: path.read_text() for path in HUB.rglob("*.yml")} == FILES


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_hub_takes_it(path: Path) -> None:
    definition: dict[str, Any] = yaml.safe_load(FILES[path])
    jsonschema.validate(definition, DEFINITION)
    logo = HUB / "logos" / Path(definition["logo_url"]).name
    assert ET.parse(logo).getroot().tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314
    names = {setting["name"] for setting in definition["settings"]}
    assert {name for group in definition["settings_group_validation"] for name in group} <= names


@pytest.mark.parametrize("plugin", ["singer-http", "tap-hustle", "tap-hubstaff", "target-harkster"])
def test_every_distribution_brings_the_licence(plugin: str) -> None:
    root = HUB.parent
    assert (root / plugin / "LICENSE").read_text() == (root / "LICENSE").read_text()
    assert metadata(plugin)["Project-URL"]
