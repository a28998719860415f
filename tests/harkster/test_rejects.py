"""Rejected rows: each is known once, in its newest version, and goes where it was to go or nowhere."""

from pathlib import Path
from typing import Any

import pytest
from api_sandbox import AccountPlan, ChannelPlan, Fault, RunningSandbox, WorkspacePlan
from target_harkster.run import Run

from tests.harkster.running import Command, Target, data, pairwise, plain, record, schema, state

NUMBER: dict[str, Any] = {"fields": [{"id": "name", "type": "number", "data": "name"}]}
TEXT: dict[str, Any] = {"fields": [{"id": "name", "type": "text", "data": "name"}]}


def streams(layout: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"streams": {"hours": {**layout, **more}}}


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


# To whom a row goes


def jobs(sandbox: RunningSandbox, folder: Path, *, share_ledger: bool = True) -> tuple[Target, Target]:
    """Two jobs in one folder, with the same stream name and channels of their own."""
    one, other = Target.into_new_channel(sandbox, folder), Target.into_new_channel(sandbox, folder)
    if not share_ledger:
        other.config["ledger_url"] = f"sqlite:///{folder}/other.db"
    return one, other


@pytest.mark.parametrize("share_ledger", [True, False])
def test_a_reject_of_one_job_is_none_of_another(sandbox: RunningSandbox, tmp_path: Path, *, share_ledger: bool) -> None:
    one, other = jobs(sandbox, tmp_path, share_ledger=share_ledger)
    bad = [schema(), record(id=1, name="of one"), state(1)]
    one.ran(bad, **streams(NUMBER))
    other.ran([schema(), record(id=1, name="of the other"), state(1)], **streams(NUMBER))
    told = [(each["channel"], each["record"]["name"]) for each in one.rejects()]
    assert sorted(told) == sorted([(one.channel, "of one"), (other.channel, "of the other")])
    # The layout of the other is mended, and its row comes again; it strikes out and posts nothing of the first.
    other.ran([schema()], **streams(TEXT))
    other.ran([schema(), record(id=1, name="of the other"), state(2)], **streams(TEXT))
    assert ([data(post)["name"] for post in other.posts()], one.posts()) == (["of the other"], [])
    assert [each["channel"] for each in one.rejects()] == [one.channel]
    one.ran([schema()], **streams(TEXT))
    assert [data(post)["name"] for post in one.posts()] == ["of one"]
    assert one.rejects() == []


def test_a_row_is_tried_again_in_the_channel_that_it_came_from_alone(
    sandbox: RunningSandbox, target: Target, tmp_path: Path
) -> None:
    other = Target.into_new_channel(sandbox, tmp_path)
    properties = {"id": {"type": "integer"}, "name": {"type": "string"}, "to": {"type": "string"}}
    channel = {"column": "to", "allowed": [target.channel, other.channel]}
    rows = [record(id=1, name="x", to=other.channel), record(id=2, name="y", to="nowhere")]
    target.ran([schema(properties), *rows, state(1)], **streams(NUMBER, channel=channel))
    assert {(one["channel"], one["kind"]) for one in target.rejects()} == {
        (other.channel, "row"),
        (target.channel, "stray"),
    }
    # All rows go to the first channel now: the row that was for the second one is not posted there.
    target.ran([schema(properties)], **streams(TEXT))
    assert [data(post)["name"] for post in target.posts()] == ["y"]
    assert [one["channel"] for one in target.rejects()] == [other.channel]
    target.ran([schema(properties)], **streams(TEXT, channel=channel))
    assert [data(post)["name"] for post in other.posts()] == ["x"]


