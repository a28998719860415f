"""What can go wrong between a plugin and an API, what is done about it, and how it is said.

The table :data:`RULES` is the whole policy: a condition, the action it calls for, and a sentence for the operator.
Sentences name the request's method, path and status, never its body, headers or token: bodies hold people's data.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class ApiError(Exception):
    """Something an operator has to know; the text is one sentence that says what to do about it."""


class FatalError(ApiError):
    """Nothing can be read: the whole run ends, and not the stream alone."""


class ConfigurationError(FatalError):
    """A setting is wrong; raised before the first record, and names the setting."""


class AuthenticationError(FatalError):
    """No token could be had."""


class CredentialsRefusedError(AuthenticationError):
    """The API does not accept the credentials: trying again would only get the caller blocked."""


class UnauthorizedError(ApiError):
    """The API goes on answering 401 to one request although its token is new."""


class UnreachableError(ApiError):
    """No answer could be had from the host."""


class TimedOutError(UnreachableError):
    """The answer took longer than a request may take."""


class ThrottledError(ApiError):
    """The API went on refusing for its rate limit, longer than it is worth waiting."""


class ServerFailedError(ApiError):
    """The API went on failing on its own side."""


class QuotaReachedError(FatalError):
    """The budget is used up for longer than the run is to wait: it ends where it is, as it was told to."""


class MalformedAnswerError(ApiError):
    """The API answered with something that is not what it documents."""


class ForbiddenError(ApiError):
    """The credentials are good, but not for this."""


class RefusedRequestError(ApiError):
    """The API understood the request and refused it: the request is wrong, not the moment."""


class NotFoundError(RefusedRequestError):
    """There is no such thing, or no longer."""


class UncertainError(ApiError):
    """A write that may have been carried out or not: look before it is sent again."""


class UnwantedError(ApiError):
    """The request was given up before it was sent."""


class RepeatedCursorError(ApiError):
    """A list led back to where it had been: going on would never end."""


class OutputError(ApiError):
    """The messages can no longer be written: whoever read them is gone, or the disk is full."""


class IncompleteError(ApiError):
    """The run came to its end, and not everything could be read."""


class Action(enum.Enum):
    """What the session does about a condition."""

    RETRY = "retry"
    """A passing fault: the same request again after a backoff, a limited number of times."""
    WAIT = "wait"
    """A rate limit: every request of the credential waits, as long as the patience lasts."""
    REAUTHENTICATE = "reauthenticate"
    """The token is no longer good: a new one, and the same request once more."""
    FAIL = "fail"
    """Nothing that a repetition could mend."""


class Fault(enum.Enum):
    """Conditions other than an HTTP status."""

    UNREACHABLE = "no connection"
    UNTRUSTED = "no trusted TLS connection"
    TIMEOUT = "no complete answer in time"
    BROKEN = "the connection broke off"
    MALFORMED = "not the JSON that is documented"


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of a table.

    Attributes:
        condition: A :class:`Fault`, or the HTTP statuses meant.
        action: What to do about it.
        error: Raised when the action is :attr:`Action.FAIL`, or did not help.
        sentence: For the operator; ``{request}`` is the method and path, ``{status}`` the HTTP status.
        tries: How many requests in all a retry may come to; a wait is bounded by time instead.
    """

    condition: Fault | range
    action: Action
    error: type[ApiError]
    sentence: str
    tries: int = 1


def _only(status: int) -> range:
    return range(status, status + 1)


TRIES = 8
"""Requests in all for a passing fault: with the waits between them, about a minute."""
SUSPICIOUS_TRIES = 4
"""Requests in all for what is more often a wrong setting than a passing fault."""

RULES: tuple[Rule, ...] = (
    Rule(
        Fault.UNREACHABLE,
        Action.RETRY,
        UnreachableError,
        "{request}: no connection to the host; check the URL in the settings, the name server and the network.",
        TRIES,
    ),
    Rule(
        Fault.UNTRUSTED,
        Action.FAIL,
        UnreachableError,
        "{request}: the host has no certificate that is trusted here; check the URL in the settings.",
    ),
    Rule(
        Fault.TIMEOUT,
        Action.RETRY,
        TimedOutError,
        "{request}: no complete answer in time, {tries} times; try again later or raise request_timeout.",
        SUSPICIOUS_TRIES,
    ),
    Rule(
        Fault.BROKEN,
        Action.RETRY,
        UnreachableError,
        "{request}: the connection broke off {tries} times; check the network and try again later.",
        TRIES,
    ),
    Rule(
        Fault.MALFORMED,
        Action.RETRY,
        MalformedAnswerError,
        "{request}: the answer (HTTP {status}) is not the JSON that the API documents, {tries} times; check that"
        " the URL in the settings is the API's and that no proxy answers in its place.",
        SUSPICIOUS_TRIES,
    ),
    Rule(
        _only(401),
        Action.REAUTHENTICATE,
        UnauthorizedError,
        "{request}: HTTP 401 even with a new token; check what these credentials may read.",
    ),
    Rule(
        _only(403),
        Action.FAIL,
        ForbiddenError,
        "{request}: HTTP 403; these credentials may not read it. Ask for the permission, or leave it out.",
    ),
    Rule(
        _only(404),
        Action.FAIL,
        RefusedRequestError,
        "{request}: HTTP 404; there is no such list here, check the API's URL in the settings.",
    ),
    Rule(
        _only(429),
        Action.WAIT,
        ThrottledError,
        "{request}: HTTP 429 for longer than a run should wait; something else is using up the rate limit.",
    ),
    Rule(
        _only(408),
        Action.RETRY,
        ServerFailedError,
        "{request}: HTTP 408, {tries} times; the API is slow or failing, try again later.",
        TRIES,
    ),
    Rule(
        range(400, 500),
        Action.FAIL,
        RefusedRequestError,
        "{request}: HTTP {status}; the API refused the request itself.",
    ),
    Rule(
        range(500, 600),
        Action.RETRY,
        ServerFailedError,
        "{request}: HTTP {status}, {tries} times; the API is failing on its side, try again later.",
        TRIES,
    ),
    Rule(
        range(100, 1000),
        Action.FAIL,
        MalformedAnswerError,
        "{request}: HTTP {status}, which the API does not document; check the URL in the settings.",
    ),
)
"""What is done about a request for data."""

