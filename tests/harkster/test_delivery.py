"""What would make a target post twice, lose a row, or mix up their order: each case by itself."""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import requests
from api_sandbox import AccountPlan, ChannelPlan, Fault, RunningSandbox, WorkspacePlan
from target_harkster.ledger.database import LedgerError
from target_harkster.ledger.phases import Phase
from target_harkster.ledger.store import Entry, Ledger
from target_harkster.target import TargetHarkster
from target_harkster.vendor.client import Channel, HarksterApi, UncertainError
from target_harkster.vendor.posts import marker_of, stream_marker
from typing_extensions import override

from tests.harkster.killed_runs import FastClock
from tests.harkster.running import Command, Message, Target, as_input, data, pairwise, record, schema, state

UPSERT: dict[str, Any] = {"streams": {"hours": {"mode": "upsert"}}}
NAMES = [{"id": "name", "type": "text", "data": "{{ rows | map(attribute='name') | join }}"}]


def own(serve: Any, tmp_path: Path, quota: int = 100, **details: Any) -> Target:
    room = WorkspacePlan(name="Projects", channels=(ChannelPlan(name="First"),))
    plan = AccountPlan(name="Acme Inc.", quota=quota, workspaces=(room,))
    return Target.into_new_channel(serve(accounts=(plan,), **details), tmp_path)


def row(key: Any, name: str = "x", **more: Any) -> Message:
    return record(id=key, name=name, **more)


def stray(target: Target, key: str, *, draft: bool = True) -> str:
    """A post with the marker of a row, from a request that nobody got an answer to."""
    marker = marker_of(stream_marker("hours"), key)
    dataset = [{"type": "text", "id": "name", "data": "stray"}, {"type": "divider", "id": marker}]
    api = target.sandbox.harkster
    answer = requests.post(
        f"{api.api_url}/channels/{target.channel}/posts",
        json={"data": {"type": "fields", "dataset": dataset}, "isDraft": draft, "name": "hours"},
        headers={"Authorization": f"Bearer {api.access_token}"},
        timeout=60,
    )
    return str(answer.json()["id"])


def ledger(target: Target) -> Ledger:
    return Ledger(target.config["ledger_url"], FastClock())


def phases(target: Target) -> list[str]:
    opened = ledger(target)
    try:
        return [entry.phase.value for entry in opened.entries()]
    finally:
        opened.close()


# Drafts that are not known everywhere yet


@pytest.mark.parametrize("unknown", [1, 3])
@pytest.mark.parametrize("kind", ["status", "reset"])
def test_a_draft_that_is_not_known_everywhere_yet_is_published_once(target: Target, unknown: int, kind: Any) -> None:
    """A part of the API lags behind, and does not know the draft that was just created."""
    publish, lag = (
        HarksterApi.publish,
        [
            Fault(kind=kind, operation="publish", status=404, when="after" if kind == "reset" else "before", times=1),
            Fault(kind="status", operation="read", status=404, times=unknown),
        ],
    )

    def publishing(api: HarksterApi, channel: Channel, post_id: str) -> bool:
        target.sandbox.faults.add(*lag)
        lag.clear()
        return publish(api, channel, post_id)

    with mock.patch.object(HarksterApi, "publish", publishing):
        assert target.ran([schema(), row(1), row(2), state(1)]) == [1]
    shown = [(data(post)["id"], post.publications) for post in target.posts() if post.status == "published"]
    assert sorted(shown) == [("1", 1), ("2", 1)]
    assert phases(target) == ["published", "published"]


def test_a_post_that_the_api_does_not_know_counts_as_deleted_by_people(target: Target) -> None:
    target.ran([schema(), row(1), state(1)], **UPSERT, max_posts_per_run=0)
    target.delete(target.posts()[0])
    target.ran([schema(), row(1, "changed"), state(2)], **UPSERT)
    assert (target.posts(), phases(target)) == ([], ["removed"])


