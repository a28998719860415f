"""The settings of runs that share their work, or one request limit."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from singer_sdk import typing as th

from singer_http.http.shard import Shard

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def sharing_settings() -> tuple[th.Property[Any], ...]:
    """Settings of every tap."""
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
                " (needs the extra postgres), or file:///folder on a disk that all of them see. By default, the runs on"
                " a machine count together."
            ),
        ),
    )


def sharing_errors(config: Mapping[str, Any]) -> Iterator[str]:
    """Say what is wrong with the settings of runs that share their work."""
    try:
        Shard.of(config)
    except ValueError:
        yield "shard is not valid: it must be such as 2/8, for the second of eight."
    if not re.match(r"(postgres(ql)?(\+psycopg)?://|file:///)[!-~]+$", config.get("budget_url") or "file:///tmp"):
        yield "budget_url is not valid: it must be such as postgresql://user:password@host/database, or file:///folder."
