"""The API of a dry run: its writes are seen by its own reads, and by nobody else."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from singer_http.http.errors import NotFoundError
from typing_extensions import override

from target_harkster.vendor.client import HarksterApi
from target_harkster.vendor.posts import remote_post

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from target_harkster.vendor.client import Channel
    from target_harkster.vendor.posts import RemotePost


@dataclass(slots=True)
class PlannedPost:
    """A post in a dry run.

    Attributes:
        channel: Id of its channel.
        before: As the API shows it; None if it is not there.
        after: As it would be after all writes so far.
        published: As it would be published; None if it would not be.
    """

    channel: str
    before: RemotePost | None
    after: RemotePost | None
    published: RemotePost | None = None


class PlanningApi(HarksterApi):
    """The API with real reads. Writes change only what later reads show.

    Attributes:
        planned: By id, the posts that were read or written.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._numbers = itertools.count(1)
        self.planned: dict[str, PlannedPost] = {}

    @override
    def posts(self, channel_id: str) -> Iterator[RemotePost]:
        planned = [post.after for post in self.planned.values() if post.channel == channel_id]
        yield from (post for post in planned if post is not None)
        yield from (post for post in super().posts(channel_id) if post.id not in self.planned)

    @override
    def post(self, channel_id: str, post_id: str) -> RemotePost | None:
        if post_id not in self.planned:
            found = super().post(channel_id, post_id)
            self.planned[post_id] = PlannedPost(channel_id, found, found)
        return self.planned[post_id].after

    @override
    def create(self, channel: Channel, body: Mapping[str, Any]) -> str:
        post_id = f"planned-{next(self._numbers)}"
        self.planned[post_id] = PlannedPost(channel.id, None, remote_post({"id": post_id, **body}))
        return post_id

    @override
    def update(self, channel: Channel, post_id: str, body: Mapping[str, Any]) -> bool:
        self._there(channel, post_id)
        self.planned[post_id].after = remote_post({"id": post_id, **body})
        return True

    @override
    def publish(self, channel: Channel, post_id: str) -> bool:
        published = replace(self._there(channel, post_id), is_draft=False, is_held=False)
        self.planned[post_id].after = self.planned[post_id].published = published
        return True

    @override
    def delete(self, channel: Channel, post_id: str, *, recall: bool) -> bool:
        self._there(channel, post_id)
        self.planned[post_id].after = None
        return True

    def _there(self, channel: Channel, post_id: str) -> RemotePost:
        found = self.post(channel.id, post_id)
        if found is None:
            raise NotFoundError(f"{channel.path}: there is no post {post_id}.")
        return found
