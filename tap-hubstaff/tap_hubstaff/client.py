"""How the Hubstaff API is spoken to: its session, its budget across runs, and the envelope of its lists.

Facts from the vendor's guide and Swagger (v2): a list answers
``{"<name>": [...], "pagination": {"next_page_start_id": 1}}``, and the last page has no such id.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from singer_http.http.auth import TokenSource, fixed_token
from singer_http.http.errors import ConfigurationError
from singer_http.http.request_log import user_folder
from singer_http.http.session import Session
from singer_http.http.shared_log import open_log
from singer_http.http.transport import Transport
from singer_http.reading.pages import Page

from tap_hubstaff.auth import DEFAULT_AUTH_URL, Rotation
from tap_hubstaff.request_quota import HOUR, HourlyBudget
from tap_hubstaff.token_store import AnyTokenStore, TokenStore

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from singer_http.http.clock import Clock

DEFAULT_URL = "https://api.hubstaff.com/v2"
LONGEST_PAGE = 500
"""The most records that the API gives in one page."""
STOP_PATIENCE = 60.0
"""A run that stops at the end of its quota still waits so many seconds: the API pauses clients for moments."""


class _Pagination(msgspec.Struct):
    next_page_start_id: int | str | None = None


_decode_envelope = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_pagination = msgspec.json.Decoder(_Pagination | None).decode


def parse_page(body: bytes, names: Sequence[str]) -> Page:
    """Make a page of a list's answer.

    Args:
        body: The answer.
        names: What the list may be called in it.

    Raises:
        msgspec.DecodeError: It is not the list that is documented.
    """
    envelope = _decode_envelope(body)
    records = next((envelope[name] for name in names if name in envelope), msgspec.Raw())
    opening = bytes(memoryview(records)[:1])
    if opening == b"{":
        records = msgspec.Raw(b"[%b]" % bytes(records))  # the Swagger has one record instead of a list
    elif opening != b"[":
        raise msgspec.ValidationError("no such list")
    pagination = _decode_pagination(envelope["pagination"]) if "pagination" in envelope else None
    following = pagination.next_page_start_id if pagination else None
    return Page(records=records, next=None if following is None else str(following))


def open_session(config: Mapping[str, Any], clock: Clock) -> Session:
    """A session with the API.

    Args:
        config: The tap's settings, validated.
        clock: Measures and waits.

    Raises:
        ConfigurationError: The folder of ``token_path`` cannot be used.
    """
    transport = Transport(
        user_agent=config["user_agent"],
        timeout=config["request_timeout"],
        connections=config["max_parallel_requests"],
        clock=clock,
    )
    budget = _budget(config, clock)
    return Session(
        base_url=config["api_url"],
        transport=transport,
        tokens=_token_source(config, transport, clock),
        budget=budget,
        clock=clock,
        inspect=lambda answer: budget.heed(answer.headers, transport.api_time.now(), config["max_parallel_requests"]),
    )


def state_folder(config: Mapping[str, Any]) -> Path:
    """The folder of tokens and of the count of requests.

    Raises:
        ConfigurationError: There is no such place.
    """
    try:
        path = config.get("token_path")
        return Path(path).expanduser() if path else user_folder("tap-hubstaff")
    except RuntimeError:
        raise ConfigurationError(
            "token_path must be set to a folder: this user has no home directory to keep tokens in."
        ) from None


def _token_source(config: Mapping[str, Any], transport: Transport, clock: Clock) -> TokenSource:
    if config.get("access_token"):
        return fixed_token(config["access_token"], "access_token", clock)
    is_application = bool(config.get("refresh_token"))
    store = _token_store(config, config["refresh_token" if is_application else "personal_access_token"], clock)
    client = (config["client_id"], config["client_secret"]) if is_application else None
    url = config.get("auth_url") or DEFAULT_AUTH_URL
    return TokenSource(Rotation(url, transport, store, client, clock), clock)


def _token_store(config: Mapping[str, Any], configured: str, clock: Clock) -> AnyTokenStore:
    if config.get("token_url") is None:
        return TokenStore(state_folder(config), configured)
    try:
        from tap_hubstaff.shared_tokens import SharedTokenStore  # noqa: PLC0415 - an extra, and not for every run
    except ImportError:
        raise ConfigurationError("token_url needs a driver for PostgreSQL: install tap-hubstaff[postgres].") from None
    return SharedTokenStore(config["token_url"], configured, clock)


def _budget(config: Mapping[str, Any], clock: Clock) -> HourlyBudget:
    """The budget of an application, which all runs that share a folder share: a new token brings no new requests."""
    application = config.get("client_id") or ""
    folder = state_folder(config)
    patience = STOP_PATIENCE if config["on_quota"] == "stop" else math.inf
    try:
        log = open_log(config, application, folder, config["requests_per_hour"], HOUR, clock)
    except OSError as error:
        raise ConfigurationError(
            f"token_path is not valid: {folder} cannot be written to ({error.strerror}); the requests of the last hour"
            " are kept there too."
        ) from None
    return HourlyBudget(config["requests_per_hour"], clock, log, patience)
