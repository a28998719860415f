"""Finds out, before the first stream, which organizations can be read, and reads the lists that streams share.

These are the organizations themselves; members, with their users and projects, which also tell the role of the
credentials; teams and integrations, which own lists; and clients, for their names. Each is read once a run and kept in
the :mod:`account <tap_hubstaff.account>`. A failure stays with its organization.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import msgspec
from singer_http.http.errors import ApiError, ConfigurationError, FatalError, ForbiddenError
from singer_http.reading.pages import Page
from singer_http.reading.reader import Reader

from tap_hubstaff.account import list_path
from tap_hubstaff.client import parse_page
from tap_hubstaff.streams.named_base import client_names
from tap_hubstaff.streams.owned_base import OwnedStream

if TYPE_CHECKING:
    from collections.abc import Iterable

    from singer_http.reading.pages import Slice
    from singer_http.tap import ApiTap

    from tap_hubstaff.account import Account
    from tap_hubstaff.streams.base import HubstaffStream

UNLIMITED_ROLES = frozenset({"owner", "manager"})
"""Tokens of these roles show the whole organization. Others show less, without an error."""
ORGANIZATIONS = "organizations"
MEMBERS = "members"
PROJECTS = "projects"
OWNERS = ("teams", "integrations")
CLIENTS = "clients"


class PlainMemberError(ApiError):
    """The credentials are a plain member's: lists are shorter for them, without an error."""


