"""Any history of rows, deaths, quotas, lost answers, rejects and lost ledgers: every row is posted once."""

import contextlib
import gc
import shutil
import tempfile
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from api_sandbox import AccountPlan, ChannelPlan, Fault, HarksterScenario, Scenario, WorkspacePlan, serve_in_thread
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from singer_http.http.transport import Transport
from sqlalchemy.engine.default import DefaultDialect
from target_harkster.ledger.rejects import Rejects
from typing_extensions import override

from tests.harkster.running import Message, Target, data, record, schema, state

PLAN = AccountPlan(
    name="Acme Inc.",
    quota=100_000,
    workspaces=(WorkspacePlan(name="Projects", channels=(ChannelPlan(name="First"),)),),
)
MODES = ("append", "upsert", "mirror", "digest")
BAD = 7
"""What is no text to the SCHEMA, so that its row is rejected."""
KEYS = st.integers(1, 5)
WORDS = st.sampled_from(["a", "b", "c", "c", BAD])
ROWS = st.lists(st.tuples(KEYS, WORDS), max_size=4)
LOSSES = st.sampled_from(["before", "after"])
STEPS = st.sampled_from([(Transport, "send"), (DefaultDialect, "do_commit"), (Rejects, "sync")])

DIGEST = {
    "mode": "upsert",
    "group_by": ["parity"],
    "fields": [
        {"id": "id", "type": "counter", "data": "parity"},
        {"id": "name", "type": "text", "data": "{{ rows | sort(attribute='id') | map(attribute='name') | join(',') }}"},
    ],
}
PROPERTIES = {
    "id": {"type": "integer"},
    "name": {"type": ["string", "null"]},
    "parity": {"type": "integer"},
}
PLAIN = {"fields": [{"id": name, "type": kind, "data": name} for name, kind in (("id", "counter"), ("name", "text"))]}


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
        self._model: dict[int, str] = {}
        self._rejected: dict[int, int] = {}
        self._version = 0

    @initialize(on_quota=st.sampled_from(["draft", "defer"]), mode=st.sampled_from(MODES))
    def choose(self, on_quota: str, mode: str) -> None:
        self._mode = mode
        layout = DIGEST if mode == "digest" else {**PLAIN, "mode": mode}
        self._target.config |= {"on_quota": on_quota, "streams": {"hours": layout}, "mirror_max_share": 1}

    def _messages(self, rows: list[tuple[int, Any]]) -> list[Message]:
        """What a tap sends, entered into the model: an incremental one, or the whole table for a mirror."""
        if self._mode == "mirror":
            rows = list(dict(rows).items())  # a table has no key twice
            self._version += 1
            sent = dict(rows)
            # A row that is wrong now keeps the post that it has; of one that is gone nothing is left.
            self._model = {key: name for key, name in self._model.items() if key in sent}
            self._rejected.clear()
        if self._mode == "append":
            # The first version that is right stays, in whatever order they come.
            seen = dict(reversed(rows))
            rows = [(key, name) for key, name in seen.items() if key not in self._model or name != BAD]
        else:
            rows = list(dict(rows).items())
        for key, name in rows:
            if name == BAD:
                self._rejected[key] = name
            else:
                self._rejected.pop(key, None)
                if self._mode != "append" or key not in self._model:
                    self._model[key] = name
        version = self._version if self._mode == "mirror" else None
        messages = [record(version=version, id=key, name=name, parity=key % 2) for key, name in rows]
        if self._mode == "mirror":
            messages.append({"type": "ACTIVATE_VERSION", "stream": "hours", "version": self._version})
        return [schema(PROPERTIES), *messages, state(len(rows))]

    @rule(rows=ROWS)
    def run(self, rows: list[tuple[int, Any]]) -> None:
        """A run that nothing happens to."""
        messages = self._messages(rows)
        assert self._target.ran(messages) == [messages[-1]["value"]]

    @rule(rows=ROWS, most=st.integers(0, 3))
    def run_without_quota(self, rows: list[tuple[int, Any]], most: int) -> None:
        messages = self._messages(rows)
        assert self._target.ran(messages, max_posts_per_run=most) == [messages[-1]["value"]]

    @rule(rows=ROWS, left=st.integers(0, 2))
    def run_into_the_quota(self, rows: list[tuple[int, Any]], left: int) -> None:
        """The vendor's own, which somebody else uses up meanwhile."""
        account = self._sandbox.harkster.account("Acme Inc.")
        used = self._sandbox.harkster.truth().used[account]
        made = self._target.make()
        made.run.api.usage(account)
        made.run.close()
        self._sandbox.harkster.set_quota("Acme Inc.", quota=used + left)
        try:
            messages = self._messages(rows)
            assert self._target.ran(messages) == [messages[-1]["value"]]
        finally:
            self._sandbox.harkster.set_quota("Acme Inc.", quota=100_000)

    @rule(rows=ROWS, when=LOSSES, share=st.sampled_from([0.3, 0.6]))
    def run_with_losses(self, rows: list[tuple[int, Any]], when: Any, share: float) -> None:
        messages = self._messages(rows)
        self._sandbox.faults.replace(Fault(kind="reset", operation="write", when=when, rate=share))
        try:
            self._target.run(messages)
        finally:
            self._sandbox.faults.clear()
        self._target.ran(messages)

    @rule(rows=ROWS, at=st.integers(0, 30), step=STEPS)
    def run_that_dies(self, rows: list[tuple[int, Any]], at: int, step: tuple[Any, str]) -> None:
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
                assert ran.error is not None or ran.states == [messages[-1]["value"]]
        finally:
            setattr(owner, name, original)
            gc.collect()  # who dies closes nothing: what warns of that warns here
        self._target.ran(messages)

    @precondition(lambda self: self._mode != "digest")
    @rule()
    def lose_the_ledger(self) -> None:
        """What waits in the ledger alone would be lost with it, so it is let out before."""
        self._target.ran([schema(PROPERTIES)])
        self._lose()

    @precondition(lambda self: self._mode != "digest" and self._target.config["on_quota"] == "draft")
    @rule()
    def lose_the_ledger_with_drafts_waiting(self) -> None:
        self._lose()

    def _lose(self) -> None:
        for path in (*self._folder.glob("ledger.db*"), *self._folder.glob("rejects.jsonl")):
            path.unlink()
        self._rejected.clear()

    @invariant()
    def nothing_is_posted_twice(self) -> None:
        posts = self._target.posts()
        assert len({data(post)["id"] for post in posts}) == len(posts)
        assert all(post.publications <= 1 for post in posts)

    @invariant()
    def rejects_are_there_once(self) -> None:
        rejects = self._target.rejects()
        assert sorted(each["record"]["id"] for each in rejects) == sorted(self._rejected)

    def _shown(self) -> dict[int, str]:
        if self._mode != "digest":
            return self._model
        groups: dict[int, list[str]] = {}
        for key in sorted(self._model):
            groups.setdefault(key % 2, []).append(self._model[key])
        return {group: ",".join(names) for group, names in groups.items()}

    @override
    def teardown(self) -> None:
        try:
            self._target.ran([schema(PROPERTIES)])
            posts = self._target.posts()
            assert {int(data(post)["id"]): data(post)["name"] for post in posts} == self._shown()
            assert [post.publications for post in posts] == [1] * len(posts)
        finally:
            self._served.__exit__(None, None, None)
            shutil.rmtree(self._folder)


TestPosting = pytest.mark.filterwarnings("ignore::ResourceWarning")(Posting.TestCase)
TestPosting.settings = settings(
    max_examples=8, stateful_step_count=7, deadline=None, suppress_health_check=list(HealthCheck)
)
