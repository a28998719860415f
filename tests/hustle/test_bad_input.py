"""What an operator gets wrong: one sentence that says what to change, an exit code, and no needless requests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from api_sandbox import Fault
from singer_http.http.rules import SUSPICIOUS_TRIES

if TYPE_CHECKING:
    from collections.abc import Callable

    from api_sandbox import RunningSandbox

    from tests.conftest import RawServer
    from tests.hustle.conftest import Run

    Settings = Callable[..., dict[str, Any]]
    Serve = Callable[..., RunningSandbox]
    Tap = Callable[..., Run]

SECRET = "hush-do-not-tell"
LOGIN = {"client_id": "someone@example.org", "client_secret": SECRET}
BATCHES = {"encoding": {"format": "jsonl"}, "storage": {"root": "file:///tmp"}}
NOWHERE = "https://127.0.0.1:1/v3"


def assert_one_sentence(run: Run, *words: str) -> None:
    """The run failed, and said why in one sentence that has all the words."""
    assert run.code not in (0, None)
    assert run.code > 0
    assert run.stdout == b""
    assert "Traceback" not in run.stderr
    assert SECRET not in run.stderr
    (sentence,) = run.said("ERROR")
    assert run.said("CRITICAL") == []
    for word in words:
        assert word in sentence
    assert sentence.endswith(".")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, ["client_id", "client_secret", "must be set"]),
        ({"client_id": "a"}, ["client_secret", "must be set"]),
        ({"client_secret": SECRET}, ["client_id", "must be set"]),
        ({"client_id": "a", "client_secret": None}, ["client_secret", "must be set"]),
        ({**LOGIN, "client_secret": ""}, ["client_secret", "not valid"]),
        ({**LOGIN, "client_secret": [SECRET]}, ["client_secret", "type", "string"]),
        ({**LOGIN, "client_secret": {"value": SECRET}}, ["client_secret", "type", "string"]),
        ({**LOGIN, "client_secret": 123456}, ["client_secret", "type", "string"]),
        ({**LOGIN, "client_id": {"a": SECRET}}, ["client_id", "type", "string"]),
        ({**LOGIN, "page_size": 0}, ["page_size"]),
        ({**LOGIN, "batch_config": {"encoding": {"format": "jsonl"}}}, ["batch_config", "storage.root"]),
        ({**LOGIN, "batch_config": {"storage": {"root": "file:///tmp"}}}, ["batch_config", "encoding.format"]),
        ({**LOGIN, "page_size": 1001}, ["page_size"]),
        ({**LOGIN, "page_size": "many"}, ["page_size"]),
        ({**LOGIN, "page_size": 1.5}, ["page_size"]),
        ({**LOGIN, "page_size": True}, ["page_size"]),
        ({**LOGIN, "requests_per_second": 0}, ["requests_per_second"]),
        ({**LOGIN, "requests_per_second": -1}, ["requests_per_second"]),
        ({**LOGIN, "request_timeout": 0}, ["request_timeout"]),
        ({**LOGIN, "max_parallel_requests": 0}, ["max_parallel_requests"]),
        ({**LOGIN, "resume_max_age": -1}, ["resume_max_age"]),
        ({**LOGIN, "organization_ids": "one"}, ["organization_ids"]),
        ({**LOGIN, "organization_ids": [1]}, ["organization_ids"]),
        ({**LOGIN, "organization_ids": [""]}, ["organization_ids"]),
        ({**LOGIN, "user_agent": "two\nlines"}, ["user_agent"]),
        ({**LOGIN, "user_agent": "ünïcode"}, ["user_agent"]),
        ({**LOGIN, "user_agent": ""}, ["user_agent"]),
        ({**LOGIN, "user_agent": "x" * 100_000}, ["user_agent", "maxLength must be 256"]),
        ({**LOGIN, "user_agent": "x\x1by"}, ["user_agent"]),
        ({**LOGIN, "page_size": "9" * 5000}, ["page_size", "type must be integer"]),
        ({**LOGIN, "page_size": SECRET}, ["page_size", "type must be integer"]),
        ({**LOGIN, "stream_maps": {"leads": [SECRET]}}, ["stream_maps.leads", "none of the forms"]),
        ({**LOGIN, "api_url": f"https://api.hustle.com/v3\n{SECRET}"}, ["api_url"]),
        ({**LOGIN, "request_timeout": 10**30}, ["request_timeout"]),
        ({**LOGIN, "max_parallel_requests": 10**9}, ["max_parallel_requests"]),
        ({**LOGIN, "resume_max_age": 10**400}, ["resume_max_age"]),
        ({**LOGIN, "requests_per_second": 10**400}, ["requests_per_second"]),
        ({**LOGIN, "batch_config": {**BATCHES, "batch_size": "x"}}, ["batch_config", "batch_size"]),
        ({**LOGIN, "batch_config": {**BATCHES, "batch_size": 0}}, ["batch_config", "batch_size"]),
        ({**LOGIN, "batch_config": {**BATCHES, "storage": {"root": "s3://b"}}}, ["batch_config", "storage.root"]),
        ({**LOGIN, "batch_config": {**BATCHES, "storage": {"root": "nosuch://b"}}}, ["batch_config", "storage.root"]),
    ],
    ids=str,
)
def test_a_wrong_setting_is_named(tap: Tap, config: dict[str, Any], words: list[str]) -> None:
    assert_one_sentence(run := tap(config={"api_url": NOWHERE, **config}), *words)
    assert "123456" not in run.stderr


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"changes_url": "sqlite:///:memory:"}, "changes_url is not valid: a database in memory is gone after the run"),
        *(
            (
                {"changes_url": f"sqlite:///{store}", "report_path": report},
                "report_path is not valid: it leads to a file of changes_url, and one would overwrite the other",
            )
            for store, report in (
                ("c.db", "c.db"),
                ("c.db", "./c.db-wal"),
                ("/nowhere/c.db", "/nowhere/../nowhere/c.db-shm"),
                ("~/c.db", str(Path.home() / "c.db")),
            )
        ),
    ],
    ids=str,
)
def test_a_file_is_kept_and_not_taken_for_two_things(
    hustle_errors: Callable[..., list[str]], config: dict[str, Any], sentence: str
) -> None:
    assert [told[: len(sentence)] for told in hustle_errors({**LOGIN, **config})] == [sentence]
    apart = {"changes_url": "sqlite:///c.db", "report_path": "c.json"}
    assert hustle_errors({**LOGIN, **apart}) == []


REFUSED_URLS = [
    "http://api.hustle.com/v3",
    "HTTP://api.hustle.com/v3",
    "http://127.0.0.1.evil.com/v3",
    "http://localhost.evil.com/v3",
    "http://evil.com/127.0.0.1",
    "http://evil.com#127.0.0.1",
    "http://evil.com?localhost",
    "http://127.0.0.1@evil.com/v3",
    "http://localhost:80@evil.com/v3",
    "http://user:hush-do-not-tell@127.0.0.1/v3",
    "https://user:hush-do-not-tell@api.hustle.com/v3",
    "http://0.0.0.0/v3",
    "http://[::]/v3",
    "http://10.0.0.1/v3",
    "http://2130706433.evil.com/v3",
    "http:///v3",
    "http://",
    "https://",
    "api.hustle.com/v3",
    "//api.hustle.com/v3",
    "ftp://api.hustle.com/v3",
    "file:///etc/passwd",
    "https://api.hustle.com:port/v3",
    "https://api.hustle.com:99999/v3",
    "http://[127.0.0.1/v3",
    "http://127.0.0.1\\@evil.com/v3",
    "http://127.0.0.1\t.evil.com/v3",
    "http://evil.com\\.localhost/v3",
    "https://api.hustle.com/v3?key=1",
    "https://api.hustle.com/v3#part",
    "",
    " ",
]


@pytest.mark.parametrize("setting", ["api_url", "auth_url"])
@pytest.mark.parametrize("url", REFUSED_URLS)
def test_urls_that_would_tell_the_token_are_refused(
    hustle_errors: Callable[..., list[str]], setting: str, url: str
) -> None:
    (sentence,) = hustle_errors({**LOGIN, setting: url})
    assert sentence.startswith(f"{setting} is not valid")
    assert SECRET not in sentence


@pytest.mark.parametrize("setting", ["api_url", "auth_url"])
@pytest.mark.parametrize(
    "url",
    [
        "https://api.hustle.com/v3",
        "https://api.hustle.com/v3/",
        "https://proxy.example.org:8443/hustle/v3",
        "http://127.0.0.1:8080/v3",
        "http://127.9.9.9/v3",
        "http://localhost:1/v3",
        "http://LOCALHOST/v3",
        "http://[::1]:80/v3",
    ],
)
def test_urls_that_keep_the_token_are_accepted(hustle_errors: Callable[..., list[str]], setting: str, url: str) -> None:
    assert hustle_errors({**LOGIN, setting: url}) == []


def test_a_whole_number_may_be_written_as_any_other(
    tap: Tap, serve: Serve, settings: Settings, assert_complete: Callable[..., None]
) -> None:
    sandbox = serve()
    run = tap(config=settings(sandbox, page_size=9.0))
    assert run.code == 0
    assert_complete(run, sandbox)


@pytest.mark.parametrize("url", ["https://api.hustle.com/v3", "https://proxy.example.org/hustle"])
def test_no_more_requests_are_taken_than_the_vendor_allows(hustle_errors: Callable[..., list[str]], url: str) -> None:
    assert hustle_errors({**LOGIN, "api_url": url, "requests_per_second": 25}) == []
    (sentence,) = hustle_errors({**LOGIN, "api_url": url, "requests_per_second": 26})
    assert sentence == "requests_per_second is not valid: the vendor allows 25, and blocks who sends more."
    assert hustle_errors({**LOGIN, "api_url": "http://localhost:8080", "requests_per_second": 5000}) == []


def test_plain_http_is_refused_before_anything_is_sent(tap: Tap) -> None:
    assert_one_sentence(tap(config={**LOGIN, "api_url": "http://127.0.0.1.evil.com/v3"}), "api_url", "https")


@pytest.mark.parametrize("change", [{"client_secret": "wrong-" + SECRET}, {"client_id": "nobody@example.org"}])
def test_wrong_credentials_cost_one_token_request(
    tap: Tap, serve: Serve, settings: Settings, change: dict[str, str]
) -> None:
    sandbox = serve()
    run = tap(config=settings(sandbox, **change))
    assert_one_sentence(run, "credentials", "401")
    report = sandbox.report()
    assert (report.token_requests, report.requests) == (1, 1)


def test_many_wrong_runs_are_far_from_the_block(tap: Tap, serve: Serve, settings: Settings) -> None:
    sandbox = serve()
    for _ in range(8):
        tap(config=settings(sandbox, client_secret="wrong"))
    assert tap(config=settings(sandbox)).code == 0


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<html>welcome</html>",
        "null",
        "[]",
        "{}",
        '"hush-do-not-tell"',
        '{"access_token":null,"expires_in":7200}',
        '{"access_token":"","expires_in":7200}',
        '{"access_token":12,"expires_in":7200}',
        '{"access_token":"hush-do-not-tell\\r\\nX-Evil: 1","expires_in":7200}',
        '{"access_token":"hush-do-not-tell \\u00fc","expires_in":7200}',
        '{"error":"hush-do-not-tell"}',
    ],
)
def test_a_token_endpoint_that_answers_nonsense_is_asked_a_few_times(
    tap: Tap, raw_server: Callable[..., RawServer], answer: Callable[..., bytes], body: str
) -> None:
    server = raw_server(answer(200, body))
    run = tap(config={**LOGIN, "api_url": f"{server.url}/v3"}, leaps=True)
    assert_one_sentence(run, "/v3/oauth/token", "auth_url")
    assert server.paths() == ["/v3/oauth/token"] * SUSPICIOUS_TRIES


@pytest.mark.parametrize("expires_in", ["1e308", "0", "-1", "null", '"soon"', '"7200"', None])
def test_a_lifetime_beyond_measure_hurts_nobody(
    tap: Tap, raw_server: Callable[..., RawServer], answer: Callable[..., bytes], expires_in: str | None
) -> None:
    told = "" if expires_in is None else f',"expires_in":{expires_in}'

    def by(request: Any, _ordinal: int) -> bytes:
        token = f'{{"access_token":"t"{told}}}'
        return answer(200, token if request.method == "POST" else '{"items":[],"cursor":null,"hasMore":false}')

    server = raw_server(by=by)
    run = tap(config={**LOGIN, "api_url": f"{server.url}/v3"})
    assert run.code == 0, run.stderr
    assert server.paths().count("/v3/oauth/token") == 1


def test_html_from_the_token_endpoint(tap: Tap, serve: Serve, settings: Settings) -> None:
    sandbox = serve(Fault(kind="not_json", path="/oauth/token"))
    assert_one_sentence(tap(config=settings(sandbox), leaps=True), "auth_url")
    assert sandbox.report().token_requests == SUSPICIOUS_TRIES


def test_a_host_that_is_not_there(tap: Tap, closed_port: str) -> None:
    run = tap(config={**LOGIN, "api_url": f"{closed_port}/v3"}, leaps=True)
    assert_one_sentence(run, "no connection", "auth_url", "api_url")


def test_a_name_that_does_not_resolve(tap: Tap) -> None:
    run = tap(config={**LOGIN, "api_url": "https://no-such-host.invalid/v3"}, leaps=True)
    assert_one_sentence(run, "no connection", "auth_url", "api_url")


def test_the_wrong_path_of_the_right_host(tap: Tap, serve: Serve, settings: Settings) -> None:
    sandbox = serve()
    wrong = sandbox.hustle.api_url + "/wrong"
    assert_one_sentence(tap(config=settings(sandbox, api_url=wrong)), "404", "auth_url", "api_url")


def test_unknown_organizations_are_named(tap: Tap, serve: Serve, settings: Settings) -> None:
    sandbox = serve()
    known = sandbox.truth.ids["organizations"][0]
    run = tap(config=settings(sandbox, organization_ids=["zzz", known, "aaa"]))
    assert_one_sentence(run, "organization_ids", "aaa, zzz")
    assert known not in run.said("ERROR")[0]


# --test


def test_the_connection_test_approves(tap: Tap, serve: Serve, settings: Settings) -> None:
    sandbox = serve()
    run = tap("--test", config=settings(sandbox))
    assert run.code == 0
    assert run.stdout.decode().strip() == "tap-hustle: the credentials work, and organizations can be read."
    report = sandbox.report()
    assert (report.token_requests, report.requests) == (1, 2)


def test_the_connection_test_says_that_there_is_nothing(tap: Tap, serve: Serve, settings: Settings) -> None:
    sandbox = serve(organizations=0, leads=0)
    run = tap("--test", config=settings(sandbox))
    assert run.code == 0
    assert "no organization" in run.stdout.decode()


def test_the_connection_test_refuses(tap: Tap, serve: Serve, settings: Settings) -> None:
    sandbox = serve()
    assert_one_sentence(tap("--test", config=settings(sandbox, client_secret="wrong")), "credentials")
    assert sandbox.report().requests == 1


def test_the_connection_test_names_what_is_forbidden(tap: Tap, serve: Serve, settings: Settings) -> None:
    sandbox = serve(Fault(kind="status", status=403, path="/organizations"))
    assert_one_sentence(tap("--test", config=settings(sandbox)), "403", "/organizations")


@pytest.mark.parametrize("config", [{}, {**LOGIN, "page_size": 0}])
def test_the_connection_test_checks_the_settings_first(tap: Tap, config: dict[str, Any]) -> None:
    assert_one_sentence(tap("--test", config=config))


# The command line


@pytest.mark.parametrize("option", ["--config", "--state", "--catalog"])
@pytest.mark.parametrize(
    "content",
    [None, "", "null", "{", '{"a": hush-do-not-tell}', "[1, 2]", "\udcff", '{"a": NaN}', '{"a": ' + "[" * 99_999],
)
def test_a_file_that_is_none_of_ours_is_named(
    *, tap: Tap, standing: RunningSandbox, settings: Settings, tmp_path: Path, option: str, content: str | None
) -> None:
    path = tmp_path / "given.json"
    if content is not None:
        path.write_bytes(content.encode(errors="surrogateescape"))
    config = {} if option == "--config" else {"config": settings(standing)}
    run = tap(option, str(path), **config)
    assert run.code > 0
    assert run.of_type("RECORD") == []
    assert "Traceback" not in run.stderr
    assert SECRET not in run.stderr
    assert option.strip("-") in run.stderr.lower()
    assert "a defect" not in run.stderr


def test_files_may_begin_with_a_byte_order_mark(
    tap: Tap, standing: RunningSandbox, settings: Settings, tmp_path: Path, assert_complete: Callable[..., None]
) -> None:
    config = settings(standing)
    given: dict[str, Any] = {"--config": config, "--state": {"bookmarks": {}}}
    given["--catalog"] = json.loads(tap("--discover", config=config).stdout)
    for option, content in given.items():
        (tmp_path / option).write_text(json.dumps(content), encoding="utf-8-sig")
    run = tap(*(word for option in given for word in (option, str(tmp_path / option))))
    assert run.code == 0
    assert_complete(run, standing)


@pytest.mark.parametrize("option", ["--state", "--catalog"])
def test_half_a_character_is_no_json(
    *, tap: Tap, standing: RunningSandbox, settings: Settings, tmp_path: Path, option: str
) -> None:
    path = tmp_path / "given.json"
    path.write_text('{"bookmarks": {"leads": {"\\ud800": 1}}}')
    assert_one_sentence(tap(option, str(path), config=settings(standing)), option, "JSON")


@pytest.mark.parametrize(
    "maps",
    [
        {"leads": {"name": "record["}},
        {"leads": {"id": None}},
        {"leads": {"__key_properties__": ["nobody"]}},
        {"leads": {"__filter__": "record["}},
        {"leads": {"name": ""}},
        {"leads": {"name": f"md5('{SECRET} + name)"}},
        {"leads": {"name": "'\0'"}},
        {"leads": {"name": "(" * 5000}},
        {"leads": {"__alias__": "9**9**9"}},
        {"leads": {"__else__": "x"}},
        *({"leads": {option: name}} for option in ("__alias__", "__source__") for name in (None, "")),
        {"__else__": "x"},
    ],
)
def test_stream_maps_that_cannot_work(tap: Tap, maps: dict[str, Any]) -> None:
    assert_one_sentence(tap(config={**LOGIN, "api_url": NOWHERE, "stream_maps": maps}), "stream_maps is not valid")


def test_a_stream_map_of_no_stream_is_named(
    tap: Tap, serve: Serve, standing: RunningSandbox, settings: Settings
) -> None:
    sandbox = serve()
    run = tap(config=settings(sandbox, stream_maps={"lead": {"email": None}, "__else__": None}))
    assert_one_sentence(run, "stream_maps names lead, which is no stream")
    assert sandbox.report().requests == 0
    maps = {
        "people": {
            "__source__": "leads",
            "email": None,
            "more": "'x'",
            "__filter__": "1",
            "__key_properties__": ["id"],
        },
        "*s": {"email": "__NULL__", "timezone": None},
        "__else__": "__NULL__",
    }
    assert tap(config=settings(standing, stream_maps=maps)).code == 0


@pytest.mark.parametrize(
    ("maps", "words"),
    [
        ({"people": {"__source__": "lead"}}, ["names lead"]),
        ({"leads": {"emial": None}}, ["leads", "emial"]),
        ({"leads": {"emial": "__NULL__"}}, ["leads", "emial"]),
        ({"*": {"emial": None}}, ["emial"]),
        ({"people": {"__source__": "leads", "emial": None}}, ["people", "emial"]),
        ({"groups": {"location__lat": None}, "leads": None}, ["groups", "location__lat"]),
        ({"leads": {"__filer__": "email"}}, ["leads", "__filer__"]),
    ],
)
def test_a_stream_map_that_leaves_out_what_there_is_not_is_refused(
    tap: Tap, serve: Serve, settings: Settings, maps: dict[str, Any], words: list[str]
) -> None:
    sandbox = serve()
    assert_one_sentence(tap(config=settings(sandbox, stream_maps=maps)), "stream_maps", *words)
    assert sandbox.report().requests == 0


def test_a_setting_that_there_is_not_is_told_of(tap: Tap, standing: RunningSandbox, settings: Settings) -> None:
    unknown = {"page_sise": 5, "fill": "hush-do-not-tell", "_comment": "mine"}
    run = tap(config=settings(standing, **unknown, flattening_enabled=False, stream_map_config={}))
    assert run.code == 0
    assert run.said("WARNING") == [
        "fill is no setting and does nothing.",
        "page_sise is no setting and does nothing: is page_size meant?",
    ]
    env = {f"TAP_HUSTLE_{name.upper()}": str(value) for name, value in settings(standing).items()}
    env |= {"TAP_HUSTLE_PAGE_SISE": "5", "TAP_HUSTLE_LOGLEVEL": "info", "TAP_HUSTLE__SELECT": "[]"}
    run = tap("--config=ENV", env=env)
    assert run.code == 0
    assert run.said("WARNING") == ["page_sise is no setting and does nothing: is page_size meant?"]


@pytest.mark.parametrize("state", [{"bookmarks": "x"}, {"type": "STATE", "value": {"bookmarks": {}}}])
def test_a_state_without_bookmarks_is_told_of(
    *, tap: Tap, standing: RunningSandbox, settings: Settings, state: dict[str, Any]
) -> None:
    run = tap(config=settings(standing), state=state)
    assert run.code == 0
    assert any("no bookmarks" in said for said in run.said("WARNING"))


def test_settings_come_from_the_environment_too(
    tap: Tap, standing: RunningSandbox, settings: Settings, assert_complete: Callable[..., None]
) -> None:
    env = {f"TAP_HUSTLE_{name.upper()}": str(value) for name, value in settings(standing).items()}
    run = tap("--config=ENV", env=env)
    assert run.code == 0
    assert_complete(run, standing)


@pytest.mark.parametrize("variable", ["LOGLEVEL", "TAP_HUSTLE_LOGLEVEL"])
def test_a_log_level_that_there_is_not_is_named(tap: Tap, variable: str) -> None:
    run = tap(config={**LOGIN, "api_url": NOWHERE}, env={variable: "loud"})
    assert (run.code, run.stdout) == (1, b"")
    assert run.stderr == f"{variable} (environment) is not valid: use DEBUG, INFO, WARNING or ERROR.\n"


def test_an_environment_without_settings_is_said(tap: Tap) -> None:
    assert_one_sentence(tap("--config=ENV"), "client_id", "client_secret")


def test_the_real_command_says_the_same(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({**LOGIN, "page_size": 1001}))
    done = subprocess.run(
        [sys.executable, "-m", "tap_hustle", "--config", str(config)],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
    )
    assert done.returncode == 1
    assert done.stdout == ""
    (error,) = [line for line in done.stderr.splitlines() if "| ERROR" in line]
    assert "page_size is not valid" in error
    assert "Traceback" not in done.stderr
    assert SECRET not in done.stderr
