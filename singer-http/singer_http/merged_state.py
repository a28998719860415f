"""Makes STATE safe to merge: what is no longer in it must not come back from an older one.

Meltano merges each STATE of ``meltano run --full-refresh`` and of ``--state-strategy=merge`` into the one that it has:
a key that is gone from an object stays, while lists are replaced. So each bookmark lists the keys that it holds, those
of objects in it included::

    {"resume": {"version": 1795212000123, "done": true}, "holds": ["resume.done", "resume.version"]}
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

HOLDS = "holds"


def sealed(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a STATE whose bookmarks list what they hold; the given one stays as it is."""
    bookmarks = {name: {**one, HOLDS: sorted(_paths(one))} for name, one in state.get("bookmarks", {}).items()}
    return {**state, "bookmarks": bookmarks}


def unsealed(bookmark: Any) -> Any:
    """Return a stream's bookmark with only what it held when it was written; as it is where it does not say."""
    holds = bookmark.get(HOLDS) if isinstance(bookmark, dict) else None
    return _kept(bookmark, {*map(str, holds)}) if isinstance(holds, list) else bookmark


def _paths(content: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in content.items():
        if isinstance(value, dict) and value:
            yield from _paths(value, f"{prefix}{name}.")
        else:
            yield prefix + name


def _kept(content: Mapping[str, Any], holds: Collection[str], prefix: str = "") -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value in content.items():
        path = prefix + name
        if path in holds:  # an object is empty then
            kept[name] = {} if isinstance(value, dict) else value
        elif isinstance(value, dict) and (inner := _kept(value, holds, f"{path}.")):
            kept[name] = inner
    return kept
