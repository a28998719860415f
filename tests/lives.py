"""How many random lives the tests live, and how long each is."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings


def lives(few: int, steps: int) -> settings:
    """Return the settings of a state machine.

    Args:
        few: How many lives are lived, the same ones each time, unless ``make lives`` says how many new ones.
        steps: Of each life.
    """
    return settings(
        max_examples=int(os.environ.get("LIVES", few)),
        derandomize="LIVES" not in os.environ,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
