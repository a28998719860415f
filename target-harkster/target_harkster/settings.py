"""The settings of the target."""

from __future__ import annotations

from typing import Any

from singer_http.settings import WORD, client_settings
from singer_sdk import typing as th

from target_harkster.vendor.client import DEFAULT_URL, REQUESTS_PER_SECOND
from target_harkster.vendor.field_types import FIELD_TYPES, NULL_POLICIES, OPTIONS

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
    th.Property(
        "first_run",
        th.StringType(allowed_values=["publish", "draft", "baseline"]),
        default="publish",
        title="First run",
        description=(
            "What to do with the rows of a stream's first run into a channel: publish them, leave them as drafts for"
            " people to publish (draft), or record them as seen and post nothing (baseline)."
        ),
    ),
    th.Property(
        "max_new_posts",
        th.IntegerType(minimum=0),
        default=25,
        title="New posts of a first run, at most",
        description=(
            "The most posts and drafts that the first run of a stream makes in a channel. If there are more new rows,"
            " the run stops before it makes the first one."
        ),
    ),
    th.Property(
        "on_quota",
        th.StringType(allowed_values=["draft", "defer", "fail"]),
        default="draft",
        title="On quota",
        description=(
            "What to do with posts that may not be published now: leave them as drafts in the channel (draft), keep"
            " them in the ledger (defer), or end the run with an error (fail). Later runs publish what waits, oldest"
            " first."
        ),
    ),
    th.Property(
        "quota_reserve",
        th.IntegerType(minimum=0),
        default=0,
        title="Quota reserve",
        description="How many posts of the month to leave for others.",
    ),
    th.Property(
        "max_posts_per_run",
        th.IntegerType(minimum=0),
        title="Posts per run, at most",
        description="The most posts that one run publishes. on_quota says what becomes of the others.",
    ),
    th.Property(
        "on_move",
        th.StringType(allowed_values=["delete", "keep"]),
        default="delete",
        title="On move",
        description=(
            "If a row names another channel than before, it is posted there. Its old post is deleted (delete), or"
            " stays and is reported as stale (keep). In mode append, nothing moves."
        ),
    ),
    th.Property(
        "mirror_max_deletes",
        th.IntegerType(minimum=0),
        default=10,
        title="Mirror: deletes, at most",
        description="The most posts that mode mirror deletes at once. If more rows are gone, it deletes nothing.",
    ),
    th.Property(
        "mirror_max_share",
        th.NumberType(minimum=0, maximum=1),
        default=0.2,
        title="Mirror: share of deletes, at most",
        description="The largest share of a stream's posts that mode mirror deletes at once.",
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
            "Properties of rejected rows, at any depth, whose values are stored nowhere. A row that has one cannot be"
            " tried again from the ledger."
        ),
    ),
    th.Property(
        "max_rejects",
        th.IntegerType(minimum=0),
        default=100,
        title="Rejects, at most",
        description="If more rows are rejected, the run ends at once with an error.",
    ),
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
    th.Property(
        "heading_type",
        th.StringType(allowed_values=["heading", "header", "auto"]),
        default="auto",
        title="Heading type",
        description=(
            "The name of the type heading in the API. The vendor's documents have both; auto looks at the posts of the"
            " channel."
        ),
    ),
    th.Property(
        "numbers_as",
        th.StringType(allowed_values=["string", "number"]),
        default="string",
        title="Numbers as",
        description="Send numbers as strings, as in the vendor's samples, or as numbers.",
    ),
    th.Property(
        "locale",
        th.StringType(min_length=1),
        default="en",
        title="Locale",
        description="Language and country for numbers and dates in expressions, such as en_GB or de.",
    ),
    th.Property(
        "marker",
        th.StringType(allowed_values=["divider", "name"]),
        default="divider",
        title="Marker",
        description=(
            "Where each post carries the mark by which it is recognised: as the id of a divider at its end, or in its"
            " name."
        ),
    ),
    th.Property(
        "requests_per_second",
        th.IntegerType(minimum=1),
        default=REQUESTS_PER_SECOND,
        title="Requests per second",
        description="The most requests in any second. The vendor names no limit.",
    ),
    *client_settings("target"),
).to_dict()
