"""Leads: any number of them, each made when first asked for and serialised once."""

from fractions import Fraction

import msgspec

from api_sandbox.dice import Dice, Ids, moment
from api_sandbox.hustle.account import Account, Organization
from api_sandbox.hustle.resources import KINDS, TypeNames
from api_sandbox.hustle.scenario import HustleScenario
from api_sandbox.recipes import Fields
from api_sandbox.settings import Count, Positive
from api_sandbox.texts import TEXTS

Key = tuple[int, int]
"""A lead: the index of its organization and its place among that organization's leads."""

_KIND = KINDS["leads"]
_PHONES = 8_000_000_000  # Ten digits that do not begin with 0 or 1, as in North America.
_PHONE_STEP = 7_368_787  # No common factor with _PHONES: each place has a number of its own.
_PHONE_STEP_BACK = pow(_PHONE_STEP, -1, _PHONES)
_FIRST_PHONE = 2_000_000_000
_PHONE_LENGTH = len("+12000000000")
_PHONE_TYPES = ("mobile", "mobile", "mobile", "landline", "voip", "invalid", "blacklisted")
_DAY = 24 * 3_600_000  # Milliseconds.


class LeadBook:
    """All leads of the account.

    The number of a lead depends on its place in its organization alone, so that leads can be added to any
    organization without a change to the others.
    """

    def __init__(self, seed: int, scenario: HustleScenario, ids: Ids, account: Account) -> None:
        self._seed = seed
        self._scenario = scenario
        self._ids = ids
        self._types = TypeNames.of(scenario)
        self._organizations = account.organizations
        self._encode = msgspec.json.Encoder().encode
        counts = spread(scenario)
        self._encoded: list[list[bytes | None]] = [[None] * count for count in counts]
        self._members: dict[tuple[str, str], list[Key]] = {}
        self._owner_of_group = {
            group: organization.index for organization in self._organizations for group in organization.group_ids
        }

    def count(self, organization: int) -> int:
        """How many leads an organization has."""
        return len(self._encoded[organization])

    def append(self, organization: Count, count: Positive) -> list[str]:
        """Add leads at the end of an organization's list, as new contacts do, and give their ids.

        Args:
            organization: Index of the organization.
            count: How many.

        Raises:
            LookupError: There is no such organization.
        """
        if organization >= len(self._organizations):
            raise LookupError("there is no such organization")
        begin = self.count(organization)
        self._encoded[organization].extend([None] * count)
        self._members.clear()
        return self.ids(organization, begin, begin + count)

    def ids(self, organization: int, begin: int, end: int) -> list[str]:
        """The ids of a range of an organization's leads."""
        return [self.id_of((organization, place)) for place in range(begin, end)]

    def id_of(self, key: Key) -> str:
        """The id of a lead."""
        organization, place = key
        return self._ids.make(_KIND, place * len(self._organizations) + organization)

    def find(self, own_id: str) -> Key | None:
        """The lead of an id."""
        number = self._ids.find(_KIND, own_id)
        if number is None or not self._organizations:
            return None
        place, organization = divmod(number, len(self._organizations))
        return (organization, place) if place < self.count(organization) else None

    def with_phone(self, number: str) -> list[Key]:
        """The leads with a phone number: at most one in each organization."""
        if not number.startswith("+1") or len(number) != _PHONE_LENGTH:
            return []
        place = (int(number[2:]) - _FIRST_PHONE) * _PHONE_STEP_BACK % _PHONES
        return [
            (index, place)
            for index in range(len(self._encoded))
            if place < self.count(index) and _phone(place) == number
        ]

    def in_group(self, group: str, status: str) -> list[Key]:
        """The leads of a group that are `active` in it, `inactive`, or `all`."""
        owner = self._owner_of_group.get(group)
        if owner is None:
            return []
        if (group, status) not in self._members:
            self._members[group, status] = [
                (owner, place) for place in range(self.count(owner)) if self._is_in(group, status, (owner, place))
            ]
        return self._members[group, status]

    def _is_in(self, group: str, status: str, key: Key) -> bool:
        active, inactive = _membership(self._organizations[key[0]], self._dice(key))
        return (status != "inactive" and group in active) or (status != "active" and group in inactive)

    def encoded(self, organization: int, begin: int, end: int) -> list[bytes]:
        """A range of an organization's leads as JSON."""
        kept = self._encoded[organization]
        return [
            done if done is not None else self._write((organization, begin + place))
            for place, done in enumerate(kept[begin:end])
        ]

    def encoded_one(self, key: Key) -> bytes:
        """One lead as JSON."""
        organization, place = key
        return self._encoded[organization][place] or self._write(key)

    def warm(self) -> None:
        """Serialise all leads now."""
        for index in range(len(self._encoded)):
            self.encoded(index, 0, self.count(index))

    def _write(self, key: Key) -> bytes:
        organization, place = key
        done = self._encode(self.fields(key))
        self._encoded[organization][place] = done
        return done

    def _dice(self, key: Key) -> Dice:
        index, place = key
        return Dice(f"{self._seed}/leads/{index}/{place}")

    def fields(self, key: Key) -> Fields:
        """One lead, as the API answers it."""
        index, place = key
        organization = self._organizations[index]
        dice = self._dice(key)
        active, inactive = _membership(organization, dice)
        made: Fields = {
            "id": self.id_of(key),
            "type": self._types.of_list("leads", dice),
            # By place and not by lead: one person may be a lead of several organizations.
            "phoneNumber": _phone(place),
            "organizationId": organization.id,
            "activeGroupIds": active,
            "inactiveGroupIds": inactive,
            "customFields": _custom_fields(organization, dice),
            "tagIds": _tags(organization, dice),
            "globalOptedOut": dice.chance(7),
            # The steps are smaller than the scatter: the list is not sorted by time, only nearly.
            "createdAt": moment(place * 60_000 + dice.below(_DAY)),
        }
        self._add_optional(made, dice)
        return made

    def _add_optional(self, made: Fields, dice: Dice) -> None:
        """Add optional fields, each left out at times and never null."""
        if dice.chance(90):
            made["firstName"] = dice.pick(TEXTS.given)
        if dice.chance(85):
            made["lastName"] = dice.pick(TEXTS.family)
        if dice.chance(10):
            made["notes"] = dice.pick(TEXTS.notes)
        if dice.chance(5):
            made["followUp"] = dice.pick(TEXTS.notes)
        if dice.chance(40):
            made["email"] = f"lead+{dice.below(1_000_000)}@example.org"
        if dice.chance(50):
            made["postalCode"] = f"{dice.below(100_000):05}"
        if dice.chance(60):
            made["phoneNumberType"] = dice.pick(_PHONE_TYPES)
            if self._scenario.new_enum_values and dice.chance(20):
                made["phoneNumberType"] = "satellite"


