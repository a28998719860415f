"""How to log in to the Hubstaff API, and when a refresh token is exchanged.

Facts from the vendor's guide: a personal access token is a refresh token. It is exchanged, by a form and without
client credentials, for an access token and a *new* refresh token; the old one is dead from then on. An application of
one's own does the same with its client id and secret. A token of an organization (``hsoat_...``) goes straight into the
requests. About five exchanges an hour are allowed.
"""

from __future__ import annotations

import base64
import datetime as dt
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import msgspec
from singer_http.http.auth import Token, lifetime, validated_token
from singer_http.http.clock import Stopped
from singer_http.http.errors import AuthenticationError, CredentialsRefusedError
from singer_http.http.rules import LOGIN_RULES, Action, Fault, Rule
from singer_http.http.session import request_token

from tap_hubstaff.token_store import AnyTokenStore, StoredTokens

if TYPE_CHECKING:
    from singer_http.http.clock import Clock
    from singer_http.http.transport import Transport

logger = logging.getLogger(__name__)

DEFAULT_AUTH_URL = "https://account.hubstaff.com/access_tokens"
WARN_BEFORE = 14 * 24 * 60 * 60
"""So many seconds before a refresh token ends, its owner is warned."""
USUAL_LIFETIME = 24 * 60 * 60.0
"""Seconds that an access token lasts, by the vendor's guide."""
RENEWED_AFTER = 0.5
"""An access token is exchanged after this share of its life: if that fails, the rest is left to mend it."""
AHEAD = 600.0
"""A token may be dated so many seconds ahead, as clocks differ. One that is dated later is exchanged at once."""
MOST_REFUSALS = 3
"""So many exchanges an hour may be for access tokens that the API refuses: the vendor allows about five in all."""
HOUR = 3600.0
LONGEST_REQUEST = 30.0
"""Seconds after which the vendor's hosting ends any request: no exchange takes longer."""
REFUSAL_BELIEVED = 60.0
"""For so many seconds no run tries a refresh token that was refused: runs that begin together would all send it."""
_RENEW = "Create a new personal access token (or have the application authorized again) and put it into the settings."
_LOST = (
    " the exchange of the refresh token. It may have been used up without the new one having"
    " arrived, so it is not sent again by this run. Run again later; if it is refused then, create a new one and put it"
    " into the settings."
)
_CUT_OFF = (
    "The refresh token is used up: the run that exchanged it at %s ended before it could keep the new one, which"
    " Hubstaff gives only once. " + _RENEW
)
_REFUSED_TO_ANOTHER = (
    "Another run was refused the refresh token at %s, so this one did not try it. No run does for another %.0f s. "
    + _RENEW
)


class LostExchangeError(AuthenticationError):
    """It is unknown whether the refresh token was exchanged."""


_USED_UP = "HTTP {status}; the refresh token is used up, revoked or expired. " + _RENEW
_IN_BETWEEN = (
    "HTTP 403; something between here and Hubstaff refuses the request, whatever the token: check user_agent, auth_url"
    " and the network."
)
ROTATION_RULES = (
    *(
        Rule(lost, Action.FAIL, LostExchangeError, came + _LOST)
        for came, conditions in (
            ("no whole answer to", (Fault.TIMEOUT, Fault.BROKEN)),
            ("HTTP {status} without tokens in answer to", (Fault.EMPTY, Fault.MALFORMED)),
            ("HTTP {status} in answer to", (range(408, 409), range(500, 600))),
        )
        for lost in conditions
    ),
    Rule(range(403, 404), Action.FAIL, AuthenticationError, _IN_BETWEEN),
    *(replace(rule, sentence=_USED_UP) if rule.error is CredentialsRefusedError else rule for rule in LOGIN_RULES),
)
"""What to do about a failed request for tokens: none is repeated that may have used the refresh token up."""
EARLY_RULES = tuple(replace(rule, action=Action.FAIL) for rule in ROTATION_RULES)
"""The same while there is time: a later run can exchange as well."""


class _TokenAnswer(msgspec.Struct):
    access_token: str
    refresh_token: str | None = None  # without one, the old one stays valid (RFC 6749, section 6)
    expires_in: Any = None

    def __post_init__(self) -> None:
        self.access_token = validated_token(self.access_token)
        if self.refresh_token is not None:
            self.refresh_token = validated_token(self.refresh_token)


_decode_answer = msgspec.json.Decoder(_TokenAnswer).decode


