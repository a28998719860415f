"""Lets stdout be what a container, a parent with asyncio or a full disk makes of it."""

from __future__ import annotations

import io
import os
import sys


def prepare(kind: str) -> None:
    """Called in the tap's process before all else."""
    if kind == "full":
        os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
    os.set_blocking(1, kind != "not blocking")
    raw = io.FileIO(1, "wb", closefd=False)
    # What PYTHONUNBUFFERED makes of stdout, or what the interpreter makes of it otherwise.
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(raw) if kind == "buffered" else raw, write_through=True)
