"""The lists that the Hustle API offers, what is in them, and how their records name themselves."""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from api_sandbox.dice import Dice
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


@dataclass(frozen=True, slots=True)
class Record:
    """One thing of the account.

    Attributes:
        organization_id: The organization that owns it; None for the account's own.
    """

    id: str
    organization_id: str | None
    fields: Fields
    encoded: bytes

    @classmethod
    def of(cls, fields: Fields) -> "Record":
        """The record of an answer."""
        return cls(fields["id"], fields.get("organizationId"), fields, msgspec.json.encode(fields))


def type_of(name: str, spelling: str, dice: Dice) -> str:
    """The `type` of a record of a list: `custom_field` in the spec, `CustomField` in the guide, or either."""
    in_spec = name.removesuffix("s")
    is_guides = dice.chance(30) if spelling == "mixed" else spelling == "guide"
    return in_spec.title().replace("_", "") if is_guides else in_spec