# Drafts that turn up


@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_a_draft_that_turns_up_later_is_not_taken_for_the_one_that_waits(
    serve: Any, tmp_path: Path, order: str
) -> None:
    target = own(serve, tmp_path, quota=0, posts_order=order)
    target.ran([schema(), row(1, "waits"), state(1)], **UPSERT)
    stray(target, "[1]")
    opened = ledger(target)
    opened.doubt(target.channel, marker_of(stream_marker("hours"), "[1]"))
    opened.close()
    target.ran([schema()], **UPSERT)
    assert [(data(post)["name"], post.status) for post in target.posts()] == [("waits", "draft")]
    target.sandbox.harkster.set_quota("Acme Inc.", quota=5)
    target.ran([schema()], **UPSERT)
    assert [(data(post)["name"], post.publications) for post in target.posts()] == [("waits", 1)]


def test_after_a_lost_answer_the_channel_is_looked_at_until_nothing_can_turn_up(target: Target) -> None:
    target.sandbox.faults.replace(Fault(kind="reset", operation="create", when="before", times=1))
    target.ran([schema(), row(1), state(1)])
    stray(target, "[1]")
    target.ran([schema()])
    assert [post.status for post in target.posts()] == ["published"]
    opened = ledger(target)
    assert len(opened.doubts(target.channel)) == 1
    opened.close()
    # A quarter of an hour later it is looked at once more, and then no longer.
    made = TargetHarkster(config=target.config, clock=Later())
    channel = made.run.channels.find(target.channel, "channel")
    made.run.channels.open("hours", [channel])
    assert made.run.ledger.doubts(target.channel) == {}
    made.run.close()


class Later(FastClock):
    @override
    def time(self) -> float:
        return super().time() + 10_000


@pytest.mark.parametrize("end", ["the run ends", "there is no answer"])
@pytest.mark.parametrize("layout", [{"mode": "upsert"}, {"group_by": ["id"], "fields": NAMES}], ids=["row", "digest"])
def test_older_content_that_a_lost_request_brings_late_is_replaced(target: Target, end: str, layout: Any) -> None:
    settings = {"streams": {"hours": layout}}
    update = HarksterApi.update
    sent: list[Any] = []

    def lost(*request: Any) -> bool:
        sent.append(request[1:])
        if len(sent) > 1:
            return update(*request)
        raise SystemExit if end == "the run ends" else UncertainError("no answer")

    def arrives_late() -> None:
        made = target.make()
        assert update(made.run.api, *sent[0])
        made.run.close()

    def shows(name: str) -> None:
        assert [(data(post)["name"], post.publications) for post in target.posts()] == [(name, 1)]

    target.ran([schema(), row(1, "one"), state(1)], **settings)
    with mock.patch.object(HarksterApi, "update", lost):
        target.run([schema(), row(1, "two"), state(2)], **settings)
    target.ran([schema(), row(1, "three"), state(3)], **settings)
    arrives_late()
    shows("two")
    target.ran([schema(), row(1, "three"), state(3)], **settings)
    shows("three")
    # It is the newest if the row comes to say the same.
    target.ran([schema(), row(1, "two"), state(4)], **settings)
    target.ran([schema()], **settings)
    shows("two")
    made = TargetHarkster(config=target.config, clock=Later())
    made.run.channels.open("hours", [made.run.channels.find(target.channel, "channel")])
    assert made.run.ledger.late_updates(target.channel) == {}
    made.run.close()


def test_a_lost_answer_and_a_draft_of_a_row_that_is_gone(target: Target) -> None:
    settings = {"streams": {"hours": {"mode": "mirror"}}, "mirror_max_share": 1}
    activate: Message = {"type": "ACTIVATE_VERSION", "stream": "hours", "version": 2}
    target.ran([schema(), row(1, version=1)], **settings)
    target.ran([schema(), activate, state(2)], **settings)
    stray(target, "[1]")
    opened = ledger(target)
    opened.doubt(target.channel, marker_of(stream_marker("hours"), "[1]"))
    opened.close()
    target.ran([schema()], **settings)
    assert target.posts() == []


