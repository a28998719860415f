"""``target-harkster`` on the command line."""

from __future__ import annotations

import gc

from target_harkster.target import TargetHarkster

COLLECT_EVERY = 10_000
"""New objects between two looks for garbage: rows wait by the hundred, and none of them is any."""


def main() -> None:
    """Run the target."""
    gc.freeze()  # what was imported stays: it need not be looked at again and again
    gc.set_threshold(COLLECT_EVERY)
    TargetHarkster.cli()


if __name__ == "__main__":
    main()
