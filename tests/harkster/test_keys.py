"""What counts as the same row: a number and the same number as text, whenever its tap turns one into the other."""

from __future__ import annotations

import contextlib
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from singer_sdk.contrib.msgspec import encoder
from target_harkster.ledger.keys import key_of, parts_of, spellings
from target_harkster.sinks import HarksterSink
from target_harkster.vendor.posts import marker_of, stream_marker

from tests.harkster.running import Command, Message, Target, data, earlier_version, pairwise, record, schema, state

if TYPE_CHECKING:
    from collections.abc import Sequence

    from api_sandbox import RunningSandbox

KINDS: dict[str, Any] = {"integer": int, "string": str, "number": float}
GROUPED = {
    "group_by": ["team"],
    "name": "{{ team }}",
    "fields": [{"id": "who", "type": "text", "data": "{% for row in rows %}{{ row.id }}={{ row.name }} {% endfor %}"}],
}


def table(kind: str | list[str], *names: str, numbers: Sequence[int] = (1, 2), team: int = 7) -> list[Message]:
    """Rows whose keys are of a kind; of several, the kinds take turns."""
    kinds = [kind] if isinstance(kind, str) else kind
    made = [KINDS[kinds[at % len(kinds)]] for at in range(len(numbers))]
    rows = zip(made, numbers, names, strict=True)
    of_any = {"type": [*kinds, "null"]}
    properties = {"id": of_any, "team": of_any, "name": {"type": "string"}}
    return [schema(properties), *(record(id=of(one), team=of(team), name=name) for of, one, name in rows), state(names)]


def versions(version: int, messages: Sequence[Message]) -> list[Message]:
    """The same as a table that is whole."""
    whole: Message = {"type": "ACTIVATE_VERSION", "stream": "hours"}
    return [{**message, "version": version} for message in (*messages[:-1], whole)] + [messages[-1]]


def shown(target: Target) -> list[tuple[str, int]]:
    """What each post says, and how often followers were told."""
    return [(next(reversed(data(post).values())).strip(), post.publications) for post in target.posts()]


def lose(target: Target) -> None:
    Path(target.config["ledger_url"].removeprefix("sqlite:///")).unlink()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, "1"),
        (0, "0"),
        (-3, "-3"),
        (Decimal("1.50"), "1.5"),
        (Decimal("1e3"), "1000"),
        (Decimal("-0.0"), 0),
        (10**25, "1" + "0" * 25),
        (1.0, 1),
        (0.1, "0.1"),
        (Decimal("1e-7"), "0.0000001"),
    ],
)
def test_numbers_that_are_the_same(one: Any, other: Any) -> None:
    assert key_of(["a", one]) == key_of(["a", other])
    assert parts_of(key_of([one])) == parts_of(key_of([other]))


@pytest.mark.parametrize(
    ("one", "other"), [(1, "01"), (1, "1.0"), (1, "+1"), (1, " 1"), (1, "1\n"), (0, "-0"), (1000, "1e3"), (1, True)]
)
def test_texts_that_are_more_than_a_number(one: Any, other: Any) -> None:
    assert key_of([one]) != key_of([other])


def test_all_that_earlier_versions_may_have_written() -> None:
    assert spellings('["x",1]') == spellings('["x","1"]') == ['["x",1]', '["x","1"]']
    assert len(set(spellings(key_of(range(5))))) == 2**5
    assert len(spellings(key_of(range(50)))) == 2
    assert spellings(key_of([Decimal("1e999999")])) == ["[1E+999999]"]
    assert spellings('{"id":"1"}') == ['{"id":"1"}']


@pytest.mark.parametrize(
    ("ledger", "types", "mode"),
    pairwise(
        ["kept", "lost", "lost before", "adopted"],
        [
            ("integer", "string"),
            ("string", "integer"),
            ("number", ["integer", "string"]),
            (["string", "integer"], "string"),
        ],
        ["upsert", "append"],
    ),
    ids=str,
)
def test_a_row_keeps_its_post_when_its_key_changes_its_type(
    target: Target, tmp_path: Path, ledger: str, types: tuple[Any, Any], mode: str
) -> None:
    first, then = types
    settings: dict[str, Any] = {"streams": {"hours": {"mode": mode}}, "mirror_max_share": 1}
    target.ran(table(first, "one", "two"), **settings)
    if ledger != "lost before":
        target.ran(table(then, "one", "two"), **settings)
    if ledger != "kept":
        lose(target)
    if ledger == "adopted":
        Command(target, tmp_path)("adopt")
    target.ran(table(then, "one", "changed"), **settings)
    assert shown(target) == [("one", 1), ("two" if mode == "append" else "changed", 1)]
    target.ran(table(first, "again", numbers=(2,)), **settings)
    assert shown(target) == [("one", 1), ("two" if mode == "append" else "again", 1)]