def test_a_reject_of_a_baseline_stays_one(target: Target) -> None:
    settings = {"first_run": "baseline", **streams(NUMBER, mode="upsert")}
    target.ran([schema(), record(id=1, name="one"), record(id=2, name="2"), state(1)], **settings)
    settings = {"first_run": "baseline", **streams(TEXT, mode="upsert")}
    target.ran([schema(), record(id=3, name="three"), state(2)], **settings)
    assert [data(post)["name"] for post in target.posts()] == ["three"]
    assert target.rejects() == []
    target.ran([schema(), record(id=1, name="one, changed"), state(3)], **settings)
    assert [data(post)["name"] for post in target.posts()] == ["three", "one, changed"]


@pytest.mark.parametrize("mode", ["append", "upsert", "mirror"])
@pytest.mark.parametrize("named", ["first", "last"])
def test_a_row_that_is_gone_is_not_posted_later(target: Target, mode: str, named: str) -> None:
    def read(version: int, layout: dict[str, Any], *rows: Any) -> None:
        activate = {"type": "ACTIVATE_VERSION", "stream": "hours", "version": version}
        sent = [activate, *rows] if named == "first" else [*rows, activate]
        target.ran([schema(), *sent, state(version)], mirror_max_share=1, **streams(layout, mode=mode))

    read(1, NUMBER, record(id=1, name="one", version=1), record(id=2, name="two"), record(id=3, name="3", version=1))
    read(2, NUMBER, record(id=2, name="two"), record(id=3, name="3", version=2))
    assert [one["key"] for one in target.rejects()] == ["[2]"]
    read(3, TEXT, record(id=3, name="3", version=3))
    assert [data(post)["name"] for post in target.posts()] == ["3"]
    assert target.rejects() == []


def test_other_columns_of_its_key_are_refused_for_a_stream_with_rejects(target: Target) -> None:
    def rejected(key: str) -> dict[str, Any]:
        return {"streams": {"hours": {"key": [key], "fields": [{"id": "n", "type": "number", "data": "name"}]}}}

    properties = {"id": {"type": "integer"}, "other": {"type": "integer"}, "name": {"type": "string"}}
    rows = [record(id=1, other=2, name="bad"), record(id=2, other=1, name="bad")]
    # Rows without a key are no reason: nobody could mend the setting.
    target.ran([schema(properties), record(id=3, name="bad")], **rejected("other"))
    target.ran([schema(properties), *rows], **rejected("id"))
    before = target.rejects()
    ran = target.run([schema(properties), record(id=1, other=2, name="1"), state(1)], **rejected("other"))
    assert "hours: its posts and rejected rows in" in ran.told
    assert ran.states == []
    assert target.rejects() == before
    target.ran(
        [schema(properties), *(record(id=key, other=3 - key, name=str(key)) for key in (1, 2))], **rejected("id")
    )
    assert [data(post)["n"] for post in target.posts()] == ["1", "2"]


def test_a_row_that_was_marked_as_deleted_is_not_posted_later(target: Target) -> None:
    target.ran([schema(), record(id=1, name="one"), state(1)], **streams(NUMBER))
    target.ran([schema(), record(id=1, name="one", _sdc_deleted_at="2026-01-01"), state(2)], **streams(NUMBER))
    assert target.rejects() == []
    target.ran([schema()], **streams(TEXT))
    assert target.posts() == []


# Versions of one row in one run


