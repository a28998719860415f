"""The tap: its settings, its streams, and what has to be known before the first of them is read."""

from __future__ import annotations

import datetime as dt
import threading
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, cast

import msgspec
from singer_http.http.errors import ApiError, ConfigurationError, ForbiddenError, MalformedAnswerError
from singer_http.reading.pages import Slice
from singer_http.reading.reader import Reader
from singer_http.tap import ApiTap
from typing_extensions import override

from tap_hubstaff.client import open_session, parse_page
from tap_hubstaff.settings import SETTINGS, setting_errors
from tap_hubstaff.stream import HubstaffStream, OwnedStream, Owner
from tap_hubstaff.streams import STREAMS
from tap_hubstaff.windowed import WindowedStream
from tap_hubstaff.windows import midnight, months_before, parse_iso
from tap_hubstaff.work_sessions.stream import TimeSessions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from singer_http.http.session import Session

DEFAULT_MONTHS = 36
"""How far back to read without ``start_date``: as far as the longest of the vendor's own reaches."""
UNLIMITED_ROLES = frozenset({"owner", "manager"})
"""Whose tokens show the whole organization; what others are shown is less, and no error says so."""


class PlainMemberError(ApiError):
    """The credentials are a plain member's: lists are shorter for them, without an error."""


class TapHubstaff(ApiTap):
    """Singer tap for the Hubstaff v2 API (time tracking)."""

    name = "tap-hubstaff"
    secret_settings = frozenset(
        {"access_token", "personal_access_token", "refresh_token", "client_id", "client_secret"}
    )

    config_jsonschema: ClassVar[dict[str, Any]] = SETTINGS

    def __init__(self, **kwargs: Any) -> None:
        self._organizations: tuple[int, ...] = ()
        self._owners: dict[tuple[str, int], tuple[Owner, ...] | ApiError] = {}
        self._owners_lock = threading.Lock()
        super().__init__(**kwargs)

    @override
    def discover_streams(self) -> list[HubstaffStream]:
        return [stream(self) for stream in STREAMS]

    @property
    def hubstaff_streams(self) -> list[HubstaffStream]:
        """The streams that are to be read, as what they are."""
        return [stream for stream in self.streams.values() if isinstance(stream, HubstaffStream) and stream.selected]

    @override
    def setting_errors(self, config: Mapping[str, Any]) -> Iterator[str]:
        yield from setting_errors(config, self.now())

    @cached_property
    @override
    def session(self) -> Session:
        user_agent = self.config.get("user_agent") or f"{self.name}/{self.plugin_version}"
        return open_session({**self.config, "user_agent": user_agent}, self.clock)

    # Time

    def now(self) -> dt.datetime:
        """The time, in UTC."""
        return dt.datetime.fromtimestamp(self.clock.time(), dt.timezone.utc)

    @cached_property
    def began(self) -> dt.datetime:
        """When the run began: what happens later is the next run's."""
        return self.now()

    @property
    def start_date(self) -> dt.datetime:
        """From when on data are wanted; the vendor may not keep them as long as that."""
        if self.config.get("start_date"):
            return parse_iso(self.config["start_date"])
        return midnight(months_before(self.began, DEFAULT_MONTHS))

    @property
    def end_date(self) -> dt.datetime | None:
        """The last day that is wanted, None for today."""
        return parse_iso(self.config["end_date"]) if self.config.get("end_date") else None

    # Before the first stream

    @override
    def prepare(self) -> None:
        _ = self.began
        self.session.log_in()
        visible = dict.fromkeys(row["id"] for row in self._rows("/organizations", "organizations"))
        wanted = self.wanted_organizations
        if unknown := sorted(wanted.difference(visible)) if wanted else []:
            raise ConfigurationError(
                f"organization_ids names {', '.join(map(str, unknown))}, which these credentials do not show: check the"
                " ids."
            )
        self._organizations = tuple(
            organization
            for organization in visible
            if (wanted is None or organization in wanted) and self._may_be_read(organization)
        )
        for stream in self.hubstaff_streams:
            if isinstance(stream, OwnedStream):
                for organization in self._organizations:
                    self._list_owners(stream.owners, organization)
        if isinstance(activities := self.streams["activities"], WindowedStream):
            self.time_sessions.follow(activities)
        self._forecast()

    @property
    def time_sessions(self) -> TimeSessions:
        """The stream of sessions, which may be built of what another stream reads."""
        return cast("TimeSessions", self.streams[TimeSessions.name])

    def _may_be_read(self, organization: int) -> bool:
        """Whether an organization is on an active plan; says so where it is not, or where it will not show all."""
        label = f"organization {organization}"
        path = f"/organizations/{organization}/members"
        try:
            role = self.session.get(path, {"user_ids": self._user_id, "page_limit": 1}, _parse_role)
        except ForbiddenError:
            self.report(
                label,
                ForbiddenError(
                    f"GET {path}: HTTP 403; the organization is not on an active plan, or these credentials may read"
                    " nothing of it. Leave it out of organization_ids, or have the plan renewed."
                ),
            )
            return False
        if role is not None and role not in UNLIMITED_ROLES:
            self.report(
                label,
                PlainMemberError(
                    f"These credentials are those of a plain member (role {role}), to whom lists show less without an"
                    " error: use a token of an owner or manager of the organization."
                ),
            )
        return True

    @cached_property
    def _user_id(self) -> int:
        return self.session.get("/users/me", {}, _parse_user_id)

    def _forecast(self) -> None:
        requests = sum(stream.requests_at_least() for stream in self.hubstaff_streams)
        self.logger.info(
            "%d streams of %d organizations will take %d requests at least; the budget has %d left of %d an hour.",
            len(self.hubstaff_streams),
            len(self._organizations),
            requests,
            self.session.budget.left,
            self.session.budget.requests,
        )

    @override
    def check_connection(self) -> str:
        self.session.log_in()
        page = self.session.get("/organizations", {"page_limit": 1}, lambda body: parse_page(body, ("organizations",)))
        if page.is_empty:
            return "the credentials work, but show no organization."
        return "the credentials work, and organizations can be read."

    @property
    def wanted_organizations(self) -> frozenset[int] | None:
        """The organizations that the settings restrict the run to, None for all."""
        return frozenset(self.config.get("organization_ids") or ()) or None

    @property
    def organization_ids(self) -> tuple[int, ...]:
        """The organizations that are read, in the API's order."""
        return self._organizations

    def owners(self, name: str, organization: int) -> tuple[Owner, ...]:
        """The teams, say, of an organization, which have lists of their own.

        Raises:
            ApiError: They could not be listed.
        """
        found = self._list_owners(name, organization)
        if isinstance(found, ApiError):
            raise found
        return found

    def _list_owners(self, name: str, organization: int) -> tuple[Owner, ...] | ApiError:
        """List them once a run, whether that works or not."""
        with self._owners_lock:
            key = (name, organization)
            if key not in self._owners:
                try:
                    self._owners[key] = tuple(map(Owner.of, self._rows(f"/organizations/{organization}/{name}", name)))
                except ApiError as failure:
                    self._owners[key] = failure
            return self._owners[key]

    def _rows(self, path: str, name: str) -> Iterator[dict[str, Any]]:
        everything = Slice(
            stream=name,
            partition=None,
            path=path,
            params={"page_limit": int(self.config["page_size"])},
            cursor_param="page_start_id",
            start=None,
            parse=lambda body: parse_page(body, (name,)),
        )
        with Reader(self.session, [everything]) as reader:
            for _, pages in reader:
                for fetched in pages:
                    for row in fetched.page.decode():
                        if not isinstance(row.get("id"), int):
                            raise MalformedAnswerError(f"GET {path}: a record came without its id.")
                        yield row


class _User(msgspec.Struct):
    id: int


class _UserAnswer(msgspec.Struct):
    user: _User


class _Role(msgspec.Struct):
    membership_role: str | None = None


class _RoleAnswer(msgspec.Struct):
    members: list[_Role]


_decode_user = msgspec.json.Decoder(_UserAnswer).decode
_decode_role = msgspec.json.Decoder(_RoleAnswer).decode


def _parse_user_id(body: bytes) -> int:
    return _decode_user(body).user.id


def _parse_role(body: bytes) -> str | None:
    members = _decode_role(body).members
    return members[0].membership_role if members else None
