"""A web page of the posts in one file, in light and dark, for any width of screen."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from importlib import resources
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
from singer_http.http.errors import ConfigurationError

if TYPE_CHECKING:
    from target_harkster.vendor.posts import Content, Fields

MOST_POSTS = 200
"""Posts on a page. Further ones are only counted."""
_PLANNED = {
    "published": "to post",
    "draft": "to leave as a draft",
    "deferred": "to put off",
    "removed": "deleted there",
}
"""What the page calls the phases in a dry run."""
_FIGURES = frozenset({"number", "currency", "percentage", "counter"})


def _grouped(number: str) -> str:
    try:
        return f"{Decimal(number):,f}"
    except InvalidOperation:
        return number


@dataclass(frozen=True, slots=True)
class _Post:
    """A post on the page.

    Attributes:
        name: Of the post.
        stream: Where it comes from.
        channel: Name of the channel.
        phase: What has become of it.
        blocks: Its fields in order; figures that follow each other are together, and stand side by side.
    """

    name: str
    stream: str
    channel: str
    phase: str
    blocks: list[tuple[bool, Fields]]


class Preview:
    """Collects posts and writes the page.

    Raises:
        ConfigurationError: It cannot be written there.
    """

    def __init__(self, path: str, *, is_dry: bool) -> None:
        self._path = Path(path)
        try:
            with open(self._path, "a", opener=_private):
                if self._path.is_file():  # an older one may be readable by others
                    self._path.chmod(0o600)
        except OSError as error:
            raise self._unwritable(error) from None
        self._is_dry = is_dry
        self._posts: list[_Post] = []
        self._phases: Counter[str] = Counter()

    def add(self, stream: str, channel: str, phase: str, content: Content) -> None:
        """Add a post."""
        phase = _PLANNED.get(phase, phase) if self._is_dry else phase
        self._phases[phase] += 1
        if len(self._posts) < MOST_POSTS:
            grouped = groupby(content.fields, lambda field: field["type"] in _FIGURES)
            blocks = [(are_figures, list(fields)) for are_figures, fields in grouped]
            self._posts.append(_Post(content.name, stream, channel, phase, blocks))

    def write(self) -> None:
        """Write the page.

        Raises:
            ConfigurationError: It cannot be written.
        """
        total = sum(self._phases.values())
        environment = jinja2.Environment(autoescape=True, undefined=jinja2.Undefined, trim_blocks=True)
        environment.filters["grouped"] = _grouped
        source = resources.files("target_harkster").joinpath("preview.html").read_text(encoding="utf-8")
        page = environment.from_string(source).render(
            posts=self._posts, total=total, phases=self._phases, is_dry=self._is_dry
        )
        try:
            # For its owner alone: it holds people's data.
            with open(self._path, "w", encoding="utf-8", opener=_private) as file:
                file.write(page)
        except OSError as error:
            raise self._unwritable(error) from None

    def _unwritable(self, error: OSError) -> ConfigurationError:
        return ConfigurationError(f"preview_path: {self._path} cannot be written ({error.strerror}).")


def _private(path: Any, flags: int) -> int:
    return os.open(path, flags, 0o600)