class SharedLists:
    """Reads what a run has to know of its organizations.

    Args:
        tap: Has the settings, the session and the streams, and takes note of failures.
        account: Keeps what was read.
    """

    def __init__(self, tap: ApiTap, account: Account) -> None:
        self._tap = tap
        self._account = account

    @property
    def _streams(self) -> dict[str, HubstaffStream]:
        return cast("dict[str, HubstaffStream]", self._tap.streams)

    @property
    def selected(self) -> list[HubstaffStream]:
        """The streams that are to be read, in their order."""
        return [stream for stream in self._streams.values() if stream.selected]

    def look(self) -> None:
        """Read the shared lists, and find out which organizations can be read.

        Raises:
            ApiError: Nothing can be read.
        """
        self.list()
        self._look_at_members()
        due = {name: self._due(name) for name in (*OWNERS, CLIENTS)}
        self._read(self._slice(name, own) for own in self._account.organizations for name in due if own in due[name])
        for own in self._account.organizations if self.names_clients else ():
            try:
                for page in self._account.pages(list_path(CLIENTS, own)):
                    self._account.client_names |= client_names(page)
            except ApiError as failure:
                self._tap.logger.warning("The clients of organization %d are not named: %s", own, failure)

    def list(self) -> int:
        """Read which organizations there are; returns how many requests that took.

        Raises:
            ApiError: They cannot be read, or one that is wanted is not among them; or ``start_date`` is in the future.
        """
        path = self._streams[ORGANIZATIONS].path
        self._read([self._slice(ORGANIZATIONS)])
        self._account.know(self._account.rows(path))
        if unknown := self._account.unknown:
            raise ConfigurationError(
                f"organization_ids names {', '.join(map(str, unknown))}, which these credentials do not show: check the"
                " ids."
            )
        if self._account.start_date > self._account.now():  # the machine's clock may be wrong
            raise ConfigurationError("start_date is not valid: it is in the future, so there is nothing to read.")
        return sum(1 for _ in self._account.pages(path))

    @property
    def names_clients(self) -> bool:
        """Whether a stream has the names of clients."""
        return any("client_name" in stream.schema["properties"] for stream in self.selected)

    def forecast(self, organization: int) -> dict[str, int]:
        """The requests that the next run will take for an organization, by list."""
        lists = {MEMBERS: 1}  # they tell the role of the credentials
        if self.names_clients:
            lists[CLIENTS] = self._streams[CLIENTS].forecast(organization)
        for stream in self.selected:
            name = shared(stream)
            if organization not in stream.due or name == ORGANIZATIONS:
                continue
            if name is not None:
                lists[name] = self._streams[name].forecast(organization)
            if stream.shares is None:
                lists[stream.name] = stream.forecast(organization)
        return lists

    def _due(self, name: str) -> frozenset[int]:
        """The organizations whose list a stream needs in this run."""
        if name == CLIENTS and self.names_clients:
            return frozenset(self._account.organizations)
        wanting = (stream for stream in self.selected if shared(stream) == name)
        return frozenset(own for stream in wanting for own in stream.due_of(self._account.organizations))

    def _look_at_members(self) -> None:
        """Read the members, check the role of the credentials, and leave out what they may not read."""
        due = self._due(MEMBERS)
        me = self._me()
        self._read(self._slice(MEMBERS, own) for own in self._account.organizations if own in due)
        for own in self._account.organizations:
            try:
                self._check_role(own, self._role(own, me))
            except FatalError:
                raise
            except ForbiddenError:
                if self._is_forbidden(own):
                    self._leave_out(own)
            except ApiError as failure:
                if own not in due:  # else its streams report it
                    self._tap.run.report(f"the role in organization {own}", failure)

    def _me(self) -> int | None:
        """The user of the credentials; None if they belong to an organization, or may not ask."""
        try:
            return self._tap.session.get("/users/me", {}, lambda body: _decode_user(body).user.id)
        except FatalError:
            raise
        except ApiError as failure:
            self._tap.logger.info("The role of the credentials is not known: %s", failure)
            return None

    def _role(self, organization: int, me: int | None) -> str | None:
        """The role of the credentials in an organization; None if it is unknown."""
        path = list_path(MEMBERS, organization)
        if self._account.is_read(path):
            mine = [row.get("membership_role") for row in self._account.rows(path) if row.get("user_id") == me]
            if mine or not self._tap.config.get("user_ids"):
                return mine[0] if mine else None
        # Without a user, this still shows whether anything can be read.
        whom = {} if me is None else {"user_ids": me}
        page = self._tap.session.get(path, {**whom, "page_limit": 1}, lambda body: parse_page(body, (MEMBERS,)))
        return None if me is None else next((row.get("membership_role") for row in page.decode()), None)

    def _check_role(self, organization: int, role: str | None) -> None:
        if role is not None and role not in UNLIMITED_ROLES:
            self._tap.run.report(
                f"organization {organization}",
                PlainMemberError(
                    f"These credentials are those of a plain member (role {role}), to whom lists show less without an"
                    " error: use a token of an owner or manager of the organization."
                ),
            )

    def _is_forbidden(self, organization: int) -> bool:
        """Whether a list that every role may read is forbidden too: then nothing can be read."""
        try:
            self._tap.session.get(
                list_path(PROJECTS, organization), {"page_limit": 1}, lambda body: parse_page(body, (PROJECTS,))
            )
        except FatalError:
            raise
        except ApiError as failure:
            return isinstance(failure, ForbiddenError)
        return False

    def _leave_out(self, organization: int) -> None:
        self._account.leave_out(organization)
        self._tap.run.report(
            f"organization {organization}",
            ForbiddenError(
                f"GET /organizations/{organization}/members and /projects: HTTP 403; the organization is not on an"
                " active plan, or these credentials may read nothing of it. Leave it out of organization_ids, or have"
                " the plan renewed."
            ),
        )

    def _read(self, slices: Iterable[Slice]) -> None:
        """Read lists to their ends, and keep their pages."""
        with Reader(self._tap.session, slices, parallel=self._tap.config["max_parallel_requests"]) as reader:
            for slice_, pages in reader:
                self._account.keep(slice_.path, pages)
                self._streams[slice_.stream].remember(slice_)

    def _slice(self, name: str, organization: int | None = None) -> Slice:
        """A list, with the parameters of all streams that share it; its pages hold whole answers."""
        stream = self._streams[name]
        slice_ = stream.whole(None if organization is None else {"organization_id": organization})
        for sharing in self.selected:
            if sharing.shares == name:
                slice_.params.update(sharing.asked_for)
        return replace(slice_, parse=lambda body: Page(msgspec.Raw(body), stream.parse(body).next))


def shared(stream: HubstaffStream) -> str | None:
    """The list that is read here for a stream: the one it comes with, or the one of its owners."""
    return stream.owners if isinstance(stream, OwnedStream) else stream.shares


class _User(msgspec.Struct):
    id: int


class _UserAnswer(msgspec.Struct):
    user: _User


_decode_user = msgspec.json.Decoder(_UserAnswer).decode