@pytest.mark.parametrize("listed", ["newest", "oldest"])
def test_two_posts_with_one_marker_are_one_row(serve: Any, tmp_path: Path, listed: str) -> None:
    target = own(serve, tmp_path, posts_order=listed)
    for draft in (True, False, False, True):
        stray(target, "[1]", draft=draft)
    target.ran([schema(), row(1, "now"), state(1)], **UPSERT)
    posts = target.posts()
    # Nothing is deleted that people have seen, or may have written, and nothing is published once more.
    assert [(post.status, post.publications) for post in posts] == [
        ("draft", 0), ("published", 1), ("published", 1), ("draft", 0),
    ]  # fmt: skip
    assert sorted(data(post)["name"] for post in posts) == ["now", "stray", "stray", "stray"]
    target.ran([schema(), row(1, "now"), state(1)], **UPSERT)
    assert sum(post.updates for post in target.posts()) == 1


@pytest.mark.parametrize("by", ["a lost answer", "a run that was cut off", "a lost ledger", "adopt"])
def test_a_draft_that_a_person_made_of_a_post_stays(target: Target, tmp_path: Path, by: str) -> None:
    """Whoever copies a post copies its marker."""
    target.ran([schema(), row(1), state(1)], **UPSERT)
    stray(target, "[1]")
    if by == "a lost answer":
        target.sandbox.faults.replace(Fault(kind="reset", operation="create", when="after", times=1))
    elif by == "a run that was cut off":
        with mock.patch.object(HarksterApi, "create", side_effect=SystemExit):
            target.run([schema(), row(2), row(3), state(2)], **UPSERT)
    elif by == "a lost ledger":
        (tmp_path / "ledger.db").unlink()
    else:
        Command(target, tmp_path)("adopt")
    for _ in range(2):
        target.ran([schema(), row(1), row(2), row(3), state(2)], **UPSERT)
    target.sandbox.faults.clear()
    assert [(data(post)["name"], post.publications) for post in target.posts()] == [
        ("x", 1), ("stray", 0), ("x", 1), ("x", 1),
    ]  # fmt: skip


def test_a_draft_that_a_person_made_of_a_post_stays_when_its_row_is_gone(target: Target, tmp_path: Path) -> None:
    settings = {"streams": {"hours": {"mode": "mirror"}}, "mirror_max_share": 1}
    target.ran([schema(), row(1), row(2), state(1)], **settings)
    stray(target, "[1]")
    for _ in range(2):
        target.ran([schema(), row(1, _sdc_deleted_at="2026-01-01T00:00:00Z"), state(2)], **settings)
    target.config |= settings
    assert Command(target, tmp_path)("adopt") == "0 posts were entered into the ledger.\n"
    target.ran([schema(), state(3)])
    assert [(data(post)["name"], post.publications) for post in target.posts()] == [("x", 1), ("stray", 0)]


@contextlib.contextmanager
def cut_off_in_the_first_create() -> Iterator[None]:
    """A run ends when the API has created a draft, before the ledger notes its id."""
    create = HarksterApi.create

    def dies(api: HarksterApi, channel: Channel, body: Any) -> str:
        create(api, channel, body)
        raise SystemExit

    with mock.patch.object(HarksterApi, "create", dies):
        yield


def publish_by_hand(target: Target, post_id: str) -> None:
    """A person publishes a draft."""
    api = target.sandbox.harkster
    requests.put(
        f"{api.api_url}/channels/{target.channel}/posts/{post_id}/publish",
        headers={"Authorization": f"Bearer {api.access_token}"},
        timeout=60,
    ).raise_for_status()