def spread(scenario: HustleScenario) -> list[int]:
    """How many leads each organization has: the total is met exactly, by largest remainders."""
    filled = scenario.organizations - scenario.empty_organizations
    shares = scenario.lead_shares
    weights = [Fraction(1)] * filled
    if shares == "halving":
        weights = [Fraction(1, 2**index) for index in range(filled)]
    elif not isinstance(shares, str):
        weights = [Fraction(weight) for weight in shares] + [Fraction(0)] * (filled - len(shares))
    whole = sum(weights, Fraction(0))
    exact = [scenario.leads * weight / whole if whole else Fraction(0) for weight in weights]
    counts = [int(share) for share in exact]
    by_remainder = sorted(range(filled), key=lambda index: (counts[index] - exact[index], index))
    for index in by_remainder[: scenario.leads - sum(counts)]:
        counts[index] += 1
    return counts + [0] * scenario.empty_organizations


def _phone(place: int) -> str:
    return f"+1{_FIRST_PHONE + place * _PHONE_STEP % _PHONES}"


def _membership(organization: Organization, dice: Dice) -> tuple[list[str], list[str]]:
    """Groups in which a lead is active and inactive: none, one or several, never one in both."""
    active: list[str] = []
    inactive: list[str] = []
    groups = organization.group_ids
    if not groups:
        return active, inactive
    first = dice.below(len(groups))
    for step in range(min(dice.pick((0, 1, 1, 1, 2, 2, 3)), len(groups))):
        (active if dice.chance(75) else inactive).append(groups[(first + step) % len(groups)])
    return active, inactive


def _custom_fields(organization: Organization, dice: Dice) -> dict[str, str]:
    names = organization.field_names
    if not names:
        return {}
    return {dice.pick(names): dice.pick(TEXTS.answers) for _ in range(dice.below(3))}


def _tags(organization: Organization, dice: Dice) -> list[str]:
    tags = organization.tag_ids
    if not tags:
        return []
    first, count = dice.below(len(tags)), min(dice.pick((0, 0, 1, 2)), len(tags))
    return [tags[(first + step) % len(tags)] for step in range(count)]
