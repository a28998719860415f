"""The command ``harkster``: what people ask about channels, quotas, layouts and what was posted."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import io
import json
import logging
import sys
from collections import Counter
from dataclasses import asdict
from typing import IO, TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree
from singer_http.checked_settings import ENVIRONMENT, config_input
from singer_http.http.errors import ApiError, ConfigurationError
from singer_http.operator_errors import exit_on_operator_error
from singer_sdk.exceptions import ConfigValidationError

from target_harkster.layout.inference import inferred_fields
from target_harkster.ledger.phases import Phase
from target_harkster.messages import BAD_INPUT, MessageReader, check_shape
from target_harkster.report.diff import print_diff
from target_harkster.report.plan import print_plan
from target_harkster.report.summary import WORDS
from target_harkster.target import TargetHarkster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from target_harkster.ledger.rejects import Reject
    from target_harkster.ledger.store import Entry
    from target_harkster.vendor.client import Channel

_WIDE = 400
"""Columns of output that goes into a pipe, so that nothing is cut short."""
_out = Console(soft_wrap=True, highlight=False, markup=False, width=None if sys.stdout.isatty() else _WIDE)
_NO_POSTS: dict[str, Any] = {"streams": {}, "preview_path": None}
"""What commands that make no posts do without: so a layout may be wrong for as long as it is being written."""
_HELD, _REJECTED = "held", "rejected"
"""Phases that only this command shows: drafts for people to publish, and rejects."""
_WAITING = ("now draft", "now deferred", "kept", "replace")
"""How a run counts rows whose posts are not published yet."""
_NOT_POSTED = ("unchanged", "leave", "superseded", "baseline", "now removed")
"""How a run counts rows of which it posts nothing."""
_input = click.option("--input", "source", type=click.File("rb"), default="-", help="Messages of a tap.")
_own_channel = click.option("--channel", help="Id or Account/Workspace/Channel; the setting channel without.")


@click.group()
@click.option("--config", "config_files", multiple=True, type=click.Path(), help="Settings; may be given again.")
@click.version_option(package_name="target-harkster")
@click.pass_context
def harkster(ctx: click.Context, config_files: tuple[str, ...]) -> None:
    """Look at Harkster, and at what target-harkster has posted there.

    Without --config, or with --config=ENV, the settings are taken from the environment, as
    TARGET_HARKSTER_ACCESS_TOKEN.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    ctx.obj = config_files


def _command(**settings: Any) -> Callable[[Callable[..., None]], click.Command]:
    """Make a command of a function that takes a target with these settings. Errors are shown as one sentence."""

    def made(run: Callable[..., None]) -> click.Command:
        def command(ctx: click.Context, **options: Any) -> None:
            with exit_on_operator_error(logging.getLogger("harkster")):
                try:
                    with _opened(ctx.obj, settings) as target:
                        run(target, **options)
                except ConfigValidationError as error:
                    raise click.ClickException("\n".join(error.errors)) from None
                except (ApiError, *BAD_INPUT) as error:
                    raise click.ClickException(str(error)) from None

        functools.update_wrapper(command, run)
        return harkster.command()(click.pass_context(command))

    return made


@contextlib.contextmanager
def _opened(config_files: Sequence[str], settings: Mapping[str, Any]) -> Iterator[TargetHarkster]:
    given = config_input(config_files or [ENVIRONMENT])
    environment = TargetHarkster._env_var_config if given.parse_env else {}  # noqa: SLF001 - the SDK lets it win
    target = TargetHarkster(config={**given.config, **environment, **settings})
    with contextlib.closing(target.run):
        yield target


_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str | None = None) -> None:
    """Print a table that cuts nothing short: ids are there to be copied."""
    table = Table(title=title)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row))
    _out.print(table)


def _find_channel(target: TargetHarkster, wanted: str | None) -> Channel:
    if wanted is None and target.config.get("channel") is None:
        raise ConfigurationError("Name a channel with --channel, or set channel.")
    return target.run.channels.find(wanted or target.config["channel"], "--channel" if wanted else "channel")


