"""The organizations of a run: which may be read, what is read of each once for several streams, and what failed there.

Some lists are asked for by more than one stream, and before the first stream: organizations themselves; members, for
the users and the project members in them and for the role of the credentials; teams and integrations, which own lists.
Each is read once a run, here, and its streams take their pages from here. What fails stays with its organization.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec
from singer_http.http.errors import ApiError, ConfigurationError, FatalError, ForbiddenError, MalformedAnswerError
from singer_http.http.session import UNREADABLE
from singer_http.reading.pages import Page
from singer_http.reading.reader import Reader

from tap_hubstaff.streams.named_stream import client_names
from tap_hubstaff.streams.owned_stream import OwnedStream, Owner
from tap_hubstaff.times import BEGINNING, parse_iso

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Iterator, Mapping

    from singer_http.reading.pages import Slice

    from tap_hubstaff.streams.hubstaff_stream import HubstaffStream
    from tap_hubstaff.tap import TapHubstaff

UNLIMITED_ROLES = frozenset({"owner", "manager"})
"""Whose tokens show the whole organization; what others are shown is less, and no error says so."""
ORGANIZATIONS = "organizations"
MEMBERS = "members"
OWNERS = ("teams", "integrations")
CLIENTS = "clients"


class PlainMemberError(ApiError):
    """The credentials are a plain member's: lists are shorter for them, without an error."""


@dataclass(frozen=True, slots=True)
class _StoredPage:
    """A page that is kept for its streams: as it came, but compressed."""

    cursor: str | None
    body: bytes
    following: str | None
    at: dt.datetime


