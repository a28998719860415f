"""The settings that taps and targets have in common."""

from __future__ import annotations

from typing import Any

from singer_sdk import typing as th

DEFAULT_TIMEOUT = 60
DEFAULT_PARALLEL = 16
DEFAULT_RESUME_AGE = 24 * 60 * 60
LONGEST = 36_500 * 24 * 60 * 60  # seconds of a century: no setting is for longer
# "$" alone is also before a line break at the end.
WORD = r"^[!-~]+$(?!\n)"
"""What a token is made of: printable ASCII without blanks (RFC 6750, and what a header can carry)."""
LINE = r"^[!-~]([ -~]*[!-~])?$(?!\n)"
"""What a client id or a header is made of: printable ASCII, with no blanks around it (RFC 6749)."""


def client_settings(plugin: str) -> tuple[th.Property[Any], ...]:
    """Settings of everything that sends requests: of a "tap", or a "target"."""
    return (
        th.Property(
            "user_agent",
            th.StringType(pattern=LINE, max_length=256),
            title="User agent",
            description=f"What the {plugin} calls itself to the API. The default is its name and version.",
        ),
        th.Property(
            "request_timeout",
            th.IntegerType(minimum=1, maximum=24 * 60 * 60),
            default=DEFAULT_TIMEOUT,
            title="Request timeout",
            description="The most seconds that a request may take, to the last byte of its answer.",
        ),
    )


def shared_settings(parallel: int = DEFAULT_PARALLEL) -> tuple[th.Property[Any], ...]:
    """Settings of every tap, to follow its own; ``parallel`` is the default of ``max_parallel_requests``."""
    return (
        *client_settings("tap"),
        th.Property(
            "max_parallel_requests",
            th.IntegerType(minimum=1, maximum=100),
            default=parallel,
            title="Parallel requests, at most",
            description="The most requests at the same time. 1 sends one after the other.",
        ),
        *_sharing_settings(),
        th.Property(
            "resume_max_age",
            th.IntegerType(minimum=0, maximum=LONGEST),
            default=DEFAULT_RESUME_AGE,
            title="Resume: maximum age",
            description=(
                "A full-table read that was cut off continues if it began at most so many seconds ago. An older one is"
                " read afresh. 0 always reads afresh."
            ),
        ),
        th.Property(
            "skip_forbidden",
            th.ArrayType(th.StringType(min_length=1)),
            title="Streams that may be forbidden",
            description=(
                "Streams in which you expect HTTP 403. What is forbidden there is skipped with a warning, and the run"
                " does not fail for it."
            ),
        ),
        th.Property(
            "keep_nul",
            th.BooleanType,
            default=False,
            title="Keep U+0000",
            description=(
                "Keep the character U+0000 in texts and names. By default it is dropped, because PostgreSQL refuses it."
            ),
        ),
        th.Property(
            "unknown_fields",
            th.StringType(allowed_values=["drop", "keep", "fail"]),
            default="drop",
            title="Unknown fields",
            description=(
                "What to do with fields that the schema does not know: drop them with a warning, keep them in a column"
                " _unknown_fields, or fail. That column also gets the values that do not fit the schema."
            ),
        ),
        th.Property(
            "emit_activate_version_messages",
            th.BooleanType,
            default=False,
            title="Emit ACTIVATE_VERSION messages",
            description=(
                "Send ACTIVATE_VERSION after a full table has been read completely. Loaders then remove the rows that"
                " are gone."
            ),
        ),
        th.Property(
            "report_path",
            th.StringType(min_length=1),
            title="Report",
            description=(
                "Write a report of each run to this file: what each list gave, how it ended, and a checksum of the keys"
                " sent. `singer-http verify` compares tables with it."
            ),
        ),
        th.Property(
            "changes_only",
            th.BooleanType,
            default=False,
            title="Changed rows only",
            description=(
                "Of a full table, send only the rows that are new or changed since the loader took them, and those that"
                " are gone once more, with `_sdc_deleted_at`. The API is read whole all the same. It cannot be used"
                " with `shard`, and no other job may write to the same tables."
            ),
        ),
        th.Property(
            "changes_url",
            th.StringType,
            secret=True,
            title="Changed rows: database",
            description=(
                "Where `changes_only` remembers what was sent: a URL of SQLite, such as `sqlite:///changes.db`, or of"
                " PostgreSQL, which needs the extra `postgres`. The default is a file in the tap's folder in your home."
            ),
        ),
        th.Property(
            "max_deleted_share",
            th.NumberType(minimum=0, maximum=1),
            default=0.2,
            title="Changed rows: most deleted",
            description=(
                "If more than this share of the rows of an organization is gone from a list, and more than ten, none is"
                " marked as deleted and the run fails."
            ),
        ),
    )


def _sharing_settings() -> tuple[th.Property[Any], ...]:
    """Settings of runs that share their work, or one request limit."""
    return (
        th.Property(
            "shard",
            th.StringType,
            title="Shard",
            description=(
                "Read only this part of the organizations, such as 2/8 for the second of eight. Their ids decide which"
                " part they belong to. The first shard also reads what belongs to no organization."
            ),
        ),
        th.Property(
            "budget_url",
            th.StringType,
            secret=True,
            title="Budget URL",
            description=(
                "Where runs on several machines count their requests together: postgresql://user:password@host/database"
                " (needs the extra postgres). Containers on one machine may use file:///folder. By default, the runs of"
                " a user on a machine count together."
            ),
        ),
    )
