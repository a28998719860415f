"""What the plugins offer: the settings and streams that a later release must still know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml
from tap_hubstaff.tap import TapHubstaff
from tap_hustle.tap import TapHustle

from docs.hub import HUB

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Offered = dict[str, list[str]]
"""By the name of a setting, stream or property: what it may be, each in one word."""


def offered() -> Offered:
    """Return what the plugins of this environment offer."""
    return dict(sorted(_offered()))


def _offered() -> Iterator[tuple[str, list[str]]]:
    for path in HUB.glob("*/*.yml"):
        for setting in yaml.safe_load(path.read_text(encoding="utf-8"))["settings"]:
            options = [str(option["value"]) for option in setting.get("options", ())]
            yield f"{path.stem}: setting {setting['name']}", [setting["kind"], *options]
    for tap in (TapHubstaff, TapHustle):
        for stream in tap(config={}, validate_config=False).streams.values():
            name = f"{tap.name}: stream {stream.name}"
            yield name, list(stream.primary_keys)
            for column, schema in stream.schema["properties"].items():
                yield f"{name}, property {column}", _types(schema)


def _types(schema: Mapping[str, Any]) -> list[str]:
    types = schema["type"]
    return sorted([types] if isinstance(types, str) else types)


def withdrawn(before: Offered, now: Offered, told: str) -> list[str]:
    """Return what is no longer as it was, and is not told of.

    Args:
        before: What a release offered.
        now: What is offered today; more than before is welcome.
        told: The entry of the changelog; it tells of a name by holding it in backquotes.
    """
    return [
        name
        for name, kinds in before.items()
        if not set(kinds) <= set(now.get(name, ())) and f"`{name.rsplit(' ', 1)[-1]}`" not in told
    ]
