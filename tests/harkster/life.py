"""Jobs that share a folder, an account and a ledger, each with a channel of its own, and what they must have posted.

Each job's model is what the rows say that were sent to it. What may differ from that, by the documentation:

- A row that makes no post under the layout of its run leaves the post that it has, and is tried by later runs.
- In mode append the first version of a row that makes a post stays.
- What cannot be published yet waits: it is there after a run with enough quota and nothing wrong.
- A ledger that is lost takes along what is only there: rejects, and with ``on_quota: defer`` what waits. A copy that is
  put back knows the rejects of its time; so the rows come again after it.
"""

from __future__ import annotations

import contextlib
import gc
import gzip
import json
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa
from api_sandbox import AccountPlan, ChannelPlan, Fault, HarksterScenario, Scenario, WorkspacePlan, serve_in_thread
from singer_http.http.errors import IncompleteError
from target_harkster.ledger.model import METADATA

from tests.harkster.running import Message, Target, data, record, schema, state

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

Mode = Literal["append", "upsert", "mirror", "digest"]
Sending = Literal["versions", "no versions", "batch", "zipped batch with a version"]
Layout = Literal["text", "number"]
Row = tuple[int, str]

QUOTA = 100_000
PLAN = AccountPlan(
    name="Acme Inc.",
    quota=QUOTA,
    workspaces=(WorkspacePlan(name="Projects", channels=(ChannelPlan(name="First"),)),),
)
PROPERTIES = {"id": {"type": "integer"}, "name": {"type": ["string", "null"]}, "parity": {"type": "integer"}}
NAMES = "{{ rows | sort(attribute='id') | map(attribute='name') | join(',') }}"


class DiedError(BaseException):
    """The run ends here, and nothing of it does anything any more."""


