"""Access tokens: the client credentials flow, and the blocks for those who fail at it."""

import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import count
from typing import Any

import msgspec

from api_sandbox.api import Refused, attempt
from api_sandbox.tokens import bearer, jwt, media_type

_DAY = 24 * 3600.0
SCOPE = "read:account write:account"


class Credentials(msgspec.Struct, frozen=True):
    """What a client shows to be given a token."""

    client_id: str
    client_secret: str


class _TokenRequest(Credentials, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of a token request; the spec allows no other field."""

    grant_type: str


@dataclass(slots=True)
class LoginGuard:
    """Blocks callers who fail to log in: first for the account, then altogether.

    The vendor says when a block begins but not what ends the count. Here only a block does, not a success, and
    an attempt while blocked counts as failed too: the strict reading.
    """

    per_account: int
    per_day: int
    block_seconds: float
    clock: Callable[[], float] = time.monotonic
    _failed: defaultdict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    _blocked_until: dict[tuple[str, str], float] = field(default_factory=dict)
    _of_day: defaultdict[str, deque[float]] = field(default_factory=lambda: defaultdict(deque))

    def blocks(self, caller: str, account: str) -> bool:
        """Whether a caller (an IP address) may not even try."""
        now = self.clock()
        of_day = self._of_day[caller]
        while of_day and of_day[0] <= now - _DAY:
            of_day.popleft()
        return len(of_day) >= self.per_day or self._blocked_until.get((caller, account), now) > now

    def failed(self, caller: str, account: str) -> None:
        """Count a failed attempt."""
        now = self.clock()
        self._of_day[caller].append(now)
        pair = (caller, account)
        if self._blocked_until.get(pair, now) > now:
            return
        self._failed[pair] += 1
        if self._failed[pair] >= self.per_account:
            self._blocked_until[pair] = now + self.block_seconds
            self._failed[pair] = 0

    def clear(self) -> None:
        """Forget all attempts and blocks."""
        self._failed.clear()
        self._blocked_until.clear()
        self._of_day.clear()


@dataclass(slots=True)
class TokenDesk:
    """Gives tokens out and knows which of them work.

    Attributes:
        lifetime: Seconds for which a token works.
        expires_in: Seconds that are told of it.
    """

    credentials: Credentials
    guard: LoginGuard
    lifetime: float
    expires_in: float
    clock: Callable[[], float] = time.monotonic
    _ends: dict[str, float] = field(default_factory=dict)
    _numbers: "count[int]" = field(default_factory=count)

    def answer(self, content_type: str, body: bytes, caller: str) -> dict[str, Any]:
        """The answer to a token request."""
        shown = attempt(lambda: _read(content_type, body))
        account = "" if isinstance(shown, Refused) else shown.client_id
        refused = shown if isinstance(shown, Refused) else None
        if self.guard.blocks(caller, account):
            refused = Refused(HTTPStatus.FORBIDDEN, "too many failed attempts; this caller is blocked")
        elif refused is None and shown != self.credentials:
            refused = Refused(HTTPStatus.UNAUTHORIZED, "client_id or client_secret is wrong")
        if refused is not None:
            self.guard.failed(caller, account)
            raise refused
        told = float(self.expires_in)
        return {
            "access_token": self._issue(),
            "scope": SCOPE,
            "expires_in": int(told) if told.is_integer() else told,
            "token_type": "Bearer",
        }

    def _issue(self) -> str:
        now = int(time.time())
        claims = {"sub": self.credentials.client_id, "scope": SCOPE, "iat": now, "exp": now + int(self.expires_in)}
        token = jwt(self.credentials.client_secret.encode(), {**claims, "jti": str(next(self._numbers))})
        self._ends[token] = self.clock() + self.lifetime
        return token

    def check(self, authorization: str | None) -> None:
        """Let a request pass whose Authorization header has a token that works."""
        if self._ends.get(bearer(authorization), float("-inf")) <= self.clock():
            raise Refused(HTTPStatus.UNAUTHORIZED, "the access token is missing, unknown or expired")

    def expire_all(self) -> None:
        """End the life of every token now."""
        self._ends.clear()


def _read(content_type: str, body: bytes) -> Credentials:
    if media_type(content_type) != "application/json":
        raise Refused(HTTPStatus.BAD_REQUEST, "the body must be application/json")
    try:
        asked = msgspec.json.decode(body, type=_TokenRequest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(HTTPStatus.BAD_REQUEST, f"the token request is malformed: {error}") from error
    if asked.grant_type != "client_credentials":
        raise Refused(HTTPStatus.BAD_REQUEST, "grant_type must be client_credentials")
    return Credentials(asked.client_id, asked.client_secret)
