"""Refusals. The vendor documents their statuses and headers but no bodies, so a scenario chooses the form."""

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Literal

import msgspec

from api_sandbox.delivery import HTML, JSON, Answer, html_page

ErrorForm = Literal["message", "problem", "text", "html", "empty"]


@dataclass(eq=False)
class Refused(Exception):  # noqa: N818 - a refusal is an answer, not a defect
    """A request that the API answers with an error.

    Attributes:
        status: The HTTP status.
        message: What went wrong.
        headers: Further headers.
    """

    status: int
    message: str
    headers: dict[str, str] = field(default_factory=dict)


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
        problem = {"title": HTTPStatus(status).phrase, "status": status, "detail": message}
        return msgspec.json.encode(problem), "application/problem+json"
    return msgspec.json.encode({"message": message}), JSON


def refusal(refused: Refused, form: ErrorForm) -> Answer:
    """The answer to a request that is refused."""
    body, media_type = error_content(refused.status, refused.message, form)
    return Answer(refused.status, body, media_type, dict(refused.headers), sound=False)
