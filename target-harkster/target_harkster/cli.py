"""The command ``harkster``: what people ask about channels, quotas, layouts and what was posted."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table
from rich.tree import Tree
from singer_http.errors import ApiError, ConfigurationError
from singer_sdk.exceptions import ConfigValidationError

from target_harkster.inference import inferred_fields
from target_harkster.ledger import Phase
from target_harkster.messages import MessageReader
from target_harkster.plan import plan_of, print_plan
from target_harkster.target import BAD_INPUT, TargetHarkster

if TYPE_CHECKING:
    from collections.abc import Iterator

_out = Console(soft_wrap=True, highlight=False)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_input = click.option("--input", "source", type=click.File("rb"), default="-", help="Messages of a tap.")


@click.group()
@click.option("--config", "config_files", multiple=True, type=click.Path(), help="Settings; may be given again.")
@click.version_option(package_name="target-harkster")
@click.pass_context
def harkster(ctx: click.Context, config_files: tuple[str, ...]) -> None:
    """Look at Harkster, and at what target-harkster has posted there.

    Without --config the settings are taken from the environment, as TARGET_HARKSTER_ACCESS_TOKEN.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    ctx.obj = config_files


@contextlib.contextmanager
def _opened(ctx: click.Context, **settings: Any) -> Iterator[TargetHarkster]:
    """A target that is ready, with what goes wrong told in a sentence."""
    try:
        config: dict[str, Any] = {}
        for name in ctx.obj:
            try:
                config |= json.loads(Path(name).read_text(encoding="utf-8"))
            except (OSError, ValueError, TypeError):
                raise ConfigurationError(f"--config: {name} is not a readable JSON file.") from None
        target = TargetHarkster(config=config | settings, parse_env_config=not ctx.obj)
        target.open()
        try:
            yield target
        finally:
            target.close()
    except ConfigValidationError as error:
        raise click.ClickException("\n".join(error.errors)) from None
    except (ApiError, *BAD_INPUT) as error:
        raise click.ClickException(str(error)) from None


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _own_channel(target: TargetHarkster, wanted: str | None) -> str:
    if wanted is None and target.config.get("channel") is None:
        raise ConfigurationError("Name a channel with --channel, or set channel.")
    return target.channels.find(wanted or target.config["channel"], "channel").id


@harkster.command()
@_as_json
@click.pass_context
def channels(ctx: click.Context, *, as_json: bool) -> None:
    """Show accounts, workspaces and channels, with the ids of the channels."""
    with _opened(ctx, dry_run=True) as target:
        found = target.api.channels()
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
            room.add(f"{name}  [dim]{channel.id}[/dim]")
        _out.print(tree)


@harkster.command()
@_as_json
@click.pass_context
def usage(ctx: click.Context, *, as_json: bool) -> None:
    """Show how many posts each account has left in this month."""
    with _opened(ctx, dry_run=True) as target:
        names = {channel.account_id: channel.names[0] for channel in target.api.channels()}
        usages = {account: target.api.usage(account) for account in names}
        if as_json:
            _print_json({account: asdict(used) | {"name": names[account]} for account, used in usages.items()})
            return
        table = Table("account", "quota", "used", "left")
        for account, used in usages.items():
            table.add_row(names[account], str(used.quota), str(used.usage), str(used.quota - used.usage))
        _out.print(table)


@harkster.command()
@click.option("--channel", help="Id or Account/Workspace/Channel; the setting channel without.")
@_as_json
@click.pass_context
def templates(ctx: click.Context, channel: str | None, *, as_json: bool) -> None:
    """Show the templates of a channel, and the fields that a layout can fill."""
    with _opened(ctx, dry_run=True) as target:
        channel_id = _own_channel(target, channel)
        found = [(at, name, target.api.template(channel_id, at)) for at, name in target.api.templates(channel_id)]
        if as_json:
            _print_json([{"id": at, "name": name, "fields": fields} for at, name, fields in found])
            return
        for at, name, fields in found:
            table = Table("id", "type", "label", title=f"{name} ({at})")
            for field in fields:
                table.add_row(*(str(field.get(attribute, "")) for attribute in ("id", "type", "label")))
            _out.print(table)


