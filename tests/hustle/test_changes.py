"""Changed rows only: the tables stay the truth, whatever is lost, old, shared or cut off."""

from __future__ import annotations

import os
import random
import signal
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, get_args

import hypothesis.strategies as st
import pytest
from api_sandbox import Fault
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from typing_extensions import override

from tests.hustle.account import ORGANIZATIONS, STREAMS, Account, Edit
from tests.hustle.changes_life import MAPS, ChangesLife, Loaded
from tests.hustle.running import Ending
from tests.hustle.warehouse import Warehouse
from tests.lives import lives

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from api_sandbox import RunningSandbox

    from tests.hustle.conftest import Run
    from tests.hustle.warehouse import Tables
    from tests.tap_processes import Starter

names = st.sampled_from(["groups", "groups", "agents", "tags"])
places = st.integers(-3, 4)
organizations = st.integers(0, ORGANIZATIONS - 1)
edits = st.one_of(
    st.builds(Edit, st.just("add"), names, organizations, rows=st.integers(1, 3)),
    st.builds(
        Edit,
        st.sampled_from(["change", "blank", "remove", "transfer"]),
        names,
        organizations,
        places,
        st.integers(1, 3),
    ),
    st.builds(Edit, st.just("revert"), names, organizations, places, st.integers(1, 4)),
    st.builds(Edit, st.just("return"), names),
    st.builds(Edit, st.sampled_from(["hide", "show"]), organization=organizations),
    st.builds(Edit, st.sampled_from(["forbid", "allow"]), st.sampled_from(STREAMS), organizations),
)
jobs = st.sampled_from([0, 0, 1])
messages = st.integers(1, 40)
loaded = st.sampled_from(get_args(Loaded))
shares = st.floats(0, 1)
failing = st.sampled_from([Fault(kind="status", status=400, path=f"/{name}", page=2) for name in STREAMS])


class Lives(RuleBasedStateMachine):
    """Whatever happens, in any order."""

    @initialize(parallel=st.sampled_from([1, 4]))
    def begin(self, *, parallel: int) -> None:
        self.life = ChangesLife(parallel=parallel)
        self.life.read()

    @rule(edits=st.lists(edits, min_size=1, max_size=4))
    def happen(self, edits: Sequence[Edit]) -> None:
        self.life.happen(*edits)

    @rule(
        change=st.sampled_from([{"page_size": 1}, {"page_size": 3}, {"resume_max_age": 0}, {"resume_max_age": 86400}])
    )
    def choose(self, change: dict[str, Any]) -> None:
        self.life.choose(**change)

    @rule(name=st.sampled_from(list(MAPS)), properties=st.sampled_from([(), (), ("name",), ("organizationId",)]))
    def choose_what_is_sent(self, name: str, properties: tuple[str, ...]) -> None:
        self.life.choose_map(name)
        self.life.deselect(*properties)

    @rule(chosen=st.lists(organizations, max_size=2, unique=True))
    def choose_organizations(self, chosen: Sequence[int]) -> None:
        self.life.choose_organizations(*chosen)

    @rule(back=st.integers(1, 12), job=jobs)
    def put_back_a_state(self, back: int, job: int) -> None:
        self.life.put_back(back, job)

    @rule(job=jobs)
    def lose_a_state(self, job: int) -> None:
        self.life.lose_state(job)

    @rule()
    def lose_the_store(self) -> None:
        self.life.lose_store()

    @rule(back=st.integers(1, 6))
    def put_back_a_store(self, back: int) -> None:
        self.life.copy_store(back)

    @rule(days=st.sampled_from([1, 89, 91]))
    def wait(self, days: int) -> None:
        self.life.wait(days * 86_400)

    @rule(job=jobs, fault=st.none() | failing)
    def read(self, job: int, fault: Fault | None) -> None:
        self.life.read(job, [] if fault is None else [fault])

    @rule(job=jobs)
    def read_to_the_end(self, job: int) -> None:
        self.life.read(job)
        self.life.read(job)

    @rule(job=jobs, messages=messages, loaded=loaded, share=shares)
    def kill(self, job: int, messages: int, loaded: Loaded, share: float) -> None:
        self.life.read(job, ending=Ending("closed", messages), loaded=loaded, share=share)

    @override
    def teardown(self) -> None:
        if hasattr(self, "life"):
            self.life.end()


