"""The account without its leads: small enough to be made whole at the start."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from api_sandbox.dice import Dice, Ids, moment
from api_sandbox.hustle.resources import KINDS, LISTS, Record, type_of
from api_sandbox.hustle.scenario import HustleScenario
from api_sandbox.recipes import Fields, Recipe, load_recipes

_MONTH = 30 * 24 * 3_600_000  # Milliseconds.


@dataclass(frozen=True, slots=True)
class Organization:
    """What leads need to know of their organization.

    Attributes:
        tag_ids: Tags that its leads may have: its own and the account's.
        field_names: Custom fields that its leads may have: its own and the account's.
    """

    id: str
    index: int
    group_ids: tuple[str, ...]
    tag_ids: tuple[str, ...]
    field_names: tuple[str, ...]


@dataclass(slots=True)
class Account:
    """All records but leads, by list, in the order in which the API gives them.

    Attributes:
        by_organization: By list and the id of the organization; records of the account itself are in none.
        edits: How often something was changed.
    """

    organizations: list[Organization]
    records: dict[str, list[Record]]
    index_of: dict[str, int] = field(init=False)
    by_id: dict[str, dict[str, Record]] = field(init=False)
    by_organization: dict[str, dict[str, list[Record]]] = field(init=False)
    edits: int = 0

    def __post_init__(self) -> None:
        """Index the records."""
        self.index_of = {organization.id: organization.index for organization in self.organizations}
        self.by_id = {}
        self.by_organization = {}
        for name, rows in self.records.items():
            self._set(name, rows)

    def put(self, name: str, fields: Fields, place: int | None = None) -> None:
        """Put a record into a list: in the stead of the one of its id, else at a place, at the end by default."""
        record = Record.of(fields)
        rows = [record if other.id == record.id else other for other in self.records[name]]
        if record.id not in self.by_id[name]:
            rows.insert(len(rows) if place is None else place, record)
        self._set(name, rows)

    def remove(self, name: str, own_id: str) -> None:
        """Take a record out of its list; an organization's records stay where they are."""
        self._set(name, [record for record in self.records[name] if record.id != own_id])

    def _set(self, name: str, rows: list[Record]) -> None:
        """Have other rows in a list: a new list, as answers may hold the old one."""
        index: defaultdict[str, list[Record]] = defaultdict(list)
        for record in rows:
            if record.organization_id is not None:
                index[record.organization_id].append(record)
        self.edits += 1
        self.records[name] = rows
        self.by_id[name] = {record.id: record for record in rows}
        self.by_organization[name] = dict(index)


def build_account(seed: int, scenario: HustleScenario, ids: Ids) -> Account:
    """Make the account of a scenario."""
    return _Builder(seed, scenario, ids).build()


@cache
def _recipes() -> Mapping[str, Recipe]:
    return load_recipes("api_sandbox.hustle", {})


class _Builder:
    """Makes records list by list; every record draws from dice of its own name, so sizes do not shift them."""

    def __init__(self, seed: int, scenario: HustleScenario, ids: Ids) -> None:
        self._seed = seed
        self._scenario = scenario
        self._ids = ids
        self._rows: dict[str, list[Record]] = {name: [] for name in LISTS if name != "leads"}

    def build(self) -> Account:
        scenario = self._scenario
        shared_tags = self._add("tags", None, scenario.account_tags)
        shared_fields = self._add("custom_fields", None, scenario.account_custom_fields)
        organizations = []
        for index in range(scenario.organizations):
            owner = self._ids.make(KINDS["organizations"], index)
            filled = index < scenario.organizations - scenario.empty_organizations
            groups = self._add("groups", owner, scenario.groups * filled)
            for number in range(scenario.agents * filled):
                self._add("agents", owner, 1, group_id=groups[number % len(groups)]["id"])
            tags = self._add("tags", owner, scenario.tags * filled)
            custom = self._add("custom_fields", owner, scenario.custom_fields * filled)
            integrations = self._add("integrations", owner, scenario.integrations * filled)
            self._add("organizations", None, 1, integration_ids=[made["id"] for made in integrations])
            organizations.append(
                Organization(
                    id=owner,
                    index=index,
                    group_ids=tuple(made["id"] for made in groups),
                    tag_ids=tuple(made["id"] for made in [*tags, *shared_tags]),
                    field_names=tuple(made["name"] for made in [*custom, *shared_fields]),
                )
            )
        ids = [organization.id for organization in organizations]
        self._add("webhook_registrations", None, scenario.webhook_registrations, organization_ids=ids)
        return Account(organizations, self._rows)

    def _add(self, name: str, owner: str | None, count: int, **known: Any) -> list[Fields]:
        """Add records to a list that are owned by an organization, or by the account."""
        added = []
        for number in range(len(self._rows[name]), len(self._rows[name]) + count):
            dice = Dice(f"{self._seed}/{name}/{number}")
            made = {
                "id": self._ids.make(KINDS[name], number),
                "type": type_of(name, self._scenario.type_spelling, dice),
                "createdAt": moment(number * 3_600_000 + dice.below(_MONTH)),
                **({} if owner is None else {"organizationId": owner}),
            }
            new = self._scenario.new_enum_values
            known |= {"dice": dice, "id": made["id"], "number": number, "is_odd": number % 2, "new_enum_values": new}
            made |= _recipes()[name](known | {"_type": None})
            self._rows[name].append(Record.of(made))
            added.append(made)
        return added
