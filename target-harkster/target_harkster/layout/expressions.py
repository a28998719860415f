"""Expressions of layouts: sandboxed Jinja2 over a row, or over the rows of a digest."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

import jinja2
import jinja2.meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from target_harkster.layout.fields import FieldError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Source = Callable[[Mapping[str, Any]], Any]

_ENVIRONMENT = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined, autoescape=False)
_OPEN, _CLOSE = "{{", "}}"


class ExpressionError(ValueError):
    """An expression that cannot be compiled, or asks for what is not there."""


def is_expression(text: str) -> bool:
    """Whether a setting is an expression, and not the name of a column or plain text."""
    return _OPEN in text or "{%" in text


def compile_text(text: str) -> Source:
    """Compile text with expressions in it, which gives text.

    Raises:
        ExpressionError: It is not valid.
    """
    if not is_expression(text):
        return lambda _: text
    return _safely(_compiled(_ENVIRONMENT.from_string, text).render)


def compile_value(text: str) -> Source:
    """Compile an expression. One that is alone gives its value as it is; text around it makes text of all.

    Raises:
        ExpressionError: It is not valid.
    """
    inner = text.strip()
    alone = inner.startswith(_OPEN) and inner.endswith(_CLOSE) and inner.count(_OPEN) == 1 and "{%" not in inner
    if not alone:
        return compile_text(text)
    inner = inner[len(_OPEN) : -len(_CLOSE)].strip("-+ \n")
    return _safely(_compiled(lambda it: _ENVIRONMENT.compile_expression(it, undefined_to_none=False), inner))


def names_in(text: str) -> set[str]:
    """The variables that an expression asks for.

    Raises:
        ExpressionError: It is not valid.
    """
    names: set[str] = _compiled(lambda it: jinja2.meta.find_undeclared_variables(_ENVIRONMENT.parse(it)), text)
    return names


def _compiled(make: Callable[[str], Any], text: str) -> Any:
    try:
        return make(text)
    except jinja2.TemplateSyntaxError as error:
        raise ExpressionError(f"is not a valid expression: {error.message}") from None


def _safely(evaluate: Source) -> Source:
    def evaluated(context: Mapping[str, Any]) -> Any:
        try:
            value = evaluate(context)
            if isinstance(value, types.GeneratorType):
                value = list(value)
        except jinja2.UndefinedError as error:
            raise FieldError(f"has an expression that fails: {error.message}") from None
        except Exception as error:  # noqa: BLE001 - whatever a row makes of an expression is that row's fault
            raise FieldError(f"has an expression that fails: {type(error).__name__}") from None
        if isinstance(value, jinja2.Undefined):
            raise FieldError("has an expression that asks for what the row has not")
        return value

    return evaluated
