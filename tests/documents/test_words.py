"""The documents lead to what there is, name what there is, and stay short."""

from __future__ import annotations

import ast
import re
from functools import cache
from typing import TYPE_CHECKING

import click
import pytest
from api_sandbox.__main__ import main as sandbox
from tap_hubstaff.tap import TapHubstaff
from tap_hustle.tap import TapHustle
from target_harkster.cli import harkster
from target_harkster.target import TargetHarkster

from tests.documents.blocks import DOCUMENTS, ROOT, anchors, code_words, links

if TYPE_CHECKING:
    from pathlib import Path

LONGEST_README = 150
LONGEST_LINE = 120
SOURCES = ("*.py", "*.json", "*.yml", "*.yaml", "*.toml", "Makefile", "*.html", "*.css", "*.sql")
PLACES = (ROOT, *(path.parent for path in ROOT.glob("[!.]*/*/__init__.py")), *ROOT.glob("[!.]*/"))
MADE = {"dist/"}
"""Folders that are not there before a command has made them."""
OF_OTHERS = {"idle_in_transaction_session_timeout"}
"""Names of other programs that the documents speak of."""
every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())


@cache
def names_in_the_code() -> frozenset[str]:
    """Every word of the code that looks like a name."""
    found = {path for pattern in SOURCES for path in ROOT.glob(f"[!.]*/**/{pattern}") if ".venv" not in path.parts}
    found |= {path for pattern in SOURCES for path in ROOT.glob(pattern)}
    return frozenset(word for path in found for word in re.findall(r"\w+", path.read_text(encoding="utf-8")))


@every_document
def test_links_lead_somewhere(document: Path) -> None:
    for link in links(document):
        target, _, anchor = link.partition("#")
        if re.match(r"https?:", target):
            continue
        path = (document.parent / target).resolve() if target else document
        assert path.exists(), link
        page = path / "README.md" if path.is_dir() else path
        assert not anchor or anchor in anchors(page), link


@every_document
def test_names_are_those_of_the_code(document: Path) -> None:
    named = (re.sub(r"[\w.-]*/[\w./-]*|\w+\.(py|json)", "", code) for code in code_words(document))  # files apart
    said = {word for code in named for word in re.findall(r"\b[a-z]+(?:_[a-z\d]+)+\b", code)}
    assert said - names_in_the_code() - OF_OTHERS == set()


@every_document
def test_files_are_there(document: Path) -> None:
    said = {
        code
        for code in code_words(document)
        if re.fullmatch(r"[\w./-]+/[\w.-]*\.(py|md|yml|json|toml|svg)|[\w./-]+/", code)
    }
    said = {path for path in said if "NAME" not in path} - MADE
    assert [path for path in said if not any((place / path).exists() for place in (document.parent, *PLACES))] == []


@every_document
def test_targets_of_make_are_there(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    said = {word for code in code_words(document) for word in re.findall(r"\bmake ([a-z-]+)", code)}
    assert said <= targets


PROGRAMS: dict[str, click.Command] = {
    "harkster": harkster,
    "api-sandbox": sandbox,
    **{plugin.name: plugin.cli for plugin in (TapHustle, TapHubstaff, TargetHarkster)},
}


@every_document
def test_options_are_those_of_the_programs(document: Path) -> None:
    for code in code_words(document):
        program, *words = code.rpartition("| ")[2].split()
        if program not in PROGRAMS:
            continue
        command = PROGRAMS[program]
        known = options_of(command)
        if isinstance(command, click.Group) and (inner := [word for word in words if word in command.commands]):
            known |= options_of(command.commands[inner[0]])
        elif isinstance(command, click.Group):
            assert all(word.startswith("-") for word in words), code
        assert set(re.findall(r"--[a-z][a-z-]*", code)) <= known, code


def options_of(command: click.Command) -> set[str]:
    """The options that a command takes."""
    return {option for parameter in command.params for option in parameter.opts} | {"--help"}


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= LONGEST_README


def test_lines_of_the_changelog_are_short() -> None:
    lines = (ROOT / "CHANGELOG.md").read_text().splitlines()
    assert [line for line in lines if len(line) > LONGEST_LINE] == []


def sentences_of_the_code() -> str:
    """Every text in the code of the plugins, whatever lines it is spread over; ``{}`` stands for what is put in."""
    texts = []
    for path in ROOT.glob("[!.]*/*/**/*.py"):
        if path.parts[len(ROOT.parts)].startswith(("singer", "tap", "target")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    texts.append(
                        "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
                    )
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    texts.append(node.value)
    return "\n".join(texts)


def test_the_log_says_what_operations_says_it_does() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    said = re.findall(r'^\| "(.*)" \|', text, re.MULTILINE)
    code = sentences_of_the_code()
    assert said
    assert [sentence for sentence in said if sentence not in code] == []
