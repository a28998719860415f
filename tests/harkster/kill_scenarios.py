"""Scenarios in which the target is killed, and what must be true at the end of each and after every kill."""

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from api_sandbox import Fault, PostTruth
from target_harkster.ledger.digests import unpack

from tests.harkster.running import Message, Target, data, record, schema, state

Found = dict[tuple[str, str], str]
"""Content by stream and key."""

FAULTS = (
    Fault(kind="reset", operation="write", when="before", rate=0.08),
    Fault(kind="reset", operation="write", when="after", rate=0.08),
    Fault(kind="reset", operation="write", when="mid_body", rate=0.05),
    Fault(kind="status", operation="write", status=500, when="after", rate=0.06),
    Fault(kind="status", operation="write", status=503, when="before", html=True, rate=0.06),
    Fault(kind="status", status=429, rate=0.06),
    Fault(kind="status", operation="read", status=502, rate=0.05),
    Fault(kind="truncated", operation="write", rate=0.04),
    Fault(kind="not_json", operation="write", when="before", rate=0.04),
    Fault(kind="not_json", operation="write", when="after", rate=0.04),
)
LATE = (
    Fault(kind="hold", operation="publish", when="before", rate=0.5),
    Fault(kind="hold", operation="update", when="before", rate=0.5),
    Fault(kind="hold", operation="create", when="before", rate=0.3),
)
"""Done after the client has given up."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What a tap sends until it is done, and the settings meanwhile.

    Attributes:
        segments: Messages between its STATEs.
        settings: Of the target.
        quota: Of the account, set before.
        ends: Names of the errors with which it may end for good.
    """

    segments: Sequence[Sequence[Message]] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    quota: int | None = None
    ends: frozenset[str] = frozenset({""})


@dataclass(frozen=True, kw_only=True)
class KillScenario:
    """What a tap sends, stage by stage, while the target is killed and the API fails.

    Attributes:
        stages: One after the other, with one ledger and one channel.
        check: Looks at the end.
        schemas: What each run begins with.
        sandbox: Settings of the sandbox.
        rounds: How many times it is played, each time with runs that are killed at other points.
        faults: What else goes wrong in every other round.
        is_late: Whether the faults let writes be done when nobody waits for them any more, in all rounds.
        is_final: Whether each row is posted with its last content, and not its first.
    """

    stages: Sequence[Stage]
    check: Callable[[Target], None]
    schemas: Sequence[Message] = (schema(),)
    sandbox: Mapping[str, Any] = field(default_factory=dict)
    rounds: int = 2
    faults: Sequence[Fault] = FAULTS
    is_late: bool = False
    is_final: bool = True

    def messages(self, stage: int, states: Path) -> str:
        """What a tap sends in a stage that goes on from the last STATE."""
        before = [segment for each in self.stages[:stage] for segment in each.segments]
        segments = [*before, *self.stages[stage].segments]
        done = max(len(before), last_state(states))
        messages = [*self.schemas, state({"segments": done})]
        for number, segment in enumerate(segments[done:], done + 1):
            messages += [*segment, state({"segments": number})]
        return "".join(json.dumps(message) + "\n" for message in messages)

    def versions(self, segments: int | None = None) -> dict[tuple[str, str], list[str]]:
        """The contents of each row in the first segments, in their order."""
        found: dict[tuple[str, str], list[str]] = {}
        every = [segment for stage in self.stages for segment in stage.segments]
        for message in [message for segment in every[:segments] for message in segment]:
            if message["type"] == "RECORD":
                key = json.dumps([message["record"]["id"]])
                found.setdefault((message["stream"], key), []).append(str(message["record"]["name"]))
        return found


def last_state(states: Path) -> int:
    lines = states.read_bytes().splitlines() if states.exists() else []
    return max((json.loads(line)["segments"] for line in lines if line.endswith(b"}")), default=0)


