"""The errors of a plugin. What a request ends with, and when, is in :mod:`singer_http.http.rules`.

Sentences name the request's method, path and status, never its body, headers or token: bodies hold people's data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class ApiError(Exception):
    """Something an operator has to know; the text is one sentence that says what to do about it."""

    not_done = "read"  # what was not done because of it


class FatalError(ApiError):
    """The whole run ends, and not one stream alone: the API is down, say, or stdout cannot be written to."""


class ConfigurationError(FatalError):
    """A setting is wrong; raised before the first record, and names the setting."""


class AuthenticationError(FatalError):
    """No token could be had."""


class CredentialsRefusedError(AuthenticationError):
    """The API does not accept the credentials: trying again would only get the caller blocked."""


class ServerFailedError(ApiError):
    """The API went on failing on its own side, or gave nothing in time: it may have been asked for too much at once."""


class MalformedAnswerError(ServerFailedError):
    """The API answered with something that it does not document."""


class ForbiddenError(ApiError):
    """The credentials are good, but not for this."""


class RefusedRequestError(ApiError):
    """The API understood the request and refused it: the request is wrong, not the moment."""


class NotFoundError(RefusedRequestError):
    """There is no such thing, or no longer."""


class TooManyGoneError(ApiError):
    """More rows of a partition are gone than the settings allow: the API may not have given all that there is."""

    not_done = "deleted"

    def __init__(self, sentence: str, partition: Mapping[str, Any] | None) -> None:
        super().__init__(sentence)
        self.partition = partition


class IncompleteError(ApiError):
    """The run came to its end, and not everything could be read."""


_KNOWN = (
    *("Connection refused", "Name or service not known", "timeout expired", "authentication failed", "does not exist"),
    *("no pg_hba.conf entry", "too many clients", "starting up", "shutting down"),
    *("server closed the connection", "the row is gone"),
)
"""What a driver may be quoted with. The rest of its words may repeat parts of the URL, and so of a password."""


def database_reason(error: Exception, *, may_be_url: bool = True) -> str:
    """Why a database cannot be used, in words that hold nothing of its URL, which may be the cause or not."""
    diag = getattr(error, "diag", None)  # PostgreSQL alone has one: what the server said of a query
    if diag is None or diag.message_primary:
        return type(error).__name__ if diag is None else str(diag.message_primary)
    reason = next((words for words in _KNOWN if words in str(error)), type(error).__name__)
    hint = "; check the URL, where a password must be percent-encoded: %40 for @, %25 for %"
    return reason + hint * may_be_url
