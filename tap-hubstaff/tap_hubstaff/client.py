"""How the Hubstaff API is spoken to: its session, its budget across runs, and the envelope of its lists.

Facts from the vendor's guide and Swagger (v2): 1,000 requests an hour and application; a list answers
``{"<name>": [...], "pagination": {"next_page_start_id": 1}}``, and the last page has no such id.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec
import platformdirs
from pyrate_limiter import SQLiteBucket
from singer_http.http.auth import FixedToken, RenewedToken, TokenSource
from singer_http.http.budget import Budget
from singer_http.http.errors import ConfigurationError
from singer_http.http.session import Session
from singer_http.http.transport import Transport
from singer_http.reading.pages import Page
from typing_extensions import override

from tap_hubstaff.auth import DEFAULT_AUTH_URL, Rotation, TokenStore

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyrate_limiter import Rate, RateItem
    from singer_http.http.clock import Clock

logger = logging.getLogger(__name__)

DEFAULT_URL = "https://api.hubstaff.com/v2"
REQUESTS_PER_HOUR = 1000
"""The vendor's limit for each application."""
LONGEST_PAGE = 500
"""The most records that the API gives in one page."""
HOUR = 3600.0
CLOCKS_APART = 60
"""Seconds by which the clocks of machines that share the log may differ: what is of later is of no time at all."""
STOP_PATIENCE = 60.0
"""Seconds that a run waits even where it is to stop at the end of its quota: shorter waits are the API's moods."""


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
        records = msgspec.Raw(b"[%b]" % bytes(records))  # the Swagger has one record where it means a list
    elif opening != b"[":
        raise msgspec.ValidationError("no such list")
    pagination = _decode_pagination(envelope["pagination"]) if "pagination" in envelope else None
    following = pagination.next_page_start_id if pagination else None
    return Page(records=records, next=None if following is None else str(following))


class RequestLog(SQLiteBucket):
    """The times of the requests of the last hour, by the machine's clock, in a file that runs share."""

    @classmethod
    def opened(cls, path: Path, rate: Rate) -> RequestLog:
        """Open the log; one that is damaged is put aside, and begun anew.

        Raises:
            OSError: There can be none.
            sqlite3.Error: Likewise.
        """
        with contextlib.suppress(sqlite3.DatabaseError):
            log = cast("RequestLog", cls.init_from_file([rate], db_path=str(path), use_file_lock=True))
            if log.conn.execute("PRAGMA quick_check").fetchone() == ("ok",):
                return log
            log.conn.close()
        logger.warning(
            "%s is damaged: it is put aside, and what was sent in the last hour is not counted. Hubstaff may refuse"
            " requests for a while.",
            path,
        )
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                Path(f"{path}{suffix}").replace(f"{path}.damaged{suffix}")
        return cast("RequestLog", cls.init_from_file([rate], db_path=str(path), use_file_lock=True))

    @override
    def put(self, item: RateItem) -> bool:
        # Written before the clock was put back: such a time would count for longer than its hour.
        with self.lock:
            future = item.timestamp + CLOCKS_APART * 1000
            self.conn.execute(f"DELETE FROM '{self.table}' WHERE item_timestamp > ?", (future,)).close()  # noqa: S608
            self.conn.commit()
            return super().put(item)


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
    return Session(
        base_url=config["api_url"],
        transport=transport,
        tokens=_token_source(config, transport, clock),
        budget=_budget(config, clock),
        clock=clock,
        allowance=lambda answer: allowance(answer.headers, transport.api_time.now()),
    )


def allowance(headers: Mapping[str, str], now: float) -> tuple[int, float] | None:
    """How many requests are left by ``X-Rate-Limit-*``, and for how many seconds; None where that is not said.

    Hubstaff documents no such headers: that ``Reset`` is in seconds from now, or a time in seconds since 1970, is what
    others mean by them.
    """
    try:
        left, reset = int(headers["X-Rate-Limit-Remaining"]), float(headers["X-Rate-Limit-Reset"])
    except (KeyError, ValueError):
        return None
    seconds = reset - now if reset > now / 2 else reset
    return (left, seconds) if left >= 0 and 0 <= seconds < math.inf else None


def state_folder(config: Mapping[str, Any]) -> Path:
    """Where tokens and the count of requests are kept.

    Raises:
        ConfigurationError: There is no such place.
    """
    try:
        return Path(config.get("token_path") or platformdirs.user_state_path("tap-hubstaff")).expanduser()
    except RuntimeError:
        raise ConfigurationError(
            "token_path must be set to a folder: this user has no home directory to keep tokens in."
        ) from None


def _token_source(config: Mapping[str, Any], transport: Transport, clock: Clock) -> TokenSource:
    if config.get("access_token"):
        return FixedToken(config["access_token"], "access_token")
    is_application = bool(config.get("refresh_token"))
    store = TokenStore(state_folder(config), config["refresh_token" if is_application else "personal_access_token"])
    client = (config["client_id"], config["client_secret"]) if is_application else None
    url = config.get("auth_url") or DEFAULT_AUTH_URL
    return RenewedToken(Rotation(url, transport, store, client, clock), clock)


def _budget(config: Mapping[str, Any], clock: Clock) -> Budget:
    """The budget of an application, which all runs with its credentials share."""
    requests = config["requests_per_hour"]
    credential = config.get("access_token") or config.get("personal_access_token") or config.get("client_id") or ""
    name = hashlib.sha256(credential.encode()).hexdigest()[:32]
    folder = state_folder(config)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        log = RequestLog.opened(folder / f"{name}.requests.sqlite", Budget.rate(requests, HOUR))
    except (OSError, sqlite3.Error) as error:
        raise ConfigurationError(
            f"token_path is not valid: {folder} cannot be written to"
            f" ({error.strerror if isinstance(error, OSError) else error}); the requests of the last hour are kept"
            " there too."
        ) from None
    patience = STOP_PATIENCE if config["on_quota"] == "stop" else math.inf
    return Budget(requests, HOUR, clock, log, by_wall_clock=True, patience=patience)
