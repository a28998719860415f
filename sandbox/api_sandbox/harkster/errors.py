"""Errors. The vendor documents their statuses and headers but no bodies, so a scenario chooses the form."""

from http import HTTPStatus
from typing import Literal

import msgspec

from api_sandbox.api import Refused
from api_sandbox.delivery import HTML, JSON, html_page, phrase

ErrorForm = Literal["message", "problem", "text", "html", "empty"]


class QuotaReached(Refused):
    """Nothing more can be published this month: a 429 that waiting does not heal (guide, Limits)."""

    def __init__(self) -> None:
        super().__init__(
            HTTPStatus.TOO_MANY_REQUESTS, "the post quota of the month is used up", {"x-harkster-quota-reached": "true"}
        )


def error_content(status: int, message: str, form: ErrorForm) -> tuple[bytes, str]:
    """Body and media type of an error."""
    if form == "html":
        return html_page(status), HTML
    if form == "text":
        return message.encode(), "text/plain; charset=utf-8"
    if form == "empty":
        return b"", JSON
    if form == "problem":
        problem = {"title": phrase(status), "status": status, "detail": message}
        return msgspec.json.encode(problem), "application/problem+json"
    return msgspec.json.encode({"message": message}), JSON
