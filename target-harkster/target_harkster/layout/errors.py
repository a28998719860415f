"""The errors of values, rows and layouts, and the largest size of what an expression makes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from singer_http.http.errors import ConfigurationError

from target_harkster.vendor.field_types import FieldError

if TYPE_CHECKING:
    from decimal import Decimal


WIDEST = 100
"""Most characters, digits or parts that a filter makes."""
LARGEST = 1_000_000
"""Most characters of a text, or items of a list, that an expression makes."""


class UnknownNameError(FieldError):
    """An expression uses a name that does not exist."""


class TooCostlyError(FieldError):
    """An expression takes too long or makes too much."""


def check_size(size: int) -> None:
    """Check the size of what an expression makes.

    Raises:
        TooCostlyError: It is too large.
    """
    if size > LARGEST:
        raise TooCostlyError(f"has more than {LARGEST:,} characters or items")


def check_width(width: int | Decimal) -> None:
    """Check a number of characters, digits or parts.

    Raises:
        TooCostlyError: It is too large.
    """
    if not -WIDEST <= width <= WIDEST:
        raise TooCostlyError(f"is asked for a width of more than {WIDEST}")


class RowError(ValueError):
    """Why a row cannot become a post.

    Attributes:
        field: Id of the field that it is about, if it is about one.
        reason: What is wrong.
    """

    def __init__(self, field: str | None, reason: str) -> None:
        super().__init__(f"{field} {reason}" if field else reason)
        self.field = field
        self.reason = reason


class UnclearKeyError(RowError):
    """The key of a row has lost a part that may have told it from others."""

    def __init__(self) -> None:
        super().__init__(None, "has a key with U+FFFD, such as for half an emoji, and cannot be told from other rows")


class LayoutError(ConfigurationError):
    """A layout cannot work. The text names the stream, and the field if one is at fault."""

    def __init__(self, stream: str, field: str | None, reason: str) -> None:
        where = f"streams.{stream}, field {field}" if field else f"streams.{stream}"
        super().__init__(f"{where}: {reason}.")
