"""Keeps memory flat while pages of hundreds of kilobytes come and go in many threads."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress

LARGE = 65_536
"""Bytes from which on a block is a large one."""
_M_MMAP_THRESHOLD = -3  # of mallopt(3)


def return_large_blocks() -> None:
    """Have glibc give large blocks back to the system as soon as they are freed.

    By itself it keeps them once the first was freed, in as many heaps as there are threads, and small blocks between
    them keep the heaps from shrinking. Other C libraries stay as they are.
    """
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):
            ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, LARGE)