@pytest.mark.parametrize("is_first", [False, True])
@pytest.mark.parametrize("mode", ["append", "upsert"])
@pytest.mark.parametrize("shows", ["the row", "words of a person"])
def test_a_draft_of_a_run_that_was_cut_off_and_that_people_published_is_the_post_of_its_row(
    target: Target, mode: str, shows: str, *, is_first: bool
) -> None:
    target.config |= {"streams": {"hours": {"mode": mode}}, "on_quota": "defer"}
    if not is_first:
        target.ran([schema(), row(0), state(0)])
        target.ran([schema(), row(1), row(2), state(1)], max_posts_per_run=0)
    with cut_off_in_the_first_create():
        target.run([schema(), row(1), row(2), state(1)])
    (draft,) = (post for post in target.posts() if post.status == "draft")
    if shows == "words of a person":
        target.delete(draft)
        publish_by_hand(target, stray(target, "[1]"))
    else:
        publish_by_hand(target, draft.id)
    target.ran([schema(), *([row(1), row(2)] if is_first else []), row(3), state(2)])
    posts = {data(post).get("id", "1"): (data(post)["name"], post.publications) for post in target.posts()}
    assert len(posts) == len(target.posts())
    kept = "x" if shows == "the row" or (is_first and mode == "upsert") else "stray"
    assert posts == ({} if is_first else {"0": ("x", 1)}) | {"1": (kept, 1), "2": ("x", 1), "3": ("x", 1)}