@harkster.command()
@_input
def layout(source: IO[bytes]) -> None:
    """Print the layouts that are inferred from SCHEMA messages, as settings to start from."""
    streams: dict[str, Any] = {}

    def note(message: dict[str, Any]) -> None:
        fields = inferred_fields(message["schema"].get("properties", {}))
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
@click.pass_context
def plan(ctx: click.Context, source: IO[bytes], *, as_json: bool) -> None:
    """Show what the messages of a tap would do, and do nothing."""
    with _opened(ctx, dry_run=True) as target:
        target.prints_plan = False
        with contextlib.redirect_stdout(io.StringIO()):
            target.listen(source)  # type: ignore[arg-type]
        planned, quotas = plan_of(target.tally), target.quotas()
        if as_json:
            after = {name: asdict(used) for name, used in quotas.items()}
            _print_json({"streams": planned, "quota_after": after})
        else:
            print_plan(planned, quotas, _out)


@harkster.command()
@_as_json
@click.pass_context
def retry(ctx: click.Context, *, as_json: bool) -> None:
    """Try the rows of the reject file again, without their tap.

    Rows that reject_redact applies to are not whole in the file: they are posted when their tap sends them again.
    """
    with _opened(ctx) as target:
        before = target.retries.left()
        target.retry()
        after = target.retries.left()
        waiting = sum(counts["now draft"] + counts["now deferred"] for counts in target.tally.values())
        if as_json:
            left = [{"stream": one.stream, "key": one.key, "reason": reason} for one, reason in after]
            _print_json({"rejected": len(before), "posted": len(before) - len(after), "waiting": waiting, "left": left})
            return
        wait = f", of which {waiting} wait as drafts or for the quota" if waiting else ""
        click.echo(f"{len(before) - len(after)} of {len(before)} rejected rows were posted{wait}.")
        for one, reason in after:
            click.echo(f"{one.stream} {one.key or 'without a key'}: {reason}.")


@harkster.command()
@click.option("--channel", help="Id or Account/Workspace/Channel; the setting channel without.")
@click.pass_context
def adopt(ctx: click.Context, channel: str | None) -> None:
    """Rebuild the ledger from the posts of a channel, and delete drafts that are there twice."""
    with _opened(ctx) as target:
        found = target.channels.find(_own_channel(target, channel), "channel")
        target.ledger.hold(found.id)
        click.echo(f"{target.channels.adopt(found)} posts were entered into the ledger.")


@harkster.command()
@click.option("--channel", help="Id of a channel.")
@click.option("--phase", type=click.Choice([phase.value for phase in Phase]), help="Posts in this phase only.")
@_as_json
@click.pass_context
def ledger(ctx: click.Context, channel: str | None, phase: str | None, *, as_json: bool) -> None:
    """Show what was posted, where and when. Asks the ledger and not the API."""
    with _opened(ctx, dry_run=True) as target:
        phases = [Phase(phase)] if phase else None
        rows = [
            {
                "stream": entry.stream,
                "key": entry.key,
                "channel": entry.channel,
                "phase": "held" if entry.held and entry.phase is Phase.DRAFT else entry.phase.value,
                "post_id": entry.post_id,
                "changed_at": dt.datetime.fromtimestamp(entry.changed_at, dt.timezone.utc).isoformat(
                    timespec="seconds"
                ),
            }
            for entry in target.ledger.entries(channel, phases)
        ]
        if as_json:
            _print_json(rows)
            return
        table = Table("stream", "key", "channel", "phase", "post", "changed")
        for row in rows:
            table.add_row(*(str(value or "") for value in row.values()))
        _out.print(table)
