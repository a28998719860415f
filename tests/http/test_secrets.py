"""Secrets as they come from files and variables, and what the log says of what nobody thought of."""

from __future__ import annotations

import logging
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import tap_hubstaff.__main__ as hubstaff_main
import tap_hustle.__main__ as hustle_main
import target_harkster.__main__ as harkster_main
from click.testing import CliRunner
from singer_http.changes.store import Store
from singer_http.http.auth import lifetime, validated_token
from singer_http.http.clock import Clock
from singer_http.http.errors import ApiError
from singer_http.http.postgres_log import PostgresLog
from singer_http.http.request_log import LogError
from singer_http.operator_errors import exit_on_operator_error
from singer_http.report.document import Document
from singer_http.verify.command import verify
from singer_sdk.exceptions import ConfigValidationError
from tap_hubstaff.shared_tokens import SharedTokenStore
from tap_hubstaff.tap import TapHubstaff
from tap_hustle.tap import TapHustle
from target_harkster.ledger.database import Database
from target_harkster.target import TargetHarkster

from tests.run_reports import run_report

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from singer_sdk.plugin_base import PluginBase

HUSH = "hush-do-not-tell"
HUSTLE = {"client_id": "someone@example.org", "client_secret": "sound"}
APPLICATION = {"refresh_token": "sound", "client_id": "me", "client_secret": "sound"}
SECRETS: list[tuple[type[PluginBase], dict[str, Any], str]] = [
    *((TapHustle, HUSTLE, name) for name in HUSTLE),
    (TapHubstaff, {}, "personal_access_token"),
    (TapHubstaff, {}, "access_token"),
    *((TapHubstaff, APPLICATION, name) for name in APPLICATION),
    (TargetHarkster, {}, "access_token"),
]
SENT_AS_TOKENS = [one for one in SECRETS if one[2].endswith("token")]


@pytest.mark.parametrize(("plugin", "others", "name"), SECRETS)
@pytest.mark.parametrize("form", ["{}\n", "{}\r\n", " {}", "\t{} \n\n", "\u00a0{}\u2028"])
@pytest.mark.parametrize("from_environment", [False, True])
def test_what_is_around_a_secret_is_none_of_it(
    monkeypatch: pytest.MonkeyPatch,
    *,
    plugin: type[PluginBase],
    others: dict[str, str],
    name: str,
    form: str,
    from_environment: bool,
) -> None:
    secret = form.format(HUSH)
    if from_environment:
        monkeypatch.setenv(f"{plugin.name}_{name}".upper().replace("-", "_"), secret)
        given = {setting: value for setting, value in others.items() if setting != name}
    else:
        given = {**others, name: secret}
    made = plugin(config=given, parse_env_config=from_environment)
    assert made.config[name] == HUSH


REFUSED = ["{}\nhalf", "{}\r\nX-More: header", "\u201c{}\u201d", "{}\u00e9", "{}\x00", "{}\x7f", "\ufeff{}"]