def check_state(scenario: KillScenario, target: Target, segments: int) -> None:
    """All rows of the segments that a STATE is about are posted, wait durably, or are rejected."""
    every = scenario.versions()
    places = list(durable(target))
    for row, versions in scenario.versions(segments).items():
        wanted = versions[-1:] if scenario.is_final else versions[:1]
        later = every[row][len(versions) :] if scenario.is_final else every[row]
        found = [content for at, content in places if at == row]
        assert any(content is None or content in {*wanted, *later} for content in found), (row, wanted, found)


def durable(target: Target) -> Iterator[tuple[tuple[str, str], str | None]]:
    """Stream and key of the rows that are not lost whatever happens, each with its content; None for whichever."""
    posts = {post.id: post for post in target.sandbox.harkster.posts(target.channel)}
    path = target.config["ledger_url"].removeprefix("sqlite:///")
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        query = "SELECT stream, key, phase, post_id, content FROM harkster_posts"
        for stream, key, phase, post_id, content in connection.execute(query):
            if content is not None:
                fields = json.loads(content)[1]
                yield (stream, key), next((each.get("data") for each in fields if each["id"] == "name"), None)
            elif phase == "published":
                assert posts[post_id].status == "published"
                yield (stream, key), data(posts[post_id]).get("name")
            elif phase in {"baseline", "deleted"}:
                yield (stream, key), None
            else:
                assert phase == "deleting", (phase, "without its content")
                yield (stream, key), None
        for stream, row_key, row in connection.execute(
            "SELECT stream, row_key, record FROM harkster_group_news JOIN harkster_groups USING (number)"
        ):
            if row is not None:
                yield (stream, row_key), json.loads(row)["name"]
        for stream, rows in connection.execute("SELECT stream, rows FROM harkster_groups"):
            yield from (((stream, row_key), json.loads(row)["name"]) for row_key, row in unpack(rows).items())
        for stream, key, content in connection.execute("SELECT stream, key, content FROM harkster_rejects"):
            if (row := json.loads(content)["record"]) is not None:
                yield (stream, key), str(row["name"])
    finally:
        connection.close()


# What must be true at the end


def public(target: Target, statuses: frozenset[str] = frozenset({"published"})) -> list[PostTruth]:
    """The posts, each of which was published once; nothing else is left in the channel."""
    posts = target.posts()
    assert {post.status for post in posts} <= statuses, [(post.status, data(post)) for post in posts]
    assert [post.publications for post in posts if post.status == "published"] == [
        1 for post in posts if post.status == "published"
    ]
    return posts


def names(posts: Sequence[PostTruth]) -> dict[int, str]:
    found = {int(data(post)["id"]): data(post)["name"] for post in posts}
    assert len(found) == len(posts), [data(post) for post in posts]
    return found


def shows(**expected: str) -> Callable[[Target], None]:
    """The posts are those of these rows."""

    def check(target: Target) -> None:
        assert names(public(target)) == {int(key[1:]): name for key, name in expected.items()}
        assert target.rejects() == []

    return check


def row(key: int, name: Any, **more: Any) -> Message:
    return record(id=key, name=name, **more)


# upsert, two streams, one channel

_UPSERT = {"streams": {stream: {"mode": "upsert", "name": stream} for stream in ("hours", "teams")}}
_ROWS: list[list[Message]] = [
    [row(1, "one"), row(2, "two"), record(stream="teams", id=1, name="Team 1")],
    [row(1, "one, changed"), row(3, "three")],
    [record(stream="teams", id=2, name="Team 2"), row(4, "four"), row(2, "two")],
]


def _upserted(target: Target) -> None:
    posts = public(target)
    found = {(str(post.name), int(data(post)["id"])): data(post)["name"] for post in posts}
    assert len(posts) == len(found)
    assert found == {
        ("hours", 1): "one, changed",
        ("hours", 2): "two",
        ("hours", 3): "three",
        ("hours", 4): "four",
        ("teams", 1): "Team 1",
        ("teams", 2): "Team 2",
    }


