"""A STATE that is merged into older ones means what it meant alone."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from meltano.core import utils
from singer_http.__main__ import main
from singer_http.http.errors import ConfigurationError
from singer_http.merged_state import sealed, unsealed
from singer_http.resume import Bookmark, validated
from singer_http.shard_states import merged as of_shards
from singer_http.shard_states import split

from tests.merging import merged

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

by_meltano: Callable[[Any, Any], Any] = utils.merge
scalars = st.none() | st.booleans() | st.integers(0, 9) | st.sampled_from("ab")
inner: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {}, optional={"version": scalars, "cursor": scalars, "limits": st.dictionaries(st.sampled_from("a.b"), scalars)}
)
bookmarks: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "cursor": scalars,
        "resume": inner,
        "partitions": st.lists(st.builds(lambda resume: {"context": {"id": 1}, "resume": resume}, inner), max_size=2),
    },
)
states = st.builds(
    lambda streams: {"bookmarks": streams}, st.dictionaries(st.sampled_from(["leads", "tags"]), bookmarks)
)


@given(first=states, runs=st.lists(states, min_size=1, max_size=4))
def test_what_is_gone_stays_gone(first: dict[str, Any], runs: list[dict[str, Any]]) -> None:
    kept, last = first, copy.deepcopy(first["bookmarks"])  # as a version before left it
    for state in runs:
        before = copy.deepcopy(state)
        sent = sealed(state)
        assert state == before
        assert merged(sent, kept) == by_meltano(copy.deepcopy(sent), copy.deepcopy(kept))
        kept = merged(sent, kept)
        last |= state["bookmarks"]
        assert {name: unsealed(one) for name, one in kept["bookmarks"].items()} == last


def test_a_read_that_is_over_is_not_continued() -> None:
    resume = {"version": 5, "fingerprint": "f", "done": True}
    partitions = [{"context": {"id": "a"}}]
    during = {"bookmarks": {"leads": {"resume": resume, "partitions": partitions}}}
    kept = merged(sealed({"bookmarks": {"leads": {"partitions": partitions}}}), sealed(during))
    assert kept["bookmarks"]["leads"]["resume"] == resume  # so Meltano keeps it
    assert validated("leads", kept["bookmarks"]["leads"], Bookmark) == {"partitions": partitions}
    # Nor is a whole read taken for done while the next is under way.
    during = {"bookmarks": {"leads": {"resume": {"version": 9, "fingerprint": "f"}}}}
    kept = merged(sealed(during), kept)
    assert validated("leads", kept["bookmarks"]["leads"], Bookmark) == during["bookmarks"]["leads"]


def test_shards_take_over_only_what_is_held() -> None:
    old = sealed({"bookmarks": {"tags": {"cursor": "old", "fingerprint": "f"}}})
    kept = merged(sealed({"bookmarks": {"tags": {"version": 7}}}), old)
    for state in (*split(kept, 1), of_shards([kept])):
        assert unsealed(state["bookmarks"]["tags"]) == {"version": 7}


@pytest.mark.parametrize("order", [(1, 0), (0, 0), (1, 1)])
def test_states_of_shards_in_another_order_are_refused(order: tuple[int, int]) -> None:
    partitions = [{"context": {"organizationId": str(number)}, "cursor": "1"} for number in range(8)]
    whole = sealed({"bookmarks": {"leads": {"partitions": partitions}}})
    states = split(whole, 2)
    kept = of_shards(states)["bookmarks"]["leads"]["partitions"]
    assert sorted(map(str, kept)) == sorted(map(str, partitions))
    with pytest.raises(ConfigurationError, match="in the order of the shards"):
        of_shards([states[place] for place in order])


@pytest.mark.parametrize(
    "content",
    [
        {"bookmarks": 5},
        {"bookmarks": {"leads": []}},
        {"bookmarks": {"leads": {"partitions": {}}}},
        {"bookmarks": {"leads": {"partitions": [{"context": "a"}]}}},
        {"bookmarks": {"leads": {"version": "new"}}},
        {"bookmarks": {"leads": {"resume": 1}}},
        {"singer_state": 5},
        {"singer_state": {"bookmarks": []}},
        {"type": "STATE", "value": {"bookmarks": {}}},
    ],
    ids=str,
)
@pytest.mark.parametrize("command", [("merge",), ("split", "2")], ids=" ".join)
def test_what_is_no_state_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, command: tuple[str, ...], content: object
) -> None:
    file = tmp_path / "1.json"
    file.write_text(json.dumps(content))
    run = CliRunner().invoke(main, ["state", *command, str(file)])
    assert (run.exit_code, run.stdout, list(tmp_path.iterdir())) == (1, "", [file])
    assert caplog.messages == [
        f"state: {file} does not hold a STATE: it must be an object with bookmarks, as in the value of a STATE message."
    ]


@pytest.mark.parametrize("content", [{}, {"bookmarks": {}}, {"singer_state": {}}], ids=str)
def test_a_state_may_be_empty(tmp_path: Path, content: dict[str, object]) -> None:
    file = tmp_path / "1.json"
    file.write_text(json.dumps(content))
    run = CliRunner().invoke(main, ["state", "merge", str(file)])
    state: dict[str, object] = {"bookmarks": {}}
    assert json.loads(run.stdout) == ({"singer_state": state} if "singer_state" in content else state)
