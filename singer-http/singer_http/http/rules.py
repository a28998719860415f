"""What to do about a request that failed: tables of conditions, actions, errors, and sentences for the operator.

:class:`~singer_http.http.session.Session` carries them out; :mod:`singer_http.http.retries` says how long it goes on.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from singer_http.http.errors import (
    ApiError,
    AuthenticationError,
    CredentialsRefusedError,
    FatalError,
    ForbiddenError,
    MalformedAnswerError,
    NotFoundError,
    RefusedRequestError,
    ServerFailedError,
)


class Action(enum.Enum):
    """What the session does about a fault."""

    RETRY = "retry"  # sends the request again after a backoff, a limited number of times
    WAIT = "wait"  # has every request of the credential wait, and sends this one again: for a rate limit
    REAUTHENTICATE = "reauthenticate"  # gets a new token, and sends the request once more
    FAIL = "fail"  # raises the error: another try would not help


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
    """One row of a table.

    Attributes:
        condition: A fault, or a range of HTTP statuses.
        action: What the session does about it.
        error: Raised when the action is FAIL, or did not help. Its class decides what a reader does then: after
            :class:`ServerFailedError` it asks for less at once, after :class:`RefusedRequestError` it begins a list
            again, after :class:`ForbiddenError` it may skip the partition, and :class:`FatalError` ends the run.
        sentence: For the operator; {found} is what came in place of the documented JSON.
        tries: Requests in all that a retry may come to, at least two; a wait is bounded by time instead.
    """

    condition: Fault | range
    action: Action
    error: type[ApiError]
    sentence: str
    tries: int = 1

    def __post_init__(self) -> None:
        if self.action is Action.RETRY and self.tries < 2:  # noqa: PLR2004 - once, and once more
            raise ValueError(f"{self.condition}: how many tries?")


Rules = tuple[Rule, ...]

TRIES = 8  # requests in all for a passing fault: with the waits between them, about a minute
SUSPICIOUS_TRIES = 4  # requests in all for a fault that a wrong setting causes more often than a passing failure
_RETRY, _WAIT, _RENEW, _FAIL = Action
_401, _403, _404, _408, _429 = (range(status, status + 1) for status in (401, 403, 404, 408, 429))
_4XX, _5XX, _ANY = range(400, 500), range(500, 600), range(100, 1000)
_DOWN = "no connection; check the URL in the settings, the name server, the proxy and the network."
_UNTRUSTED = "the host has no certificate that is trusted here; check the URL in the settings, or set SSL_CERT_FILE."
_LATE = "no complete answer in time, {tries} times; try again later or raise request_timeout."
_BROKEN = "the connection broke off {tries} times; check the network and try again later."
_EMPTY = "HTTP {status}, {tries} times, but with an empty body; try again later."
_THROTTLED = (
    "HTTP 429 for longer than a run should wait: other programs use up the rate limit. End one, or run again later."
)
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
    Rule(
        _4XX,
        _FAIL,
        RefusedRequestError,
        "HTTP {status}; the API refused the request itself. Check the settings.",
    ),
    Rule(_5XX, _RETRY, ServerFailedError, _FAILING, TRIES),
    Rule(_ANY, _FAIL, MalformedAnswerError, _UNKNOWN),
)
"""What to do about a failed request for data. To add a rule, add a line: the first one that fits counts."""

PREDICTION_RULES: Rules = tuple(
    replace(rule, action=rule.action if rule.action is _RENEW else _FAIL, tries=1, error=error)
    for rule in RULES
    for error in [ApiError if issubclass(rule.error, FatalError) else rule.error]
)
"""What to do about a failed request for a predicted page, which may not exist: no other try, and the run goes on."""

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
"""What to do about a failed request for a token, if sending it again does no harm. A refused one is not sent again."""


def rule_for(condition: Fault | int, rules: Rules = RULES) -> Rule:
    """The first rule for a fault or an HTTP status; raises :class:`LookupError` if there is none."""
    for rule in rules:
        if condition is rule.condition or (isinstance(rule.condition, range) and condition in rule.condition):
            return rule
    raise LookupError(condition)
