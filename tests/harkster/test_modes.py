"""What becomes of rows that are new, changed, the same, or gone."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from api_sandbox import Fault, RunningSandbox, TemplatePlan
from singer_http.http.errors import ConfigurationError
from singer_sdk.mapper import CustomStreamMap
from target_harkster.vendor.client import HarksterApi
from target_harkster.vendor.posts import marker_of, stream_marker

from tests.harkster.running import Message, Target, data, plain, record, schema, state


def names(target: Target) -> list[Any]:
    return [data(post)["name"] for post in target.posts()]


def upsert(**more: Any) -> dict[str, Any]:
    return {"streams": {"hours": {"mode": "upsert", **more}}}


def test_a_post_looks_like_this(target: Target) -> None:
    assert target.ran([schema(), record(id=1, name="one"), state({"at": 1})]) == [{"at": 1}]
    (post,) = target.posts()
    assert plain(post) == [
        {"type": "counter", "id": "id", "label": "Id", "data": "1"},
        {"type": "text", "id": "name", "label": "Name", "data": "one"},
    ]
    assert post.name == "hours"
    assert post.publications == 1
    assert post.dataset[-1]["type"] == "divider"


def test_the_marker_can_be_in_the_name(target: Target) -> None:
    target.ran([schema(), record(id=1, name="one")], marker="name")
    (post,) = target.posts()
    assert str(post.name).startswith("hours [hk-")
    assert len(post.dataset) == 2
    Path(target.config["ledger_url"].removeprefix("sqlite:///")).unlink()
    target.ran([schema(), record(id=1, name="one")], marker="name")
    assert len(target.posts()) == 1


def test_name_and_labels_are_lines_that_can_be_read(target: Target) -> None:
    fields = [
        {"id": "who", "type": "heading", "label": "Of {{ name }}"},
        {"id": "id", "type": "counter", "label": "No.\x1b[31m", "data": "id", "name": "a\x07b"},
    ]
    rows = [record(id=1, name="A\x00n\x1b[2Jn\nSmith\u2028\u0085x")]
    target.ran([schema(), *rows], streams={"hours": {"name": "Hours of {{ name }}", "fields": fields}})
    (post,) = target.posts()
    assert post.name == "Hours of An[2Jn Smith  x"
    assert [(one.get("label"), one.get("name")) for one in plain(post)] == [
        ("Of An[2Jn Smith  x", None),
        ("No.[31m", "ab"),
    ]


def test_a_marker_in_the_words_of_a_row_is_none(target: Target) -> None:
    settings: dict[str, Any] = {"streams": {"hours": {"mode": "upsert", "name": "{{ name }}"}}}
    other = marker_of(stream_marker("hours"), "[2]")
    target.ran([schema(), record(id=1, name=f"One [{other}]"), state(1)], **settings)
    Path(target.config["ledger_url"].removeprefix("sqlite:///")).unlink()
    # With the ledger lost, the first post is not taken for that of the second row.
    target.ran([schema(), record(id=1, name=f"One [{other}]"), record(id=2, name="Two"), state(2)], **settings)
    told = [(post.name, data(post)["id"], post.publications, post.updates) for post in target.posts()]
    assert told == [(f"One [{other}]", "1", 1, 0), ("Two", "2", 1, 0)]


def test_append_leaves_known_rows_alone(target: Target) -> None:
    target.ran([schema(), record(id=1, name="one")])
    target.ran([schema(), record(id=1, name="changed"), record(id=2, name="two")])
    assert names(target) == ["one", "two"]


def test_append_knows_no_row_whose_post_another_mode_deleted(target: Target) -> None:
    gone = record(id=1, name="one", _sdc_deleted_at="2026-01-01")
    mirror = {"streams": {"hours": {"mode": "mirror"}}, "mirror_max_share": 1}
    target.ran([schema(), record(id=1, name="one"), record(id=2, name="two"), state(1)], **mirror)
    target.ran([schema(), gone, state(2)], **mirror)
    for name in ("again", "changed"):
        target.ran([schema(), record(id=1, name=name), record(id=2, name=name), state(3)])
        assert names(target) == ["two", "again"]


def test_upsert_changes_the_post(target: Target) -> None:
    target.ran([schema(), record(id=1, name="one"), record(id=2, name="two")], **upsert())
    target.ran([schema(), record(id=1, name="changed"), record(id=2, name="two")], **upsert())
    assert names(target) == ["changed", "two"]
    assert [(post.publications, post.updates) for post in target.posts()] == [(1, 1), (1, 0)]


def test_the_last_version_of_a_row_counts(target: Target) -> None:
    target.ran([schema(), record(id=1, name="a"), record(id=2, name="b"), record(id=1, name="c")], **upsert())
    assert sorted(names(target)) == ["b", "c"]
    assert [post.updates for post in target.posts()] == [0, 0]


def test_what_is_not_mapped_changes_nothing(target: Target) -> None:
    fields = [{"id": "name", "type": "text", "data": "name"}]
    properties = {"id": {"type": "integer"}, "name": {"type": "string"}, "seen": {"type": "integer"}}
    for seen in (1, 2):
        target.ran([schema(properties), record(id=1, name="one", seen=seen)], **upsert(fields=fields))
    assert [post.updates for post in target.posts()] == [0]


def test_a_changed_layout_is_a_change(target: Target) -> None:
    for label in ("Name", "Who"):
        fields = [{"id": "name", "type": "text", "label": label, "data": "name"}]
        target.ran([schema(), record(id=1, name="one")], **upsert(fields=fields))
    assert plain(target.posts()[0])[0]["label"] == "Who"


def test_posts_that_people_deleted_stay_away(target: Target) -> None:
    target.ran([schema(), record(id=1, name="one")], **upsert())
    (post,) = target.posts()
    target.delete(post)
    for name in ("changed", "changed again"):
        target.ran([schema(), record(id=1, name=name)], **upsert())
    assert target.posts() == []


# mirror


def mirrored(target: Target, version: int, ids: list[int], **settings: Any) -> Any:
    rows = [record(id=number, name=str(number), version=version) for number in ids]
    activate: Message = {"type": "ACTIVATE_VERSION", "stream": "hours", "version": version}
    config = {"streams": {"hours": {"mode": "mirror"}}, "mirror_max_share": 0.5, **settings}
    return target.run([schema(), *rows, activate, state(version)], **config)


def test_mirror_deletes_what_is_gone(target: Target) -> None:
    mirrored(target, 1, [1, 2, 3])
    assert mirrored(target, 2, [1, 3], mirror_recall=True).error is None
    assert names(target) == ["1", "3"]
    deleted = [post for post in target.sandbox.harkster.posts(target.channel) if post.status == "deleted"]
    assert [post.recalled for post in deleted] == [True]
    mirrored(target, 3, [1, 2, 3])
    assert names(target) == ["1", "3", "2"]


@pytest.mark.parametrize("bound", [{"mirror_max_deletes": 1}, {"mirror_max_share": 0.4}])
def test_mirror_deletes_nothing_rather_than_too_much(target: Target, bound: dict[str, Any]) -> None:
    mirrored(target, 1, [1, 2, 3, 4])
    ran = mirrored(target, 2, [1, 2], **bound)
    assert "not complete" in str(ran.error)
    assert ran.states == [2]
    assert names(target) == ["1", "2", "3", "4"]


def test_mirror_leaves_other_channels_alone(sandbox: RunningSandbox, target: Target, tmp_path: Path) -> None:
    mirrored(target, 1, [1, 2, 3, 4])
    other = Target.into_new_channel(sandbox, tmp_path)
    assert mirrored(other, 2, [1, 2]).error is None
    assert mirrored(other, 3, [1]).error is None
    assert (len(target.posts()), names(other)) == (4, ["1"])


def test_other_modes_delete_nothing(target: Target) -> None:
    activate: Message = {"type": "ACTIVATE_VERSION", "stream": "hours", "version": 2}
    target.ran([schema(), record(id=1, name="one", version=1)])
    target.ran([schema(), record(id=2, name="two", version=2), activate])
    assert names(target) == ["one", "two"]


# digests

WEEKLY = {
    "mode": "upsert",
    "group_by": ["week"],
    "name": "Hours of {{ week }}",
    "fields": [
        {"id": "head", "type": "heading", "label": "Week {{ group.week }}"},
        {"id": "total", "type": "number", "label": "Total", "data": "{{ rows | sum(attribute='hours') }}"},
        {"id": "who", "type": "bulletPoints", "data": "{{ rows | map(attribute='name') | list }}"},
    ],
}
WEEKS = {
    "id": {"type": "integer"},
    "week": {"type": "string"},
    "name": {"type": "string"},
    "hours": {"type": "number"},
}


def test_many_rows_are_one_post_over_several_runs(target: Target) -> None:
    settings = {"streams": {"hours": WEEKLY}}
    first = [
        record(id=1, week="W1", name="Ann", hours=7.5),
        record(id=2, week="W2", name="Ann", hours=1),
        record(id=3, week="W1", name="Bob", hours=2),
    ]
    assert target.ran([schema(WEEKS), *first, state(1)], **settings) == [1]
    assert [(post.name, data(post)["total"], data(post)["who"]) for post in target.posts()] == [
        ("Hours of W1", "9.5", "Ann\nBob"),
        ("Hours of W2", "1", "Ann"),
    ]
    # An incremental tap brings a part of the group only, and one row that has changed.
    second = [record(id=4, week="W1", name="Cid", hours=1), record(id=1, week="W1", name="Ann", hours=8.5)]
    target.ran([schema(WEEKS), *second, state(2)], **settings)
    assert [data(post)["total"] for post in target.posts()] == ["11.5", "1"]
    assert [data(post)["who"] for post in target.posts()] == ["Ann\nBob\nCid", "Ann"]
    assert [(post.publications, post.updates) for post in target.posts()] == [(1, 1), (1, 0)]


def test_a_digest_that_failed_is_made_by_the_next_run(target: Target) -> None:
    wrong = {**WEEKLY, "fields": [{"id": "x", "type": "number", "data": "{{ rows[0].hours / 0 }}"}]}
    rows = [schema(WEEKS), record(id=1, week="W1", name="Ann", hours=1), state(1)]
    target.ran(rows, streams={"hours": wrong})
    assert target.posts() == []
    assert "divides by zero" in target.rejects()[0]["reason"]
    target.ran([schema(WEEKS)], streams={"hours": WEEKLY})
    assert [data(post)["total"] for post in target.posts()] == ["1"]


# streams into one channel, one stream into many


def test_the_order_of_rows_is_kept_over_all_streams(target: Target) -> None:
    rows = [record(id=1, name="1"), record("teams", id=1, name="2"), record(id=2, name="3")]
    target.ran([schema(), schema(stream="teams"), *rows])
    assert names(target) == ["1", "2", "3"]


def test_a_column_can_name_the_channel(sandbox: RunningSandbox, target: Target, tmp_path: Path) -> None:
    other = Target.into_new_channel(sandbox, tmp_path)
    channel = {"column": "to", "allowed": [target.channel, other.channel]}
    properties = {"id": {"type": "integer"}, "name": {"type": "string"}, "to": {"type": "string"}}
    rows = [
        record(id=1, name="here", to=target.channel),
        record(id=2, name="there", to=other.channel),
        record(id=3, name="nowhere", to="elsewhere"),
    ]
    target.ran([schema(properties), *rows], streams={"hours": {"channel": channel}})
    assert (names(target), names(other)) == (["here"], ["there"])
    assert [(one["field"], one["reason"]) for one in target.rejects()] == [
        ("to", "is no channel that the settings allow")
    ]


def test_a_name_that_stands_for_another_channel_stops_the_run(
    sandbox: RunningSandbox, target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Target.into_new_channel(sandbox, tmp_path)
    with closing(target.make(ledger_url=f"sqlite:///{tmp_path}/other.db").run) as run:
        listed = {channel.id: channel for channel in run.api.channels()}
    mine, theirs = listed[target.channel], listed[other.channel]
    by_name: dict[str, Any] = {"channel": mine.path}
    target.ran([schema(), record(id=1, name="one"), state(1)], **by_name)
    renamed = [replace(mine, names=(*mine.names[:2], "Old")), replace(theirs, names=mine.names)]
    monkeypatch.setattr(HarksterApi, "channels", lambda _: renamed)
    for settings in (by_name, {**by_name, "dry_run": True}):
        error = target.run([schema(), record(id=1, name="one"), state(2)], **settings).error
        assert isinstance(error, ConfigurationError)
        assert f"channel: {mine.path} was the channel {mine.id} in earlier runs and is {theirs.id} now" in str(error)
    assert other.posts() == []
    # By its id it is what was meant, and its name stands for it from then on.
    target.ran([schema(), record(id=2, name="two"), state(3)], channel=theirs.id)
    target.ran([schema(), record(id=3, name="three"), state(4)], **by_name)
    assert (names(target), names(other)) == (["one"], ["two", "three"])


@pytest.mark.parametrize(("first", "then"), [("integer", "string"), ("string", "integer")])
def test_a_number_and_the_same_as_text_are_one_key(target: Target, first: str, then: str) -> None:
    fields = [{"id": "name", "type": "counter", "data": "{{ rows | length }}"}]
    digest = {"group_by": ["team"], "fields": fields}
    made = {"integer": int, "string": str}
    for number, kind in enumerate((first, then, then, first)):
        properties = {name: {"type": [kind, "null"]} for name in ("id", "team")}
        rows = [record(id=made[kind](one), team=made[kind](7), name="one") for one in (1, 2)]
        layouts: dict[str, Any] = {"hours": {"mode": "upsert"}, "weeks": digest}
        streams = [schema({**properties, "name": {"type": "string"}}, stream=stream) for stream in layouts]
        sent = [streams[0], *rows, streams[1], *({**row, "stream": "weeks"} for row in rows), state(number)]
        target.ran(sent, streams=layouts)
        assert sorted(names(target)) == ["2", "one", "one"]
    target.ran([schema({"id": {"type": "string"}}), record(id="x1"), record(id="01"), state(9)])
    assert len(target.posts()) == 5


def test_a_template_is_filled_by_id_name_and_label(
    sandbox: RunningSandbox, target: Target, caplog: pytest.LogCaptureFixture
) -> None:
    fields = (
        {"type": "header", "id": "1", "label": "Summary"},
        {"type": "text", "id": "name", "label": "Who"},
        {"type": "number", "id": "3", "label": "Hours spent"},
        {"type": "status", "id": "4", "label": "Status", "data": "grey"},
        {"type": "number", "id": "5", "label": "Costs", "data": None},
    )
    sandbox.harkster.add_template(target.channel, TemplatePlan(name="Weekly", fields=fields))
    properties = {"id": {"type": "integer"}, "name": {"type": "string"}, "hours_spent": {"type": "number"}}
    filled = [{"label": "Hours spent", "data": "{{ hours_spent }}"}, {"label": "Who", "data": "name"}]
    for number, layout in enumerate(({"template": "Weekly"}, {"template": "Weekly", "fields": filled})):
        rows = [record(id=number, name="Ann", hours_spent=7.5)]
        target.ran([schema(properties), *rows], streams={"hours": layout})
    assert plain(target.posts()[0]) == plain(target.posts()[1])
    assert plain(target.posts()[0]) == [
        {"type": "header", "id": "1", "label": "Summary"},
        {"type": "text", "id": "name", "label": "Who", "data": "Ann"},
        {"type": "number", "id": "3", "label": "Hours spent", "data": "7.5"},
        {"type": "status", "id": "4", "label": "Status", "data": "grey"},
        {"type": "number", "id": "5", "label": "Costs", "data": None},
    ]
    told = "hours: nothing fills these fields of the template: Status (shows the template's own value), Costs."
    assert caplog.messages.count(told) == 2


@pytest.mark.parametrize("answers", ["post", "id", "nothing"])
@pytest.mark.parametrize("heading", ["heading", "header"])
def test_an_api_that_tells_little_will_do(serve: Any, tmp_path: Path, answers: str, heading: str) -> None:
    sandbox = serve(write_answers=answers, heading=heading, values="strings", quota_headers="never")
    target = Target.into_new_channel(sandbox, tmp_path, history=1)
    fields = [{"id": "h", "type": "heading", "label": "Hours"}, {"id": "n", "type": "number", "data": "id"}]
    target.ran([schema(), record(id=1), record(id=2)], streams={"hours": {"fields": fields}})
    assert [data(post)["n"] for post in target.posts()] == ["1", "2"]


def test_a_lost_ledger_is_found_again_in_the_channel(target: Target) -> None:
    target.ran([schema(), record(id=1, name="one"), record(id=2, name="two")], **upsert())
    Path(target.config["ledger_url"].removeprefix("sqlite:///")).unlink()
    target.ran([schema(), record(id=1, name="one"), record(id=2, name="new"), record(id=3, name="three")], **upsert())
    assert names(target) == ["one", "new", "three"]
    assert [(post.publications, post.updates) for post in target.posts()] == [(1, 0), (1, 1), (1, 0)]


def test_a_lost_answer_of_each_kind_posts_nothing_twice(target: Target) -> None:
    for operation in ("create", "publish", "update"):
        for when in ("before", "after"):
            target.sandbox.faults.replace(Fault(kind="reset", operation=operation, when=when, times=1))
            target.ran([schema(), record(id=1, name=f"{operation} {when}")], **upsert())
            target.sandbox.faults.clear()
    (post,) = target.posts()
    assert (data(post)["name"], post.publications) == ("update after", 1)


def test_what_a_loader_or_mapper_adds_makes_no_new_row(target: Target) -> None:
    for moment in ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"):
        target.ran([schema(key=()), record(id=1, name="one", _sdc_batched_at=moment)])
    assert names(target) == ["one"]


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("fake.name()", "NameNotDefined: fake needs the package faker, which is not installed"),
        ("name.__class__", "FeatureNotAvailable"),
    ],
)
def test_a_stream_map_that_the_sdk_refuses_is_a_mistake_in_the_settings(
    target: Target, expression: str, reason: str
) -> None:
    with mock.patch.object(CustomStreamMap, "_init_faker_instance", return_value=None):
        ran = target.run([schema(), record(id=1, name="1"), state(1)], stream_maps={"hours": {"n": expression}})
    assert isinstance(ran.error, ConfigurationError)
    assert ran.told == f"stream_maps is not valid: an expression for hours fails on a row ({reason})."


def test_a_stream_map_that_fails_on_a_row_ends_the_run_in_a_sentence(target: Target) -> None:
    maps = {"hours": {"n": "int(name)"}}
    ran = target.run([schema(), record(id=1, name="1"), record(id=2, name="Ann Secret"), state(1)], stream_maps=maps)
    assert str(ran.error) == "stream_maps is not valid: an expression for hours fails on a row (ValueError)."
    assert ran.states == []


def test_stream_maps_and_flattening_come_before_the_layout(target: Target) -> None:
    properties = {"id": {"type": "integer"}, "who": {"type": "object", "properties": {"name": {"type": "string"}}}}
    rows = [record(id=1, who={"name": "Ann"}), record(id=2, who={"name": "Bob"})]
    target.ran(
        [schema(properties), *rows],
        stream_maps={"hours": {"__filter__": "id == 1", "twice": "str(id * 2)"}},
        flattening_enabled=True,
        flattening_max_depth=1,
    )
    assert [data(post) for post in target.posts()] == [{"id": "1", "who__name": "Ann", "twice": "2"}]
