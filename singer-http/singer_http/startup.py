"""Imports what a program keeps for all its life, without looking for garbage in it."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def lasting_imports() -> Iterator[None]:
    """Import within it what stays until the process ends: the collector would search all of it, over and over."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
