"""Limits what an expression costs: the steps of each evaluation, and the size of what it makes."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import jinja2
from singer_sdk.contrib.msgspec import encoder

from target_harkster.layout.arithmetic import exact, shown
from target_harkster.layout.errors import TooCostlyError, check_size, check_width

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STEPS = 3_000_000
"""Most steps of an evaluation. A turn of a loop, a value, and ten written characters are a step each."""
CALL = 5
"""A call counts as so many steps."""
WIDENING = frozenset({"center", "expandtabs", "format_map", "ljust", "rjust", "to_bytes", "translate", "zfill"})
"""Methods of Python that make much out of little."""
NARROW = ("batch", "center", "indent", "number", "percent", "round", "slice", "wordwrap")
"""Filters that take a width."""
_WIDE_FORM = re.compile(r"\d{3}|:[^}]*\{")
"""A form with too large a width, or one that comes from a value."""


class CostLimit:
    """Counts what an evaluation costs. Each method raises :class:`TooCostlyError` at the limit."""

    def __init__(self) -> None:
        self._left = STEPS

    def begin(self) -> None:
        """Begin a new evaluation."""
        self._left = STEPS

    def spend(self, steps: int = 1) -> None:
        """Count steps."""
        self._left -= steps
        if self._left < 0:
            raise TooCostlyError(f"takes more than {STEPS:,} steps")

    def counted(self, items: Iterable[Any] | None, length: int = 0) -> Iterator[Any]:
        """What a loop goes over; nothing for a null.

        Args:
            items: To go over.
            length: Characters that are written in each turn, whatever the item.
        """
        for item in () if items is None else items:
            self.spend(1 + length // 10)
            yield item

    def weighed(self, value: Any) -> Any:
        """A value that is to be written, with all that is in it; what is made bit by bit is a list."""
        if isinstance(value, str):
            self.spend(1 + len(value) // 10)
            return value
        self.spend()
        if isinstance(value, dict):
            for inner in value.values():
                self.weighed(inner)
        is_many = isinstance(value, Iterable) and not isinstance(value, dict | bytes | jinja2.Undefined)
        return [*map(self.weighed, value)] if is_many else value

    def shown(self, value: Any) -> str:
        """A value within a text."""
        return shown(self.weighed(value))

    def json(self, value: Any) -> str:
        """A value as JSON."""
        return encoder.encode(self.weighed(value)).decode()


def narrow(take: Callable[..., Any]) -> Callable[..., Any]:
    """Refuse large widths to a filter."""
    first = 1 + hasattr(take, "jinja_pass_arg")

    @functools.wraps(take)
    def taken(*args: Any, **kwargs: Any) -> Any:
        for asked in (*args[first:], *kwargs.values()):
            if isinstance(asked, int | Decimal):
                check_width(asked)
        return take(*args, **kwargs)

    return taken


def check_form(form: str, values: Iterable[Any]) -> None:
    """Let a form make no text that is too large of values.

    Raises:
        TooCostlyError: It would.
    """
    if _WIDE_FORM.search(form):
        raise TooCostlyError("has a form with a width of more than 99, or of one that is no number")
    check_size(len(form) + form.count("{") * max((len(shown(value)) for value in values), default=0))


def replaced(value: Any, old: Any, new: Any, count: int | None = None) -> str:
    """A text with another one in the place of a part; raises :class:`TooCostlyError` where it is too large."""
    text, old, new = shown(value), shown(old), shown(new)
    check_size(len(text) + text.count(old) * len(new))
    return text.replace(old, new, -1 if count is None else count)


def numbers(*bounds: Any) -> range:
    """The ``range`` of expressions; raises :class:`TooCostlyError` for one that is too long."""
    made = range(*(int(bound) if isinstance(bound, Decimal) else bound for bound in map(exact, bounds)))
    check_size(abs(made.stop - made.start) // abs(made.step))
    return made