# The sandbox's server ends before its connections know of it.
TestLives = pytest.mark.filterwarnings("ignore::ResourceWarning")(Lives.TestCase)
TestLives.settings = lives(8, steps=14)


# The shortest of them


@pytest.fixture
def life() -> Iterator[ChangesLife]:
    found = ChangesLife()
    yield found
    found.end()


def sent(life: ChangesLife, *streams: str) -> list[tuple[str, str, bool]]:
    """What the last run sent: stream, id, and whether the row is marked as deleted."""
    found = [(one["stream"], one["record"]["id"], "_sdc_deleted_at" in one["record"]) for one in life.sent]
    return [one for one in found if not streams or one[0] in streams]


AGENTS = Edit("change", "agents", 0, 0, 1)


def cut_off(life: ChangesLife, loaded: Loaded, *, records: int = 1, stream: str = "agents", share: float = 0) -> None:
    """A run that is killed after so many records, of which no STATE is acknowledged."""
    ran = life.read(ending=Ending("closed", records, stream), loaded=loaded, share=share)
    assert ran.is_cut


def test_only_what_changed_is_sent_and_what_is_gone_once(life: ChangesLife) -> None:
    life.read()
    everything = len(life.sent)
    life.read()
    assert everything > 20
    assert life.sent == []
    first, second, *_ = life.ids("groups", 0)
    (third, *_) = life.ids("groups", 1)
    life.happen(Edit("change", "groups", 0, 0), Edit("remove", "groups", 0, 1), Edit("transfer", "groups", 1, 0))
    life.read()
    assert sorted(sent(life)) == sorted([("groups", first, False), ("groups", second, True), ("groups", third, False)])
    life.read()
    assert life.sent == []
    life.happen(Edit("return", "groups"))
    life.read()
    assert sent(life) == [("groups", second, False)]


def test_a_row_that_was_sent_and_lost_is_sent_again(life: ChangesLife) -> None:
    life.read()
    life.happen(AGENTS)
    cut_off(life, "acknowledged")
    life.read()
    assert sent(life)
    life.read()
    assert life.sent == []


def test_a_row_that_was_written_but_not_acknowledged_can_be_what_it_was(life: ChangesLife) -> None:
    life.read()
    life.happen(AGENTS)
    cut_off(life, "all")
    life.happen(Edit("revert", "agents", 0, 0, 1))
    life.read()
    life.read()


def test_a_new_store_counts_from_the_beginning_but_is_not_believed(life: ChangesLife) -> None:
    life.read()
    life.happen(AGENTS)
    life.lose_store()
    cut_off(life, "acknowledged")
    life.read()
    life.read()


def test_a_read_that_goes_on_deletes_nothing(life: ChangesLife) -> None:
    life.read()
    life.happen(Edit("change", "agents", 0, 0, 3))
    cut_off(life, "acknowledged", records=3, share=1)
    life.read()
    assert sent(life, "agents")
    life.read()


def test_a_row_that_moves_is_not_covered_by_what_was_read_where_it_is_now(life: ChangesLife) -> None:
    life.deselect("organizationId")
    life.read()
    life.happen(Edit("add", "groups", 0))
    cut_off(life, "acknowledged", stream="groups")
    life.happen(Edit("forbid", "groups", 0))
    life.read()
    life.happen(Edit("transfer", "groups", 0, -1), Edit("allow"))
    life.read()


def test_a_row_that_moves_to_what_cannot_be_read_stays(life: ChangesLife) -> None:
    life.read()
    life.happen(Edit("transfer", "groups", 1, 0))
    life.choose(skip_forbidden=[])
    life.happen(Edit("forbid", "groups", 0))
    ran = life.read()
    assert ran.code == 1
    assert not any(is_gone for _, _, is_gone in sent(life))
    life.happen(Edit("allow"))
    life.read()


def test_a_row_that_goes_and_comes_while_a_run_is_cut_off(life: ChangesLife) -> None:
    life.read()
    life.happen(Edit("add", "agents", 0, rows=1))
    cut_off(life, "acknowledged")
    life.happen(Edit("remove", "agents", 0, -1), Edit("change", "agents", 0, 0, 3))
    cut_off(life, "all", records=3, share=1)
    life.read()  # goes on
    life.happen(Edit("return", "agents"))
    life.read()
    life.read()


