"""What a dry run would change, post by post and field by field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rich.console import Console

    from target_harkster.ledger.store import Entry
    from target_harkster.report.planning_api import PlannedPost
    from target_harkster.vendor.posts import Fields

DRAFTS = frozenset({"create draft", "update draft", "delete draft"})
"""Actions that followers do not see. The others are ``publish``, ``update`` and ``delete``."""


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A part of a post that would change.

    Attributes:
        field: Id of the field.
        part: Of the field: ``data``, ``label``, ``type`` …
        old: What it is; None if it is not there.
        new: What it would be; None if it would not be there.
    """

    field: str
    part: str
    old: Any
    new: Any


@dataclass(frozen=True, slots=True)
class PostChange:
    """A post that would be published, changed or deleted.

    Attributes:
        stream: Of its row.
        key: Of its row, as JSON; empty if the post was found by its marker and its row has not come since.
        post_id: Of the post; None if it is new.
        channel: Id of the channel.
        action: ``publish``, ``update`` or ``delete``, or one of :data:`DRAFTS`.
        fields: What is not the same.
    """

    stream: str
    key: str
    post_id: str | None
    channel: str
    action: str
    fields: list[FieldChange]


def post_changes(entry: Entry, post: PlannedPost) -> Iterator[PostChange]:
    """What becomes of a post; nothing if it stays as it is.

    Args:
        entry: What the ledger knows of its row.
        post: The post.
    """
    before, after = post.before, post.after
    draft = " draft" if any(one is not None and one.is_draft for one in (after, before)) else ""

    def change(action: str, old: Fields, new: Fields) -> PostChange:
        post_id = None if before is None else before.id
        return PostChange(entry.stream, entry.key, post_id, entry.channel, action, list(_field_changes(old, new)))

    if post.published is not None:
        yield change("publish", [], (after or post.published).content.fields)
        if after is None:
            yield change("delete", [], [])  # published and deleted in the same run
    elif after is None:
        if before is not None:
            yield change(f"delete{draft}", [], [])
    elif before is None:
        yield change(f"create{draft}", [], after.content.fields)
    elif before.hash != after.hash:
        yield change(f"update{draft}", before.content.fields, after.content.fields)


def _field_changes(old: Fields, new: Fields) -> Iterator[FieldChange]:
    before = {str(field.get("id")): field for field in old}
    after = {str(field.get("id")): field for field in new}
    for at in dict.fromkeys([*after, *before]):
        one, other = before.get(at, {}), after.get(at, {})
        # For a new or a dropped field its data is enough.
        parts = dict.fromkeys([*other, *one]) if one and other else ("data",)
        for part in parts:
            if one.get(part) != other.get(part):
                yield FieldChange(at, part, one.get(part), other.get(part))


def print_diff(changes: Iterable[PostChange], channels: Mapping[str, str], console: Console) -> None:
    """Print changes for people."""
    for change in changes:
        what = change.key or f"post {change.post_id}"
        console.print(f"{change.stream} {what} in {channels[change.channel]}: {change.action}")
        for one in change.fields:
            part = "" if one.part == "data" else f" ({one.part})"
            console.print(f"  {one.field}{part}: {_shown(one.old)} → {_shown(one.new)}")


def _shown(value: Any) -> str:
    return "nothing" if value is None else str(value)
