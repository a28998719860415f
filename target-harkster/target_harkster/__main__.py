"""``target-harkster`` on the command line."""

from __future__ import annotations

from singer_http.startup import lasting_imports

with lasting_imports():
    from target_harkster.target import TargetHarkster


def main() -> None:
    """Run the target."""
    TargetHarkster.cli()


if __name__ == "__main__":
    main()
