"""What becomes a post and when: conditions, groups that are closed, names that are looked up, and what was before."""

import datetime as dt
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from api_sandbox import RunningSandbox
from target_harkster.ledger.database import LedgerError
from target_harkster.ledger.lookup_rows import LookupRows
from target_harkster.target import TargetHarkster
from typing_extensions import override

from tests.harkster.killed_runs import FastClock
from tests.harkster.running import Message, Target, as_input, data, record, schema, state

PROPERTIES = {
    "id": {"type": "integer"},
    "week": {"type": "string"},
    "user_id": {"type": ["integer", "null"]},
    "hours": {"type": ["null", "number"]},
}
USERS = schema({"id": {"type": "integer"}, "name": {"type": ["null", "string"]}}, stream="users")
DAY = 86_400


def worked(number: int, hours: Any, week: str = "2026-11-02", user: int | None = 1) -> Message:
    return record(id=number, week=week, user_id=user, hours=hours)


def user(number: Any, name: str | None) -> Message:
    return record(stream="users", id=number, name=name)


def shown(target: Target, *fields: str) -> list[Any]:
    found = [data(post) for post in target.posts() if post.status == "published"]
    return [tuple(one.get(field) for field in fields) if len(fields) > 1 else one.get(fields[0]) for one in found]


# when

OVERTIME: dict[str, Any] = {
    "when": "{{ hours > 40 }}",
    "fields": [
        {"id": "id", "type": "counter", "data": "id"},
        {"id": "hours", "type": "number", "data": "hours", "null": "reject"},
    ],
}


@pytest.mark.parametrize("mode", ["append", "upsert"])
def test_a_row_is_posted_when_it_meets_the_condition(target: Target, mode: str) -> None:
    settings = {"streams": {"hours": {**OVERTIME, "mode": mode}}}
    target.ran(
        [schema(PROPERTIES), worked(1, 45), worked(2, 40), worked(3, 40.1), worked(4, None), state(1)], **settings
    )
    assert shown(target, "id", "hours") == [("1", "45"), ("3", "40.1")]
    assert target.rejects() == []
    # What was left out is posted when it meets it later, and what has a post goes with its row.
    target.ran([schema(PROPERTIES), worked(2, 41), worked(1, 30), worked(5, 50), worked(5, 39), state(2)], **settings)
    expected = {"1": "30" if mode == "upsert" else "45", "2": "41", "3": "40.1"}
    assert dict(shown(target, "id", "hours")) == expected


@pytest.mark.parametrize(("mode", "hours"), [("append", "50"), ("upsert", "60")])
def test_versions_of_one_run_count_if_the_last_meets_the_condition(target: Target, mode: str, hours: str) -> None:
    layout = {**OVERTIME, "mode": mode, "when": "{{ hours is none or hours > 40 }}"}
    bad: Any = None
    versions = {1: [39, 50, 30, 60], 2: [39, 50, bad, 60], 3: [39, 50, 39], 4: [39, bad], 5: [39, 50, 60, bad]}
    rows = [worked(key, one) for key, some in versions.items() for one in some]
    target.ran([schema(PROPERTIES), *rows, state(1)], streams={"hours": layout})
    assert shown(target, "id", "hours") == [("1", hours), ("2", hours), ("5", hours)]
    assert [one["key"] for one in target.rejects()] == (["[4]"] if mode == "append" else ["[4]", "[5]"])


@pytest.mark.parametrize("on_quota", ["defer", "draft"])
@pytest.mark.parametrize("mode", ["append", "upsert", "mirror"])
def test_what_waits_is_withdrawn_when_its_row_does_not_meet_the_condition_any_more(
    target: Target, mode: str, on_quota: str
) -> None:
    settings: dict[str, Any] = {"streams": {"hours": {**OVERTIME, "mode": mode}}, "on_quota": on_quota}
    settings["mirror_max_share"] = 1
    target.ran([schema(PROPERTIES), worked(1, 45), worked(2, 45), state(1)], **settings, max_posts_per_run=0)
    target.ran([schema(PROPERTIES), worked(1, 10), worked(2, 50), state(2)], **settings, max_posts_per_run=0)
    target.ran([schema(PROPERTIES), state(3)], **settings)
    expected = [("2", "45" if mode == "append" else "50")]
    assert shown(target, "id", "hours") == expected
    assert all(post.status == "published" for post in target.posts())
    target.ran([schema(PROPERTIES), worked(1, 60), state(4)], **settings)
    assert shown(target, "id", "hours") == [*expected, ("1", "60")]


