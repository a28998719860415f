"""One word, one thing: names that were given up stay away, no two classes share a name, and the glossary is short."""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING

import pytest

from tests.documents.blocks import DOCUMENTS, ROOT, code_words

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GIVEN_UP = {
    "Allowance": "PostQuota",
    "Chain": "LoopGuard",
    "Did": "RunResult",
    "Effort": "CostLimit",
    "Fit": "SchemaCheck",
    "GUESS_RULES": "PREDICTION_RULES",
    "Guard": "FirstRunGuard",
    "HELD_PER_REQUEST": "PAGES_PER_REQUEST",
    "Kept": "StoredTokens",
    "Lookups": "LookupRows",
    "OutputError": "FatalError",
    "Previous": "PreviousPosts",
    "QuotaReachedError": "RequestQuotaReachedError, PostQuotaReachedError",
    "RepeatedCursorError": "ApiError",
    "Retries": "RejectRetries",
    "Story": "KillScenario",
    "Telling": "Round",
    "UnavailableError": "FatalError",
    "Warnings": "WarningHandler",
    "WindowedStream": "WindowStream",
    "abreast": "interleave",
    "came_late": "shift_to_arrival",
    "crashing": "killed_runs",
    "deadly": "killed_stage, kill_at",
    "dying": "kill_points",
    "flat_ledger": "flat_carryover",
    "hold_state": "collect_state",
    "hubstaff_stream": "base",
    "is_guess": "has_one_try",
    "is_settled": "is_first_run_over",
    "let_sessions_follow": "share_pages",
    "local_filters": "locale_filters",
    "named_stream": "named_base",
    "owned_stream": "owned_base",
    "sound_token": "validated_token",
    "spoken": "exit_on_operator_error",
    "state_is_due": "write_due_state",
    "stories": "kill_scenarios",
    "swallowed": "superseded",
    "swallowed_by": "superseded_session",
    "tellings": "rounds",
    "undone": "not_done",
    "unflat_ledger": "unflat_carryover",
    "window_stream": "window_base",
}
"""Names that meant several things, or told nobody what they mean, each with what took its place; of files too."""
PACKAGES = {"singer-http", "tap-hustle", "tap-hubstaff", "target-harkster"}
MOST_WORDS = 25
BOTH_ARE = {"Run": "one run of a plugin"}
"""Classes of singer-http and of a plugin that share a name, as they are the same kind of thing."""


def modules(*folders: str) -> Iterator[Path]:
    """The Python files of some folders of the project, or of all."""
    for path in ROOT.glob("[!.]*/**/*.py"):
        folder = path.relative_to(ROOT).parts[0]
        if not {".venv", "node_modules"} & {*path.parts} and (folder in folders or not folders):
            yield path


@cache
def tree(path: Path) -> ast.Module:
    """A file as syntax."""
    return ast.parse(path.read_text(encoding="utf-8"))


def words(path: Path) -> set[str]:
    """Every word in a file."""
    return {*re.findall(r"\w+", path.read_text(encoding="utf-8"))}


def identifiers(path: Path) -> set[str]:
    """Every name that a file gives or uses, and its own."""
    found = {path.stem}
    for node in ast.walk(tree(path)):
        for attribute in ("id", "attr", "arg", "name", "asname"):
            if isinstance(name := getattr(node, attribute, None), str):
                found.add(name)
    return found


def test_names_that_were_given_up_stay_away() -> None:
    # To take every file apart takes long: most of them have none of these words, be it as a name or not.
    suspect = [path for path in modules() if GIVEN_UP.keys() & {path.stem, *words(path)}]
    used = {path.relative_to(ROOT).as_posix(): identifiers(path) & GIVEN_UP.keys() for path in suspect}
    assert {path: names for path, names in used.items() if names} == {}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_documents_do_not_bring_them_back(document: Path) -> None:
    said = {word for code in code_words(document) for word in re.findall(r"\w+", code)}
    assert said & GIVEN_UP.keys() == set()


@pytest.mark.parametrize("plugin", sorted(PACKAGES - {"singer-http"}))
def test_no_two_classes_share_a_name(plugin: str) -> None:
    classes = Counter(
        node.name
        for path in modules("singer-http", plugin)
        for node in tree(path).body
        if isinstance(node, ast.ClassDef)
    )
    assert {name for name, count in classes.items() if count > 1} - BOTH_ARE.keys() == set()


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_no_two_files_of_a_package_differ_by_a_plural(package: str) -> None:
    files = Counter(path.stem.removesuffix("s") for path in modules(package) if not path.stem.startswith("__"))
    assert {name for name, count in files.items() if count > 1} == set()


def test_the_readme_of_singer_http_names_modules_that_are_there() -> None:
    table = re.findall(
        r"^\| ([^|]+) \|", (ROOT / "singer-http" / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    named = {word.rpartition("/")[2] for cell in table for word in re.findall(r"`([\w/]+)`", cell)}
    known = {name for path in modules("singer-http") for name in (path.stem, path.parent.name)}
    assert "checked_settings" in named
    assert named - known == set()


def test_the_glossary_is_short_and_says_each_word_once() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text[text.index("## Glossary") : text.index("## Where is what")]
    words = re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)[1:]
    assert 0 < len(words) <= MOST_WORDS
    assert len(words) == len(set(words))
    named = {name for path in modules(*PACKAGES) for name in identifiers(path)}
    assert set(re.findall(r"`(\w+)`", table)) - named == set()
