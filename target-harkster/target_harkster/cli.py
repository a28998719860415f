"""The command ``harkster``: what people ask about channels, quotas, layouts and what was posted."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import json
import logging
import sys
from dataclasses import asdict
from typing import IO, TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree
from singer_http.http.errors import ApiError, ConfigurationError, IncompleteError
from singer_http.settings import ENVIRONMENT, config_input, exit_on_operator_error
from singer_sdk.exceptions import ConfigValidationError

from target_harkster.layout.inference import inferred_fields
from target_harkster.ledger.rejects import TooManyRejectsError
from target_harkster.ledger.store import Phase
from target_harkster.messages import BAD_INPUT, MessageReader, check_shape
from target_harkster.report.diff import print_diff
from target_harkster.report.plan import plan_of, print_plan
from target_harkster.target import TargetHarkster

if TYPE_CHECKING:
    from collections.abc import Iterator

_WIDE = 400
"""Columns where nobody's screen is the limit: what is piped on is not cut short."""
_out = Console(soft_wrap=True, highlight=False, markup=False, width=None if sys.stdout.isatty() else _WIDE)
_HELD, _REJECTED = "held", "rejected"
"""What is shown of a draft that is left for people, and of what there is no post of."""
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_input = click.option("--input", "source", type=click.File("rb"), default="-", help="Messages of a tap.")


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


@contextlib.contextmanager
def _opened(ctx: click.Context, **settings: Any) -> Iterator[TargetHarkster]:
    """A target that is ready, with what goes wrong told in a sentence."""
    with exit_on_operator_error(logging.getLogger("harkster")):
        try:
            given = config_input(ctx.obj or [ENVIRONMENT])
            try:
                target = TargetHarkster(config=given.config | settings, parse_env_config=given.parse_env)
            except ValueError as error:
                if isinstance(error, ConfigValidationError):
                    raise
                raise ConfigurationError("A variable TARGET_HARKSTER_… of the environment is not valid JSON.") from None
            run = target.run
            try:
                yield target
            finally:
                run.close()
        except ConfigValidationError as error:
            raise click.ClickException("\n".join(error.errors)) from None
        except (ApiError, *BAD_INPUT) as error:
            raise click.ClickException(str(error)) from None


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _own_channel(target: TargetHarkster, wanted: str | None) -> str:
    if wanted is None and target.config.get("channel") is None:
        raise ConfigurationError("Name a channel with --channel, or set channel.")
    return target.run.channels.find(wanted or target.config["channel"], "--channel" if wanted else "channel").id


def _table(*columns: str, title: str | None = None) -> Table:
    """A table that cuts nothing short: ids are there to be copied."""
    table = Table(title=title)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


@harkster.command()
@_as_json
@click.pass_context
def channels(ctx: click.Context, *, as_json: bool) -> None:
    """Show channels and their ids, by account and workspace."""
    with _opened(ctx, dry_run=True) as target:
        found = target.run.api.channels()
        if as_json:
            _print_json([asdict(channel) for channel in found])
            return
        tree = Tree("Harkster")
        branches: dict[tuple[str, ...], Tree] = {}
        for channel in found:
            account, workspace, name = channel.names
            top = branches.setdefault((account,), tree.add(account) if (account,) not in branches else tree)
            at = (account, workspace)
            room = branches.setdefault(at, top.add(workspace) if at not in branches else top)
            room.add(Text.assemble(name, "  ", (channel.id, "dim")))
        _out.print(tree)


@harkster.command()
@_as_json
@click.pass_context
def usage(ctx: click.Context, *, as_json: bool) -> None:
    """Show what is left of each account's quota."""
    with _opened(ctx, dry_run=True) as target:
        names = {channel.account_id: channel.names[0] for channel in target.run.api.channels()}
        usages = {account: target.run.api.usage(account) for account in names}
        if as_json:
            _print_json({account: asdict(used) | {"name": names[account]} for account, used in usages.items()})
            return
        table = _table("account", "quota", "used", "left")
        for account, used in usages.items():
            table.add_row(names[account], str(used.quota), str(used.usage), str(used.quota - used.usage))
        _out.print(table)


@harkster.command()
@click.option("--channel", help="Id or Account/Workspace/Channel; the setting channel without.")
@_as_json
@click.pass_context
def templates(ctx: click.Context, channel: str | None, *, as_json: bool) -> None:
    """Show a channel's templates and their fields."""
    with _opened(ctx, dry_run=True) as target:
        channel_id = _own_channel(target, channel)
        found = [
            (at, name, target.run.api.template(channel_id, at)) for at, name in target.run.api.templates(channel_id)
        ]
        if as_json:
            _print_json([{"id": at, "name": name, "fields": fields} for at, name, fields in found])
            return
        if not found:
            click.echo("The channel has no templates.")
        for at, name, fields in found:
            table = _table("id", "type", "label", title=f"{name} ({at})")
            for field in fields:
                table.add_row(*(str(field.get(attribute, "")) for attribute in ("id", "type", "label")))
            _out.print(table)


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
        fields = inferred_fields(message["schema"])
        streams[message["stream"]] = {"mode": "append", "key": message.get("key_properties") or None, "fields": fields}
        if not message.get("key_properties"):
            del streams[message["stream"]]["key"]

    ignored = dict.fromkeys(("RECORD", "STATE", "ACTIVATE_VERSION", "BATCH"), lambda _: None)
    try:
        MessageReader().process_lines(source, {"SCHEMA": note, **ignored})
    except BAD_INPUT as error:
        raise click.ClickException(str(error)) from None
    _print_json({"streams": streams})


