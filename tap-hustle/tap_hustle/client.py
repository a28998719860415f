"""How the Hustle API is spoken to: logging in, and the envelope of its lists.

Facts from the vendor's guide and OpenAPI document (v3): a token is asked for with a JSON body and lasts two hours;
a list answers ``{items, cursor, hasMore}`` and ends where ``hasMore`` is false or ``cursor`` is null.
"""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
from singer_http.http.auth import Token, TokenSource, lifetime, validated_token
from singer_http.http.budget import Budget
from singer_http.http.request_log import user_folder
from singer_http.http.session import Session, request_token
from singer_http.http.shared_log import open_log
from singer_http.http.transport import Transport
from singer_http.reading.pages import Page

from tap_hustle.shared_login import SharedLogin

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from singer_http.http.clock import Clock
    from singer_http.http.request_log import RequestLog

logger = logging.getLogger(__name__)

DEFAULT_URL = "https://api.hustle.com/v3"
REQUESTS_PER_SECOND = 25
"""The vendor's limit on requests for resources; tokens do not count."""
USUAL_LIFETIME = 7200.0
"""Seconds that a token lasts, by the vendor's guide."""
LONGEST_PAGE = 1000
"""The most records that the API gives in one page."""


class _TokenAnswer(msgspec.Struct):
    access_token: str
    expires_in: Any = None

    def __post_init__(self) -> None:
        self.access_token = validated_token(self.access_token)


class _ListAnswer(msgspec.Struct):
    items: msgspec.Raw
    hasMore: bool  # noqa: N815 - the vendor's name
    cursor: str | None = None


_USUAL_RECORD = 1 << 14
"""Bytes of a page that nearly always hold its first record: the text of a whole page takes its time."""

_decode_one = json.JSONDecoder().raw_decode
_decode_token = msgspec.json.Decoder(_TokenAnswer).decode
_decode_list = msgspec.json.Decoder(_ListAnswer).decode


def parse_page(body: bytes) -> Page:
    """Make a page of a list's answer.

    Raises:
        msgspec.DecodeError: It is not the list that is documented.
    """
    answer = _decode_list(body)
    if not bytes(memoryview(answer.items)[:1]) == b"[":
        raise msgspec.ValidationError("items is not an array")
    if not answer.hasMore:
        return Page(answer.items, next=None)
    if not answer.cursor:
        doubt = "the API says that the list goes on but gives no cursor; it is taken to end here."
        return Page(answer.items, next=None, doubt=doubt)
    return Page(answer.items, next=answer.cursor)


def first_record(page: Page) -> dict[str, Any] | None:
    """The first record of a page, None where there is none; the others are not looked at."""
    for most in (_USUAL_RECORD, None):
        text = str(memoryview(page.records)[:most], "utf-8", "replace")
        with suppress(ValueError, RecursionError):  # where it is no record at all, decoding the page will say so
            first: dict[str, Any] = _decode_one(text, text.index("{"))[0]
            return first
    return None


def open_session(config: Mapping[str, Any], clock: Clock) -> Session:
    """A session with the API.

    Args:
        config: The tap's settings, validated.
        clock: Measures and waits.
    """
    transport = Transport(
        user_agent=config["user_agent"],
        timeout=config["request_timeout"],
        connections=config["max_parallel_requests"],
        clock=clock,
    )
    url = config.get("auth_url") or f"{config['api_url'].rstrip('/')}/oauth/token"
    credential = {
        "grant_type": "client_credentials",
        "client_id": config["client_id"],
        "client_secret": config["client_secret"],
    }

    def fetch_token() -> Token:
        answer = request_token(url, transport, credential, _decode_token, clock)
        return Token.lasting(answer.access_token, lifetime(answer.expires_in, USUAL_LIFETIME), clock.monotonic())

    log = _request_log(config, clock)
    fetch: Callable[[], Token] = fetch_token
    if config["share_login"] and log is not None:
        fetch = SharedLogin(log, fetch_token, " ".join([url, *credential.values()]), clock)
    return Session(
        base_url=config["api_url"],
        transport=transport,
        tokens=TokenSource(fetch, clock),
        budget=Budget(config["requests_per_second"], 1.0, clock, log),
        clock=clock,
    )


def _request_log(config: Mapping[str, Any], clock: Clock) -> RequestLog | None:
    """The log that all runs with the same credentials share on this machine; None where no file can be kept."""
    try:
        folder = user_folder("tap-hustle")
        return open_log(config, config["client_id"], folder, config["requests_per_second"], 1.0, clock)
    except (OSError, RuntimeError) as error:
        logger.warning("Other runs with the same credentials are not seen: no file can be kept for them (%s).", error)
        return None
