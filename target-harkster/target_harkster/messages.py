"""Reads the messages of a tap. Errors about a bad line repeat nothing of a record."""

from __future__ import annotations

import gzip
import json
import re
import sys
import zlib
from collections import Counter
from decimal import Decimal
from typing import IO, TYPE_CHECKING, Any, cast

import msgspec
from singer_http.http.clock import Stopped
from singer_sdk.exceptions import RecordsWithoutSchemaException
from singer_sdk.singerlib.encoding.base import GenericSingerReader
from singer_sdk.singerlib.exceptions import InvalidInputLine
from typing_extensions import override
from upath import UPath

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_decode = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal).decode
_HALVES = re.compile("[\ud800-\udfff]")


def decode(line: bytes | str) -> dict[str, Any]:
    """Read a JSON object, also one that breaks the standard a little.

    It may begin with a byte order mark. Half a character, as the software of some vendors cuts them, becomes U+FFFD.
    NaN and Infinity become the texts that they are: where a number is wanted that row is at fault, and no other one.

    Raises:
        InvalidInputLine: It is not one.
    """
    try:
        return _decode(line)
    except (msgspec.DecodeError, UnicodeError):
        pass
    except RecursionError:
        raise InvalidInputLine("nested too deeply") from None
    try:
        text = line.decode("utf-8-sig", "replace") if isinstance(line, bytes) else line
        read = json.loads(text, parse_float=Decimal, parse_constant=str)
    except (json.JSONDecodeError, RecursionError):
        raise InvalidInputLine("not a JSON object") from None
    except ValueError:
        raise InvalidInputLine("JSON with a number of too many digits") from None
    if not isinstance(read, dict):
        raise InvalidInputLine("not a JSON object")
    whole: dict[str, Any] = _whole(read)
    return whole


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return _HALVES.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_whole(key): _whole(inner) for key, inner in value.items()}
    return [_whole(inner) for inner in value] if isinstance(value, list) else value


BAD_INPUT = (InvalidInputLine, RecordsWithoutSchemaException)
"""The mistakes of a tap. Each has a sentence."""

_SHAPES: Mapping[str, tuple[type, ...]] = {
    "stream": (str,),
    "record": (dict,),
    "schema": (dict,),
    "properties": (dict,),
    "key_properties": (list, type(None)),
    "version": (int, type(None)),
    "encoding": (dict,),
    "manifest": (list,),
}


def check_shape(message: Mapping[str, Any]) -> None:
    """Check the types of the parts of a message.

    Raises:
        InvalidInputLine: One is not.
    """
    for part, kinds in _SHAPES.items():
        if part in message and not isinstance(message[part], kinds):
            raise InvalidInputLine(f"is a message whose {part} is of the wrong type")


class MessageReader(GenericSingerReader[bytes]):
    """Reads messages line by line, and can be woken while it waits for one."""

    def __init__(self) -> None:
        super().__init__()
        self._is_waiting = False

    @property
    @override
    def default_input(self) -> IO[bytes]:
        return sys.stdin.buffer

    @override
    def process_lines(
        self, file_input: IO[bytes] | None, callbacks: dict[str, Callable[[dict[str, Any]], None]]
    ) -> Counter[str]:
        counts: Counter[str] = Counter()
        lines = iter(file_input or self.default_input)
        number = 0
        while True:
            self._is_waiting = True
            line = next(lines, None)
            self._is_waiting = False
            if line is None:
                return counts
            number += 1
            try:
                message = decode(line)
                kind = message["type"]
                process = callbacks[kind]
            except InvalidInputLine as error:
                if line.isspace():
                    continue
                raise InvalidInputLine(f"Line {number} of the input is {error}.") from None
            except (KeyError, TypeError):
                raise InvalidInputLine(
                    f"Line {number} of the input is no Singer message: its type is unknown."
                ) from None
            try:
                process(message)
            except InvalidInputLine as error:
                raise InvalidInputLine(f"Line {number} of the input {error}.") from None
            counts[kind] += 1

    @override
    def deserialize_json(self, line: bytes) -> dict[str, Any]:
        return decode(line)

    @staticmethod
    @override
    def assert_line_requires(line_dict: dict[str, Any], requires: set[str]) -> None:
        if missing := sorted(requires.difference(line_dict)):
            raise InvalidInputLine(f"is a message that lacks {', '.join(missing)}")

    def wake(self) -> None:
        """Stop waiting for a line, if it waits.

        Raises:
            Stopped: It was.
        """
        if self._is_waiting:
            raise Stopped


# BATCH

_UNREADABLE = (OSError, EOFError, ValueError, ImportError, zlib.error)
"""The errors of paths, file systems and compressed files."""


def batch_rows(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The rows of the files that a BATCH message names, in their order.

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
                    try:
                        yield decode(line)
                    except InvalidInputLine as error:
                        raise InvalidInputLine(f"names the file {path}, whose line {number} is {error}") from None
        except _UNREADABLE as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise InvalidInputLine(f"names the file {path}, which cannot be read ({reason})") from None