@pytest.mark.parametrize("mode", ["append", "upsert"])
def test_what_waits_is_withdrawn_when_its_condition_fails(target: Target, mode: str) -> None:
    layout = {**OVERTIME, "mode": mode, "when": "{{ week | float > 40 }}"}
    target.config["streams"] = {"hours": layout}
    target.ran([schema(PROPERTIES), worked(1, 45, "50"), worked(2, 45, "50"), state(1)], max_posts_per_run=0)
    target.ran([schema(PROPERTIES), worked(1, 45, "x"), state(2)], max_posts_per_run=0)
    target.ran([schema(PROPERTIES), state(3)])
    assert shown(target, "id") == ["2"]
    assert [one["key"] for one in target.rejects()] == ["[1]"]
    target.ran([schema(PROPERTIES), worked(1, 50, "50"), state(4)])
    assert shown(target, "id", "hours") == [("2", "45"), ("1", "50")]
    assert target.rejects() == []


@pytest.mark.parametrize("on_move", ["delete", "keep"])
@pytest.mark.parametrize("on_quota", ["defer", "draft"])
def test_what_waits_is_withdrawn_when_its_row_has_gone_to_another_channel_too(
    sandbox: RunningSandbox, target: Target, tmp_path: Path, on_quota: str, on_move: str
) -> None:
    """Of row 2, which has gone there before, nothing is left behind; row 3 is seen, so its post follows it."""
    other = Target.into_new_channel(sandbox, tmp_path)
    here, there = target.channel, other.channel
    target.config |= {"on_quota": on_quota, "on_move": on_move}
    target.config["streams"] = {
        "hours": {**OVERTIME, "mode": "upsert", "channel": {"column": "week", "allowed": [here, there]}}
    }
    target.ran([schema(PROPERTIES), worked(3, 45, here), state(1)])
    waiting = [worked(1, 45, here), worked(2, 45, here), worked(3, 45, there)]
    for rows in (waiting, [worked(2, 46, there)], [worked(1, 10, there), worked(2, 10, there), worked(3, 10, there)]):
        target.ran([schema(PROPERTIES), *rows, state(2)], max_posts_per_run=0)
    target.ran([schema(PROPERTIES), state(3)])
    left = [("3", "45")] if on_move == "keep" else []
    assert (shown(target, "id", "hours"), shown(other, "id", "hours")) == (left, [("3", "10")])
    assert {post.status for one in (target, other) for post in one.posts()} == {"published"}
    # Those that were withdrawn are as good as new.
    target.ran([schema(PROPERTIES), worked(1, 60, here), worked(2, 10, here), state(4)])
    assert shown(target, "id", "hours") == [*left, ("1", "60")]


def test_a_first_run_posts_no_row_that_does_not_meet_the_condition_any_more(target: Target) -> None:
    fields = [*OVERTIME["fields"], {"id": "before", "type": "text", "data": "{{ previous.hours }}"}]
    target.config["streams"] = {"hours": {**OVERTIME, "mode": "upsert", "fields": fields}}
    target.ran([schema(PROPERTIES), worked(1, 45), worked(2, 46), worked(1, 10), state(1)])
    assert shown(target, "id", "hours") == [("2", "46")]


def test_a_post_goes_when_its_row_meets_the_condition_no_more(target: Target) -> None:
    settings = {"streams": {"hours": {**OVERTIME, "mode": "mirror"}}, "mirror_max_share": 1}
    activate: Message = {"type": "ACTIVATE_VERSION", "stream": "hours", "version": 1}
    for version, hours in ((1, 45), (2, 39)):
        rows = [record(version=version, id=1, hours=hours), record(version=version, id=2, hours=50)]
        target.ran([schema(PROPERTIES), *rows, {**activate, "version": version}, state(version)], **settings)
    assert shown(target, "id", "hours") == [("2", "50")]


def test_a_post_follows_its_row_whether_or_not_that_meets_the_condition(
    sandbox: RunningSandbox, target: Target, tmp_path: Path
) -> None:
    other = Target.into_new_channel(sandbox, tmp_path)
    channel = {"column": "week", "allowed": [target.channel, other.channel]}
    settings = {"streams": {"hours": {**OVERTIME, "mode": "upsert", "channel": channel}}}
    target.ran([schema(PROPERTIES), worked(1, 45, target.channel), worked(2, 9, target.channel), state(1)], **settings)
    target.ran([schema(PROPERTIES), worked(1, 30, other.channel), worked(2, 9, other.channel), state(2)], **settings)
    assert (shown(target, "id", "hours"), shown(other, "id", "hours")) == ([], [("1", "30")])


def test_a_group_that_was_recorded_is_posted_when_it_is_closed(target: Target) -> None:
    weekly = {**WEEKLY, "closed": "{{ rows | length == 2 }}"}
    settings = {"streams": {"hours": weekly}, "first_run": "baseline"}
    target.ran([schema(PROPERTIES), worked(1, 1), worked(2, 1), state(1)], **settings)
    target.ran([schema(PROPERTIES), worked(3, 1), state(2)], **settings)
    assert shown(target, "hours") == []
    target.ran([schema(PROPERTIES), worked(3, 1, "2026-11-09"), worked(2, 2), state(2)], **settings)
    assert shown(target, "hours") == ["3"]