@pytest.mark.parametrize(("first", "then"), [("integer", "string"), ("string", "integer")])
def test_a_digest_counts_a_row_once_when_its_key_changes_its_type(target: Target, first: str, then: str) -> None:
    settings: dict[str, Any] = {"streams": {"hours": GROUPED}}
    target.ran(table(first, "a", "b"), **settings)
    # The newest entry has the other type than the oldest one.
    target.ran(table(then, "c", numbers=(3,)), **settings)
    assert shown(target) == [("1=a 2=b 3=c", 1)]
    target.ran(table(first, "A", numbers=(1,)), **settings)
    target.ran(table(then, "B", "D", numbers=(2, 4), team=8), **settings)
    assert shown(target) == [("1=A 3=c", 1), ("2=B 4=D", 1)]
    sent = table(first, "C", "D", numbers=(3, 4))
    sent[1]["record"]["_sdc_deleted_at"] = sent[2]["record"]["_sdc_deleted_at"] = "2026-01-01T00:00:00Z"
    target.ran(sent, **settings)
    target.ran(table(then, "A", numbers=(1,)), **settings)
    assert shown(target) == [("1=A", 1), ("2=B", 1)]


@pytest.mark.parametrize(("first", "then"), [("integer", "string"), ("string", "integer")])
def test_a_group_without_rows_hides_no_others(target: Target, first: str, then: str) -> None:
    settings: dict[str, Any] = {"streams": {"hours": {**GROUPED, "closed": "{{ rows | length > 1 }}"}}}
    target.ran(table(first, "a", numbers=(8,), team=4), **settings)
    target.ran(table(first, "a", "b", numbers=(8, 1)), **settings)
    target.ran(table(then, "B", numbers=(1,)), **settings)
    assert shown(target) == [("8=a 1=B", 1)]


@pytest.mark.parametrize("ledger", ["kept", "lost", "kept in PostgreSQL"])
@pytest.mark.parametrize("kind", ["integer", "string"])
def test_posts_of_earlier_versions_are_found(
    request: pytest.FixtureRequest, target: Target, ledger: str, kind: str
) -> None:
    settings: dict[str, Any] = {"streams": {"hours": {"mode": "mirror"}}, "mirror_max_share": 1}
    if ledger == "kept in PostgreSQL":
        settings["ledger_url"] = request.getfixturevalue("postgres_url")
    with earlier_version():
        target.ran(versions(1, table("string", "one", "two", "three", numbers=(1, 2, 3))), **settings)
    prefix = stream_marker("hours")
    assert [post.dataset[-1]["id"] for post in target.posts()] == [marker_of(prefix, f'["{one}"]') for one in (1, 2, 3)]
    if ledger == "lost":
        lose(target)
    for version in (2, 3):
        target.ran(versions(version, table(kind, "one", "changed", "new", numbers=(1, 2, 4))), **settings)
        assert shown(target) == [("one", 1), ("changed", 1), ("new", 1)]


@pytest.mark.parametrize("ledger", ["kept", "lost", "kept in PostgreSQL"])
@pytest.mark.parametrize("kind", ["integer", "string"])
def test_digests_of_earlier_versions_are_found(
    request: pytest.FixtureRequest, target: Target, ledger: str, kind: str
) -> None:
    settings: dict[str, Any] = {"streams": {"hours": GROUPED}}
    if ledger == "kept in PostgreSQL":
        settings["ledger_url"] = request.getfixturevalue("postgres_url")
    with earlier_version():
        # The key of the second row looks like that of the group.
        target.ran(table("string", "a", "b", numbers=(1, 7)), **settings)
        target.ran(table("string", "c", numbers=(3,)), **settings)
    if ledger == "lost":
        lose(target)
    target.ran(table(kind, "a", "B", "C", numbers=(1, 7, 3)), **settings)
    assert shown(target) == [("1=a 7=B 3=C", 1)]
    sent = table(kind, "B", numbers=(7,))
    sent[1]["record"]["_sdc_deleted_at"] = "2026-01-01T00:00:00Z"
    target.ran(sent, **settings)
    target.ran(table(kind, "A", numbers=(1,)), **settings)
    assert shown(target) == [("1=A 3=C", 1)]


