"""What can go wrong between a plugin and an API, what is done about it, and how the operator is told.

:data:`RULES` is the whole policy: a condition, the action that it calls for, and a sentence for the operator.
Sentences name the request's method, path and status, never its body, headers or token: bodies hold people's data.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class ApiError(Exception):
    """Something an operator has to know; the text is one sentence that says what to do about it."""


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

    def __init__(self, sentence: str, partition: Mapping[str, Any] | None) -> None:
        super().__init__(sentence)
        self.partition = partition


class IncompleteError(ApiError):
    """The run came to its end, and not everything could be read."""


class Action(enum.Enum):
    """What the session does about a condition."""

    RETRY = "retry"  # a passing fault: the same request again after a backoff, a limited number of times
    WAIT = "wait"  # a rate limit: every request of the credential waits, as long as the patience lasts
    REAUTHENTICATE = "reauthenticate"  # the token is no longer good: a new one, and the same request once more
    FAIL = "fail"  # nothing that a repetition could mend


class Fault(enum.Enum):
    """Conditions other than an HTTP status."""

    UNREACHABLE = "no connection"
    UNTRUSTED = "no trusted TLS connection"
    TIMEOUT = "no complete answer in time"
    BROKEN = "the connection broke off"
    EMPTY = "no body"
    MALFORMED = "not the JSON that is documented"


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of a table."""

    condition: Fault | range  # a range of HTTP statuses
    action: Action
    error: type[ApiError]  # raised when the action is FAIL, or did not help
    sentence: str  # for the operator; {found} is what came in place of the documented JSON
    tries: int = 1  # requests in all that a retry may come to; a wait is bounded by time instead


Rules = tuple[Rule, ...]

TRIES = 8  # requests in all for a passing fault: with the waits between them, about a minute
SUSPICIOUS_TRIES = 4  # requests in all for what is more often a wrong setting than a passing fault
_RETRY, _WAIT, _RENEW, _FAIL = Action
_401, _403, _404, _408, _429 = (range(status, status + 1) for status in (401, 403, 404, 408, 429))
_4XX, _5XX, _ANY = range(400, 500), range(500, 600), range(100, 1000)
_DOWN = "no connection; check the URL in the settings, the name server, the proxy and the network."
_UNTRUSTED = "the host has no certificate that is trusted here; check the URL in the settings, or set SSL_CERT_FILE."
_LATE = "no complete answer in time, {tries} times; try again later or raise request_timeout."
_BROKEN = "the connection broke off {tries} times; check the network and try again later."
_EMPTY = "HTTP {status}, {tries} times, but with an empty body; try again later."
_THROTTLED = "HTTP 429 for longer than a run should wait; something else is using up the rate limit."
_FAILING = "HTTP {status}, {tries} times; the API is slow or failing on its side, try again later."
_UNKNOWN = "HTTP {status}, which the API does not document; check the URL in the settings."
_FORBIDDEN = "HTTP 403; these credentials have no permission for it. Ask for it, or leave it out."
_CHECK = "check auth_url and api_url."
_NO_LOGIN = "no connection; check auth_url and api_url, the proxy and the network."
_REFUSED = "HTTP {status}; the API refused the credentials. Check them: repeated failures get the caller blocked."
_LOGIN = AuthenticationError

RULES: Rules = (
    Rule(Fault.UNREACHABLE, _RETRY, ApiError, _DOWN, TRIES),
    Rule(Fault.UNTRUSTED, _FAIL, FatalError, _UNTRUSTED),
    Rule(Fault.TIMEOUT, _RETRY, ServerFailedError, _LATE, SUSPICIOUS_TRIES),
    Rule(Fault.BROKEN, _RETRY, ApiError, _BROKEN, TRIES),
    Rule(Fault.EMPTY, _RETRY, MalformedAnswerError, _EMPTY, SUSPICIOUS_TRIES),
    Rule(Fault.MALFORMED, _RETRY, MalformedAnswerError, "HTTP {status}, {tries} times, but {found}.", SUSPICIOUS_TRIES),
    Rule(_401, _RENEW, ApiError, "HTTP 401 even with a new token; check what these credentials may read."),
    Rule(_403, _FAIL, ForbiddenError, _FORBIDDEN),
    Rule(_404, _FAIL, NotFoundError, "HTTP 404; there is no such thing, check the API's URL in the settings."),
    Rule(_408, _RETRY, ServerFailedError, _FAILING, TRIES),
    Rule(_429, _WAIT, FatalError, _THROTTLED),
    Rule(_4XX, _FAIL, RefusedRequestError, "HTTP {status}; the API refused the request itself."),
    Rule(_5XX, _RETRY, ServerFailedError, _FAILING, TRIES),
    Rule(_ANY, _FAIL, MalformedAnswerError, _UNKNOWN),
)
"""What is done about a request for data."""

GUESS_RULES: Rules = tuple(
    replace(rule, action=rule.action if rule.action is _RENEW else _FAIL, tries=1, error=error)
    for rule in RULES
    for error in [ApiError if issubclass(rule.error, FatalError) else rule.error]
)
"""What is done about a request for what may not exist: whatever goes wrong is not worth another try, nor an end."""

LOGIN_RULES: Rules = (
    Rule(Fault.UNREACHABLE, _RETRY, _LOGIN, _NO_LOGIN, TRIES),
    Rule(Fault.UNTRUSTED, _FAIL, _LOGIN, _UNTRUSTED),
    Rule(Fault.TIMEOUT, _RETRY, _LOGIN, _LATE, SUSPICIOUS_TRIES),
    Rule(Fault.BROKEN, _RETRY, _LOGIN, f"the connection broke off {{tries}} times; {_CHECK}", TRIES),
    *(
        Rule(fault, _RETRY, _LOGIN, f"HTTP {{status}} without a token; {_CHECK}", SUSPICIOUS_TRIES)
        for fault in (Fault.EMPTY, Fault.MALFORMED)
    ),
    Rule(_404, _FAIL, _LOGIN, f"HTTP 404; there is no token endpoint here, {_CHECK}"),
    Rule(_408, _RETRY, _LOGIN, _FAILING, TRIES),
    Rule(_429, _RETRY, _LOGIN, _THROTTLED, TRIES),
    Rule(_4XX, _FAIL, CredentialsRefusedError, _REFUSED),
    Rule(_5XX, _RETRY, _LOGIN, _FAILING, TRIES),
    Rule(_ANY, _FAIL, _LOGIN, f"HTTP {{status}}, which no token endpoint answers; {_CHECK}"),
)
"""What is done about a request for a token that does no harm when it is repeated. A refused one never is."""


def rule_for(condition: Fault | int, rules: Rules = RULES) -> Rule:
    """The first row that speaks for a fault or an HTTP status; raises :class:`LookupError` where there is none."""
    for rule in rules:
        if condition is rule.condition or (isinstance(rule.condition, range) and condition in rule.condition):
            return rule
    raise LookupError(condition)
