"""Access tokens: fetched once for all threads, renewed in time, dropped when the API refuses them."""

from __future__ import annotations

import math
import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from singer_http.http.errors import AuthenticationError, CredentialsRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from singer_http.http.clock import Clock

LEEWAY = 60.0  # seconds before its end at which a token counts as used up: a request may be under way that long
LEEWAY_SHARE = 0.1  # the most of a token's life that the leeway may be: short-lived tokens are of use too
_is_token = re.compile("[!-~]+").fullmatch


def validated_token(text: str) -> str:
    """Strip the blanks around a token; raises :class:`ValueError` where no header can carry it."""
    token = text.strip()
    if not _is_token(token):
        raise ValueError("no token")
    return token


def lifetime(expires_in: Any, usual: float) -> float:
    """Return the seconds that a token lasts by ``expires_in``, or the usual ones where that is unusable."""
    try:
        seconds = float(expires_in)
    except (TypeError, ValueError, OverflowError):
        return usual
    return seconds if 0 < seconds < math.inf else usual


@dataclass(frozen=True, slots=True)
class Token:
    """An access token and its end on the monotonic clock; ``repr`` leaves out the secret."""

    value: str = field(repr=False)
    expires_at: float

    @classmethod
    def lasting(cls, value: str, seconds: float, now: float) -> Token:
        """Make a token that was given at ``now`` for so many seconds, less the leeway."""
        return cls(value, now + seconds - min(LEEWAY, seconds * LEEWAY_SHARE))


class TokenSource:
    """Gives a session its bearer token: fetched when first needed and renewed when it ends, once for all threads.

    An :class:`AuthenticationError` that ``fetch`` raises is final for the run.
    """

    def __init__(self, fetch: Callable[[], Token], clock: Clock) -> None:
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._token: Token | None = None
        self._failure: AuthenticationError | None = None

    def get(self) -> str:
        """Return a token that is good now."""
        with self._lock:
            if self._failure is not None:  # asking again would count as one more failed attempt
                raise self._failure
            if self._token is None or self._clock.monotonic() >= self._token.expires_at:
                try:
                    self._token = self._fetch()
                except AuthenticationError as failure:
                    self._failure = failure
                    raise
            return self._token.value

    def refused(self, token: str) -> None:
        """Do not hand out this token again: the API answered 401 to it."""
        with self._lock:
            # A slower thread must not throw away the token that was fetched since.
            if self._token is not None and self._token.value == token:
                self._token = None


def fixed_token(value: str, setting: str, clock: Clock) -> TokenSource:
    """Serve the token of a setting; when the API refuses it, the error names the setting."""
    unused = [Token(value, math.inf)]

    def fetch() -> Token:
        if not unused:
            raise CredentialsRefusedError(f"HTTP 401: the API does not accept the token; check {setting}.")
        return unused.pop()

    return TokenSource(fetch, clock)
