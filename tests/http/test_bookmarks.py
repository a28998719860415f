from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from singer_http.bookmarks import RESUME, Bookmarks

MARKERS = {RESUME, "progress_markers", "replication_key_signpost", "starting_replication_value"}

contexts = st.dictionaries(
    st.sampled_from(["organizationId", "date"]), st.sampled_from(["a", "b", "c", "1"]), min_size=1, max_size=2
)
resumes = st.one_of(st.builds(lambda cursor: {"cursor": cursor}, st.text()), st.just({"done": True}))
extras = st.fixed_dictionaries(
    {},
    optional={
        "resume": resumes,
        "progress_markers": st.just({"Note": "x"}),
        "replication_key_signpost": st.just("x"),
        "starting_replication_value": st.just("x"),
        "replication_key": st.just("createdAt"),
        "replication_key_value": st.just("2024-01-01"),
        "cursor": st.text(),
        "limit": st.just(5),
    },
)
partitions = st.lists(
    st.tuples(contexts, extras), max_size=6, unique_by=lambda pair: json.dumps(pair[0], sort_keys=True)
)


def state_of(pairs: list[tuple[dict[str, str], dict[str, Any]]]) -> dict[str, Any]:
    return {
        "resume": {"version": 1, "limit": 5},
        "partitions": [{"context": dict(context), **copy.deepcopy(extra)} for context, extra in pairs],
    }


@given(pairs=partitions, asked=st.lists(contexts, max_size=8))
def test_each_partition_has_one_bookmark_in_the_state(
    pairs: list[tuple[dict[str, str], dict[str, Any]]], asked: list[dict[str, str]]
) -> None:
    state = state_of(pairs)
    bookmarks = Bookmarks(state)
    for context, extra in pairs:
        reordered = dict(reversed(context.items()))
        assert bookmarks.of(reordered) == {"context": context, **extra}
    for number, context in enumerate(asked):
        bookmarks.of(context)["cursor"] = f"new {number}"
    names = [json.dumps(bookmark["context"], sort_keys=True) for bookmark in state["partitions"]]
    assert len(names) == len(set(names))
    for context in asked:
        last = max(number for number, other in enumerate(asked) if other == context)
        found = [bookmark for bookmark in state["partitions"] if bookmark["context"] == context]
        assert [bookmark["cursor"] for bookmark in found] == [f"new {last}"]


@given(pairs=partitions, asked=contexts)
def test_looking_changes_nothing(pairs: list[tuple[dict[str, str], dict[str, Any]]], asked: dict[str, str]) -> None:
    state = state_of(pairs)
    before = copy.deepcopy(state)
    found = Bookmarks(state).get(asked)
    assert state == before
    assert found == next(({"context": context, **extra} for context, extra in pairs if context == asked), {})


@given(pairs=partitions)
def test_a_complete_read_leaves_no_progress(pairs: list[tuple[dict[str, str], dict[str, Any]]]) -> None:
    state = state_of(pairs)
    Bookmarks(state).clear_progress(failed=False)
    for bookmark in (state, *state["partitions"]):
        assert not MARKERS & bookmark.keys()
    kept = [{name: value for name, value in extra.items() if name not in MARKERS} for _, extra in pairs]
    assert state["partitions"] == [
        {"context": context, **extra} for (context, _), extra in zip(pairs, kept, strict=True)
    ]


@given(pairs=partitions)
def test_a_failed_read_keeps_the_places_that_were_not_reached(
    pairs: list[tuple[dict[str, str], dict[str, Any]]],
) -> None:
    state = state_of(pairs)
    Bookmarks(state).clear_progress(failed=True)
    assert state["resume"] == {"version": 1, "limit": 5}
    for bookmark, (_, extra) in zip(state["partitions"], pairs, strict=True):
        unfinished = "cursor" in extra.get(RESUME, {})
        assert bookmark.get(RESUME) == (extra[RESUME] if unfinished else None)


def test_none_is_the_stream_itself() -> None:
    state: dict[str, Any] = {}
    bookmarks = Bookmarks(state)
    bookmarks.of(None)["cursor"] = "x"
    assert state == {"cursor": "x"}
    assert bookmarks.get(None) is bookmarks.stream
