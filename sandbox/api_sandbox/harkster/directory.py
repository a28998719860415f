"""What a post is published to: accounts, their workspaces, and the channels in these with their templates."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from api_sandbox.harkster.ids import IdMint
from api_sandbox.harkster.scenario import Access, AccountPlan, ChannelPlan, TemplatePlan


@dataclass(slots=True, eq=False)
class Account:
    """An account and what is left of its quota of this month."""

    id: str
    name: str
    quota: int
    used: int
    workspaces: list["Workspace"] = field(default_factory=list)

    @property
    def path(self) -> str:
        """Its name."""
        return self.name

    def channels(self) -> Iterator["Channel"]:
        """The channels of its workspaces."""
        for workspace in self.workspaces:
            yield from workspace.channels

    def content(self) -> dict[str, Any]:
        """As the API shows it."""
        return {"id": self.id, "name": self.name}


@dataclass(slots=True, eq=False)
class Workspace:
    """A workspace of an account."""

    id: str
    name: str
    account: Account
    channels: list["Channel"] = field(default_factory=list)

    @property
    def path(self) -> str:
        """Names of account and workspace."""
        return f"{self.account.name}/{self.name}"

    def content(self) -> dict[str, Any]:
        """As the API shows it."""
        return {"id": self.id, "accountId": self.account.id, "accountName": self.account.name, "name": self.name}


@dataclass(slots=True, eq=False)
class Template:
    """A template of a channel."""

    id: str
    name: str
    fields: tuple[dict[str, Any], ...]

    def content(self, *, listed: bool = True) -> dict[str, Any]:
        """As the API shows it: `data` is a string in lists, an object alone (guide, Channel Templates)."""
        data = {"type": "fields", "dataset": self.fields}
        return {"id": self.id, "data": msgspec.json.encode(data).decode() if listed else data, "name": self.name}


@dataclass(slots=True, eq=False)
class Channel:
    """A channel of a workspace."""

    id: str
    name: str
    workspace: Workspace
    access: Access
    templates: list[Template] = field(default_factory=list)

    @property
    def account(self) -> Account:
        """The account whose quota its posts use up."""
        return self.workspace.account

    @property
    def path(self) -> str:
        """Names of account, workspace and channel; not always unique."""
        return f"{self.workspace.path}/{self.name}"

    def content(self) -> dict[str, Any]:
        """As the API shows it."""
        room = self.workspace.content()
        return {**room, "id": self.id, "name": self.name, "workspaceId": room["id"], "workspaceName": room["name"]}


_T = TypeVar("_T", Account, Workspace, Channel)


class Directory:
    """All accounts of the user, with the channels that the user may not see."""

    def __init__(self, mint: IdMint) -> None:
        self._mint = mint
        self._by_id: dict[str, Account | Workspace | Channel] = {}
        self.accounts: list[Account] = []

    def add_account(self, plan: AccountPlan) -> Account:
        """Open an account. Its workspaces are not opened here."""
        account = Account(self._mint.new(), plan.name, plan.quota, plan.used)
        self._by_id[account.id] = account
        self.accounts.append(account)
        return account

    def add_workspace(self, account: Account, name: str) -> Workspace:
        """Open a workspace."""
        workspace = Workspace(self._mint.new(), name, account)
        self._by_id[workspace.id] = workspace
        account.workspaces.append(workspace)
        return workspace

    def add_channel(self, workspace: Workspace, plan: ChannelPlan) -> Channel:
        """Open a channel with its templates. Its history is not written here."""
        channel = Channel(self._mint.new(), plan.name, workspace, plan.access)
        self._by_id[channel.id] = channel
        workspace.channels.append(channel)
        for template in plan.templates:
            self.add_template(channel, template)
        return channel

    def add_template(self, channel: Channel, plan: TemplatePlan) -> Template:
        """Put a template into a channel."""
        template = Template(self._mint.new(), plan.name, plan.fields)
        channel.templates.append(template)
        return template

    def workspaces(self) -> Iterator[Workspace]:
        """All workspaces, by account."""
        for account in self.accounts:
            yield from account.workspaces

    def channels(self) -> Iterator[Channel]:
        """All channels, by workspace."""
        for account in self.accounts:
            yield from account.channels()

    def find(self, kind: type[_T], own_id: str) -> _T | None:
        """The account, workspace or channel of an id."""
        found = self._by_id.get(own_id)
        return found if isinstance(found, kind) else None

    def named(self, kind: type[_T], wanted: str) -> _T:
        """The one thing of an id or a path (`Account/Workspace/Channel`), or a LookupError."""
        every = [thing for thing in self._by_id.values() if isinstance(thing, kind)]
        found = [thing for thing in every if wanted in {thing.id, thing.path}]
        if len(found) != 1:
            paths = ", ".join(f"{thing.path} ({thing.id})" for thing in every)
            raise LookupError(f"{len(found)} things are called {wanted!r}; there are: {paths}")
        return found[0]

    def channel(self, wanted: str) -> Channel:
        """The one channel of a name, an id or a path; else a LookupError."""
        named = [channel for channel in self.channels() if channel.name == wanted]
        return named[0] if len(named) == 1 else self.named(Channel, wanted)
