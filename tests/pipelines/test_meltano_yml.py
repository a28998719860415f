"""The Meltano project says what the plugins say, in words that Meltano still wants to hear."""

from __future__ import annotations

import difflib
import json
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
import yaml

from docs.meltano_plugins import MELTANO_YML, PLUGINS, about, definition, with_definition

TEXT = MELTANO_YML.read_text()
PROJECT: dict[str, Any] = yaml.safe_load(TEXT)
DEFINITIONS: dict[str, dict[str, Any]] = {
    plugin["name"]: plugin for kind in PROJECT["plugins"].values() for plugin in kind
}
META_SCHEMA: dict[str, Any] = json.loads((files("meltano") / "schemas" / "meltano.schema.json").read_text())


@pytest.mark.parametrize("plugin", PLUGINS)
def test_definition_says_what_the_plugin_says(plugin: str) -> None:
    expected = with_definition(TEXT, plugin, definition(about(plugin)))
    names = ("meltano.yml", "what `make docs` would write")
    difference = "\n".join(difflib.unified_diff(TEXT.splitlines(), expected.splitlines(), *names, n=1, lineterm=""))
    if difference:
        pytest.fail(difference, pytrace=False)


@pytest.mark.parametrize("plugin", PLUGINS)
def test_every_setting_is_explained(plugin: str) -> None:
    for setting in DEFINITIONS[plugin]["settings"]:
        assert setting["label"], setting["name"]
        assert setting["description"], setting["name"]


@pytest.mark.parametrize("plugin", PLUGINS)
def test_credentials_are_sensitive(plugin: str) -> None:
    settings = {setting["name"]: setting for setting in DEFINITIONS[plugin]["settings"]}
    credentials = {name for name in settings if name.endswith(("client_id", "secret", "token"))}
    assert credentials
    assert all(settings[name].get("sensitive") for name in credentials)


def test_loader_is_described_as_it_is() -> None:
    described = about("target-postgres")
    loader = DEFINITIONS["target-postgres"]
    theirs = {setting["name"]: setting["kind"] for setting in definition(described)["settings"]}
    ours = {setting["name"]: setting["kind"] for setting in loader["settings"]}
    assert ours.items() <= theirs.items()
    assert set(loader["capabilities"]) <= set(described["capabilities"])


def test_every_variable_of_the_example_is_a_setting() -> None:
    lines = (MELTANO_YML.parent / ".env.example").read_text().splitlines()
    variables = {line.partition("=")[0] for line in lines if line and not line.startswith("#")}
    plugins = (*PLUGINS, "target-postgres")
    known = {f"{plugin}_{setting['name']}" for plugin in plugins for setting in DEFINITIONS[plugin]["settings"]}
    assert variables <= {name.replace("-", "_").upper() for name in known}


def test_project_is_valid() -> None:
    jsonschema.validate(PROJECT, META_SCHEMA)


def test_project_uses_nothing_deprecated() -> None:
    deprecated = {name for name, schema in META_SCHEMA["properties"].items() if schema.get("deprecated")}
    assert deprecated
    assert not deprecated & set(PROJECT)


def test_project_reports_to_nobody() -> None:
    assert PROJECT["send_anonymous_usage_stats"] is False
