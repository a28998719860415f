"""Keeps the warnings of a run for its report."""

from __future__ import annotations

import logging
from collections import defaultdict
from typing import TYPE_CHECKING

from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_WARNINGS = 20  # that are kept of a partition, a stream or the run


class WarningHandler(logging.Handler):
    """Keeps warnings by their label: they begin with a stream or one of its partitions, and a colon.

    Args:
        packages: Prefixes of the loggers whose warnings are for operators, and hold no data.
    """

    def __init__(self, packages: Iterable[str]) -> None:
        super().__init__(logging.WARNING)
        self._packages = tuple(packages)
        self.by_label: defaultdict[str, list[str]] = defaultdict(list)

    @override
    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno != logging.WARNING or not record.name.startswith(self._packages):
            return
        text = record.getMessage()
        kept = self.by_label[text.partition(": ")[0]]
        if len(kept) < MOST_WARNINGS:
            kept.append(text)

    def rest(self, labels: Iterable[str]) -> list[str]:
        """The warnings that have none of these labels."""
        others = [text for label in self.by_label.keys() - set(labels) for text in self.by_label[label]]
        return others[:MOST_WARNINGS]
