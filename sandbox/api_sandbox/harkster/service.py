"""What each operation of the API does, once the request is let in."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from typing import Any, TypeVar

from api_sandbox.api import Refused
from api_sandbox.delivery import Answer, json_answer
from api_sandbox.harkster.bodies import read_content, read_recall
from api_sandbox.harkster.clock import Clock
from api_sandbox.harkster.directory import Account, Channel, Directory, Workspace
from api_sandbox.harkster.fields import Rules
from api_sandbox.harkster.ids import IdMint
from api_sandbox.harkster.paging import Item, Page, page_of
from api_sandbox.harkster.posts import Post, PostBook
from api_sandbox.harkster.routes import Call, understand
from api_sandbox.harkster.scenario import ChannelPlan, HarksterScenario, TemplatePlan
from api_sandbox.harkster.truth import PostTruth
from api_sandbox.settings import Count

Found = Answer | Page
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Sent:
    """What a request carries beside its path."""

    continuation: str | None
    content_type: str
    body: bytes


class Service:
    """The accounts and posts of a user, and the operations on them."""

    def __init__(self, seed: int, scenario: HarksterScenario) -> None:
        mint = IdMint(seed)
        self.clock = Clock()
        self.directory = Directory(mint)
        self.posts = PostBook(self.directory, mint, self.clock, scenario)
        self._scenario = scenario
        self._rules = Rules(scenario.heading, scenario.values, scenario.dates)
        self._operations = self._reads() | self._writes()
        for plan in scenario.accounts:
            account = self.directory.add_account(plan)
            for room in plan.workspaces:
                workspace = self.directory.add_workspace(account, room.name)
                for channel in room.channels:
                    self._open(workspace, channel)

    def channel_id(self, name: str) -> str:
        """Id of the one channel of a name or an `Account/Workspace/Channel`; else a LookupError."""
        return self.directory.channel(name).id

    def account_id(self, name: str) -> str:
        """Id of the one account of a name; else a LookupError."""
        return self.directory.named(Account, name).id

    def posts_of_user(self, channel: str | None = None) -> list[PostTruth]:
        """The posts that the owner of the token made in a channel, or in all, in order, the deleted ones too."""
        channels = self.directory.channels() if channel is None else [self.directory.channel(channel)]
        posts = [post.truth() for each in channels for post in self.posts.of_channel(each)]
        return [post for post in posts if post.by_user]

    def open_channel(self, workspace: str, channel: ChannelPlan) -> str:
        """Open a channel in a workspace (`Account/Workspace`, or an id), and give its id."""
        return self._open(self.directory.named(Workspace, workspace), channel).id

    def open_template(self, channel: str, template: TemplatePlan) -> str:
        """Put a template into a channel (name or id), and give its id."""
        return self.directory.add_template(self.directory.channel(channel), template).id

    def set_quota(self, account: str, *, quota: Count | None = None, used: Count | None = None) -> None:
        """Change how many posts an account (name or id) may publish in a month, and how many it has; None leaves it."""
        found = self.directory.named(Account, account)
        # Counted for this month first, lest what is set here be forgotten with the last one.
        self.posts.used(found)
        found.quota = found.quota if quota is None else quota
        found.used = found.used if used is None else used

    def understand(self, method: str, path: str) -> Call:
        """Find out what a request asks for."""
        return understand(self._operations, method, path)

    def perform(self, call: Call, sent: Sent) -> Found:
        """Do what is asked for."""
        if call.route is None:
            raise Refused(call.missing, "there is nothing of the kind here")
        return self._operations[call.route](call, sent)

    def account_of(self, call: Call) -> Account | None:
        """The one account that a request concerns, refused or not; None if it concerns none in particular."""
        try:
            if call.collection == "accounts":
                return self._account(call)
            if call.collection == "workspaces":
                return self._workspace(call).account
            return self._channel(call).account if call.collection == "channels" else None
        except Refused:
            return None

    def _open(self, workspace: Workspace, plan: ChannelPlan) -> Channel:
        channel = self.directory.add_channel(workspace, plan)
        self.posts.write_history(channel, plan.history)
        return channel

    def _reads(self) -> dict[str, Callable[[Call, Sent], Found]]:
        directory, page = self.directory, self._page
        return {
            "GET auth": lambda _call, _sent: json_answer({"message": "Authorized", "name": self._scenario.user}),
            "GET accounts": lambda call, sent: page(call, sent, directory.accounts),
            "GET accounts/{id}": lambda call, _sent: json_answer(self._account(call).content()),
            "GET accounts/{id}/usages": lambda call, _sent: json_answer(self._usages(self._account(call))),
            "GET accounts/{id}/workspaces": lambda call, sent: page(call, sent, self._account(call).workspaces),
            "GET workspaces": lambda call, sent: page(call, sent, directory.workspaces()),
            "GET workspaces/{id}": lambda call, _sent: json_answer(self._workspace(call).content()),
            "GET workspaces/{id}/channels": lambda call, sent: page(call, sent, _seen(self._workspace(call).channels)),
            "GET channels": lambda call, sent: page(call, sent, _seen(directory.channels())),
            "GET channels/{id}": lambda call, _sent: json_answer(self._channel(call).content()),
            "GET channels/{id}/templates": lambda call, sent: page(call, sent, self._channel(call).templates),
            "GET channels/{id}/templates/{id}": self._template,
            # The guide's example of the request above is written so.
            "GET channels/{id}/template/{id}": self._template,
            "GET channels/{id}/posts": self._posts,
            "GET channels/{id}/posts/{id}": lambda call, _sent: json_answer(self._shown(self._post(call))),
        }

    def _writes(self) -> dict[str, Callable[[Call, Sent], Found]]:
        return {
            "POST channels/{id}/posts": self._create,
            "PUT channels/{id}/posts/{id}": self._update,
            "PUT channels/{id}/posts/{id}/publish": self._publish,
            "DELETE channels/{id}/posts/{id}": self._delete,
        }

    def _usages(self, account: Account) -> Mapping[str, int]:
        return {"postQuota": account.quota, "postUsage": self.posts.used(account)}

    def _template(self, call: Call, _sent: Sent) -> Found:
        for template in self._channel(call).templates:
            if template.id == call.ids[1]:
                return json_answer(template.content(listed=False))
        raise Refused(HTTPStatus.NOT_FOUND, "there is no such template in this channel")

    def _posts(self, call: Call, sent: Sent) -> Found:
        hidden = {"deleted"} if self._scenario.drafts_listed else {"deleted", "draft"}
        listed = [post for post in self.posts.of_channel(self._channel(call)) if post.status not in hidden]
        if self._scenario.posts_order == "oldest":
            items = [Item(post.number, partial(self._shown, post)) for post in listed]
        else:
            items = [Item(-post.number, partial(self._shown, post)) for post in reversed(listed)]
        if self._scenario.posts_paging == "offset":
            items = [replace(item, key=place) for place, item in enumerate(items)]
        return page_of(call.path, items, sent.continuation, self._scenario.page_size)

    def _create(self, call: Call, sent: Sent) -> Found:
        channel = self._open_channel(call)
        post = self.posts.create(channel, read_content(sent.content_type, sent.body, self._rules))
        return self._written(post, self._scenario.create_status)

    def _update(self, call: Call, sent: Sent) -> Found:
        self._open_channel(call)
        post = self._post(call)
        self.posts.update(post, read_content(sent.content_type, sent.body, self._rules))
        return self._written(post, HTTPStatus.OK)

    def _publish(self, call: Call, _sent: Sent) -> Found:
        self._open_channel(call)
        self.posts.publish(self._post(call))
        return Answer(HTTPStatus.NO_CONTENT, b"")

    def _delete(self, call: Call, sent: Sent) -> Found:
        self._open_channel(call)
        post = self._post(call)
        self.posts.delete(post, recall=read_recall(sent.content_type, sent.body))
        return Answer(HTTPStatus.NO_CONTENT, b"")

    def _account(self, call: Call) -> Account:
        return _known(self.directory.find(Account, call.owner_id))

    def _workspace(self, call: Call) -> Workspace:
        return _known(self.directory.find(Workspace, call.owner_id))

    def _channel(self, call: Call) -> Channel:
        channel = _known(self.directory.find(Channel, call.owner_id))
        if channel.access == "none":
            raise Refused(HTTPStatus.FORBIDDEN, "this user has no access to the channel")
        return channel

    def _open_channel(self, call: Call) -> Channel:
        channel = self._channel(call)
        if channel.access != "post":
            raise Refused(HTTPStatus.FORBIDDEN, "this user may not post to the channel")
        return channel

    def _post(self, call: Call) -> Post:
        return self.posts.find(self._channel(call), call.ids[1])

    def _shown(self, post: Post) -> dict[str, Any]:
        return post.content(as_strings=self._scenario.returned_values == "strings")

    def _written(self, post: Post, status: int) -> Answer:
        if self._scenario.write_answers == "nothing":
            return Answer(status, b"")
        return json_answer(self._shown(post) if self._scenario.write_answers == "post" else {"id": post.id}, status)

    def _page(self, call: Call, sent: Sent, things: Iterable[Any]) -> Page:
        items = [Item(place, thing.content) for place, thing in enumerate(things)]
        return page_of(call.path, items, sent.continuation, self._scenario.page_size)


def _known(found: _T | None) -> _T:
    if found is None:
        raise Refused(HTTPStatus.NOT_FOUND, "there is nothing with this id")
    return found


def _seen(channels: Iterable[Channel]) -> Iterable[Channel]:
    return (channel for channel in channels if channel.access != "none")
