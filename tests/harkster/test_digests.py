"""The rows of digests in the ledger: any of them may change, move or come again, and none takes much room."""

import threading
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import sqlalchemy as sa
from hypothesis import strategies as st
from target_harkster.ledger.database import make_tables
from target_harkster.ledger.digests import DigestRow
from target_harkster.ledger.model import GROUP_INDEX, GROUP_NEWS, GROUPS, METADATA
from target_harkster.ledger.store import Ledger

from tests.harkster.killed_runs import FastClock
from tests.harkster.running import Message, Target, data, record, schema, state

PROPERTIES = {"id": {"type": "integer"}, "week": {"type": "string"}, "name": {"type": "string"}}
WEEKLY: dict[str, Any] = {
    "mode": "upsert",
    "group_by": ["week"],
    "name": "{{ week }}",
    "fields": [{"id": "who", "type": "bulletPoints", "data": "{{ rows | map(attribute='name') | list }}"}],
}


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Any) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/own.db"
    return str(request.getfixturevalue("postgres_url"))


def worked(number: int, week: str, name: str) -> Message:
    return record(id=number, week=week, name=name)


def shown(target: Target) -> dict[str, str]:
    return {str(post.name): data(post)["who"] for post in target.posts()}


def test_a_row_of_long_ago_changes_its_digest(target: Target) -> None:
    settings = {"streams": {"hours": WEEKLY}}
    for week in range(5):
        rows = [worked(10 * week + number, f"W{week}", f"{week}.{number}") for number in range(3)]
        target.ran([schema(PROPERTIES), *rows, state(week)], **settings)
    target.ran([schema(PROPERTIES), worked(1, "W0", "changed"), state(9)], **settings)
    assert shown(target)["W0"] == "0.0\nchanged\n0.2"
    assert [(post.publications, post.updates) for post in target.posts()] == [(1, 1), *[(1, 0)] * 4]


@pytest.mark.parametrize("on_quota", ["draft", "defer"])
@pytest.mark.parametrize("left", ["deleted", "another week", "condition"])
def test_a_digest_that_waits_shows_the_rows_that_are_there_in_append_too(
    target: Target, left: str, on_quota: str
) -> None:
    """As long as it waits. What people see stays, and what was withdrawn before is as good as new."""
    properties = {**PROPERTIES, "_sdc_deleted_at": {"type": ["string", "null"]}}
    layout = {**WEEKLY, "mode": "append", "when": "{{ name != 'no' }}"}
    target.config |= {"on_quota": on_quota, "streams": {"hours": layout}}
    rows = [worked(1, "W1", "a"), worked(2, "W1", "b"), worked(3, "W2", "c"), worked(4, "W3", "d")]
    target.ran([schema(properties), *rows[:3], state(1)], max_posts_per_run=0)

    def leaves(number: int, week: str) -> Message:
        return {
            "deleted": record(id=number, week=week, name="x", _sdc_deleted_at="2026-01-01"),
            "another week": worked(number, "W3", "x"),
            "condition": worked(number, week, "no"),
        }[left]

    target.ran([schema(properties), leaves(2, "W1"), leaves(3, "W2"), rows[3], state(2)], max_posts_per_run=0)
    target.ran([schema(properties), state(3)])
    third = "x\nx\nd" if left == "another week" else "d"
    assert shown(target) == {"W1": "a", "W3": third}
    target.ran([schema(properties), leaves(1, "W1"), worked(5, "W2", "e"), worked(6, "W3", "f"), state(4)])
    target.ran([schema(properties), worked(7, "W2", "g"), state(5)])
    assert shown(target) == {"W1": "a", "W3": third, "W2": "e"}
    assert [post.publications for post in target.posts()] == [1] * 3


@pytest.mark.parametrize("on_quota", ["draft", "defer"])
@pytest.mark.parametrize("left", ["deleted", "another week", "condition"])
def test_a_digest_that_waits_goes_with_its_last_row(target: Target, left: str, on_quota: str) -> None:
    properties = {**PROPERTIES, "_sdc_deleted_at": {"type": ["string", "null"]}}
    target.config |= {"on_quota": on_quota, "streams": {"hours": {**WEEKLY, "when": "{{ name != 'no' }}"}}}
    target.ran([schema(properties), worked(1, "W0", "seen"), state(0)])
    target.ran([schema(properties), worked(2, "W1", "a"), state(1)], max_posts_per_run=0)
    row = {
        "deleted": record(id=2, _sdc_deleted_at="2026-01-01T00:00:00Z"),
        "another week": worked(2, "W2", "a"),
        "condition": worked(2, "W1", "no"),
    }[left]
    target.ran([schema(properties), row, state(2)], max_posts_per_run=0)
    target.ran([schema(properties), state(3)])
    assert shown(target) == {"W0": "seen"} | ({"W2": "a"} if left == "another week" else {})
    # And comes back with it.
    target.ran([schema(properties), worked(2, "W1", "back"), state(4)])
    assert shown(target)["W1"] == "back"


