"""Refusals as the vendor words them: `{"code", "error_code", "error"}`, and OAuth's on the account host."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

import msgspec

from api_sandbox.api import Refused
from api_sandbox.delivery import HTML, JSON


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """One entry of the vendor's list of errors.

    Attributes:
        number: Within the range that the Swagger gives to the kind of error.
    """

    code: str
    number: int
    meaning: str
    status: HTTPStatus = HTTPStatus.BAD_REQUEST


UNAUTHORIZED = ErrorCode(
    "unauthorized", 10000, "The access token is missing, unknown or expired", HTTPStatus.UNAUTHORIZED
)
FORBIDDEN = ErrorCode("forbidden", 10003, "The user may not see this", HTTPStatus.FORBIDDEN)
INACTIVE_PLAN = ErrorCode(
    "payment_required", 10004, "The organization has no active plan, so no access to the API", HTTPStatus.FORBIDDEN
)
INVALID = ErrorCode("invalid_params", 11000, "A parameter is missing or has a value that is not allowed")
RANGE_TOO_LONG = ErrorCode("date_range_too_long", 11010, "The range is longer than the list allows")
TOO_LONG_AGO = ErrorCode("date_too_early", 11011, "The range begins before what the list reaches back to")
NOT_FOUND = ErrorCode("not_found", 12000, "There is no such record", HTTPStatus.NOT_FOUND)
METHOD_NOT_ALLOWED = ErrorCode("method_not_allowed", 12001, "This sandbox only reads", HTTPStatus.METHOD_NOT_ALLOWED)
TOO_MANY_REQUESTS = ErrorCode(
    "rate_limit_exceeded", 13000, "More requests an hour than allowed", HTTPStatus.TOO_MANY_REQUESTS
)
INTERNAL = ErrorCode("internal_error", 15000, "Something broke", HTTPStatus.INTERNAL_SERVER_ERROR)

ERROR_CODES = (
    UNAUTHORIZED,
    FORBIDDEN,
    INACTIVE_PLAN,
    INVALID,
    RANGE_TOO_LONG,
    TOO_LONG_AGO,
    NOT_FOUND,
    METHOD_NOT_ALLOWED,
    TOO_MANY_REQUESTS,
    INTERNAL,
)
PROXY = "1010"
"""The code by which the proxy in front of the API refuses scripts."""

# Of those of one status, the first stands for all.
_OF_STATUS: Mapping[int, ErrorCode] = {one.status: one for one in reversed(ERROR_CODES)} | {400: INVALID}


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
    kind = kind or _OF_STATUS.get(refused.status, INTERNAL)
    return msgspec.json.encode({"code": kind.code, "error_code": kind.number, "error": refused.message}), JSON
