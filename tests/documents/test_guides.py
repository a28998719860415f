"""The guides work: what they add to the plugins reads what there is."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from api_sandbox import HubstaffScenario, Scenario, serve_in_thread
from singer_sdk import SchemaDirectory, StreamSchema
from tap_hubstaff import all_streams, tap
from tap_hubstaff.streams import list_streams, window_streams

from tests.documents.blocks import ROOT, blocks
from tests.hubstaff.reading import SandboxClock, read

if TYPE_CHECKING:
    from pathlib import Path

NEW_STREAM = ROOT / "docs" / "new-stream.md"
NOW = datetime(2026, 3, 13, 12, tzinfo=timezone.utc)
STANDS_FOR = {"crews": "teams", "places": "locations"}
"""The streams that the guide adds, and the lists of the sandbox that they read."""


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[type]:
    """The streams of the guide, added to those of tap-hubstaff as it says."""
    (schema,) = (json.loads(block.text) for block in blocks(NEW_STREAM, "json"))
    for stream in STANDS_FOR:
        (tmp_path / f"{stream}.json").write_text(json.dumps(schema))
    namespace: dict[str, Any] = {}
    for block, module in zip(blocks(NEW_STREAM, "python"), (list_streams, window_streams), strict=True):
        exec(compile(block.text, block.place, "exec"), {**vars(module)}, namespace)  # noqa: S102
    streams = [*namespace.values()]
    for stream in streams:
        stream.schema = StreamSchema(SchemaDirectory(tmp_path))
    for module in (all_streams, tap):
        monkeypatch.setattr(module, "STREAMS", (*all_streams.STREAMS, *streams), raising=False)
    return streams


def test_a_new_stream_brings_every_row(added: list[type], tmp_path: Path) -> None:
    scenario = HubstaffScenario(now=NOW, clock="stopped", organizations=1, shared_members=0, history_days=9)
    with serve_in_thread(Scenario(hubstaff=scenario)) as sandbox:
        settings = {
            "access_token": sandbox.hubstaff.organization_token,
            "api_url": sandbox.hubstaff.api_url,
            "token_path": str(tmp_path / "tokens"),
            "start_date": (NOW - timedelta(days=9)).date().isoformat(),
        }
        run = read(SandboxClock(sandbox.hubstaff), settings, None, tuple(STANDS_FOR))
        assert [stream.__name__.lower() for stream in added] == [*STANDS_FOR]
        assert run.code == 0
        for stream, listed in STANDS_FOR.items():
            there = set(sandbox.hubstaff.ids(listed))
            assert there
            assert set(run.ids(stream)) == there
