"""``tap-hubstaff`` on the command line."""

from __future__ import annotations

from tap_hubstaff.tap import TapHubstaff


def main() -> None:
    """Run the tap."""
    TapHubstaff.cli()


if __name__ == "__main__":
    main()
