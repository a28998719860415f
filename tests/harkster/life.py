"""Jobs that share a folder, an account and a ledger, and all that may happen to them.

A ledger that is lost takes along what is only there: rejects, what was recorded of a first run, and with ``on_quota:
defer`` what waits. A copy that is put back knows the rejects of its time; so the rows come again after it.
"""

from __future__ import annotations

import contextlib
import copy
import gc
import gzip
import json
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from unittest import mock

import sqlalchemy as sa
from api_sandbox import AccountPlan, ChannelPlan, Fault, HarksterScenario, Scenario, WorkspacePlan, serve_in_thread
from singer_http.http.errors import IncompleteError
from singer_http.http.transport import Transport
from target_harkster.ledger.model import LEASES, METADATA
from target_harkster.vendor.client import HarksterApi, UncertainError

from tests.harkster.jobs import Job, Plan, Row
from tests.harkster.killed_runs import Run
from tests.harkster.running import Message, Target, data, earlier_version, record, state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tests.harkster.jobs import Fate, Place, Post
    from tests.harkster.killed_runs import Runs

Sending = Literal["versions", "no versions", "batch", "zipped batch with a version", "changes"]
Release = Literal["before", "within", "after"]
"""When a request that was held when its sender was killed is carried out: see what the next run does."""

QUOTA = 100_000
ACCOUNT = AccountPlan(
    name="Acme Inc.",
    quota=QUOTA,
    workspaces=(WorkspacePlan(name="Projects", channels=(ChannelPlan(name="First"),)),),
)


class DiedError(BaseException):
    """The run ends here, and nothing of it does anything any more."""


def _has_version(sending: Sending) -> bool:
    return sending in {"versions", "zipped batch with a version"}