def test_a_row_that_moves_leaves_its_old_group(target: Target) -> None:
    settings = {"streams": {"hours": WEEKLY}}
    target.ran([schema(PROPERTIES), worked(1, "W1", "a"), worked(2, "W1", "b"), state(1)], **settings)
    # Back and forth within one run, and in the end elsewhere.
    moves = [worked(1, week, "a") for week in ("W2", "W1", "W3", "W2")]
    target.ran([schema(PROPERTIES), *moves, state(2)], **settings)
    assert shown(target) == {"W1": "b", "W2": "a"}


def test_rows_that_are_as_they_were_change_nothing_and_leave_nothing(target: Target) -> None:
    settings = {"streams": {"hours": WEEKLY}}
    rows = [worked(number, "W1", str(number)) for number in range(50)]
    target.ran([schema(PROPERTIES), *rows, state(1)], **settings)
    ledger = Ledger(target.config["ledger_url"], FastClock())
    before = ledger.database.rows(sa.select(GROUPS))
    ledger.close()
    target.ran([schema(PROPERTIES), *reversed(rows), state(2)], **settings)
    ledger = Ledger(target.config["ledger_url"], FastClock())
    assert ledger.database.rows(sa.select(GROUPS)) == before
    assert ledger.database.rows(sa.select(GROUP_NEWS)) == []
    assert len(ledger.database.rows(sa.select(GROUP_INDEX))) == 50
    ledger.close()
    assert [post.updates for post in target.posts()] == [0]


def test_a_digest_in_append_is_posted_once(target: Target) -> None:
    settings = {"streams": {"hours": {**WEEKLY, "mode": "append"}}}
    target.ran([schema(PROPERTIES), worked(1, "W1", "a"), state(1)], **settings)
    target.ran([schema(PROPERTIES), worked(2, "W1", "b"), state(2)], **settings)
    assert shown(target) == {"W1": "a"}
    # Nothing was forgotten of it: in another mode it is whole.
    target.ran([schema(PROPERTIES), worked(3, "W1", "c"), state(3)], streams={"hours": WEEKLY})
    assert shown(target) == {"W1": "a\nb\nc"}


def test_the_order_of_rows_outlives_a_run_that_was_cut_off(target: Target) -> None:
    settings = {"streams": {"hours": WEEKLY}}
    target.run([schema(PROPERTIES), worked(1, "W1", "a"), worked(2, "W1", "b"), b"{"], **settings)
    target.ran([schema(PROPERTIES), worked(3, "W1", "c"), worked(1, "W1", "a2"), state(1)], **settings)
    assert shown(target) == {"W1": "a2\nb\nc"}


@pytest.mark.parametrize("more", [{}, {"closed": "{{ false }}"}, {"mode": "append"}], ids=str)
@pytest.mark.parametrize(
    "then",
    [{"group_by": ["team", "week"]}, {"group_by": ["team"]}, {"key": ["id", "team"]}, {"group_by": None}],
    ids=str,
)
def test_other_columns_of_its_key_are_refused_for_a_stream_with_posts(
    target: Target, then: dict[str, Any], more: dict[str, Any]
) -> None:
    rows = [
        schema({**PROPERTIES, "team": {"type": "string"}}),
        record(id=1, week="45", name="Ann", team="45"),
        state(1),
    ]
    by_week: dict[str, Any] = {"streams": {"hours": {**WEEKLY, "key": ["id"], **more}}}
    target.ran(rows, **by_week)
    before = target.posts()
    fields = [{"id": "x", "type": "text", "data": "{{ 'x' }}"}]
    other = {**WEEKLY, "key": ["id"], "name": "x", "fields": fields, **then}
    if other["group_by"] is None:
        del other["group_by"]
    for dry_run in (True, False):
        ran = target.run(rows, streams={"hours": other}, dry_run=dry_run)
        assert 'were made with {"group_by":["week"],"key":["id"]}' in str(ran.error)
        assert ran.states == []
    assert target.posts() == before
    target.ran([rows[0], record(id=2, week="45", name="Bob", team="45"), state(2)], **by_week)
    if more == {}:
        assert shown(target) == {"45": "Ann\nBob"}