def test_a_post_of_an_earlier_version_that_was_deleted_is_no_post(target: Target) -> None:
    settings: dict[str, Any] = {"streams": {"hours": {"mode": "mirror"}}, "mirror_max_share": 1}
    with earlier_version():
        target.ran(versions(1, table("string", "one", "two")), **settings)
        target.ran(versions(2, table("string", "two", numbers=(2,))), **settings)
        target.ran(versions(3, table("integer", "back", numbers=(1,))), **settings)
    before = [post.id for post in target.posts()]
    target.ran(versions(4, table("integer", "again", numbers=(1,))), **settings)
    assert shown(target) == [("again", 1)]
    assert [post.id for post in target.posts()] == before


def test_a_digest_of_an_earlier_version_waits_for_its_rows(target: Target) -> None:
    settings: dict[str, Any] = {"streams": {"hours": {**GROUPED, "closed": "{{ rows | length > 1 }}"}}}
    with earlier_version():
        target.ran(table("string", "a", numbers=(1,)), **settings)
    target.ran(table("integer", "b", numbers=(2,)), **settings)
    assert shown(target) == [("1=a 2=b", 1)]


def test_a_digest_of_an_earlier_version_is_as_it_was(target: Target) -> None:
    settings: dict[str, Any] = {"streams": {"hours": GROUPED}}
    with earlier_version():
        target.ran(table("string", "a", "b"), **settings)
    target.ran(table("string", "a", "b"), **settings)
    assert [(post.publications, post.updates) for post in target.posts()] == [(1, 0)]


def test_a_row_that_an_earlier_version_counted_twice_counts_once(target: Target) -> None:
    settings: dict[str, Any] = {"streams": {"hours": GROUPED}}
    with earlier_version():
        target.ran(table("integer", "a", "b"), **settings)
        sent = table("string", "a", "b")
        sent[0]["schema"]["properties"]["team"] = {"type": "integer"}
        for message in sent[1:3]:
            message["record"]["team"] = 7
        target.ran(sent, **settings)
    assert shown(target) == [("1=a 2=b 1=a 2=b", 1)]
    target.ran(table("string", "A", numbers=(1,)), **settings)
    assert shown(target) == [("1=A 2=b", 1)]


def test_a_row_of_an_earlier_version_moves(sandbox: RunningSandbox, target: Target, tmp_path: Path) -> None:
    other = Target.into_new_channel(sandbox, tmp_path)
    settings: dict[str, Any] = {
        "streams": {
            "hours": {"mode": "upsert", "channel": {"column": "to", "allowed": [target.channel, other.channel]}}
        },
        "on_move": "delete",
    }

    def sent(key: Any, to: Target) -> list[Message]:
        kind = "string" if isinstance(key, str) else "integer"
        return [
            schema({"id": {"type": kind}, "to": {"type": "string"}, "name": {"type": "string"}}),
            record(id=key, to=to.channel, name="one"),
            state(1),
        ]

    with earlier_version():
        target.ran(sent("1", target), **settings)
    for key, to in ((1, other), ("1", target), (1, other)):
        target.ran(sent(key, to), **settings)
        assert [len(one.posts()) for one in (target, other)] == [int(to is target), int(to is other)]


@pytest.mark.parametrize("version", [earlier_version, contextlib.nullcontext])
def test_a_reject_is_of_the_same_row(target: Target, version: Any) -> None:
    fields = [{"id": "name", "type": "number", "data": "name"}]
    settings: dict[str, Any] = {"streams": {"hours": {"mode": "upsert", "fields": fields}}}
    with version():
        target.ran(table("string", "1", "x"), **settings)
        target.ran(table("string", "y", numbers=(1,)), **settings)
    assert [one["record"]["name"] for one in target.rejects()] == ["x", "y"]
    target.ran(table("integer", "2", "3"), **settings)
    assert shown(target) == [("2", 1), ("3", 1)]
    assert target.rejects() == []


