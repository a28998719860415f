"""The command `api-sandbox`."""

import logging
import tempfile
from pathlib import Path

import click
import msgspec

from api_sandbox.addresses import Addresses
from api_sandbox.scenario import Scenario, ScenarioError, load_scenario
from api_sandbox.server import LOOPBACK, NotLoopback, serve


@click.group()
def main() -> None:
    """Simulate the vendors' APIs on loopback."""


@main.command("serve")
@click.option("--host", default=LOOPBACK, show_default=True, help="An address of loopback.")
@click.option("--port", default=0, show_default=True, help="0 takes any that is free.")
@click.option(
    "--scenario",
    "scenario_file",
    type=click.Path(path_type=Path),
    help="YAML or JSON; the default account without.",
)
@click.option("--ready-file", type=click.Path(path_type=Path), help="Is written when the sandbox is ready.")
@click.option(
    "--log-level",
    type=click.Choice(["critical", "error", "warning", "info", "debug"]),
    default="warning",
    show_default=True,
    help="Of what is logged to stderr.",
)
def serve_command(host: str, port: int, scenario_file: Path | None, ready_file: Path | None, log_level: str) -> None:
    """Serve until SIGTERM or SIGINT. One line of JSON on stdout tells where, as soon as it does."""
    logging.basicConfig(level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")

    def announce(where: Addresses) -> None:
        line = msgspec.json.encode(where).decode()
        if ready_file is not None:
            _write_at_once(ready_file, line)
        click.echo(line)

    try:
        scenario = Scenario() if scenario_file is None else load_scenario(scenario_file)
        serve(scenario, host, port, announce)
    except (ScenarioError, NotLoopback, OSError) as error:
        raise click.ClickException(str(error)) from error


def _write_at_once(path: Path, line: str) -> None:
    """Write a file so that nobody ever reads half of it."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as half:
        half.write(line + "\n")
    Path(half.name).replace(path)


if __name__ == "__main__":
    main()
