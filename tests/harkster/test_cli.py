"""The command ``harkster``."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from api_sandbox import ChannelPlan, RunningSandbox

from tests.harkster.running import Command, Target, as_input, data, record, schema, state


@pytest.fixture
def command(target: Target, tmp_path: Path) -> Command:
    return Command(target, tmp_path)


def test_channels_are_shown_as_a_tree(command: Command, target: Target) -> None:
    shown = command("channels")
    assert "Acme Inc." in shown
    assert target.channel in shown
    told = json.loads(command("channels", "--json"))
    assert ["Acme Inc.", "Financials", "Forecast"] in [channel["names"] for channel in told]


def test_the_usage_is_shown(command: Command) -> None:
    assert "Computer Club" in command("usage")
    told = json.loads(command("usage", "--json"))
    assert {"quota": 100, "usage": 11, "name": "Computer Club"} in told.values()


def test_templates_are_shown(command: Command) -> None:
    channel = "Acme Inc./Projects/Weekly Hours"
    assert "Activity" in command("templates", "--channel", channel)
    (told,) = json.loads(command("templates", "--channel", channel, "--json"))
    assert told["name"] == "Weekly Hours"


def test_a_layout_is_printed_that_can_be_used(command: Command, target: Target) -> None:
    given = [schema(), record(id=1, name="one"), state(1)]
    printed = json.loads(command("layout", given=as_input(given)))
    assert printed["streams"]["hours"]["key"] == ["id"]
    target.ran(given, **printed)
    assert len(target.posts()) == 1


def test_a_plan_is_told_and_nothing_done(command: Command, target: Target) -> None:
    given = [schema(), record(id=1, name="one"), record(id=2, name=7), state(1)]
    told = json.loads(command("plan", "--json", given=as_input(given)))
    assert told["streams"]["hours"]["publish"] == 1
    assert told["streams"]["hours"]["rejected"] == 1
    assert "publish" in command("plan", given=as_input(given))
    assert target.posts() == []


def test_a_plan_tells_field_by_field_what_changes(command: Command, target: Target) -> None:
    upsert = {"streams": {"hours": {"mode": "mirror"}}, "mirror_max_share": 1}
    command.configure({**target.config, **upsert})
    first = [record(id=at, name=name, version=1) for at, name in ((1, "one"), (2, "two"), (3, "three"))]
    activate = {"type": "ACTIVATE_VERSION", "stream": "hours", "version": 2}
    target.ran([schema(), *first, activate | {"version": 1}, state(1)], **upsert)
    then = [record(id=at, name=name, version=2) for at, name in ((1, "one"), (2, "due"), (4, None))]
    given = [schema(), *then, activate, state(2)]
    path = "Acme Inc./Projects/Channel"
    told = re.sub(r"Channel \d+", "Channel", command("plan", "--diff", given=as_input(given)))
    assert told.splitlines()[-5:] == [
        f"hours [2] in {path}: update",
        "  name: two → due",
        f"hours [4] in {path}: publish",
        "  id: nothing → 4",
        f"hours [3] in {path}: delete",
    ]
    changes = json.loads(command("plan", "--diff", "--json", given=as_input(given)))["changes"]
    assert changes[0]["fields"] == [{"field": "name", "part": "data", "old": "two", "new": "due"}]
    assert [change["action"] for change in changes] == ["update", "publish", "delete"]
    assert [data(post)["name"] for post in target.posts()] == ["one", "two", "three"]
    # Without a ledger nobody knows the key of a post whose row is gone.
    Path(target.config["ledger_url"].removeprefix("sqlite:///")).unlink()
    told = re.sub(r"Channel \d+", "Channel", command("plan", "--diff", given=as_input(given)))
    assert f"hours post {target.posts()[2].id} in {path}: delete" in told.splitlines()


@pytest.mark.parametrize("bound", [{"max_rejects": 1}, {"max_reject_share": 0.1}])
def test_a_plan_with_too_many_rejects_is_told_too(command: Command, target: Target, bound: dict[str, Any]) -> None:
    command.configure({**target.config, **bound})
    given = [schema(), record(id=1, name="one"), record(id=2, name=7), record(id=3, name=7)]
    told = command.failed("plan", given=given)
    assert "Nothing was sent. This would be done:" in told
    assert "rows were rejected" in told


def test_rejects_are_tried_again_without_their_tap(command: Command, target: Target) -> None:
    number = {"hours": {"fields": [{"id": "n", "type": "number", "data": "name"}]}}
    maps: dict[str, Any] = {"stream_maps": {"hours": {"id": "id", "name": "name + '!'", "__else__": None}}}
    given = [schema(), record(id=1, name="one"), record(id=2, name="two")]
    target.ran(given, streams=number, **maps)
    command.configure({**target.config, "streams": number})
    assert command("retry").splitlines() == [
        "0 of 2 rejected rows were posted.",
        "hours [1]: n is text, not a number.",
        "hours [2]: n is text, not a number.",
    ]
    assert len(target.rejects()) == 2
    # What was rejected is the mapped row: it is not mapped again.
    command.configure({**target.config, **maps, "on_quota": "defer", "max_posts_per_run": 1})
    assert command("retry") == (
        "2 of 2 rejected rows were posted, of which 1 wait as drafts, for the quota or for their channel.\n"
    )
    assert [data(post)["name"] for post in target.posts()] == ["one!"]
    command.configure({**target.config, **maps})
    assert command("retry") == "There are no rejected rows.\n"
    target.ran([schema()], **maps)
    assert [data(post)["name"] for post in target.posts()] == ["one!", "two!"]


def test_what_cannot_be_tried_again_is_said(command: Command, target: Target) -> None:
    target.ran([schema(), record(id=1, name=7), record(id=2, name=7)], reject_redact=["name"])
    told = json.loads(command("retry", "--json"))
    assert (told["rejected"], told["posted"]) == (2, 0)
    assert "as reject_redact keeps name out" in told["left"][0]["reason"]
    assert "it is when its tap sends it again" in command("retry")
    assert target.posts() == []


def test_what_was_not_tried_is_said(command: Command, target: Target, sandbox: RunningSandbox, tmp_path: Path) -> None:
    number = {"hours": {"fields": [{"id": "n", "type": "number", "data": "name"}]}}
    target.ran([schema(), record(id=1, name="seven"), state(1)], streams=number)
    other = Target.into_new_channel(sandbox, tmp_path)
    command.configure({**other.config, "streams": {"hours": {"fields": [{"id": "n", "type": "text", "data": "name"}]}}})
    reason = "it was not tried: the settings name other channels than its own"
    assert command("retry").splitlines()[0] == "0 of 1 rejected rows were posted."
    assert f"hours [1]: {reason} ({target.channel}); n is text, not a number." in command("retry")
    assert (target.posts(), other.posts()) == ([], [])


@pytest.mark.parametrize("layout", [{"mode": "upsert"}, {"mode": "mirror"}, {"group_by": ["id"]}], ids=str)
def test_what_a_condition_leaves_out_stays_rejected(command: Command, target: Target, layout: dict[str, Any]) -> None:
    value = "{{ rows | map(attribute='name') | join }}" if "group_by" in layout else "name"
    hours = {**layout, "fields": [{"id": "name", "type": "text", "data": value}]}
    failing = {"hours": {**hours, "when": "{{ name | float > 1 }}"}}
    target.ran([schema(), record(id=1, name="x"), state(1)], streams=failing)
    command.configure({**target.config, "streams": {"hours": {**hours, "when": "{{ name == 'y' }}"}}})
    for _ in range(2):
        assert command("retry").splitlines() == [
            "0 of 1 rejected rows were posted.",
            "hours [1]: it is left out by the setting `when`.",
        ]
        assert [one["key"] for one in target.rejects()] == ["[1]"]
    assert target.posts() == []
    command.configure({**target.config, "streams": {"hours": hours}})
    assert command("retry") == "1 of 1 rejected rows were posted.\n"
    assert [data(post)["name"] for post in target.posts()] == ["x"]


def test_a_digest_is_tried_again(command: Command, target: Target) -> None:
    def hours(fields: str) -> dict[str, Any]:
        return {"hours": {"group_by": ["name"], "fields": [{"id": "n", "type": "number", "data": fields}]}}

    target.ran([schema(), record(id=1, name="Ann"), record(id=2, name="Ann")], streams=hours("{{ 1 / 0 }}"))
    command.configure({**target.config, "streams": hours("{{ 2 / 0 }}")})
    assert "n has an expression that divides by zero." in command("retry")
    assert len(target.rejects()) == 1
    command.configure({**target.config, "streams": hours("{{ rows | length }}")})
    assert command("retry") == "1 of 1 rejected rows were posted.\n"
    assert [data(post)["n"] for post in target.posts()] == ["2"]
    assert target.rejects() == []


def test_a_retry_ends_no_first_run(command: Command, target: Target) -> None:
    number = {"hours": {"fields": [{"id": "n", "type": "number", "data": "name"}]}}
    ran = target.run([schema(), record(id=1, name="one"), record(id=2, name="2"), state(2), b"{"], streams=number)
    assert "Line 5 of the input is not a JSON object." in str(ran.error)
    command.configure({**target.config, "first_run": "baseline"})
    assert command("retry").splitlines() == [
        "0 of 1 rejected rows were posted.",
        "No longer rejected, and not posted: 1 recorded and not posted.",
    ]
    target.ran([schema(), record(id=3, name="three")], first_run="baseline")
    assert target.posts() == []


def test_a_ledger_is_rebuilt_and_shown(command: Command, target: Target) -> None:
    target.ran([schema(), record(id=1, name="one"), record(id=2, name="two")])
    assert [row["key"] for row in json.loads(command("ledger", "--json"))] == ["[1]", "[2]"]
    assert "published" in command("ledger", "--phase", "published")
    target.ran([schema(stream="teams"), record("teams", id=3)], first_run="draft")
    names = {one["id"]: "/".join(one["names"]) for one in json.loads(command("channels", "--json"))}
    rows = json.loads(command("ledger", "--json", "--channel", names[target.channel]))
    assert [row["phase"] for row in rows] == ["published", "published", "held"]
    for phase in ("held", "published"):
        assert {row["phase"] for row in json.loads(command("ledger", "--json", "--phase", phase))} == {phase}
    Path(target.config["ledger_url"].removeprefix("sqlite:///")).unlink()
    assert command("adopt").splitlines() == [
        "0 posts were entered into the ledger.",
        "It knows no stream of this channel: the next run enters the posts of the streams that come.",
    ]
    target.ran([schema(), schema(stream="teams")])
    assert command("adopt") == "0 posts were entered into the ledger.\n"
    shown = re.sub(r"[│\s]+", " ", command("ledger"))
    assert all(f"post {post.id} {target.channel}" in shown for post in target.posts())
    target.ran([schema(), record(id=1, name="one"), record(id=2, name="two")])
    assert len(target.posts()) == 3


def test_nothing_is_cut_short_or_taken_for_markup(command: Command, target: Target) -> None:
    name = "A channel with [red]brackets[/red] and a name that is much longer than any line of a terminal would ever be"
    channel = target.sandbox.harkster.add_channel("Acme Inc./Projects", ChannelPlan(name=name))
    assert f"{name}  {channel}" in command("channels")
    target.ran([schema(stream=name), record(name, id=1)])
    assert name in command("ledger")
    assert command("ledger", "--phase", "draft") == "The ledger knows of no such posts.\n"
    assert command("templates") == "The channel has no templates.\n"


def test_settings_come_from_the_environment(command: Command, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("access_token", "api_url", "ledger_url", "reject_path"):
        monkeypatch.setenv(f"TARGET_HARKSTER_{name.upper()}", target.config[name])
    command.configure({"channel": target.channel})
    assert "Computer Club" in command("--config", "ENV", "usage")
    monkeypatch.setenv("TARGET_HARKSTER_STREAMS", "{")
    assert "TARGET_HARKSTER_STREAMS must hold an object" in command.failed("--config", "ENV", "usage")


def test_what_there_is_is_shown_while_a_layout_is_being_written(
    command: Command, target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command.configure({**target.config, "preview_path": str(tmp_path / "page.html")})
    for wrong in ({"hours": {"closed": "{{ rows }}"}}, {"hours": {"mode": "none"}}):
        monkeypatch.setenv("TARGET_HARKSTER_STREAMS", json.dumps(wrong))
        for words in (["channels"], ["usage"], ["templates"], ["ledger"], ["runs"], ["adopt"]):
            command("--config", "ENV", *words)
        assert "streams.hours" in command.failed("--config", "ENV", "plan")
    assert not (tmp_path / "page.html").exists()


def test_no_setting_makes_a_plan_send_anything(
    command: Command, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TARGET_HARKSTER_DRY_RUN", "false")
    shown = command("--config", "ENV", "plan", given=as_input([schema(), record(id=1, name="one"), state(1)]))
    assert "Nothing was sent." in shown
    assert target.posts() == []


def test_a_layout_of_what_is_no_schema_is_refused(command: Command) -> None:
    given = {"type": "SCHEMA", "stream": "x", "schema": 7}
    assert "Line 1 of the input is a message whose schema is of the wrong" in command.failed("layout", given=[given])


def test_the_settings_in_the_documents_can_be_used(target: Target, tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    pages = (root / "target-harkster" / "README.md", root / "docs" / "layouts.md")
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    examples = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]
    assert len(examples) == 9
    given: dict[str, Any] = {"week": "2026-03-16", "name": "Ann", "hours": 30, "state": "late", "team": "A"}
    kinds: dict[str, Any] = {name: {"type": ["string", "null"]} for name in given} | {
        "id": {"type": "integer"},
        "user_id": {"type": "integer"},
        "hours": {"type": "number"},
    }
    users = [schema(stream="users"), record(stream="users", id=7, name="Ann")]
    names: dict[str, list[str | None]] = {}
    for number, example in enumerate(examples):
        stream = example["streams"]["hours"]
        if "template" in stream or "channel" in stream:
            target.make(**example)  # of templates and channels that are not here
            continue
        folder = tmp_path / str(number)
        folder.mkdir()
        own = Target.into_new_channel(target.sandbox, folder)
        calls = [schema({**kinds, "day": {"type": "string"}}, stream="calls")] if "calls" in example["streams"] else []
        people = users if "users" in example["streams"] else []
        own.ran([*people, *calls, schema(kinds), record(id=1, user_id=7, **given)], **example)
        names[" ".join(stream)] = [post.name for post in own.posts()]
    assert names == {
        "mode name fields": ["Hours of Ann"],
        "mode": ["hours"],
        "mode group_by name fields": ["Hours of the week of 2026-03-16"],
        "group_by closed fields": ["hours"],
        "group_by fields": ["hours"],
        "when": [],
    }


def test_what_is_wrong_is_said_in_a_sentence(command: Command, target: Target) -> None:
    command.configure({**target.config, "access_token": "wrong"})
    assert "check access_token" in command.failed("channels")
    command.configure({"api_url": "http://x"})
    assert "access_token must be set" in command.failed("usage")