def test_a_stream_that_has_posted_nothing_may_get_another_key(target: Target) -> None:
    rows = [schema(PROPERTIES), *(worked(number, "45", "Ann") for number in (1, 2)), state(1)]
    assert target.run(rows, max_new_posts=1).states == []
    target.ran(rows, streams={"hours": {"key": ["week"], "mode": "upsert"}})
    target.ran(rows, streams={"hours": {"key": ["week"], "mode": "upsert"}})
    assert [data(post)["id"] for post in target.posts()] == ["2"]


CHANNELS = ("one", "two")


def known(ledger: Ledger, channel: str, marker: str) -> bool:
    return bool(ledger.database.rows(sa.select(GROUPS).where(GROUPS.c.channel == channel, GROUPS.c.marker == marker)))


@hypothesis.settings(max_examples=25)
@hypothesis.given(
    st.lists(
        st.tuples(
            st.sampled_from(CHANNELS), st.sampled_from("ABC"), st.integers(1, 4), st.integers(1, 2), st.booleans()
        ),
        max_size=25,
    )
)
def test_groups_are_what_their_rows_say(rows: list[tuple[str, str, int, int, bool]]) -> None:
    """Whatever comes in whichever order: each row is in one group, with its last record."""
    ledger = Ledger("sqlite://", FastClock())
    truth: dict[str, tuple[str, str, bytes]] = {}
    batch: list[DigestRow] = []
    for channel, group, key, value, ends in rows:
        made = DigestRow("s", CHANNELS, channel, f"m{group}", f'["{group}"]', f"[{key}]", b'{"v":%d}' % value)
        batch.append(made)
        truth[made.row_key] = (channel, made.marker, made.record or b"")
        if ends:
            ledger.digests.add(batch)
            batch.clear()
            for at_channel, marker, _ in ledger.digests.changed("s")[:1]:
                ledger.digests.shown(at_channel, marker)
    ledger.digests.add(batch)
    groups = {(channel, f"m{group}") for channel, group, *_ in rows}
    found = {at: sorted(ledger.digests.rows(*at)) for at in groups if known(ledger, *at)}
    assert {at: kept for at, kept in found.items() if kept} == {
        at: sorted(value for channel, marker, value in truth.values() if (channel, marker) == at)
        for at in {(channel, marker) for channel, marker, _ in truth.values()}
    }
    ledger.close()


class Died(BaseException):
    """The process ends here."""


def test_the_tables_are_made_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path}/new.db", poolclass=sa.NullPool)
    left = at = 0

    @sa.event.listens_for(engine, "before_cursor_execute")
    def count(*_: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Died

    while True:
        at += 4
        left = at
        with engine.connect() as connection:
            try:
                make_tables(connection)
                connection.commit()
                break
            except Died:
                connection.rollback()
        left = -1
        with engine.connect() as connection:
            assert sa.inspect(connection).get_table_names() == []
    left = -1
    assert at > 20
    with engine.connect() as connection:
        assert set(sa.inspect(connection).get_table_names()) == set(METADATA.tables)


def test_all_at_once_make_one_ledger(url: str) -> None:
    errors: list[BaseException] = []

    def open_it() -> None:
        try:
            Ledger(url, FastClock()).close()
        except BaseException as error:  # noqa: BLE001 - looked at below
            errors.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_shown_rows_take_little_room() -> None:
    ledger = Ledger("sqlite://", FastClock())
    rows = [
        DigestRow(
            "s", ("c",), "c", f"m{number // 500}", "[1]", f"[{number}]",
            b'{"id":%d,"week":"2026-W%02d","user_id":%d,"project":"Project %d","tracked":%d,"billable":true}'
            % (number, number // 500, number * 7919 % 50, number * 31 % 12, number * 104729 % 30000),
        )
        for number in range(5000)
    ]  # fmt: skip
    ledger.digests.add(rows)
    for channel, marker, _ in ledger.digests.changed("s"):
        ledger.digests.shown(channel, marker)
    packed = sum(len(row[0]) for row in ledger.database.rows(sa.select(GROUPS.c.rows)))
    ledger.close()
    assert packed / sum(len(row.record or b"") for row in rows) < 0.3