@pytest.mark.parametrize(
    ("plugin", "others", "name", "form"),
    [
        *((*one, form) for one in SECRETS for form in REFUSED),
        *((*one, form) for one in SENT_AS_TOKENS for form in ("{0} {0}", "{}\thalf")),
    ],
)
def test_a_secret_that_nothing_can_carry_is_refused_by_its_name(
    caplog: pytest.LogCaptureFixture, *, plugin: type[PluginBase], others: dict[str, str], name: str, form: str
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(ConfigValidationError) as raised:
        plugin(config={**others, name: form.format(HUSH)})
    (sentence,) = raised.value.errors
    assert sentence == f"{name} is not valid: it must be printable ASCII without blanks or line breaks, and not empty."
    assert HUSH not in caplog.text


@pytest.mark.parametrize("agent", ["mine/1.0\n", " mine", "mine ", "mine/1.0\r\nX-More: header", "\u201cmine\u201d"])
@pytest.mark.parametrize(("plugin", "others", "name"), SECRETS[::2])
def test_a_user_agent_that_no_header_can_carry_is_refused(
    plugin: type[PluginBase], others: dict[str, str], name: str, agent: str
) -> None:
    with pytest.raises(ConfigValidationError) as raised:
        plugin(config={**others, name: "sound", "user_agent": agent})
    assert [sentence.split()[0] for sentence in raised.value.errors] == ["user_agent"]


def test_tokens_of_the_api_are_read_likewise() -> None:
    assert validated_token(f" {HUSH}\n") == HUSH
    for told in ("", " ", "a b", "a\nb", "\u201ca\u201d", "a\x00"):
        with pytest.raises(ValueError, match="no token"):
            validated_token(told)


def test_a_lifetime_may_be_left_out_or_written_as_text() -> None:
    assert [lifetime(told, 7200.0) for told in (60, 59.5, "60", " 60 ")] == [60.0, 59.5, 60.0, 60.0]
    nonsense: list[Any] = [None, "", "soon", 0, -5, "nan", "inf", float("nan"), [], {}]
    assert [lifetime(told, 7200.0) for told in nonsense] == [7200.0] * len(nonsense)


class Unforeseen(Exception):  # noqa: N818
    """Holds what nobody may read, as exceptions of libraries do."""


def _fail(*_: object, **__: object) -> None:
    secret = f"Bearer {HUSH}"
    try:
        msgspec.json.decode(secret)
    except msgspec.DecodeError as error:
        raise Unforeseen(f"Invalid header value {secret!r}") from error


@pytest.mark.parametrize(
    ("program", "plugin"),
    [(hustle_main, TapHustle), (hubstaff_main, TapHubstaff), (harkster_main, TargetHarkster)],
    ids=lambda one: one.__name__,
)
def test_what_nobody_thought_of_ends_in_a_sentence_without_values(
    *,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    program: ModuleType,
    plugin: type[PluginBase],
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(plugin, "cli", _fail)
    monkeypatch.setattr(logging, "raiseExceptions", True)
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert ended.value.code == 1
    said = caplog.text + "".join(capfd.readouterr())
    assert HUSH not in said
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert re.match(r"This is a defect, please report it: Unforeseen at .*http/test_secrets.py:\d+$", line)


def test_what_is_meant_to_end_a_program_does() -> None:
    with pytest.raises(SystemExit) as ended, exit_on_operator_error(logging.getLogger(__name__)):
        raise SystemExit(143)
    assert ended.value.code == 143


def _verify(url: str) -> None:
    with tempfile.NamedTemporaryFile() as report:
        Document(run_report("complete"), {}).write(Path(report.name))
        run = CliRunner().invoke(verify, [report.name, "--url", url, "--schema", "s"])
    assert isinstance(run.exception, SystemExit)
    raise ApiError(run.output)


@pytest.mark.parametrize(
    "opened",
    [
        _verify,
        Store,
        Database,
        lambda url: PostgresLog(url, "name").update(lambda _now, sent: sent),
        lambda url: SharedTokenStore(url, "token", Clock()).read(),
    ],
    ids=["verify", "changes_url", "ledger_url", "budget_url", "token_url"],
)
@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:hush%t@127.0.0.1:1/db",
        "postgresql://user:hush@[bad/db",
        "postgresql://user:h@hush.invalid:1/db",
        "postgresql://user:1/hush@127.0.0.1:1/db",
        "postgresql://user:1@127.0.0.1:hush/db",
        "postgresql://user:1@127.0.0.1:1/db?hush=1",
        "postgresql://user:1@127.0.0.1:1/db?connect_timeout=hush",
        "postgresql://user:hush%00@127.0.0.1:1/db",
    ],
)
def test_no_part_of_the_url_of_a_database_is_told(opened: Callable[[str], object], url: str) -> None:
    with pytest.raises((ApiError, LogError)) as raised:
        opened(url)
    assert "hush" not in str(raised.value)
    assert "percent-encoded: %40 for @" in str(raised.value)


@pytest.mark.parametrize(
    ("plugin", "given"),
    [(TapHustle, HUSTLE), (TapHubstaff, APPLICATION), (TargetHarkster, {"access_token": "sound", "channel": "c"})],
)
def test_people_in_the_filters_of_stream_maps_are_not_told(
    plugin: type[PluginBase], given: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    maps = {"users": {"__filter__": "email != 'jane.doe@example.org'", "email": "md5('hush' + email)"}}
    config = {**given, "stream_maps": maps}
    if plugin is TapHustle:
        config["stream_maps"] = {"agents": maps["users"]}
    made = plugin(config=config)
    schema = {"properties": {"id": {"type": "integer"}, "email": {"type": "string"}}}
    for stream in ("users", "agents"):
        made.mapper.register_raw_stream_schema(stream, schema, ["id"])
    assert not [line for line in caplog.messages if "jane.doe" in line or "hush" in line]
