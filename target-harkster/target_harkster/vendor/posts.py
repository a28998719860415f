"""Writes posts, reads them back, and recognises them by their markers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal

import msgspec
from singer_sdk.contrib.msgspec import encoder

from target_harkster.vendor.field_types import FIELD_TYPES, as_number, number_text

Fields = list[dict[str, Any]]
MarkerPlace = Literal["divider", "name"]

_HELD = "-held"
"""Ends the marker of a draft that people are to publish, so that the channel alone shows it."""
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
    def hashed(cls, name: str, fields: Fields) -> Content:
        """The content with its hash."""
        return cls(name, fields, blake2b(encoder.encode((name, fields)), digest_size=16).hexdigest())

    def encoded(self) -> bytes:
        """The content as the ledger keeps it."""
        return encoder.encode((self.name, self.fields))

    @classmethod
    def decoded(cls, content: bytes) -> Content:
        """The content that the ledger has kept."""
        return cls.hashed(*_decode(content))


_decode = msgspec.json.Decoder(tuple[str, Fields]).decode


def stream_marker(stream: str) -> str:
    """The prefix of all markers of a stream."""
    return f"hk-{blake2b(stream.encode(), digest_size=4).hexdigest()}-"


def prefix_of(marker: str) -> str:
    """The prefix of a marker, which tells its stream."""
    return marker.rpartition("-")[0] + "-"


def marker_of(prefix: str, key: str) -> str:
    """The marker of a key: a short hash that finds its post in the channel."""
    return prefix + blake2b(f"{prefix}{key}".encode(), digest_size=10).hexdigest()


def is_marker(text: str) -> bool:
    """Whether a field's id is a marker."""
    return _MARKER.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Spelling:
    """The choices that the vendor leaves in how posts are written.

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


def remote_post(post: dict[str, Any]) -> RemotePost:
    """Read a post from an answer of the API.

    Raises:
        KeyError, TypeError: It is not what the guide documents.
    """
    marked: re.Match[str] | None = None
    fields = []
    for field in post["data"]["dataset"]:
        found = _MARKER.fullmatch(str(field.get("id"))) if field["type"] == "divider" else None
        if found is None:
            fields.append(_canonical(field))
        else:
            marked = found
    name = post.get("name") or ""
    # This target puts a marker behind the fields. A name may hold words of a row.
    if marked is None and (named := _MARKED_NAME.fullmatch(name)):
        name, marked = named[1], _MARKER.search(name, len(named[1]))
    is_draft = bool(post["isDraft"])
    return RemotePost(
        str(post["id"]),
        is_draft,
        marked[1] if marked else None,
        Content.hashed(name, fields),
        post.get("publishedByAt") or None,
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
