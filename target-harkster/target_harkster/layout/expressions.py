"""Expressions of layouts: sandboxed Jinja2 over a row, or over the rows of a digest."""

from __future__ import annotations

import decimal
import functools
import re
from typing import TYPE_CHECKING, Any

import babel
import jinja2
import jinja2.environment
import jinja2.filters
import jinja2.meta
from jinja2 import nodes
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer
from singer_http.http.errors import ApiError, ConfigurationError
from typing_extensions import override

from target_harkster.layout.arithmetic import (
    ARITHMETIC,
    FILTERS,
    NULL_FILTERS,
    TESTS,
    calculate,
    compare,
    join,
    null_stays,
)
from target_harkster.layout.cost_limit import CALL, NARROW, WIDENING, CostLimit, check_form, narrow, numbers, replaced
from target_harkster.layout.errors import TooCostlyError, UnknownNameError
from target_harkster.layout.locale_filters import locale_filters
from target_harkster.layout.schemas import Sample
from target_harkster.vendor.field_types import FieldError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jinja2.runtime import Context

    Source = Callable[[Mapping[str, Any]], Any]


_NO_SIGN = re.compile(r"\{\{[-+](?=\S)")
"""Jinja would strip blanks here, and a number would lose its sign."""


class ExpressionError(ValueError):
    """An expression that cannot be compiled."""


def is_expression(text: str) -> bool:
    """Whether a setting is an expression rather than a column or plain text."""
    return "{{" in text or "{%" in text


