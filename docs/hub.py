"""Write the plugins' definitions for Meltano Hub, one file each (part of `make docs`).

`meltano add --from-ref hub/extractors/tap-hustle.yml tap-hustle` adds a plugin to any Meltano project. What a
definition says comes from the plugin (`--about`), from its distribution's metadata, and from its entry in meltano.yml.
"""

from __future__ import annotations

from importlib.metadata import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from docs.meltano_plugins import MELTANO_YML, PLUGINS

if TYPE_CHECKING:
    from collections.abc import Iterator

HUB = Path(__file__).parents[1] / "hub"
VARIANT = "hustle-hubstaff-harkster"
"""Tells these plugins from others of the same name: the name of this project."""


def hub_files() -> Iterator[tuple[Path, str]]:
    """Yield every file of the hub's definitions, as it should be."""
    project = yaml.safe_load(MELTANO_YML.read_text(encoding="utf-8"))
    for kind, entries in project["plugins"].items():
        for entry in entries:
            if entry["name"] in PLUGINS:
                text = yaml.safe_dump(hub_definition(kind, entry), sort_keys=False, allow_unicode=True, width=110)
                yield HUB / kind / f"{entry['name']}.yml", text


def hub_definition(kind: str, entry: dict[str, Any]) -> dict[str, Any]:
    """Return a plugin's definition in the Hub's words.

    Args:
        kind: `extractors` or `loaders`.
        entry: The plugin's entry in meltano.yml, which runs it from this project's environment.
    """
    name = entry["name"]
    described = metadata(name)
    _, _, vendor = described["Project-URL"].partition(", ")
    return {
        "name": name,
        "variant": VARIANT,
        "namespace": entry["namespace"],
        "label": entry["label"],
        "description": entry["description"],
        "docs": vendor,
        "logo_url": f"/assets/logos/{kind}/{name.partition('-')[2]}.svg",
        "keywords": ["meltano_sdk", *described["Keywords"].split(",")],
        "maintenance_status": "beta",
        "quality": "unknown",
        "pip_url": name,
        "executable": entry["executable"],
        "capabilities": entry["capabilities"],
        "settings": entry["settings"],
        "settings_group_validation": entry["settings_group_validation"],
    }


def main() -> None:
    """Write the files."""
    for path, text in hub_files():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
