"""The Harkster API of a running sandbox, in the hands of a test."""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from api_sandbox.harkster.api import HarksterApi
from api_sandbox.harkster.routes import BASE, ROOT
from api_sandbox.harkster.scenario import ChannelPlan, TemplatePlan
from api_sandbox.harkster.truth import HarksterTruth, PostTruth

_T = TypeVar("_T")


class HarksterAddress(msgspec.Struct, frozen=True):
    """Where the Harkster API is and what opens it.

    Attributes:
        api_url: Base of the API, without a slash at the end.
        access_token: The user's token.
        channel: Id of the first channel, to begin with.
        page_url: A page that shows what was posted.
    """

    api_url: str
    access_token: str
    channel: str
    page_url: str


def address(api: HarksterApi, root: str) -> HarksterAddress:
    """Where an API is that is served at a root URL."""
    first = next(iter(api.service.directory.channels()))
    return HarksterAddress(root + BASE, api.access_token, first.id, f"{root}{ROOT}/")


class RunningHarkster:
    """A Harkster API that is served in a thread. All methods can be called from any thread, and after the end too.

    Attributes:
        api_url: Base of the API, without a slash at the end.
        access_token: The user's token.
        page_url: A page that shows what was posted.
    """

    def __init__(self, where: HarksterAddress, run: Callable[[Callable[[HarksterApi], Any]], Any]) -> None:
        self.api_url = where.api_url
        self.access_token = where.access_token
        self.page_url = where.page_url
        self._run = run

    def channel(self, name: str) -> str:
        """Id of the one channel that is called so: by its name or `Account/Workspace/Channel`.

        Raises:
            LookupError: There is none, or several.
        """
        return self._do(lambda api: api.service.directory.channel(name).id)

    def account(self, name: str) -> str:
        """Id of the one account that is called so.

        Raises:
            LookupError: There is none, or several.
        """
        return self._do(lambda api: api.service.directory.account(name).id)

    def truth(self) -> HarksterTruth:
        """What has become of every post."""
        return self._do(HarksterApi.truth)

    def posts(self, channel: str | None = None) -> list[PostTruth]:
        """The posts that the owner of the token made, in order, the deleted ones too.

        Args:
            channel: Name or id of the channel; all channels if None.
        """

        def found(api: HarksterApi) -> list[PostTruth]:
            directory = api.service.directory
            channels = directory.channels() if channel is None else [directory.channel(channel)]
            posts = [post.truth() for each in channels for post in api.service.posts.of_channel(each)]
            return [post for post in posts if post.by_user]

        return self._do(found)

    def set_quota(self, account: str, *, quota: int | None = None, used: int | None = None) -> None:
        """Change how many posts an account may publish in a month, and how many it has published.

        Args:
            account: Name or id.
            quota: None leaves it.
            used: None leaves it.
        """
        self._do(lambda api: api.service.set_quota(account, quota=quota, used=used))

    def next_month(self) -> None:
        """Let the next month begin, with nothing used of any quota."""
        self._do(lambda api: api.service.clock.to_next_month())

    def revoke_token(self) -> None:
        """Make the token useless until the next reset of the sandbox."""
        self._do(HarksterApi.revoke)

    def add_channel(self, workspace: str, plan: ChannelPlan) -> str:
        """Open a channel and give its id.

        Args:
            workspace: `Account/Workspace`, or an id.
            plan: The channel.
        """
        return self._do(lambda api: api.service.add_channel(api.service.directory.workspace(workspace), plan).id)

    def add_template(self, channel: str, plan: TemplatePlan) -> str:
        """Put a template into a channel and give its id.

        Args:
            channel: Name or id.
            plan: The template.
        """

        def added(api: HarksterApi) -> str:
            directory = api.service.directory
            return directory.add_template(directory.channel(channel), plan).id

        return self._do(added)

    def _do(self, work: Callable[[HarksterApi], _T]) -> _T:
        done: _T = self._run(work)
        return done
