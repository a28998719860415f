"""The reject file: every rejected row is in it once, its newest version, whenever a run ends."""

import threading
from pathlib import Path
from typing import Any

import pytest
from api_sandbox import AccountPlan, ChannelPlan, Fault, WorkspacePlan
from target_harkster.ledger.rejects import Reject, RejectFile

from tests.harkster.running import Target, data, plain, record, schema, state

NUMBER: dict[str, Any] = {"fields": [{"id": "name", "type": "number", "data": "name"}]}
TEXT: dict[str, Any] = {"fields": [{"id": "name", "type": "text", "data": "name"}]}


def streams(layout: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"streams": {"hours": {**layout, **more}}}


def reject(key: str, name: Any = None) -> Reject:
    return Reject("hours", key, "name", "is text, not a number", {"name": name})


def test_the_same_row_rejected_again_stays(target: Target) -> None:
    for _ in range(3):
        target.ran([schema(), record(id=1, name="one"), state(1)], **streams(NUMBER))
        assert [one["key"] for one in target.rejects()] == ["[1]"]
    target.ran([schema()], **streams(TEXT))
    assert [data(post)["name"] for post in target.posts()] == ["one"]
    assert target.rejects() == []


def test_an_older_version_is_not_tried_once_a_newer_one_was_posted(target: Target) -> None:
    upsert = {"mode": "upsert"}
    target.ran([schema(), record(id=1, name="old"), state(1)], **streams(NUMBER, **upsert))
    # The run ends badly, but behind the STATE that is about the newer version.
    ran = target.run([schema(), record(id=1, name="2"), state(2), b"{"], **streams(NUMBER, **upsert))
    assert ran.states == [2]
    assert target.rejects() == []
    target.ran([schema()], **streams(TEXT, **upsert))
    assert [data(post)["name"] for post in target.posts()] == ["2"]


def test_a_newer_version_of_the_same_run_counts_too(target: Target) -> None:
    rows = [record(id=1, name="old"), *(record(id=key, name="7") for key in range(2, 600)), record(id=1, name="1")]
    target.ran([schema(), *rows], **streams(NUMBER, mode="upsert"), first_run="baseline")
    assert target.rejects() == []


def test_only_the_newest_of_a_row_is_read_and_none_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "rejects.jsonl"
    # As an earlier version left it when it was killed.
    path.write_bytes(reject("[1]", "a").line() + reject("[2]", "x").line() + reject("[1]", "b").line() + b'{"stre')
    file = RejectFile(str(path), ())
    assert [(one.key, one.record) for one in file.earlier] == [("[1]", {"name": "b"}), ("[2]", {"name": "x"})]
    file.strike(("hours", "[1]", False))
    file.sync()
    assert path.read_bytes() == reject("[2]", "x").line()


def test_two_processes_write_to_one_file(tmp_path: Path) -> None:
    path = str(tmp_path / "rejects.jsonl")

    def run(stream: str) -> None:
        file = RejectFile(path, ())
        for number in range(30):
            file.add(Reject(stream, f"[{number % 10}]", None, f"is wrong {number}"))
            file.sync()

    threads = [threading.Thread(target=run, args=(stream,)) for stream in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = RejectFile(path, ()).earlier
    assert sorted((one.stream, one.key) for one in found) == sorted(
        (stream, f"[{number}]") for stream in "abc" for number in range(10)
    )
    assert {one.reason for one in found} == {f"is wrong {number}" for number in range(20, 30)}
    assert len(Path(path).read_bytes().splitlines()) == 30


def test_bad_rows_of_one_group_are_rows_of_their_own(target: Target) -> None:
    properties = {"id": {"type": "integer"}, "week": {"type": "string"}, "hours": {"type": "number"}}
    weekly = {
        "group_by": ["week"],
        "mode": "upsert",
        "fields": [{"id": "n", "type": "number", "data": "{{ rows | sum(attribute='hours') }}"}],
    }
    bad = [record(id=1, week="W1", hours="x"), record(id=2, week="W1", hours="y"), record(id=3, week="W1", hours=3)]
    target.ran([schema(properties), *bad, state(1)], **streams(weekly))
    assert [one["key"] for one in target.rejects()] == ["[1]", "[2]"]
    target.ran([schema(properties), record(id=1, week="W1", hours=1), state(2)], **streams(weekly))
    assert [one["key"] for one in target.rejects()] == ["[2]"]
    assert [data(post)["n"] for post in target.posts()] == ["4"]


def test_a_digest_that_failed_is_struck_out_when_it_is_posted(target: Target) -> None:
    for expression, rejected in (("{{ 1 / 0 }}", [None]), ("{{ 1 / 0 }}", [None]), ("{{ rows | length }}", [])):
        digest = {"group_by": ["name"], "fields": [{"id": "n", "type": "number", "data": expression}]}
        rows = [] if not rejected else [record(id=1, name="A")]
        target.ran([schema(), *rows], **streams(digest))
        assert [one["record"] for one in target.rejects()] == rejected
    assert [data(post)["n"] for post in target.posts()] == ["1"]


def refusing(serve: Any, tmp_path: Path, **plan: Any) -> Target:
    account = AccountPlan(
        name="Acme Inc.",
        quota=plan.pop("quota", 100),
        workspaces=(WorkspacePlan(name="Projects", channels=(ChannelPlan(name="First"),)),),
    )
    return Target.into_new_channel(serve(accounts=(account,), **plan), tmp_path)


def test_a_change_that_the_api_refuses_is_not_taken_for_posted(target: Target) -> None:
    upsert = streams(TEXT, mode="upsert")
    target.ran([schema(), record(id=1, name="one")], **upsert)
    target.sandbox.faults.replace(Fault(kind="status", operation="update", status=422))
    try:
        target.ran([schema(), record(id=1, name="two"), state(2)], **upsert)
        assert [one["key"] for one in target.rejects()] == ["[1]"]
        target.ran([schema()], **upsert)
        assert [one["key"] for one in target.rejects()] == ["[1]"]
    finally:
        target.sandbox.faults.clear()
    target.ran([schema()], **upsert)
    assert target.rejects() == []
    assert [data(post)["name"] for post in target.posts()] == ["two"]


@pytest.mark.parametrize("on_quota", ["draft", "defer"])
def test_a_post_that_waits_and_is_refused_later_is_not_lost(serve: Any, tmp_path: Path, on_quota: str) -> None:
    target = refusing(serve, tmp_path, quota=0)
    settings = {**streams(TEXT, mode="upsert"), "on_quota": on_quota}
    assert target.ran([schema(), record(id=1, name="one"), state(1)], **settings) == [1]
    target.sandbox.harkster.set_quota("Acme Inc.", quota=10)
    for operation in ("create", "publish"):
        target.sandbox.faults.replace(Fault(kind="status", operation=operation, status=422))
        assert target.ran([schema(), state(2)], **settings) == [2]
        told = [(one["stream"], one["key"], one["record"]) for one in target.rejects()]
        # A draft that is there already need not be created.
        assert told == ([] if (on_quota, operation) == ("draft", "create") else [("hours", "[1]", None)])
        if not told:
            break
    # Its row comes again, and is refused as a whole: now it is known.
    if target.rejects():
        target.ran([schema(), record(id=1, name="one"), state(3)], **settings)
        assert [one["record"] for one in target.rejects()] == [{"id": 1, "name": "one"}]
    target.sandbox.faults.clear()
    target.ran([schema()], **settings)
    assert target.rejects() == []
    assert [(plain(post)[0]["data"], post.publications) for post in target.posts()] == [("one", 1)]