def test_a_row_that_goes_and_comes_while_another_partition_fails(life: ChangesLife) -> None:
    life.choose(skip_forbidden=[])
    life.read()
    life.happen(Edit("add", "groups", 0))
    cut_off(life, "acknowledged", stream="groups")
    life.happen(Edit("remove", "groups", 0, -1), Edit("forbid", "groups", 1))
    assert life.read().code == 1
    life.happen(Edit("return", "groups"), Edit("allow"))
    life.read()
    assert life.read().code == 0


def test_what_went_before_a_store_was_lost_goes_though_a_run_is_killed(life: ChangesLife) -> None:
    life.read()
    life.happen(Edit("remove", "agents", 2, 0))
    life.lose_store()
    cut_off(life, "acknowledged", records=3, share=1)
    life.read()
    assert life.read().code == 0
    life.choose_organizations(0)
    cut_off(life, "acknowledged", share=1)
    life.read()
    assert life.read().code == 0


def test_a_read_without_versions_does_not_go_on_with_them(life: ChangesLife) -> None:
    life.read()
    life.happen(Edit("change", "agents", 0, 0, 3))
    cut_off(life, "acknowledged", records=3, share=1)
    life.lose_store()
    life.read()
    assert life.read().code == 0


def test_a_mark_that_was_lost_is_sent_again(life: ChangesLife) -> None:
    life.read()
    life.happen(Edit("remove", "agents", 0, 0))
    cut_off(life, "acknowledged")
    life.read()
    assert [is_gone for _, _, is_gone in sent(life)] == [True]


def test_a_copy_of_the_store_from_before_is_not_believed(life: ChangesLife) -> None:
    life.read()
    life.happen(AGENTS)
    life.read()
    life.copy_store(2)
    life.happen(Edit("revert", "agents", 0, 0))
    life.read()
    assert len(life.sent) > 20


def test_an_older_state_is_not_believed_once_an_older_store_was_met(life: ChangesLife) -> None:
    life.read()
    life.happen(AGENTS)
    life.read()
    life.copy_store(2)
    life.happen(Edit("revert", "agents", 0, 0))
    cut_off(life, "acknowledged", stream="organizations")
    life.put_back(1, run=1)
    life.read()


def test_another_selection_or_map_sends_everything(life: ChangesLife) -> None:
    life.read()
    life.deselect("name")
    life.read()
    life.happen(Edit("blank", "agents", 0, 0))
    life.deselect()
    life.read()
    assert len(life.sent) > 20
    life.choose_map("filter")
    life.read()
    assert any(is_gone for _, _, is_gone in sent(life))
    assert {stream for stream, _, _ in sent(life)} == {"agents"}


def test_no_organization_at_all_deletes_nothing(life: ChangesLife) -> None:
    life.read()
    life.happen(*(Edit("hide", organization=number) for number in range(ORGANIZATIONS)))
    life.read()
    assert {stream for stream, _, _ in sent(life)} == {"agents", "tags"}


def test_when_too_many_rows_are_gone_none_is_deleted(life: ChangesLife) -> None:
    life.happen(Edit("add", "agents", 0, rows=30), Edit("add", "groups", 0, rows=30))
    life.choose(max_deleted_share=0.2)
    life.read()
    life.happen(
        Edit("remove", "agents", 0, -12, 12), Edit("remove", "groups", 0, -12, 12), Edit("remove", "tags", 0, 0)
    )
    ran = life.read()
    owner = life.organization(0)
    assert ran.code == 1
    begins = (
        "Not deleted: agents. 12 of 39 rows of agents are",
        f"Not deleted: groups (organizationId {owner}). 12 of 34 rows",
    )
    assert [sentence.startswith(begin) for sentence, begin in zip(ran.said[2:4], begins, strict=True)] == [True, True]
    assert "more than max_deleted_share allows" in ran.said[2]
    assert [sentence.split(", the rest goes on.")[0] for sentence in ran.said[:2]] == [
        "agents: not deleted",
        f"groups (organizationId {owner}): not deleted",
    ]
    assert [(stream, is_gone) for stream, _, is_gone in sent(life)] == [("tags", True)]
    life.choose(max_deleted_share=0.4)
    assert life.read().code == 0
    assert [(stream, is_gone) for stream, _, is_gone in sent(life)] == [
        *[("agents", True)] * 12,
        *[("groups", True)] * 12,
    ]


