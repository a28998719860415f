"""What a dry run would change, field by field."""

from __future__ import annotations

from dataclasses import dataclass, field
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
    """A post that would be created, changed or deleted.

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


@dataclass(frozen=True, slots=True)
class Diff:
    """Collects what would change.

    Attributes:
        shown: Gives the fields of a post as they are now.
    """

    shown: Callable[[Entry], Fields | None]
    changes: list[PostChange] = field(default_factory=list, init=False)

    def decided(self, parcel: Parcel, content: Content, decision: Decision, known: Entry | None) -> None:
        """Compare what a row comes to with its post."""
        if decision not in _CHANGES or (decision is Decision.CREATE and parcel.lane.first_run == "baseline"):
            return
        old = None if known is None or decision is Decision.CREATE else self.shown(known)
        fields = list(_field_changes(old or [], content.fields))
        self.changes.append(PostChange(parcel.lane.stream, parcel.key, parcel.lane.channel, decision.value, fields))

    def deleted(self, entry: Entry) -> None:
        """Note a post that would be deleted."""
        self.changes.append(PostChange(entry.stream, entry.key, entry.channel, "delete", []))


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
        console.print(f"{change.stream} {change.key} in {channels[change.channel]}: {change.action}")
        for one in change.fields:
            part = "" if one.part == "data" else f" ({one.part})"
            console.print(f"  {one.field}{part}: {_shown(one.old)} → {_shown(one.new)}")


def _shown(value: Any) -> str:
    return "nothing" if value is None else str(value)
