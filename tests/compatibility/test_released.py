"""What a release offered is still offered, and what it stored is gone on from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from docs.release import CHANGELOG, notes
from tests.compatibility.offered import offered, withdrawn
from tests.compatibility.stored import HOURS, WEEKS, first_runs, restore, target
from tests.harkster.running import data, record, state

HERE = Path(__file__).parent


@pytest.mark.parametrize("release", sorted(HERE.glob("*.json")), ids=lambda path: path.stem)
def test_nothing_is_withdrawn_in_silence(release: Path) -> None:
    before = json.loads(release.read_text(encoding="utf-8"))
    gone = withdrawn(before, offered(), notes(CHANGELOG.read_text(encoding="utf-8"), "Unreleased"))
    assert gone == [], "CHANGELOG.md says nothing of it"


def test_what_is_withdrawn_is_found() -> None:
    before = {
        "tap: setting a": ["integer"],
        "tap: stream b": ["id"],
        "tap: stream b, property c": ["null", "string"],
        "tap: stream b, property d": ["string"],
        "tap: setting e": ["string"],
    }
    now = {
        "tap: setting a": ["string"],
        "tap: stream b": ["id"],
        "tap: stream b, property c": ["integer", "null", "string"],
        "tap: setting new": ["string"],
    }
    assert withdrawn(before, now, "- `e` is gone.") == ["tap: setting a", "tap: stream b, property d"]


@pytest.mark.parametrize("release", sorted(HERE.glob("*.sql")), ids=lambda path: path.stem)
def test_goes_on_from_the_ledger_of_a_release(release: Path, tmp_path: Path) -> None:
    with target(tmp_path) as harkster:
        first_runs(harkster)
        before = harkster.posts()
        restore(release.read_text(encoding="utf-8"), tmp_path / "ledger.db")

        # The waiting row is posted, the changed ones are updated, the reject comes right, and nothing is posted twice.
        harkster.ran([HOURS, record(id=1, hours=1), record(id=2, hours=22), record(id=3, hours=3), state(3)])
        harkster.ran([WEEKS, record("weeks", id=3, week="W1", hours=4), state(4)])
        now = harkster.posts()
        assert [post.id for post in now[: len(before)]] == [post.id for post in before]
        assert [data(post) for post in now] == [
            {"hours": "1"}, {"hours": "22"}, {"sum": "7"}, {"hours": "4"}, {"hours": "5"}, {"hours": "3"},
        ]  # fmt: skip
        assert {post.status for post in now} == {"published"}
        assert harkster.rejects() == []