def test_few_rows_may_go_whatever_their_share(life: ChangesLife) -> None:
    life.choose(max_deleted_share=0)
    life.read()
    life.happen(Edit("remove", "agents", 0, 0, 3), Edit("remove", "groups", 1, 0, 4))
    assert life.read().code == 0
    assert [is_gone for _, _, is_gone in sent(life)] == [True] * 7


def test_rows_without_a_key_are_refused_before_the_first_request(life: ChangesLife) -> None:
    life.choose(stream_maps={"tags": {"__key_properties__": []}})
    ran = life.read()
    assert ran.code == 1
    assert ran.said == ["changes_only needs keys, and tags has none: leave them in stream_maps, or set it to false."]
    assert life.requests() == 0


def test_without_it_nothing_of_it_is_imported(
    tap: Callable[..., Run], standing: RunningSandbox, settings: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    program = tmp_path / "watch.py"
    program.write_text(
        "import sys\n"
        "def prepare():\n"
        "    refused = ('singer_http.changes.store', 'sqlite3', 'psycopg', 'sqlalchemy')\n"
        "    for name in [one for one in sys.modules if one.startswith(refused)]:  # an earlier run has left them\n"
        "        del sys.modules[name]\n"
        "    def refuse(name, *_):\n"
        "        assert not name.startswith(refused), name\n"
        "    sys.meta_path.insert(0, type('Finder', (), {'find_spec': staticmethod(refuse)}))\n"
    )
    before = [str(program)]
    assert tap(config=settings(standing), before=before).code == 0
    watched = tap(config=settings(standing, changes_only=True, changes_url="sqlite:///x"), before=before)
    assert watched.code == 1
    assert "AssertionError" in watched.stderr


@pytest.mark.parametrize("chance", range(int(os.environ.get("KILLS", "8")) // 8), ids=str)
def test_processes_that_are_killed(
    start_tap: Starter, serve: Callable[..., RunningSandbox], settings: Callable[..., dict[str, Any]], chance: int
) -> None:
    """Eight kills at random, with a loader that had written more than it acknowledged; then the table is the truth."""
    dice = random.Random(chance)  # noqa: S311 - the same in every run
    sandbox = serve(organizations=3, groups=9, agents=9, tags=3, leads=30)
    account = Account(sandbox.run(lambda running: running.hustle))
    config = settings(sandbox, changes_only=True, emit_activate_version_messages=True, max_deleted_share=1)
    tables: Tables = {}
    state: Any = {}
    kills = 0
    while kills < 8:
        for _ in range(3):
            what = dice.choice(["add", "change", "revert", "remove", "return", "transfer"])
            stream = dice.choice(["groups", "agents"])
            account.happen(Edit(what, stream, dice.randrange(3), dice.randrange(6), dice.randint(1, 3)))  # type: ignore[arg-type]
        started = start_tap(config=config, state=state, piped=True)
        lines = dice.randint(1, 45)
        assert started.pipe is not None
        started.received.extend(islice(started.pipe, lines))
        if len(started.received) == lines:
            started.kill(signal.SIGKILL)
            kills += 1
        ended = started.wait()
        ran = replace(ended, stdout=ended.stdout[: ended.stdout.rfind(b"\n") + 1])
        written = dice.randint(0, len(ran.messages))
        acknowledged = dice.randint(0, written)
        warehouse = Warehouse(tables, removes="older")
        for number, message in enumerate(ran.messages[:written]):
            warehouse.load(message)
            if message["type"] == "STATE" and number < acknowledged:
                state = message["value"]
    for _ in range(2):  # the first may go on with a read that was cut off
        last = start_tap(config=config, state=state).wait()
        assert last.code == 0, last.stderr
        warehouse = Warehouse(tables, removes="older")
        for message in last.messages:
            warehouse.load(message)
        state = last.states[-1]
    for name in STREAMS:
        truth = {fields["id"]: fields.get("name") for fields in account.rows(name)}
        assert {key: row.fields["name"] for key, row in tables[name].items()} == truth, name
