"""Bad settings and bad messages: refused before the first record, with stream, field and reason."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from api_sandbox import RunningSandbox
from singer_http.http.errors import ConfigurationError
from singer_sdk.exceptions import ConfigValidationError
from target_harkster.delivery.channels import find_channel
from target_harkster.vendor.client import Channel

from tests.harkster.running import Message, Target, record, schema, state

TEXT = {"id": "a", "type": "text", "data": "name"}


UNREACHABLE = "http://127.0.0.1:1"
"""A URL of the API with which each request fails."""


def refused(target: Target, **settings: Any) -> str:
    ran = target.run([schema(), record(id=1, name="one")], **settings)
    assert target.posts() == []
    assert ran.error is not None
    assert target.config["access_token"] not in ran.told
    return ran.told


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (
            {"fields": [{**TEXT, "type": "emoji"}]},
            "streams.hours.fields.0.type is not valid: 'emoji' is not one of ['number', 'currency', ",
        ),
        ({"fields": [{**TEXT, "data": "nme"}]}, "field a: data names the column nme, which the stream has not."),
        ({"fields": [TEXT, TEXT]}, "streams.hours, field a: another field has the same id."),
        ({"fields": [{**TEXT, "data": "{{ name | }}"}]}, "field a: it is not a valid expression"),
        (
            {"fields": [{**TEXT, "data": "{{ nme }}"}]},
            "field a: the expression asks for nme, which the stream",
        ),
        ({"fields": [{**TEXT, "data": "{{ name | nope }}"}]}, "field a: it is not a valid expression: No filter"),
        ({"fields": [{**TEXT, "label": "{{ x }}"}]}, "field a: the expression asks for x"),
        ({"fields": [{"id": "a", "type": "text"}]}, "field a: there is no data: a column or an expression."),
        ({"fields": [{"id": "a", "type": "heading"}]}, "field a: a heading needs a label."),
        ({"fields": [{"id": "a", "type": "divider", "label": "x"}]}, "field a: divider takes no label."),
        ({"fields": [{"id": "a", "type": "divider", "data": "name"}]}, "field a: divider takes no data."),
        ({"fields": [{**TEXT, "type": "percentage"}]}, "field a: a percentage needs input"),
        ({"fields": [{**TEXT, "type": "currency"}]}, "field a: a currency needs options, with ccy"),
        ({"fields": [{**TEXT, "type": "currency", "options": {"ccy": "XYZ"}}]}, "options.ccy is XYZ, neither a code"),
        ({"fields": [{**TEXT, "clamp": True}]}, "field a: text takes no clamp."),
        ({"fields": [{**TEXT, "type": "date", "timezone": "Mars/Base"}]}, "field a: the timezone Mars/Base is unknown"),
        (
            {"fields": [{**TEXT, "type": "status", "values": {"x": "blue"}}]},
            "fields.0.values.x is not valid: 'blue' is not one of",
        ),
        ({"fields": [{**TEXT, "id": "hk-00000000-00000000000000000000"}]}, "the id has the form that marks the posts"),
        ({"key": ["nope"]}, "streams.hours: key names the column nope, which the stream has not."),
        ({"group_by": ["name"]}, "streams.hours: group_by needs fields"),
        ({"group_by": ["name"], "fields": [{**TEXT, "data": "id"}]}, "field a: a digest has many rows: id must be"),
        (
            {"mode": "mirror", "group_by": ["name"], "fields": [TEXT]},
            "mode mirror cannot be had with group_by: the post",
        ),
        ({"fields": [{**TEXT, "data": "{{ row.nme }}"}]}, "field a: it has an expression that fails: there is no nme."),
        ({"fields": [{**TEXT, "data": "{{-id}}"}]}, "field a: it has {{- or {{+, which are no signs"),
        ({"fields": [{**TEXT, "type": "progress", "null": "null"}]}, "field a: a progress is never null"),
        (
            {"group_by": ["name"], "fields": [{**TEXT, "data": "{{ rows | sum(attribute='nme') }}"}]},
            "field a: it has an expression that fails: there is no nme.",
        ),
        (
            {"group_by": ["name"], "fields": [{**TEXT, "data": "{% for it in rows %}{{ it.nme }}{% endfor %}"}]},
            "field a: it has an expression that fails: there is no nme.",
        ),
        ({"mode": "sync"}, "streams.hours.mode is not valid: 'sync' is not one of"),
        ({"felds": []}, "streams.hours is not valid: Additional properties are not allowed"),
        ({"fields": [{"type": "text"}]}, "streams.hours, field number 1: there is no id."),
        ({"channel": {"column": "team", "allowed": ["x"]}}, "channel names the column team, which the stream has not."),
        ({"template": "Nope"}, "streams.hours: Nope is no template of Acme Inc./Projects/Channel"),
        ({"channel": "Acme Inc./Financials/Forecast"}, "is the name of several channels; use an id: "),
        ({"channel": "Forecast!"}, "streams.hours.channel: this token shows no channel Forecast!; it shows "),
    ],
)
def test_a_bad_layout_is_refused(target: Target, stream: dict[str, Any], reason: str) -> None:
    # Only templates and channels are asked for.
    url = target.config["api_url"] if "template" in stream or isinstance(stream.get("channel"), str) else UNREACHABLE
    assert reason in refused(target, streams={"hours": stream}, api_url=url)


ROWS: dict[str, Any] = {"group_by": ["name"], "fields": [TEXT]}


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        ({**ROWS, "mode": "mirror"}, "mode mirror cannot be had with group_by"),
        ({"group_by": ["name"]}, "group_by needs fields"),
        ({"closed": {"quiet_hours": 1}}, "closed is for digests: set group_by."),
        ({**ROWS, "previous_by": ["id"]}, "previous_by names id, which is no part of the key."),
        ({"key": ["id"], "previous_by": ["name"]}, "previous_by names name, which is no part of the key."),
        ({"mode": "lookup", "fields": [TEXT]}, "mode lookup takes no fields: its rows are not posted."),
        ({"mode": "lookup", "key": ["id", "name"]}, "mode lookup needs a key of one column."),
        ({"group_by": ["name"], "fields": [{**TEXT, "data": "id"}]}, "a digest has many rows: id must be one of"),
        ({**ROWS, "when": "{{ rows | length }}"}, "when chooses the rows of a digest one by one: set closed"),
        ({**ROWS, "closed": "{{ rows | lenght }}"}, "closed is not a valid expression: No filter named 'lenght'."),
        *(
            ({**ROWS, setting: text}, f"{setting} must be one expression with nothing around it, such as {{{{")
            for setting in ("when", "closed")
            for text in (
                "id > 4",
                "id",
                " ",
                "not {{ id == 2 }}",
                "{{ id > 4 }} and {{ id < 9 }}",
                "{{ id > 4 }}{{ id < 9 }}",
                "{% if id > 4 %}true{% else %}false{% endif %}",
                "{% set most = 4 %}{{ id > most }}",
            )
        ),
        ({"when": "{{ name > }}"}, "when is not a valid expression"),
        ({"name": "{{ name"}, "name is not a valid expression"),
        ({"fields": [{**TEXT, "label": "{{ name"}]}, "field a: it is not a valid expression"),
        ({"fields": [TEXT, TEXT]}, "field a: another field has the same id."),
        ({"fields": [{**TEXT, "type": "currency"}]}, "field a: a currency needs options"),
        ({"fields": [{**TEXT, "type": "date", "timezone": "Mars"}]}, "field a: the timezone Mars is unknown"),
        ({"template": "T", "fields": [{"label": "A", "data": "{{ a | b }}"}]}, "it is not a valid expression"),
    ],
)
def test_what_settings_tell_alone_is_refused_before_the_first_message(
    target: Target, stream: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ConfigValidationError) as raised:
        target.make(streams={"hours": {}, "later": stream})
    (told,) = raised.value.errors
    assert told.startswith("streams.later")
    assert reason in told


def test_channels_of_later_streams_are_missed_before_the_first_message(target: Target) -> None:
    streams: dict[str, Any] = {"hours": {"channel": target.channel}, "users": {"mode": "lookup"}}
    settings = {"channel": None, "streams": streams}
    target.ran([schema(), record(id=1, name="one"), state(1)], **settings)
    streams["later"] = {}
    ran = target.run([schema(), record(id=2, name="two"), state(2)], **settings, api_url=UNREACHABLE)
    assert ran.told.startswith("channel must be set, or streams.later.channel")


def test_a_wrong_layout_is_refused_before_what_waited_is_posted(target: Target) -> None:
    target.ran([schema(), record(id=1, name="one"), state(1)], max_posts_per_run=0)
    ran = target.run([schema()], streams={"hours": {"fields": [{**TEXT, "data": "nme"}]}})
    assert "data names the column nme" in ran.told
    assert [post.status for post in target.posts()] == ["draft"]


@pytest.mark.parametrize("path", ["nowhere/page.html", "."])
def test_a_preview_that_cannot_be_written_is_refused_before_the_first_post(
    target: Target, tmp_path: Path, path: str
) -> None:
    told = refused(target, preview_path=str(tmp_path / path), api_url=UNREACHABLE)
    assert told.startswith(f"preview_path: {tmp_path / path} cannot be written (")


@pytest.mark.parametrize("settings", [{}, {"dry_run": True}])
def test_a_preview_that_others_could_read_is_for_its_owner_alone(
    target: Target, tmp_path: Path, settings: dict[str, Any]
) -> None:
    page = tmp_path / "page.html"
    page.touch(0o644)
    page.chmod(0o644)
    target.ran([schema(), record(id=1, name="private"), state(1)], preview_path=str(page), **settings)
    assert "private" in page.read_text()
    assert page.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["{{ row.__class__ }}", "{{ ''.__class__.__mro__ }}", "{{ row.clear() }}"])
def test_expressions_stay_in_their_box(target: Target, text: str) -> None:
    target.ran([schema(), record(id=1, name="one")], streams={"hours": {"fields": [{**TEXT, "data": text}]}})
    assert target.posts() == []
    assert "expression" in target.rejects()[0]["reason"]


def test_candidates_of_an_ambiguous_channel_are_listed(target: Target) -> None:
    told = refused(target, channel="Acme Inc./Financials/Forecast")
    assert told.count("(Acme Inc./Financials/Forecast)") == 2


def test_what_is_not_listed_of_many_channels_is_said() -> None:
    channels = [Channel(f"c{at}", "a", ("Acme Inc.", "Projects", f"Channel {at}")) for at in range(23)]
    with pytest.raises(ConfigurationError) as refused:
        find_channel("A/B/Nowhere", channels, "--channel")
    told = str(refused.value)
    assert told.startswith(
        "--channel: this token shows no channel A/B/Nowhere; it shows Acme Inc./Projects/Channel 0 (c0)"
    )
    assert told.endswith(" and 3 others: see harkster channels.")


def test_names_with_slashes_are_found(target: Target) -> None:
    target.ran([schema()], channel="Acme Inc./Projects/Ops/On-call")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"access_token": None}, "access_token must be set."),
        ({"access_token": "wrong"}, "check access_token"),
        ({"channel": None}, "channel must be set, or streams.hours.channel"),
        ({"api_url": "http://api.example.com"}, "plain http would send the token in clear"),
        ({"ledger_url": "nonsense"}, "ledger_url is not a URL of a database"),
        *(
            ({"ledger_url": url}, "ledger_url is not valid: it must name a file, such as sqlite:///target-harkster.db")
            for url in ("sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true")
        ),
        ({"ledger_url": "mysql://x/y"}, "ledger_url is not a URL of a database"),
        ({"ledger_url": "sqlite:////nowhere/at/all.db"}, "check ledger_url and the database"),
        ({"locale": "klingon"}, "locale is klingon, which is unknown"),
        ({"on_quota": "pray"}, "on_quota is not valid"),
        ({"quota_reserve": -1}, "quota_reserve is not valid"),
        ({"reject_path": "/nowhere/at/all"}, ""),
    ],
)
def test_a_bad_setting_is_refused(target: Target, settings: dict[str, Any], reason: str) -> None:
    if settings == {"reject_path": "/nowhere/at/all"}:
        ran = target.run([schema(), record(id=1, name=5)], **settings)
        assert "reject_path: /nowhere/at/all cannot be written" in ran.told
    else:
        assert reason in refused(target, **settings)


@pytest.mark.parametrize(
    ("settings", "file"),
    [
        *((("ledger_url", "reject_path"), f"ledger.db{beside}") for beside in ("", "-wal", "-shm", "-journal")),
        (("ledger_url", "preview_path"), "ledger.db"),
        (("ledger_url", "preview_path"), "ledger.db-wal"),
        (("ledger_url", "preview_path"), "ledger.db.0123456789abcdef.lock"),
        (("ledger_url", "preview_path"), "link.html"),
        (("ledger_url", "preview_path"), "hard.html"),
        (("ledger_url", "preview_path"), "here/ledger.db-wal"),
        (("reject_path", "preview_path"), "rejects.jsonl"),
        (("reject_path", "preview_path"), "rejects.jsonl.new"),
        (("reject_path", "preview_path"), "rejects.jsonl.lock"),
    ],
)
def test_a_file_is_not_taken_for_two_things(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: tuple[str, str], file: str
) -> None:
    one, other = settings
    (tmp_path / "here").symlink_to(".")
    (tmp_path / "link.html").symlink_to("here/ledger.db")
    monkeypatch.chdir(tmp_path)
    target.ran([schema(), record(id=1, name="one"), record(id=2, name=2), state(1)])
    (tmp_path / "hard.html").hardlink_to("ledger.db")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    for path in (file, str(tmp_path / file)):
        told = target.run([schema(), record(id=3, name="three"), state(2)], **{other: path}).told
        assert f"{other} is not valid: it leads to a file of {one}, and one would overwrite the other" in told
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_files_with_names_that_are_alike_are_told_apart(target: Target, tmp_path: Path) -> None:
    files = {
        "ledger_url": f"sqlite:///{tmp_path}/harkster",
        "reject_path": f"{tmp_path}/harkster.rejects",
        "preview_path": f"{tmp_path}/harkster.html",
    }
    target.ran([schema(), record(id=1, name="one"), record(id=2, name=2), state(1)], **files)
    assert "one" in Path(files["preview_path"]).read_text()
    assert json.loads(Path(files["reject_path"]).read_text())["key"] == "[2]"


def test_a_ledger_that_cannot_be_used_is_closed(target: Target, tmp_path: Path) -> None:
    (tmp_path / "other.db").write_bytes(b"no database at all, but a text of some length" * 50)
    for name, value in (
        ("ledger_url", f"sqlite:///{tmp_path}/other.db"),
        ("locale", "nowhere"),
        ("access_token", "a\nb"),
    ):
        for dry_run in (False, True):
            assert name in refused(target, dry_run=dry_run, **{name: value})


def test_a_channel_that_may_not_be_posted_to_ends_the_run(target: Target) -> None:
    assert "have no permission for it" in refused(target, channel="Acme Inc./Financials/Board")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{not json", "Line 2 of the input is not a JSON object."),
        (b"[1]", "Line 2 of the input is not a JSON object."),
        (b'{"a": 1}', "Line 2 of the input is no Singer message: its type is unknown."),
        (b'{"type": "NOISE"}', "Line 2 of the input is no Singer message: its type is unknown."),
        (b'{"type": "RECORD", "stream": "hours"}', "Line 2 of the input is a message that lacks record."),
        (b'{"type": "SCHEMA", "stream": "x"}', "Line 2 of the input is a message that lacks schema."),
        (b'{"type": "SCHEMA", "stream": "x", "schema": {}}', "Line 2 of the input is a message that lacks properties."),
        (
            b'{"type": "SCHEMA", "stream": 7, "schema": {}}',
            "Line 2 of the input is a message whose stream is of the wrong",
        ),
        (
            b'{"type": "SCHEMA", "stream": "x", "schema": {"properties": []}}',
            "message whose properties is of the wrong",
        ),
        (b'{"type": "RECORD", "stream": "hours", "record": null}', "is a message whose record is of the wrong type."),
        (b'{"type": "STATE"}', "Line 2 of the input is a message that lacks value."),
        (b'{"type": "RECORD", "stream": "teams", "record": {}}', "A record of teams came before its SCHEMA"),
        (b'{"a": ' + b"9" * 5000 + b"}", "Line 2 of the input is JSON with a number of too many digits."),
        (b'{"a":' * 5000, "Line 2 of the input is n"),
    ],
)
def test_a_bad_message_ends_the_run(target: Target, line: bytes, reason: str) -> None:
    ran = target.run([schema(), line])
    assert reason in str(ran.error)


def test_what_is_durable_is_acknowledged_before_a_bad_line(target: Target) -> None:
    lines: list[Message | bytes] = [schema(), record(id=1, name="one"), state(1), b"{"]
    ran = target.run(lines)
    assert "Line 4 of the input is not a JSON object." in str(ran.error)
    assert (ran.states, target.posts()) == ([], [])  # it was no whole first run
    target.ran([schema(), state(0)])
    ran = target.run(lines)
    assert "Line 4 of the input is not a JSON object." in str(ran.error)
    assert ran.states == [1]
    assert len(target.posts()) == 1


def test_the_command_says_it_in_a_sentence(sandbox: RunningSandbox, tmp_path: Path) -> None:
    target = Target.into_new_channel(sandbox, tmp_path)
    config = tmp_path / "config.json"
    config.write_text(json.dumps({**target.config, "channel": "Nowhere"}))
    done = subprocess.run(
        [sys.executable, "-m", "target_harkster", "--config", str(config)],
        input=json.dumps(schema()).encode(),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert b"channel: this token shows no channel Nowhere" in done.stderr
    assert b"Traceback" not in done.stderr
    assert done.stdout == b""
