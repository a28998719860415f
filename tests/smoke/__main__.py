"""Ask the real APIs, one cheap request each, whether they still are what the plugins know (`make smoke`).

An API is asked if the environment has credentials for it, in the variables of its plugin.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from singer_http.operator_errors import exit_on_operator_error
from singer_sdk.exceptions import ConfigValidationError
from tap_hubstaff.tap import TapHubstaff
from tap_hustle.tap import TapHustle
from target_harkster.target import TargetHarkster

from tests.smoke.drift import of_tap, of_target

if TYPE_CHECKING:
    from collections.abc import Callable

APIS: dict[str, Callable[[], list[str]]] = {
    TapHustle.name: lambda: of_tap(TapHustle(parse_env_config=True)),
    TapHubstaff.name: lambda: of_tap(TapHubstaff(parse_env_config=True)),
    TargetHarkster.name: lambda: of_target(TargetHarkster(parse_env_config=True)),
}


def main() -> None:
    """Print a line for each plugin; end with 1 if an API is not as it was."""
    has_drifted = False
    for plugin, drift in APIS.items():
        with exit_on_operator_error(TapHustle.logger):
            try:
                found = drift()
            except ConfigValidationError as error:
                sys.stdout.write(f"{plugin}: not asked. {' '.join(error.errors)}\n")
                continue
        sys.stdout.write(f"{plugin}: {'; '.join(found) or 'the API is as the plugin knows it'}\n")
        has_drifted |= bool(found)
    sys.exit(has_drifted)


if __name__ == "__main__":
    main()