def test_a_reject_of_an_earlier_version_is_older_than_the_post(target: Target, tmp_path: Path) -> None:
    fields = [{"id": "name", "type": "number", "data": "name"}]
    settings: dict[str, Any] = {"streams": {"hours": {"mode": "upsert", "fields": fields}}}
    with earlier_version():
        target.ran(table("string", "x", numbers=(1,)), **settings)
    ledger = Path(target.config["ledger_url"].removeprefix("sqlite:///"))
    older = ledger.read_bytes()
    target.ran(table("string", "2", numbers=(1,)), **settings)
    ledger.write_bytes(older)
    Command(target, tmp_path)("adopt")
    target.ran(table("integer", "3", numbers=(4,)), **settings)
    assert target.rejects() == []
    assert shown(target) == [("2", 1), ("3", 1)]


@pytest.mark.parametrize("kind", ["integer", "string"])
def test_the_columns_of_a_group_have_the_type_that_its_rows_have(target: Target, kind: str) -> None:
    fields = [{"id": "type", "type": "text", "data": "{{ 'text' if team is string else 'number' }}"}]
    streams: dict[str, Any] = {"hours": {**GROUPED, "fields": fields}}
    target.ran(table(kind, "a", "b"), streams=streams)
    assert shown(target) == [({"integer": "number", "string": "text"}[kind], 1)]


def test_the_post_before_is_found_by_an_earlier_key(target: Target) -> None:
    fields = [
        {"id": "name", "type": "text", "data": "name"},
        {"id": "was", "type": "text", "data": "{{ previous.name }}"},
    ]
    streams: dict[str, Any] = {
        "hours": {"mode": "upsert", "key": ["team", "id"], "previous_by": ["team"], "fields": fields}
    }
    with earlier_version():
        target.ran(table("string", "one", numbers=(1,)), streams=streams)
    target.ran(table("integer", "two", numbers=(2,)), streams=streams)
    assert [data(post)["was"] for post in target.posts()] == [None, "one"]


@pytest.mark.parametrize("mode", ["append", "upsert", "mirror", "digest"])
def test_rows_whose_keys_were_damaged_are_all_kept(target: Target, mode: str) -> None:
    layout: dict[str, Any] = {"mode": mode, "fields": [{"id": "hours", "type": "number", "data": "hours"}]}
    if mode == "digest":
        total = "{{ rows | sum(attribute='hours') }}"
        layout = {"group_by": ["hours"], "fields": [{"id": "hours", "type": "number", "data": total}]}
    settings = {"streams": {"hours": layout}}
    text = '{"type":"RECORD","stream":"hours","version":1,"record":{"id":"%s","hours":%d}}'
    keys = ["\\ud83d", "\\ud83c", "\ufffd", "fine"]
    rows: list[Message | bytes] = [(text % (key, hours)).encode() for hours, key in enumerate(keys)]
    head = schema({"id": {"type": "string"}, "hours": {"type": "integer"}})
    whole: Message = {"type": "ACTIVATE_VERSION", "stream": "hours", "version": 1}
    for _ in range(2):  # the second run also tries the rejects again
        target.ran([head, *rows, whole, state(1)], **settings)
        assert [data(post)["hours"] for post in target.posts()] == ["3"]
        assert sorted(reject["record"]["hours"] for reject in target.rejects()) == [0, 1, 2]
        assert {reject["reason"][:21] for reject in target.rejects()} == {"has a key with U+FFFD"}


def test_a_post_of_a_damaged_key_stays(target: Target) -> None:
    layout: dict[str, Any] = {"mode": "mirror", "fields": [{"id": "hours", "type": "number", "data": "hours"}]}
    settings: dict[str, Any] = {"streams": {"hours": layout}, "mirror_max_share": 1}

    def came(version: int) -> list[str]:
        head = schema({"id": {"type": "string"}, "hours": {"type": "integer"}})
        rows = [record(version=version, id=key, hours=version) for key in ("\ufffd", "fine")]
        whole: Message = {"type": "ACTIVATE_VERSION", "stream": "hours", "version": version}
        target.ran([head, *rows, whole, state(version)], **settings)
        return sorted(data(post)["hours"] for post in target.posts())

    with mock.patch.object(HarksterSink, "_checked", lambda sink, row, _: (encoder.encode(row), sink._channel(row))):
        assert came(1) == ["1", "1"]  # as an earlier version did
    assert came(2) == ["1", "2"]
