"""What Meltano does with a STATE where it merges: with `--full-refresh`, and where it is told to."""

from __future__ import annotations

from typing import Any


def merged(news: dict[str, Any], kept: dict[str, Any] | None) -> dict[str, Any]:
    """The STATE that is kept after a new one came: objects are merged, all else is replaced, and nothing is removed."""
    whole = {**(kept or {})}
    for name, value in news.items():
        whole[name] = merged(value, whole.get(name)) if isinstance(value, dict) else value
    return whole
