"""The posts: what writes do to them, to their followers and to the quota (guide, Limits and Posts)."""

from datetime import timedelta
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec

from api_sandbox.api import Refused
from api_sandbox.harkster.bodies import Content
from api_sandbox.harkster.clock import Clock
from api_sandbox.harkster.directory import Account, Channel, Directory
from api_sandbox.harkster.errors import QuotaReached
from api_sandbox.harkster.fields import Dataset
from api_sandbox.harkster.ids import IdMint
from api_sandbox.harkster.scenario import HarksterScenario
from api_sandbox.harkster.truth import Event, EventKind, PostTruth


class Author(NamedTuple):
    """Who publishes a post."""

    id: str
    name: str


_AUTHORS = tuple(Author(f"{name.lower()}-1", name) for name in ("Jamie", "Samantha", "Noor"))
_STATUSES = ("green", "amber", None, "red", "grey")
_DONE = ("New website is live\nBudget approved", "Two interviews\nOne offer", "Nothing, all were ill")
_WEEK = timedelta(days=7)


class Post(PostTruth, kw_only=True, eq=False):
    """A post, with what the truth does not tell."""

    number: int
    channel: Channel
    author: Author

    def content(self, *, as_strings: bool) -> dict[str, Any]:
        """As the API shows it, with numbers as strings or as they were sent."""
        draft = self.status == "draft"
        shown = None if draft or self.published_at is None else self.published_at.isoformat()
        dataset = [_with_string(field) for field in self.dataset] if as_strings else self.dataset
        return {
            "id": self.id,
            "data": {"type": "fields", "dataset": dataset},
            "isDraft": draft,
            "name": self.name,
            "publishedByAt": shown,
            "publishedById": None if shown is None else self.author.id,
            "publishedByName": None if shown is None else self.author.name,
        }

    def truth(self) -> PostTruth:
        """What has become of it until now."""
        return msgspec.convert(self, PostTruth, from_attributes=True)


def _with_string(field: dict[str, Any]) -> dict[str, Any]:
    data = field.get("data")
    return field | {"data": str(data)} if isinstance(data, int | float) else field


class PostBook:
    """All posts of all channels."""

    def __init__(self, directory: Directory, mint: IdMint, clock: Clock, scenario: HarksterScenario) -> None:
        self.events: list[Event] = []
        self.quota_refusals = 0
        self._user = Author(mint.new(), scenario.user)
        self._directory = directory
        self._mint = mint
        self._clock = clock
        self._scenario = scenario
        self._posts: dict[str, Post] = {}
        self._by_channel: dict[str, list[Post]] = {}
        self._month = clock.month()

    def of_channel(self, channel: Channel) -> list[Post]:
        """The posts of a channel in the order of their creation, deleted ones too."""
        return self._by_channel.get(channel.id, [])

    def find(self, channel: Channel, post_id: str) -> Post:
        """A post that is there."""
        post = self._posts.get(post_id)
        if post is None or post.channel is not channel or post.status == "deleted":
            raise Refused(HTTPStatus.NOT_FOUND, "there is no such post in this channel")
        return post

    def used(self, account: Account) -> int:
        """How many posts an account has published in this month."""
        if self._month != self._clock.month():
            self._month = self._clock.month()
            for every in self._directory.accounts:
                every.used = 0
        return account.used

    def create(self, channel: Channel, content: Content) -> Post:
        """Make a post, and publish it unless it is a draft."""
        if not content.draft:
            self._check_quota(channel.account)
        post = self._new(channel, content.name, content.dataset, self._user)
        self._note("created", post)
        if not content.draft:
            self._publish(post)
        return post

    def update(self, post: Post, content: Content) -> None:
        """Replace the content of a post; as nothing says otherwise, isDraft decides anew whether it is public."""
        publishes = not content.draft and (post.status == "draft" or self._scenario.update_published == "notify")
        if publishes:
            self._check_quota(post.channel.account)
        post.dataset = self._with_ids(content.dataset)
        post.name = content.name
        post.updates += 1
        self._note("updated", post)
        if publishes:
            self._publish(post)
        elif content.draft and post.status == "published":
            post.status = "draft"
            self._note("unpublished", post)

    def publish(self, post: Post) -> None:
        """Publish a post, even a second time: nothing in the guide says that this does no harm."""
        if post.status == "published" and self._scenario.republish == "refuse":
            raise Refused(HTTPStatus.CONFLICT, "the post is published already")
        self._check_quota(post.channel.account)
        self._publish(post)

    def delete(self, post: Post, *, recall: bool) -> None:
        """Delete a post; its share of the quota does not come back."""
        post.status = "deleted"
        self._note("deleted", post)
        if recall:
            post.recalled = True
            self._note("recalled", post)

    def write_history(self, channel: Channel, weeks: int) -> None:
        """Fill a channel with one post of somebody else in each of so many weeks, the last one a week ago."""
        heading = "header" if self._scenario.heading == "both" else self._scenario.heading
        for week in range(weeks):
            dataset: Dataset = [
                {"type": heading, "id": "1", "label": "Summary"},
                {"type": "status", "id": "2", "label": "Status", "data": _STATUSES[week % len(_STATUSES)]},
                {"type": "progress", "id": "3", "label": "Progress", "data": str(min(100, 20 + 17 * week))},
                {"type": "divider", "id": "4"},
                {"type": "bulletPoints", "id": "5", "label": "Done", "data": _DONE[week % len(_DONE)]},
            ]
            post = self._new(channel, "Weekly check-in", dataset, _AUTHORS[week % len(_AUTHORS)])
            post.published_at = self._clock.now() - (weeks - week) * _WEEK
            post.status = "published"
            post.publications = 1

    def _check_quota(self, account: Account) -> None:
        if self.used(account) >= account.quota:
            self.quota_refusals += 1
            raise QuotaReached

    def _publish(self, post: Post) -> None:
        post.channel.account.used += 1
        post.status = "published"
        post.published_at = self._clock.now()
        post.publications += 1
        self._note("published", post)

    def _new(self, channel: Channel, name: str | None, dataset: Dataset, author: Author) -> Post:
        post = Post(
            id=self._mint.new(),
            number=len(self._posts),
            channel=channel,
            channel_id=channel.id,
            name=name,
            dataset=self._with_ids(dataset),
            author=author,
            by_user=author is self._user,
        )
        self._posts[post.id] = post
        self._by_channel.setdefault(channel.id, []).append(post)
        return post

    def _with_ids(self, dataset: Dataset) -> Dataset:
        """Fields without an id are given a random one (guide, Posts)."""
        return [field if field.get("id") is not None else field | {"id": self._mint.new()} for field in dataset]

    def _note(self, kind: EventKind, post: Post) -> None:
        self.events.append(Event(kind=kind, post_id=post.id, channel_id=post.channel.id))
