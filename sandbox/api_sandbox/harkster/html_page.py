"""The page that shows all channels with their posts. What was posted is shown as text, never as markup."""

from datetime import datetime, timezone
from decimal import Decimal
from functools import cache
from typing import Any

import jinja2

from api_sandbox.harkster.service import Service

_DAY_ONLY = len("2026-01-01")


def render(service: Service) -> bytes:
    """The page as HTML, with everything that it needs inside."""
    return _environment().get_template("page.html").render(service=service).encode()


def moment(text: str) -> str:
    """A date, or a time in UTC, as people write it."""
    if len(text) == _DAY_ONLY:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=timezone.utc)
        return f"{day.day} {day:%B %Y}"
    # Python 3.10 reads no Z and only three or six digits of a second.
    whole, _, rest = text.replace("Z", "+00:00").partition(".")
    read = datetime.fromisoformat(whole + rest.lstrip("0123456789"))
    try:
        read = read.astimezone(timezone.utc)
    except OverflowError:  # On the first or the last day of all years.
        return text
    return f"{read.day} {read:%B %Y, %H:%M} UTC"


def _number(data: Any) -> str:
    """A number with commas between its thousands, and as many decimals as it came with."""
    return f"{Decimal(str(data)):,f}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(loader=jinja2.PackageLoader("api_sandbox.harkster", "."), autoescape=True)
    environment.filters |= {"moment": moment, "number": _number, "counted": _counted}
    environment.globals["tiles"] = ("number", "currency", "percentage", "counter")
    return environment
