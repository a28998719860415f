"""What cannot be delivered is named and kept, and the other channels and posts go on. What each run did is known."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from api_sandbox import Fault, RunningSandbox
from click.testing import CliRunner
from singer_http.http.errors import IncompleteError
from target_harkster.cli import harkster
from target_harkster.delivery.adoption import NEWEST
from target_harkster.delivery.exactly_once import TRIES
from target_harkster.ledger.database import LedgerError
from target_harkster.vendor.client import HarksterApi, UncertainError
from target_harkster.vendor.posts import Spelling

from tests.harkster.running import Message, Target, data, pairwise, record, schema, state

UPSERT: dict[str, Any] = {"streams": {"hours": {"mode": "upsert"}}}


def names(target: Target) -> list[tuple[str, int]]:
    return [(data(post)["name"], post.publications) for post in target.posts()]


def rows(*ids: int, stream: str = "hours", name: str = "x") -> list[Message]:
    return [record(stream, id=number, name=name) for number in ids]


@pytest.fixture
def two(sandbox: RunningSandbox, target: Target, tmp_path: Path) -> Target:
    """Another channel, to which the stream ``teams`` goes."""
    other = Target.into_new_channel(sandbox, tmp_path)
    target.config["streams"] = {"hours": {"mode": "upsert"}, "teams": {"mode": "upsert", "channel": other.channel}}
    return other


@pytest.mark.parametrize("operation", ["create", "read"])
def test_a_forbidden_channel_does_not_stop_the_others(target: Target, two: Target, operation: Any) -> None:
    messages = [schema(), schema(stream="teams"), *rows(1, 2), *rows(3, 4, stream="teams"), state(1)]
    path = f"/channels/{target.channel}/posts"
    for _ in range(2):
        target.sandbox.faults.replace(Fault(kind="status", path=path, operation=operation, status=403))
        ran = target.run(messages)
        target.sandbox.faults.clear()
        assert isinstance(ran.error, IncompleteError)
        assert "Acme Inc./Projects/Channel" in str(ran.error)
        assert "HTTP 403" in str(ran.error)
        # What cannot be posted now waits in the ledger, so that the tap need not send it again.
        assert ran.states == [1]
        assert (names(target), names(two)) == ([], [("x", 1)] * 2)
    target.ran([schema(), state(2)])
    assert names(target) == [("x", 1)] * 2


def test_a_channel_that_could_not_be_looked_at_gets_no_second_posts(target: Target) -> None:
    target.ran([schema(), *rows(1, 2), state(1)], **UPSERT)
    Path(target.config["ledger_url"].removeprefix("sqlite:///")).unlink()
    path = f"/channels/{target.channel}/posts"
    target.sandbox.faults.replace(Fault(kind="status", path=path, operation="read", status=403))
    assert isinstance(target.run([schema(), *rows(1, 2, 3), state(2)], **UPSERT).error, IncompleteError)
    target.sandbox.faults.clear()
    target.ran([schema(), *rows(1, 2, 3), state(3)], **UPSERT)
    assert names(target) == [("x", 1)] * 3


def test_what_waited_for_a_channel_that_was_never_looked_at_keeps_nobody_from_looking(target: Target) -> None:
    target.ran([schema(), *rows(1, 2), state(1)], **UPSERT)
    Path(target.config["ledger_url"].removeprefix("sqlite:///")).unlink()
    path = f"/channels/{target.channel}/posts"
    target.sandbox.faults.replace(Fault(kind="status", path=path, operation="read", status=403))
    assert isinstance(target.run([schema(), *rows(3), state(2)], **UPSERT).error, IncompleteError)
    target.sandbox.faults.clear()
    target.ran([schema(), *rows(1, 2, 4), state(3)], **UPSERT)
    assert names(target) == [("x", 1)] * 4


@contextlib.contextmanager
def without_ledger_and_channel(target: Target) -> Iterator[None]:
    """The ledger is lost, and runs in here cannot look at the channel."""
    Path(target.config["ledger_url"].removeprefix("sqlite:///")).unlink()
    path = f"/channels/{target.channel}/posts"
    target.sandbox.faults.replace(Fault(kind="status", path=path, operation="read", status=403))
    yield
    target.sandbox.faults.clear()


@pytest.mark.parametrize("kind", ["row", "digest"])
@pytest.mark.parametrize(("mode", "name"), [("append", "x"), ("upsert", "newer")])
def test_a_row_that_came_before_its_post_was_found_follows_its_mode(
    target: Target, kind: str, mode: str, name: str
) -> None:
    fields = [{"id": "name", "type": "text", "data": "{{ rows | map(attribute='name') | join }}"}]
    grouped = {"group_by": ["id"], "fields": fields} if kind == "digest" else {}
    settings: dict[str, Any] = {"streams": {"hours": {"mode": mode, **grouped}}}
    target.ran([schema(), *rows(1), state(1)], **settings)
    with without_ledger_and_channel(target):
        assert isinstance(target.run([schema(), *rows(1, name="newer"), state(2)], **settings).error, IncompleteError)
    for _ in range(2):
        target.ran([schema(), state(3)], **settings)
        assert names(target) == [(name, 1)]


def test_a_draft_that_is_found_for_a_row_of_a_first_run_is_published(target: Target) -> None:
    target.ran([schema(), *rows(1), state(1)], max_posts_per_run=0, **UPSERT)
    with without_ledger_and_channel(target):
        target.run([schema(), *rows(1), state(2)], first_run="draft", **UPSERT)
    target.ran([schema(), state(3)], **UPSERT)
    assert names(target) == [("x", 1)]


def test_a_row_that_was_rejected_before_its_post_was_found_stays_rejected(target: Target) -> None:
    numbers = {"hours": {"mode": "upsert", "fields": [{"id": "name", "type": "number", "data": "name"}]}}
    target.ran([schema(), *rows(1, name="1"), state(1)], streams=numbers)
    with without_ledger_and_channel(target):
        target.run([schema(), *rows(1, name="x"), state(2)], streams=numbers)
    target.ran([schema(), state(3)], streams=numbers)
    assert [one["record"]["name"] for one in target.rejects()] == ["x"]
    target.ran([schema(), state(4)], **UPSERT)
    assert (names(target), target.rejects()) == ([("x", 1)], [])


def test_rows_that_need_a_post_of_a_forbidden_channel_do_not_stop_the_others(target: Target, two: Target) -> None:
    before = {"id": "before", "type": "text", "data": "{{ previous.name }}"}
    fields = [{"id": "name", "type": "text", "data": "name"}, before]
    target.config["streams"]["hours"]["fields"] = fields
    heads = [schema(), schema(stream="teams")]
    target.ran([*heads, *rows(1), state(1)])
    (post,) = target.posts()
    for name in ("newer", "newest"):
        paths = (f"/channels/{target.channel}/posts{one}" for one in ("", f"/{post.id}"))
        target.sandbox.faults.replace(*(Fault(kind="status", path=path, status=403) for path in paths))
        ran = target.run([*heads, *rows(1, name=name), *rows(2, stream="teams"), state(name)])
        target.sandbox.faults.clear()
        assert isinstance(ran.error, IncompleteError)
        assert ran.states == [name]
        assert (names(target), names(two)) == ([("x", 1)], [("x", 1)])
        (reject,) = target.rejects()
        assert "needs a post that cannot be read" in reject["reason"]
    target.ran([*heads, state(2)])
    assert [data(one) for one in target.posts()] == [{"name": "newest", "before": "x"}]
    assert target.rejects() == []


def test_a_first_run_into_a_forbidden_channel_is_not_over(target: Target) -> None:
    path = f"/channels/{target.channel}/posts"
    target.sandbox.faults.replace(Fault(kind="status", path=path, operation="read", status=403))
    assert isinstance(target.run([schema(), *rows(1), state(1)], first_run="baseline", **UPSERT).error, IncompleteError)
    target.sandbox.faults.clear()
    target.ran([schema(), *rows(1, 2), state(2)], first_run="baseline", **UPSERT)
    assert names(target) == []


def failing(target: Target, operation: Any, first: int, tries: int) -> None:
    """Let an operation fail with a 500, so many times from the first on."""
    ordinals = tuple(range(first, first + tries))
    target.sandbox.faults.replace(Fault(kind="status", operation=operation, status=500, nth=ordinals))


@pytest.mark.parametrize("operation", ["create", "publish", "update"])
def test_a_post_that_the_api_always_fails_on_is_set_aside(
    target: Target, caplog: pytest.LogCaptureFixture, operation: Any
) -> None:
    if operation == "update":
        target.ran([schema(), *rows(1, 2, 3, name="old"), state(0)], **UPSERT)
    failing(target, operation, 1, TRIES)
    ran = target.run([schema(), *rows(1, 2, 3), state(1)], **UPSERT)
    assert isinstance(ran.error, IncompleteError)
    assert ran.states == [1]
    assert [name for name, _ in names(target)].count("x") == (2 if operation != "publish" else 3)
    assert "hours: a post (hk-" in caplog.text
    assert [(one["key"], one["kind"]) for one in target.rejects()] == [("[1]", "aside")]
    # The next run tries it once, and goes on.
    failing(target, operation, 1, TRIES)
    assert target.run([schema(), *rows(1, 2, 3, 4), state(2)], **UPSERT).states == [2]
    assert TRIES - target.sandbox.faults.hits()[0] == TRIES - 1 if hasattr(target.sandbox.faults, "hits") else True
    assert [each["key"] for each in target.rejects()] == ["[1]"]
    target.sandbox.faults.clear()
    target.ran([schema(), state(3)], **UPSERT)
    assert names(target).count(("x", 1)) == len(target.posts()) == 4
    assert target.rejects() == []


def test_an_api_that_fails_on_all_ends_the_run(target: Target) -> None:
    target.sandbox.faults.replace(Fault(kind="status", operation="create", status=500))
    ran = target.run([schema(), *rows(1, 2, 3, 4), state(1)], **UPSERT)
    target.sandbox.faults.clear()
    assert isinstance(ran.error, UncertainError)
    assert ran.states == []
    target.ran([schema(), *rows(1, 2, 3, 4), state(1)], **UPSERT)
    assert names(target) == [("x", 1)] * 4


# An older copy of the ledger


@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize("mode", ["append", "upsert"])
def test_an_older_copy_of_the_ledger_posts_nothing(serve: Any, tmp_path: Path, mode: str, order: str) -> None:
    target = Target.into_new_channel(serve(posts_order=order, page_size=2), tmp_path)
    settings = {"streams": {"hours": {"mode": mode}}}
    path = Path(target.config["ledger_url"].removeprefix("sqlite:///"))
    target.ran([schema(), *rows(1, 2, 3), state(1)], **settings)
    copy = path.read_bytes()
    target.ran([schema(), *rows(4, 5), state(2)], **settings)
    path.write_bytes(copy)
    for dry_run in (True, False):
        ran = target.run([schema(), *rows(4, 5), state(2)], dry_run=dry_run, **settings)
        assert isinstance(ran.error, LedgerError)
        assert f"harkster adopt --channel {target.channel}" in str(ran.error)
        assert ran.states == []
    assert adopted(target, tmp_path, settings) == "2 posts were entered into the ledger.\n"
    target.ran([schema(), *rows(4, 5, 6), state(3)], **settings)
    assert names(target) == [("x", 1)] * 6


def test_a_copy_from_before_a_row_was_posted_at_last(target: Target, tmp_path: Path) -> None:
    path = Path(target.config["ledger_url"].removeprefix("sqlite:///"))
    settings = {**UPSERT, "first_run": "baseline"}
    target.ran([schema(), *rows(1), state(1)], **settings)
    target.ran([schema(), *rows(2), state(1)], max_posts_per_run=0, on_quota="defer", **settings)
    copy = path.read_bytes()
    target.ran([schema(), *rows(1, name="changed"), state(2)], **settings)
    path.write_bytes(copy)
    ran = target.run([schema(), *rows(1, name="changed"), state(2)], **settings)
    assert isinstance(ran.error, LedgerError)
    assert adopted(target, tmp_path, settings) == "2 posts were entered into the ledger.\n"
    target.ran([schema(), *rows(1, name="changed"), state(2)], **settings)
    target.ran([schema(), *rows(1, name="again"), state(2)], **settings)
    assert sorted(names(target)) == [("again", 1), ("x", 1)]


def test_adopt_sees_what_was_changed_after_the_copy(target: Target, tmp_path: Path) -> None:
    path = Path(target.config["ledger_url"].removeprefix("sqlite:///"))
    target.ran([schema(), *rows(1, 2, name="old"), state(1)], **UPSERT)
    copy = path.read_bytes()
    target.ran([schema(), *rows(1, name="new"), state(2)], **UPSERT)
    path.write_bytes(copy)
    assert adopted(target, tmp_path, UPSERT) == "1 posts were entered into the ledger.\n"
    assert adopted(target, tmp_path, UPSERT) == "0 posts were entered into the ledger.\n"
    target.ran([schema(), *rows(1, name="old"), state(3)], **UPSERT)  # it is as the copy knew it
    assert sorted(names(target)) == [("old", 1)] * 2


WAITS = record(id=2, name="old")
DIGEST = {"group_by": ["id"], "fields": [{"id": "name", "type": "text", "data": "{{ rows[-1].name }}"}]}


@pytest.mark.parametrize(
    ("on_quota", "layout", "by"),
    pairwise(["defer", "draft"], [{"mode": "upsert"}, {"mode": "mirror"}, DIGEST], ["a run", "people"]),
)
def test_what_waited_in_an_older_copy_replaces_no_newer_post(
    target: Target, tmp_path: Path, on_quota: str, layout: dict[str, Any], by: str
) -> None:
    path = Path(target.config["ledger_url"].removeprefix("sqlite:///"))
    settings: dict[str, Any] = {"streams": {"hours": layout}, "on_quota": on_quota}
    target.ran([schema(), *rows(1), WAITS, state(1)], max_posts_per_run=1, **settings)
    copy = path.read_bytes()
    target.ran([schema(), *([record(id=2, name="new")] if by == "a run" else []), state(2)], **settings)
    if by == "people":
        _edit(target, "old", "new")
    path.write_bytes(copy)
    if on_quota == "defer":  # nothing goes out before what there is to see is known
        assert isinstance(target.run([schema(), state(3)], **settings).error, LedgerError)
    assert adopted(target, tmp_path, settings) == "1 posts were entered into the ledger.\n"
    assert adopted(target, tmp_path, settings) == "0 posts were entered into the ledger.\n"
    target.ran([schema(), *rows(1), state(3)], **settings)
    assert sorted(names(target)) == [("new", 1), ("x", 1)]
    target.ran([schema(), WAITS, state(4)], **settings)  # it is as the copy knew it
    assert sorted(names(target)) == [("old", 1), ("x", 1)]


def test_a_digest_that_was_open_in_an_older_copy_replaces_no_newer_post(target: Target, tmp_path: Path) -> None:
    path = Path(target.config["ledger_url"].removeprefix("sqlite:///"))
    settings: dict[str, Any] = {"streams": {"hours": {**DIGEST, "closed": "{{ false }}"}}}
    target.ran([schema(), WAITS, state(1)], **settings)
    copy = path.read_bytes()
    settings = {"streams": {"hours": DIGEST}}
    target.ran([schema(), record(id=2, name="new"), state(2)], **settings)
    path.write_bytes(copy)
    assert adopted(target, tmp_path, settings) == "1 posts were entered into the ledger.\n"
    target.ran([schema(), state(3)], **settings)
    assert names(target) == [("new", 1)]
    target.ran([schema(), WAITS, state(4)], **settings)
    assert names(target) == [("old", 1)]


@pytest.mark.parametrize("on_quota", ["defer", "draft"])
def test_what_waited_in_an_older_copy_is_not_posted_again_once_it_was_deleted(
    target: Target, tmp_path: Path, on_quota: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = Path(target.config["ledger_url"].removeprefix("sqlite:///"))
    settings: dict[str, Any] = {"streams": {"hours": {"mode": "mirror"}}, "on_quota": on_quota, "mirror_max_share": 1}
    target.ran([schema(), *rows(1), WAITS, state(1)], max_posts_per_run=1, **settings)
    copy = path.read_bytes()
    target.ran([schema(), state(2)], **settings)
    target.ran([schema(), record(id=2, name="old", _sdc_deleted_at="2026-01-01"), state(3)], **settings)
    path.write_bytes(copy)
    adopted(target, tmp_path, settings)
    assert "1 posts that waited in the ledger are dropped" in caplog.text
    target.ran([schema(), *rows(1), state(4)], **settings)
    assert names(target) == [("x", 1)]
    target.ran([schema(), WAITS, state(5)], **settings)
    assert names(target) == [("x", 1), ("old", 1)]


def test_more_new_posts_of_others_do_not_hide_that_a_copy_is_old(target: Target) -> None:
    path = Path(target.config["ledger_url"].removeprefix("sqlite:///"))
    settings: dict[str, Any] = {"on_quota": "defer", **UPSERT}
    target.ran([schema(), *rows(1), WAITS, state(1)], max_posts_per_run=1, **settings)
    copy = path.read_bytes()
    target.ran([schema(), record(id=2, name="new"), state(2)], **settings)
    other = f"{target.config['ledger_url']}.other"
    target.ran([schema(stream="teams"), *rows(*range(NEWEST), stream="teams"), state(1)], ledger_url=other)
    path.write_bytes(copy)
    assert isinstance(target.run([schema(), *rows(1), state(3)], **settings).error, LedgerError)
    assert ("new", 1) in names(target)


def test_what_people_write_into_a_draft_that_waits_is_known(target: Target) -> None:
    target.ran([schema(), WAITS, state(1)], max_posts_per_run=0, **UPSERT)
    _edit(target, "old", "new")
    target.ran([schema(), state(2)], **UPSERT)
    assert names(target) == [("new", 1)]
    target.ran([schema(), WAITS, state(3)], **UPSERT)
    assert names(target) == [("old", 1)]


def _edit(target: Target, old: str, new: str) -> None:
    """A person changes a post."""
    made = target.make().run
    with contextlib.closing(made):
        channel = made.channels.find(target.channel, "channel")
        for post in made.api.posts(channel.id):
            for field in post.content.fields:
                if field.get("data") == old:
                    body = Spelling().body(post.content, str(post.marker), is_draft=post.is_draft)
                    body["data"]["dataset"][post.content.fields.index(field)]["data"] = new
                    made.api.update(channel, post.id, body)


@pytest.mark.parametrize("was_posted", [False, True])
def test_an_older_copy_posts_no_older_version_of_what_it_had_rejected(
    target: Target, tmp_path: Path, *, was_posted: bool
) -> None:
    path = Path(target.config["ledger_url"].removeprefix("sqlite:///"))
    layout: dict[str, Any] = {"mode": "upsert", "fields": [{"id": "name", "type": "text", "data": "name"}]}
    numbers = {"hours": {**layout, "fields": [{"id": "name", "type": "number", "data": "name"}]}}
    target.ran([schema(), *rows(9, name="9"), *rows(1, 2, name="1" if was_posted else "x"), state(1)], streams=numbers)
    target.ran([schema(), *rows(1, 2, name="old"), state(2)], streams=numbers)
    copy = path.read_bytes()
    target.ran([schema(), *rows(1, name="7"), state(3)], streams=numbers)
    path.write_bytes(copy)
    if not was_posted:  # a post is there that the copy does not know
        assert isinstance(target.run([schema(), state(4)], streams=numbers).error, LedgerError)
        assert adopted(target, tmp_path, {"streams": numbers}) == "1 posts were entered into the ledger.\n"
    target.ran([schema(), state(4)], streams={"hours": layout})
    assert sorted(names(target)) == [("7", 1), ("9", 1), ("old", 1)]
    told = [(one["key"], one["reason"]) for one in target.rejects()]
    assert [key for key, _ in told] == (["[1]"] if was_posted else [])
    target.ran([schema(), *rows(1, name="new"), state(5)], streams={"hours": layout})
    assert sorted(names(target)) == [("9", 1), ("new", 1), ("old", 1)]
    assert target.rejects() == []


def test_the_posts_of_another_job_are_no_sign_of_an_older_copy(target: Target, tmp_path: Path) -> None:
    for stream in ("hours", "teams", "hours", "teams"):
        ledger = f"sqlite:///{tmp_path}/{stream}.db"
        target.ran([schema(stream=stream), *rows(1, 2, stream=stream), state(1)], ledger_url=ledger)
    assert len(target.posts()) == 4


def own_ledger(stream: str, folder: Path) -> dict[str, Any]:
    """The settings of a job that brings one stream, with a ledger of its own."""
    return {"ledger_url": f"sqlite:///{folder}/{stream}.db", "streams": {stream: {"mode": "upsert"}}}


@pytest.mark.parametrize("on_quota", ["defer", "draft"])
def test_jobs_of_different_streams_leave_the_posts_of_each_other_alone(
    target: Target, tmp_path: Path, on_quota: str
) -> None:
    hours, teams = (own_ledger(stream, tmp_path) | {"on_quota": on_quota} for stream in ("hours", "teams"))
    target.ran([schema(), *rows(1), state(1)], **hours)
    target.ran([schema(), *rows(2, name="waits"), state(2)], max_posts_per_run=0, **hours)
    waiting = [post.id for post in target.posts() if post.status == "draft"]
    for number in (1, 2):
        target.ran([schema(stream="teams"), *rows(number, stream="teams"), state(1)], **teams)
        assert [post.id for post in target.posts() if post.status == "draft"] == waiting
        assert called(target, tmp_path, teams, "adopt") == "0 posts were entered into the ledger.\n"
    target.ran([schema(), state(3)], **hours)
    assert sorted(names(target)) == [("waits", 1)] + [("x", 1)] * 3
    assert {one["stream"] for one in json.loads(called(target, tmp_path, teams, "ledger", "--json"))} == {"teams"}


def test_a_ledger_from_before_a_stream_was_new_finds_the_posts_of_it(target: Target) -> None:
    path = Path(target.config["ledger_url"].removeprefix("sqlite:///"))
    target.ran([schema(), *rows(1), state(1)])
    copy = path.read_bytes()
    target.ran([schema(stream="teams"), *rows(1, stream="teams"), state(2)])
    target.ran([schema(stream="teams"), *rows(2, stream="teams", name="waits"), state(3)], max_posts_per_run=0)
    path.write_bytes(copy)
    target.ran([schema(), schema(stream="teams"), *rows(1, stream="teams"), state(4)])
    assert names(target) == [("x", 1), ("x", 1), ("waits", 1)]


def test_posts_of_other_jobs_do_not_hide_that_nothing_waits_in_an_older_copy(target: Target, tmp_path: Path) -> None:
    hours, teams = (own_ledger(stream, tmp_path) for stream in ("hours", "teams"))
    path = tmp_path / "hours.db"
    target.ran([schema(), *rows(1), state(1)], **hours)
    copy = path.read_bytes()
    target.ran([schema(), *rows(2), state(2)], **hours)
    target.ran([schema(stream="teams"), *rows(*range(NEWEST), stream="teams"), state(1)], **teams)
    path.write_bytes(copy)
    assert isinstance(target.run([schema(), *rows(2), state(3)], **hours).error, LedgerError)
    assert len(target.posts()) == 2 + NEWEST


def called(target: Target, folder: Path, settings: dict[str, Any], *words: str) -> str:
    config = folder / "config.json"
    config.write_text(json.dumps({**target.config, **settings}))
    done = CliRunner().invoke(harkster, ["--config", str(config), *words])
    assert done.exit_code == 0, done.output
    return done.stdout


def adopted(target: Target, folder: Path, settings: dict[str, Any]) -> str:
    return called(target, folder, settings, "adopt")


# History


def test_what_each_run_did_is_known(target: Target, tmp_path: Path) -> None:
    mirror = {"streams": {"hours": {"mode": "mirror"}}, "mirror_max_share": 1}
    target.ran([schema(), *rows(1, 2, 3), record(id=4, name=7), state(1)], **mirror)
    gone = record(id=2, name="x", _sdc_deleted_at="2026-01-01")
    target.ran([schema(), *rows(1, name="y"), gone, state(2)], **mirror)
    target.run([schema(), *rows(9), b"{"], **mirror)
    target.ran([schema(), *rows(10), state(2)], dry_run=True, **mirror)
    told = json.loads(called(target, tmp_path, mirror, "runs", "--json"))
    columns = ("rows", "posted", "updated", "deleted", "rejected", "ended")
    assert [tuple(run[column] for column in columns) for run in told] == [
        (1, 1, 0, 0, 0, "Line 3 of the input is not a JSON object."),
        (2, 0, 1, 1, 0, "complete"),
        (4, 3, 0, 0, 1, "complete"),
    ]
    assert all(run["started_at"] <= run["ended_at"] and " of 1000000" in run["quota"] for run in told)
    shown = called(target, tmp_path, mirror, "runs")
    assert "Line 3 of the input is not a JSON object." in shown
    told = json.loads(called(target, tmp_path, mirror, "ledger", "--json", "--phase", "rejected"))
    assert [(one["key"], one["reason"]) for one in told] == [("[4]", "name does not hold to the type of its SCHEMA")]


class DiedError(BaseException):
    """The run ends here."""


@pytest.mark.parametrize("kind", ["draft", "defer", "for people"])
@pytest.mark.parametrize("goes", ["deleted", "missing", "moved"])
def test_what_nobody_has_seen_is_no_post_that_was_deleted(  # noqa: PLR0917 - fixtures and parameters
    sandbox: RunningSandbox, target: Target, tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str, goes: str
) -> None:
    caplog.set_level("INFO")
    other = Target.into_new_channel(sandbox, tmp_path)
    channel = {"column": "name", "allowed": [target.channel, other.channel]}
    settings: dict[str, Any] = {"streams": {"hours": {"mode": "mirror", "channel": channel}}, "mirror_max_share": 1}
    settings |= {"first_run": "draft"} if kind == "for people" else {"on_quota": kind, "max_posts_per_run": 0}
    target.ran([schema(), record(version=1, id=1, name=target.channel), state(1)], **settings)
    sent = {
        "deleted": [record(id=1, _sdc_deleted_at="2026-01-01T00:00:00Z")],
        "missing": [{"type": "ACTIVATE_VERSION", "stream": "hours", "version": 7}],
        "moved": rows(1, name=other.channel),
    }[goes]
    target.ran([schema(), *sent, state(2)], **settings)
    target.ran([schema(), state(3)], **settings | {"max_posts_per_run": 1})  # the new post takes the place of the old
    assert target.posts() == []
    assert [run["deleted"] for run in json.loads(called(target, tmp_path, settings, "runs", "--json"))] == [0, 0, 0]
    assert "deleted, whose" not in caplog.text
    assert "gone and deleted" not in caplog.text
    assert "moved, and deleted" not in caplog.text


@pytest.mark.parametrize("does", ["update", "delete"])
def test_a_run_counts_only_what_it_did_itself(target: Target, tmp_path: Path, does: str) -> None:
    mirror = {"streams": {"hours": {"mode": "mirror"}}, "mirror_max_share": 1}
    target.ran([schema(), *rows(1, 2), state(1)], **mirror)

    def change(key: int) -> list[Message]:
        gone: dict[str, Any] = {"_sdc_deleted_at": "2026-01-01"} if does == "delete" else {}
        return [schema(), record(id=key, name="new", **gone), state(2)]

    call = getattr(HarksterApi, does)

    def dies(*args: Any, **kwargs: Any) -> None:
        call(*args, **kwargs)
        raise DiedError

    with mock.patch.object(HarksterApi, does, dies), contextlib.suppress(DiedError):
        target.run(change(1), **mirror)
    target.ran(change(2), **mirror)
    assert names(target) == ([("new", 1)] * 2 if does == "update" else [])
    told = json.loads(called(target, tmp_path, mirror, "runs", "--json"))[0]
    assert (told["updated"], told["deleted"]) == ((1, 0) if does == "update" else (0, 1))


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("operation", ["update", "delete"])
def test_a_run_counts_what_it_did_though_the_answer_was_lost(
    target: Target, tmp_path: Path, operation: Any, when: Any
) -> None:
    mirror = {"streams": {"hours": {"mode": "mirror"}}, "mirror_max_share": 1}
    target.ran([schema(), *rows(1), state(1)], **mirror)
    target.sandbox.faults.replace(Fault(kind="reset", operation=operation, when=when, times=1))
    gone: dict[str, Any] = {"_sdc_deleted_at": "2026-01-01"} if operation == "delete" else {}
    target.ran([schema(), record(id=1, name="new", **gone), state(2)], **mirror)
    target.sandbox.faults.clear()
    assert names(target) == ([] if gone else [("new", 1)])
    told = json.loads(called(target, tmp_path, mirror, "runs", "--json"))[0]
    assert (told["updated"], told["deleted"]) == ((0, 1) if gone else (1, 0))


def test_a_run_that_was_cut_off_has_no_end(target: Target, tmp_path: Path) -> None:
    made = target.make()
    made.run.ledger.history.begin()
    made.run.close()
    assert json.loads(called(target, tmp_path, {}, "runs", "--json"))[0]["ended_at"] is None
    assert "goes on, or was cut off" in called(target, tmp_path, {}, "runs")