@dataclass
class Job:
    """A job, and what it must have posted.

    Attributes:
        target: Runs it.
        mode: Of its stream, which is called as those of all other jobs.
        layout: The type of its field; text that is no number makes no post as a number.
        shown: By key, what its posts, or the rows of its digests, say.
        rejected: By key, the newest versions that made no post.
        version: Of its table.
        news: By key of a post, how often its followers may be told: a row that was gone and came back is news again.
    """

    target: Target
    mode: Mode
    layout: Layout = "text"
    shown: dict[int, str] = field(default_factory=dict)
    rejected: dict[int, str] = field(default_factory=dict)
    version: int = 0
    news: Counter[int] = field(default_factory=Counter)

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of its stream."""
        if self.mode == "digest":
            fields = [
                {"id": "id", "type": "counter", "data": "parity"},
                {"id": "name", "type": "text", "data": NAMES},
            ]
            return {"group_by": ["parity"], "fields": fields}
        fields = [
            {"id": "id", "type": "counter", "data": "id"},
            {"id": "name", "type": self.layout, "data": "name"},
        ]
        return {"mode": self.mode, "fields": fields}

    def takes(self, name: str) -> bool:
        """Whether a row makes a post."""
        return self.mode == "digest" or self.layout == "text" or name.isdigit()

    def sends(self, rows: Sequence[Row]) -> None:
        """Note what a run that ends well makes of rows, and of those that were rejected before."""
        if self.mode == "mirror":
            there = dict(rows)
            for known in (self.shown, self.rejected):
                for key in known.keys() - there.keys():
                    del known[key]
        came = set()
        for key, name in rows:
            came.add(key)
            if self.mode == "append" and key in self.shown:
                continue
            self.rejected.pop(key, None)
            if self.takes(name):
                self._show(key, name)
            else:
                self.rejected[key] = name
        self.tries_again(came)

    def tries_again(self, came: Collection[int] = ()) -> None:
        """Note what a run makes of what was rejected before, but for rows that came again."""
        for key, name in list(self.rejected.items()):
            if key not in came and self.takes(name):
                del self.rejected[key]
                if self.mode != "append" or key not in self.shown:
                    self._show(key, name)

    def _show(self, key: int, name: str) -> None:
        if self.mode != "digest":
            self.news[key] += key not in self.shown
        else:
            self.news[key % 2] = 1
        self.shown[key] = name

    @property
    def rows(self) -> list[Row]:
        """The rows that it was sent, in their newest versions."""
        return [*((key, name) for key, name in self.shown.items() if key not in self.rejected), *self.rejected.items()]

    @property
    def expected(self) -> dict[int, str]:
        """What its channel must show."""
        if self.mode != "digest":
            return self.shown
        groups: dict[int, list[str]] = {}
        for key in sorted(self.shown):
            groups.setdefault(key % 2, []).append(self.shown[key])
        return {group: ",".join(names) for group, names in groups.items()}


class Life:
    """What happens to some jobs.

    Args:
        modes: One job for each.
        on_quota: Of all jobs.
        ledger_url: A PostgreSQL; an SQLite file without.
    """

    def __init__(self, *modes: Mode, on_quota: str = "draft", ledger_url: str | None = None) -> None:
        scenario = Scenario(harkster=HarksterScenario(accounts=(PLAN,), requests_per_second=None))
        self._ends = contextlib.ExitStack()
        self.sandbox = self._ends.enter_context(serve_in_thread(scenario))
        self.folder = Path(self._ends.enter_context(tempfile.TemporaryDirectory(prefix="harkster")))
        self._ledger_url = ledger_url
        if ledger_url is not None:
            _empty(ledger_url)
        settings = {"on_quota": on_quota, "mirror_max_share": 1}
        self.jobs = [Job(Target.into_new_channel(self.sandbox, self.folder), mode) for mode in modes]
        for job in self.jobs:
            job.target.config |= settings if ledger_url is None else settings | {"ledger_url": ledger_url}
        self._copy: Path | None = None
        self._batches = 0
        self._value = 0

    # Runs

    def run(
        self,
        job: Job,
        rows: Sequence[Row] = (),
        sending: Sending = "versions",
        *,
        is_named_first: bool = False,
        **settings: Any,
    ) -> None:
        """A run that nothing happens to but what its settings do."""
        self._ran(job, self._messages(job, rows, sending, is_named_first=is_named_first), **settings)

    def run_into_the_quota(self, job: Job, rows: Sequence[Row], left: int) -> None:
        """A run that the vendor's own quota ends the publications of."""
        used = self.sandbox.harkster.truth().used[self.sandbox.harkster.account(PLAN.name)]
        self.sandbox.harkster.set_quota(PLAN.name, quota=used + left)
        try:
            self.run(job, rows)
        finally:
            self.sandbox.harkster.set_quota(PLAN.name, quota=QUOTA)

    def run_in_trouble(self, job: Job, rows: Sequence[Row], faults: Sequence[Fault], sending: Sending) -> None:
        """A run whose requests fail; the tap sends its rows again after it."""
        messages = self._messages(job, rows, sending)
        self.sandbox.faults.replace(*faults)
        try:
            self._run(job, messages)
        finally:
            self.sandbox.faults.clear()
        self._ran(job, messages)

    def run_forbidden(self, job: Job, rows: Sequence[Row]) -> None:
        """A run that may not post to its channel; the next one may."""
        messages = self._messages(job, rows, "versions")
        self.sandbox.faults.replace(Fault(kind="status", status=403, path=f"/{job.target.channel}/posts"))
        try:
            error = self._run(job, messages)
        finally:
            self.sandbox.faults.clear()
        assert error is None or isinstance(error, IncompleteError), error
        self._ran(job, messages)

    def run_that_dies(  # noqa: PLR0917 - all that is chosen
        self, job: Job, rows: Sequence[Row], step: tuple[Any, str], at: int, sending: Sending, other: Job
    ) -> None:
        """A run that ends in the middle. Another job runs; then the tap sends its rows again."""
        messages = self._messages(job, rows, sending)
        with contextlib.suppress(DiedError), _dying(step, at):
            self._run(job, messages)
        gc.collect()  # who dies closes nothing: what warns of that warns here
        if other is not job:
            self.run(other, other.rows if other.mode == "mirror" else ())
        self._ran(job, messages)

    def _messages(
        self, job: Job, rows: Sequence[Row], sending: Sending, *, is_named_first: bool = False
    ) -> list[Message]:
        """What a tap sends, entered into the model: the whole table for a mirror, and news for the others."""
        if job.mode == "mirror":
            rows = list(dict(rows).items())  # a table has no key twice
        job.sends(rows)
        job.version += 1
        version = None if sending in {"no versions", "batch"} or job.mode != "mirror" else job.version
        records: list[dict[str, Any]] = [{"id": key, "name": name, "parity": key % 2} for key, name in rows]
        if "batch" in sending:
            sent = [self._batch(records, version, is_zipped="zipped" in sending)]
        else:
            sent = [record(version=version, **values) for values in records]
        named: list[Message] = [{"type": "ACTIVATE_VERSION", "stream": "hours", "version": job.version}]
        if job.mode == "mirror":
            sent = [*named, *sent] if is_named_first else [*sent, *named]
        self._value += 1
        return [schema(PROPERTIES), *sent, state(self._value)]

    def _batch(self, records: Sequence[Mapping[str, Any]], version: int | None, *, is_zipped: bool) -> Message:
        lines = b"".join(json.dumps(one).encode() + b"\n" for one in records)
        self._batches += 1
        path = self.folder / f"batch-{self._batches}"
        path.write_bytes(gzip.compress(lines) if is_zipped else lines)
        encoding = {"format": "jsonl", "compression": "gzip" if is_zipped else None}
        message = {"type": "BATCH", "stream": "hours", "encoding": encoding, "manifest": [path.as_uri()]}
        return message if version is None else {**message, "version": version}

    def _ran(self, job: Job, messages: Sequence[Message], **settings: Any) -> None:
        error = self._run(job, messages, **settings)
        if error is not None:
            raise error

    def _run(self, job: Job, messages: Sequence[Message], **settings: Any) -> BaseException | None:
        ran = job.target.run(messages, streams={"hours": job.settings}, **settings)
        if ran.error is None:
            assert ran.states == [message["value"] for message in messages if message["type"] == "STATE"]
        return ran.error

    # The ledger

    def let_out(self) -> None:
        """Let everything be posted that waits."""
        for job in self.jobs:
            self._ran(job, [schema(PROPERTIES)])
            job.tries_again()

    def lose_the_ledger(self, *, are_drafts_waiting: bool = False) -> None:
        """Lose it, and with it the rejects; drafts that wait are in their channels."""
        if not are_drafts_waiting or self.jobs[0].target.config["on_quota"] != "draft":
            self.let_out()
        if self._ledger_url is None:
            for path in self.folder.glob("ledger.db*"):
                path.unlink()
        else:
            _empty(self._ledger_url)
        for job in self.jobs:
            job.rejected.clear()

    def copy_the_ledger(self) -> None:
        """Keep a copy of it."""
        self.let_out()
        folder = self.folder / "copy"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for path in self.folder.glob("ledger.db*"):
            shutil.copy(path, folder)
        self._copy = folder

    def put_the_copy_back(self) -> None:
        """Put an older copy of it back. Runs that notice are helped by ``harkster adopt``; then all rows come again."""
        if self._copy is None:
            return
        self.let_out()
        for path in self.folder.glob("ledger.db*"):
            path.unlink()
        for path in self._copy.iterdir():
            shutil.copy(path, self.folder)
        for job in self.jobs:
            with contextlib.closing(job.target.make().run) as run:
                channel = run.channels.find(job.target.channel, "channel")
                run.ledger.hold(channel.id)
                run.channels.adopt(channel)
            self.run(job, job.rows)

    # What must hold

    def check(self) -> None:
        """Nothing was told twice, and no row has two posts."""
        for job in self.jobs:
            posts = job.target.posts()
            assert len({data(post)["id"] for post in posts}) == len(posts)
            told: Counter[int] = Counter()
            for post in self.sandbox.harkster.posts(job.target.channel):
                told[int(data(post)["id"])] += post.publications
            assert told <= job.news

    def end(self) -> None:
        """Let the last runs come to their end, and look at the channels."""
        try:
            self.let_out()
            self.check()
            for job in self.jobs:
                posts = job.target.posts()
                assert {int(data(post)["id"]): data(post)["name"] for post in posts} == job.expected
                assert [post.publications for post in posts] == [1] * len(posts)
            told: dict[str, dict[int, str]] = {job.target.channel: {} for job in self.jobs}
            for reject in self.jobs[0].target.rejects():
                told[reject["channel"]][reject["record"]["id"]] = reject["record"]["name"]
            assert told == {job.target.channel: job.rejected for job in self.jobs}
        finally:
            self.close()

    def close(self) -> None:
        """Let go of everything."""
        self._ends.close()


@contextlib.contextmanager
def _dying(step: tuple[Any, str], at: int) -> Iterator[None]:
    owner, name = step
    original = getattr(owner, name)
    left = [at]

    def dying(*args: Any, **kwargs: Any) -> Any:
        if left[0] < 0:
            raise DiedError
        left[0] -= 1
        result = original(*args, **kwargs)
        if left[0] < 0:
            raise DiedError
        return result

    setattr(owner, name, dying)
    try:
        yield
    finally:
        setattr(owner, name, original)


def _empty(ledger_url: str) -> None:
    engine = sa.create_engine(sa.make_url(ledger_url).set(drivername="postgresql+psycopg"))
    METADATA.drop_all(engine)
    engine.dispose()
