"""What can be wrong with a value, a row or a layout, and how large what an expression makes may be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from singer_http.http.errors import ConfigurationError

if TYPE_CHECKING:
    from decimal import Decimal


WIDEST = 100
"""Characters, digits or parts that a filter is asked for, at most."""
LARGEST = 1_000_000
"""Characters of a text, or items of a list, that an expression makes, at most."""


class FieldError(ValueError):
    """Why a value cannot be the data of a field; the text goes on after the field's name."""


class UnknownNameError(FieldError):
    """An expression asks for what is not there."""


class TooCostlyError(FieldError):
    """An expression takes too long, or makes too much."""


def check_size(size: int) -> None:
    """Let an expression make no more than so many characters or items.

    Raises:
        TooCostlyError: It would.
    """
    if size > LARGEST:
        raise TooCostlyError(f"has more than {LARGEST:,} characters or items")


def check_width(width: int | Decimal) -> None:
    """Let nobody ask for so many characters, digits or parts.

    Raises:
        TooCostlyError: They do.
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


class LayoutError(ConfigurationError):
    """A layout that cannot work; names the stream and, where it is about one, the field."""

    def __init__(self, stream: str, field: str | None, reason: str) -> None:
        where = f"streams.{stream}, field {field}" if field else f"streams.{stream}"
        super().__init__(f"{where}: {reason}.")
