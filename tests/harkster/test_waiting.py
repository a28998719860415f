"""Quotas, first runs, rejects and dry runs: what is not posted, or not yet."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import requests
from api_sandbox import AccountPlan, ChannelPlan, Fault, RunningSandbox, WorkspacePlan
from target_harkster.ledger.rejects import TooManyRejectsError
from target_harkster.vendor.client import PostQuotaReachedError
from target_harkster.vendor.field_types import FIELD_TYPES

from tests.harkster.running import Message, Ran, Target, as_input, data, record, schema, state


def small(serve: Any, tmp_path: Path, quota: int, used: int = 0, **details: Any) -> Target:
    plan = AccountPlan(
        name="Acme Inc.",
        quota=quota,
        used=used,
        workspaces=(WorkspacePlan(name="Projects", channels=(ChannelPlan(name="First"),)),),
    )
    return Target.into_new_channel(serve(accounts=(plan,), **details), tmp_path)


def rows(*ids: int) -> list[Message]:
    return [schema(), *(record(id=number, name=str(number)) for number in ids), state(max(ids, default=0))]


def statuses(target: Target) -> list[str]:
    return [post.status for post in target.posts()]


# Quota


@pytest.mark.parametrize("headers", ["always", "writes", "never"])
def test_drafts_wait_for_the_next_month_oldest_first(serve: Any, tmp_path: Path, headers: str) -> None:
    target = small(serve, tmp_path, quota=2, quota_headers=headers)
    assert target.ran(rows(1, 2, 3, 4)) == [4]
    assert statuses(target) == ["published", "published", "draft", "draft"]
    target.sandbox.harkster.next_month()
    target.ran(rows(5))
    assert statuses(target) == ["published", "published", "published", "published", "draft"]
    events = [event.post_id for event in target.sandbox.harkster.truth().events if event.kind == "published"]
    assert events == [post.id for post in target.posts()][:4]


def test_posts_can_wait_in_the_ledger(serve: Any, tmp_path: Path) -> None:
    target = small(serve, tmp_path, quota=1)
    assert target.ran(rows(1, 2, 3), on_quota="defer") == [3]
    assert statuses(target) == ["published"]
    target.sandbox.harkster.set_quota("Acme Inc.", quota=10)
    target.ran(rows(), on_quota="defer")
    target.ran([schema()], on_quota="defer")
    assert [data(post)["name"] for post in target.posts()] == ["1", "2", "3"]


@pytest.mark.parametrize("on_quota", ["draft", "defer"])
@pytest.mark.parametrize("mode", ["append", "upsert", "mirror"])
def test_a_post_that_waits_goes_with_its_row(serve: Any, tmp_path: Path, mode: str, on_quota: str) -> None:
    target = small(serve, tmp_path, quota=1)
    settings = {"on_quota": on_quota, "mirror_max_share": 1, "streams": {"hours": {"mode": mode}}}
    target.ran(rows(1, 2, 3), **settings)
    target.ran([schema(), record(id=2, name="2", _sdc_deleted_at="2026-01-01T00:00:00Z"), state(2)], **settings)
    target.sandbox.harkster.set_quota("Acme Inc.", quota=10)
    target.ran(rows(), **settings)
    assert [data(post)["name"] for post in target.posts() if post.publications] == ["1", "3"]
    assert "draft" not in statuses(target)
    # Nobody has seen it, so it is as good as new.
    target.ran(rows(2), **settings)
    assert [data(post)["name"] for post in target.posts() if post.publications] == ["1", "3", "2"]


def test_a_waiting_post_gets_the_newest_content(serve: Any, tmp_path: Path) -> None:
    for on_quota in ("draft", "defer"):
        folder = tmp_path / on_quota
        folder.mkdir()
        target = small(serve, folder, quota=0)
        settings = {"on_quota": on_quota, "streams": {"hours": {"mode": "upsert"}}}
        target.ran([schema(), record(id=1, name="old")], **settings)
        target.ran([schema(), record(id=1, name="new")], **settings)
        target.sandbox.harkster.set_quota("Acme Inc.", quota=10)
        target.ran([schema()], **settings)
        assert [(data(post)["name"], post.status, post.publications) for post in target.posts()] == [
            ("new", "published", 1)
        ]


def test_a_run_can_fail_for_the_quota(serve: Any, tmp_path: Path) -> None:
    target = small(serve, tmp_path, quota=1)
    ran = target.run([schema(), record(id=1), state(1), record(id=2), state(2)], on_quota="fail")
    assert isinstance(ran.error, PostQuotaReachedError)
    assert ran.states == [1]
    assert isinstance(target.run([schema(), record(id=2), state(2)], on_quota="fail").error, PostQuotaReachedError)
    target.sandbox.harkster.set_quota("Acme Inc.", quota=5)
    assert target.ran([schema(), record(id=2), state(2)], on_quota="fail") == [2]
    assert statuses(target) == ["published"] * 2


def test_a_reserve_is_left_and_a_run_posts_no_more_than_allowed(serve: Any, tmp_path: Path) -> None:
    target = small(serve, tmp_path, quota=5)
    target.ran(rows(1, 2, 3), quota_reserve=3)
    assert statuses(target) == ["published", "published", "draft"]
    target.ran(rows(4, 5), max_posts_per_run=1)
    assert statuses(target) == ["published"] * 3 + ["draft"] * 2


def test_a_run_tells_how_far_the_quota_goes(serve: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    target = small(serve, tmp_path, quota=5, used=1)
    caplog.set_level("INFO")

    def told(*ids: int, **settings: Any) -> list[str]:
        caplog.clear()
        target.ran(rows(*ids), **settings)
        words = ("this month", "in this run", "later run", "earlier runs")
        found = [message for message in caplog.messages if any(word in message for word in words)]
        return [re.sub(r"Acme Inc\./Projects/Channel [0-9]+", "…", message) for message in found]

    assert told(1, 2, 3, quota_reserve=2) == [
        "Acme Inc.: 1 of 5 posts of this month used, 4 left, 2 of these kept in reserve.",
        (
            "…: posts to publish: 3, of which 1 cannot be now."
            " 1 of 5 posts of this month used, 4 left, 2 of these kept in reserve."
        ),
        "Posts published in this run: 2.",
        "Acme Inc.: 3 of 5 posts of this month used, 2 left, 2 of these kept in reserve.",
        "…: posts that wait for a later run: 1.",
    ]
    assert told(1, 2, 3, 4, max_posts_per_run=1) == [
        "Acme Inc.: 3 of 5 posts of this month used, 2 left; this run may publish 1 more.",
        "…: going on with 1 posts of earlier runs.",
        "…: posts to publish: 1. 3 of 5 posts of this month used, 2 left; this run may publish 1 more.",
        (
            "…: posts to publish: 1, of which 1 cannot be now."
            " 4 of 5 posts of this month used, 1 left; this run may publish 0 more."
        ),
        "Posts published in this run: 1.",
        "Acme Inc.: 4 of 5 posts of this month used, 1 left; this run may publish 0 more.",
        "…: posts that wait for a later run: 1.",
    ]
    # Rows that are known need no forecast: there is one for the post that waits, and no other.
    assert sum("posts to publish" in line for line in told(1, 2, 3, 4, quota_reserve=1)) == 1


def test_a_quota_that_others_use_up_is_not_tried_again(serve: Any, tmp_path: Path) -> None:
    target = small(serve, tmp_path, quota=3, quota_headers="never")
    target.sandbox.harkster.set_quota("Acme Inc.", used=0)
    target.make(reject_path=str(tmp_path / "x"))
    # Told at the start that three are left, and refused after the first: somebody else was faster.
    original = target.sandbox.harkster.truth().quota_refusals
    run: Ran = target.run([*rows(1)[:-1]])
    assert run.error is None
    target.sandbox.harkster.set_quota("Acme Inc.", quota=1)
    target.ran(rows(2, 3))
    assert statuses(target) == ["published", "draft", "draft"]
    assert target.sandbox.harkster.truth().quota_refusals == original


def test_a_rate_limit_is_waited_for(target: Target) -> None:
    target.sandbox.faults.replace(Fault(kind="status", status=429, rate=0.4))
    try:
        assert target.ran(rows(1, 2, 3, 4, 5)) == [5]
    finally:
        target.sandbox.faults.clear()
    assert [post.publications for post in target.posts()] == [1] * 5


# First runs


def test_a_first_run_can_record_only(target: Target) -> None:
    settings = {"first_run": "baseline", "streams": {"hours": {"mode": "upsert"}}}
    target.ran(rows(1, 2), **settings)
    assert target.posts() == []
    target.ran([schema(), record(id=1, name="1"), record(id=2, name="changed"), record(id=3, name="new")], **settings)
    assert [data(post)["name"] for post in target.posts()] == ["changed", "new"]


def test_what_was_recorded_is_no_news_by_another_layout(target: Target) -> None:
    def layout(label: str) -> dict[str, Any]:
        fields = [{"id": "name", "type": "text", "label": label, "data": "name"}]
        return {"first_run": "baseline", "streams": {"hours": {"mode": "upsert", "fields": fields}}}

    rows = [record(id=number, name=str(number)) for number in range(3)]
    target.ran([schema(), *rows, state(1)], **layout("Name"))
    target.ran([schema(), *rows, state(2)], **layout("Who"))
    target.ran([schema(), *rows, state(3)], **layout("Whose"))
    assert target.posts() == []
    target.ran([schema(), *rows[:2], record(id=2, name="new"), state(4)], **layout("Who"))
    assert target.fields() == [[{"type": "text", "id": "name", "label": "Who", "data": "new"}]]


def test_a_draft_that_is_left_to_people_stays_one_where_its_row_goes(
    sandbox: RunningSandbox, target: Target, tmp_path: Path
) -> None:
    other = Target.into_new_channel(sandbox, tmp_path)
    properties = {"id": {"type": "integer"}, "name": {"type": "string"}, "to": {"type": "string"}}
    channel = {"column": "to", "allowed": [target.channel, other.channel]}
    settings = {"first_run": "draft", "streams": {"hours": {"mode": "upsert", "channel": channel}}}
    for number, at in enumerate((target, other), 1):
        target.ran([schema(properties), record(id=1, name="one", to=at.channel), state(number)], **settings)
        assert [(post.status, post.publications) for post in at.posts()] == [("draft", 0)]
    assert target.posts() == []


def test_a_first_run_can_leave_drafts_to_people(target: Target) -> None:
    target.ran(rows(1, 2), first_run="draft")
    target.ran(rows(1, 2, 3), first_run="draft")
    assert statuses(target) == ["draft", "draft", "published"]


def test_a_first_run_that_was_cut_off_is_still_the_first(target: Target) -> None:
    ran = target.run([*rows(1), b"{"], first_run="draft")
    assert "Line 4 of the input is not a JSON object." in str(ran.error)
    target.ran(rows(2), first_run="draft")
    target.ran(rows(3), first_run="draft")
    assert statuses(target) == ["draft", "published"]


# Rejects


def test_a_bad_row_stops_no_good_one_and_is_tried_again(target: Target) -> None:
    fields = [{"id": "name", "type": "number", "data": "name"}]
    settings: dict[str, Any] = {"streams": {"hours": {"fields": fields}}}
    bad = [schema(), record(id=1, name="one"), record(id=2, name="2"), record(id=None, name="3"), state(1)]
    assert target.ran(bad, **settings) == [1]
    assert [data(post)["name"] for post in target.posts()] == ["2"]
    assert {(one["key"], one["field"], one["reason"]) for one in target.rejects()} == {
        ("[1]", "name", "is text, not a number"),
        (None, "id", "is null, and a part of the key"),
    }
    assert {"id": 1, "name": "one"} in [one["record"] for one in target.rejects()]
    # The layout is mended: the next run of the stream posts the row, without the tap.
    target.ran([schema()])
    assert sorted(str(data(post)["name"]) for post in target.posts()) == ["2", "one"]
    assert [one["key"] for one in target.rejects()] == [None]


def test_a_newer_version_of_a_row_stands_for_the_rejected_one(target: Target) -> None:
    fields = [{"id": "name", "type": "number", "data": "name"}]
    settings: dict[str, Any] = {"streams": {"hours": {"fields": fields}}}
    target.ran([schema(), record(id=1, name="one")], **settings)
    target.ran([schema(), record(id=1, name="still one")], **settings)
    assert [one["record"]["name"] for one in target.rejects()] == ["still one"]
    target.ran([schema(), record(id=1, name="1")], **settings)
    assert target.rejects() == []
    assert [data(post)["name"] for post in target.posts()] == ["1"]


def test_a_row_that_is_rejected_again_stays_in_the_file(target: Target) -> None:
    for _ in range(3):
        target.ran([schema(), record(id=1, name=7), record(id=2, name=7)])
        target.ran([schema(), record(id=1, name=7)])
    assert sorted(one["key"] for one in target.rejects()) == ["[1]", "[2]"]


def test_redacted_rows_are_not_written_and_not_tried(target: Target) -> None:
    target.ran([schema(), record(id=1, name=7)], reject_redact=["name"])
    text = Path(target.config["reject_path"]).read_text()
    assert '"name":"(redacted)"' in text
    assert oct(Path(target.config["reject_path"]).stat().st_mode)[-3:] == "600"
    target.ran([schema()])
    assert len(target.rejects()) == 1


def test_a_new_ledger_is_for_its_owner_alone(target: Target, tmp_path: Path) -> None:
    target.ran([schema(), record(id=1, name="x"), record(id=2, name=7), state(1)])
    assert [data(post)["name"] for post in target.posts()] == ["x"]
    assert {oct(path.stat().st_mode)[-3:] for path in tmp_path.glob("ledger.db*") if path.suffix != ".lock"} == {"600"}


def test_too_many_rejects_end_the_run(target: Target) -> None:
    bad = [record(id=number, name=7) for number in range(4)]
    ran = target.run([schema(), record(id=9), state(0), *bad, state(1)], max_rejects=2)
    assert isinstance(ran.error, TooManyRejectsError)
    assert 1 not in ran.states
    ran = target.run([schema(), record(id=10), *bad[:1], state(1)], max_reject_share=0.4)
    assert isinstance(ran.error, TooManyRejectsError)
    assert ran.states == [1]


def test_a_row_that_the_api_refuses_is_rejected(serve: Any, tmp_path: Path) -> None:
    target = small(serve, tmp_path, quota=100, values="numbers")
    assert target.ran(rows(1), max_reject_share=1) == [1]
    assert target.posts() == []
    assert "HTTP 400" in target.rejects()[0]["reason"]
    target.ran([schema()], numbers_as="number")
    assert statuses(target) == ["published"]
    assert target.rejects() == []


# Dry runs and previews


def test_a_dry_run_changes_nothing(target: Target, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"streams": {"hours": {"mode": "upsert"}}}
    target.ran([schema(), record(id=1, name="1"), record(id=2, name="2")], **settings)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if "lock" not in path.name}
    events = len(target.sandbox.harkster.truth().events)
    made = target.make(dry_run=True, preview_path=str(tmp_path / "page.html"), **settings)
    made.listen(
        as_input(  # type: ignore[arg-type]
            [
                schema(),
                record(id=1, name="1"),
                record(id=2, name="changed"),
                record(id=3, name="<b>new</b>"),
                record(id=4, name=5),
                state(1),
            ]
        )
    )
    assert made.run.plan is not None
    figures = {"publish": 1, "update": 1, "delete": 0, "drafts": 0, "unchanged": 1, "rejected": 1, "waiting": 0}
    assert made.run.plan.streams == {"hours": figures}
    assert len(target.sandbox.harkster.truth().events) == events
    page = (tmp_path / "page.html").read_text()
    assert "&lt;b&gt;new&lt;/b&gt;" in page
    assert "2 in all, 2 to post" in page
    assert "published" not in page
    (tmp_path / "page.html").unlink()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if "lock" not in path.name} == before


def test_a_dry_run_writes_no_state(target: Target, tmp_path: Path) -> None:
    assert target.ran(rows(1), dry_run=True) == []
    assert list(tmp_path.glob("*.db")) == []


def test_the_preview_shows_what_waited(target: Target, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    target.ran(rows(1, 2), max_posts_per_run=1)
    for is_dry, told in ((True, "2 to post"), (False, "2 published")):
        target.ran(rows(3), preview_path=str(path), dry_run=is_dry)
        assert f"2 in all, {told}" in path.read_text()


def test_the_preview_shows_all_types(target: Target, tmp_path: Path) -> None:
    columns = {"id": {"type": "integer"}, "note": {"type": "string"}}
    more: dict[str, dict[str, Any]] = {
        "currency": {"options": {"ccy": "GBP"}, "data": "{{ 1234567.5 }}"},
        "percentage": {"input": "percent"},
        "status": {"data": "{{ 'amber' }}"},
        "date": {"data": "{{ '2026-03-29' }}"},
        "heading": {"label": "Head <&>", "data": None},
        "divider": {"data": None},
    }
    fields = [
        {key: value for key, value in {"id": name, "type": name, "data": "id", **more.get(name, {})}.items() if value}
        for name in FIELD_TYPES
    ]
    path = tmp_path / "page.html"
    target.ran([schema(columns), record(id=7)], preview_path=str(path), streams={"hours": {"fields": fields}})
    page = path.read_text()
    for name, kind in FIELD_TYPES.items():
        assert kind.encode is None or f'data-type="{name}"' in page
    for shown in ("1,234,567.5 GBP", "7 %", 'class="dot amber"', "2026-03-29", "Head &lt;&amp;&gt;</h3>", "<hr>"):
        assert shown in page
    for needed in ("width=device-width", "prefers-color-scheme: dark", "1 in all, 1 published", 'dir="auto"'):
        assert needed in page
    assert page.index('<div class="tiles">') < page.index('data-type="number"') < page.index('data-type="text"')
    assert "http" not in page
    assert oct(path.stat().st_mode)[-3:] == "600"


def test_nothing_of_the_records_is_logged(target: Target, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    target.ran([schema(), record(id=1, name="Ada Secret"), record(id=2, name=["Bob Secret"]), state({"cursor": "c"})])
    assert "Secret" not in caplog.text.replace(json.dumps(target.config), "")
    assert target.config["access_token"] not in caplog.text


def test_only_one_run_writes_to_a_channel(target: Target) -> None:
    one = target.make()
    one.run.ledger.lock(target.channel)
    try:
        assert "Another run writes to the channel" in str(target.run(rows(1)).error)
    finally:
        one.run.close()
    assert target.ran(rows(1)) == [1]


@pytest.mark.parametrize("place", ["divider", "name"])
def test_a_draft_that_is_left_for_people_stays_one_when_the_ledger_is_lost(target: Target, place: str) -> None:
    upsert = {"streams": {"hours": {"mode": "upsert"}}, "marker": place}
    target.ran([*rows(1, 2), state(1)], first_run="draft", **upsert)
    # The others wait for the quota, and are published later.
    target.ran([*rows(3), state(2)], first_run="draft", max_posts_per_run=0, **upsert)
    for settings in ({}, {"first_run": "draft"}):
        Path(target.config["ledger_url"].removeprefix("sqlite:///")).unlink()
        target.ran([schema(), state(3)], **settings, **upsert)
        found = [(data(post)["name"], post.status, post.publications) for post in target.posts()]
        assert found == [("1", "draft", 0), ("2", "draft", 0), ("3", "published", 1)]
    # What people publish by themselves is updated as any other post.
    api = target.sandbox.harkster
    requests.put(
        f"{api.api_url}/channels/{target.channel}/posts/{target.posts()[0].id}/publish",
        headers={"Authorization": f"Bearer {api.access_token}"},
        timeout=60,
    ).raise_for_status()
    target.ran([schema(), record(id=1, name="changed"), record(id=2, name="changed"), state(4)], **upsert)
    found = [(data(post)["name"], post.status, post.publications) for post in target.posts()]
    assert found == [("changed", "published", 1), ("changed", "draft", 0), ("3", "published", 1)]


def test_a_refusal_names_stream_and_field_in_a_sentence(
    serve: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An API that wants dates with a time: it says which field it is about, and the log does too, without the value."""
    target = Target.into_new_channel(serve(dates="datetime"), tmp_path)
    fields = [{"id": "id", "type": "counter", "data": "id"}, {"id": "day", "type": "date", "data": "name"}]
    target.ran([schema(), record(id=1, name="2026-11-02"), state(1)], streams={"hours": {"fields": fields}})
    (reject,) = target.rejects()
    assert (reject["field"], reject["key"]) == ("day", "[1]")
    assert re.fullmatch(r"was refused by the API \(POST /channels/\w+/posts: HTTP 400\)", reject["reason"])
    (told,) = [line for line in caplog.messages if "rejected: " in line]
    assert told == f"hours, day: a row was rejected: day {reject['reason']}."
