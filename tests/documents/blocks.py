"""What the documents hold: their code blocks, their links, and the words that they set as code."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted({*ROOT.glob("*.md"), *ROOT.glob("[!.]*/*.md")} - {ROOT / "bench" / "RESULTS.md"})
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_LINK = re.compile(r"\]\(([^)\s]+)\)")


@dataclass(frozen=True, slots=True)
class Block:
    """A code block of a document.

    Attributes:
        place: Document and line, for the reader of a failure.
        language: What it is in; empty for what a program prints.
        text: What it holds.
    """

    place: str
    language: str
    text: str


def blocks(document: Path, language: str | None = None) -> list[Block]:
    """The code blocks of a document, or those in one language."""
    text = document.read_text(encoding="utf-8")
    found = [
        Block(f"{document.relative_to(ROOT)}:{text.count(chr(10), 0, match.start()) + 1}", match[1], match[2])
        for match in _FENCE.finditer(text)
    ]
    return [block for block in found if language in {None, block.language}]


def prose(document: Path) -> str:
    """A document without its code blocks."""
    return _FENCE.sub("", document.read_text(encoding="utf-8"))


def code_words(document: Path) -> set[str]:
    """What a document sets as code within its sentences."""
    return set(_CODE.findall(prose(document)))


def links(document: Path) -> set[str]:
    """Where a document leads to."""
    return set(_LINK.findall(prose(document)))


def anchors(document: Path) -> set[str]:
    """The names that its headings can be linked by."""
    headings = re.findall(r"^#+ (.*)$", prose(document), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
