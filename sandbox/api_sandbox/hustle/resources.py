"""The lists that the Hustle API offers and how their records name themselves."""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from api_sandbox.dice import Dice
from api_sandbox.hustle.scenario import HustleScenario
from api_sandbox.recipes import Fields

LISTS = (
    "organizations",
    "groups",
    "agents",
    "leads",
    "tags",
    "custom_fields",
    "integrations",
    "webhook_registrations",
)
"""All lists; the path of each is its name."""

KINDS: Mapping[str, int] = {name: number for number, name in enumerate(LISTS)}
"""The number of a list, by which ids of different lists differ."""

_TYPES: Mapping[str, tuple[str, str]] = {
    "organizations": ("organization", "Organization"),
    "groups": ("group", "Group"),
    "agents": ("agent", "Agent"),
    "leads": ("lead", "Lead"),
    "tags": ("tag", "Tag"),
    "custom_fields": ("custom_field", "CustomField"),
    "integrations": ("integration", "Integration"),
    "webhook_registrations": ("webhook_registration", "WebhookRegistration"),
}


@dataclass(frozen=True, slots=True)
class Record:
    """One thing of the account.

    Attributes:
        id: Its id.
        organization_id: The organization that owns it; None for the account's own.
        fields: What the API answers.
        encoded: The same as JSON, written once.
    """

    id: str
    organization_id: str | None
    fields: Fields
    encoded: bytes

    @classmethod
    def of(cls, fields: Fields) -> "Record":
        """The record of an answer."""
        return cls(fields["id"], fields.get("organizationId"), fields, msgspec.json.encode(fields))


@dataclass(frozen=True, slots=True)
class TypeNames:
    """The `type` of records, spelled as the scenario wants it."""

    spelling: str

    @classmethod
    def of(cls, scenario: HustleScenario) -> "TypeNames":
        """The spelling of a scenario."""
        return cls(scenario.type_spelling)

    def of_list(self, name: str, dice: Dice) -> str:
        """The `type` of a record of a list."""
        in_spec, in_guide = _TYPES[name]
        if self.spelling == "mixed":
            return in_guide if dice.chance(30) else in_spec
        return in_guide if self.spelling == "guide" else in_spec
