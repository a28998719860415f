"""A dry run: everything is read, mapped and decided, nothing is sent, and a table shows what would be done."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from rich.table import Table
from typing_extensions import override

from target_harkster.vendor.client import HarksterApi
from target_harkster.vendor.posts import Content, RemotePost

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping

    from rich.console import Console

    from target_harkster.vendor.client import Channel, Usage


class PlanningApi(HarksterApi):
    """The API with real reads. Writes succeed at once and do nothing."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._numbers = itertools.count(1)
        self._is_draft: dict[str, bool] = {}

    @override
    def create(self, channel: Channel, body: Mapping[str, Any]) -> str:
        post_id = f"planned-{next(self._numbers)}"
        self._is_draft[post_id] = True
        return post_id

    @override
    def post(self, channel_id: str, post_id: str) -> RemotePost | None:
        if post_id in self._is_draft:
            return RemotePost(post_id, self._is_draft[post_id], None, Content("", [], ""))
        return super().post(channel_id, post_id)

    @override
    def update(self, channel: Channel, post_id: str, body: Mapping[str, Any]) -> bool:
        return True

    @override
    def publish(self, channel: Channel, post_id: str) -> bool:
        self._is_draft[post_id] = False
        return True

    @override
    def delete(self, channel: Channel, post_id: str, *, recall: bool) -> bool:
        return True


COLUMNS: Mapping[str, tuple[str, ...]] = {
    "create": ("create",),
    "update": ("update", "replace"),
    "delete": ("delete", "moved"),
    "unchanged": ("unchanged", "leave", "superseded", "gone", "baseline", "left out"),
    "rejected": ("rejected",),
    "waiting": ("now draft", "now deferred", "kept", "open"),
}
"""The columns of the table, and what of the tally each of them counts. What waits for quota is among what is
created."""


def plan_of(tally: Mapping[str, Counter[str]]) -> dict[str, dict[str, int]]:
    """Count by stream what would become of the rows."""
    return {
        stream: {column: sum(counts[name] for name in names) for column, names in COLUMNS.items()}
        for stream, counts in tally.items()
    }


def print_plan(plan: Mapping[str, Mapping[str, int]], quotas: Mapping[str, Usage], console: Console) -> None:
    """Print a plan for people."""
    table = Table("stream", *COLUMNS, title="Nothing was sent. This would be done:")
    for stream, counts in plan.items():
        table.add_row(stream, *(str(counts[column]) for column in COLUMNS))
    console.print(table)
    for name, usage in quotas.items():
        console.print(
            f"{name}: {usage.usage} of {usage.quota} posts of this month would be used then.", highlight=False
        )
