"""Any history of rows, deaths, quotas, lost answers and ledgers: every row is posted once, with its newest content."""

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
from api_sandbox import AccountPlan, ChannelPlan, Fault, HarksterScenario, Scenario, WorkspacePlan, serve_in_thread
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from singer_http.transport import Transport
from target_harkster.ledger import Ledger
from typing_extensions import override

from tests.harkster.running import Target, data, record, schema, state

PLAN = AccountPlan(
    name="Acme Inc.",
    quota=100_000,
    workspaces=(WorkspacePlan(name="Projects", channels=(ChannelPlan(name="First"),)),),
)
KEYS = st.integers(1, 5)
WORDS = st.sampled_from(["a", "b", "c"])
ROWS = st.lists(st.tuples(KEYS, WORDS), max_size=4)
LOSSES = st.sampled_from(["before", "after"])


class Died(BaseException):
    """The run ends here, and nothing of it does anything any more."""


class Posting(RuleBasedStateMachine):
    """What the tap has sent is kept as a model; the channel must come to show it."""

    def __init__(self) -> None:
        super().__init__()
        self._served = serve_in_thread(Scenario(harkster=HarksterScenario(accounts=(PLAN,), requests_per_second=None)))
        self._sandbox = self._served.__enter__()
        self._folder = Path(tempfile.mkdtemp(prefix="harkster"))
        self._target = Target.into_new_channel(self._sandbox, self._folder)
        self._target.config["streams"] = {"hours": {"mode": "upsert"}}
        self._model: dict[int, str] = {}

    @initialize(on_quota=st.sampled_from(["draft", "defer"]))
    def choose(self, on_quota: str) -> None:
        self._target.config["on_quota"] = on_quota

    def _messages(self, rows: list[tuple[int, str]]) -> list[Any]:
        self._model |= dict(rows)
        return [schema(), *(record(id=key, name=word) for key, word in rows), state(len(rows))]

    @rule(rows=ROWS)
    def run(self, rows: list[tuple[int, str]]) -> None:
        """A run that nothing happens to."""
        assert self._target.ran(self._messages(rows)) == [len(rows)]

    @rule(rows=ROWS, most=st.integers(0, 3))
    def run_without_quota(self, rows: list[tuple[int, str]], most: int) -> None:
        assert self._target.ran(self._messages(rows), max_posts_per_run=most) == [len(rows)]

    @rule(rows=ROWS, when=LOSSES, share=st.sampled_from([0.3, 0.6]))
    def run_with_losses(self, rows: list[tuple[int, str]], when: Any, share: float) -> None:
        self._sandbox.faults.replace(Fault(kind="reset", operation="write", when=when, rate=share))
        try:
            self._target.run(self._messages(rows))
        finally:
            self._sandbox.faults.clear()
        self._target.ran(self._messages(rows))

    @rule(rows=ROWS, at=st.integers(0, 30), step=st.sampled_from([(Transport, "send"), (Ledger, "commit")]))
    def run_that_dies(self, rows: list[tuple[int, str]], at: int, step: tuple[Any, str]) -> None:
        """A run that ends in the middle; the tap sends its rows again."""
        owner, name = step
        original = getattr(owner, name)
        left = [at]

        def dying(*args: Any, **kwargs: Any) -> Any:
            if left[0] < 0:
                raise Died
            left[0] -= 1
            result = original(*args, **kwargs)
            if left[0] < 0:
                raise Died
            return result

        setattr(owner, name, dying)
        messages = self._messages(rows)
        try:
            with contextlib.suppress(Died):
                ran = self._target.run(messages)
                assert ran.error is not None or ran.states == [len(rows)]
        finally:
            setattr(owner, name, original)
        self._target.ran(messages)

    @rule()
    def lose_the_ledger(self) -> None:
        """What waits in the ledger alone would be lost with it, so it is let out before."""
        self._target.ran([schema()])
        for path in self._folder.glob("ledger.db*"):
            path.unlink()

    @rule()
    def lose_the_ledger_with_drafts_waiting(self) -> None:
        if self._target.config["on_quota"] == "draft":
            for path in self._folder.glob("ledger.db*"):
                path.unlink()

    @invariant()
    def nothing_is_posted_twice(self) -> None:
        posts = self._target.posts()
        assert len({data(post)["id"] for post in posts}) == len(posts)
        assert all(post.publications <= 1 for post in posts)

    @override
    def teardown(self) -> None:
        try:
            self._target.ran([schema()])
            posts = self._target.posts()
            assert {int(data(post)["id"]): data(post)["name"] for post in posts} == self._model
            assert [post.publications for post in posts] == [1] * len(self._model)
        finally:
            self._served.__exit__(None, None, None)
            shutil.rmtree(self._folder)


TestPosting = Posting.TestCase
TestPosting.settings = settings(
    max_examples=15, stateful_step_count=8, deadline=None, suppress_health_check=list(HealthCheck)
)