@pytest.mark.parametrize("mode", ["append", "upsert"])
@pytest.mark.parametrize("bad", ["bad", 7])  # for the layout, for the SCHEMA
@pytest.mark.parametrize("batch", [1, 500])
def test_a_bad_version_and_a_good_one(  # noqa: PLR0917 - fixtures and parameters
    target: Target, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, mode: str, bad: Any, batch: int
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr("target_harkster.delivery.parcel_queue.BATCH", batch)
    rows = [
        *(record(id=1, name=name) for name in (bad, "1")),
        *(record(id=2, name=name) for name in ("2", bad)),
        *(record(id=3, name=name) for name in (bad, bad)),
    ]
    target.ran([schema(), *rows, state(1)], max_rejects=2, **streams(NUMBER, mode=mode))
    assert [data(post)["name"] for post in target.posts()] == ["1", "2"]
    # In append a known row is left alone, whatever comes of it, but for what does not even hold to its SCHEMA.
    rejected = ["[2]", "[3]"] if mode == "upsert" or bad == 7 else ["[3]"]
    assert [one["key"] for one in target.rejects()] == rejected
    assert f"Rejected rows: {len(rejected)};" in caplog.text
    told = next(line for line in caplog.messages if line.startswith("hours: 6 rows: 2 new"))
    assert f"{len(rejected)} rejected" in told
    counts = [int(part.split()[0]) for part in told.split(": ")[2].split(", ") if "delivered" not in part]
    assert sum(counts) == 6


@pytest.mark.parametrize("key", [("id",), ("name", "id"), ()])
def test_what_is_blacked_out_is_in_no_key(target: Target, key: tuple[str, ...]) -> None:
    properties = {"id": {"type": "integer"}, "name": {"type": "string"}, "hours": {"type": "number"}}
    rows = [schema(properties, key=key), record(id=1, name="Ann Secret", hours="x")]
    target.ran(rows, reject_redact=["name"])
    (reject,) = target.rejects()
    assert "(redacted)" in str(reject["record"])
    assert not [path for path in written(target) if b"Secret" in path.read_bytes()]
    # Its row is recognised all the same.
    target.ran(rows, reject_redact=["name"])
    assert len(target.rejects()) == 1
    target.ran([rows[0], record(id=1, name="Ann Secret", hours=1)], reject_redact=["name"])
    assert len(target.rejects()) == (0 if key else 1)


@pytest.mark.parametrize("key", [("id",), ("who",), ()])
def test_what_is_blacked_out_is_in_nothing_nested(target: Target, key: tuple[str, ...]) -> None:
    properties = {"id": {"type": "integer"}, "who": {"type": "object"}, "hours": {"type": "number"}}
    who = {"name": "Ann Secret", "teams": [{"lead": {"name": "Bob Secret"}}], "size": 2}
    rows = [schema(properties, key=key), record(id=1, who=who, hours="x"), state(1)]
    target.ran(rows, reject_redact=["name"])
    (reject,) = target.rejects()
    hidden = "(redacted)"
    assert reject["record"]["who"] == {"name": hidden, "teams": [{"lead": {"name": hidden}}], "size": 2}
    assert reject["redacted"] == ["name"]
    assert not [path for path in written(target) if b"Secret" in path.read_bytes()]


@pytest.mark.parametrize(
    "expression",
    [
        "{{ '2026-01-01T00:00:00Z' | datetime('HH:mm', name) }}",
        "{{ '2026-01-01T00:00:00Z' | date('d', name) }}",
        "{{ 1 | currency(name) }}",
        "{{ (1 | lookup(name, 'x')) if name else '' }}",
        "{{ (1 | lookup('users', name)) if name else '' }}",
        "{{ [[1]] | map(name) | list }}",
        "{{ [1][name] if name else '' }}",
        "{{ 'x' | attr('_' ~ name) if name else '' }}",
        "{{ hours[name] + 1 }}",
    ],
)
def test_what_fails_for_a_value_does_not_repeat_it(
    target: Target, expression: str, caplog: pytest.LogCaptureFixture
) -> None:
    properties = {"id": {"type": "integer"}, "name": {"type": "string"}, "hours": {"type": "number"}}
    hours = {"fields": [{"id": "f", "type": "text", "data": expression}]}
    users = [schema({"id": {"type": "integer"}}, stream="users"), schema(properties)]
    row = record(id=1, name="Secret", hours=7)
    target.ran([*users, row, state(1)], streams={"users": {"mode": "lookup"}, "hours": hours}, reject_redact=["name"])
    assert [one["field"] for one in target.rejects()] == ["f"]
    assert "Secret" not in caplog.text
    assert not [path for path in written(target) if b"Secret" in path.read_bytes()]


@pytest.mark.parametrize(
    ("mode", "on_quota", "good", "is_stray"),
    pairwise(["append", "upsert", "mirror"], ["defer", "draft"], ["3", "1"], [False, True]),
)
def test_what_waits_is_not_published_while_a_newer_version_of_its_row_is_rejected(  # noqa: PLR0917 - fixtures and parameters
    sandbox: RunningSandbox, target: Target, tmp_path: Path, mode: str, on_quota: str, good: str, *, is_stray: bool
) -> None:
    """Then the run in which a good one comes publishes it, be it the older one again."""
    other = Target.into_new_channel(sandbox, tmp_path)
    settings = streams(NUMBER, mode=mode, channel={"column": "to", "allowed": [other.channel, target.channel]})
    settings |= {"on_quota": on_quota, "mirror_max_share": 1}
    first = schema({"id": {"type": "integer"}, "name": {"type": "string"}, "to": {"type": "string"}})
    rows = [record(id=number, name="1", to=target.channel) for number in (1, 2)]
    target.ran([first, *rows, state(1)], **settings, max_posts_per_run=0)
    wrong = record(id=1, name="2", to="nowhere") if is_stray else record(id=1, name="x", to=other.channel)
    target.ran([first, wrong, state(2)], **settings, max_posts_per_run=0)
    target.ran([first, state(3)], **settings)
    shown = [data(post)["name"] for post in target.posts() if post.status == "published"]
    assert shown == (["1", "1"] if mode == "append" else ["1"])
    assert other.posts() == []
    target.ran([first, record(id=1, name=good, to=target.channel), state(4)], **settings)
    shown = [data(post)["name"] for post in target.posts() if post.status == "published"]
    assert sorted(shown) == (["1", "1"] if mode == "append" else ["1", good])
    assert target.rejects() == []


@pytest.mark.parametrize("key", [[1, "2"], {"a": 1}, True, [[1.5]]])
def test_a_rejected_row_with_any_key_is_tried_again(target: Target, tmp_path: Path, key: Any) -> None:
    properties = {"id": {}, "name": {"type": "string"}}
    layout = {"mode": "upsert", "fields": [{"id": "f", "type": "status", "data": "name"}]}
    target.config["streams"] = {"hours": layout}
    target.ran([schema(properties), record(id=key, name="x"), state(1)])
    target.ran([schema(properties), record(id=7, name="red"), state(2)])
    assert Command(target, tmp_path)("retry").startswith("0 of 1 rejected rows")
    target.ran([schema(properties), record(id=key, name="green"), state(3)])
    assert target.rejects() == []
    assert [data(post)["f"] for post in target.posts()] == ["red", "green"]


@pytest.mark.parametrize(
    ("settings", "redacted"),
    [
        ({}, "who__name"),
        ({"flattening_separator": "."}, "who.name"),
        ({"flattening_max_key_length": 6}, "who__nam"),
        ({"flattening_enabled": False, "stream_maps": {"hours": {"who": "who['name'].lower()"}}}, "who"),
        ({"stream_maps": {"hours": {"lead": "who", "who": None}}}, "lead__name"),
    ],
    ids=["flattened", "with another separator", "abbreviated", "mapped", "mapped and flattened"],
)
def test_what_is_blacked_out_is_so_under_another_name(target: Target, settings: dict[str, Any], redacted: str) -> None:
    who = {"type": "object", "properties": {"name": {"type": "string"}, "size": {"type": "integer"}}}
    properties = {"id": {"type": "integer"}, "who": who, "hours": {"type": "number"}}
    row = record(id=1, who={"name": "ANN Secret", "size": 2}, hours="x")
    flattening = {"flattening_enabled": True, "flattening_max_depth": 3}
    target.ran([schema(properties), row, state(1)], **{"reject_redact": ["name"], **flattening, **settings})
    (reject,) = target.rejects()
    assert reject["redacted"] == [redacted]
    assert reject["record"][redacted] == "(redacted)"
    assert not [path for path in written(target) if b"secret" in path.read_bytes().lower()]


def test_a_row_without_its_key_is_a_reject(target: Target) -> None:
    rows = [schema(), record(id=1, name="one"), record(name="two"), record(id=None, name="three"), record(id=4)]
    for _ in range(2):
        assert target.ran([*rows, state(1)]) == [1]
        assert [(one["key"], one["field"], one["reason"]) for one in target.rejects()] == [
            (None, "id", "is missing, and a part of the key"),
            (None, "id", "is null, and a part of the key"),
        ]
        assert len(target.posts()) == 2
    target.ran([schema(), record(id=4, _sdc_deleted_at="2026-01-01"), record(_sdc_deleted_at="2026-01-01"), state(2)])
    assert len(target.rejects()) == 2


def test_what_is_blacked_out_is_in_no_key_of_a_group(target: Target) -> None:
    digest = streams({"fields": [{"id": "n", "type": "number", "data": "{{ 1 / 0 }}"}]}, group_by=["name"])
    for messages in ([record(id=1, name="Ann Secret"), state(1)], []):  # as it fails first, and again
        target.ran([schema(), *messages], reject_redact=["name"], **digest)
        assert [(one["kind"], one["key"]) for one in target.rejects()] == [("post", '["(redacted)"]')]


def test_what_is_to_be_blacked_out_from_now_on_is_in_no_older_reject(target: Target) -> None:
    target.ran([schema(), record(id=1, name="Ann Secret"), state(1)], **streams(NUMBER))
    assert "Secret" in str(target.rejects())
    target.ran([schema(), state(2)], reject_redact=["name"], **streams(TEXT))
    (reject,) = target.rejects()
    assert (reject["key"], reject["record"]) == ("[1]", {"id": 1, "name": "(redacted)"})
    assert target.posts() == []
    target.ran([schema(), state(3)], **streams(TEXT))
    assert (target.posts(), target.rejects()) == ([], [reject])


def written(target: Target) -> list[Path]:
    """All that runs have written."""
    return [*Path(target.config["reject_path"]).parent.iterdir()]


def test_rejects_are_told_whatever_ends_the_run(target: Target) -> None:
    bad = {"group_by": ["name"], "fields": [{"id": "n", "type": "number", "data": "{{ nobody }}"}]}
    messages = [schema(), record(id=1, name="one"), schema(stream="teams"), state(1)]
    ran = target.run(messages, streams={**streams(NUMBER)["streams"], "teams": bad})
    assert "the expression asks for nobody" in str(ran.error)
    assert [(one["key"], one["reason"]) for one in target.rejects()] == [("[1]", "is text, not a number")]


def test_a_digest_that_fails_is_no_share_of_no_rows(target: Target) -> None:
    digest = streams({"fields": [{"id": "n", "type": "number", "data": "{{ 1 / 0 }}"}]}, group_by=["name"])
    target.ran([schema(), record(id=1, name="A"), record(id=2, name="A"), state(1)], max_reject_share=0.5, **digest)
    target.ran([schema(), state(2)], max_reject_share=0.5, **digest)
    assert [one["reason"] for one in target.rejects()] == ["has an expression that divides by zero"]


def test_a_ledger_is_for_its_owner_alone(target: Target) -> None:
    path = Path(target.config["ledger_url"].removeprefix("sqlite:///"))
    path.touch(0o644)
    path.chmod(0o644)
    modes: set[int] = set()
    with pytest.MonkeyPatch.context() as patched:
        end = Run.end

        def looked(*args: Any, **kwargs: Any) -> None:
            modes.update(
                one.stat().st_mode & 0o777 for one in path.parent.glob(f"{path.name}*") if one.suffix != ".lock"
            )
            end(*args, **kwargs)

        patched.setattr(Run, "end", looked)
        target.ran([schema(), record(id=1, name="one")])
    assert modes == {0o600}
    assert len(target.posts()) == 1
