"""Weeks of an account, and of the tap that reads it, in any order: the tables are the truth, and stay it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args
from unittest import mock

import hypothesis.strategies as st
import pytest
from api_sandbox import Fault
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from tap_hustle.client import parse_page
from tap_hustle.streams import HustleStream
from typing_extensions import override

from tests.hustle.account import ORGANIZATIONS, STREAMS, Edit
from tests.hustle.life import FULL, INCREMENTAL, Life, Spoiling
from tests.hustle.running import Ending, Pipe
from tests.lives import lives

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from singer_http.reading.pages import Page

# What may happen

names = st.sampled_from(STREAMS)
some = st.sets(names, max_size=2)
places = st.integers(-3, 4)
organizations = st.integers(0, ORGANIZATIONS - 1)
owners = st.integers(0, ORGANIZATIONS)
edits = st.one_of(
    st.builds(Edit, st.just("add"), names, owners, rows=st.integers(1, 4)),
    st.builds(Edit, st.just("remove"), names, owners, places, st.integers(1, 6)),
    st.builds(Edit, st.sampled_from(["change", "insert", "move"]), names, owners, places, st.integers(1, 2)),
    st.builds(Edit, st.sampled_from(["hide", "show"]), organization=organizations),
    st.builds(Edit, st.sampled_from(["forbid", "allow"]), names, organizations),
)
meanwhile = st.lists(st.tuples(st.integers(1, 25), edits), max_size=3)
changes = st.sampled_from(
    [
        {"page_size": 1},
        {"page_size": 2},
        {"page_size": 3},
        {"skip_forbidden": list(STREAMS)},
        {"skip_forbidden": None},
        {"resume_max_age": 0},
        {"resume_max_age": 86_400},
        {"max_parallel_requests": 4},
        {"predict_cursors": False},
        {"emit_activate_version_messages": False},
        {"emit_activate_version_messages": True},
    ]
)

paths = st.sampled_from([f"/{name}" for name in STREAMS])
pages = st.integers(1, 3)
orders = st.integers(1, 8).map(lambda nth: (nth,))
broken = st.sampled_from(["truncated", "empty_body", "not_json", "expire_token", "empty_page"])
faults = st.lists(
    st.one_of(
        st.builds(Fault, kind=st.just("status"), status=st.sampled_from([500, 503, 429]), path=paths, nth=orders),
        st.builds(Fault, kind=st.just("reset"), when=st.sampled_from(["before", "mid_body"]), path=paths, nth=orders),
        st.builds(Fault, kind=broken, path=paths, nth=orders),
        st.builds(Fault, kind=st.just("status"), status=st.just(503), path=st.just("/oauth/token"), times=st.just(1)),
        st.builds(Fault, kind=st.just("status"), status=st.sampled_from([500, 400, 404]), path=paths, page=pages),
        st.builds(Fault, kind=st.sampled_from(["repeat_cursor", "more_without_cursor"]), path=paths, page=pages),
    ),
    max_size=2,
)
messages = st.integers(1, 30)
streams = st.none() | names
endings = st.builds(Ending) | st.builds(Ending, st.sampled_from(["closed", "signal"]), messages)
pipes = st.sampled_from(get_args(Pipe))


class Lives(RuleBasedStateMachine):
    """Whatever happens, in any order."""

    @initialize(
        parallel=st.sampled_from([1, 4]),
        pace=st.sampled_from([0, 6]),
        activate=st.booleans(),
        removes=st.sampled_from(["other", "older"]),
        merges=st.booleans(),
    )
    def begin(self, **chosen: Any) -> None:
        self.life = Life(**chosen)

    @rule(edits=st.lists(edits, min_size=1, max_size=4))
    def happen(self, edits: Sequence[Edit]) -> None:
        self.life.happen(*edits)

    @rule(change=changes)
    def choose(self, change: dict[str, Any]) -> None:
        self.life.choose(**change)

    @rule(chosen=st.lists(organizations, max_size=2, unique=True))
    def choose_organizations(self, chosen: Sequence[int]) -> None:
        self.life.choose_organizations(*chosen)

    @rule(method=st.sampled_from([FULL, INCREMENTAL]), streams=some)
    def choose_method(self, method: str, streams: Collection[str]) -> None:
        self.life.choose_method(method, *streams)

    @rule(streams=some, properties=st.sampled_from([(), (), ("name",), ("createdAt",)]))
    def deselect(self, streams: Collection[str], properties: Collection[str]) -> None:
        self.life.deselect(streams, properties)

    @rule(ahead=st.sampled_from([0, -200_000, -3600, 3600, 200_000]))
    def set_clock(self, ahead: int) -> None:
        self.life.set_clock(ahead)

    @rule(back=st.integers(1, 12))
    def restore(self, back: int) -> None:
        self.life.restore(back)

    @rule(how=st.sampled_from(get_args(Spoiling)))
    def spoil_state(self, how: Spoiling) -> None:
        self.life.spoil_state(how)

    # Several, as each is left out of every other example

    @rule(later=st.sampled_from([10, 3600, 90_000]), pipe=pipes)
    def run_to_the_end(self, later: int, pipe: Pipe) -> None:
        self.life.wait(later)
        self.life.read(pipe=pipe)

    @rule(messages=messages, stream=streams, pipe=pipes, is_slow=st.booleans())
    def stop(self, messages: int, stream: str | None, pipe: Pipe, *, is_slow: bool) -> None:
        self.life.read(ending=Ending("signal", messages, stream), pipe=pipe, is_slow=is_slow)

    @rule(messages=messages, stream=streams, pipe=pipes, is_kept=st.booleans())
    def kill(self, messages: int, stream: str | None, pipe: Pipe, *, is_kept: bool) -> None:
        self.life.read(ending=Ending("closed", messages, stream), pipe=pipe, is_kept=is_kept)

    @rule(faults=faults, meanwhile=meanwhile, ending=endings)
    def run_in_trouble(self, faults: Sequence[Fault], meanwhile: Sequence[tuple[int, Edit]], ending: Ending) -> None:
        self.life.read(faults, meanwhile, ending)

    @override
    def teardown(self) -> None:
        self.life.end()


# The sandbox's server ends before its connections know of it.
TestLives = pytest.mark.filterwarnings("ignore::ResourceWarning")(Lives.TestCase)
TestLives.settings = lives(30, steps=14)

# The shortest of those that ended in a table that was not the truth, or in a traceback


@contextmanager
def living(**chosen: Any) -> Iterator[Life]:
    """A life with nine agents, three in each of three organizations, in pages of two."""
    life = Life(**chosen)
    try:
        yield life
    finally:
        life.end()


CUT_READS: dict[str, Callable[[Life], None]] = {
    "nothing is left at the cursor": lambda life: life.happen(
        Edit("remove", "agents", 0, 0, 3), Edit("remove", "agents", 1, 0, 3)
    ),
    "rows before the cursor are gone": lambda life: life.happen(Edit("remove", "agents", 0, 0, 3)),
    "other organizations are read": Life.choose_organizations,
    "versions are sent from now on": lambda life: life.choose(emit_activate_version_messages=True),
    "a property is selected again": Life.deselect,
    "the state is of another hand": lambda life: life.spoil_state("object"),
    "the state has every partition twice": lambda life: life.spoil_state("twice"),
    "the state is of an older layout": lambda life: life.spoil_state("old layout"),
}


@pytest.mark.parametrize("activate", [True, False])
@pytest.mark.parametrize("happens", CUT_READS)
def test_a_full_table_that_is_gone_on_with(happens: str, *, activate: bool) -> None:
    with living(activate=activate) as life:
        if happens == "other organizations are read":
            life.choose_organizations(1)
        if happens == "a property is selected again":
            life.deselect(properties=["name"])
        life.read(ending=Ending("closed", 3, "agents"))
        CUT_READS[happens](life)
        assert life.read().code == 0


@pytest.mark.parametrize("page", [1, 3])
def test_a_list_that_goes_on_without_a_cursor_removes_nothing(page: int) -> None:
    with living() as life:
        life.read()
        life.read([Fault(kind="more_without_cursor", path="/agents", page=page)])
        assert life.read().code == 0


def test_no_organization_at_all_removes_nothing() -> None:
    with living() as life:
        life.read()
        life.happen(*(Edit("hide", organization=number) for number in range(ORGANIZATIONS)))
        assert life.read().code == 0


def test_a_full_table_that_is_over_where_states_are_merged() -> None:
    with living(merges=True) as life:
        life.read(ending=Ending("closed", 2, "tags"))
        life.read()
        life.happen(Edit("add", "agents", 1, rows=2))
        assert life.read().code == 0


NEWS: dict[str, Callable[[Life], None]] = {
    "old rows are gone": lambda life: life.happen(Edit("remove", "agents", 0, 0, 2), Edit("add", "agents", 1, rows=3)),
    "all rows are gone": lambda life: life.happen(
        *(Edit("remove", "agents", number, 0, 9) for number in range(ORGANIZATIONS)), Edit("add", "agents", 1, rows=2)
    ),
    "other organizations are read": Life.choose_organizations,
    "the state holds a number": lambda life: life.spoil_state("number"),
    "the state holds an object": lambda life: life.spoil_state("object"),
    "the state is of an older layout": lambda life: life.spoil_state("old layout"),
}


@pytest.mark.parametrize("happens", NEWS)
def test_what_is_new_in_a_list_that_was_read(happens: str) -> None:
    with living() as life:
        life.choose_method(INCREMENTAL, "agents", "groups")
        if happens == "other organizations are read":
            life.choose_organizations(0)
        life.read()
        NEWS[happens](life)
        assert life.read().code == 0


def test_what_is_new_where_the_stored_cursor_always_fails() -> None:
    with living() as life:
        life.choose_method(INCREMENTAL, "agents")
        life.read()
        life.happen(Edit("add", "agents", 1, rows=2))
        assert life.read([Fault(kind="status", status=500, path="/agents", page=5, times=8)]).code == 0


def test_what_a_full_table_removed_comes_back_with_what_is_new() -> None:
    with living() as life:
        life.choose_method(INCREMENTAL, "agents")
        life.read()
        life.choose_method(FULL, "agents")
        life.choose_organizations(0)
        life.read()
        life.choose_method(INCREMENTAL, "agents")
        life.choose_organizations()
        assert life.read().code == 0


def test_the_replication_key_is_always_there() -> None:
    with living() as life:
        life.choose_method(INCREMENTAL, "agents")
        life.deselect(properties=["createdAt"])
        life.read()


# A life that does not find a fault that was put back is worth nothing

PUT_BACK: dict[str, tuple[str, Any, str]] = {
    "rows that moved": (
        "tap_hustle.streams.HustleStream._begins_with",
        lambda *_: None,
        "rows before the cursor are gone",
    ),
    "other settings": ("singer_http.stream.fingerprint", lambda *_: "same", "other organizations are read"),
    "other versions": ("singer_http.stream.fingerprint", lambda *_: "same", "versions are sent from now on"),
    "other properties": ("singer_http.stream.fingerprint", lambda *_: "same", "a property is selected again"),
    "other shapes": ("singer_http.tap.validated", lambda _name, state, _kind: state, "the state is of another hand"),
}


@pytest.mark.parametrize("fault", PUT_BACK)
def test_a_life_finds_what_is_put_back(fault: str) -> None:
    place, replacement, happens = PUT_BACK[fault]
    with mock.patch(place, replacement), pytest.raises((AssertionError, TypeError)):
        test_a_full_table_that_is_gone_on_with(happens, activate=happens != "versions are sent from now on")


def test_a_life_finds_what_a_merged_state_still_has() -> None:
    with mock.patch("singer_http.resume.unsealed", lambda state: state), pytest.raises(AssertionError):
        test_a_full_table_that_is_over_where_states_are_merged()


def test_a_life_finds_versions_of_half_a_list() -> None:
    def believing(_stream: HustleStream, body: bytes) -> Page:
        return replace(parse_page(body), doubt=None)

    with mock.patch.object(HustleStream, "parse", believing), pytest.raises(AssertionError, match="is lost"):
        test_a_list_that_goes_on_without_a_cursor_removes_nothing(1)
