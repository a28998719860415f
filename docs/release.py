"""Check that one version is about to be released, and print what the changelog says of it.

`python -m docs.release 0.2.0` is what the release workflow runs before it builds.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import version
from pathlib import Path

from docs.meltano_plugins import PLUGINS

ROOT = Path(__file__).parents[1]
CHANGELOG = ROOT / "CHANGELOG.md"
KEPT = ROOT / "tests" / "compatibility"
DISTRIBUTIONS = ("singer-http", *PLUGINS)


def notes(changelog: str, released: str) -> str:
    """Return the changelog's entry on a version.

    Raises:
        ValueError: If it has none.
    """
    found = re.search(rf"^## {re.escape(released)}(?: .*)?\n((?:(?!## ).*\n?)*)", changelog, re.MULTILINE)
    if found is None:
        raise ValueError(f"CHANGELOG.md says nothing of {released}: give what is under Unreleased that heading.")
    return found[1].strip()


def check_versions(released: str) -> None:
    """Compare the version of every distribution with the one that is released, which later ones must go on from.

    Raises:
        ValueError: If one differs, or if nothing is kept of it.
    """
    others = {name: version(name) for name in DISTRIBUTIONS if version(name) != released}
    if others:
        listed = ", ".join(f"{name} {found}" for name, found in others.items())
        raise ValueError(f"{released} is to be released, but pyproject.toml says {listed}: set the version there.")
    if not (KEPT / f"{released}.json").exists():
        raise ValueError(f"Nothing is kept of what {released} offers and stores: run make keep, and commit its files.")


def main() -> None:
    """Print the entry, or say what is missing."""
    (released,) = sys.argv[1:]
    try:
        check_versions(released)
        sys.stdout.write(f"{notes(CHANGELOG.read_text(encoding='utf-8'), released)}\n")
    except ValueError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
