"""What a post is published to: accounts, their workspaces, and the channels in these with their templates."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from api_sandbox.harkster.ids import IdMint
from api_sandbox.harkster.scenario import Access, AccountPlan, ChannelPlan, TemplatePlan


@dataclass(slots=True)
class Account:
    """An account and what is left of its quota."""

    id: str
    name: str
    quota: int
    used: int
    workspaces: list["Workspace"] = field(default_factory=list)

    def channels(self) -> Iterator["Channel"]:
        """The channels of its workspaces."""
        for workspace in self.workspaces:
            yield from workspace.channels

    def content(self) -> dict[str, Any]:
        """As the API shows it."""
        return {"id": self.id, "name": self.name}


@dataclass(slots=True)
class Workspace:
    """A workspace of an account."""

    id: str
    name: str
    account: Account
    channels: list["Channel"] = field(default_factory=list)

    def content(self) -> dict[str, Any]:
        """As the API shows it."""
        return {"id": self.id, "accountId": self.account.id, "accountName": self.account.name, "name": self.name}


@dataclass(slots=True)
class Template:
    """A template of a channel."""

    id: str
    name: str
    fields: tuple[dict[str, Any], ...]

    def content(self, *, listed: bool = True) -> dict[str, Any]:
        """As the API shows it: `data` is a string in lists, an object alone (guide, Channel Templates)."""
        data = {"type": "fields", "dataset": self.fields}
        return {"id": self.id, "data": msgspec.json.encode(data).decode() if listed else data, "name": self.name}


@dataclass(slots=True)
class Channel:
    """A channel of a workspace."""

    id: str
    name: str
    workspace: Workspace
    followers: int
    access: Access
    templates: list[Template] = field(default_factory=list)

    @property
    def account(self) -> Account:
        """The account whose quota its posts use up."""
        return self.workspace.account

    @property
    def path(self) -> str:
        """Names of account, workspace and channel; not always unique."""
        return f"{self.account.name}/{self.workspace.name}/{self.name}"

    def content(self) -> dict[str, Any]:
        """As the API shows it."""
        return {
            "id": self.id,
            "accountId": self.account.id,
            "accountName": self.account.name,
            "name": self.name,
            "workspaceId": self.workspace.id,
            "workspaceName": self.workspace.name,
        }


class Directory:
    """All accounts of the user."""

    def __init__(self, mint: IdMint) -> None:
        self._mint = mint
        self.accounts_by_id: dict[str, Account] = {}
        self.workspaces_by_id: dict[str, Workspace] = {}
        self.channels_by_id: dict[str, Channel] = {}

    def add_account(self, plan: AccountPlan) -> Account:
        """Open an account. Its workspaces are not opened here."""
        account = Account(self._mint.new(), plan.name, plan.quota, plan.used)
        self.accounts_by_id[account.id] = account
        return account

    def add_workspace(self, account: Account, name: str) -> Workspace:
        """Open a workspace."""
        workspace = Workspace(self._mint.new(), name, account)
        self.workspaces_by_id[workspace.id] = workspace
        account.workspaces.append(workspace)
        return workspace

    def add_channel(self, workspace: Workspace, plan: ChannelPlan) -> Channel:
        """Open a channel with its templates. Its history is not written here."""
        channel = Channel(self._mint.new(), plan.name, workspace, plan.followers, plan.access)
        self.channels_by_id[channel.id] = channel
        workspace.channels.append(channel)
        for template in plan.templates:
            self.add_template(channel, template)
        return channel

    def add_template(self, channel: Channel, plan: TemplatePlan) -> Template:
        """Put a template into a channel."""
        template = Template(self._mint.new(), plan.name, plan.fields)
        channel.templates.append(template)
        return template

    @property
    def accounts(self) -> Iterable[Account]:
        """All accounts, in the order of their opening."""
        return self.accounts_by_id.values()

    def workspaces(self) -> Iterator[Workspace]:
        """All workspaces, by account."""
        for account in self.accounts:
            yield from account.workspaces

    def channels(self) -> Iterator[Channel]:
        """All channels, by workspace, those that the user may not see too."""
        for account in self.accounts:
            yield from account.channels()

    def account(self, name_or_id: str) -> Account:
        """The one account of a name or id.

        Raises:
            LookupError: There is none, or several.
        """
        return _only(name_or_id, [(account, account.name) for account in self.accounts])

    def workspace(self, path_or_id: str) -> Workspace:
        """The one workspace of an id or of an `Account/Workspace`.

        Raises:
            LookupError: There is none, or several.
        """
        return _only(path_or_id, [(room, f"{room.account.name}/{room.name}") for room in self.workspaces()])

    def channel(self, name_or_id: str) -> Channel:
        """The one channel of an id, a name, or an `Account/Workspace/Channel`.

        Raises:
            LookupError: There is none, or several.
        """
        found = [(channel, channel.path) for channel in self.channels()]
        named = [(channel, channel.name) for channel in self.channels() if channel.name == name_or_id]
        return _only(name_or_id, named or found)


_T = TypeVar("_T", Account, Workspace, Channel)


def _only(wanted: str, named: list[tuple[_T, str]]) -> _T:
    found = [thing for thing, name in named if wanted in {thing.id, name}]
    if len(found) != 1:
        names = ", ".join(f"{name} ({thing.id})" for thing, name in named)
        raise LookupError(f"{len(found)} things are called {wanted!r}; there are: {names}")
    return found[0]
