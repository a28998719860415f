"""``target-harkster`` on the command line."""

from __future__ import annotations

import gc

from singer_http.startup import lasting_imports

with lasting_imports():
    from singer_http.operator_errors import exit_on_operator_error

    from target_harkster.target import TargetHarkster

COLLECT_EVERY = 10_000
"""New objects between two garbage collections. Rows wait by the hundred and none is garbage."""


def main() -> None:
    """Run the target."""
    gc.set_threshold(COLLECT_EVERY)
    with exit_on_operator_error(TargetHarkster.logger):
        TargetHarkster.cli()


if __name__ == "__main__":
    main()
