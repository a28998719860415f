"""What a program imports for all its life, imported without looking for garbage in it."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def lasting_imports() -> Iterator[None]:
    """Import within it what stays until the process ends.

    The collector searches all objects over and over while thousands of them are made, again with every full
    collection later, and once more at the end; none of these has ever gone by then.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
