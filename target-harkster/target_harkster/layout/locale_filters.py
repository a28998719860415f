"""Filters for people: numbers, currencies and dates in the way of a language and country."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import babel.dates
import babel.numbers

from target_harkster.layout.arithmetic import number, rounded
from target_harkster.vendor.field_types import FieldError, as_moment, currency_code, time_zone

if TYPE_CHECKING:
    from collections.abc import Callable


def locale_filters(locale: str) -> dict[str, Callable[..., Any]]:
    """The filters of a locale, by name."""

    def shown(value: Any, form: Callable[[Decimal], str]) -> str:
        """A number in a form in which no zero has a sign."""
        amount = Decimal(number(value))
        text = form(amount)
        return form(amount.copy_abs()) if amount.is_signed() and text == form(amount * 0) else text

    def decimals(value: Any, digits: int | None = None) -> str:
        pattern = None if digits is None else "#,##0" + ("." + "0" * digits if digits else "")
        return shown(value, lambda amount: babel.numbers.format_decimal(amount, format=pattern, locale=locale))

    def currency(value: Any, code: Any) -> str:
        iso = currency_code(code)
        return shown(value, lambda amount: babel.numbers.format_currency(amount, iso, locale=locale))

    def percent(value: Any, digits: int = 0) -> str:
        share = rounded(value, digits + 2)
        return shown(
            share, lambda amount: babel.numbers.format_percent(amount, locale=locale, decimal_quantization=False)
        )

    def date(value: Any, form: str = "medium", timezone: str = "UTC") -> str:
        moment = as_moment(value)
        if isinstance(moment, dt.datetime) and moment.tzinfo is not None:
            moment = moment.astimezone(time_zone(timezone))
        try:
            return babel.dates.format_date(moment, form, locale=locale)
        except AttributeError:
            raise FieldError("is shown without its time of day by `date`: use `datetime`") from None

    def at(value: Any, form: str = "medium", timezone: str = "UTC") -> str:
        moment = as_moment(value)
        if not isinstance(moment, dt.datetime):
            moment = dt.datetime.combine(moment, dt.time.min)
        zone = time_zone(timezone) if moment.tzinfo is not None else None
        return babel.dates.format_datetime(moment, form, tzinfo=zone, locale=locale)

    return {"number": decimals, "currency": currency, "percent": percent, "date": date, "datetime": at}