def test_a_post_goes_with_a_row_that_changed_alone(target: Target) -> None:
    settings = {"streams": {"hours": {**OVERTIME, "mode": "mirror"}}, "mirror_max_share": 1}
    target.ran([schema(PROPERTIES), worked(1, 45), worked(2, 50), worked(3, 46), worked(3, 30), state(1)], **settings)
    assert shown(target, "id", "hours") == [("1", "45"), ("2", "50")]
    target.ran([schema(PROPERTIES), worked(1, 39), state(2)], **settings)
    assert shown(target, "id", "hours") == [("2", "50")]
    target.ran([schema(PROPERTIES), worked(1, 41), state(3)], **settings)
    assert sorted(shown(target, "id", "hours")) == [("1", "41"), ("2", "50")]


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        ("{{ hurs > 40 }}", "streams.hours: the expression asks for hurs, which the stream has not."),
        ("{{ hours > }}", "streams.hours: when is not a valid expression"),
        ("{{ 'no' }}", "streams.hours: when gives a text, which is neither true nor false: compare it"),
        ("{{ week }}", "streams.hours: when gives a text, which is neither true nor false: compare it"),
        ("{{ hours ~ '' }}", "streams.hours: when gives a text, which is neither true nor false: compare it"),
    ],
)
def test_a_condition_that_cannot_be_is_refused(target: Target, condition: str, reason: str) -> None:
    ran = target.run([schema(PROPERTIES), worked(1, 45)], streams={"hours": {**OVERTIME, "when": condition}})
    assert reason in ran.told
    assert target.posts() == []


def test_a_condition_that_gives_a_text_sets_its_row_aside(target: Target) -> None:
    # An empty text is false, as in the first half of "and".
    settings = {"streams": {"hours": {**OVERTIME, "when": "{{ 'yes' if hours > 40 else week and hours > 9 }}"}}}
    rows = [worked(1, 45), worked(2, 10, ""), worked(3, 10), worked(4, 9)]
    assert target.ran([schema(PROPERTIES), *rows, state(1)], **settings) == [1]
    assert shown(target, "id") == ["3"]
    assert [(one["key"], one["field"], one["reason"][:12]) for one in target.rejects()] == [
        ("[1]", "when", "gives a text")
    ]


def test_a_closing_condition_that_gives_a_text_sets_its_group_aside(target: Target) -> None:
    closed = "{{ 'yes' if user_id == 1 else rows }}"
    rows = [worked(1, 45), worked(2, 10, "2026-11-09", 2)]
    target.ran([schema(PROPERTIES), *rows, state(1)], streams={"hours": {**WEEKLY, "closed": closed}})
    assert shown(target, "hours") == ["10"]
    assert [(one["key"], one["field"], one["reason"][:12]) for one in target.rejects()] == [
        ('["2026-11-02"]', "closed", "gives a text")
    ]


def test_a_condition_that_fails_sets_its_row_aside(target: Target) -> None:
    settings = {"streams": {"hours": {**OVERTIME, "when": "{{ 40 / hours > 1 }}"}}}
    target.ran([schema(PROPERTIES), worked(1, 0), worked(2, 20), state(1)], **settings)
    assert shown(target, "id") == ["2"]
    assert [(one["field"], one["reason"]) for one in target.rejects()] == [
        ("when", "has an expression that divides by zero")
    ]


# Digests

WEEKLY: dict[str, Any] = {
    "group_by": ["week"],
    "name": "{{ week }}",
    "fields": [
        {"id": "week", "type": "date", "data": "week"},
        {"id": "hours", "type": "number", "data": "{{ rows | sum(attribute='hours') }}"},
    ],
}


def test_a_digest_needs_a_key(target: Target) -> None:
    ran = target.run([schema(PROPERTIES, key=[]), worked(1, 8)], streams={"hours": WEEKLY})
    assert "streams.hours: group_by needs a key" in ran.told
    assert target.posts() == []
    # With one, equal rows are two, and a correction is none.
    target.ran(
        [schema(PROPERTIES, key=[]), worked(1, 8), worked(2, 8), worked(1, 6)],
        streams={"hours": {**WEEKLY, "key": ["id"]}},
    )
    assert shown(target, "hours") == ["14"]


def test_a_digest_is_whole_unless_it_says_otherwise(target: Target) -> None:
    for hours in (8, 7):
        target.ran([schema(PROPERTIES), worked(hours, hours), state(hours)], streams={"hours": WEEKLY})
    assert shown(target, "hours") == ["15"]
    append = {"hours": {**WEEKLY, "mode": "append"}}
    target.ran([schema(PROPERTIES), worked(9, 1), worked(10, 1, "2026-11-09"), state(3)], streams=append)
    target.ran([schema(PROPERTIES), worked(11, 1, "2026-11-09"), state(4)], streams=append)
    assert shown(target, "hours") == ["15", "1"]


