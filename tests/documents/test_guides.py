"""The guides work: what they add to the plugins reads what there is."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest
from api_sandbox import HubstaffScenario, Scenario, serve_in_thread
from singer_sdk import SchemaDirectory, StreamSchema
from tap_hubstaff import all_streams, tap
from tap_hubstaff.streams import list_streams, window_streams

from tests.documents.blocks import ROOT, blocks
from tests.hubstaff.reading import SandboxClock, read

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import RawServer, Received

NEW_STREAM = ROOT / "docs" / "new-stream.md"
NEW_TAP = ROOT / "docs" / "new-tap.md"
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


class ParcelService:
    """The API that docs/parcels_tap.py is made for: three pages of parcels, of which some may be forbidden."""

    PAGES: ClassVar[dict[str | None, tuple[list[int], str | None]]] = {
        None: ([1, 2], "b"),
        "b": ([3], "c"),
        "c": ([4, 5], None),
    }

    def __init__(self, answer: Callable[..., bytes]) -> None:
        self._answer = answer
        self.asked: list[str | None] = []
        self.forbidden: str | None = None

    def __call__(self, request: Received, _ordinal: int) -> bytes:
        query = parse_qs(urlsplit(request.target).query)
        assert request.headers["authorization"] == "Bearer s3cret"
        after = query.get("after", [None])[0]
        self.asked.append(after)
        if after == self.forbidden and after is not None:
            return self._answer(403)
        ids, following = self.PAGES[after]
        parcels = [{"id": number, "weight": number / 10} for number in ids]
        return self._answer(200, json.dumps({"parcels": parcels, "after": following}))


@pytest.fixture
def tap_parcels(raw_server: Callable[..., RawServer], answer: Callable[..., bytes], tmp_path: Path) -> TapParcels:
    """The tap of the guide, and the service that it reads."""
    service = ParcelService(answer)
    return TapParcels(raw_server(by=service).url, service, tmp_path)


@dataclass(frozen=True)
class TapParcels:
    url: str
    service: ParcelService
    folder: Path

    def run(self, *options: str, code: int = 0) -> list[dict[str, Any]]:
        """Run it as a program; gives its messages."""
        variables = {"TAP_PARCELS_TOKEN": "s3cret", "TAP_PARCELS_API_URL": self.url, "HOME": str(self.folder)}
        command = [sys.executable, "-m", "docs.parcels_tap", "--config=ENV", *options]
        done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]


def ids(messages: list[dict[str, Any]]) -> list[int]:
    return [message["record"]["id"] for message in messages if message["type"] == "RECORD"]


def test_a_new_tap_reads_everything_and_continues_where_it_was_cut_off(tap_parcels: TapParcels) -> None:
    tap_parcels.service.forbidden = "c"
    first = tap_parcels.run(code=1)
    assert ids(first) == [1, 2, 3]
    state = tap_parcels.folder / "state.json"
    state.write_text(json.dumps(next(message["value"] for message in reversed(first) if message["type"] == "STATE")))
    tap_parcels.service.forbidden = None
    tap_parcels.service.asked.clear()
    second = tap_parcels.run("--state", str(state))
    assert tap_parcels.service.asked == ["c"]
    assert ids(second) == [4, 5]


def test_the_guide_shows_the_tap_as_it_is() -> None:
    (block,) = blocks(NEW_TAP, "python")
    assert block.text == (ROOT / "docs" / "parcels_tap.py").read_text()
