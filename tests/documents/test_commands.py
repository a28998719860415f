"""Every command in the documents works, and what the documents say it prints is what it prints."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from api_sandbox import (
    AccountPlan,
    ChannelPlan,
    HarksterScenario,
    HubstaffScenario,
    HustleScenario,
    RunningSandbox,
    Scenario,
    WorkspacePlan,
    serve_in_thread,
)

from tests.documents.blocks import DOCUMENTS, ROOT, blocks
from tests.documents.shell import Shell, printed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from demo.postgres import Postgres

ACCOUNTS = (
    AccountPlan(
        name="Acme Inc.",
        workspaces=(WorkspacePlan(name="Projects", channels=(ChannelPlan(name="Hours"), ChannelPlan(name="Status"))),),
    ),
    AccountPlan(
        name="Computer Club",
        workspaces=(WorkspacePlan(name="Events", channels=(ChannelPlan(name="Announcements"),)),),
    ),
)
CHANNEL = "Acme Inc./Projects/Hours"
OF_SANDBOX = ("hustle", "hubstaff", "harkster")
HOURS = (("Ann", 38, "on time"), ("Bert", 30.5, "late"), ("Carla", 0, "ill"))


@pytest.fixture
def sandbox() -> Iterator[RunningSandbox]:
    """The accounts that the documents tell of."""
    scenario = Scenario(
        hustle=HustleScenario(leads=60, requests_per_second=None),
        hubstaff=HubstaffScenario(
            organizations=1, shared_members=0, history_days=20, requests_per_hour=None, exchanges_per_hour=None
        ),
        harkster=HarksterScenario(accounts=ACCOUNTS, requests_per_second=None),
    )
    with serve_in_thread(scenario) as running:
        yield running


@pytest.fixture
def shell(sandbox: RunningSandbox, programs: Path, tmp_path: Path) -> Callable[..., Shell]:
    """A shell whose programs talk to the sandbox."""

    def opened(**more: str) -> Shell:
        hustle, hubstaff, harkster = sandbox.hustle, sandbox.hubstaff, sandbox.harkster
        variables = {
            "TAP_HUSTLE_API_URL": hustle.api_url,
            "TAP_HUSTLE_AUTH_URL": hustle.auth_url,
            "TAP_HUSTLE_CLIENT_ID": hustle.client_id,
            "TAP_HUSTLE_CLIENT_SECRET": hustle.client_secret,
            "TAP_HUBSTAFF_API_URL": hubstaff.api_url,
            "TAP_HUBSTAFF_AUTH_URL": hubstaff.auth_url,
            "TAP_HUBSTAFF_TOKEN_PATH": str(tmp_path / "tokens"),
            "TAP_HUBSTAFF_PERSONAL_ACCESS_TOKEN": hubstaff.current_refresh_token(),
            "TARGET_HARKSTER_API_URL": harkster.api_url,
            "TARGET_HARKSTER_ACCESS_TOKEN": harkster.access_token,
            "TARGET_HARKSTER_CHANNEL": CHANNEL,
        }
        (tmp_path / "messages.jsonl").write_text("".join(f"{json.dumps(message)}\n" for message in messages()))
        return Shell(tmp_path, variables | more, programs)

    return opened


def messages() -> Iterator[dict[str, Any]]:
    """What any tap may write."""
    text, number = {"type": ["string", "null"]}, {"type": "number"}
    properties = {"id": {"type": "integer"}, "name": text, "week": text, "hours": number, "state": text}
    schema = {"type": "object", "properties": properties}
    yield {"type": "SCHEMA", "stream": "hours", "key_properties": ["id"], "schema": schema}
    for key, (name, hours, state) in enumerate(HOURS, 1):
        row = {"id": key, "name": name, "week": "2026-03-16", "hours": hours, "state": state}
        yield {"type": "RECORD", "stream": "hours", "record": row}
    yield {"type": "STATE", "value": {}}


def test_every_document_with_commands_is_tried_here() -> None:
    with_commands = {document.relative_to(ROOT).as_posix() for document in DOCUMENTS if blocks(document, "sh")}
    assert with_commands == {
        "README.md",
        "tap-hustle/README.md",
        "tap-hubstaff/README.md",
        "target-harkster/README.md",
        "sandbox/README.md",
        "docs/operations.md",
        "docs/scale.md",
    }


def samples(document: Path) -> set[str]:
    """The lines that a document says its commands print."""
    return {line for block in blocks(document, "") for line in printed(block.text)}


def test_readme(shell: Callable[..., Shell], sandbox: RunningSandbox, tmp_path: Path, postgres: Postgres) -> None:
    document = ROOT / "README.md"
    output = shell(TARGET_POSTGRES_SQLALCHEMY_URL=postgres.sqlalchemy_url).run(document)
    assert "the credentials work" in output
    assert postgres.count("tap_hustle", "leads").rows == len(sandbox.truth.ids["leads"])
    assert any(post.name and post.name.startswith("Hours of") for post in sandbox.harkster.posts(CHANNEL))
    state = json.loads((tmp_path / "state.json").read_text())
    assert state["bookmarks"].keys() == {*catalog(tmp_path)}


def catalog(folder: Path) -> set[str]:
    """The streams that were discovered."""
    found = json.loads((folder / "catalog.json").read_text())
    return {stream["tap_stream_id"] for stream in found["streams"]}


def test_tap_hustle(shell: Callable[..., Shell], tmp_path: Path) -> None:
    document = ROOT / "tap-hustle" / "README.md"
    output = shell().run(document)
    assert "the credentials work" in output
    assert "leads" in output
    assert (tmp_path / "installed.txt").read_text() == "tap-hustle\n"


def test_tap_hubstaff(shell: Callable[..., Shell], tmp_path: Path) -> None:
    document = ROOT / "tap-hubstaff" / "README.md"
    (tmp_path / "state.json").write_text("{}")
    output = shell().run(document)
    assert "the credentials work" in output
    assert "time_sessions" in output
    tokens = tmp_path / "tokens"
    assert [said_mode("token folder of `tap-hubstaff`"), said_mode("`….json`")] == [
        mode(tokens),
        mode(next(tokens.glob("*.json"))),
    ]
    assert said_mode("`….requests`") == mode(next(tokens.glob("*.requests")))


def mode(path: Path) -> str:
    """Who may do what with a file."""
    return f"{path.stat().st_mode & 0o777:04o}"


def said_mode(file: str) -> str:
    """What docs/security.md says of it."""
    lines = (ROOT / "docs" / "security.md").read_text().splitlines()
    return next(line for line in lines if line.startswith(f"| {file} |")).split("|")[3].strip()


def test_target_harkster(shell: Callable[..., Shell], sandbox: RunningSandbox, tmp_path: Path) -> None:
    document = ROOT / "target-harkster" / "README.md"
    (tmp_path / "layout.json").write_text(blocks(document, "json")[0].text)
    output = shell().run(document)
    posts = [post.name for post in sandbox.harkster.posts(CHANNEL) if post.status == "published"]
    assert {"Hours of Ann", "Hours of Bert"} <= set(posts)
    assert "There is nothing to post" in (tmp_path / "preview.html").read_text()
    assert samples(document) - printed(output) == set()
    files = {"ledger of `target-harkster`": ".db", "reject file": ".rejects.jsonl"}
    assert {file: said_mode(file) for file in files} == {
        file: mode(tmp_path / f"target-harkster{suffix}") for file, suffix in files.items()
    }
    assert said_mode("preview") == mode(tmp_path / "preview.html")


def test_operations(shell: Callable[..., Shell], tmp_path: Path) -> None:
    output = shell().run(ROOT / "docs" / "operations.md", has_accounts=True)
    assert json.loads((tmp_path / "state.json").read_text())["bookmarks"]
    assert "tap-hubstaff: the credentials work" in output
    assert len([*(tmp_path / "data" / "tokens").glob("*.json")]) == 1


def test_scale(shell: Callable[..., Shell], sandbox: RunningSandbox, tmp_path: Path) -> None:
    (tmp_path / "meltano").mkdir()  # for the reports
    shell().run(ROOT / "docs" / "scale.md", has_accounts=True)
    states = [json.loads((tmp_path / f"all.json.{number}-of-3").read_text())["bookmarks"] for number in (1, 2, 3)]
    kept = [one["context"]["organizationId"] for state in states for one in state["leads"]["partitions"]]
    assert sorted(kept) == sorted(sandbox.truth.ids["organizations"])


def test_sandbox(shell: Callable[..., Shell], tmp_path: Path) -> None:
    document = ROOT / "sandbox" / "README.md"
    (tmp_path / "scenario.yml").write_text(blocks(document, "yaml")[0].text)
    (announced,) = re.findall(r"^\{.*\}$", shell().run(document), re.MULTILINE)
    told = next(json.loads(block.text) for block in blocks(document, "json"))
    assert {api: told[api].keys() for api in OF_SANDBOX} == {
        api: json.loads(announced)[api].keys() for api in OF_SANDBOX
    }
