"""Posts: what is sent, what comes back, and how the one is recognised in the other."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal

from singer_sdk.contrib.msgspec import encoder

from target_harkster.layout.fields import FIELD_TYPES, as_number, number_text

Fields = list[dict[str, Any]]
MarkerPlace = Literal["divider", "name"]

_HELD = "-held"
"""Ends the marker of a draft that is left for people to publish, so that the channel alone tells of it."""
_MARKER = re.compile(rf"(hk-[0-9a-f]{{8}}-[0-9a-f]{{20}})({_HELD})?")
_MARKED_NAME = re.compile(rf"(.*?) ?\[{_MARKER.pattern}\]", re.DOTALL)


@dataclass(slots=True)
class Content:
    """What people see of a post.

    Attributes:
        name: For information only, says the vendor.
        fields: Each with what it has of type, id, label, data, name and options, in this order, data as text.
        hash: Of name and fields; the same whether made of a row or of an answer of the API.
    """

    name: str
    fields: Fields
    hash: str

    @classmethod
    def of(cls, name: str, fields: Fields) -> Content:
        """The content with its hash."""
        return cls(name, fields, blake2b(encoder.encode((name, fields)), digest_size=16).hexdigest())


def stream_marker(stream: str) -> str:
    """What the markers of a stream begin with."""
    return f"hk-{blake2b(stream.encode(), digest_size=4).hexdigest()}-"


def marker_of(prefix: str, key: str) -> str:
    """The marker of a key: short, of a fixed form, and found again in the channel.

    Args:
        prefix: Of the stream, see :func:`stream_marker`.
        key: What a row is known by, as JSON.
    """
    return prefix + blake2b(f"{prefix}{key}".encode(), digest_size=10).hexdigest()


def is_marker(text: str) -> bool:
    """Whether a field's id is a marker."""
    return _MARKER.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Spelling:
    """How posts are written where the vendor leaves a choice.

    Attributes:
        heading: What the heading type is called: the guide's table has one name and its samples the other.
        numbers: Whether numbers are sent as numbers; the guide's samples have strings.
        marker: Where the marker is put.
    """

    heading: str = "heading"
    numbers: bool = False
    marker: MarkerPlace = "divider"

    def body(self, content: Content, marker: str, *, is_draft: bool, is_held: bool = False) -> dict[str, Any]:
        """The body of a POST or PUT.

        Args:
            content: What people see.
            marker: What it is recognised by.
            is_draft: Nobody sees it yet.
            is_held: The draft is left for people to publish.
        """
        marker += _HELD if is_held else ""
        dataset = [self._field(field) for field in content.fields]
        name = content.name
        if self.marker == "divider":
            dataset.append({"type": "divider", "id": marker})
        else:
            name = f"{name} [{marker}]"
        return {"data": {"type": "fields", "dataset": dataset}, "isDraft": is_draft, "name": name}

    def _field(self, field: dict[str, Any]) -> dict[str, Any]:
        kind = FIELD_TYPES[field["type"]]
        if kind.name == "heading":
            return {**field, "type": self.heading}
        if kind.encode is None:
            return field
        data = field.get("data")
        return {**field, "data": as_number(data) if self.numbers and kind.is_number and data is not None else data}


@dataclass(frozen=True, slots=True)
class RemotePost:
    """A post as the API shows it.

    Attributes:
        id: The vendor's.
        is_draft: Whether followers cannot see it.
        marker: Of this target, if it has one.
        content: What people see of it, without the marker.
        published_at: When, as the API writes it; None for a draft.
        is_held: Whether it is a draft that is left for people to publish.
    """

    id: str
    is_draft: bool
    marker: str | None
    content: Content
    published_at: str | None = None
    is_held: bool = False

    @property
    def hash(self) -> str:
        """Of its content."""
        return self.content.hash


def remote_post(told: dict[str, Any]) -> RemotePost:
    """Make a post of what the API tells.

    Raises:
        KeyError, TypeError: It is not what the guide documents.
    """
    marked: re.Match[str] | None = None
    fields = []
    for field in told["data"]["dataset"]:
        found = _MARKER.fullmatch(str(field.get("id"))) if field["type"] == "divider" else None
        if found is None:
            fields.append(_canonical(field))
        else:
            marked = found
    name = told.get("name") or ""
    # What is at the end of the fields was put there by this target; in a name the words are those of a row.
    if marked is None and (named := _MARKED_NAME.fullmatch(name)):
        name, marked = named[1], _MARKER.search(name, len(named[1]))
    is_draft = bool(told["isDraft"])
    return RemotePost(
        str(told["id"]),
        is_draft,
        marked[1] if marked else None,
        Content.of(name, fields),
        told.get("publishedByAt") or None,
        is_held=is_draft and marked is not None and marked[2] is not None,
    )


def _canonical(field: dict[str, Any]) -> dict[str, Any]:
    """A field as :class:`Content` has it."""
    plain: dict[str, Any] = {}
    for attribute in ("type", "id", "label", "data", "name", "options"):
        value = field.get(attribute)
        if attribute == "data":
            if value is not None:
                is_number = isinstance(value, int | float) and not isinstance(value, bool)
                plain["data"] = number_text(value) if is_number else str(value)
        elif value:
            plain[attribute] = value
    if plain["type"] == "header":
        plain["type"] = "heading"
    return plain
