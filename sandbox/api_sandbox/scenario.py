"""The scenario of a run: how much data, which limits, what goes wrong."""

from pathlib import Path
from typing import Any

import msgspec
import yaml

from api_sandbox.faults import Fault
from api_sandbox.harkster.scenario import HarksterScenario
from api_sandbox.hubstaff.scenario import HubstaffScenario
from api_sandbox.hustle.scenario import HustleScenario


class ScenarioError(ValueError):
    """A scenario that cannot be served; the message names the place."""


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that a sandbox simulates. Two sandboxes of one scenario serve the same bytes.

    Attributes:
        seed: Decides all data and all chances.
        faults: What goes wrong, from the start; more can be added while it runs.
    """

    seed: int = 0
    hustle: HustleScenario = msgspec.field(default_factory=HustleScenario)
    hubstaff: HubstaffScenario = msgspec.field(default_factory=HubstaffScenario)
    harkster: HarksterScenario = msgspec.field(default_factory=HarksterScenario)
    faults: tuple[Fault, ...] = ()

    def checked(self) -> "Scenario":
        """The same scenario, with the bounds that hold for files enforced on one built in Python.

        Raises:
            ScenarioError: A value is out of its bounds.
        """
        return _converted(msgspec.to_builtins(self))


def load_scenario(path: Path) -> Scenario:
    """Read a scenario from a YAML or JSON file.

    Raises:
        ScenarioError: The file is unreadable, has unknown keys, or values of a wrong type or out of bounds.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = msgspec.json.decode(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, msgspec.DecodeError, yaml.YAMLError) as error:
        raise ScenarioError(f"{path}: {error}") from error
    try:
        return _converted({} if content is None else content)
    except ScenarioError as error:
        raise ScenarioError(f"{path}: {error}") from error


def _converted(content: Any) -> Scenario:
    try:
        return msgspec.convert(content, Scenario, strict=True)
    except msgspec.ValidationError as error:
        raise ScenarioError(str(error)) from error
