"""Any history of some jobs, in any order: each channel shows what the rows say that were sent to it, each post once."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args
from unittest import mock

import hypothesis.strategies as st
import pytest
from api_sandbox import Fault
from hypothesis import Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from singer_http.http.transport import Transport
from sqlalchemy.engine.default import DefaultDialect
from target_harkster.delivery.adoption import Adoption
from target_harkster.delivery.decision import Decision, decide
from target_harkster.delivery.exactly_once import Delivery
from target_harkster.delivery.mirror import Mirror
from target_harkster.layout.layout import Layout
from target_harkster.ledger.database import LedgerError
from target_harkster.ledger.rejects import Rejects
from target_harkster.ledger.store import Entry, Ledger
from target_harkster.sinks import HarksterSink
from typing_extensions import override

from tests.harkster.jobs import UNWANTED, Job, Mode, Plan, Row
from tests.harkster.killed_runs import Runs
from tests.harkster.life import Life, Release, Sending
from tests.harkster.running import earlier_version
from tests.lives import lives

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path


plans = st.builds(
    Plan,
    mode=st.sampled_from(get_args(Mode)),
    on_move=st.sampled_from([None, None, "delete", "keep"]),
    first_run=st.sampled_from(["publish", "publish", "draft", "baseline"]),
    when=st.booleans(),
    closed=st.booleans(),
    previous=st.booleans(),
).map(lambda plan: plan if plan.mode == "digest" else replace(plan, closed=False))
places = st.integers(0, 1)
rows = st.lists(
    st.builds(
        Row,
        st.integers(1, 4),
        st.sampled_from(["1", "2", "3", "x", "y"]),
        places,
        st.sampled_from([False, False, False, False, True]),
    ),
    max_size=4,
)
sendings = st.sampled_from(get_args(Sending))
steps = st.sampled_from([(Transport, "send"), (DefaultDialect, "do_commit"), (Rejects, "sync")])
operations = st.sampled_from(["create", "update", "publish", "delete", "write"])
faults = st.lists(
    st.one_of(
        st.builds(
            Fault,
            kind=st.just("reset"),
            operation=operations,
            when=st.sampled_from(["before", "after", "mid_body"]),
            rate=st.sampled_from([0.3, 0.6]),
        ),
        st.builds(
            Fault,
            kind=st.just("status"),
            status=st.sampled_from([500, 503]),
            operation=operations,
            when=st.sampled_from(["before", "after"]),
            times=st.integers(1, 3),
        ),
        # What is refused for its rate is not done.
        st.builds(Fault, kind=st.just("status"), status=st.just(429), operation=operations, times=st.integers(1, 3)),
    ),
    min_size=1,
    max_size=2,
)


def can_be_put_back(plan: Plan) -> bool:
    """Whether what an older copy of the ledger does not know can be told from the channel alone."""
    return plan.mode in {"append", "upsert"} and plan.first_run == "publish" and not (plan.on_move or plan.previous)


class Lives(RuleBasedStateMachine):
    """Whatever happens, in any order."""

    ledger_url: str | None = None
    runs: Runs

    @initialize(
        plans=st.tuples(plans, plans),
        on_quota=st.sampled_from(["draft", "defer"]),
        are_keys_text=st.tuples(st.booleans(), st.booleans()),
        is_earlier=st.booleans(),
        is_shared=st.booleans(),
    )
    def begin(
        self,
        plans: Sequence[Plan],
        on_quota: str,
        are_keys_text: tuple[bool, bool],
        *,
        is_earlier: bool,
        is_shared: bool,
    ) -> None:
        self.life = Life(*plans, on_quota=on_quota, ledger_url=self.ledger_url, runs=self.runs)
        if is_shared:
            self.life.share_channels()
        for job, is_text in zip(self.life.jobs, are_keys_text, strict=True):
            job.key_types = ["string" if is_text else "integer"]
        if is_earlier:
            self.life.begin_with_an_earlier_version()

    def _job(self, place: int) -> Job:
        return self.life.jobs[place]

    @rule(at=places, rows=rows, sending=sendings, is_named_first=st.booleans())
    def run(self, at: int, rows: Sequence[Row], sending: Sending, *, is_named_first: bool) -> None:
        self.life.run(self._job(at), rows, sending, is_named_first=is_named_first)

    @rule(at=places, rows=rows, sending=sendings, is_named_first=st.booleans(), most=st.integers(0, 3))
    def run_a_few(self, at: int, rows: Sequence[Row], sending: Sending, most: int, *, is_named_first: bool) -> None:
        self.life.run(self._job(at), rows, sending, is_named_first=is_named_first, max_posts_per_run=most)

    @rule(at=places, rows=rows, left=st.integers(0, 2))
    def run_into_the_quota(self, at: int, rows: Sequence[Row], left: int) -> None:
        self.life.run_into_the_quota(self._job(at), rows, left)

    @rule(at=places, rows=rows, faults=faults, sending=sendings)
    def run_in_trouble(self, at: int, rows: Sequence[Row], faults: Sequence[Fault], sending: Sending) -> None:
        self.life.run_in_trouble(self._job(at), rows, faults, sending)

    @rule(at=places, rows=rows)
    def run_forbidden(self, at: int, rows: Sequence[Row]) -> None:
        self.life.run_forbidden(self._job(at), rows)

    @rule(at=places, rows=rows, sending=sendings)
    def run_that_may_not_delete(self, at: int, rows: Sequence[Row], sending: Sending) -> None:
        self.life.run_that_may_not_delete(self._job(at), rows, sending)

    @rule(at=places, rows=rows, step=steps, after=st.integers(0, 30), sending=sendings, other=places)
    def run_that_dies(  # noqa: PLR0917 - all that is chosen
        self, at: int, rows: Sequence[Row], step: tuple[Any, str], after: int, sending: Sending, other: int
    ) -> None:
        self.life.run_that_dies(self._job(at), rows, step, after, sending, self._job(other))

    @precondition(lambda self: not self.life.is_earlier)
    @rule(
        at=places,
        rows=rows,
        write=st.integers(1, 6),
        sending=sendings,
        release=st.sampled_from(get_args(Release)),
        late=st.integers(1, 12),
    )
    def run_that_is_killed(  # noqa: PLR0917 - all that is chosen
        self, at: int, rows: Sequence[Row], write: int, sending: Sending, release: Release, late: int
    ) -> None:
        self.life.run_that_is_killed(self._job(at), rows, write, sending, release, late)

    @rule(at=places)
    def change_the_layout(self, at: int) -> None:
        job = self._job(at)
        job.layout = "number" if job.layout == "text" else "text"

    @precondition(lambda self: self.life.is_earlier)
    @rule()
    def upgrade(self) -> None:
        self.life.upgrade()

    @precondition(lambda self: not self.life.is_earlier)
    @rule(at=places)
    def change_the_key_type(self, at: int) -> None:
        self.life.change_the_key_type(self._job(at))

    @precondition(lambda self: all(job.plan.mode != "digest" for job in self.life.jobs))
    @rule(are_drafts_waiting=st.booleans())
    def lose_the_ledger(self, *, are_drafts_waiting: bool) -> None:
        self.life.lose_the_ledger(are_drafts_waiting=are_drafts_waiting)

    @precondition(lambda self: self.ledger_url is None)
    @rule()
    def copy_the_ledger(self) -> None:
        self.life.copy_the_ledger()

    @precondition(lambda self: all(can_be_put_back(job.plan) for job in self.life.jobs))
    @rule(are_rows_as_then=st.booleans())
    def put_the_copy_back(self, *, are_rows_as_then: bool) -> None:
        self.life.put_the_copy_back(are_rows_as_then=are_rows_as_then)

    @invariant()
    def nothing_is_posted_twice(self) -> None:
        if hasattr(self, "life"):
            self.life.check()

    @override
    def teardown(self) -> None:
        if hasattr(self, "life"):
            self.life.end()


# A history that fails is made shorter by `make lives` alone: that takes long.
chosen = settings(lives(6, steps=8), phases={Phase.generate, *([Phase.shrink] if "LIVES" in os.environ else [])})


@pytest.fixture(scope="module")
def runs(programs: Path) -> Iterator[Runs]:
    """Runs that can be killed for real."""
    made = Runs(programs)
    yield made
    made.close()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_lives(kind: str, runs: Runs, request: pytest.FixtureRequest) -> None:
    class Chosen(Lives):
        ledger_url = None if kind == "sqlite" else request.getfixturevalue("postgres_url")

    Chosen.runs = runs
    few = settings(chosen, max_examples=max(1, chosen.max_examples // (1 if kind == "sqlite" else 3)))
    run_state_machine_as_test(Chosen, settings=few)


# The shortest that end in a channel that does not show what was sent to it, where a fault is put back


def rejected_elsewhere(life: Life) -> None:
    """A row of one job is rejected; the other job has its layout mended, and knows nothing of that row."""
    one, other = life.jobs
    one.layout = "number"
    life.run(one, [(1, "x")])
    life.run(other, [(2, "2")])
    life.run(other, [(3, "3")])


def corrected(life: Life) -> None:
    """A row of a digest is corrected."""
    job = life.jobs[0]
    life.run(job, [(1, "1"), (3, "3")])
    life.run(job, [(1, "2")])


def named_first(life: Life) -> None:
    """A tap of the stock SDK names the version of a table before its rows."""
    for _ in range(3):
        life.run(life.jobs[0], [(1, "1"), (2, "2")], is_named_first=True)


def without_versions(life: Life, sending: Sending = "no versions") -> None:
    """Rows come without the version of their table."""
    for _ in range(3):
        life.run(life.jobs[0], [(1, "1"), (2, "2")], sending)


def gone_since(life: Life) -> None:
    """A row that came alone is gone when the table is sent as a whole."""
    job = life.jobs[0]
    life.run(job, [(1, "1"), (2, "2")])
    life.run(job, [(3, "3")], "changes")
    life.run(job, [(1, "1"), (2, "2")])


def refused(life: Life) -> None:
    """A row is gone, and its post may not be deleted until its tap has told it."""
    job = life.jobs[0]
    life.run(job, [(1, "1"), (2, "2")])
    life.run_that_may_not_delete(job, [Row(1, "1", is_gone=True)], "changes")


def in_batches(life: Life) -> None:
    """Rows come in BATCH files."""
    without_versions(life, "batch")


def moved(life: Life) -> None:
    """A row goes to another channel, whose post has to wait for the quota."""
    job = life.jobs[0]
    life.run(job, [(1, "1", 0)])
    life.run(job, [(1, "1", 1)], max_posts_per_run=0)


def moved_and_unwanted(life: Life) -> None:
    """A row waits for the quota. Then it goes to another channel, and does not meet the condition any more."""
    job = life.jobs[0]
    life.run(job, [(2, "1", 0)])
    life.run(job, [(1, "1", 0)], max_posts_per_run=0)
    life.run(job, [(1, UNWANTED, 1)], max_posts_per_run=0)
    life.run(job, [])


def withdrawn(life: Life) -> None:
    """Rows wait for the quota. They do not meet the condition any more, or are gone, and then they come again."""
    job = life.jobs[0]
    life.run(job, [(1, "1")])
    life.run(job, [(2, "1"), (3, "1"), (4, "1")], max_posts_per_run=0)
    life.run(job, [Row(2, UNWANTED), Row(3, "1", is_gone=True)], max_posts_per_run=0)
    life.run(job, [(2, UNWANTED)])
    life.run(job, [(2, "2"), (3, "2"), (4, "2")])


@contextmanager
def _known_for_good() -> Iterator[None]:
    """What was withdrawn is known in mode append."""

    def decide_as_known(known: Entry | None, *others: Any) -> Decision:
        return Decision.LEAVE if known is not None else decide(known, *others)

    with mock.patch("target_harkster.delivery.decision.decide", decide_as_known):
        yield


@contextmanager
def _of_any_channel() -> Iterator[None]:
    """Rejects are known by stream and key alone."""

    def load(rejects: Rejects, channel: str) -> None:
        for reject in rejects.stored(None):
            own = replace(reject, channel=channel)
            rejects._standing.setdefault((own.stream, own.row), {})[own.id] = own
            rejects._earlier[own.id] = None

    with mock.patch.object(Rejects, "load", load):
        yield


@contextmanager
def _refused_for_good() -> Iterator[None]:
    """What may not be deleted is forgotten."""
    remove = Mirror._remove

    def remove_or_forget(mirror: Mirror, stream: str, channels: Sequence[str]) -> None:
        remove(mirror, stream, channels)
        mirror.ledger.forget_gone(channels, stream)

    with mock.patch.object(Mirror, "_remove", remove_or_forget):
        yield


@contextmanager
def _frozen() -> Iterator[None]:
    """A digest stays as it was first made."""
    original = Layout.__init__

    def frozen(layout: Layout, stream: str, config: Mapping[str, Any], *others: Any, **more: Any) -> None:
        original(layout, stream, {"mode": "append", **config}, *others, **more)

    with mock.patch.object(Layout, "__init__", frozen):
        yield


@contextmanager
def _judged_at_the_message() -> Iterator[None]:
    """What is gone is judged when the version is named."""

    def activate_version(sink: HarksterSink, version: int) -> None:
        sink._presence.announce(version)
        sink._presence.is_complete = True
        sink._run.queue.flush()
        sink._run.mirror.judge(is_end=True)

    with mock.patch.object(HarksterSink, "activate_version", activate_version):
        yield


def put_back(life: Life) -> None:
    """A row changes after the ledger is copied. The copy is put back, and so is the row."""
    job = life.jobs[0]
    life.run(job, [(1, "1")])
    life.copy_the_ledger()
    life.run(job, [(1, "2")])
    life.put_the_copy_back(are_rows_as_then=True)


def put_back_with_what_waited(life: Life) -> None:
    """A post waits when the ledger is copied, and its row changes. The copy is put back."""
    job = life.jobs[0]
    life.run(job, [(1, "1"), (2, "1")], max_posts_per_run=1)
    life.copy_the_ledger()
    life.run(job, [(2, "2")])
    life.put_the_copy_back()


def put_back_with_what_is_gone(life: Life) -> None:
    """A post waits when the ledger is copied, and its row is deleted before it is published. The copy is put back."""
    job = life.jobs[0]
    life.run(job, [(1, "1"), (2, "1")], max_posts_per_run=1)
    life.copy_the_ledger()
    life.run(job, [Row(2, "1", is_gone=True)], max_posts_per_run=0)
    life.put_the_copy_back()
    life.run(job, [(2, "1")])


def closed_when_the_ledger_is_lost(life: Life) -> None:
    """The ledger is lost. A row changes before its channel can be looked at again."""
    job = life.jobs[0]
    life.run(job, [(1, "1")])
    life.lose_the_ledger()
    life.run_forbidden(job, [Row(1, "2"), Row(2, "2")])


@contextmanager
def _older_goes_on() -> Iterator[None]:
    """What an older copy of the ledger was to do is done."""
    enter = Adoption.enter

    def enter_older(adoption: Adoption, *posts: Any, **_: Any) -> int:
        return enter(adoption, *posts, is_newer=False)

    with mock.patch.object(Adoption, "enter", enter_older):
        yield


def compared_with_itself(life: Life) -> None:
    """The ledger is lost, and a row comes again whose post tells what it said before."""
    job = life.jobs[0]
    life.run(job, [(1, "1"), (2, "1")])
    life.run(job, [(1, "2")])
    life.lose_the_ledger()
    life.run(job, [(1, "2"), (2, "1")])
    life.run(job, [(1, "3")])


def retyped(life: Life) -> None:
    """The tap sends a key as text that was a number, and then as a number again."""
    job = life.jobs[0]
    for name in ("1", "2", "3"):
        life.run(job, [(1, name)])
        life.change_the_key_type(job)


def upgraded(life: Life) -> None:
    """Keys are text when an earlier version of the target makes the posts."""
    life.change_the_key_type(life.jobs[0])
    life.begin_with_an_earlier_version()
    life.run(life.jobs[0], [(1, "1"), (3, "3")])
    life.upgrade()
    life.run(life.jobs[0], [Row(3, "2", is_gone=life.jobs[0].plan.mode == "digest")])


def upgraded_without_a_ledger(life: Life) -> None:
    """After an upgrade the ledger is lost, and then its tap sends the keys as numbers."""
    upgraded(life)
    life.lose_the_ledger()
    life.change_the_key_type(life.jobs[0])
    life.run(life.jobs[0], [(1, "3"), (3, "3")])


def beside(life: Life) -> None:
    """Jobs of different streams share a channel. One posts while a row of the other waits, and loses its ledger."""
    life.share_channels()
    one, other = life.jobs
    life.run(one, [(1, "1")])
    life.run(one, [(2, "2")], max_posts_per_run=0)
    for name in ("1", "2"):
        life.run(other, [(1, name), (2, name)])
    life.lose_the_ledger(are_drafts_waiting=True)
    life.run(other, [(3, "3")])
    life.run(one, [(1, "2")])


def overtaken(life: Life) -> None:
    """An update of which no answer came is carried out after a newer one."""
    life.run(life.jobs[0], [Row(1, "1")])
    life.run_whose_update_comes_late(life.jobs[0], [Row(1, "2")], [Row(1, "3")])


STORIES: dict[str, tuple[Callable[[Life], None], Plan]] = {
    "a reject of another job": (rejected_elsewhere, Plan("upsert")),
    "a correction": (corrected, Plan("digest")),
    "a version that is named first": (named_first, Plan("mirror")),
    "rows without a version": (without_versions, Plan("mirror")),
    "rows in batches": (in_batches, Plan("mirror")),
    "a row that came alone": (gone_since, Plan("mirror")),
    "a deletion that is refused": (refused, Plan("mirror")),
    "a move": (moved, Plan("upsert", on_move="delete")),
    "a move of an unwanted row": (moved_and_unwanted, Plan("upsert", on_move="delete", when=True)),
    "a post that is withdrawn": (withdrawn, Plan("append", when=True)),
    "a copy of the ledger": (put_back, Plan("upsert")),
    "a copy with a post that waits": (put_back_with_what_waited, Plan("upsert")),
    "a copy with a post that is withdrawn": (put_back_with_what_is_gone, Plan("upsert")),
    "a post that was found": (compared_with_itself, Plan("upsert", previous=True)),
    "a channel that is closed": (closed_when_the_ledger_is_lost, Plan("append")),
    "a key of another type": (retyped, Plan("upsert")),
    "a key of another type in a digest": (retyped, Plan("digest")),
    "a job beside it": (beside, Plan("upsert")),
    "an update that comes late": (overtaken, Plan("upsert")),
    "an upgrade": (upgraded, Plan("mirror")),
    "an upgrade of a digest": (upgraded, Plan("digest")),
    "an upgrade without a ledger": (upgraded_without_a_ledger, Plan("upsert")),
}
PUT_BACK: list[tuple[str, str, Callable[[], AbstractContextManager[Any]]]] = [
    ("a reject of another job", "a reject is of any channel", _of_any_channel),
    (
        "a correction",
        "a row that has changed is one more",
        lambda: mock.patch.object(Layout, "own_key_of", lambda layout, row: layout._key((), row)),
    ),
    ("a correction", "a digest stays as it is", _frozen),
    ("a version that is named first", "what is gone is judged at the message", _judged_at_the_message),
    (
        "rows without a version",
        "a row without a version is absent",
        lambda: mock.patch("target_harkster.sinks.UNVERSIONED", -7),
    ),
    (
        "rows in batches",
        "a row without a version is absent",
        lambda: mock.patch("target_harkster.sinks.UNVERSIONED", -7),
    ),
    (
        "a row that came alone",
        "a row without a version is of the next table",
        lambda: mock.patch.object(Mirror, "begin_table"),
    ),
    ("a deletion that is refused", "what is refused is forgotten", _refused_for_good),
    (
        "a move",
        "the old post is deleted at once",
        lambda: mock.patch("target_harkster.delivery.moves._replaces", return_value=True),
    ),
    (
        "a move of an unwanted row",
        "what waits is what people see",
        lambda: mock.patch.object(Entry, "is_unseen", property(lambda _: False)),
    ),
    (
        "a post that is withdrawn",
        "what waits is what people see",
        lambda: mock.patch.object(Entry, "is_unseen", property(lambda _: False)),
    ),
    ("a post that is withdrawn", "what was withdrawn is known", _known_for_good),
    (
        "a copy of the ledger",
        "a known post is as it was known",
        lambda: mock.patch("target_harkster.delivery.adoption.is_as_known", return_value=True),
    ),
    ("a copy with a post that waits", "what was to be done is done", _older_goes_on),
    ("a copy with a post that is withdrawn", "what waited waits on", lambda: mock.patch.object(Ledger, "forget")),
    (
        "a post that was found",
        "it is the one before itself",
        lambda: mock.patch("target_harkster.delivery.previous_post.PreviousPosts.found", return_value=None),
    ),
    (
        "a channel that is closed",
        "the row changes the post",
        lambda: mock.patch("target_harkster.delivery.adoption.stays", return_value=False),
    ),
    ("a key of another type", "text and numbers are kept apart", earlier_version),
    ("a key of another type in a digest", "text and numbers are kept apart", earlier_version),
    (
        "a job beside it",
        "all posts are its own",
        lambda: mock.patch("target_harkster.delivery.channels.stream_marker", return_value="hk-"),
    ),
    (
        "an update that comes late",
        "what is published is done",
        lambda: mock.patch.object(Delivery, "overtaken", return_value=[]),
    ),
    ("an upgrade", "old markers are unknown", lambda: mock.patch.object(Ledger, "old_markers", return_value=set())),
    (
        "an upgrade of a digest",
        "old keys of rows are unknown",
        lambda: mock.patch("target_harkster.ledger.digests.spellings", lambda key: [key]),
    ),
    (
        "an upgrade without a ledger",
        "old markers are unknown",
        lambda: mock.patch.object(Ledger, "old_markers", return_value=set()),
    ),
]
"""A story, what is wrong, and what makes it wrong."""


@pytest.mark.parametrize("on_quota", ["draft", "defer"])
@pytest.mark.parametrize("story", STORIES)
def test_a_story(story: str, on_quota: str) -> None:
    happens, plan = STORIES[story]
    life = Life(plan, plan, on_quota=on_quota)
    try:
        happens(life)
    finally:
        life.end()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("step", [(Transport, "send"), (DefaultDialect, "do_commit")], ids=["request", "commit"])
def test_a_move_may_be_cut_off_anywhere(step: tuple[Any, str]) -> None:
    life = Life(Plan("upsert", on_move="delete"))
    job, to = life.jobs[0], 0
    try:
        life.run(job, [Row(1, "1", to)])
        for at in range(14):
            to = 1 - to
            life.run_that_dies(job, [Row(1, "1", to)], step, at, "versions", job)
            life.check()
    finally:
        life.end()


@pytest.mark.parametrize(("story", "fault"), [pytest.param(*one[::2], id=f"{one[0]}-{one[1]}") for one in PUT_BACK])
def test_a_life_finds_what_is_put_back(story: str, fault: Callable[[], AbstractContextManager[Any]]) -> None:
    with fault(), pytest.raises((AssertionError, LedgerError)):
        test_a_story(story, "draft")