def upsert(**settings: Any) -> KillScenario:
    schemas = (schema(), schema(stream="teams"))
    # With a bound on the posts of a run, what waits is let out by another run.
    stages = (Stage(segments=_ROWS, settings={**_UPSERT, **settings}), Stage(settings=_UPSERT), Stage(settings=_UPSERT))
    rounds = 2 if settings else 4
    return KillScenario(stages=stages[: 3 if settings else 1], check=_upserted, schemas=schemas, rounds=rounds)


# append, with rows that are bad until the layout is mended, or until they come again

_NUMBERS = {"streams": {"hours": {"fields": [
    {"id": "id", "type": "counter", "data": "id"},
    {"id": "name", "type": "number", "data": "name"},
]}}}  # fmt: skip
_TEXTS = {"streams": {"hours": {"fields": [
    {"id": "id", "type": "counter", "data": "id"},
    {"id": "name", "type": "text", "data": "name"},
]}}}  # fmt: skip


def _rejected_once(target: Target) -> None:
    rejects = target.rejects()
    assert len({(one["stream"], one["key"]) for one in rejects}) == len(rejects), rejects


APPEND = KillScenario(
    stages=(
        Stage(
            segments=[[row(1, "10"), row(2, "bad"), row(3, "30")], [row(4, "worse"), row(1, "11")], [row(5, "50")]],
            settings=_NUMBERS,
        ),
        Stage(segments=[[row(2, "20"), row(6, "60")], [row(7, "worst")]], settings=_NUMBERS),
        Stage(settings=_TEXTS),
    ),
    check=shows(_1="10", _2="20", _3="30", _4="worse", _5="50", _6="60", _7="worst"),
    is_final=False,
    rounds=3,
)

# upsert, with versions that are rejected between others that are not

_UPSERT_NUMBERS = {"streams": {"hours": {**_NUMBERS["streams"]["hours"], "mode": "upsert"}}}
_UPSERT_TEXTS = {"streams": {"hours": {**_TEXTS["streams"]["hours"], "mode": "upsert"}}}
REJECTS = KillScenario(
    stages=(
        Stage(
            segments=[[row(1, "bad"), row(2, "20")], [row(1, "11"), row(2, "bad too")], [row(3, "bad"), row(3, "bad")]],
            settings=_UPSERT_NUMBERS,
        ),
        # Nothing comes again: what is tried is the newest of each row and nothing else.
        Stage(settings=_UPSERT_TEXTS),
    ),
    check=shows(_1="11", _2="bad too", _3="bad"),
    rounds=2,
)

# digests

WEEKLY: dict[str, Any] = {
    "mode": "upsert",
    "group_by": ["week"],
    "name": "{{ week }}",
    "fields": [
        {"id": "id", "type": "text", "data": "week"},
        {"id": "name", "type": "bulletPoints", "data": "{{ rows | map(attribute='name') | list }}"},
    ],
}
WEEKS = {"id": {"type": "integer"}, "name": {"type": "string"}, "week": {"type": "string"}}


def _digested(target: Target) -> None:
    found = [(post.name, data(post)["name"]) for post in public(target)]
    assert sorted(found) == [("W1", "Ann, changed\nCid"), ("W2", "Ann\nBob\nDora"), ("W3", "Eve")]


DIGESTS = KillScenario(
    schemas=(schema(WEEKS),),
    stages=(
        Stage(
            segments=[
                [row(1, "Ann", week="W1"), row(2, "Ann", week="W2"), row(3, "Bob", week="W1")],
                [row(4, "Cid", week="W1"), row(1, "Ann, changed", week="W1")],
            ],
            settings={"streams": {"hours": WEEKLY}},
        ),
        # One row goes to another week, one comes to a week of long ago, one is the same as it was.
        Stage(
            segments=[
                [row(5, "Eve", week="W3"), row(3, "Bob", week="W2")],
                [row(6, "Dora", week="W2"), row(2, "Ann", week="W2")],
            ],
            settings={"streams": {"hours": WEEKLY}},
        ),
    ),
    check=_digested,
    rounds=3,
)

