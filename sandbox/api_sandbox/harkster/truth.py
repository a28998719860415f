"""What has become of every post, whatever the client was told."""

from datetime import datetime
from typing import Any, Literal

import msgspec

PostStatus = Literal["draft", "published", "deleted"]
EventKind = Literal["created", "published", "updated", "unpublished", "deleted", "recalled"]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was done to a post, in the order of all such things.

    Attributes:
        kind: What. A post that is created in public is `created`, then `published`; each further
            `published` of the same post is a second one to its followers.
    """

    kind: EventKind
    post_id: str
    channel_id: str


class PostTruth(msgspec.Struct, kw_only=True):
    """A post.

    Attributes:
        name: As sent; None if none was.
        publications: How often its followers were shown it as new: more than 1 is a post twice.
        updates: How often its content was replaced.
        recalled: Whether it was deleted from the followers' timelines too.
        by_user: Whether the owner of the token made it; False for the history of a channel.
        published_at: When it was last published; None if never.
    """

    id: str
    channel_id: str
    name: str | None
    dataset: list[dict[str, Any]]
    by_user: bool
    status: PostStatus = "draft"
    publications: int = 0
    updates: int = 0
    recalled: bool = False
    published_at: datetime | None = None


class HarksterTruth(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was posted.

    Attributes:
        posts: By channel id, in the order of their creation; the deleted ones too.
        events: What was done to them by the owner of the token.
        used: By account id, posts published in this month.
        quota_refusals: Requests answered with a 429 because the quota was used up.
    """

    posts: dict[str, list[PostTruth]]
    events: list[Event]
    used: dict[str, int]
    quota_refusals: int
