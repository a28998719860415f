"""What STATE holds of a stream: each partition once, nothing of a read that is over, and nothing that is not ours."""

from __future__ import annotations

import copy
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from singer_http.resume import RESUME, Bookmark, Bookmarks, FullTable, Incremental, ResumePoint, fingerprint, validated

contexts = st.dictionaries(
    st.sampled_from(["organizationId", "date"]), st.sampled_from(["a", "b", "c", "1"]), min_size=1, max_size=2
)
resumes = st.one_of(st.builds(lambda cursor: {"cursor": cursor}, st.text()), st.just({"done": True}))
extras = st.fixed_dictionaries(
    {},
    optional={
        "resume": resumes,
        "replication_key": st.just("createdAt"),
        "replication_key_value": st.just("2024-01-01"),
        "cursor": st.text(),
    },
)
partitions = st.lists(
    st.tuples(contexts, extras), max_size=6, unique_by=lambda pair: json.dumps(pair[0], sort_keys=True)
)


def state_of(pairs: list[tuple[dict[str, str], dict[str, Any]]]) -> dict[str, Any]:
    return {
        "resume": {"version": 1, "fingerprint": "f"},
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
    names = [json.dumps(bookmark["context"], sort_keys=True) for bookmark in state.get("partitions", [])]
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
    Bookmarks(state).forget()
    kept = [{name: value for name, value in extra.items() if name != RESUME} for _, extra in pairs]
    assert state == {
        "partitions": [{"context": context, **extra} for (context, _), extra in zip(pairs, kept, strict=True)]
    }


@given(pairs=partitions)
def test_a_failed_read_keeps_the_places_that_were_not_reached(
    pairs: list[tuple[dict[str, str], dict[str, Any]]],
) -> None:
    state = state_of(pairs)
    Bookmarks(state).forget(done_only=True)
    assert state["resume"] == {"version": 1, "fingerprint": "f"}
    for bookmark, (_, extra) in zip(state["partitions"], pairs, strict=True):
        unfinished = "cursor" in extra.get(RESUME, {})
        assert bookmark.get(RESUME) == (extra[RESUME] if unfinished else None)


def test_none_is_the_stream_itself() -> None:
    state: dict[str, Any] = {}
    bookmarks = Bookmarks(state)
    bookmarks.of(None)["cursor"] = "x"
    assert state == {"cursor": "x"}
    assert bookmarks.get(None) is bookmarks.stream


@pytest.mark.parametrize(("after", "begins"), [(-3600, "anew"), (-30, "on"), (0, "on"), (3599, "on"), (3600, "anew")])
def test_a_read_goes_on_within_its_time(after: int, begins: str) -> None:
    state: dict[str, Any] = {}
    first = FullTable("leads", Bookmarks(state), "f", 1e9, 3600)
    first.begin()
    first.turn({"organizationId": "a"}, ResumePoint("2", "x"), is_last=False)
    second = FullTable("leads", Bookmarks(state), "f", 1e9 + after, 3600)
    assert second.is_resumed == (begins == "on")
    assert (second.version == first.version) == (begins == "on")
    assert second.point({"organizationId": "a"}) == (ResumePoint("2", "x") if begins == "on" else ResumePoint())


@pytest.mark.parametrize("after", [-0.5, 0, 1])  # the API tells whole seconds: a little later may seem earlier
def test_where_no_read_may_be_gone_on_with_none_is(after: float) -> None:
    state: dict[str, Any] = {}
    FullTable("leads", Bookmarks(state), "f", 1e9, 0).begin()
    assert not FullTable("leads", Bookmarks(state), "f", 1e9 + after, 0).is_resumed


def test_versions_only_rise() -> None:
    state: dict[str, Any] = {}
    versions = []
    for now in (1e9, 1e9, 1e9 - 1, 1e9 + 1):  # the clock is known to the second
        table = FullTable("leads", Bookmarks(state), "f", now, 3600)
        table.begin()
        table.end(is_activated=True)
        versions.append(table.version)
        Bookmarks(state).forget()
    assert versions == sorted(set(versions))


@given(one=st.lists(st.text() | st.integers() | st.none()), other=st.lists(st.text() | st.integers() | st.none()))
def test_a_fingerprint_tells_apart(one: list[Any], other: list[Any]) -> None:
    assert (fingerprint(one) == fingerprint(other)) == (one == other)
    assert fingerprint({"a": 1, "b": one}) == fingerprint({"b": one, "a": 1})


TEXTS = st.sampled_from(["a", "b", "cursor", "2026-01-01T00:00:00Z", ""])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS | st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from([*Bookmark.__struct_fields__, "partitions", "progress_markers", "limit"])
GARBAGE = st.recursive(
    VALUES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=12,
)


@given(state=GARBAGE)
def test_garbage_breaks_nothing(state: Any) -> None:
    kept = validated("leads", state, Bookmark)
    assert validated("leads", json.loads(json.dumps(kept)), Bookmark) == kept
    bookmarks = Bookmarks(kept)
    for read in (FullTable("leads", bookmarks, "f", time.time(), 3600), Incremental("leads", bookmarks, "f")):
        assert not read.is_done
        for partition in (None, {"organizationId": "a"}):
            point = read.point(partition)
            assert point is not None
            assert point.cursor is None