def _moment(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return dt.datetime.fromtimestamp(seconds, dt.timezone.utc).isoformat(timespec="seconds")


@_command(dry_run=True, **_NO_POSTS)
@_as_json
def channels(target: TargetHarkster, *, as_json: bool) -> None:
    """Show channels and their ids, by account and workspace."""
    found = target.run.api.channels()
    if as_json:
        _print_json([asdict(channel) for channel in found])
        return
    branches: dict[tuple[str, ...], Tree] = {(): Tree("Harkster")}
    for channel in found:
        account, workspace, name = channel.names
        for at in ((account,), (account, workspace)):
            if at not in branches:
                branches[at] = branches[at[:-1]].add(at[-1])
        branches[account, workspace].add(Text.assemble(name, "  ", (channel.id, "dim")))
    _out.print(branches[()])


@_command(dry_run=True, **_NO_POSTS)
@_as_json
def usage(target: TargetHarkster, *, as_json: bool) -> None:
    """Show what is left of each account's quota."""
    names = {channel.account_id: channel.names[0] for channel in target.run.api.channels()}
    usages = {account: target.run.api.usage(account) for account in names}
    if as_json:
        _print_json({account: asdict(used) | {"name": names[account]} for account, used in usages.items()})
        return
    rows = [(names[account], used.quota, used.usage, used.quota - used.usage) for account, used in usages.items()]
    _print_table(("account", "quota", "used", "left"), rows)


@_command(dry_run=True, **_NO_POSTS)
@_own_channel
@_as_json
def templates(target: TargetHarkster, channel: str | None, *, as_json: bool) -> None:
    """Show a channel's templates and their fields."""
    api, at = target.run.api, _find_channel(target, channel).id
    found: list[Any] = [{"id": one, "name": name, "fields": api.template(at, one)} for one, name in api.templates(at)]
    if as_json:
        _print_json(found)
    elif not found:
        click.echo("The channel has no templates.")
    else:
        for one in found:
            columns = ("id", "type", "label")
            rows = [[field.get(column) for column in columns] for field in one["fields"]]
            _print_table(columns, rows, f"{one['name']} ({one['id']})")


@harkster.command()
@_input
def layout(source: IO[bytes]) -> None:
    """Print inferred layouts, as settings to start from.

    They are those that rows get without any settings, made of the SCHEMA messages of the input.
    """
    streams: dict[str, Any] = {}

    def note(message: dict[str, Any]) -> None:
        MessageReader.assert_line_requires(message, {"stream", "schema"})
        check_shape(message)
        check_shape({"properties": message["schema"].get("properties", {})})
        key = {"key": message["key_properties"]} if message.get("key_properties") else {}
        streams[message["stream"]] = {"mode": "append", **key, "fields": inferred_fields(message["schema"])}

    ignored = dict.fromkeys(("RECORD", "STATE", "ACTIVATE_VERSION", "BATCH"), lambda _: None)
    try:
        MessageReader().process_lines(source, {"SCHEMA": note, **ignored})
    except BAD_INPUT as error:
        raise click.ClickException(str(error)) from None
    _print_json({"streams": streams})


@_command(dry_run=True)
@_input
@_as_json
@click.option("--diff", "with_diff", is_flag=True, help="Show by post and field what would change.")
def plan(target: TargetHarkster, source: IO[bytes], *, as_json: bool, with_diff: bool) -> None:
    """Show what a tap's messages would do."""
    run = target.run
    run.prints_plan = False
    failure: Exception | None = None
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            target.listen(source)  # type: ignore[arg-type]
    except (ApiError, *BAD_INPUT) as error:
        failure = error  # raised after the plan was shown, as the run does what is before it
    planned = run.plan
    if planned is not None and (planned.streams or failure is None):
        if as_json:
            after = {name: asdict(used) for name, used in planned.quotas.items()}
            changes = {"changes": [asdict(change) for change in planned.changes]} if with_diff else {}
            _print_json({"streams": planned.streams, "quota_after": after, **changes})
        else:
            print_plan(planned, _out)
            if with_diff:
                print_diff(planned.changes, {at: one.path for at, one in run.channels.opened.items()}, _out)
    if failure is not None:
        raise failure


@_command()
@_as_json
def retry(target: TargetHarkster, *, as_json: bool) -> None:
    """Try rejected rows again.

    Rows that reject_redact applies to are not kept whole: they are posted when their tap sends them again.
    """
    reject_retries = target.run.reject_retries
    rejected = len(reject_retries.left())
    target.retry()
    left = reject_retries.left()
    tally = target.run.tally
    waiting = sum(counts[name] for counts in tally.values() for name in _WAITING)
    others: Counter[str] = Counter()
    for stream, counts in tally.items():
        # What is counted of digests is groups and not rows.
        is_digest = "group_by" in target.config["streams"].get(stream, {})
        others.update({name: counts[name] for name in (("open",) if is_digest else _NOT_POSTED) if counts[name]})
    posted = rejected - len(left) - sum(others[name] for name in _NOT_POSTED)
    if as_json:
        still = [{"stream": one.stream, "key": one.key, "reason": reason} for one, reason in left]
        told = {"rejected": rejected, "posted": posted, "waiting": waiting, "not_posted": dict(others), "left": still}
        _print_json(told)
        return
    if not rejected:
        click.echo("There are no rejected rows.")
        return
    wait = f", of which {waiting} wait as drafts, for the quota or for their channel" if waiting else ""
    click.echo(f"{posted} of {rejected} rejected rows were posted{wait}.")
    if others:
        words = ", ".join(f"{number} {WORDS[name]}" for name, number in others.items())
        click.echo(f"No longer rejected, and not posted: {words}.")
    for one, reason in left:
        click.echo(f"{one.stream} {one.key or 'without a key'}: {reason}.")


@_command(**_NO_POSTS)
@_own_channel
def adopt(target: TargetHarkster, channel: str | None) -> None:
    """Bring an older copy of the ledger up to date with a channel.

    The posts of the streams that the ledger knows are entered as they are there, so that they are not made again.
    Posts that waited in the ledger and are not there are dropped. Second drafts of a row are deleted.
    """
    found = _find_channel(target, channel)
    target.run.ledger.lock(found.id)
    click.echo(f"{target.run.adoption.adopt(found)} posts were entered into the ledger.")
    if not target.run.ledger.streams(found.id):
        click.echo("It knows no stream of this channel: the next run enters the posts of the streams that come.")


@_command(dry_run=True, **_NO_POSTS)
@_as_json
def runs(target: TargetHarkster, *, as_json: bool) -> None:
    """Show the runs, newest first, and how each ended.

    Asks the ledger and not the API.
    """
    rows = target.run.ledger.history.runs()
    for row in rows:
        row |= {"started_at": _moment(row["started_at"]), "ended_at": _moment(row["ended_at"])}
    if as_json:
        _print_json(rows)
        return
    columns = ("started", "ended", "rows", "posted", "updated", "deleted", "rejected", "quota", "how it ended")
    _print_table(columns, [[*(row | {"ended": row["ended"] or "goes on, or was cut off"}).values()] for row in rows])


@_command(dry_run=True, **_NO_POSTS)
@click.option("--channel", help="Id or Account/Workspace/Channel; all channels without.")
@click.option(
    "--phase",
    type=click.Choice([*(phase.value for phase in Phase), _HELD, _REJECTED]),
    help="Posts in this phase only.",
)
@_as_json
def ledger(target: TargetHarkster, channel: str | None, phase: str | None, *, as_json: bool) -> None:
    """Show what was posted, where and when, and what was rejected and why.

    Asks the ledger and not the API, but for the name of a channel.
    """
    run = target.run
    if channel is not None and not run.ledger.streams(channel):
        channel = _find_channel(target, channel).id
    columns = ("stream", "key", "channel", "phase", "post_id", "changed_at", "reason")
    shown: list[tuple[Entry | Reject, str, str | None, str | None]] = [
        (one, _HELD if one.held and one.phase is Phase.DRAFT else one.phase.value, one.post_id, None)
        for one in run.ledger.entries(channel)
    ]
    shown += [(one, _REJECTED, None, one.sentence) for one in run.rejects.stored(channel)]
    rows = [
        (one.stream, one.key, one.channel, its_phase, post_id, _moment(one.changed_at), reason)
        for one, its_phase, post_id, reason in shown
        if phase in {None, its_phase}
    ]
    if as_json:
        _print_json([dict(zip(columns, row, strict=True)) for row in rows])
    elif not rows:
        click.echo("The ledger knows of no such posts.")
    else:
        # A post that was found by its marker has no key before its row comes.
        named = [(row[0], row[1] or (row[4] and f"post {row[4]}"), *row[2:]) for row in rows]
        _print_table(("stream", "key", "channel", "phase", "post", "changed", "reason"), named)
