"""Keep the plugin definitions in meltano.yml equal to what the plugins say of themselves.

`python -m docs.meltano_plugins` (part of `make docs`) rewrites the capabilities and settings of each plugin
of this project between two marker lines, from `--about --format json`; the rest stays as people wrote it.
"""

from __future__ import annotations

import json
import subprocess
import sysconfig
import textwrap
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MELTANO_YML = Path(__file__).parents[1] / "meltano.yml"
PLUGINS = ("tap-hustle", "tap-hubstaff", "target-harkster")
BEGIN = "    # Generated from `{plugin} --about` by `make docs`: begin"
END = "    # Generated from `{plugin} --about` by `make docs`: end"
INDENT = "    "
UNKNOWN_TO_MELTANO = {"validate-records"}
"""Capabilities that the SDK has and Meltano refuses in a definition."""
KINDS = {
    "array": "array",
    "boolean": "boolean",
    "integer": "integer",
    "number": "decimal",
    "object": "object",
    "string": "string",
}
ACRONYMS = {"api": "API", "id": "ID", "ids": "IDs", "url": "URL"}


@cache
def about(plugin: str) -> dict[str, Any]:
    """Return what a plugin installed in this environment says of itself."""
    executable = str(Path(sysconfig.get_path("scripts")) / plugin)
    done = subprocess.run([executable, "--about", "--format=json"], capture_output=True, check=True, text=True)
    described: dict[str, Any] = json.loads(done.stdout)
    return described


def definition(described: Mapping[str, Any]) -> dict[str, Any]:
    """Translate what a plugin says of itself into the generated part of its Meltano definition."""
    required = described["settings"].get("required", [])
    definition = {
        "capabilities": sorted(set(described["capabilities"]) - UNKNOWN_TO_MELTANO),
        "settings": list(_settings(described["settings"]["properties"])),
    }
    return definition | ({"settings_group_validation": [required]} if required else {})


def _settings(properties: Mapping[str, Mapping[str, Any]], prefix: str = "") -> Iterator[dict[str, Any]]:
    """Yield Meltano's settings, one for each leaf, as Meltano names nested settings with dots."""
    for name, schema in properties.items():
        # An object that describes the keys beyond its own (stream_maps) is a mapping, which is set as a whole.
        is_mapping = isinstance(schema.get("additionalProperties"), dict)
        if schema.get("properties") and not is_mapping:
            yield from _settings(schema["properties"], f"{prefix}{name}.")
        else:
            # A default inside of an object would make Meltano pass the object, and so switch the feature on.
            yield _setting(f"{prefix}{name}", schema, with_default=not prefix)


def _setting(name: str, schema: Mapping[str, Any], *, with_default: bool) -> dict[str, Any]:
    setting: dict[str, Any] = {
        "name": name,
        "label": schema.get("title") or _label(name),
        "kind": "options" if "enum" in schema else _kind(schema),
        "description": schema.get("description", ""),
    }
    if schema.get("secret"):
        setting["sensitive"] = True
    if with_default and schema.get("default") is not None:
        setting["value"] = schema["default"]
    if "enum" in schema:
        setting["options"] = [{"label": str(value), "value": value} for value in schema["enum"]]
    return setting


def _kind(schema: Mapping[str, Any]) -> str:
    if schema.get("format") in {"date", "date-time"}:
        return "date_iso8601"  # Meltano then takes "6 months ago" too
    types = schema.get("type", "string")
    # Where several types are allowed (an object or a list of them), the most structured one is the true kind.
    return next(KINDS[kind] for kind in ("object", "array", *KINDS) if kind in types)


def _label(name: str) -> str:
    words = name.replace(".", " ").replace("_", " ").split()
    first, *rest = (ACRONYMS.get(word, word) for word in words)
    return " ".join([first if first.isupper() else first[:1].upper() + first[1:], *rest])


def with_definition(text: str, plugin: str, generated: Mapping[str, Any]) -> str:
    """Return the text of meltano.yml with a plugin's generated part replaced.

    Raises:
        ValueError: If the plugin's two marker lines are not there.
    """
    begin, end = BEGIN.format(plugin=plugin), END.format(plugin=plugin)
    before, found_begin, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found_begin and found_end):
        raise ValueError(f"meltano.yml has no lines '{begin.strip()}' and '{end.strip()}'")
    block = yaml.safe_dump(dict(generated), sort_keys=False, allow_unicode=True, width=110)
    return f"{before}{begin}\n{textwrap.indent(block, INDENT)}{end}{after}"


def main() -> None:
    """Rewrite meltano.yml."""
    text = MELTANO_YML.read_text()
    for plugin in PLUGINS:
        text = with_definition(text, plugin, definition(about(plugin)))
    MELTANO_YML.write_text(text)


if __name__ == "__main__":
    main()
