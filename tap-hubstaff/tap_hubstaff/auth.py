"""How the Hubstaff API is logged in to, and where the tokens that change with every login are kept.

Facts from the vendor's guide: a personal access token is a refresh token. It is exchanged, by a form and without
client credentials, for an access token and a *new* refresh token; the old one is dead from then on. An application of
one's own does the same with its client id and secret. A token of an organization (``hsoat_...``) goes straight into the
requests. About five exchanges an hour are allowed.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import logging
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import msgspec
from singer_http.auth import Token, TokenSource
from singer_http.client import log_in
from singer_http.errors import (
    LOGIN_RULES,
    Action,
    AuthenticationError,
    ConfigurationError,
    CredentialsRefusedError,
    Fault,
)
from singer_http.transport import Form
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterator

    from singer_http.clock import Clock
    from singer_http.errors import Rule
    from singer_http.transport import Transport

logger = logging.getLogger(__name__)

DEFAULT_AUTH_URL = "https://account.hubstaff.com/access_tokens"
WARN_BEFORE = 14 * 24 * 60 * 60
"""Seconds before the end of a refresh token from which on its owner is told."""
USUAL_LIFETIME = 24 * 60 * 60.0
"""Seconds that an access token lasts, by the vendor's guide."""
LOCK_PATIENCE = 300.0
"""Seconds to wait for another run that is exchanging the token."""
_RENEW = "Create a new personal access token (or have the application authorized again) and put it into the settings."
_LOST = (
    "{request}: no answer to the exchange of the refresh token. It may have been used up without the new one having"
    " arrived, so it is not sent again by this run. Run again later; if it is refused then, create a new one and put it"
    " into the settings."
)


def _rotation_rule(rule: Rule) -> Rule:
    """A rule for an exchange, which may have happened although no answer came."""
    condition = rule.condition
    if condition in {Fault.TIMEOUT, Fault.BROKEN, Fault.MALFORMED} or condition == range(500, 600):
        return replace(rule, action=Action.FAIL, sentence=_LOST)
    if condition == range(400, 500):
        sentence = "{request}: HTTP {status}; the refresh token is used up, revoked or expired. " + _RENEW
        return replace(rule, sentence=sentence)
    return rule


ROTATION_RULES = tuple(_rotation_rule(rule) for rule in LOGIN_RULES)
"""What is done about a request for tokens: nothing that may have used the refresh token up is repeated."""


class _TokenAnswer(msgspec.Struct):
    access_token: str
    refresh_token: str | None = None  # none in the answer: the old one goes on (RFC 6749, section 6)
    expires_in: Any = None

    def __post_init__(self) -> None:
        for token in (self.access_token, self.refresh_token):
            if token is not None and not (token and token.isascii() and token.isprintable()):
                raise ValueError("no token")

    @property
    def lifetime(self) -> float:
        """Seconds; a day where it says nothing of use, for which the new refresh token must not be lost."""
        says = self.expires_in
        return float(says) if isinstance(says, int | float) and says > 0 else USUAL_LIFETIME


class Kept(msgspec.Struct):
    """What the store keeps of one configured token.

    Attributes:
        refresh_token: The one to use next.
        access_token: The one that came with it.
        expires_at: When that one ends, in seconds since 1970.
    """

    refresh_token: str
    access_token: str = ""
    expires_at: float = 0.0


_decode_answer = msgspec.json.Decoder(_TokenAnswer).decode
_decode_kept = msgspec.json.Decoder(Kept).decode


