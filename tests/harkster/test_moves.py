"""A row that names another channel takes its post along, and nobody misses a post meanwhile."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from api_sandbox import Fault

from tests.harkster.running import Command, Message, Target, as_input, data, record, schema, state

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from api_sandbox import RunningSandbox

PROPERTIES = {"id": {"type": "integer"}, "name": {"type": "string"}, "to": {"type": "string"}}


def names(target: Target) -> list[str]:
    return [data(post)["name"] for post in target.posts() if post.status == "published"]


class Two:
    """Two channels of one stream."""

    def __init__(self, sandbox: RunningSandbox, target: Target, folder: Path) -> None:
        self.old, self.new = target, Target.into_new_channel(sandbox, folder)
        channel = {"column": "to", "allowed": [self.old.channel, self.new.channel]}
        target.config["streams"] = {"hours": {"channel": channel, "mode": "upsert"}}

    def row(self, to: Target, name: str = "one") -> list[Message]:
        return [schema(PROPERTIES), record(id=1, name=name, to=to.channel), state(1)]

    @property
    def shown(self) -> tuple[list[str], list[str]]:
        return names(self.old), names(self.new)


@pytest.fixture
def two(sandbox: RunningSandbox, target: Target, tmp_path: Path) -> Two:
    made = Two(sandbox, target, tmp_path)
    target.ran(made.row(target))
    return made


def test_a_post_that_is_kept_stays_until_its_row_is_gone(
    sandbox: RunningSandbox, target: Target, tmp_path: Path
) -> None:
    other = Target.into_new_channel(sandbox, tmp_path)
    properties = {"id": {"type": "integer"}, "name": {"type": "string"}, "to": {"type": "string"}}
    channel = {"column": "to", "allowed": [target.channel, other.channel]}
    settings = {"streams": {"hours": {"channel": channel, "mode": "mirror"}}, "on_move": "keep", "mirror_max_share": 1}

    def read(version: int, *rows: Message) -> None:
        activate: Message = {"type": "ACTIVATE_VERSION", "stream": "hours", "version": version}
        target.ran([schema(properties), *rows, activate, state(version)], **settings)

    read(1, record(id=1, name="one", to=target.channel), record(id=2, name="two", to=target.channel))
    for version in (2, 3):
        read(version, record(id=1, name="one", to=other.channel), record(id=2, name="two", to=target.channel))
        assert (sorted(names(target)), names(other)) == (["one", "two"], ["one"])
    read(4, record(id=2, name="two", to=target.channel))
    assert (names(target), names(other)) == (["two"], [])


@pytest.mark.parametrize("on_move", ["delete", "keep"])
@pytest.mark.parametrize("mode", ["append", "upsert"])
def test_a_row_that_names_another_channel_takes_its_post_along(  # noqa: PLR0917 - fixtures and parameters
    sandbox: RunningSandbox, target: Target, tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: str, on_move: str
) -> None:
    other = Target.into_new_channel(sandbox, tmp_path)
    properties = {"id": {"type": "integer"}, "name": {"type": "string"}, "to": {"type": "string"}}
    channel = {"column": "to", "allowed": [target.channel, other.channel]}
    settings: dict[str, Any] = {"streams": {"hours": {"channel": channel, "mode": mode}}, "on_move": on_move}

    def sent(*channels: str) -> None:
        rows = [record(id=1, name="one", to=channel) for channel in channels]
        target.ran([schema(properties), *rows, record(id=2, name="two", to=other.channel), state(1)], **settings)

    sent(target.channel)
    sent(other.channel)
    if mode == "append":
        assert (names(target), names(other)) == (["one"], ["two"])
        return
    stale = ["one"] if on_move == "keep" else []
    assert (names(target), names(other)) == (stale, ["two", "one"])
    assert ("is stale: its row went to" in caplog.text) == (on_move == "keep")
    sent(other.channel)
    assert (names(target), names(other)) == (stale, ["two", "one"])
    if on_move == "delete":
        # And back, by way of both in one run.
        sent(target.channel, other.channel, target.channel)
        assert (names(target), names(other)) == (["one"], ["two"])


def answered(status: int) -> Callable[[Target], Fault]:
    return lambda new: Fault(kind="status", status=status, operation="create", path=f"/channels/{new.channel}/posts")


@pytest.mark.parametrize(
    ("fault", "settings"),
    [
        (answered(400), {}),
        (answered(403), {}),
        (answered(404), {}),
        (None, {"max_posts_per_run": 0, "on_quota": "defer"}),
        (None, {"max_posts_per_run": 0, "on_quota": "draft"}),
        (None, {"max_posts_per_run": 0, "on_quota": "fail"}),
        (None, {"first_run": "baseline"}),
    ],
    ids=["refused", "forbidden", "gone", "put off", "left as a draft", "failing", "recorded only"],
)
def test_a_post_stays_until_its_new_one_is_published(
    serve: Callable[..., RunningSandbox],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    fault: Callable[[Target], Fault] | None,
    settings: dict[str, Any],
) -> None:
    sandbox = serve()
    two = Two(sandbox, Target.into_new_channel(sandbox, tmp_path), tmp_path)
    channel = two.old.config["streams"]["hours"]["channel"]
    one_channel = {"hours": {"mode": "upsert", "channel": {**channel, "allowed": [two.old.channel]}}}
    two.old.ran(two.row(two.old), streams=one_channel)
    if fault is not None:
        sandbox.faults.replace(fault(two.new))
    two.old.run(two.row(two.new, "two"), **settings)
    assert two.shown == (["one"], [])
    if settings.get("on_quota") != "fail":
        assert "posts that stay until they are published in the channel that their rows name now: 1." in caplog.text
    sandbox.faults.clear()
    caplog.clear()
    caplog.set_level("INFO")
    two.old.ran([schema(PROPERTIES)], **({"first_run": "baseline"} if "first_run" in settings else {}))
    if "first_run" in settings:
        assert two.shown == (["one"], [])  # no new post takes its place
        return
    assert two.shown == ([], ["two"])
    assert "1 moved, and deleted in the old channel" in caplog.text


def test_a_row_that_comes_back_before_its_post_has_moved_keeps_it(two: Two) -> None:
    for name in ("one", "changed"):
        two.old.ran(two.row(two.new), max_posts_per_run=0)
        two.old.ran(two.row(two.old, name))
        assert two.shown == ([name], [])
        assert two.new.posts() == []
    (post,) = two.old.posts()
    assert post.publications == 1


def test_a_draft_for_people_moves_there_and_back(sandbox: RunningSandbox, target: Target, tmp_path: Path) -> None:
    two = Two(sandbox, target, tmp_path)
    target.ran(two.row(two.old), first_run="draft")
    for to in (two.new, two.old, two.new):
        target.ran(two.row(to))
        assert [post.status for post in to.posts()] == ["draft"]
        assert len(two.old.posts()) + len(two.new.posts()) == 1


def test_the_plan_and_the_summary_tell_what_a_move_deletes(
    two: Two, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    command = Command(two.old, tmp_path)
    planned = json.loads(command("plan", "--diff", "--json", given=as_input(two.row(two.new))))
    assert (planned["streams"]["hours"]["publish"], planned["streams"]["hours"]["delete"]) == (1, 1)
    changes = [(change["channel"], change["action"]) for change in planned["changes"]]
    assert changes == [(two.new.channel, "publish"), (two.old.channel, "delete")]
    caplog.set_level("INFO")
    two.old.ran(two.row(two.new))
    assert "hours: 1 rows: 1 new, 1 moved, and deleted in the old channel, 1 delivered." in caplog.text
    assert json.loads(command("runs", "--json"))[0]["deleted"] == 1


# Posts that nobody has seen


class Passed:
    """A row that passes through three channels, with ``on_move: keep``."""

    def __init__(self, sandbox: RunningSandbox, target: Target, folder: Path, **settings: Any) -> None:
        self.targets = [target, *(Target.into_new_channel(sandbox, folder) for _ in range(2))]
        channel = {"column": "to", "allowed": [one.channel for one in self.targets]}
        target.config |= {"on_move": "keep", "streams": {"hours": {"channel": channel, "mode": "upsert"}}, **settings}

    def row(self, at: int, name: str) -> list[Message]:
        return [schema(PROPERTIES), record(id=1, name=name, to=self.targets[at].channel)]

    def went(self, at: int, name: str = "one", **settings: Any) -> None:
        self.targets[0].ran([*self.row(at, name), state(1)], **settings)

    @property
    def shown(self) -> list[list[tuple[str, str, int]]]:
        return [[(data(post)["name"], post.status, post.publications) for post in one.posts()] for one in self.targets]


@pytest.mark.parametrize("on_quota", ["draft", "defer"])
@pytest.mark.parametrize("first_run", ["over", "not over"])
def test_what_waits_never_stays_in_a_channel_that_its_row_has_left(
    sandbox: RunningSandbox, target: Target, tmp_path: Path, on_quota: str, first_run: str
) -> None:
    passed = Passed(sandbox, target, tmp_path, on_quota=on_quota)
    if first_run == "over":
        target.ran([schema(PROPERTIES), state(0)])
    for at, name in enumerate(("one", "two", "three")):
        passed.went(at, name, max_posts_per_run=0)
    target.ran([schema(PROPERTIES), state(2)])
    assert passed.shown == [[], [], [("three", "published", 1)]]


def test_what_is_counted_in_a_first_run_is_not_posted_where_its_row_has_left(
    sandbox: RunningSandbox, target: Target, tmp_path: Path
) -> None:
    passed = Passed(sandbox, target, tmp_path)
    sent = [message for at in range(3) for message in passed.row(at, "one")]
    target.ran([*sent, state(1)])
    assert passed.shown == [[], [], [("one", "published", 1)]]


@pytest.mark.parametrize("on_quota", ["draft", "defer"])
@pytest.mark.parametrize("name", ["one", "changed"])
def test_what_waits_is_not_posted_once_its_row_is_back_where_its_post_stayed(
    sandbox: RunningSandbox, target: Target, tmp_path: Path, on_quota: str, name: str
) -> None:
    passed = Passed(sandbox, target, tmp_path, on_quota=on_quota)
    passed.went(0)
    passed.went(1, "two", max_posts_per_run=0)
    passed.went(0, name, max_posts_per_run=0)
    target.ran([schema(PROPERTIES), state(2)])
    assert passed.shown == [[(name, "published", 1)], [], []]
    # What people have seen stays, wherever the row goes.
    passed.went(2, "three")
    assert passed.shown == [[(name, "published", 1)], [], [("three", "published", 1)]]


# Channels that the settings no longer name

BY_ROW: dict[str, Any] = {"mode": "upsert"}
BY_GROUP: dict[str, Any] = {
    "group_by": ["to"],
    "fields": [{"id": "n", "type": "counter", "data": "{{ rows | length }}"}],
}
OPEN: dict[str, Any] = {**BY_GROUP, "closed": "{{ rows | length > 1 }}"}


def rows_that_wait(target: Target) -> list[Message]:
    """Two rows whose posts wait for quota."""
    target.ran([schema(PROPERTIES), state(1)])
    rows = [record(id=number, name="x", to=str(number)) for number in (1, 2)]
    target.ran([schema(PROPERTIES), *rows, state(2)], max_posts_per_run=0)
    return rows


@pytest.mark.parametrize("on_quota", ["draft", "defer"])
@pytest.mark.parametrize("layout", [BY_ROW, BY_GROUP, OPEN], ids=["rows", "digests", "open digests"])
def test_what_waits_for_a_channel_that_the_settings_no_longer_name_is_told(  # noqa: PLR0917 - fixtures and parameters
    sandbox: RunningSandbox,
    target: Target,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    layout: dict[str, Any],
    on_quota: str,
) -> None:
    other = Target.into_new_channel(sandbox, tmp_path)
    for one in (target, other):
        one.config |= {"on_quota": on_quota, "streams": {"hours": layout}}
    rows = rows_that_wait(target)
    told = "which the settings do not name"
    assert told not in caplog.text
    for run in (other.ran, Command(other, tmp_path)):
        caplog.clear()
        if isinstance(run, Command):
            run("plan", given=as_input([schema(PROPERTIES)]))
        else:
            run([schema(PROPERTIES), *rows, state(3)])
        assert "hours: posts that wait for the channel Acme Inc./Projects/Channel" in caplog.text
        assert f"({target.channel}), {told}: 2. A run that names it publishes them" in caplog.text
    # A job of another stream has nothing to do with it.
    caplog.clear()
    other.ran([schema(PROPERTIES, stream="teams"), state(1)], streams={})
    assert told not in caplog.text


@pytest.mark.parametrize("on_quota", ["draft", "defer"])
@pytest.mark.parametrize("layout", [BY_ROW, BY_GROUP, OPEN], ids=["rows", "digests", "open digests"])
def test_what_is_dropped_as_the_warning_says_is_not_published_when_its_channel_is_named_again(  # noqa: PLR0917
    sandbox: RunningSandbox,
    target: Target,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    layout: dict[str, Any],
    on_quota: str,
) -> None:
    target.config |= {"on_quota": on_quota, "streams": {"hours": layout}}
    rows = rows_that_wait(target)
    other = Target.into_new_channel(sandbox, tmp_path)
    other.ran([schema(PROPERTIES), *rows, state(3)], streams=target.config["streams"])
    for post in target.posts():
        target.delete(post)
    Command(other, tmp_path)("adopt", "--channel", target.channel)
    caplog.clear()
    other.ran([schema(PROPERTIES), state(4)], streams=target.config["streams"])
    assert "which the settings do not name" not in caplog.text
    target.ran([schema(PROPERTIES), state(5)])
    assert (target.posts(), len(other.posts())) == ([], 0 if layout is OPEN else 2)


def test_posts_that_stay_in_a_channel_that_is_no_longer_allowed_are_told(
    two: Two, caplog: pytest.LogCaptureFixture
) -> None:
    channel = two.old.config["streams"]["hours"]["channel"]
    shrunk = {"hours": {"mode": "upsert", "channel": {**channel, "allowed": [two.new.channel]}}}
    two.old.ran(two.row(two.new), streams=shrunk)
    assert two.shown == (["one"], ["one"])
    told = "hours: posts that stay in the channel Acme Inc./Projects/Channel"
    assert told in caplog.text
    assert (
        f"({two.old.channel}), which the settings do not name, although their rows name another one: 1." in caplog.text
    )
    caplog.clear()
    two.old.ran(two.row(two.new, "changed"), streams=shrunk)
    assert two.shown == (["one"], ["changed"])
    assert told not in caplog.text  # once
    # With its old channel in the settings, the post of a row moves.
    two.old.ran(two.row(two.new, "two"))
    assert two.shown == ([], ["two"])
