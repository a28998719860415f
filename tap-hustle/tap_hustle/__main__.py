"""``tap-hustle`` on the command line."""

from __future__ import annotations

from tap_hustle.tap import TapHustle


def main() -> None:
    """Run the tap."""
    TapHustle.cli()


if __name__ == "__main__":
    main()
