"""The settings of the target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_http.settings import WORD, client_settings
from singer_sdk import typing as th

from target_harkster.vendor.client import DEFAULT_URL, REQUESTS_PER_SECOND
from target_harkster.vendor.field_types import FIELD_TYPES, NULL_POLICIES, OPTIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAME = {"type": "string", "minLength": 1}
_NAMES = {"type": "array", "items": _NAME, "minItems": 1}
_FIELD = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "id": _NAME,
        "type": {"enum": [*FIELD_TYPES, "header"]},
        "label": {"type": "string"},
        "name": {"type": "string"},
        "data": _NAME,
        "null": {"enum": list(NULL_POLICIES)},
        **{name: option.schema for name, option in OPTIONS.items()},
    },
}
_STREAM = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "channel": {
            "oneOf": [
                _NAME,
                {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["column", "allowed"],
                    "properties": {"column": _NAME, "allowed": _NAMES},
                },
            ]
        },
        "name": {"type": "string"},
        "mode": {"enum": ["append", "upsert", "mirror", "lookup"]},
        "key": _NAMES,
        "group_by": _NAMES,
        "when": _NAME,
        "closed": {
            "oneOf": [
                _NAME,
                {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["quiet_hours"],
                    "properties": {"quiet_hours": {"type": "number", "minimum": 0}},
                },
            ]
        },
        "previous_by": {"type": "array", "items": _NAME},
        "template": _NAME,
        "fields": {"type": "array", "items": _FIELD, "minItems": 1},
    },
}


def _choice(name: str, title: str, values: Sequence[str], description: str) -> th.Property[str]:
    """A setting with one of some values; the first is the default."""
    kind = th.StringType(allowed_values=list(values))
    return th.Property(name, kind, default=values[0], title=title, description=description)


def _count(name: str, title: str, default: int | None, description: str) -> th.Property[int]:
    """A setting that is a whole number, and not negative."""
    return th.Property(name, th.IntegerType(minimum=0), default=default, title=title, description=description)


SETTINGS: dict[str, Any] = th.PropertiesList(
    th.Property(
        "access_token",
        th.StringType(pattern=WORD),
        required=True,
        secret=True,
        title="Access token",
        description="A token of a Harkster user, from the settings in the app. The posts are this user's.",
    ),
    th.Property(
        "api_url",
        th.StringType,
        default=DEFAULT_URL,
        title="API URL",
        description="Base URL of the API, with its version.",
    ),
    th.Property(
        "channel",
        th.StringType(min_length=1),
        title="Channel",
        description="Where posts go: the id of a channel, or Account/Workspace/Channel. A stream may have its own.",
    ),
    th.Property(
        "streams",
        th.CustomType({"type": "object", "additionalProperties": _STREAM}),
        default={},
        title="Streams",
        description=(
            "For each stream, by name: channel, name, mode, key, group_by, closed, when, previous_by, template and"
            " fields. The SCHEMA of the stream decides what you leave out."
        ),
    ),
    th.Property(
        "ledger_url",
        th.StringType(min_length=1),
        default="sqlite:///target-harkster.db",
        secret=True,
        title="Ledger URL",
        description=(
            "The database that knows what was posted: an SQLite file, or PostgreSQL if several machines share it."
        ),
    ),
    _choice(
        "first_run",
        "First run",
        ("publish", "draft", "baseline"),
        "What to do with the rows of a stream's first run into a channel: publish them, leave them as drafts for"
        " people to publish (draft), or record them as seen and post nothing (baseline).",
    ),
    _count(
        "max_new_posts",
        "New posts of a first run, at most",
        25,
        "The most posts and drafts that the first run of a stream makes in a channel. If there are more new rows,"
        " the run stops before it makes the first one.",
    ),
    _choice(
        "on_quota",
        "On quota",
        ("draft", "defer", "fail"),
        "What to do with posts that may not be published now: leave them as drafts in the channel (draft), keep"
        " them in the ledger (defer), or end the run with an error (fail). Later runs publish what waits, oldest"
        " first.",
    ),
    _count("quota_reserve", "Quota reserve", 0, "How many posts of the month to leave for others."),
    _count(
        "max_posts_per_run",
        "Posts per run, at most",
        None,
        "The most posts that one run publishes. on_quota says what becomes of the others.",
    ),
    _choice(
        "on_move",
        "On move",
        ("delete", "keep"),
        "If a row names another channel than before, it is posted there. Its old post is deleted then (delete), or"
        " stays if people have seen it, and is reported as stale (keep). In mode append, nothing moves.",
    ),
    _count(
        "mirror_max_deletes",
        "Mirror: deletes, at most",
        10,
        "The most posts of a stream that mode mirror deletes in one run. If more rows are gone, it deletes nothing.",
    ),
    th.Property(
        "mirror_max_share",
        th.NumberType(minimum=0, maximum=1),
        default=0.2,
        title="Mirror: share of deletes, at most",
        description="The largest share of a stream's posts that mode mirror deletes in one run.",
    ),
    th.Property(
        "mirror_recall",
        th.BooleanType,
        default=False,
        title="Mirror: recall",
        description="Take deleted posts out of the followers' timelines too.",
    ),
    th.Property(
        "reject_path",
        th.StringType(min_length=1),
        default="target-harkster.rejects.jsonl",
        title="Reject file",
        description="File that shows the rejected rows, one JSON object a line. The ledger keeps them for another try.",
    ),
    th.Property(
        "reject_redact",
        th.ArrayType(th.StringType(min_length=1)),
        default=[],
        title="Rejects: redaction",
        description=(
            "Properties whose values no copy of a rejected row has, at any depth. A row that has one cannot be tried"
            " again from the ledger."
        ),
    ),
    _count("max_rejects", "Rejects, at most", 100, "If more rows are rejected, the run ends at once with an error."),
    th.Property(
        "max_reject_share",
        th.NumberType(minimum=0, maximum=1),
        default=0.5,
        title="Share of rejects, at most",
        description=(
            "If a larger share of the rows is rejected, the run ends with an error after it has posted the others."
        ),
    ),
    th.Property(
        "dry_run",
        th.BooleanType,
        default=False,
        title="Dry run",
        description="Print what would be done, and change nothing. No STATE is written.",
    ),
    th.Property(
        "preview_path",
        th.StringType(min_length=1),
        title="Preview",
        description="File for a web page that shows the posts of the run.",
    ),
    _choice(
        "heading_type",
        "Heading type",
        ("auto", "heading", "header"),
        "The name of the type heading in the API. The vendor's documents have both; auto looks at the posts of the"
        " channel.",
    ),
    _choice(
        "numbers_as",
        "Numbers as",
        ("string", "number"),
        "Send numbers as strings, as in the vendor's samples, or as numbers.",
    ),
    th.Property(
        "locale",
        th.StringType(min_length=1),
        default="en",
        title="Locale",
        description="Language and country for numbers and dates in expressions, such as en_GB or de.",
    ),
    _choice(
        "marker",
        "Marker",
        ("divider", "name"),
        "Where each post carries the marker that the target finds it by: as the id of a divider at its end, or in its"
        " name.",
    ),
    th.Property(
        "requests_per_second",
        th.IntegerType(minimum=1),
        default=REQUESTS_PER_SECOND,
        title="Requests per second",
        description="The most requests in any second of a run: each run counts its own. The vendor names no limit.",
    ),
    *client_settings("target"),
).to_dict()