def test_an_older_copy_of_a_run_that_was_cut_off_is_still_noticed(target: Target, tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    target.ran([schema(), row(0), state(0)], **UPSERT)
    with cut_off_in_the_first_create():
        target.run([schema(), row(1), row(2), state(1)], **UPSERT)
    copy = path.read_bytes()
    target.ran([schema(), row(1), row(2), state(1)], **UPSERT)
    path.write_bytes(copy)
    ran = target.run([schema(), row(1), row(2), state(1)], **UPSERT)
    assert isinstance(ran.error, LedgerError)
    assert "drops what waits" in str(ran.error)
    assert [post.publications for post in target.posts()] == [1, 1, 1]


def test_second_drafts_of_another_job_stay(target: Target, tmp_path: Path) -> None:
    for _ in range(2):
        stray(target, "[1]")
    for name in ("first", "second"):  # of which one has lost its ledger
        other = f"sqlite:///{tmp_path}/{name}.db"
        target.ran([schema(stream="teams"), record("teams", id=1, name="x"), state(1)], ledger_url=other)
    assert [post.status for post in target.posts()] == ["draft", "draft", "published"]


def test_adopted_drafts_are_published_oldest_first(serve: Any, tmp_path: Path) -> None:
    for order in ("newest", "oldest"):
        folder = tmp_path / order
        folder.mkdir()
        target = own(serve, folder, quota=2, posts_order=order)
        target.ran([schema(), *(row(key, str(key)) for key in range(1, 5)), state(1)])
        (folder / "ledger.db").unlink()
        target.sandbox.harkster.set_quota("Acme Inc.", quota=10)
        target.ran([schema()])
        events = [event.post_id for event in target.sandbox.harkster.truth().events if event.kind == "published"]
        assert events == [post.id for post in target.posts()]
        assert len(events) == 4


def test_adopt_tells_an_older_ledger_what_was_posted_since(target: Target) -> None:
    path = Path(target.config["ledger_url"].removeprefix("sqlite:///"))
    target.ran([schema(), row(1, "one"), state(1)], max_posts_per_run=0, on_quota="defer", **UPSERT)
    backup = path.read_bytes()
    target.ran([schema(), row(1, "two"), state(2)], **UPSERT)
    path.write_bytes(backup)
    made = target.make(**UPSERT)
    channel = made.run.channels.find(target.channel, "channel")
    made.run.ledger.lock(channel.id)
    assert made.run.adoption.adopt(channel) == 1
    made.run.close()
    target.ran([schema(), row(1, "two"), state(2)], **UPSERT)
    assert [(data(post)["name"], post.publications) for post in target.posts()] == [("two", 1)]


# Lists that shift while they are read


def by_hand(target: Target) -> str:
    """A post of a person."""
    api = target.sandbox.harkster
    answer = requests.post(
        f"{api.api_url}/channels/{target.channel}/posts",
        json={"data": {"type": "fields", "dataset": [{"type": "text", "data": "by hand"}]}, "name": "by hand"},
        headers={"Authorization": f"Bearer {api.access_token}"},
        timeout=60,
    )
    return str(answer.json()["id"])


@contextlib.contextmanager
def after_the_first_page(do: Callable[[], Any], *, reading: int) -> Iterator[None]:
    """Do something between the first two pages, of two posts each, of a reading of the posts, counted from 1."""
    raw_posts, readings, done = HarksterApi.raw_posts, itertools.count(1), []

    def read(api: HarksterApi, channel_id: str) -> Iterator[dict[str, Any]]:
        at = next(readings)
        for number, post in enumerate(raw_posts(api, channel_id), 1):
            yield post
            if (at, number) == (reading, 2):
                done.append(do())

    with mock.patch.object(HarksterApi, "raw_posts", read):
        yield
    assert done


@pytest.mark.parametrize(
    ("by", "reading"), [("a lost answer", 2), ("a lost answer", 3), ("a lost ledger", 2), ("adopt", 1)]
)
def test_a_draft_that_is_listed_twice_is_one_draft(serve: Any, tmp_path: Path, by: str, reading: int) -> None:
    """A person posts between the requests for two pages, so that the second begins with what the first ended with."""
    target = own(serve, tmp_path, quota=1, page_size=2, posts_paging="offset")
    rows = [row(key) for key in range(1, 5)]
    target.ran([schema(), *rows, state(1)], max_posts_per_run=0, **UPSERT)
    with after_the_first_page(lambda: by_hand(target), reading=reading):
        if by == "adopt":
            Command(target, tmp_path)("adopt")
        elif by == "a lost ledger":
            (tmp_path / "ledger.db").unlink()
            target.ran([schema(), *rows, state(2)], max_posts_per_run=0, **UPSERT)
        else:
            target.sandbox.faults.replace(Fault(kind="reset", operation="create", when="after", times=1))
            target.ran([schema(), row(5), state(2)], max_posts_per_run=0, **UPSERT)
            target.sandbox.faults.clear()
    target.sandbox.harkster.set_quota("Acme Inc.", quota=10)
    target.ran([schema(), *rows, row(5), state(3)], **UPSERT)
    shown = [(data(post)["id"], post.publications) for post in target.posts() if post.name == "hours"]
    assert shown == [(str(key), 1) for key in range(1, 6)]


@pytest.mark.parametrize(("by", "reading"), [("a lost ledger", 2), ("adopt", 1)])
def test_a_post_that_one_reading_leaves_out_is_not_made_again(
    serve: Any, tmp_path: Path, by: str, reading: int
) -> None:
    """A person deletes a post between the requests for two pages, so that the second begins one post later."""
    target = own(serve, tmp_path, page_size=2, posts_paging="offset")
    rows = [row(key) for key in range(1, 5)]
    target.ran([schema(), rows[0], state(1)], **UPSERT)
    copy = (tmp_path / "ledger.db").read_bytes()
    target.ran([schema(), *rows, state(2)], **UPSERT)
    by_hand(target)
    *_, newest = target.posts()
    (tmp_path / "ledger.db").unlink()
    with after_the_first_page(lambda: target.delete(newest), reading=reading):
        if by == "adopt":
            (tmp_path / "ledger.db").write_bytes(copy)
            assert Command(target, tmp_path)("adopt") == "3 posts were entered into the ledger.\n"
        else:
            target.ran([schema(), *rows, state(3)], **UPSERT)
    target.ran([schema(), *rows, state(4)], **UPSERT)
    assert [(data(post)["id"], post.publications) for post in target.posts()] == [(str(key), 1) for key in range(1, 5)]


# Answers that say nothing


@pytest.mark.parametrize(
    ("operation", "kind", "when"),
    pairwise(["create", "update", "publish", "delete"], ["empty_body", "not_json"], ["before", "after"]),
)
def test_an_answer_that_says_nothing_is_not_believed(target: Target, operation: Any, kind: Any, when: Any) -> None:
    settings: dict[str, Any] = {"streams": {"hours": {"mode": "mirror"}}, "mirror_max_share": 1}
    activate: Message = {"type": "ACTIVATE_VERSION", "stream": "hours", "version": 2}
    target.ran([schema(), row(1, "one", version=1), row(2, version=1)], **settings)
    target.sandbox.faults.replace(Fault(kind=kind, operation=operation, when=when, times=1))
    target.ran([schema(), row(1, "changed", version=2), row(3, "new", version=2), activate, state(2)], **settings)
    assert {(data(post)["name"], post.publications) for post in target.posts()} >= {("changed", 1), ("new", 1)}
    assert len(target.posts()) == 2


# Order


def test_nothing_overtakes_what_waits(serve: Any, tmp_path: Path) -> None:
    """Another quota in the middle of a run lets the next posts out only with those before them."""
    target = own(serve, tmp_path, quota=1)
    made = target.make()
    original = made.run.courier.delivered

    def delivered(before: Entry, entry: Entry) -> None:
        original(before, entry)
        if entry.phase is Phase.DRAFT:
            target.sandbox.harkster.set_quota("Acme Inc.", quota=10)

    made.run.courier.delivered = delivered
    lines = [schema(), *(row(key, str(key)) for key in range(1, 5)), state(1)]
    made.listen(as_input(lines))  # type: ignore[arg-type]
    assert [post.status for post in target.posts()] == ["published", "draft", "draft", "draft"]
    target.ran([schema()])
    events = [event.post_id for event in target.sandbox.harkster.truth().events if event.kind == "published"]
    assert events == [post.id for post in target.posts()]


def test_a_writer_that_waited_goes_on_where_the_other_ended(target: Target) -> None:
    early = ledger(target)
    target.ran([schema(), row(1), row(2), state(1)], max_posts_per_run=0)
    early.lock(target.channel)
    assert early.next_seq() > max(entry.seq for entry in early.entries())
    early.close()


# Keys


@pytest.mark.parametrize(
    ("keys", "posts"),
    [
        ([1, "1", "01", True], 3),
        ([1, 1.0, 1e0], 1),
        (["a", "A", "a "], 3),
        ([0.1, "0.1", "0.10"], 2),
        ([100, 1e2], 1),
        ([10**30, 10**30 + 1], 2),
    ],
)
def test_rows_are_the_same_if_their_keys_are(target: Target, keys: list[Any], posts: int) -> None:
    for key in keys:
        target.ran([schema({"id": {}, "name": {"type": "string"}}), row(key, "x"), state(1)], **UPSERT)
    assert len(target.posts()) == posts


def test_keys_of_several_columns_do_not_run_together(target: Target) -> None:
    properties = {"a": {"type": "string"}, "b": {"type": "string"}}
    rows = [record(a="x", b="yz"), record(a="xy", b="z"), record(a="x,y", b="z"), record(a='x","y', b="z")]
    target.ran([schema(properties, key=("a", "b")), *rows, state(1)])
    assert len(target.posts()) == 4


def test_a_row_that_comes_back_to_what_it_was(target: Target) -> None:
    for name, most in (("A", None), ("B", None), ("A", None), ("B", 0), ("A", 0)):
        more = {} if most is None else {"max_posts_per_run": most}
        target.ran([schema(), row(1, name), state(1)], **UPSERT, **more)
        assert [data(post)["name"] for post in target.posts()] == [name]
    assert [(post.publications, post.updates) for post in target.posts()] == [(1, 4)]


def test_content_is_compared_and_nothing_else(target: Target) -> None:
    fields = [{"id": "name", "type": "text", "data": "name"}]
    properties = {"id": {"type": "integer"}, "name": {"type": "string"}, "seen_at": {"type": "string"}}
    for seen_at in ("2026-01-01", "2026-01-02", "2026-01-01"):
        target.ran(
            [schema(properties), row(1, "same", seen_at=seen_at)],
            streams={"hours": {"mode": "upsert", "fields": fields}},
        )
    assert [post.updates for post in target.posts()] == [0]


# First runs


def test_a_tap_that_was_cut_off_has_not_had_its_first_run(target: Target) -> None:
    settings = {"first_run": "baseline", **UPSERT}
    target.ran([schema(), row(1), state(1), row(2)], **settings)  # cut off: no STATE is about the last row
    target.ran([schema(), row(2), row(3), state(3)], **settings)
    assert target.posts() == []
    target.ran([schema(), row(4), state(4)], **settings)
    assert [data(post)["id"] for post in target.posts()] == ["4"]


def test_a_first_run_without_any_rows_is_one(target: Target) -> None:
    settings = {"first_run": "baseline", **UPSERT}
    target.ran([schema(), state(0)], **settings)
    target.ran([schema(), row(1), state(1)], **settings)
    assert len(target.posts()) == 1


# Mirror


def mirrored(target: Target, version: int, rows: list[Message], **settings: Any) -> Any:
    activate: Message = {"type": "ACTIVATE_VERSION", "stream": "hours", "version": version}
    config: dict[str, Any] = {"streams": {"hours": {"mode": "mirror", **settings.pop("layout", {})}}, **settings}
    return target.run([schema(), *rows, activate, state(version)], **config)


def test_mirror_keeps_the_post_of_a_row_that_is_wrong_now(target: Target) -> None:
    mirrored(target, 1, [row(1, "one", version=1), row(2, "two", version=1)])
    ran = mirrored(target, 2, [row(1, ["wrong"], version=2), row(2, "two", version=2)], mirror_max_share=1)  # type: ignore[arg-type]
    assert ran.error is None
    assert [data(post)["name"] for post in target.posts()] == ["one", "two"]
    assert [one["key"] for one in target.rejects()] == ["[1]"]


def test_mirror_minds_the_channels_that_are_in_use_only(
    sandbox: RunningSandbox, target: Target, tmp_path: Path
) -> None:
    mirrored(target, 1, [row(key, version=1) for key in (1, 2, 3)])
    folder = tmp_path / "other"
    folder.mkdir()
    other = Target.into_new_channel(sandbox, folder)
    other.config["ledger_url"] = target.config["ledger_url"]
    mirrored(other, 2, [row(key, version=2) for key in (1, 2, 3)])
    ran = mirrored(other, 3, [row(key, version=3) for key in (1, 2)], mirror_max_share=0.5)
    assert ran.error is None
    assert (len(target.posts()), len(other.posts())) == (3, 2)


def test_mirror_deletes_adopted_posts_of_a_table_that_is_empty_now(target: Target) -> None:
    mirrored(target, 1, [row(1, version=1)])
    Path(target.config["ledger_url"].removeprefix("sqlite:///")).unlink()
    assert mirrored(target, 2, [], mirror_max_share=1).error is None
    assert target.posts() == []


# Reserve and bounds with answers that are lost


def test_a_lost_answer_uses_up_no_reserve(serve: Any, tmp_path: Path) -> None:
    target = own(serve, tmp_path, quota=4, quota_headers="never")
    target.sandbox.faults.replace(Fault(kind="reset", operation="publish", when="after", rate=1))
    target.ran([schema(), *(row(key) for key in range(5)), state(1)], quota_reserve=2)
    assert [post.status for post in target.posts()].count("published") == 2
    assert target.sandbox.harkster.truth().quota_refusals == 0
