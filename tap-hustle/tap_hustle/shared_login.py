"""One login for all runs that count their requests together: its token is kept where they count them."""

from __future__ import annotations

import hashlib
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
from singer_http.http.auth import Token
from singer_http.http.errors import CredentialsRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from singer_http.http.clock import Clock
    from singer_http.http.request_log import RequestLog, Sent

logger = logging.getLogger(__name__)

LOGIN_PATIENCE = 60.0
"""Seconds to wait for a run that is logging in, which may have died, and to believe a refusal of the credentials."""
GLANCE = 0.2
"""Seconds after which to look whether it is through."""


class Login(msgspec.Struct, omit_defaults=True):
    """A login whose token others may take, or one that is under way, as the log holds it."""

    credential: str  # a hash
    token: str = ""
    ends_at: float = 0.0
    busy_until: float = 0.0  # for so long others wait for it ...
    refusal: str = ""  # ... or believe that the credential is refused


class SharedLogin:
    """The ``fetch`` of a :class:`~singer_http.http.auth.TokenSource`: takes the token of another run, or logs in.

    Args:
        log: Where the runs count their requests.
        fetch: Logs in.
        credential: What is logged in with, and where.
        clock: Measures and waits.
    """

    def __init__(self, log: RequestLog, fetch: Callable[[], Token], credential: str, clock: Clock) -> None:
        self._log = log
        self._fetch = fetch
        self._credential = hashlib.sha256(credential.encode()).hexdigest()
        self._clock = clock
        self._last = ""
        """The token that was handed out: who asks again cannot use it any more."""

    def __call__(self) -> Token:
        """A token that is good now; raises :class:`AuthenticationError` where none can be had."""
        is_waiting = False
        while True:
            token, is_our_turn = self._log.update(self._look)
            if is_our_turn:
                token = self._log_in()
            if token is not None:
                self._last = token.value
                return token
            if not is_waiting:
                logger.info("Another run is logging in: waiting for its token, %.0f s at most.", LOGIN_PATIENCE)
                is_waiting = True
            self._clock.sleep(GLANCE)

    def _look(self, now: float, sent: Sent) -> tuple[Token | None, bool]:
        """The token of another run, and whether it is this run's turn to log in."""
        login = _found(sent.login)
        if login is not None and login.credential == self._credential:
            if now < login.ends_at and login.token != self._last:
                return Token(login.token, self._clock.monotonic() + login.ends_at - now), False
            if now < login.busy_until <= now + LOGIN_PATIENCE:
                if login.refusal:
                    raise CredentialsRefusedError(
                        f"Another run was refused its login, so this one did not try: {login.refusal} No run tries"
                        f" these credentials for another {login.busy_until - now:.0f} s."
                    )
                return None, False
        sent.login = msgspec.to_builtins(Login(self._credential, busy_until=now + LOGIN_PATIENCE))
        return None, True

    def _log_in(self) -> Token:
        token, refusal = Token("", 0.0), ""

        def tell(now: float, sent: Sent) -> None:
            lasting = token.expires_at - self._clock.monotonic()
            busy = LOGIN_PATIENCE if refusal else 0.0
            login = Login(self._credential, token.value, now + lasting, now + busy, refusal)
            sent.login = msgspec.to_builtins(login)

        try:
            token = self._fetch()
        except CredentialsRefusedError as error:
            refusal = str(error)
            raise
        finally:
            self._log.update(tell)
        return token


def _found(kept: Any) -> Login | None:
    with suppress(msgspec.ValidationError):
        return msgspec.convert(kept, Login)
    return None
