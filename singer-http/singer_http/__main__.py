"""``singer-http`` on the command line."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import click

from singer_http.checked_settings import json_object
from singer_http.http.errors import ConfigurationError
from singer_http.operator_errors import exit_on_operator_error
from singer_http.shard_states import merged, split, valid
from singer_http.verify.command import verify

_MELTANO = "singer_state"  # Meltano keeps STATE inside of this; a plain pipe does not


@click.group()
def main() -> None:
    """Tools for what Singer taps leave behind."""


main.add_command(verify)


@main.group()
def state() -> None:
    """Change the number of shards, without reading again or losing anything."""


@state.command("merge")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def merge_files(files: tuple[Path, ...]) -> None:
    """Write one STATE, made of those of all shards.

    FILES hold one STATE each, in the order of the shards: 1/4, 2/4, 3/4, 4/4.
    """
    with exit_on_operator_error(logging.getLogger("singer-http")):
        contents = [_read(file) for file in files]
        states = [_state(file, content) for file, content in zip(files, contents, strict=True)]
        click.echo(_written(merged(states), contents[0]))


@state.command("split")
@click.argument("count", type=click.IntRange(min=1))
@click.argument("file", type=click.Path(path_type=Path))
def split_file(count: int, file: Path) -> None:
    """Divide the STATE in FILE among COUNT shards: FILE.1-of-COUNT, and so on."""
    with exit_on_operator_error(logging.getLogger("singer-http")):
        content = _read(file)
        for number, part in enumerate(split(_state(file, content), count), 1):
            target = file.with_name(f"{file.name}.{number}-of-{count}")
            target.write_text(_written(part, content), "utf-8")
            click.echo(target)


def _read(file: Path) -> dict[str, Any]:
    return json_object("state", str(file), lambda: file.read_text("utf-8"))


def _state(file: Path, content: dict[str, Any]) -> dict[str, Any]:
    try:
        return valid(content.get(_MELTANO, content))
    except ConfigurationError as error:
        raise ConfigurationError(f"state: {file} {error}") from None


def _written(state: dict[str, Any], like: dict[str, Any]) -> str:
    return json.dumps({_MELTANO: state} if _MELTANO in like else state)


if __name__ == "__main__":
    main()
