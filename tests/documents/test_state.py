"""The examples of STATE in the documentation are what the taps understand, every word of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tap_hubstaff.tap import TapHubstaff
from tap_hustle.tap import TapHustle

from tests.documents.blocks import ROOT, Block, blocks

if TYPE_CHECKING:
    from singer_sdk import Tap


@pytest.mark.parametrize("block", blocks(ROOT / "docs" / "state.md", "json"), ids=lambda block: block.place)
def test_states_are_understood(block: Block, caplog: pytest.LogCaptureFixture) -> None:
    example: dict[str, Any] = json.loads(block.text)
    kind: type[Tap] = TapHubstaff if "organization_id" in block.text else TapHustle
    tap = kind(config={}, validate_config=False, state=example)
    assert tap.state == example
    assert example["bookmarks"].keys() <= tap.streams.keys()
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