TOO_MUCH = (TimedOutError, MalformedAnswerError, ServerFailedError)
"""What an API answers that was asked for more than it can give in time: nothing, half an answer, or an error of its own
(Hubstaff's hosting cuts requests off after 30 s, with an empty body or a 503)."""

WRITE_RULES: tuple[Rule, ...] = (
    Rule(
        range(500, 600),
        Action.FAIL,
        UncertainError,
        "{request}: HTTP {status}; the API failed on its side, and it is not known whether before or after the write.",
    ),
    *(
        Rule(
            fault,
            Action.FAIL,
            UncertainError,
            f"{{request}}: {fault.value}; it is not known whether the API has carried it out.",
        )
        for fault in (Fault.TIMEOUT, Fault.BROKEN, Fault.MALFORMED)
    ),
    Rule(
        _only(408),
        Action.FAIL,
        UncertainError,
        "{request}: HTTP 408; it is not known whether the API has carried it out.",
    ),
    Rule(
        _only(403),
        Action.FAIL,
        ForbiddenError,
        "{request}: HTTP 403; these credentials may not write there. Ask for the permission, or leave it out.",
    ),
    Rule(
        _only(404),
        Action.FAIL,
        NotFoundError,
        "{request}: HTTP 404; there is no such thing, or no longer.",
    ),
    *RULES,
)
"""What is done about a write that must not be carried out twice.

Sent again is only what the API certainly did not do: it was not reached, or refused for its rate limit.
"""

LOGIN_TRIES = 3
"""Well below the number of failed attempts at which vendors block the caller (Hustle: 10)."""

LOGIN_RULES: tuple[Rule, ...] = (
    Rule(
        Fault.UNREACHABLE,
        Action.RETRY,
        AuthenticationError,
        "{request}: no connection to the token endpoint; check auth_url and api_url, the name server and the network.",
        LOGIN_TRIES,
    ),
    Rule(
        Fault.UNTRUSTED,
        Action.FAIL,
        AuthenticationError,
        "{request}: the token endpoint has no certificate that is trusted here; check auth_url and api_url.",
    ),
    Rule(
        Fault.TIMEOUT,
        Action.FAIL,
        AuthenticationError,
        "{request}: the token endpoint did not answer in time; try again later or raise request_timeout.",
    ),
    Rule(
        Fault.BROKEN,
        Action.FAIL,
        AuthenticationError,
        "{request}: the token endpoint broke the connection off; check auth_url and try again later.",
    ),
    Rule(
        Fault.MALFORMED,
        Action.FAIL,
        AuthenticationError,
        "{request}: the token endpoint's answer (HTTP {status}) is no token; check auth_url and api_url.",
    ),
    Rule(
        _only(404),
        Action.FAIL,
        AuthenticationError,
        "{request}: HTTP 404; there is no token endpoint here, check auth_url and api_url.",
    ),
    Rule(
        _only(429),
        Action.RETRY,
        AuthenticationError,
        "{request}: HTTP 429; the token endpoint wants no more requests now, try again later.",
        LOGIN_TRIES,
    ),
    Rule(
        range(400, 500),
        Action.FAIL,
        CredentialsRefusedError,
        "{request}: HTTP {status}; the API refused the credentials. Check them before trying again: repeated"
        " failures get the caller blocked.",
    ),
    Rule(
        range(500, 600),
        Action.RETRY,
        AuthenticationError,
        "{request}: HTTP {status}, {tries} times; the token endpoint is failing on its side, try again later.",
        LOGIN_TRIES,
    ),
    Rule(
        range(100, 1000),
        Action.FAIL,
        AuthenticationError,
        "{request}: HTTP {status}, which a token endpoint does not answer; check auth_url and api_url.",
    ),
)
"""What is done about a request for a token. A refused credential is never tried again."""


def rule_for(condition: Fault | int, rules: tuple[Rule, ...] = RULES) -> Rule:
    """Find the row that speaks for a fault or an HTTP status: the first that matches."""
    for rule in rules:
        if rule.condition is condition:
            return rule
        if isinstance(rule.condition, range) and isinstance(condition, int) and condition in rule.condition:
            return rule
    raise LookupError(condition)