# mirror


def _version(version: int, ids: Sequence[int]) -> list[Sequence[Message]]:
    rows = [row(number, str(number), version=version) for number in ids]
    activate: Message = {"type": "ACTIVATE_VERSION", "stream": "hours", "version": version}
    return [rows[:2], [*rows[2:], activate]]


def mirror(*, recall: bool) -> KillScenario:
    def check(target: Target) -> None:
        every = target.sandbox.harkster.posts(target.channel)
        seen = [post for post in every if post.publications]
        # 2 and 3 are gone and 2 comes back: a post of its own each time, and each published once.
        assert sorted(data(post)["id"] for post in seen) == ["1", "2", "2", "3", "4"]
        assert {post.publications for post in seen} == {1}
        assert names(public(target)) == {1: "1", 2: "2", 4: "4"}
        assert [post.recalled for post in seen if post.status == "deleted"] == [recall] * 2

    settings = {"streams": {"hours": {"mode": "mirror"}}, "mirror_max_share": 0.5, "mirror_recall": recall}
    rows = {1: [1, 2, 3], 2: [1, 4], 3: [1, 4, 2]}
    return KillScenario(
        stages=[Stage(segments=_version(version, ids), settings=settings) for version, ids in rows.items()],
        check=check,
        rounds=3,
    )


def _all_there(target: Target) -> None:
    assert names(public(target)) == {1: "1", 2: "2", 3: "3", 4: "4"}


BOUNDED = KillScenario(
    stages=(
        Stage(segments=_version(1, [1, 2, 3, 4]), settings={"streams": {"hours": {"mode": "mirror"}}}),
        Stage(
            segments=_version(2, [1, 2]),
            settings={"streams": {"hours": {"mode": "mirror"}}, "mirror_max_deletes": 1, "mirror_max_share": 1},
            ends=frozenset({"IncompleteError"}),
        ),
    ),
    check=_all_there,
    rounds=2,
)

# The vendor's own quota, found by its 429 alone


def quota(on_quota: str, **sandbox: Any) -> KillScenario:
    def check(target: Target) -> None:
        shows(**{f"_{number}": str(number) for number in range(1, 7)})(target)
        events = [event.post_id for event in target.sandbox.harkster.truth().events if event.kind == "published"]
        order = [data(post)["id"] for post in sorted(target.posts(), key=lambda post: events.index(post.id))]
        assert order == ["1", "2", "3", "4", "5", "6"], "not oldest first"

    settings = {"on_quota": on_quota, "streams": {"hours": {"mode": "upsert"}}}
    ends = frozenset({"", "PostQuotaReachedError"} if on_quota == "fail" else {""})
    rows = [[row(1, "1"), row(2, "2")], [row(3, "3"), row(4, "4")], [row(5, "5"), row(6, "6")]]
    return KillScenario(
        stages=(
            Stage(segments=rows[:2], settings=settings, quota=2, ends=ends),
            Stage(segments=rows[:2] if on_quota == "fail" else rows[2:], settings=settings, quota=3, ends=ends),
            Stage(segments=() if on_quota != "fail" else rows[2:], settings=settings, quota=100),
            Stage(settings=settings),
        ),
        check=check,
        sandbox={"quota_headers": "never", **sandbox},
        rounds=3,
    )


# First runs


