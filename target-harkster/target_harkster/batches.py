"""Rows in files: what a BATCH message names, read line by line."""

from __future__ import annotations

import gzip
import zlib
from typing import IO, TYPE_CHECKING, Any, cast

from singer_sdk.singerlib.exceptions import InvalidInputLine
from upath import UPath

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_UNREADABLE = (OSError, EOFError, ValueError, ImportError, zlib.error)
"""What a path, a file system and a compressed file can be wrong with."""


def batch_rows(message: Mapping[str, Any], decode: Callable[[bytes], dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The rows of the files that a BATCH message names, in their order.

    Args:
        message: The message.
        decode: Makes a row of a line.

    Raises:
        InvalidInputLine: The files are of a kind that is not read, or cannot be read.
    """
    encoding = message["encoding"]
    kind = encoding.get("format"), encoding.get("compression") or "none"
    if kind not in {("jsonl", "none"), ("jsonl", "gzip")}:
        raise InvalidInputLine(
            f"is a BATCH of {kind[0]} with compression {kind[1]}; let the tap write jsonl, with gzip or without"
        )
    for path in message["manifest"]:
        try:
            with UPath(path).open("rb") as file:
                lines = gzip.GzipFile(fileobj=cast("IO[bytes]", file)) if "gzip" in kind else file
                for number, line in enumerate(lines, 1):
                    yield _row(path, number, line, decode)
        except _UNREADABLE as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise InvalidInputLine(f"names the file {path}, which cannot be read ({reason})") from None


def _row(path: str, number: int, line: bytes, decode: Callable[[bytes], dict[str, Any]]) -> dict[str, Any]:
    try:
        return decode(line)
    except InvalidInputLine as error:
        raise InvalidInputLine(f"names the file {path}, whose line {number} is {error}") from None
