"""``tap-hustle`` on the command line."""

from __future__ import annotations

from singer_http.startup import lasting_imports

with lasting_imports():
    from singer_http.operator_errors import exit_on_operator_error

    from tap_hustle.tap import TapHustle


def main() -> None:
    """Run the tap."""
    with exit_on_operator_error(TapHustle.logger):
        TapHustle.cli()


if __name__ == "__main__":
    main()
