"""Running the target in a test, and looking at what it posted."""

import contextlib
import io
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import requests
from api_sandbox import ChannelPlan, PostTruth, RunningSandbox
from click.testing import CliRunner
from singer_sdk.exceptions import ConfigValidationError
from target_harkster.cli import harkster
from target_harkster.ledger.store import Ledger
from target_harkster.target import TargetHarkster
from target_harkster.vendor.posts import is_marker

from tests.harkster.killed_runs import FastClock

Message = dict[str, Any]
CHANNEL = "Acme Inc./Projects/Weekly Hours"
_numbers = itertools.count()


@dataclass(slots=True)
class Ran:
    """What a run left behind."""

    states: list[Any]
    error: BaseException | None

    @property
    def told(self) -> str:
        """What the error says."""
        return "\n".join(self.error.errors) if isinstance(self.error, ConfigValidationError) else str(self.error)


@dataclass(slots=True)
class Target:
    """A target with its settings, to be run as often as wanted."""

    sandbox: RunningSandbox
    channel: str
    config: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def into_new_channel(cls, sandbox: RunningSandbox, folder: Path, **plan: Any) -> "Target":
        """A target that posts to a channel that nobody else uses."""
        name = f"Channel {next(_numbers)}"
        channel = sandbox.harkster.add_channel("Acme Inc./Projects", ChannelPlan(name=name, **plan))
        return cls.into(channel, sandbox, folder)

    @classmethod
    def into(cls, channel: str, sandbox: RunningSandbox, folder: Path, **settings: Any) -> "Target":
        """A target that posts to a channel, and keeps its files in a folder."""
        config = {
            "access_token": sandbox.harkster.access_token,
            "api_url": sandbox.harkster.api_url,
            "channel": channel,
            "ledger_url": f"sqlite:///{folder}/ledger.db",
            "reject_path": f"{folder}/rejects.jsonl",
            "requests_per_second": 1000,
            "max_reject_share": 1,
            **settings,
        }
        return cls(sandbox, channel, config)

    def make(self, **settings: Any) -> TargetHarkster:
        return TargetHarkster(config={**self.config, **settings}, clock=FastClock())

    def run(self, messages: Iterable[Message | bytes], **settings: Any) -> Ran:
        """Run the target on messages."""
        out = io.StringIO()
        error: BaseException | None = None
        with contextlib.redirect_stdout(out):
            try:
                self.make(**settings).listen(as_input(messages))  # type: ignore[arg-type]
            except (Exception, SystemExit) as raised:  # noqa: BLE001 - the test says which one it wants
                error = raised
        return Ran([json.loads(line) for line in out.getvalue().splitlines()], error)

    def ran(self, messages: Iterable[Message | bytes], **settings: Any) -> list[Any]:
        """Run the target on messages, which must work, and give its STATEs."""
        outcome = self.run(messages, **settings)
        if outcome.error is not None:
            raise outcome.error
        return outcome.states

    def posts(self) -> list[PostTruth]:
        """The posts that are there, in the order of their creation."""
        return [post for post in self.sandbox.harkster.posts(self.channel) if post.status != "deleted"]

    def delete(self, post: PostTruth) -> None:
        """Delete a post as people do, beside the target."""
        api = self.sandbox.harkster
        requests.delete(
            f"{api.api_url}/channels/{self.channel}/posts/{post.id}",
            json={"recallMessage": False},
            headers={"Authorization": f"Bearer {api.access_token}"},
            timeout=60,
        ).raise_for_status()

    def fields(self) -> list[list[dict[str, Any]]]:
        """The fields of the published posts, without the marker."""
        return [plain(post) for post in self.posts() if post.status == "published"]

    def rejects(self) -> list[dict[str, Any]]:
        path = Path(self.config["reject_path"])
        return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def pairwise(*choices: Sequence[Any]) -> list[tuple[Any, ...]]:
    """The first cases in which each two choices meet; cases of all with all would be several times as many."""
    cases = list(itertools.product(*(range(len(each)) for each in choices)))
    met = {case: set(itertools.combinations(enumerate(case), 2)) for case in cases}
    left = set().union(*met.values())
    chosen: list[tuple[Any, ...]] = []
    while left:
        case = max(cases, key=lambda one: len(met[one] & left))
        left -= met[case]
        chosen.append(tuple(each[at] for each, at in zip(choices, case, strict=True)))
    return chosen


class Command:
    """The command ``harkster`` with the settings of a target."""

    def __init__(self, target: Target, folder: Path) -> None:
        self._config = folder / "config.json"
        self.configure(target.config)

    def configure(self, config: dict[str, Any]) -> None:
        self._config.write_text(json.dumps(config))

    def __call__(self, *words: str, given: io.BytesIO | None = None) -> str:
        done = CliRunner().invoke(harkster, ["--config", str(self._config), *words], input=given)
        assert done.exit_code == 0, done.output
        return done.stdout

    def failed(self, *words: str, given: Iterable[Message] = ()) -> str:
        done = CliRunner().invoke(harkster, ["--config", str(self._config), *words], input=as_input(given))
        assert done.exit_code == 1
        return done.output


def plain(post: PostTruth) -> list[dict[str, Any]]:
    """The fields of a post without the marker."""
    return [each for each in post.dataset if not is_marker(each["id"])]


def data(post: PostTruth) -> dict[str, Any]:
    """The data of a post by the ids of its fields."""
    return {each["id"]: each.get("data") for each in plain(post)}


def as_input(messages: Iterable[Message | bytes]) -> io.BytesIO:
    lines = (message if isinstance(message, bytes) else json.dumps(message).encode() for message in messages)
    return io.BytesIO(b"".join(line + b"\n" for line in lines))


def schema(
    properties: Mapping[str, Any] | None = None, key: Sequence[str] = ("id",), stream: str = "hours", **more: Any
) -> Message:
    properties = properties or {"id": {"type": "integer"}, "name": {"type": ["string", "null"]}}
    return {
        "type": "SCHEMA",
        "stream": stream,
        "key_properties": list(key),
        "schema": {"type": "object", "properties": dict(properties), **more},
    }


def record(stream: str = "hours", version: int | None = None, **values: Any) -> Message:
    message = {"type": "RECORD", "stream": stream, "record": values}
    return message if version is None else {**message, "version": version}


def state(value: Any) -> Message:
    return {"type": "STATE", "value": value}


@contextlib.contextmanager
def earlier_version() -> Iterator[None]:
    """Keep text and numbers apart, as earlier versions did in keys, and so in the markers of posts."""
    with (
        mock.patch("target_harkster.ledger.keys._NUMBER", re.compile(r"(?!)")),
        mock.patch("target_harkster.ledger.digests.spellings", lambda key: [key]),
        mock.patch("target_harkster.ledger.rejects.spellings", lambda key: [key]),
        mock.patch.object(Ledger, "old_markers", return_value=set()),
    ):
        yield
