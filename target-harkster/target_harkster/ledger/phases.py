"""How far a post has come."""

from __future__ import annotations

import enum


class Phase(str, enum.Enum):
    """How far a post has come."""

    COUNTED = "counted"
    """Nothing was sent. A new row of a first run, until all new rows are counted."""
    DEFERRED = "deferred"
    """Nothing was sent. It waits for the quota."""
    INTENT = "intent"
    """A draft is created next, or was."""
    DRAFT = "draft"
    """There is a draft. It waits for the quota, or for people if it is held."""
    PUBLISHING = "publishing"
    """The draft is published next, or was."""
    RENEWING = "renewing"
    """The draft is deleted next, or was, and a new one replaces it."""
    PUBLISHED = "published"
    UPDATING = "updating"
    """The post gets new content next, or has it."""
    MOVING = "moving"
    """Its row went to another channel. The post stays as it is until the new one is published."""
    DELETING = "deleting"
    """The post is deleted next, or was."""
    DELETED = "deleted"
    """Its row is gone, and so is the post."""
    BASELINE = "baseline"
    """The row was there in the first run and is not posted."""
    REMOVED = "removed"
    """People deleted the post. It is not posted again."""


UNFINISHED = (
    Phase.DEFERRED,
    Phase.INTENT,
    Phase.DRAFT,
    Phase.PUBLISHING,
    Phase.RENEWING,
    Phase.UPDATING,
    Phase.DELETING,
)
"""Phases with something left to do. Held drafts are the exception."""