class TokenStore:
    """One file for one configured token, for all runs that use it.

    The file's name is a hash of the configured token, so a token that is newly configured begins anew.

    Args:
        folder: Where the files are; made if need be.
        configured: The refresh token in the settings.
    """

    def __init__(self, folder: Path, configured: str) -> None:
        self._configured = configured
        self.path = folder / f"{hashlib.sha256(configured.encode()).hexdigest()[:32]}.json"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs from the file.

        Raises:
            AuthenticationError: Another run does not let go of it.
            ConfigurationError: The folder cannot be written to.
        """
        lock = filelock.FileLock(self.path.with_suffix(".lock"), timeout=LOCK_PATIENCE, mode=0o600)
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with lock:
                yield
        except filelock.Timeout:
            raise AuthenticationError(
                f"{lock.lock_file} is held by another run for more than {LOCK_PATIENCE / 60:.0f} min; end that one."
            ) from None
        except OSError as error:
            raise ConfigurationError(
                f"token_path is not valid: {self.path.parent} cannot be used ({error.strerror}), and a rotated token"
                " must not be lost."
            ) from None

    def read(self) -> Kept:
        """What is kept; the configured token where nothing is."""
        try:
            return _decode_kept(self.path.read_bytes())
        except FileNotFoundError:
            return Kept(self._configured)
        except (msgspec.DecodeError, UnicodeDecodeError):
            logger.warning("%s is damaged: the token in the settings is used.", self.path)
            return Kept(self._configured)

    def write(self, kept: Kept) -> None:
        """Replace what is kept: wholly or not at all, and on the disk when this returns."""
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=self.path.stem)  # 0600 from the start
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(msgspec.json.encode(kept))
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self.path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


class Rotation:
    """Exchanges the refresh token for access tokens; the ``fetch`` of a :class:`~singer_http.auth.RenewedToken`.

    Args:
        url: The token endpoint.
        transport: Sends the requests.
        store: Keeps the tokens.
        client: Client id and secret of an application, None for a personal access token.
        clock: Tells when tokens end.
    """

    def __init__(
        self, url: str, transport: Transport, store: TokenStore, client: tuple[str, str] | None, clock: Clock
    ) -> None:
        self._url = url
        self._transport = transport
        self._store = store
        self._client = client
        self._clock = clock
        self._handed_out = ""

    def __call__(self) -> Token:
        """An access token that is good now: one that another run has left, or a new one.

        Raises:
            AuthenticationError: There is none to be had.
        """
        with self._store.locked():
            kept = self._store.read()
            # Asked for again before its end, it was refused.
            if not kept.access_token or self._left(kept) <= 0 or kept.access_token == self._handed_out:
                kept = self._exchange(kept.refresh_token)
        self._warn(kept.refresh_token)
        self._handed_out = kept.access_token
        return Token.lasting(kept.access_token, self._left(kept), self._clock.monotonic())

    def _left(self, kept: Kept) -> float:
        return kept.expires_at - self._clock.time()

    def _exchange(self, refresh_token: str) -> Kept:
        form = Form({"grant_type": "refresh_token", "refresh_token": refresh_token}, self._client)
        answer = log_in(self._url, self._transport, form, _decode_answer, self._clock, ROTATION_RULES)
        following = answer.refresh_token or refresh_token
        kept = Kept(following, answer.access_token, self._clock.time() + answer.lifetime)
        self._store.write(kept)  # before anything else: the old one is dead
        return kept

    def _warn(self, refresh_token: str) -> None:
        expires = expiry(refresh_token)
        left = None if expires is None else expires - self._clock.time()
        if left is not None and left < WARN_BEFORE:
            logger.warning("The refresh token ends in %.0f days. %s", max(0.0, left) / 86400, _RENEW)


class GivenToken(TokenSource):
    """A token of an organization: used as it is, and never renewed."""

    def __init__(self, token: str) -> None:
        self._token = token
        self._is_refused = False

    @override
    def get(self) -> str:
        if self._is_refused:
            raise CredentialsRefusedError("access_token was refused (HTTP 401): it is wrong, revoked or expired.")
        return self._token

    @override
    def refused(self, token: str) -> None:
        self._is_refused = True


def expiry(token: str) -> float | None:
    """When a JSON web token ends (RFC 7519, ``exp``), in seconds since 1970; None where it does not tell.

    The signature is the vendor's business: this only serves a warning.
    """
    try:
        part = token.split(".")[1]
        claims: Any = msgspec.json.decode(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        return float(claims["exp"])
    except (LookupError, ValueError, TypeError):
        return None