class Life:
    """What happens to some jobs.

    Args:
        plans: One job for each.
        on_quota: Of all jobs.
        ledger_url: A PostgreSQL; an SQLite file without.
        runs: Runs that are killed for real, where there are any.
    """

    def __init__(
        self, *plans: Plan, on_quota: str = "draft", ledger_url: str | None = None, runs: Runs | None = None
    ) -> None:
        scenario = Scenario(harkster=HarksterScenario(accounts=(ACCOUNT,), requests_per_second=None))
        self._ends = contextlib.ExitStack()
        self.sandbox = self._ends.enter_context(serve_in_thread(scenario))
        self.folder = Path(self._ends.enter_context(tempfile.TemporaryDirectory(prefix="harkster")))
        self._ledger_url = ledger_url
        self._runs = runs
        if ledger_url is not None:
            _empty(ledger_url)
        self.jobs = [
            Job([Target.into_new_channel(self.sandbox, self.folder) for _ in range(2 if plan.on_move else 1)], plan)
            for plan in plans
        ]
        for job in self.jobs:
            job.target.config |= {
                "on_quota": on_quota,
                "mirror_max_share": 1,
                "first_run": job.plan.first_run,
                "on_move": job.plan.on_move or "delete",
                **({} if ledger_url is None else {"ledger_url": ledger_url}),
            }
        self._copy: (
            tuple[Path, list[tuple[dict[Place, Post], dict[Place, tuple[str, Fate]], dict[int, Row]]]] | None
        ) = None
        self._batches = 0
        self._value = 0
        self._earlier: contextlib.ExitStack | None = None

    def share_channels(self) -> None:
        """Begin with jobs of different streams in the same channels; in SQLite each has a ledger of its own."""
        first, other = self.jobs
        other.stream = "teams"
        if self._ledger_url is None:
            other.target.config["ledger_url"] = f"sqlite:///{self.folder}/teams-ledger.db"
        for own, shared in zip(other.targets, first.targets, strict=False):
            own.channel = own.config["channel"] = shared.channel

    # Versions of the plugins

    @property
    def is_earlier(self) -> bool:
        """Whether the target is of an earlier version."""
        return self._earlier is not None

    def begin_with_an_earlier_version(self) -> None:
        """Begin with an earlier version of the target."""
        self._earlier = self._ends.enter_context(contextlib.ExitStack())
        self._earlier.enter_context(earlier_version())

    def upgrade(self) -> None:
        """Go on with this version of the target."""
        if self._earlier is not None:
            self._earlier.close()
            self._earlier = None

    def change_the_key_type(self, job: Job) -> None:
        """The tap sends keys as another type, from its next run on."""
        job.key_types.append("integer" if job.key_types[-1] == "string" else "string")

    # Runs

    def run(
        self,
        job: Job,
        rows: Sequence[Sequence[Any]] = (),
        sending: Sending = "versions",
        *,
        is_named_first: bool = False,
        **settings: Any,
    ) -> None:
        """A run that nothing happens to but what its settings do."""
        job.is_shaken |= bool(settings)
        with self._sent(job, rows, sending, is_named_first=is_named_first) as messages:
            self._ran(job, messages, **settings)

    def run_into_the_quota(self, job: Job, rows: Sequence[Row], left: int) -> None:
        """A run that the vendor's own quota ends the publications of."""
        used = self.sandbox.harkster.truth().used[self.sandbox.harkster.account(ACCOUNT.name)]
        self.sandbox.harkster.set_quota(ACCOUNT.name, quota=used + left)
        job.is_shaken = True
        try:
            self.run(job, rows)
        finally:
            self.sandbox.harkster.set_quota(ACCOUNT.name, quota=QUOTA)

    def run_in_trouble(self, job: Job, rows: Sequence[Row], faults: Sequence[Fault], sending: Sending) -> None:
        """A run whose requests fail; the tap sends its rows again after it."""
        job.is_shaken = True
        with self._sent(job, rows, sending) as messages:
            self.sandbox.faults.replace(*faults)
            try:
                self._run(job, messages)
            finally:
                self.sandbox.faults.clear()
            self._ran(job, messages)

    def run_forbidden(self, job: Job, rows: Sequence[Row]) -> None:
        """A run that may not post to its channel; the next one may."""
        if job.is_first and job.plan.first_run == "baseline":
            return  # what is recorded of a channel that was never looked at is not what is there
        job.is_shaken = True
        with self._sent(job, rows) as messages:
            paths = (f"/{job.target.channel}/posts", *(f"/posts/{post.id}" for post in job.target.posts()))
            self.sandbox.faults.replace(*(Fault(kind="status", status=403, path=path) for path in paths))
            try:
                error = self._run(job, messages)
            finally:
                self.sandbox.faults.clear()
            assert error is None or isinstance(error, IncompleteError), error
            self._ran(job, messages)

    def run_that_may_not_delete(self, job: Job, rows: Sequence[Row], sending: Sending) -> None:
        """A run whose limits allow no deletion. The next one may delete, and its tap is silent."""
        with self._sent(job, rows, sending) as messages:
            error = self._run(job, messages, mirror_max_deletes=0)
            assert error is None or isinstance(error, IncompleteError), error
            job.is_first = False
            self._ran(job, [job.schema])

    def run_that_dies(  # noqa: PLR0917 - all that is chosen
        self, job: Job, rows: Sequence[Row], step: tuple[Any, str], at: int, sending: Sending, other: Job
    ) -> None:
        """A run that ends in the middle. Another job runs; then the tap sends its rows again."""
        job.is_shaken = True
        with self._sent(job, rows, sending) as messages:
            with contextlib.suppress(DiedError), _dies_at(step, at):
                self._run(job, messages)
            gc.collect()  # who dies closes nothing: what warns of that warns here
            self._end_leases()
            if other is not job:
                self.run(other, other.rows if other.plan.mode == "mirror" else ())
            self._ran(job, messages)

    def run_that_is_killed(  # noqa: PLR0917 - all that is chosen
        self, job: Job, rows: Sequence[Row], write: int, sending: Sending, release: Release, late: int
    ) -> None:
        """A run that is killed while a write of it is held, which is carried out when nobody waits for it any more."""
        assert self._runs is not None
        job.is_shaken = True
        with self._sent(job, rows, sending) as messages:
            self.sandbox.faults.replace(Fault(kind="hold", operation="write", nth=(write,)))
            run = Run(
                config={**job.target.config, "streams": {job.stream: job.settings}},
                lines="".join(json.dumps(message) + "\n" for message in messages),
                states=str(self.folder / "states"),
                batch=500,
            )
            self._runs.run(run, until=self._is_held)
            self._end_leases()
            if release == "before":
                self.sandbox.faults.clear()
            with _before_request(late, self.sandbox.faults.clear) if release == "within" else contextlib.nullcontext():
                self._ran(job, messages)
            self.sandbox.faults.clear()
            self._ran(job, [job.schema])

    def run_whose_update_comes_late(self, job: Job, rows: Sequence[Row], newer: Sequence[Row]) -> None:
        """A run whose first update is given up, and is carried out when a run with newer rows is over."""
        update, sent = HarksterApi.update, list[Any]()

        def lost(*request: Any) -> bool:
            sent.append(request[1:])
            if len(sent) == 1:
                raise UncertainError("no answer")
            return update(*request)

        with mock.patch.object(HarksterApi, "update", lost):
            self.run(job, rows)
        self.run(job, newer)
        with contextlib.closing(job.target.make().run) as run:
            update(run.api, *sent[0])

    def _is_held(self) -> bool:
        return self.sandbox.run(lambda sandbox: sandbox.faults.gate)._held > 0

    @contextlib.contextmanager
    def _sent(
        self, job: Job, rows: Sequence[Sequence[Any]], sending: Sending = "versions", *, is_named_first: bool = False
    ) -> Iterator[list[Message]]:
        """What a tap sends, entered into the model: the whole table for a mirror, and news for the others."""
        sent = [row if job.plan.on_move else row._replace(to=0) for row in (Row(*one) for one in rows)]
        if not job.plan.is_plain or any(row.is_gone for row in sent):
            sent = list({row.key: row for row in sent}.values())
        gone = {row.key for row in sent if row.is_gone}
        seen = self._published(job)
        unwanted = {row.key for row in sent if job.withdraws(row)} - {key for _, key in seen}
        job.sends(sent, is_table=sending != "changes", has_version=_has_version(sending))
        yield self._messages(job, sent, sending, is_named_first=is_named_first)
        if job.plan.mode in {"append", "upsert"}:
            now = self._published(job)
            for place in [place for place in job.posts if place[1] in gone | unwanted]:
                if job.posts[place].state == "published" and place not in now:
                    assert place not in seen, "what people have seen was deleted"
                    del job.posts[place]  # it waited, and was withdrawn
                    job.rejected.pop(place, None)
        elif job.plan.mode == "digest":
            now = self._published(job)
            for place, post in [*job.posts.items()]:
                if post.state == "published" and not post.text and place not in now:
                    assert place not in seen, "what people have seen was deleted"
                    del job.posts[place]  # it waited, and was withdrawn with its last row

    def _published(self, job: Job) -> set[Place]:
        return {
            (at, int(data(post)["id"]))
            for at, target in enumerate(job.targets)
            for post in job.posts_in(target)
            if post.status == "published"
        }

    def _messages(self, job: Job, rows: Sequence[Row], sending: Sending, *, is_named_first: bool) -> list[Message]:
        job.version += 1
        is_mirror = job.plan.mode == "mirror"
        version = job.version if _has_version(sending) and is_mirror else None
        records = [job.record(row) for row in rows]
        if "batch" in sending:
            sent = [self._batch(job, records, version, is_zipped="zipped" in sending)]
        else:
            sent = [record(job.stream, version=version, **values) for values in records]
        named: list[Message] = [{"type": "ACTIVATE_VERSION", "stream": job.stream, "version": job.version}]
        if is_mirror and sending != "changes":
            sent = [*named, *sent] if is_named_first else [*sent, *named]
        self._value += 1
        return [job.schema, *sent, state(self._value)]

    def _batch(
        self, job: Job, records: Sequence[Mapping[str, Any]], version: int | None, *, is_zipped: bool
    ) -> Message:
        lines = b"".join(json.dumps(one).encode() + b"\n" for one in records)
        self._batches += 1
        path = self.folder / f"batch-{self._batches}"
        path.write_bytes(gzip.compress(lines) if is_zipped else lines)
        encoding = {"format": "jsonl", "compression": "gzip" if is_zipped else None}
        message = {"type": "BATCH", "stream": job.stream, "encoding": encoding, "manifest": [path.as_uri()]}
        return message if version is None else {**message, "version": version}

    def _ran(self, job: Job, messages: Sequence[Message], **settings: Any) -> None:
        error = self._run(job, messages, **settings)
        if error is not None:
            raise error
        # Without a row that is covered by a STATE it was no first run.
        job.is_first &= not any(message["type"] == "STATE" for message in messages)

    def _run(self, job: Job, messages: Sequence[Message], **settings: Any) -> BaseException | None:
        try:
            ran = job.target.run(messages, streams={job.stream: job.settings}, **settings)
        finally:
            self._check_that_nothing_vanishes(job)
        if ran.error is None:
            assert ran.states == [message["value"] for message in messages if message["type"] == "STATE"]
        return ran.error

    # The ledger

    def let_out(self) -> None:
        """Let everything be posted that waits."""
        for job in self.jobs:
            self._ran(job, [job.schema])
            job.tries_again()

    def lose_the_ledger(self, *, are_drafts_waiting: bool = False) -> None:
        """Lose it, and with it the rejects; drafts that wait are in their channels."""
        if not are_drafts_waiting or self.jobs[0].target.config["on_quota"] != "draft":
            self.let_out()
        if self._ledger_url is None:
            for path in self.folder.glob("*ledger.db*"):
                path.unlink()
        else:
            _empty(self._ledger_url)
        for job in self.jobs:
            job.rejected.clear()
            job.is_first = True
            job.posts = {place: post for place, post in job.posts.items() if post.state != "baseline"}

    def copy_the_ledger(self) -> None:
        """Keep a copy of it, with what waits in it."""
        folder = self.folder / "copy"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for path in self.folder.glob("*ledger.db*"):
            shutil.copy(path, folder)
        self._copy = folder, [copy.deepcopy((job.posts, job.rejected, job.table)) for job in self.jobs]

    def put_the_copy_back(self, *, are_rows_as_then: bool = False) -> None:
        """Put an older copy of it back. Runs that notice are helped by ``harkster adopt``; then all rows come again.

        Args:
            are_rows_as_then: The rows that the copy knows have become again what they were.
        """
        if self._copy is None:
            return
        self.let_out()
        folder, known = self._copy
        for path in self.folder.glob("*ledger.db*"):
            path.unlink()
        for path in folder.iterdir():
            shutil.copy(path, self.folder)
        for job, (posts, rejected, table) in zip(self.jobs, known, strict=True):
            with contextlib.closing(job.target.make().run) as run:
                channel = run.channels.find(job.target.channel, "channel")
                run.ledger.lock(channel.id)
                run.adoption.adopt(channel)
            # Of what was rejected then nothing is tried whose post has changed since.
            is_as_then = {at: at not in job.posts or job.posts[at] == posts.get(at) for at in rejected}
            job.rejected = {at: told for at, told in rejected.items() if is_as_then[at]}
            rows = [*({**job.table, **(table if are_rows_as_then else {})}).values()]
            self.run(job)
            self._check_what_is_shown(job)  # no row came
            self.run(job, rows)

    # What must hold

    def check(self) -> None:
        """Nothing was told twice, and no row has two posts."""
        for job in self.jobs:
            for at, target in enumerate(job.targets):
                posts = job.posts_in(target)
                assert len({data(post)["id"] for post in posts}) == len(posts)
                told: Counter[Place] = Counter()
                for post in self.sandbox.harkster.posts(target.channel):
                    if post.name == job.stream:
                        told[at, int(data(post)["id"])] += post.publications
                assert told <= job.news

    def _check_that_nothing_vanishes(self, job: Job) -> None:
        """What followers have seen they see, in one channel or another, as long as its row is there."""
        seen = {key for _, key in self._published(job)}
        if job.plan.on_move != "keep":
            assert job.seen & {key for _, key in job.posts} <= seen
        job.seen = seen

    def end(self) -> None:
        """Let the last runs come to their end, and look at the channels."""
        try:
            self.let_out()
            self.check()
            for job in self.jobs:
                self._check_what_is_shown(job)
            told = {
                (reject["channel"], reject["stream"], int(reject["record"]["id"])): reject["record"]["name"]
                for reject in self.jobs[0].target.rejects()
            }
            assert told == {
                (job.targets[at].channel, job.stream, key): name
                for job in self.jobs
                for (at, key), (name, _) in job.rejected.items()
            }
        finally:
            self.close()

    def _check_what_is_shown(self, job: Job) -> None:
        for at, target in enumerate(job.targets):
            posts = {int(data(post)["id"]): post for post in job.posts_in(target)}
            assert {key: (data(post)["name"], post.status) for key, post in posts.items()} == job.expected(at)
            assert all(post.publications == (post.status == "published") for post in posts.values())
            for key, post in posts.items() if job.plan.previous else ():
                self._check_what_was_before(job, (at, key), data(post)["before"])

    def _check_what_was_before(self, job: Job, place: Place, before: str | None) -> None:
        if job.plan.mode == "digest":
            # It is the post of the other group that goes before, if it is there.
            assert before is None or before in job.said.get(1 - place[1], ())
        elif job.is_shaken:
            assert before is None or before in job.said[place[1]]
        else:
            assert before == job.posts[place].before

    def close(self) -> None:
        """Let go of everything."""
        self._ends.close()

    def _end_leases(self) -> None:
        """Let the time go by for which a run that was killed holds its channels."""
        if self._ledger_url is not None:
            with _engine(self._ledger_url).begin() as connection:
                connection.execute(LEASES.update().values(until=0.0))


@contextlib.contextmanager
def _before_request(ordinal: int, happens: Callable[[], None]) -> Iterator[None]:
    """Let something happen before one of the requests."""
    send = Transport.send
    left = [ordinal]

    def sending(*args: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            happens()
        return send(*args)

    with mock.patch.object(Transport, "send", sending):
        yield


@contextlib.contextmanager
def _dies_at(step: tuple[Any, str], at: int) -> Iterator[None]:
    owner, name = step
    original = getattr(owner, name)
    left = [at]

    def dies(*args: Any, **kwargs: Any) -> Any:
        if left[0] < 0:
            raise DiedError
        left[0] -= 1
        result = original(*args, **kwargs)
        if left[0] < 0:
            raise DiedError
        return result

    with mock.patch.object(owner, name, dies):
        yield


def _engine(ledger_url: str) -> sa.Engine:
    return sa.create_engine(sa.make_url(ledger_url).set(drivername="postgresql+psycopg"), poolclass=sa.NullPool)


def _empty(ledger_url: str) -> None:
    METADATA.drop_all(_engine(ledger_url))