class Organizations:
    """What has to be known of the organizations before the first stream is read.

    Args:
        tap: Whose streams say how the lists are asked for.
    """

    def __init__(self, tap: TapHubstaff) -> None:
        self._tap = tap
        self._lists: dict[tuple[str, int | None], list[_StoredPage] | ApiError] = {}
        self._owners: dict[tuple[str, int], tuple[Owner, ...]] = {}
        self._created: dict[int, dt.datetime] = {}
        self.ids: tuple[int, ...] = ()
        """Those that are read, in the API's order."""
        self.is_any_left_out = False
        """Whether there is one that is wanted and cannot be read: no table is whole then."""
        self.client_names: dict[int | None, msgspec.Raw] = {}
        """The names of clients, as JSON, by id, where a stream tells them."""

    def look(self) -> None:
        """Read what the streams share, and find out which organizations can be read.

        Raises:
            ApiError: Nothing can be read.
        """
        self.list()
        self._look_at_members()
        due = {name: self._due(name) for name in (*OWNERS, CLIENTS)}
        self._read(
            self._tap.hubstaff_stream(name).whole({"organization_id": own})
            for own in self.ids
            for name in due
            if own in due[name]
        )
        for own in self.ids if self.names_clients else ():
            try:
                for page in self.pages(CLIENTS, own):
                    self.client_names |= client_names(page)
            except ApiError as failure:
                self._tap.logger.warning("The clients of organization %d are not named: %s", own, failure)

    def list(self) -> int:
        """Read which organizations there are, and tell how many requests that took.

        Raises:
            ApiError: They cannot be read, or one that is wanted is not among them.
        """
        self._read([self._tap.hubstaff_stream(ORGANIZATIONS).whole(None)])
        pages = list(self.pages(ORGANIZATIONS, None))
        rows = [row for page in pages for row in page.decode()]
        self._created = {_id(row, ORGANIZATIONS): _created(row) for row in rows}
        wanted = self._tap.wanted_organizations
        if unknown := sorted(wanted.difference(self._created)) if wanted else []:
            raise ConfigurationError(
                f"organization_ids names {', '.join(map(str, unknown))}, which these credentials do not show: check the"
                " ids."
            )
        self.ids = tuple(own for own in self._created if wanted is None or own in wanted)
        return len(pages)

    def is_read(self, name: str, organization: int) -> bool:
        """Whether a list was read here."""
        return (name, organization) in self._lists

    @property
    def names_clients(self) -> bool:
        """Whether a stream tells the names of clients."""
        return any("client_name" in stream.schema["properties"] for stream in self._tap.hubstaff_streams)

    def _due(self, name: str) -> frozenset[int]:
        """The organizations of which any stream wants a list in this run."""
        if name == CLIENTS and self.names_clients:
            return frozenset(self.ids)
        wanting = (stream for stream in self._tap.hubstaff_streams if shared(stream) == name)
        return frozenset(own for stream in wanting for own in stream.due_of(self.ids))

    def created(self, organization: int) -> dt.datetime:
        """When an organization was created: nothing happened before."""
        return self._created.get(organization, BEGINNING)

    def pages(self, name: str, organization: int | None) -> Iterator[Page]:
        """The pages of a list that was read already, as the stream of that name parses them.

        Raises:
            ApiError: They could not be read.
        """
        yield from self._parsed(self._tap.hubstaff_stream(name), name, organization)

    def pages_for(self, stream: HubstaffStream, slice_: Slice) -> Iterator[Page]:
        """The pages of the list that a stream shares with others, as it parses them itself.

        Raises:
            ApiError: They could not be read.
        """
        name = stream.shares or stream.name
        yield from self._parsed(stream, name, slice_.partition["organization_id"] if slice_.partition else None)

    def owners(self, name: str, organization: int) -> tuple[Owner, ...]:
        """The teams, say, of an organization, which have lists of their own.

        Raises:
            ApiError: They could not be listed.
        """
        key = name, organization
        if key not in self._owners:
            rows = (row for page in self.pages(name, organization) for row in page.decode())
            self._owners[key] = tuple(Owner.of(_id(row, name), row) for row in rows)
        return self._owners[key]

    def _look_at_members(self) -> None:
        """Read the members, and leave out what may not be read; the role of the credentials is among them."""
        due = self._due(MEMBERS)
        me = self._me()
        self._read(self._tap.hubstaff_stream(MEMBERS).whole({"organization_id": own}) for own in self.ids if own in due)
        for own in self.ids:
            try:
                self._check_role(own, self._role(own, me))
            except FatalError:
                raise
            except ForbiddenError:
                self._leave_out(own)
            except ApiError as failure:
                if own not in due:  # and otherwise its streams say so
                    self._tap.report(f"the role in organization {own}", failure)

    def _me(self) -> int | None:
        """The user of the credentials; None where they are an organization's own, or may not say."""
        try:
            return self._tap.session.get("/users/me", {}, _parse_user_id)
        except FatalError:
            raise
        except ApiError as failure:
            self._tap.logger.info("The role of the credentials is not known: %s", failure)
            return None

    def _role(self, organization: int, me: int | None) -> str | None:
        """The role of the credentials in an organization, None where it is not told."""
        if self.is_read(MEMBERS, organization):
            members = [row for page in self.pages(MEMBERS, organization) for row in page.decode()]
            mine = [row.get("membership_role") for row in members if row.get("user_id") == me]
            if mine or not self._tap.config.get("user_ids"):
                return mine[0] if mine else None
        path = f"/organizations/{organization}/members"
        # Without a user to look for, it still shows whether anything can be read.
        whom = {} if me is None else {"user_ids": me}
        role = self._tap.session.get(path, {**whom, "page_limit": 1}, _parse_role)
        return None if me is None else role

    def _check_role(self, organization: int, role: str | None) -> None:
        if role is not None and role not in UNLIMITED_ROLES:
            self._tap.report(
                f"organization {organization}",
                PlainMemberError(
                    f"These credentials are those of a plain member (role {role}), to whom lists show less without an"
                    " error: use a token of an owner or manager of the organization."
                ),
            )

    def _leave_out(self, organization: int) -> None:
        self.ids = tuple(own for own in self.ids if own != organization)
        self.is_any_left_out = True
        self._tap.report(
            f"organization {organization}",
            ForbiddenError(
                f"GET /organizations/{organization}/members: HTTP 403; the organization is not on an active plan, or"
                " these credentials may read nothing of it. Leave it out of organization_ids, or have the plan renewed."
            ),
        )

    def _read(self, slices: Iterable[Slice]) -> None:
        """Read lists to their ends and keep their pages; what fails is kept in their place."""
        whole = (replace(slice_, parse=_whole(self._tap.hubstaff_stream(slice_.stream))) for slice_ in slices)
        with Reader(self._tap.session, whole, parallel=self._tap.config["max_parallel_requests"]) as reader:
            for slice_, pages in reader:
                key = slice_.stream, slice_.partition["organization_id"] if slice_.partition else None
                try:
                    self._lists[key] = [
                        _StoredPage(one.cursor, zlib.compress(memoryview(one.records), 1), one.next, one.at)
                        for one in pages
                    ]
                except FatalError:
                    raise
                except ApiError as failure:
                    self._lists[key] = failure
                self._tap.hubstaff_stream(slice_.stream).remember(slice_)

    def _parsed(self, stream: HubstaffStream, name: str, organization: int | None) -> Iterator[Page]:
        kept = self._lists[name, organization]
        if isinstance(kept, ApiError):
            raise kept
        for one in kept:
            try:
                page = stream.parse(zlib.decompress(one.body))
            except UNREADABLE:
                raise MalformedAnswerError(f"{name}: the list holds something other than it should.") from None
            yield replace(page, next=one.following, cursor=one.cursor, at=one.at)


def shared(stream: HubstaffStream) -> str | None:
    """The list that is read here for a stream: its own, or the one that its lists' owners are found in."""
    return stream.owners if isinstance(stream, OwnedStream) else stream.shares


def _whole(stream: HubstaffStream) -> Any:
    """How the answer for a stream is kept as it came, once it is known to be what it should be."""

    def parse(body: bytes) -> Page:
        return Page(msgspec.Raw(body), stream.parse(body).next)

    return parse


def _id(row: Mapping[str, Any], name: str) -> int:
    own = row.get("id")
    if not isinstance(own, int):
        raise MalformedAnswerError(f"{name}: a record came without its id.")
    return own


def _created(row: Mapping[str, Any]) -> dt.datetime:
    try:
        return parse_iso(row["created_at"])
    except (LookupError, ValueError, TypeError, AttributeError):
        return BEGINNING


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
