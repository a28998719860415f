"""The examples in the documents are good: Python runs, JSON and YAML can be read, and STATE is taken as it stands."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml
from tap_hubstaff.all_streams import STREAMS
from tap_hubstaff.tap import TapHubstaff

from docs.picture import PICTURE, picture
from tests.documents.blocks import DOCUMENTS, ROOT, Block, blocks

LANGUAGES = {"", "sh", "json", "yaml", "python", "sql", "mermaid"}


def in_documents(language: str) -> list[Block]:
    return [block for document in DOCUMENTS for block in blocks(document, language)]


def each_block(language: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("block", in_documents(language), ids=lambda block: block.place)


def test_nothing_is_left_untried() -> None:
    assert {block.language for document in DOCUMENTS for block in blocks(document)} <= LANGUAGES


@each_block("json")
def test_json_can_be_read(block: Block) -> None:
    assert isinstance(json.loads(block.text), dict)


@each_block("yaml")
def test_yaml_can_be_read(block: Block) -> None:
    assert isinstance(yaml.safe_load(block.text), dict)


def read_everything(api_url: str, client_id: str, client_secret: str) -> None:
    """Read all of Hustle, as the sandbox's documentation would have a test do."""
    settings = {"API_URL": api_url, "CLIENT_ID": client_id, "CLIENT_SECRET": client_secret}
    run("tap-hustle", **{f"TAP_HUSTLE_{name}": value for name, value in settings.items()})


def run_the_tap(api_url: str, organization_token: str) -> None:
    """Read the activities of Hubstaff."""
    catalog = TapHubstaff(config={}, validate_config=False).catalog
    for name, stream in catalog.items():
        stream.metadata.root.selected = name == "activities"
    Path("catalog.json").write_text(json.dumps(catalog.to_dict()))
    settings = {"API_URL": api_url, "ACCESS_TOKEN": organization_token}
    run("tap-hubstaff", "--catalog=catalog.json", **{f"TAP_HUBSTAFF_{name}": value for name, value in settings.items()})


def run(program: str, *options: str, given: str = "", **variables: str) -> None:
    command = [program, "--config=ENV", *options]
    environment = {"PATH": os.environ["PATH"], "HOME": str(Path.cwd()), **variables}
    done = subprocess.run(command, env=environment, input=given, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def post_everything(api_url: str, access_token: str, channel: str) -> None:
    """Post a row."""
    schema = {"type": "object", "properties": {"id": {"type": "integer"}}}
    messages = [
        {"type": "SCHEMA", "stream": "hours", "key_properties": ["id"], "schema": schema},
        {"type": "RECORD", "stream": "hours", "record": {"id": 1}},
    ]
    settings = {"API_URL": api_url, "ACCESS_TOKEN": access_token, "CHANNEL": channel}
    lines = "".join(f"{json.dumps(message)}\n" for message in messages)
    run("target-harkster", given=lines, **{f"TARGET_HARKSTER_{name}": value for name, value in settings.items()})


@pytest.mark.parametrize("block", blocks(ROOT / "sandbox" / "README.md", "python"), ids=lambda block: block.place)
def test_python_runs(block: Block, programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    exec(  # noqa: S102
        compile(block.text, block.place, "exec"),
        {"read_everything": read_everything, "run_the_tap": run_the_tap, "post_everything": post_everything},
    )


def test_the_picture_shows_the_posts_as_they_are() -> None:
    assert PICTURE.read_text(encoding="utf-8") == picture(), "run `make picture`"


@pytest.mark.parametrize("document", ["README.md", "tap-hubstaff/README.md", "docs/scale.md"])
def test_the_number_of_streams_is_true(document: str) -> None:
    assert f" {len(STREAMS)} streams" in (ROOT / document).read_text()
