"""A plan shows what the following run does: post by post, in all situations."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click.testing
import pytest
import requests
from api_sandbox import Fault, PostTruth, RunningSandbox
from click.testing import CliRunner
from hypothesis import Phase, settings
from hypothesis import given as drawn
from hypothesis import strategies as st
from target_harkster.cli import harkster
from target_harkster.delivery.first_run_guard import TooManyNewPostsError
from target_harkster.ledger.store import Ledger
from target_harkster.report.diff import DRAFTS

from tests.harkster.jobs import Job, Plan
from tests.harkster.killed_runs import FastClock
from tests.harkster.running import Command, Message, Target, as_input, data, record, schema, state
from tests.harkster.test_life import plans, rows
from tests.lives import lives

PROPERTIES = {
    "id": {"type": "integer"},
    "name": {"type": ["string", "null"]},
    "to": {"type": "string"},
    "week": {"type": "string"},
}
FIELDS = [{"id": "key", "type": "counter", "data": "id"}, {"id": "name", "type": "text", "data": "name"}]
GONE = "2026-01-01T00:00:00Z"
UPSERT: dict[str, Any] = {"mode": "upsert", "fields": FIELDS}
WEEKLY: dict[str, Any] = {
    "group_by": ["week"],
    "fields": [
        {"id": "key", "type": "text", "data": "week"},
        {"id": "names", "type": "text", "data": "{{ rows | map(attribute='name') | join(',') }}"},
    ],
}
Change = tuple[str, str, str]
"""Channel, key and action."""


@dataclass(slots=True)
class Scene:
    """What there is before the run that is planned.

    Attributes:
        target: Posts to its channel.
        two: The same ledger, and another channel.
        folder: Where the ledger is.
        given: The messages of the run.
        settings: Of the run.
        open_groups: How many digests will still not be closed.
    """

    target: Target
    two: Target
    folder: Path
    given: list[Message | bytes] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    open_groups: int = 0

    def has_run(self, *messages: Message | bytes, **settings: Any) -> None:
        """A run came before, however it ended."""
        self.target.run([schema(PROPERTIES), *messages], **{**self.settings, **settings})

    def uses(self, stream: dict[str, Any] | None = None, **settings: Any) -> None:
        """All runs use these settings."""
        self.settings = {"streams": {"hours": stream or UPSERT}, "mirror_max_share": 1, **settings}

    def gives(self, *messages: Message | bytes, **settings: Any) -> None:
        """The run gets these messages."""
        self.given = [schema(PROPERTIES), *messages, state(9)]
        self.settings |= settings

    def asks(self, method: str, post: PostTruth, action: str = "") -> None:
        """People do something to a post in the app."""
        path = f"{self.target.config['api_url']}/channels/{post.channel_id}/posts/{post.id}{action}"
        headers = {"Authorization": f"Bearer {self.target.config['access_token']}"}
        requests.request(method, path, headers=headers, json={"recallMessage": True}, timeout=60).raise_for_status()


def row(number: int, name: Any = None, **more: Any) -> Message:
    return record(id=number, name=str(number) if name is None else name, **more)


def worked(number: int, week: str, **more: Any) -> Message:
    return row(number, week=week, **more)


SITUATIONS: list[Callable[[Scene], None]] = []


def situation(prepare: Callable[[Scene], None]) -> Callable[[Scene], None]:
    SITUATIONS.append(prepare)
    return prepare


@situation
def rows_are_new_changed_and_the_same(scene: Scene) -> None:
    scene.uses()
    scene.has_run(row(1), row(2), state(1))
    scene.gives(row(1), row(2, "changed"), row(3), row(4, "first"), row(4, "second"), row(5, 5))


@situation
def a_post_is_never_changed(scene: Scene) -> None:
    scene.uses({"fields": FIELDS})
    scene.has_run(row(1), state(1))
    scene.gives(row(1, "changed"), row(2))


def waits(scene: Scene, on_quota: str, stream: dict[str, Any] | None = None) -> None:
    scene.uses(stream, on_quota=on_quota)
    scene.has_run(row(1), row(2), row(3), row(4), state(1), max_posts_per_run=1)


for on_quota in ("draft", "defer"):

    @situation
    def what_waited_is_published(scene: Scene, on_quota: str = on_quota) -> None:
        waits(scene, on_quota)
        scene.gives(row(5))

    @situation
    def what_waited_waits_longer(scene: Scene, on_quota: str = on_quota) -> None:
        waits(scene, on_quota)
        scene.gives(row(5), max_posts_per_run=2)

    @situation
    def what_waited_has_changed(scene: Scene, on_quota: str = on_quota) -> None:
        waits(scene, on_quota)
        scene.gives(row(2, "changed"), row(3), max_posts_per_run=0)

    @situation
    def what_waited_is_published_and_changes(scene: Scene, on_quota: str = on_quota) -> None:
        waits(scene, on_quota)
        scene.gives(row(2, "changed"), row(1, "changed"))

    @situation
    def what_waited_is_gone(scene: Scene, on_quota: str = on_quota) -> None:
        waits(scene, on_quota)
        scene.gives(row(2, _sdc_deleted_at=GONE), row(1, _sdc_deleted_at=GONE), max_posts_per_run=0)

    @situation
    def what_waited_is_gone_from_a_table(scene: Scene, on_quota: str = on_quota) -> None:
        waits(scene, on_quota, {**UPSERT, "mode": "mirror"})
        scene.gives(row(3), {"type": "ACTIVATE_VERSION", "stream": "hours", "version": 2}, max_posts_per_run=0)

    @situation
    def what_waited_goes_to_another_channel(scene: Scene, on_quota: str = on_quota) -> None:
        to, others = scene.target.channel, [scene.target.channel, scene.two.channel]
        scene.uses({**UPSERT, "channel": {"column": "to", "allowed": others}}, on_quota=on_quota)
        scene.has_run(row(1, to=to), row(2, to=to), row(3, to=to), state(1), max_posts_per_run=1)
        scene.gives(row(1, to=others[1]), row(2, to=others[1]), max_posts_per_run=1)

    @situation
    def a_digest_waited(scene: Scene, on_quota: str = on_quota) -> None:
        scene.uses(WEEKLY, on_quota=on_quota)
        scene.has_run(worked(1, "W1"), worked(2, "W2"), state(1), max_posts_per_run=0)
        scene.gives(worked(3, "W2"), max_posts_per_run=1)

    @situation
    def another_stream_waited_in_the_channel(scene: Scene, on_quota: str = on_quota) -> None:
        waits(scene, on_quota)
        scene.settings["streams"]["calls"] = UPSERT
        scene.given = [schema(stream="calls"), record(stream="calls", id=1, name="call"), state(1)]


@situation
def the_quota_ends_the_run(scene: Scene) -> None:
    scene.uses()
    scene.has_run(row(1), state(1))
    scene.gives(row(1, "changed"), row(2), row(3), on_quota="fail", max_posts_per_run=1)


@situation
def the_quota_ends_the_run_for_what_waited(scene: Scene) -> None:
    waits(scene, "draft")
    scene.gives(row(1, "changed"), on_quota="fail", max_posts_per_run=1)


@situation
def a_first_run_leaves_drafts(scene: Scene) -> None:
    scene.uses(first_run="draft")
    scene.gives(row(1), row(2))


@situation
def a_first_run_records(scene: Scene) -> None:
    scene.uses(first_run="baseline")
    scene.gives(row(1), row(2))


@situation
def drafts_were_left_for_people(scene: Scene) -> None:
    scene.uses({**UPSERT, "mode": "mirror"}, first_run="draft")
    scene.has_run(row(1), row(2), row(3), row(4), state(1))
    drafts = {data(post)["key"]: post for post in scene.target.posts()}
    scene.asks("PUT", drafts["2"], "/publish")
    scene.asks("PUT", drafts["4"], "/publish")
    scene.gives(
        row(1, "changed"), row(2, "changed"), row(3, _sdc_deleted_at=GONE), row(4, _sdc_deleted_at=GONE), row(5)
    )


@situation
def rows_were_recorded(scene: Scene) -> None:
    scene.uses(first_run="baseline")
    scene.has_run(row(1), row(2), state(1))
    scene.gives(row(1), row(2, "changed"), row(3))


@situation
def rows_are_gone(scene: Scene) -> None:
    scene.uses({**UPSERT, "mode": "mirror"})
    scene.has_run(row(1), row(2), row(3), row(4), state(1))
    activate = {"type": "ACTIVATE_VERSION", "stream": "hours", "version": 2}
    scene.gives(row(1), row(2, "changed"), row(4, _sdc_deleted_at=GONE), row(4, "back"), activate)


@situation
def what_waited_is_published_and_deleted(scene: Scene) -> None:
    waits(scene, "draft", {**UPSERT, "mode": "mirror"})
    scene.gives(row(3), row(2, _sdc_deleted_at=GONE))


@situation
def too_many_rows_are_gone(scene: Scene) -> None:
    scene.uses({**UPSERT, "mode": "mirror"}, mirror_max_deletes=1)
    scene.has_run(row(1), row(2), row(3), state(1))
    scene.gives(row(1, "changed"), {"type": "ACTIVATE_VERSION", "stream": "hours", "version": 2})


@situation
def a_row_was_deleted_and_came_back(scene: Scene) -> None:
    scene.uses({**UPSERT, "mode": "mirror"})
    scene.has_run(row(1), state(1))
    scene.gives(row(1, _sdc_deleted_at=GONE), state(2), row(1))


@situation
def rows_are_gone_that_keep_their_posts(scene: Scene) -> None:
    scene.uses()
    scene.has_run(row(1), row(2), state(1))
    scene.gives(row(1, _sdc_deleted_at=GONE), row(3), row(3, _sdc_deleted_at=GONE))


for mode in ("append", "upsert", "mirror"):

    @situation
    def a_condition_is_no_longer_met(scene: Scene, mode: str = mode) -> None:
        scene.uses({**UPSERT, "mode": mode, "when": "{{ name != 'no' }}"})
        scene.has_run(row(1), row(2, "no"), row(3), state(1))
        scene.gives(row(1, "no"), row(2), row(4, "no"))


@situation
def rejects_are_tried_again(scene: Scene) -> None:
    number = {"id": "name", "type": "number", "data": "name"}
    scene.uses({**UPSERT, "fields": [FIELDS[0], number]})
    scene.has_run(row(1), row(2, "x"), row(3, "y"), row(4, "z"), state(1))
    scene.uses()
    scene.gives(row(3, "came again"), row(4, _sdc_deleted_at=GONE))


@situation
def rejects_are_rejected_again(scene: Scene) -> None:
    scene.uses({**UPSERT, "fields": [FIELDS[0], {"id": "name", "type": "number", "data": "name"}]})
    scene.has_run(row(1), row(2, "x"), state(1))
    scene.gives(row(3))


@situation
def there_are_too_many_rejects(scene: Scene) -> None:
    scene.uses(max_rejects=0)
    scene.has_run(row(1), state(1))
    scene.gives(row(1, "changed"), state(2), row(2, 5), row(3))


@situation
def a_post_was_set_aside(scene: Scene) -> None:
    scene.uses()
    scene.has_run(row(1), state(0))
    scene.target.sandbox.faults.replace(Fault(kind="status", operation="create", status=500, nth=tuple(range(1, 9))))
    scene.has_run(row(1), row(2), row(3), state(1))
    scene.target.sandbox.faults.clear()
    scene.gives(row(4))


@situation
def posts_were_refused(scene: Scene) -> None:
    scene.uses(on_quota="defer")
    scene.has_run(row(1), row(2), state(0), max_posts_per_run=0)
    scene.target.sandbox.faults.replace(Fault(kind="status", operation="create", status=400))
    scene.has_run(row(3), state(1))
    scene.target.sandbox.faults.clear()
    scene.gives(row(4))


for operation in ("create", "publish", "update", "delete"):
    for when in ("before", "after"):

        @situation
        def answers_were_lost(scene: Scene, operation: Any = operation, when: Any = when) -> None:
            scene.uses({**UPSERT, "mode": "mirror"})
            scene.has_run(row(1), row(2), row(3), state(1))
            scene.target.sandbox.faults.replace(Fault(kind="reset", operation=operation, when=when, rate=1))
            scene.has_run(row(1, "changed"), row(2, _sdc_deleted_at=GONE), row(4), row(5), state(2))
            scene.target.sandbox.faults.clear()
            scene.gives(row(6))


for on_move in ("delete", "keep"):

    @situation
    def rows_move(scene: Scene, on_move: str = on_move) -> None:
        to, others = scene.target.channel, [scene.target.channel, scene.two.channel]
        scene.uses({**UPSERT, "channel": {"column": "to", "allowed": others}}, on_move=on_move)
        scene.has_run(row(1, to=to), row(2, to=to), row(3, to=to), state(1))
        scene.has_run(row(3, to=others[1]), state(2), max_posts_per_run=0)
        scene.gives(row(1, to=others[1]), row(2, to=to))


@situation
def digests_are_closed(scene: Scene) -> None:
    scene.uses({**WEEKLY, "closed": "{{ rows | length > 1 }}"})
    scene.has_run(worked(1, "W1"), worked(2, "W2"), worked(3, "W3"), worked(4, "W3"), state(1))
    scene.gives(worked(5, "W2"), worked(3, "W3", name="changed"))
    scene.open_groups = 1


@situation
def digests_lose_rows(scene: Scene) -> None:
    scene.uses({**WEEKLY, "when": "{{ name != 'no' }}"})
    scene.has_run(worked(1, "W1"), worked(2, "W2"), worked(3, "W2"), state(1))
    scene.gives(worked(1, "W3"), worked(2, "W2", name="no"), worked(4, "W4", name="no"))


@situation
def a_digest_gets_a_name_though_its_tap_is_silent(scene: Scene) -> None:
    names = "{{ rows | map(attribute='id') | map('lookup', 'users', 'name') | join(',') }}"
    digest = {**WEEKLY, "fields": [WEEKLY["fields"][0], {"id": "names", "type": "text", "data": names}]}
    scene.uses(digest)
    scene.settings["streams"]["users"] = {"mode": "lookup"}
    scene.has_run(worked(1, "W1"), worked(2, "W2"), state(1))
    users = schema({"id": {"type": "integer"}, "name": {"type": "string"}}, stream="users")
    scene.given = [users, record(stream="users", id=2, name="Bob"), state(2)]


@situation
def people_deleted_posts(scene: Scene) -> None:
    scene.uses({**UPSERT, "mode": "mirror"}, on_quota="draft")
    scene.has_run(row(1), row(2), row(3), row(4), state(1), max_posts_per_run=3)
    for post in (post for post in scene.target.posts() if data(post)["key"] != "3"):
        scene.asks("DELETE", post)
    scene.gives(row(1, "changed"), row(2, _sdc_deleted_at=GONE), row(3, "changed"))


@situation
def the_ledger_was_lost(scene: Scene) -> None:
    waits(scene, "draft")
    (scene.folder / "ledger.db").unlink()
    scene.gives(row(1), row(2, "changed"), row(3), row(4), row(5))


@situation
def posts_tell_what_was_before(scene: Scene) -> None:
    before = {"id": "before", "type": "text", "data": "{{ previous.name }}"}
    scene.uses({**UPSERT, "fields": [*FIELDS, before]})
    scene.has_run(row(1), state(1))
    scene.gives(row(1, "changed"), row(2), row(2, "again"), row(1, "changed again"))


@situation
def the_input_is_broken(scene: Scene) -> None:
    scene.uses()
    scene.has_run(row(1), state(1))
    scene.gives(row(1, "changed"), row(2), b"{")


# The comparison


def posts_in(targets: Sequence[Target]) -> dict[str, PostTruth]:
    sandbox = targets[0].sandbox.harkster
    return {post.id: post for target in targets for post in sandbox.posts(target.channel)}


def waiting_in(targets: Sequence[Target]) -> int:
    ledger = Ledger(targets[0].config["ledger_url"], FastClock(), is_dry=True)
    waiting = sum(len(ledger.unfinished(target.channel)) for target in targets)
    ledger.close()
    return waiting


def actions(before: dict[str, PostTruth], after: dict[str, PostTruth]) -> Counter[Change]:
    """What a run did, by the posts before and after. The first field of a post is its key."""
    found: list[Change] = []
    shown = {(post.channel_id, post.dataset[0]["data"]) for post in after.values() if post.status != "deleted"}
    for post_id, now in after.items():
        was = before.get(post_id)
        place = now.channel_id, now.dataset[0]["data"]
        is_new = now.publications > (was.publications if was else 0)
        found += [(*place, "publish")] if is_new else []
        match "published" if is_new else was.status if was else None, now.status:
            case (None, "draft"):
                action = "create draft"
            case ("published", "deleted"):
                action = "delete"
            case ("draft", "deleted") if place not in shown:
                action = "delete draft"
            case (same, other) if same == other and was is not None and not is_new and was.dataset != now.dataset:
                action = "update" if same == "published" else "update draft"
            case _:
                continue
        found.append((*place, action))
    return Counter(found)


def compare(targets: Sequence[Target], given: list[Message | bytes], settings: dict[str, Any], folder: Path) -> Any:
    """Plan a run and let it run: both must do the same. Returns the plan; nothing where an error left none."""
    before, ledger, config = posts_in(targets), folder / "ledger.db", folder / "config.json"
    content = ledger.read_bytes() if ledger.exists() else None
    config.write_text(json.dumps({**targets[0].config, **settings}))

    def told(*words: str) -> click.testing.Result:
        return CliRunner().invoke(harkster, ["--config", str(config), *words, "--json"], input=as_input(given))

    planned = told("plan", "--diff")
    assert posts_in(targets) == before
    assert (ledger.read_bytes() if ledger.exists() else None) == content

    ran = targets[0].run(given, **settings)
    done = actions(before, posts_in(targets))
    assert (planned.exit_code != 0) == (ran.error is not None), (planned.output, ran.error)
    plan = json.loads(planned.stdout) if planned.stdout.startswith("{") else {"streams": {}, "changes": []}
    if isinstance(ran.error, TooManyNewPostsError):
        return plan
    changes = Counter((one["channel"], str(json.loads(one["key"])[0]), one["action"]) for one in plan["changes"])
    assert changes == done
    by_action = Counter(action for *_, action in done.elements())
    columns: Counter[str] = Counter()
    for counts in plan["streams"].values():
        columns.update(counts)
    drafts = sum(number for action, number in by_action.items() if action in DRAFTS)
    assert {action: columns[action] for action in ("publish", "update", "delete", "drafts")} == {
        **{action: by_action[action] for action in ("publish", "update", "delete")},
        "drafts": drafts,
    }
    counted = json.loads(told("runs").stdout)[0]
    assert counted["posted"] == by_action["publish"]
    assert counted["deleted"] == by_action["delete"]
    return plan


@pytest.mark.parametrize("prepare", SITUATIONS, ids=lambda prepare: prepare.__name__)
def test_a_plan_is_what_the_run_does(
    sandbox: RunningSandbox, target: Target, tmp_path: Path, prepare: Callable[[Scene], None]
) -> None:
    scene = Scene(target, Target.into_new_channel(sandbox, tmp_path), tmp_path)
    prepare(scene)
    targets = (scene.target, scene.two)
    plan = compare(targets, scene.given, scene.settings, tmp_path)
    assert sum(counts["waiting"] for counts in plan["streams"].values()) == waiting_in(targets) + scene.open_groups
    accounts = json.loads(Command(target, tmp_path)("usage", "--json")).values()
    used = {one["usage"] for one in accounts if one["name"] == "Acme Inc."}
    assert {one["usage"] for one in plan["quota_after"].values()} == used


limits = st.fixed_dictionaries(
    {
        "on_quota": st.sampled_from(["draft", "defer", "fail"]),
        "max_posts_per_run": st.sampled_from([0, 1, 2, 100, 100]),
        "mirror_max_share": st.sampled_from([0.3, 1, 1]),
        "max_new_posts": st.sampled_from([25] * 7 + [2]),
    }
)
faults = st.one_of(
    st.none(),
    st.none(),
    st.builds(
        Fault,
        kind=st.just("reset"),
        operation=st.sampled_from(["create", "update", "publish", "delete", "write"]),
        when=st.sampled_from(["before", "after"]),
        rate=st.sampled_from([0.3, 1]),
    ),
    st.builds(
        Fault,
        kind=st.just("status"),
        operation=st.sampled_from(["create", "update", "publish", "delete"]),
        status=st.sampled_from([400, 403, 500]),
        nth=st.sampled_from([(1,), (2,), tuple(range(1, 9))]),
    ),
)
runs = st.lists(
    st.tuples(rows, limits, faults, st.booleans(), st.sampled_from(["text", "number"])), min_size=2, max_size=6
)


@settings(lives(12, steps=1), phases=[Phase.generate])
@drawn(plan=plans, histories=runs)
def test_a_plan_is_what_the_run_does_after_any_history(
    sandbox: RunningSandbox, tmp_path_factory: pytest.TempPathFactory, plan: Plan, histories: list[Any]
) -> None:
    folder = tmp_path_factory.mktemp("history")
    targets = [Target.into_new_channel(sandbox, folder) for _ in range(2 if plan.on_move else 1)]
    job = Job(targets, plan)
    for number, (sent, limits, fault, is_activated, job.layout) in enumerate(histories, 1):
        given: list[Message | bytes] = [job.schema]
        for row in sent:
            one = row if plan.on_move else row._replace(to=0)
            given.append(record(version=number, **job.record(one)))
        activate = {"type": "ACTIVATE_VERSION", "stream": "hours", "version": number}
        given += [*([activate] if is_activated else []), state(number)]
        config = {"streams": {"hours": job.settings}, "first_run": plan.first_run, **limits}
        config |= {"on_move": plan.on_move} if plan.on_move else {}
        if fault is None:
            compare(targets, given, config, folder)
            continue
        sandbox.faults.replace(fault)
        targets[0].run(given, **config)
        sandbox.faults.clear()