@harkster.command()
@_input
@_as_json
@click.option("--diff", "with_diff", is_flag=True, help="Show by key and field what would change.")
@click.pass_context
def plan(ctx: click.Context, source: IO[bytes], *, as_json: bool, with_diff: bool) -> None:
    """Show what a tap's messages would do."""
    with _opened(ctx, dry_run=True) as target:
        target.run.prints_plan = False
        diff = target.run.compare() if with_diff else None
        failure: ApiError | None = None
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                target.listen(source)  # type: ignore[arg-type]
        except (TooManyRejectsError, IncompleteError) as error:
            failure = error  # which does not keep what was seen from being told
        planned, quotas = plan_of(target.run.tally), target.run.quotas()
        if as_json:
            after = {name: asdict(used) for name, used in quotas.items()}
            changes = {} if diff is None else {"changes": [asdict(change) for change in diff.changes]}
            _print_json({"streams": planned, "quota_after": after, **changes})
        else:
            print_plan(planned, quotas, _out)
            if diff is not None:
                print_diff(diff.changes, {at: one.path for at, one in target.run.channels.opened.items()}, _out)
        if failure is not None:
            raise failure


@harkster.command()
@_as_json
@click.pass_context
def retry(ctx: click.Context, *, as_json: bool) -> None:
    """Try rejected rows again.

    Rows that reject_redact applies to are not kept whole: they are posted when their tap sends them again.
    """
    with _opened(ctx) as target:
        before = target.run.retries.left()
        target.retry()
        after = target.run.retries.left()
        waiting = sum(counts["now draft"] + counts["now deferred"] for counts in target.run.tally.values())
        if as_json:
            left = [{"stream": one.stream, "key": one.key, "reason": reason} for one, reason in after]
            _print_json({"rejected": len(before), "posted": len(before) - len(after), "waiting": waiting, "left": left})
            return
        if not before:
            click.echo("There are no rejected rows.")
            return
        wait = f", of which {waiting} wait as drafts or for the quota" if waiting else ""
        click.echo(f"{len(before) - len(after)} of {len(before)} rejected rows were posted{wait}.")
        for one, reason in after:
            click.echo(f"{one.stream} {one.key or 'without a key'}: {reason}.")


@harkster.command()
@click.option("--channel", help="Id or Account/Workspace/Channel; the setting channel without.")
@click.pass_context
def adopt(ctx: click.Context, channel: str | None) -> None:
    """Rebuild the ledger from a channel.

    The posts that target-harkster made there are entered, so that they are not made again. Drafts of it that are there
    twice are deleted.
    """
    with _opened(ctx) as target:
        found = target.run.channels.find(_own_channel(target, channel), "channel")
        target.run.ledger.hold(found.id)
        click.echo(f"{target.run.channels.adopt(found)} posts were entered into the ledger.")


@harkster.command()
@_as_json
@click.pass_context
def runs(ctx: click.Context, *, as_json: bool) -> None:
    """Show the runs, newest first, and how each ended.

    Asks the ledger and not the API.
    """
    with _opened(ctx, dry_run=True) as target:
        rows = [
            {
                "started_at": _moment(run.started_at),
                "ended_at": run.ended_at and _moment(run.ended_at),
                **asdict(run.did),
            }
            for run in target.run.ledger.history.runs()
        ]
        if as_json:
            _print_json(rows)
            return
        table = _table("started", "ended", "rows", "posted", "updated", "deleted", "rejected", "quota", "how it ended")
        for row in rows:
            row["ended"] = row["ended"] or "goes on, or was cut off"
            table.add_row(*("" if value is None else str(value) for value in row.values()))
        _out.print(table)


def _moment(seconds: float | None) -> str | None:
    return (
        None if seconds is None else dt.datetime.fromtimestamp(seconds, dt.timezone.utc).isoformat(timespec="seconds")
    )


@harkster.command()
@click.option("--channel", help="Id or Account/Workspace/Channel; all channels without.")
@click.option(
    "--phase",
    type=click.Choice([*(phase.value for phase in Phase), _HELD, _REJECTED]),
    help="Posts in this phase only.",
)
@_as_json
@click.pass_context
def ledger(ctx: click.Context, channel: str | None, phase: str | None, *, as_json: bool) -> None:
    """Show what was posted, where and when, and what was rejected and why.

    Asks the ledger and not the API, but for the name of a channel.
    """
    with _opened(ctx, dry_run=True) as target:
        if channel is not None and target.run.ledger.is_empty(channel):
            channel = target.run.channels.find(channel, "--channel").id
        rows: list[dict[str, Any]] = [
            {
                "stream": entry.stream,
                "key": entry.key,
                "channel": entry.channel,
                "phase": _HELD if entry.held and entry.phase is Phase.DRAFT else entry.phase.value,
                "post_id": entry.post_id,
                "changed_at": _moment(entry.changed_at),
                "reason": None,
            }
            for entry in target.run.ledger.entries(channel)
        ]
        rows += [
            {
                "stream": reject.stream,
                "key": reject.key,
                "channel": reject.channel,
                "phase": _REJECTED,
                "post_id": None,
                "changed_at": _moment(reject.changed_at),
                "reason": reject.told,
            }
            for reject in target.run.rejects.of(channel)
        ]
        rows = [row for row in rows if phase in {None, row["phase"]}]
        if as_json:
            _print_json(rows)
            return
        if not rows:
            click.echo("The ledger knows of no such posts.")
            return
        table = _table("stream", "key", "channel", "phase", "post", "changed", "reason")
        for row in rows:
            table.add_row(*(str(value or "") for value in row.values()))
        _out.print(table)
