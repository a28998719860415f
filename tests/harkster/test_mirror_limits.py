"""The limits of mode mirror count what a run deletes. What they do not allow waits until they do or the row is back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.harkster.running import Command, Message, Target, as_input, data, record, schema, state

if TYPE_CHECKING:
    from collections.abc import Iterable

PROPERTIES: dict[str, Any] = {
    "id": {"type": "integer"},
    "name": {"type": ["string", "null"]},
    "_sdc_deleted_at": {"type": ["string", "null"]},
}
FIELDS = [{"id": "id", "type": "counter", "data": "id"}, {"id": "name", "type": "text", "data": "name"}]
LAYOUT: dict[str, Any] = {"mode": "mirror", "fields": FIELDS}
RAISED: dict[str, Any] = {"mirror_max_deletes": 100, "mirror_max_share": 1}


def rows(ids: Iterable[int], name: str = "a", version: int | None = None) -> list[Message]:
    return [record(version=version, id=number, name=name) for number in ids]


def gone(ids: Iterable[int]) -> list[Message]:
    return [record(id=number, _sdc_deleted_at="2026-01-01T00:00:00Z") for number in ids]


def shown(target: Target) -> list[int]:
    return sorted(int(data(post)["id"]) for post in target.posts())


def publications(target: Target) -> int:
    return sum(post.publications for post in target.sandbox.harkster.posts(target.channel))


def named(version: int) -> Message:
    return {"type": "ACTIVATE_VERSION", "stream": "hours", "version": version}


@pytest.fixture
def thirty(target: Target) -> Target:
    """A target that has posted thirty rows, with its limits at their defaults."""
    target.config |= {"streams": {"hours": LAYOUT}, "max_new_posts": 100}
    target.ran([schema(PROPERTIES), *rows(range(30)), state(0)])
    return target


@pytest.mark.parametrize("between", [1, 5, 100])
def test_limits_count_what_a_run_deletes_wherever_its_states_are(thirty: Target, between: int) -> None:
    sent: list[Message] = []
    for number in range(25):
        sent += gone([number])
        if (number + 1) % between == 0:
            sent.append(state(number + 1))
    ran = thirty.run([schema(PROPERTIES), *sent, state(25)])
    assert "hours: 25 of 30 rows are gone, more than mirror_max_deletes or mirror_max_share allow" in str(ran.error)
    assert (ran.states[-1], shown(thirty)) == (25, list(range(30)))
    thirty.ran([schema(PROPERTIES), *gone(range(25, 30)), state(26)], mirror_max_share=1, mirror_max_deletes=30)
    assert shown(thirty) == []


def test_limits_count_the_tables_of_a_run_together(thirty: Target) -> None:
    """A row that is gone from one of them may be marked in another."""
    sent = [*rows(range(5, 30), version=1), named(1), state(1), *gone(range(5, 10)), state(2)]
    ran = thirty.run([schema(PROPERTIES), *sent])
    assert "hours: 10 of 30 rows are gone" in str(ran.error)
    assert shown(thirty) == list(range(30))
    thirty.ran([schema(PROPERTIES)], mirror_max_share=0.5)
    assert shown(thirty) == list(range(10, 30))


@pytest.mark.parametrize("how", ["marked", "condition", "table"])
def test_what_may_not_be_deleted_is_deleted_once_the_limits_allow_it(
    thirty: Target, tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    """No tap tells it again: the STATE behind it is out."""
    if how == "condition":
        thirty.config["streams"] = {"hours": {**LAYOUT, "when": "{{ name == 'a' }}"}}
    left = {
        "marked": gone(range(25)),
        "condition": rows(range(25), "b"),
        "table": [*rows(range(25, 30), version=7), named(7)],
    }[how]
    assert thirty.run([schema(PROPERTIES), *left, state(1)]).states == [1]
    for value in (2, 3):
        caplog.clear()
        ran = thirty.run([schema(PROPERTIES), state(value)])
        assert ran.states == [value]
        assert "25 of 30 rows are gone" in str(ran.error)
        assert "25 of 30 rows are gone" in caplog.text
    assert shown(thirty) == list(range(30))
    command = Command(thirty, tmp_path)
    assert "25 of 30 rows are gone" in json.loads(command("runs", "--json"))[0]["ended"]
    # A plan sees it too, and takes nothing away.
    command.configure(thirty.config | RAISED)
    plan = json.loads(command("plan", "--json", given=as_input([schema(PROPERTIES)])))
    assert plan["streams"]["hours"]["delete"] == 25
    thirty.ran([schema(PROPERTIES), state(4)], **RAISED)
    assert (shown(thirty), publications(thirty)) == (list(range(25, 30)), 30)
    # And it is over.
    thirty.ran([schema(PROPERTIES), state(5)])


@pytest.mark.parametrize("version", [None, 8])
def test_rows_that_come_back_meanwhile_keep_their_posts(thirty: Target, version: int | None) -> None:
    thirty.run([schema(PROPERTIES), *gone(range(25)), state(1)])
    thirty.run([schema(PROPERTIES), *rows(range(5), version=version), *rows([5], "changed", version), state(2)])
    thirty.ran([schema(PROPERTIES), state(3)], **RAISED)
    assert (shown(thirty), publications(thirty)) == ([*range(6), *range(25, 30)], 30)


def test_a_row_that_comes_back_in_the_same_run_keeps_its_post(thirty: Target) -> None:
    sent = [*gone([1, 2, 3]), state(1), *rows([2]), state(2)]
    thirty.ran([schema(PROPERTIES), *sent])
    assert (shown(thirty), publications(thirty)) == ([0, 2, *range(4, 30)], 30)


def test_a_run_that_is_cut_off_behind_a_state_leaves_its_deletions_to_the_next(thirty: Target) -> None:
    ran = thirty.run([schema(PROPERTIES), *gone([1, 2]), state(1), *rows([3], "b"), b"{"])
    assert (ran.states, shown(thirty)) == ([1], list(range(30)))
    thirty.ran([schema(PROPERTIES), *rows([2]), state(2)])
    assert (shown(thirty), publications(thirty)) == ([0, *range(2, 30)], 30)


@pytest.mark.parametrize("on_quota", ["draft", "defer"])
def test_what_waits_is_not_published_once_its_row_is_gone(thirty: Target, on_quota: str) -> None:
    thirty.config |= {"on_quota": on_quota}
    thirty.ran([schema(PROPERTIES), *rows([30, 31]), state(1)], max_posts_per_run=0)
    # Its tap is silent in the run that would publish it.
    thirty.run([schema(PROPERTIES), *gone([*range(25), 30, 31]), state(2)], max_posts_per_run=0)
    thirty.run([schema(PROPERTIES), *rows([31]), state(3)])
    assert publications(thirty) == 31  # row 31 is there again
    thirty.ran([schema(PROPERTIES), state(4)], **RAISED)
    assert (shown(thirty), publications(thirty)) == ([*range(25, 30), 31], 31)


def test_other_modes_forget_what_mode_mirror_may_not_delete(thirty: Target) -> None:
    """A row may come back and change nothing there."""
    thirty.run([schema(PROPERTIES), *gone(range(25)), state(1)])
    thirty.ran([schema(PROPERTIES), *rows([1]), state(2)], streams={"hours": {**LAYOUT, "mode": "upsert"}})
    thirty.ran([schema(PROPERTIES), state(3)], **RAISED)
    assert (shown(thirty), publications(thirty)) == (list(range(30)), 30)


def test_an_older_copy_of_the_ledger_deletes_nothing_that_it_was_not_to_delete(thirty: Target, tmp_path: Path) -> None:
    thirty.run([schema(PROPERTIES), *gone(range(25)), state(1)])
    path = Path(thirty.config["ledger_url"].removeprefix("sqlite:///"))
    copy = path.read_bytes()
    thirty.run([schema(PROPERTIES), *rows(range(25)), state(2)])
    path.write_bytes(copy)
    Command(thirty, tmp_path)("adopt")
    thirty.ran([schema(PROPERTIES)], **RAISED)
    thirty.ran([schema(PROPERTIES), *rows(range(30)), state(3)], **RAISED)
    assert (shown(thirty), publications(thirty)) == (list(range(30)), 30)