def first_run(what: str) -> KillScenario:
    def check(target: Target) -> None:
        posts = public(target, frozenset({"published", "draft"}))
        drafts = names([post for post in posts if post.status == "draft"])
        found = names([post for post in posts if post.status == "published"])
        assert drafts == ({1: "1", 2: "2", 3: "3"} if what == "draft" else {})
        assert found == {4: "4", 5: "5"}

    settings = {"first_run": what, "streams": {"hours": {"mode": "upsert"}}}
    return KillScenario(
        stages=(
            Stage(segments=[[row(1, "1"), row(2, "2")], [row(3, "3")]], settings=settings),
            Stage(segments=[[row(4, "4"), row(1, "1")], [row(5, "5")]], settings=settings),
        ),
        check=check,
        rounds=3,
    )


# Where the vendor's documents leave something open


def variant(*, lists_drafts: bool = True, faults: Sequence[Fault] = FAULTS, **sandbox: Any) -> KillScenario:
    def check(target: Target) -> None:
        statuses = frozenset({"published"} if lists_drafts else {"published", "draft"})
        posts = [post for post in public(target, statuses) if post.status == "published"]
        assert names(posts) == {1: "one, changed", 2: "two", 3: "three"}

    return KillScenario(
        stages=(
            Stage(
                segments=[[row(1, "one"), row(2, "two")], [row(1, "one, changed"), row(3, "three")]],
                settings={"streams": {"hours": {"mode": "upsert"}}},
            ),
        ),
        check=check,
        sandbox={"drafts_listed": lists_drafts, **sandbox},
        faults=faults,
        rounds=2,
    )


def _notified(target: Target) -> None:
    """A change is a publication of its own here: one for each content, and no content twice."""
    posts = target.posts()
    assert names(posts) == {1: "1 changed", 2: "2 changed", 3: "3"}
    assert {data(post)["id"]: (post.publications, post.updates) for post in posts} == {
        "1": (2, 1),
        "2": (2, 1),
        "3": (1, 0),
    }


NOTIFYING = KillScenario(
    stages=(
        Stage(
            segments=[[row(1, "1"), row(2, "2")], [row(3, "3")]], settings={"streams": {"hours": {"mode": "upsert"}}}
        ),
        Stage(
            segments=[[row(1, "1 changed")], [row(2, "2 changed")]], settings={"streams": {"hours": {"mode": "upsert"}}}
        ),
    ),
    check=_notified,
    sandbox={"update_published": "notify"},
    rounds=2,
)

# Writes that are done when nobody waits for them any more

LATE_COMMITS = KillScenario(
    stages=(
        Stage(
            segments=[[row(1, "one"), row(2, "two")], [row(1, "one, changed"), row(3, "three")]],
            settings={"streams": {"hours": {"mode": "upsert"}}},
        ),
        Stage(segments=[[row(2, "two, changed"), row(4, "four")]], settings={"streams": {"hours": {"mode": "upsert"}}}),
    ),
    check=shows(_1="one, changed", _2="two, changed", _3="three", _4="four"),
    faults=LATE,
    is_late=True,
    rounds=3,
)

KILL_SCENARIOS: Mapping[str, KillScenario] = {
    "upsert": upsert(),
    "upsert, few a run": upsert(max_posts_per_run=3),
    "upsert, put off": upsert(max_posts_per_run=3, on_quota="defer"),
    "append": APPEND,
    "rejects": REJECTS,
    "digests": DIGESTS,
    "mirror": mirror(recall=False),
    "mirror, recalling": mirror(recall=True),
    "mirror, bounded": BOUNDED,
    "quota, drafts": quota("draft"),
    "quota, put off": quota("defer"),
    "quota, failing": quota("fail"),
    "baseline": first_run("baseline"),
    "held": first_run("draft"),
    "no drafts listed": variant(lists_drafts=False),
    "nothing answered": variant(write_answers="nothing"),
    "ids answered": variant(write_answers="id", create_status=201, posts_order="oldest", page_size=2),
    "published once only": variant(republish="refuse", quota_headers="writes", error_form="html"),
    "changes notify": NOTIFYING,
    "late": LATE_COMMITS,
}