class Later(FastClock):
    """A clock that was set forward."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    @override
    def time(self) -> float:
        return super().time() + self._seconds


def run_at(target: Target, days: float, messages: list[Message], **settings: Any) -> None:
    """Run the target when so many days have gone by."""
    made = TargetHarkster(config={**target.config, **settings}, clock=Later(days * DAY))
    made.listen(as_input(messages))  # type: ignore[arg-type]


def test_a_group_is_posted_once_when_it_is_closed(target: Target) -> None:
    first = Later(0)
    today = made_day(first, 0)
    settings = {"streams": {"hours": {**WEEKLY, "closed": "{{ week | add_days(7) <= today }}"}}}
    run_at(
        target, 0, [schema(PROPERTIES), worked(1, 8, today), worked(2, 1, made_day(first, -7)), state(1)], **settings
    )
    assert shown(target, "week", "hours") == [(made_day(first, -7), "1")]
    run_at(target, 6, [schema(PROPERTIES), worked(3, 7, today), state(2)], **settings)
    assert len(target.posts()) == 1
    # The tap has nothing new to tell: it is the time that has come.
    run_at(target, 7, [schema(PROPERTIES), state(3)], **settings)
    assert shown(target, "week", "hours") == [(made_day(first, -7), "1"), (today, "15")]
    # A correction changes the post, which is announced only once.
    run_at(target, 8, [schema(PROPERTIES), worked(3, 6, today), state(4)], **settings)
    assert shown(target, "hours") == ["1", "14"]
    assert [(post.publications, post.updates) for post in target.posts()] == [(1, 0), (1, 1)]


def made_day(clock: FastClock, days: int) -> str:
    """A date so many days from now."""
    return (dt.datetime.fromtimestamp(clock.time(), dt.timezone.utc).date() + dt.timedelta(days=days)).isoformat()


def test_a_group_is_closed_when_nothing_comes_any_more(target: Target) -> None:
    settings = {"streams": {"hours": {**WEEKLY, "closed": {"quiet_hours": 48}}}}
    run_at(target, 0, [schema(PROPERTIES), worked(1, 8), state(1)], **settings)
    run_at(target, 1.5, [schema(PROPERTIES), worked(2, 7), worked(1, 8), state(2)], **settings)
    # A row that is as it was is nothing new.
    run_at(target, 3, [schema(PROPERTIES), worked(1, 8), state(3)], **settings)
    assert target.posts() == []
    run_at(target, 3.6, [schema(PROPERTIES), state(4)], **settings)
    assert shown(target, "hours") == ["15"]


def test_a_group_does_not_wait_for_the_time_of_a_clock_that_was_wrong(target: Target) -> None:
    settings = {"streams": {"hours": {**WEEKLY, "closed": {"quiet_hours": 48}}}}
    run_at(target, 50, [schema(PROPERTIES), worked(1, 8), state(1)], **settings)
    for days in (0, 1.9):
        run_at(target, days, [schema(PROPERTIES), state(2)], **settings)
        assert target.posts() == []
    run_at(target, 2.1, [schema(PROPERTIES), state(3)], **settings)
    assert shown(target, "hours") == ["8"]


def test_a_group_is_closed_when_its_last_row_says_so(target: Target) -> None:
    weekly = {**WEEKLY, "closed": "{{ week_is_over }}"}
    properties = {**PROPERTIES, "week_is_over": {"type": ["null", "boolean"]}}
    for number, is_over in enumerate([None, False, True], 1):
        assert target.posts() == []
        row = record(id=number, week="2026-11-02", hours=8, week_is_over=is_over)
        target.ran([schema(properties), row, state(number)], streams={"hours": weekly})
    assert [(data(post)["hours"], post.publications, post.updates) for post in target.posts()] == [("24", 1, 0)]


def test_what_is_closed_late_is_no_first_run(target: Target) -> None:
    settings = {"first_run": "baseline", "streams": {"hours": {**WEEKLY, "closed": {"quiet_hours": 48}}}}
    run_at(target, 0, [schema(PROPERTIES), worked(1, 8), state(1)], **settings)
    run_at(target, 3, [schema(PROPERTIES), state(2)], **settings)
    assert shown(target, "hours") == ["8"]


def test_a_group_is_closed_when_its_rows_come_to_enough(target: Target) -> None:
    settings = {"streams": {"hours": {**WEEKLY, "closed": "{{ rows | sum(attribute='hours') > 10 }}"}}}
    target.ran([schema(PROPERTIES), worked(1, 8), worked(2, 11, "2026-11-09"), state(1)], **settings)
    assert shown(target, "hours") == ["11"]
    target.ran([schema(PROPERTIES), worked(3, 3), state(2)], **settings)
    assert shown(target, "hours") == ["11", "11"]


def test_a_row_is_in_its_digest_as_long_as_it_meets_the_condition(target: Target) -> None:
    settings = {"streams": {"hours": {**WEEKLY, "when": "{{ user_id == 1 }}"}}}

    def sums(*rows: Message) -> dict[str, str]:
        target.ran([schema(PROPERTIES), *rows, state(1)], **settings)
        return dict(shown(target, "week", "hours"))

    rows = [worked(1, 8), worked(2, 7, user=2), worked(3, 6), worked(4, 5, "2026-11-09", user=2)]
    assert sums(*rows) == {"2026-11-02": "14"}
    assert sums(worked(3, 6, user=2)) == {"2026-11-02": "8"}
    assert sums(worked(3, 6), worked(2, 7)) == {"2026-11-02": "21"}
    # It leaves its group too if it names another one by then.
    assert sums(worked(3, 6, "2026-11-09", user=2)) == {"2026-11-02": "15"}
    # The post of a group without rows stays.
    assert sums(worked(1, 8, user=2), worked(2, 7, user=None)) == {"2026-11-02": "0"}
    assert [(post.publications, post.status) for post in target.posts()] == [(1, "published")]


def test_a_condition_on_the_time_is_judged_whenever_the_row_comes(target: Target) -> None:
    clock = Later(0)
    weekly = {**WEEKLY, "group_by": ["user_id"], "fields": WEEKLY["fields"][1:], "name": "hours"}
    settings = {"streams": {"hours": {**weekly, "when": "{{ week | add_days(7) > today }}"}}}
    rows = [worked(1, 8, made_day(clock, 0)), worked(2, 7, made_day(clock, -3))]
    for day, expected in ((0, "15"), (5, "8"), (9, "0")):
        run_at(target, day, [schema(PROPERTIES), *rows, state(day)], **settings)
        assert shown(target, "hours") == [expected]
    run_at(target, 0, [schema(PROPERTIES), *rows[1:], state(10)], **settings)
    assert shown(target, "hours") == ["7"]


def test_a_row_whose_condition_fails_is_set_aside_and_its_digest_is_posted(target: Target) -> None:
    settings = {"streams": {"hours": {**WEEKLY, "when": "{{ 40 / hours > 1 }}"}}}
    target.ran([schema(PROPERTIES), worked(1, 0), worked(2, 20), state(1)], **settings)
    assert shown(target, "hours") == ["20"]
    assert [(one["key"], one["field"]) for one in target.rejects()] == [("[1]", "when")]
    target.ran([schema(PROPERTIES), worked(1, 5), state(2)], **settings)
    assert (shown(target, "hours"), target.rejects()) == (["25"], [])


def test_a_condition_on_the_rows_of_a_digest_is_closed(target: Target) -> None:
    ran = target.run([schema(PROPERTIES)], streams={"hours": {**WEEKLY, "when": "{{ rows | length > 1 }}"}})
    assert "streams.hours: when chooses the rows of a digest one by one: set closed for" in ran.told


def test_only_digests_are_closed(target: Target) -> None:
    ran = target.run([schema(PROPERTIES)], streams={"hours": {"closed": {"quiet_hours": 1}}})
    assert "streams.hours: closed is for digests: set group_by." in ran.told


# lookup

BY_NAME: dict[str, Any] = {
    "users": {"mode": "lookup"},
    "hours": {
        "group_by": ["week"],
        "fields": [
            {
                "id": "who",
                "type": "bulletPoints",
                "data": "{% for id, of in rows | groupby('user_id') %}"
                "{{ id | lookup('users', 'name') | default('?') }}: {{ of | sum(attribute='hours') }} h\n{% endfor %}",
            }
        ],
    },
}


@pytest.mark.parametrize("order", ["first", "last"])
def test_names_come_from_another_stream(target: Target, order: str) -> None:
    hours = [schema(PROPERTIES), worked(1, 8), worked(2, 7, user=2), worked(3, 1, user=None)]
    users = [USERS, user(1, "Ann"), user(2, "Old name"), user(2, "Bob")]
    messages = [*users, *hours] if order == "first" else [*hours, *users]
    assert target.ran([*messages, state(1)], streams=BY_NAME) == [1]
    assert shown(target, "who") == ["Ann: 8 h\nBob: 7 h\n?: 1 h"]
    # They are known to later runs, in which nobody tells them again.
    target.ran([schema(PROPERTIES), worked(4, 6, "2026-11-09", user=2), state(2)], streams=BY_NAME)
    assert shown(target, "who")[1:] == ["Bob: 6 h"]


def test_a_name_that_comes_late_is_put_in(target: Target) -> None:
    target.ran(
        [USERS, user(1, "Ann"), schema(PROPERTIES), worked(1, 8), worked(2, 7, user=2), state(1)], streams=BY_NAME
    )
    waiting = [worked(3, 6, "2026-11-09", user=2), worked(4, 5, "2026-11-16"), state(2)]
    target.ran([schema(PROPERTIES), *waiting], streams=BY_NAME, max_posts_per_run=0)
    assert shown(target, "who") == ["Ann: 8 h\n?: 7 h"]
    target.ran([USERS, user("2", "Bob"), schema(PROPERTIES), state(3)], streams=BY_NAME)
    assert shown(target, "who") == ["Ann: 8 h\nBob: 7 h", "Bob: 6 h", "Ann: 5 h"]
    updates = [post.updates for post in target.posts()]
    target.ran([USERS, user(2, "Bob"), schema(PROPERTIES), state(4)], streams=BY_NAME)
    assert [post.updates for post in target.posts()] == updates
    assert [post.publications for post in target.posts()] == [1, 1, 1]


@pytest.mark.parametrize("has_state", [True, False])
def test_a_name_is_put_in_though_only_its_own_tap_runs(target: Target, *, has_state: bool) -> None:
    settings = {"streams": BY_NAME, "first_run": "publish"}
    target.ran([schema(PROPERTIES), worked(1, 8), worked(2, 7, "2026-11-09", user=2), state(1)], **settings)
    assert shown(target, "who") == ["?: 8 h", "?: 7 h"]
    target.ran([USERS, user(1, "Ann"), *([state(2)] if has_state else [])], **settings)
    assert shown(target, "who") == ["Ann: 8 h", "?: 7 h"]
    target.ran([USERS, user(2, "Bob"), state(3)], **settings)
    assert shown(target, "who") == ["Ann: 8 h", "Bob: 7 h"]
    assert [(post.publications, post.updates) for post in target.posts()] == [(1, 1)] * 2


def test_no_first_run_ends_with_that_of_another_tap(target: Target) -> None:
    settings = {"streams": BY_NAME, "first_run": "baseline"}
    cut_off = [schema(PROPERTIES), worked(1, 8)]
    target.run([*cut_off, state(1), worked(2, 7, "2026-11-09"), b"{"], **settings)
    for messages in ([USERS, user(1, "Ann"), state(2)], [USERS, user(1, "Ann")]):
        target.ran(messages, **settings)
    target.ran([*cut_off, worked(2, 7, "2026-11-09"), worked(3, 7, "2026-11-16"), state(3)], **settings)
    assert shown(target, "who") == []


def test_digests_of_a_layout_that_has_changed_wait_for_their_own_tap(
    target: Target, caplog: pytest.LogCaptureFixture
) -> None:
    target.ran([schema(PROPERTIES), worked(1, 8), state(1)], streams=BY_NAME)
    streams = {**BY_NAME, "hours": {**BY_NAME["hours"], "group_by": ["weeks"]}}
    target.ran([USERS, user(1, "Ann"), state(2)], streams=streams)
    assert "hours: its digests wait for its own tap. streams.hours: group_by names the column weeks" in caplog.text
    assert shown(target, "who") == ["?: 8 h"]


@pytest.mark.parametrize("is_postgres", [True, False])
def test_nul_in_a_key_of_a_lookup_stream_does_no_harm(
    request: pytest.FixtureRequest, target: Target, *, is_postgres: bool
) -> None:
    if is_postgres:
        target.config["ledger_url"] = request.getfixturevalue("postgres_url")
    streams = {
        "users": {"mode": "lookup"},
        "hours": {"fields": [{"id": "who", "type": "text", "data": "{{ of | lookup('users', 'name') }}"}]},
    }
    names = ["a\0b", "a\\u0000b", '"a\\u0000b"', "plain"]
    users = [schema({"id": {"type": "string"}, "name": {"type": "string"}}, stream="users")]
    users += [record("users", id=name, name=str(number)) for number, name in enumerate(names)]
    hours = [schema({"id": {"type": "integer"}, "of": {"type": "string"}, "x\0": {"type": "integer"}})]
    hours += [record(id=number, of=name) for number, name in enumerate([*names, "not\0there"])]
    wrong: Message = {"type": "RECORD", "stream": "hours", "record": {"id": 9, "of": "plain", "x\0": "text"}}
    assert target.ran([*users, *hours, wrong, state(1)], streams=streams) == [1]
    assert shown(target, "who") == ["0", "1", "2", "3", None]
    assert [reject["key"] for reject in target.rejects()] == ["[9]"]


def test_a_ledger_that_fails_while_an_expression_asks_it_rejects_no_row(target: Target) -> None:
    fields = [{"id": "who", "type": "text", "data": "{{ user_id | lookup('users', 'name') }}"}]
    streams = {"users": {"mode": "lookup"}, "hours": {"fields": fields}}
    rows = [USERS, user(1, "Ann"), schema(PROPERTIES), worked(1, 8), state(1)]
    with mock.patch.object(LookupRows, "find", side_effect=LedgerError("it fails")):
        ran = target.run(rows, streams=streams)
    assert isinstance(ran.error, LedgerError)
    assert (ran.states, target.rejects(), target.posts()) == ([], [], [])
    target.ran(rows, streams=streams)
    assert shown(target, "who") == ["Ann"]


def test_rows_of_a_lookup_stream_are_not_posted(target: Target) -> None:
    fields = [{"id": "who", "type": "text", "data": "{{ user_id | lookup('users', 'name') }}"}]
    streams = {"users": {"mode": "lookup"}, "hours": {"fields": fields}}
    users = [USERS, user(1, "Ann"), user(None, "Nobody"), record(stream="users", id=3, name="Cid", _sdc_sequence=7)]
    target.ran(
        [*users, schema(PROPERTIES), worked(1, 8), worked(2, 8, user=9), worked(3, 8, user=3), state(1)],
        streams=streams,
    )
    assert shown(target, "who") == ["Ann", None, "Cid"]


@pytest.mark.parametrize(
    ("streams", "reason"),
    [
        ({"users": {"mode": "lookup", "name": "x"}}, "streams.users: mode lookup takes no name"),
        ({"users": {"mode": "lookup", "key": ["id", "name"]}}, "streams.users: mode lookup needs a key of one column"),
        (
            {"hours": {"fields": [{"id": "f", "type": "text", "data": "{{ user_id | lookup('people', 'name') }}"}]}},
            "field f: it has an expression that fails: people is no stream of mode lookup",
        ),
        (
            {
                "users": {"mode": "lookup"},
                "hours": {"fields": [{"id": "f", "type": "text", "data": "{{ user_id | lookup('users', 'nme') }}"}]},
            },
            "field f: it has an expression that fails: there is no nme in users",
        ),
    ],
)
def test_a_lookup_that_cannot_be_is_refused(target: Target, streams: dict[str, Any], reason: str) -> None:
    ran = target.run([USERS, schema(PROPERTIES), worked(1, 8)], streams=streams)
    assert reason in ran.told
    assert target.posts() == []


# previous

UP = "{% if previous %}up {{ hours - previous.hours }} h{% else %}first{% endif %}"


def test_a_row_is_compared_with_its_own_post(target: Target) -> None:
    fields = [{"id": "hours", "type": "number", "data": "hours"}, {"id": "up", "type": "text", "data": UP}]
    settings = {"streams": {"hours": {"mode": "upsert", "fields": fields}}}
    for number, hours in enumerate([40, 44.5, 44.5, 30], 1):
        target.ran([schema(PROPERTIES), worked(1, hours), worked(2, 1), state(number)], **settings)
        expected = {1: "first", 2: "up 4.5 h", 3: "up 4.5 h", 4: "up -14.5 h"}[number]
        assert shown(target, "hours", "up") == [(str(hours), expected), ("1", "first")]


@pytest.mark.parametrize("numbers_as", ["string", "number"])
@pytest.mark.parametrize("runs", [1, 3])
def test_a_week_is_compared_with_the_last_one(target: Target, runs: int, numbers_as: str) -> None:
    total = "rows | sum(attribute='hours')"
    weekly = {
        "group_by": ["user_id", "week"],
        "fields": [
            {"id": "who", "type": "counter", "data": "user_id"},
            {"id": "hours", "type": "number", "data": f"{{{{ {total} }}}}"},
            {"id": "up", "type": "number", "data": f"{{{{ {total} - previous.hours }}}}"},
        ],
    }
    weeks = [
        [worked(1, 40, "W1"), worked(2, 10, "W1", 2)],
        [worked(3, 44.5, "W2")],
        [worked(4, 42, "W3"), worked(5, 12, "W3", 2)],
    ]
    if runs == 1:
        weeks = [[row for rows in weeks for row in rows]]
    for number, rows in enumerate(weeks):
        target.ran([schema(PROPERTIES), *rows, state(number)], streams={"hours": weekly}, numbers_as=numbers_as)
    found = sorted(
        (str(who), float(hours), None if up is None else float(up))
        for who, hours, up in shown(target, "who", "hours", "up")
    )
    assert found == [("1", 40, None), ("1", 42, -2.5), ("1", 44.5, 4.5), ("2", 10, None), ("2", 12, 2)]
    # More of a week is still compared with the week before it.
    target.ran([schema(PROPERTIES), worked(6, 1, "W2"), state(9)], streams={"hours": weekly}, numbers_as=numbers_as)
    assert [float(up) for who, up in shown(target, "hours", "up") if float(who) == 45.5] == [5.5]


TOTAL = "rows | sum(attribute='hours')"
SINCE: dict[str, Any] = {
    "group_by": ["team", "week"],
    "name": "{{ team }}, {{ week }}",
    "fields": [
        {"id": "hours", "type": "number", "data": f"{{{{ {TOTAL} }}}}"},
        {
            "id": "since",
            "type": "text",
            "data": f"{{% if previous %}}{{{{ ({TOTAL}) - previous.hours }}}} more{{% else %}}first{{% endif %}}",
        },
    ],
}


def of_weeks(target: Target, kind: str, *rows: tuple[int, str, Any, int], **settings: Any) -> dict[str, Any]:
    """What the posts of teams and weeks say after rows of id, team, week and hours have come."""
    columns = {"id": "integer", "team": "string", "week": kind, "hours": "number"}
    properties = {name: {"type": kind} for name, kind in columns.items()}
    records = [record(**dict(zip(columns, row, strict=True))) for row in rows]
    target.ran([schema(properties), *records, state(len(rows))], streams={"hours": {**SINCE, **settings}})
    return {str(post.name): (data(post)["hours"], data(post)["since"]) for post in target.posts()}


@pytest.mark.parametrize("runs", ["one", "each"])
@pytest.mark.parametrize(
    ("kind", "weeks"),
    [
        ("string", ["2026-11-02", "2026-11-09", "2026-11-16"]),
        ("integer", [8, 9, 10]),
        ("string", ["8", "9", "10"]),
        ("string", ["08", "09", "10"]),
        ("number", [0.5, 1, 1.5]),
    ],
)
def test_a_week_is_compared_with_the_week_before_whichever_comes_first(
    target: Target, kind: str, weeks: list[Any], runs: str
) -> None:
    first, second, third = weeks
    rows = [(3, "A", third, 60), (6, "B", third, 7), (2, "A", second, 30), (1, "A", first, 10), (5, "B", first, 5)]
    if runs == "one":
        assert of_weeks(target, kind, *rows) == {
            f"A, {first}": ("10", "first"),
            f"A, {second}": ("30", "20 more"),
            f"A, {third}": ("60", "30 more"),
            f"B, {first}": ("5", "first"),
            f"B, {third}": ("7", "2 more"),
        }
        assert [str(post.name)[0] for post in target.posts()] == ["A", "B", "A", "A", "B"]
        return
    for row in rows:
        found = of_weeks(target, kind, row)
    # Each came before there was an earlier one.
    assert {since for _, since in found.values()} == {"first"}
    found = of_weeks(target, kind, (7, "A", third, 1), (8, "B", third, 1), (9, "A", second, 2), (10, "A", first, 4))
    assert found == {
        f"A, {first}": ("14", "first"),
        f"A, {second}": ("32", "18 more"),
        f"A, {third}": ("61", "29 more"),
        f"B, {first}": ("5", "first"),
        f"B, {third}": ("8", "3 more"),
    }


def test_a_late_week_stands_between_its_neighbours(target: Target) -> None:
    assert of_weeks(target, "string", (1, "A", "W1", 10), (3, "A", "W3", 60))["A, W3"] == ("60", "50 more")
    found = of_weeks(target, "string", (2, "A", "W2", 30), (5, "B", "W2", 99))
    # What was posted stays, until its own rows change.
    assert found == {
        "A, W1": ("10", "first"),
        "A, W2": ("30", "20 more"),
        "A, W3": ("60", "50 more"),
        "B, W2": ("99", "first"),
    }
    assert of_weeks(target, "string", (4, "A", "W3", 1))["A, W3"] == ("61", "31 more")


def test_groups_that_close_out_of_order_are_compared_in_their_order(target: Target) -> None:
    closed = "{{ rows | length == 2 }}"
    rows = [(1, "A", "W1", 10), (2, "A", "W2", 15), (3, "A", "W2", 15), (4, "A", "W3", 60)]
    assert of_weeks(target, "string", *rows, closed=closed) == {"A, W2": ("30", "first")}
    found = of_weeks(target, "string", (5, "A", "W3", 1), (6, "A", "W1", 1), closed=closed)
    assert found == {"A, W1": ("11", "first"), "A, W2": ("30", "first"), "A, W3": ("61", "31 more")}


def test_which_post_goes_before_is_a_setting(target: Target) -> None:
    fields = [{"id": "hours", "type": "number", "data": "hours"}, {"id": "up", "type": "text", "data": UP}]
    stream = {"fields": fields, "key": ["user_id", "week"], "previous_by": ["user_id", "user_id"]}
    rows = [worked(1, 40, "W1"), worked(2, 10, "W1", 2), worked(3, 44.5, "W2"), worked(4, 9, "W2", 2)]
    target.ran([schema(PROPERTIES), *rows, state(1)], streams={"hours": stream}, max_posts_per_run=1)
    target.ran([schema(PROPERTIES), state(2)], streams={"hours": stream})
    assert shown(target, "hours", "up") == [("40", "first"), ("10", "first"), ("44.5", "up 4.5 h"), ("9", "up -1 h")]


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        ({"previous_by": ["hours"]}, "streams.hours: previous_by names hours, which is no part of the key."),
        (
            {"fields": [{"id": "f", "type": "text", "data": "{{ previous.hurs }}"}]},
            "field f: it has an expression that fails: there is no hurs.",
        ),
    ],
)
def test_a_comparison_that_cannot_be_is_refused(target: Target, stream: dict[str, Any], reason: str) -> None:
    ran = target.run([schema(PROPERTIES), worked(1, 8)], streams={"hours": stream})
    assert reason in ran.told
    assert target.posts() == []
