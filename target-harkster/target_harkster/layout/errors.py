"""What can be wrong with a value, a row or a layout."""

from __future__ import annotations

from singer_http.http.errors import ConfigurationError


class FieldError(ValueError):
    """Why a value cannot be the data of a field; the text goes on after the field's name."""


class UnknownNameError(FieldError):
    """An expression asks for what is not there."""


class TooCostlyError(FieldError):
    """An expression takes too long, or makes too much."""


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
