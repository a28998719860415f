"""Refusals as the vendor words them: `{"code", "error_code", "error"}`, and OAuth's on the account host."""

from collections.abc import Mapping
from enum import Enum

import msgspec

from api_sandbox.api import Refused
from api_sandbox.delivery import HTML, JSON


class ErrorCode(Enum):
    """The vendor's list of errors: text, number within the range of the kind, HTTP status, and what it says."""

    UNAUTHORIZED = "unauthorized", 10000, 401, "The access token is missing, unknown or expired"
    FORBIDDEN = "forbidden", 10003, 403, "The user may not see this"
    INACTIVE_PLAN = "payment_required", 10004, 403, "The organization has no active plan, so no access to the API"
    INVALID = "invalid_params", 11000, 400, "A parameter is missing or has a value that is not allowed"
    RANGE_TOO_LONG = "date_range_too_long", 11010, 400, "The range is longer than the list allows"
    TOO_LONG_AGO = "date_too_early", 11011, 400, "The range begins before what the list reaches back to"
    NOT_FOUND = "not_found", 12000, 404, "There is no such record"
    METHOD_NOT_ALLOWED = "method_not_allowed", 12001, 405, "This sandbox only reads"
    TOO_MANY_REQUESTS = "rate_limit_exceeded", 13000, 429, "More requests an hour than allowed"
    INTERNAL = "internal_error", 15000, 500, "Something broke"

    def __init__(self, code: str, number: int, status: int, meaning: str) -> None:
        self.code = code
        self.number = number
        self.status = status
        self.meaning = meaning


PROXY = "1010"
"""The code by which the proxy in front of the API refuses scripts."""

# Of those of one status, the first stands for all.
_OF_STATUS: Mapping[int, ErrorCode] = {one.status: one for one in reversed(ErrorCode)}


def refuse(kind: ErrorCode, message: str | None = None, headers: dict[str, str] | None = None) -> Refused:
    """A refusal by the API."""
    return Refused(kind.status, message or kind.meaning, headers or {}, kind)


def refuse_grant(status: int, error: str, message: str, headers: dict[str, str] | None = None) -> Refused:
    """A refusal by the account host, in the form of RFC 6749, section 5.2."""
    return Refused(status, message, headers or {}, error)


def error_content(refused: Refused) -> tuple[bytes, str]:
    """Body and media type of a refusal."""
    kind = refused.code
    if kind == PROXY:
        return f"<html><body>error code: {kind}</body></html>\n".encode(), HTML
    if isinstance(kind, str):
        return msgspec.json.encode({"error": kind, "error_description": refused.message}), JSON
    kind = kind or _OF_STATUS.get(refused.status, ErrorCode.INTERNAL)
    return msgspec.json.encode({"code": kind.code, "error_code": kind.number, "error": refused.message}), JSON