class _Exact(NodeTransformer):
    """Lets an expression calculate with decimals and compare with null."""

    def visit_Const(self, node: nodes.Const) -> nodes.Node:  # noqa: N802 - named by Jinja
        if not isinstance(node.value, float):
            return node
        text = nodes.Const(repr(node.value), lineno=node.lineno)
        return nodes.Call(nodes.ImportedName("decimal.Decimal"), [text], [], None, None, lineno=node.lineno)

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.nodes = [nodes.Filter(part, "shown", [], [], None, None, lineno=node.lineno) for part in node.nodes]
        return node

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        written = nodes.Const(sum(len(text.data) for text in node.find_all(nodes.TemplateData)), lineno=node.lineno)
        node.iter = nodes.Filter(node.iter, "counted", [written], [], None, None, lineno=node.lineno)
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        left, line = node.expr, node.lineno
        whole: nodes.Expr | None = None
        for operand in node.ops:
            name = nodes.Const(operand.op, lineno=line)
            compared = nodes.EnvironmentAttribute("compare", lineno=line)
            one = nodes.Call(compared, [name, left, operand.expr], [], None, None, lineno=line)
            whole = one if whole is None else nodes.And(whole, one, lineno=line)
            left = operand.expr
        return whole or node


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, in which numbers are exact and null is no error."""

    cost: CostLimit
    intercepted_binops = frozenset(("+", "-", "*", "/", "//", "%", "**"))
    intercepted_unops = frozenset(("+", "-"))
    compare = staticmethod(compare)

    @override
    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree: nodes.Template = _Exact().visit(super()._parse(source, name, filename))
        return tree

    @override
    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        self.cost.spend()
        return calculate(operator, left, right)

    @override
    def call_unop(self, context: Context, operator: str, arg: Any) -> Any:
        return calculate(operator, None if arg is None else 0, arg)

    @override
    def getattr(self, obj: Any, attribute: str) -> Any:
        # The columns of a row come before the methods of Python's dict.
        if obj is None or isinstance(obj, dict):
            return self.getitem(obj, attribute)
        return super().getattr(obj, attribute)

    @override
    def getitem(self, obj: Any, argument: Any) -> Any:
        # A missing property is null. Unknown names were found before the first row.
        if obj is None or (type(obj) is dict and argument not in obj and not hasattr(obj, str(argument))):
            return None
        if isinstance(obj, Sample) and argument not in obj and not hasattr(obj, str(argument)):
            return self.undefined(f"there is no {argument}")
        return super().getitem(obj, argument)

    @override
    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        if obj is None:
            return None
        self.cost.spend(CALL)
        if isinstance(obj, LoopContext):
            args = (self.cost.counted(*args),)
        text, name = getattr(obj, "__self__", None), getattr(obj, "__name__", "")
        if isinstance(text, str) and name == "join":
            return join(args[0], text)
        if isinstance(text, str) and name == "replace":
            return replaced(text, *args, **kwargs)
        return super().call(context, obj, *args, **kwargs)

    @override
    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return attr not in WIDENING and super().is_safe_attribute(obj, attr, value)

    @override
    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        fill = super().wrap_str_format(value)
        if fill is None:
            return None

        def filled(*args: Any, **kwargs: Any) -> str:
            check_form(value.__self__, (*args, *kwargs.values()))
            return fill(*args, **kwargs)

        return filled


class Expressions:
    """Compiles the expressions of a run.

    Args:
        locale: How the filters for people write numbers and dates, such as ``en`` or ``de_CH``.
        lookup: Gives what the row of an id has: called with the id, a stream and a column of it.

    Raises:
        ConfigurationError: There is no such locale.
    """

    def __init__(self, locale: str, lookup: Callable[[Any, str, str], Any]) -> None:
        try:
            found = str(babel.Locale.parse(locale.replace("-", "_")))
        except (ValueError, babel.UnknownLocaleError):
            raise ConfigurationError(f"locale is {locale}, which is unknown; one is en_GB.") from None
        self._cost = cost = CostLimit()
        self._environment = environment = _Environment(
            undefined=jinja2.StrictUndefined, autoescape=False, finalize=cost.shown
        )
        environment.cost = cost
        environment.globals |= {"range": numbers}
        del environment.globals["lipsum"]
        own = {"string": null_stays(cost.shown), "tojson": null_stays(cost.json), **NULL_FILTERS}
        own |= {"shown": cost.shown, "counted": cost.counted, "lookup": lookup}
        environment.filters = {**_filters(found), **own}
        environment.tests |= TESTS

    def text(self, text: str) -> Source:
        """Compile a text with expressions in it.

        Raises:
            ExpressionError: It is not valid.
        """
        return self._compiled(self._parsed(text)) if is_expression(text) else lambda _: text

    def value(self, text: str) -> Source:
        """Compile an expression. Alone it gives its value; with text around it, it gives text.

        Raises:
            ExpressionError: It is not valid.
        """
        alone = self._alone(text)
        return self._compiled(self._parsed(text)) if alone is None else self._compiled(alone, is_alone=True)

    def condition(self, text: str) -> Source:
        """Compile a condition.

        Raises:
            ExpressionError: It is not one expression. As a text, it would always be true.
        """
        if (alone := self._alone(text)) is None:
            raise ExpressionError("must be one expression with nothing around it, such as {{ hours > 40 }}")
        return self._compiled(alone, is_alone=True)

    def _alone(self, text: str) -> nodes.Template | None:
        """What gives the value of an expression; None if it is not alone."""
        tree = self._parsed(text)
        parts = [part for node in tree.body for part in (node.nodes if isinstance(node, nodes.Output) else [node])]
        parts = [part for part in parts if not (isinstance(part, nodes.TemplateData) and not part.data.strip())]
        if len(parts) != 1 or not isinstance(parts[0], nodes.Expr) or isinstance(parts[0], nodes.TemplateData):
            return None
        kept = nodes.Assign(nodes.Name("result", "store"), parts[0], lineno=1)
        alone = nodes.Template([kept], lineno=1)
        alone.set_environment(self._environment)
        return alone

    def names(self, text: str) -> set[str]:
        """The variables that an expression uses.

        Raises:
            ExpressionError: It is not valid.
        """
        return jinja2.meta.find_undeclared_variables(self._parsed(text)) - self._environment.globals.keys()

    def _parsed(self, text: str) -> nodes.Template:
        if _NO_SIGN.search(text):
            raise ExpressionError("has {{- or {{+, which are no signs: put a blank between the braces and the sign")
        try:
            return self._environment.parse(text)
        except jinja2.TemplateSyntaxError as error:
            raise ExpressionError(f"is not a valid expression: {error.message}") from None

    def _compiled(self, tree: nodes.Template, *, is_alone: bool = False) -> Source:
        try:
            template = self._environment.from_string(tree)
        except jinja2.TemplateSyntaxError as error:
            raise ExpressionError(f"is not a valid expression: {error.message}") from None
        evaluate: Source = template.render
        if is_alone:
            evaluate = jinja2.environment.TemplateExpression(template, undefined_to_none=False)

        def evaluated(context: Mapping[str, Any]) -> Any:
            try:
                self._cost.begin()
                with decimal.localcontext(ARITHMETIC):
                    value = evaluate(context)
                    if isinstance(value, jinja2.Undefined):
                        str(value)  # raises, and says why
                    return self._cost.weighed(value)
            except ApiError:
                raise  # it is the ledger's, which was asked for a name
            except Exception as error:  # noqa: BLE001 - whatever a row makes of an expression is that row's fault
                raise _refusal(error, is_check=isinstance(context, Sample)) from None

        return evaluated


@functools.cache
def _filters(locale: str) -> Mapping[str, Callable[..., Any]]:
    """The filters that are the same for all expressions of a locale."""
    filters = {**jinja2.filters.FILTERS, **FILTERS, **locale_filters(locale), "replace": replaced}
    filters |= {name: narrow(filters[name]) for name in NARROW}
    del filters["pprint"]
    return {name: null_stays(take) for name, take in filters.items()}


def _refusal(error: Exception, *, is_check: bool) -> FieldError:
    """The reason why an expression fails. With a row, the text of an unexpected error may hold people's data."""
    has = "has an expression"
    match error:
        case jinja2.TemplateRuntimeError() if is_check:
            kind = UnknownNameError if isinstance(error, jinja2.UndefinedError) else FieldError
            return kind(f"{has} that fails: {error.message}")
        case decimal.Overflow() | OverflowError():
            kind_of_value = "number" if isinstance(error, decimal.Overflow) else "date"
            return FieldError(f"{has} with a value that is beyond what a {kind_of_value} can be")
        case ZeroDivisionError():
            return FieldError(f"{has} that divides by zero")
        case TooCostlyError():
            return TooCostlyError(f"{has} that {error}")
        case FieldError():
            return FieldError(f"{has} with a value that {error}")
    return FieldError(f"{has} that fails: {type(error).__name__}")
