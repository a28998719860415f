"""What each operation of the API does, once the request is let in."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec

from api_sandbox.delivery import JSON, Answer, json_answer
from api_sandbox.harkster.bodies import Content, read_content, read_recall
from api_sandbox.harkster.clock import Clock
from api_sandbox.harkster.directory import Account, Channel, Directory, Workspace
from api_sandbox.harkster.errors import Refused
from api_sandbox.harkster.fields import Rules
from api_sandbox.harkster.history import write_history
from api_sandbox.harkster.ids import IdMint
from api_sandbox.harkster.paging import Item, Page, page_of
from api_sandbox.harkster.posts import Post, PostBook
from api_sandbox.harkster.routes import Action, Call
from api_sandbox.harkster.scenario import ChannelPlan, HarksterScenario

Found = Answer | Page
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Sent:
    """What a request carries beside its path."""

    continuation: str | None
    content_type: str
    body: bytes


class Service:
    """The accounts and posts of a user, and the operations on them.

    Attributes:
        clock: The time.
        directory: Accounts, workspaces, channels and templates.
        posts: The posts.
    """

    def __init__(self, seed: int, scenario: HarksterScenario) -> None:
        mint = IdMint(seed)
        self.clock = Clock()
        self.directory = Directory(mint)
        self.posts = PostBook(self.directory, mint, self.clock, scenario)
        self._scenario = scenario
        self._rules = Rules(scenario.heading, scenario.values, scenario.dates)
        self._actions: Mapping[Action, Callable[[Call, Sent], Found]] = {
            "auth": self._auth,
            "accounts": self._accounts,
            "account": self._account,
            "usages": self._usages,
            "account_workspaces": self._account_workspaces,
            "workspaces": self._workspaces,
            "workspace": self._workspace,
            "workspace_channels": self._workspace_channels,
            "channels": self._channels,
            "channel": self._channel,
            "templates": self._templates,
            "template": self._template,
            "posts": self._posts,
            "post": self._post,
            "create": self._create,
            "update": self._update,
            "publish": self._publish,
            "delete": self._delete,
        }
        for plan in scenario.accounts:
            account = self.directory.add_account(plan.name, plan.quota, plan.used)
            for room in plan.workspaces:
                workspace = self.directory.add_workspace(account, room.name)
                for channel in room.channels:
                    self.add_channel(workspace, channel)

    def add_channel(self, workspace: Workspace, plan: ChannelPlan) -> Channel:
        """Open a channel with its templates and its history."""
        channel = self.directory.add_channel(workspace, plan)
        write_history(self.posts, channel, plan.history, self.clock, self._scenario.heading)
        return channel

    def set_quota(self, account: str, *, quota: int | None = None, used: int | None = None) -> None:
        """Change how many posts an account may publish in a month, and how many it has published.

        Raises:
            LookupError: No account is called so, or several are.
        """
        found = self.directory.account(account)
        # Counted for this month first, lest what is set here be forgotten with the last one.
        self.posts.used(found)
        found.quota = found.quota if quota is None else quota
        found.used = found.used if used is None else used

    def perform(self, call: Call, sent: Sent) -> Found:
        """Do what is asked for.

        Raises:
            Refused: Nothing was done.
        """
        if call.action is None:
            raise Refused(call.missing, "there is nothing of the kind here")
        return self._actions[call.action](call, sent)

    def account_of(self, call: Call) -> Account | None:
        """The one account that a request concerns, refused or not; None if it concerns none in particular."""
        try:
            if call.collection == "accounts":
                return self._the_account(call)
            if call.collection == "workspaces":
                return self._the_workspace(call).account
            return self._the_channel(call).account if call.collection == "channels" else None
        except Refused:
            return None

    def _auth(self, _call: Call, _sent: Sent) -> Found:
        return json_answer({"message": "Authorized", "name": self._scenario.user})

    def _accounts(self, call: Call, sent: Sent) -> Found:
        return self._page(call, sent, (account.content() for account in self.directory.accounts))

    def _account(self, call: Call, _sent: Sent) -> Found:
        return json_answer(self._the_account(call).content())

    def _usages(self, call: Call, _sent: Sent) -> Found:
        account = self._the_account(call)
        return json_answer({"postQuota": account.quota, "postUsage": self.posts.used(account)})

    def _account_workspaces(self, call: Call, sent: Sent) -> Found:
        return self._page(call, sent, (room.content() for room in self._the_account(call).workspaces))

    def _workspaces(self, call: Call, sent: Sent) -> Found:
        return self._page(call, sent, (room.content() for room in self.directory.workspaces()))

    def _workspace(self, call: Call, _sent: Sent) -> Found:
        return json_answer(self._the_workspace(call).content())

    def _workspace_channels(self, call: Call, sent: Sent) -> Found:
        return self._page(call, sent, _visible(self._the_workspace(call).channels))

    def _channels(self, call: Call, sent: Sent) -> Found:
        return self._page(call, sent, _visible(self.directory.channels()))

    def _channel(self, call: Call, _sent: Sent) -> Found:
        return json_answer(self._the_channel(call).content())

    def _templates(self, call: Call, sent: Sent) -> Found:
        return self._page(call, sent, (template.content(listed=True) for template in self._the_channel(call).templates))

    def _template(self, call: Call, _sent: Sent) -> Found:
        for template in self._the_channel(call).templates:
            if template.id == call.ids[1]:
                return json_answer(template.content(listed=False))
        raise Refused(HTTPStatus.NOT_FOUND, "there is no such template in this channel")

    def _posts(self, call: Call, sent: Sent) -> Found:
        hidden = {"deleted"} if self._scenario.drafts_listed else {"deleted", "draft"}
        listed = [post for post in self.posts.of_channel(self._the_channel(call)) if post.status not in hidden]
        if self._scenario.posts_order == "oldest":
            items = [Item(post.number, self._shown(post)) for post in listed]
        else:
            items = [Item(-post.number, self._shown(post)) for post in reversed(listed)]
        return page_of(call.path, items, sent.continuation, self._scenario.page_size)

    def _post(self, call: Call, _sent: Sent) -> Found:
        return json_answer(self._shown(self._the_post(call)))

    def _create(self, call: Call, sent: Sent) -> Found:
        channel = self._open_channel(call)
        post = self.posts.create(channel, self._content(sent))
        return self._written(post, self._scenario.create_status)

    def _update(self, call: Call, sent: Sent) -> Found:
        self._open_channel(call)
        post = self._the_post(call)
        self.posts.update(post, self._content(sent))
        return self._written(post, HTTPStatus.OK)

    def _publish(self, call: Call, _sent: Sent) -> Found:
        self._open_channel(call)
        self.posts.publish(self._the_post(call))
        return _nothing(HTTPStatus.NO_CONTENT)

    def _delete(self, call: Call, sent: Sent) -> Found:
        self._open_channel(call)
        post = self._the_post(call)
        self.posts.delete(post, recall=read_recall(sent.content_type, sent.body))
        return _nothing(HTTPStatus.NO_CONTENT)

    def _the_account(self, call: Call) -> Account:
        return _known(self.directory.accounts_by_id.get(call.owner_id))

    def _the_workspace(self, call: Call) -> Workspace:
        return _known(self.directory.workspaces_by_id.get(call.owner_id))

    def _the_channel(self, call: Call) -> Channel:
        channel = _known(self.directory.channels_by_id.get(call.owner_id))
        if channel.access == "none":
            raise Refused(HTTPStatus.FORBIDDEN, "this user has no access to the channel")
        return channel

    def _open_channel(self, call: Call) -> Channel:
        channel = self._the_channel(call)
        if channel.access != "post":
            raise Refused(HTTPStatus.FORBIDDEN, "this user may not post to the channel")
        return channel

    def _the_post(self, call: Call) -> Post:
        return self.posts.find(self._the_channel(call), call.ids[1])

    def _content(self, sent: Sent) -> Content:
        return read_content(sent.content_type, sent.body, self._rules)

    def _shown(self, post: Post) -> dict[str, Any]:
        return post.content(as_strings=self._scenario.returned_values == "strings")

    def _written(self, post: Post, status: int) -> Answer:
        if self._scenario.write_answers == "nothing":
            return _nothing(status)
        content = self._shown(post) if self._scenario.write_answers == "post" else {"id": post.id}
        return Answer(status, msgspec.json.encode(content))

    def _page(self, call: Call, sent: Sent, contents: Iterable[dict[str, Any]]) -> Page:
        items = [Item(place, content) for place, content in enumerate(contents)]
        return page_of(call.path, items, sent.continuation, self._scenario.page_size)


def _known(found: _T | None) -> _T:
    if found is None:
        raise Refused(HTTPStatus.NOT_FOUND, "there is nothing with this id")
    return found


def _visible(channels: Iterable[Channel]) -> Iterable[dict[str, Any]]:
    return (channel.content() for channel in channels if channel.access != "none")


def _nothing(status: int) -> Answer:
    return Answer(status, b"", JSON)
