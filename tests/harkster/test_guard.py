"""A first run that would post more than anybody has said that they want: it stops before the first post."""

from pathlib import Path
from typing import Any

import pytest
from target_harkster.delivery import parcel_queue
from target_harkster.delivery.first_run_guard import TooManyNewPostsError

from tests.harkster.running import Command, Target, data, record, schema, state

DIGEST: dict[str, Any] = {
    "group_by": ["name"],
    "fields": [{"id": "n", "type": "counter", "data": "{{ rows | length }}"}],
}
COMPARED: dict[str, Any] = {
    **DIGEST,
    "previous_by": [],
    "fields": [{"id": "n", "type": "text", "data": "{{ group.name }} after {{ previous.n }}"}],
}


def rows(*ids: int) -> list[Any]:
    """Messages of a tap that sends a STATE behind each row."""
    return [schema(), *(each for number in ids for each in (record(id=number, name=str(number)), state(number)))]


@pytest.fixture(params=[1, 500])
def _batch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parcel_queue, "BATCH", request.param)
    monkeypatch.setattr(parcel_queue, "CHECKPOINT_POSTS", 0)


@pytest.mark.usefixtures("_batch")
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"first_run": "draft"},
        {"streams": {"hours": {"mode": "mirror"}}},
    ],
)
def test_one_too_many_stops_before_the_first(target: Target, settings: dict[str, Any]) -> None:
    ran = target.run(rows(*range(26)), **settings)
    assert isinstance(ran.error, TooManyNewPostsError)
    assert "would make more than 25 new posts (max_new_posts)" in str(ran.error)
    assert (target.posts(), ran.states) == ([], [])
    # Nothing of it waits either: the next run goes by its own settings.
    assert target.ran(rows(1), **settings) == [1]
    assert len(target.posts()) == 1


@pytest.mark.usefixtures("_batch")
@pytest.mark.parametrize("layout", [DIGEST, COMPARED])
def test_digests_are_counted_as_posts(target: Target, layout: dict[str, Any]) -> None:
    settings = {"streams": {"hours": layout}}
    ran = target.run(rows(*range(26)), **settings)
    assert isinstance(ran.error, TooManyNewPostsError)
    # The ledger has the rows.
    assert (target.posts(), ran.states[-1]) == ([], 25)
    again = target.run([schema()], **settings)
    assert (type(again.error), target.posts()) == (TooManyNewPostsError, [])
    target.ran([schema()], max_new_posts=26, **settings)
    assert len(target.posts()) == 26


@pytest.mark.usefixtures("_batch")
def test_as_many_as_are_allowed_are_posted_in_their_order(target: Target) -> None:
    assert target.ran(rows(*range(25)))[-1] == 24
    assert [data(post)["name"] for post in target.posts()] == [str(number) for number in range(25)]


def test_more_can_be_allowed(target: Target) -> None:
    target.ran(rows(*range(26)), max_new_posts=26)
    assert len(target.posts()) == 26


def test_none_can_be_allowed(target: Target) -> None:
    assert target.run(rows(1), max_new_posts=0).states == []
    assert target.posts() == []


def test_what_is_only_recorded_is_as_much_as_there_is(target: Target) -> None:
    assert target.ran(rows(*range(40)), first_run="baseline") == [39]
    target.ran(rows(*range(41)), first_run="baseline")
    assert [data(post)["name"] for post in target.posts()] == ["40"]


def test_later_runs_post_what_there_is(target: Target) -> None:
    target.ran(rows(1))
    target.ran(rows(*range(40)))
    assert len(target.posts()) == 40


def test_each_stream_is_counted_by_itself_and_stops_all_that_are_held(target: Target) -> None:
    teams = [schema(stream="teams"), *(record("teams", id=at) for at in range(25))]
    target.ran([*rows(*range(25)), *teams])
    assert len(target.posts()) == 50
    other = [schema(stream="other"), record("other", id=1), schema(stream="many")]
    ran = target.run([*other, *(record("many", id=at) for at in range(26))])
    assert "The first run of many into Acme Inc./Projects/" in str(ran.error)
    assert len(target.posts()) == 50


def test_a_stream_that_is_known_is_not_held_back(target: Target) -> None:
    target.ran(rows(1))
    messages = [*rows(2), schema(stream="teams"), *(record("teams", id=at) for at in range(26))]
    ran = target.run(messages)
    assert isinstance(ran.error, TooManyNewPostsError)
    assert [data(post)["name"] for post in target.posts()] == ["1", "2"]


@pytest.mark.usefixtures("_batch")
def test_versions_of_a_row_are_one_post(target: Target) -> None:
    versions = [record(id=number % 5, name=f"version {number}") for number in range(50)]
    gone = [record(id=4, name="gone", _sdc_deleted_at="2026-01-01T00:00:00Z")]
    upsert = {"streams": {"hours": {"mode": "upsert"}}}
    target.ran([schema(), *versions, *gone, state(1)], max_new_posts=5, **upsert)
    assert [data(post)["name"] for post in target.posts()] == [f"version {number}" for number in range(45, 49)]
    assert [post.publications for post in target.posts()] == [1] * 4


def test_what_a_run_that_died_had_counted_is_new_to_the_next(target: Target, monkeypatch: Any) -> None:
    class DiedError(BaseException):
        pass

    def dies(*_: object, **__: object) -> None:
        raise DiedError

    with monkeypatch.context() as patched:
        patched.setattr(parcel_queue, "BATCH", 1)
        patched.setattr("target_harkster.run.Run.end", dies)
        with pytest.raises(DiedError):
            target.run(rows(*range(20)))
    assert target.posts() == []
    target.ran(rows(*range(15, 35)), first_run="draft")
    assert [data(post)["name"] for post in target.posts()] == [str(number) for number in range(15, 35)]


def test_a_plan_tells_of_all_and_fails_as_the_run_does(
    target: Target, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = Command(target, tmp_path).failed("plan", "--json", given=rows(*range(26)))
    assert '"publish": 26' in told
    assert "would make more than 25 new posts (max_new_posts)" in told
    assert isinstance(target.run(rows(*range(26)), dry_run=True).error, TooManyNewPostsError)
    assert "hours  \u2502 26 " in capsys.readouterr().err


def test_a_tap_that_always_dies_does_not_post_without_end(target: Target) -> None:
    def attempt(*ids: int) -> BaseException | None:
        return target.run([*rows(*ids), record(id=ids[0], name=str(ids[0]))]).error  # no STATE behind its last row

    assert attempt(*range(20)) is None
    assert len(target.posts()) == 20
    assert attempt(*range(25)) is None
    assert len(target.posts()) == 25
    error = attempt(*range(5, 26))
    assert isinstance(error, TooManyNewPostsError)
    assert "more than 25 new posts, with 25 of earlier runs that were cut off (max_new_posts)" in str(error)
    assert len(target.posts()) == 25
    target.ran(rows(*range(25)))
    target.ran(rows(*range(25, 60)))  # the first run is over
    assert len(target.posts()) == 60