class Rotation:
    """Exchanges the refresh token for access tokens; the ``fetch`` of a :class:`~singer_http.http.auth.TokenSource`.

    Args:
        url: The token endpoint.
        transport: Sends the requests.
        store: Keeps the tokens.
        client: Client id and secret of an application, None for a personal access token.
        clock: Tells the time.
    """

    def __init__(
        self, url: str, transport: Transport, store: AnyTokenStore, client: tuple[str, str] | None, clock: Clock
    ) -> None:
        self._url = url
        self._transport = transport
        self._store = store
        self._client = client
        self._clock = clock
        self._handed_out: tuple[str, float] = ("", 0.0)
        """The access token that was given last, and until when."""

    def __call__(self) -> Token:
        """A valid access token: the stored one, or a new one.

        Raises:
            AuthenticationError: None can be had.
        """
        with self._store.locked(self._clock):
            kept = self._store.read()
            now = self._clock.time()
            # A token that is asked for again before its time was refused.
            is_refused = self._handed_out[0] == kept.access_token and now < self._handed_out[1]
            is_refused = is_refused and self._may_exchange_refused(kept, now)
            is_usable = kept.access_token != "" and now < kept.expires_at and not is_refused
            until = kept.expires_at
            if not is_usable:
                kept = self._exchange(kept, ROTATION_RULES)
                until = kept.renew_at
            elif now < kept.renew_at and _came_at(kept) < now + AHEAD:
                until = kept.renew_at
            elif kept.begun_at or kept.refused_at:
                self._say_last(kept)
            else:
                kept, until = self._renewed(kept)
        self._warn(kept.refresh_token)
        lasting = until - self._clock.time()
        token = Token.lasting(kept.access_token, lasting, self._clock.monotonic())
        self._handed_out = kept.access_token, self._clock.time() + token.expires_at - self._clock.monotonic()
        return token

    def _may_exchange_refused(self, kept: StoredTokens, now: float) -> bool:
        """Whether a refused access token is worth an exchange; if so, note it. Other requests may still take it."""
        kept.refusals = [moment for moment in kept.refusals if now - HOUR < moment <= now]
        if len(kept.refusals) < MOST_REFUSALS:
            kept.refusals.append(now)
            return True
        logger.warning(
            "The API refused %d access tokens within an hour. Hubstaff allows about five exchanges an hour, so this one"
            " is kept until %s.",
            len(kept.refusals) + 1,
            _time(kept.refusals[0] + HOUR),
        )
        return False

    def _renewed(self, kept: StoredTokens) -> tuple[StoredTokens, float]:
        """Exchange a token that is still valid, or keep it; also until when to use the result."""
        try:
            new = self._exchange(kept, EARLY_RULES)
        except AuthenticationError as failure:
            left = (kept.expires_at - self._clock.time()) / 3600
            logger.warning("%s Until then the access token there is serves on: %.1f h more.", failure, left)
            return kept, kept.expires_at
        return new, new.renew_at

    def _exchange(self, kept: StoredTokens, rules: tuple[Rule, ...]) -> StoredTokens:
        """Exchange the refresh token; the store says so before it is done."""
        before = kept.begun_at
        left = kept.refused_at + REFUSAL_BELIEVED - self._clock.time()
        if 0 < left <= REFUSAL_BELIEVED:
            told = _CUT_OFF % _time(before) if before else _REFUSED_TO_ANOTHER % (_time(kept.refused_at), left)
            raise CredentialsRefusedError(told)
        if before:
            # The exchange that was cut off may still be under way.
            wait = min(before + LONGEST_REQUEST - self._clock.time(), LONGEST_REQUEST)
            if wait > 0:
                logger.info("The last exchange of the token was cut off: waiting %.0f s for it to be over.", wait)
                self._clock.sleep(wait)
        self._store.write(msgspec.structs.replace(kept, begun_at=self._clock.time()))
        form = urlencode({"grant_type": "refresh_token", "refresh_token": kept.refresh_token}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if self._client is not None:
            headers["Authorization"] = f"Basic {base64.b64encode(':'.join(self._client).encode()).decode()}"
        try:
            answer = request_token(self._url, self._transport, form, _decode_answer, self._clock, rules, headers)
        except LostExchangeError:
            raise
        except CredentialsRefusedError:
            self._store.write(msgspec.structs.replace(kept, refused_at=self._clock.time()))
            if before:
                raise CredentialsRefusedError(_CUT_OFF % _time(before)) from None
            raise
        except (AuthenticationError, Stopped):
            self._store.write(kept)  # it certainly had no effect
            raise
        now, lasting = self._clock.time(), lifetime(answer.expires_in, USUAL_LIFETIME)
        ends = now + lasting, now + lasting * RENEWED_AFTER
        following = answer.refresh_token or kept.refresh_token
        kept = StoredTokens(following, answer.access_token, *ends, refusals=kept.refusals)
        self._store.write(kept)  # before anything else: the old token is dead
        return kept

    def _say_last(self, kept: StoredTokens) -> None:
        """Warn that this access token may be the last one."""
        lost = f"may have been used up at {_time(kept.begun_at)}, by an exchange of which nothing was kept"
        logger.warning(
            "The refresh token %s. The access token there is serves on for %.1f h; then the refresh token is tried once"
            " more. %s",
            "was refused" if kept.refused_at else lost,
            (kept.expires_at - self._clock.time()) / 3600,
            _RENEW,
        )

    def _warn(self, refresh_token: str) -> None:
        if (expires := expiry(refresh_token)) is not None and (left := expires - self._clock.time()) < WARN_BEFORE:
            logger.warning("The refresh token ends in %.0f days. %s", max(0.0, left) / 86400, _RENEW)


def _came_at(kept: StoredTokens) -> float:
    """When the access token came, by the clock of the machine that it came to."""
    return kept.expires_at - (kept.expires_at - kept.renew_at) / (1 - RENEWED_AFTER)


def _time(moment: float) -> str:
    return dt.datetime.fromtimestamp(moment, dt.timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


def expiry(token: str) -> float | None:
    """When a JSON web token ends (RFC 7519, ``exp``), in seconds since 1970; None where it does not tell.

    The signature is the vendor's business: this only serves a warning.
    """
    try:
        part = token.split(".")[1]
        claims: Any = msgspec.json.decode(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        return float(claims["exp"])
    except (LookupError, ValueError, TypeError, OverflowError, RecursionError):
        return None
