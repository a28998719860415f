"""Tokens: refresh tokens that die when they are used, the access tokens they give, and tokens of organizations.

A personal access token is the first refresh token of a chain, used without client credentials; the chain of an
OAuth application begins with the refresh token that its user's consent gave, and wants them (RFC 6749, section 6).
"""

import hmac
import math
from base64 import b64decode
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import count
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from api_sandbox.hubstaff.clock import HOUR, Clock
from api_sandbox.hubstaff.errors import ErrorCode, refuse, refuse_grant
from api_sandbox.hubstaff.scenario import HubstaffScenario
from api_sandbox.limits import SlidingWindow
from api_sandbox.tokens import bearer, jwt, media_type

FORM = "application/x-www-form-urlencoded"
PERSONAL, OAUTH, ORGANIZATION = "personal", "oauth", "organization"


class HubstaffCredentials(msgspec.Struct, frozen=True):
    """What opens the account, each of the three ways by itself.

    Attributes:
        personal_access_token: A refresh token, used without client credentials.
        organization_token: Goes straight into the requests.
        refresh_token: Of the OAuth application.
    """

    personal_access_token: str
    organization_token: str
    client_id: str
    client_secret: str
    refresh_token: str


@dataclass(slots=True)
class _Chain:
    """All tokens that follow from one consent.

    Attributes:
        application: Which limit its requests count for.
        current: The one refresh token that works.
        used: Those that worked once.
    """

    application: str
    current: str
    expires: float
    used: set[str] = field(default_factory=set)
    access: dict[str, float] = field(default_factory=dict)


class TokenDesk:
    """Gives tokens out and knows which of them work."""

    def __init__(self, seed: int, scenario: HubstaffScenario, clock: Clock) -> None:
        self._secret = f"{seed}/hubstaff".encode()
        self._scenario = scenario
        self._clock = clock
        self._numbers = count()
        # One chain stands for all logins of a user, so the limit of exchanges is one for each.
        self._exchanges = {kind: SlidingWindow(scenario.exchanges_per_hour, seconds=HOUR) for kind in (PERSONAL, OAUTH)}
        self._first = {kind: self._refresh_token(kind) for kind in (PERSONAL, OAUTH)}
        self._chains = {kind: _Chain(kind, *first) for kind, first in self._first.items()}
        self.credentials = HubstaffCredentials(
            personal_access_token=self._chains[PERSONAL].current,
            organization_token=f"hsoat_{self._digest('organization')}",
            client_id=self._digest("client")[:24],
            client_secret=self._digest("secret"),
            refresh_token=self._chains[OAUTH].current,
        )

    def answer(self, content_type: str, body: bytes, authorization: str | None) -> dict[str, Any]:
        """The answer to a request for tokens; the refresh token sent in is dead after it."""
        if media_type(content_type) != FORM:
            raise refuse_grant(HTTPStatus.BAD_REQUEST, "invalid_request", f"the body must be {FORM}")
        form = dict(parse_qsl(body.decode("latin-1"), keep_blank_values=True))
        if form.get("grant_type") != "refresh_token":
            raise refuse_grant(
                HTTPStatus.BAD_REQUEST, "unsupported_grant_type", "grant_type must be refresh_token here"
            )
        if not form.get("refresh_token"):
            raise refuse_grant(HTTPStatus.BAD_REQUEST, "invalid_request", "refresh_token is missing")
        kind = self._client(form, authorization)
        self._count(kind)
        return self._rotate(kind, form["refresh_token"])

    def application(self, authorization: str | None) -> str:
        """The application that a request's access token belongs to."""
        token = bearer(authorization)
        if hmac.compare_digest(token.encode(), self.credentials.organization_token.encode()):
            return ORGANIZATION
        now = self._clock.now()
        for kind, chain in self._chains.items():
            if chain.access.get(token, float("-inf")) > now:
                return kind
        raise refuse(ErrorCode.UNAUTHORIZED)

    def expire_access(self) -> None:
        """End the life of every access token now; refresh tokens stay."""
        for chain in self._chains.values():
            chain.access.clear()

    def current(self, kind: str = PERSONAL) -> str:
        """The refresh token of a chain that works now."""
        return self._chains[kind].current

    def reset(self) -> None:
        """Begin anew: the credentials work again and everything that followed from them is forgotten."""
        for kind, first in self._first.items():
            self._chains[kind] = _Chain(kind, *first)
            self._exchanges[kind].clear()

    def _client(self, form: dict[str, str], authorization: str | None) -> str:
        """The kind of chain that the client credentials, or their absence, make it."""
        shown = _basic(authorization) or (form.get("client_id"), form.get("client_secret"))
        if shown == (None, None):
            return PERSONAL
        if shown != (self.credentials.client_id, self.credentials.client_secret):
            raise refuse_grant(HTTPStatus.UNAUTHORIZED, "invalid_client", "the client is unknown or its secret wrong")
        return OAUTH

    def _count(self, kind: str) -> None:
        window, now = self._exchanges[kind], self._clock.now()
        if not window.admit(now):
            raise refuse_grant(
                HTTPStatus.TOO_MANY_REQUESTS,
                "too_many_requests",
                "more exchanges an hour than allowed",
                {"retry-after": str(math.ceil(window.wait(now)))},
            )

    def _rotate(self, kind: str, token: str) -> dict[str, Any]:
        chain, now = self._chains[kind], self._clock.now()
        if token != chain.current or chain.expires <= now:
            if token in chain.used and self._scenario.reuse == "revoke":
                chain.used.add(chain.current)
                chain.current = ""
                chain.access.clear()
            message = "the refresh token is unknown, used, revoked or expired"
            raise refuse_grant(self._scenario.reuse_status, "invalid_grant", message)
        chain.used.add(token)
        chain.current, chain.expires = self._refresh_token(kind)
        access = self._jwt({"app": kind, "exp": int(now + self._scenario.access_token_lifetime)})
        chain.access[access] = now + self._scenario.access_token_lifetime
        told = self._scenario.expires_in
        return {
            "access_token": access,
            "token_type": "bearer",
            "expires_in": int(self._scenario.access_token_lifetime if told is None else told),
            "refresh_token": chain.current,
            "scope": "openid profile email hubstaff:read",
        }

    def _refresh_token(self, kind: str) -> tuple[str, float]:
        """A new refresh token, and when it ends."""
        expires = self._clock.now() + self._scenario.refresh_token_lifetime
        return self._jwt({"typ": "Refresh", "app": kind, "exp": int(expires)}), expires

    def _jwt(self, claims: dict[str, Any]) -> str:
        return jwt(self._secret, {"jti": str(next(self._numbers)), "iat": int(self._clock.now()), **claims})

    def _digest(self, name: str) -> str:
        return hmac.digest(self._secret, name.encode(), "sha256").hex()


def _basic(authorization: str | None) -> tuple[str, str] | None:
    """Client credentials of HTTP Basic (RFC 7617)."""
    scheme, _, shown = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = b64decode(shown.strip(), validate=True).decode().partition(":")
    except ValueError:
        return "", ""
    return user, password
