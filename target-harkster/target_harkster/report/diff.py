"""What a dry run would change, field by field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from target_harkster.delivery.decision import Decision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from rich.console import Console

    from target_harkster.delivery.parcel import Parcel
    from target_harkster.ledger.store import Entry
    from target_harkster.vendor.posts import Content, Fields

_CHANGES = frozenset({Decision.CREATE, Decision.UPDATE, Decision.REPLACE})


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A part of a post that would be another one.

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
    """A post that would be made, changed or deleted.

    Attributes:
        stream: Of its row.
        key: Of its row, as JSON.
        channel: Id of the channel.
        action: ``create``, ``update``, ``replace`` (it waits still) or ``delete``.
        fields: What is not the same.
    """

    stream: str
    key: str
    channel: str
    action: str
    fields: list[FieldChange]


class Diff:
    """Collects what would change.

    Args:
        shown: The fields of a post as they are now.
    """

    def __init__(self, shown: Callable[[Entry], Fields | None]) -> None:
        self._shown = shown
        self.changes: list[PostChange] = []

    def decided(self, parcel: Parcel, content: Content, decision: Decision, known: Entry | None) -> None:
        """Compare what a row comes to with its post.

        Args:
            parcel: The row.
            content: What it comes to.
            decision: What is to be done.
            known: What the ledger has of it, before it is changed.
        """
        if decision not in _CHANGES or (decision is Decision.CREATE and parcel.lane.first_run == "baseline"):
            return
        old = None if known is None or decision is Decision.CREATE else self._shown(known)
        fields = list(_field_changes(old or [], content.fields))
        self.changes.append(PostChange(parcel.lane.stream, parcel.key, parcel.lane.channel, decision.value, fields))

    def deleted(self, entry: Entry) -> None:
        """Note a post that would be deleted."""
        self.changes.append(PostChange(entry.stream, entry.key, entry.channel, "delete", []))


def _field_changes(old: Fields, new: Fields) -> Iterator[FieldChange]:
    before = {str(field.get("id")): field for field in old}
    after = {str(field.get("id")): field for field in new}
    for field in dict.fromkeys([*after, *before]):
        one, other = before.get(field, {}), after.get(field, {})
        # Of a field that is new, or goes, what it shows is enough.
        parts = dict.fromkeys([*other, *one]) if one and other else ("data",)
        for part in parts:
            if one.get(part) != other.get(part):
                yield FieldChange(field, part, one.get(part), other.get(part))


def print_diff(changes: Iterable[PostChange], channels: Mapping[str, str], console: Console) -> None:
    """Show changes to people.

    Args:
        changes: Of the posts.
        channels: Their names, by id.
        console: Where to.
    """
    for change in changes:
        console.print(f"{change.stream} {change.key} in {channels[change.channel]}: {change.action}")
        for one in change.fields:
            part = "" if one.part == "data" else f" ({one.part})"
            console.print(f"  {one.field}{part}: {_told(one.old)} → {_told(one.new)}")


def _told(value: Any) -> str:
    return "nothing" if value is None else str(value)
