"""Refusals as the vendor words them: `{"code", "error_code", "error"}`, and OAuth's on the account host."""

from dataclasses import dataclass
from http import HTTPStatus

import msgspec


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """One entry of the vendor's list of errors.

    Attributes:
        code: The text, which older clients read.
        number: Within the range that the Swagger gives to the kind of error.
        meaning: What it says.
    """

    code: str
    number: int
    meaning: str


UNAUTHORIZED = ErrorCode("unauthorized", 10000, "The access token is missing, unknown or expired")
FORBIDDEN = ErrorCode("forbidden", 10003, "The user may not see this")
INACTIVE_PLAN = ErrorCode("payment_required", 10004, "The organization has no active plan, so no access to the API")
INVALID = ErrorCode("invalid_params", 11000, "A parameter is missing or has a value that is not allowed")
RANGE_TOO_LONG = ErrorCode("date_range_too_long", 11010, "The range is longer than the list allows")
TOO_LONG_AGO = ErrorCode("date_too_early", 11011, "The range begins before what the list reaches back to")
NOT_FOUND = ErrorCode("not_found", 12000, "There is no such record")
METHOD_NOT_ALLOWED = ErrorCode("method_not_allowed", 12001, "This sandbox only reads")
TOO_MANY_REQUESTS = ErrorCode("rate_limit_exceeded", 13000, "More requests an hour than allowed")
INTERNAL = ErrorCode("internal_error", 15000, "Something broke")

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

_OF_STATUS = {
    HTTPStatus.BAD_REQUEST: INVALID,
    HTTPStatus.UNAUTHORIZED: UNAUTHORIZED,
    HTTPStatus.FORBIDDEN: FORBIDDEN,
    HTTPStatus.NOT_FOUND: NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED: METHOD_NOT_ALLOWED,
    HTTPStatus.TOO_MANY_REQUESTS: TOO_MANY_REQUESTS,
}


class Refused(Exception):  # noqa: N818 - a refusal is an answer, not a defect
    """A request that the API answers with an error.

    Attributes:
        status: The HTTP status.
        body: The JSON of the error.
        headers: Further headers.
    """

    def __init__(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        super().__init__(body.decode())
        self.status = status
        self.body = body
        self.headers = headers or {}


def refuse(status: int, kind: ErrorCode, message: str | None = None, headers: dict[str, str] | None = None) -> Refused:
    """A refusal by the API."""
    content = {"code": kind.code, "error_code": kind.number, "error": message or kind.meaning}
    return Refused(status, msgspec.json.encode(content), headers)


def invalid(message: str) -> Refused:
    """A refusal of a parameter."""
    return refuse(HTTPStatus.BAD_REQUEST, INVALID, message)


def refuse_grant(status: int, error: str, message: str, headers: dict[str, str] | None = None) -> Refused:
    """A refusal by the account host, in the form of RFC 6749, section 5.2."""
    return Refused(status, msgspec.json.encode({"error": error, "error_description": message}), headers)


def envelope(status: int, message: str) -> bytes:
    """The JSON of an error of which only the status is known."""
    known = HTTPStatus(status) if status in set(HTTPStatus) else HTTPStatus.INTERNAL_SERVER_ERROR
    return refuse(status, _OF_STATUS.get(known, INTERNAL), message).body
