"""Leads: any number of them, each made when first asked for and serialised once."""

from bisect import bisect_left
from collections import Counter
from fractions import Fraction

import msgspec

from api_sandbox.dice import Dice, Ids, moment
from api_sandbox.hustle.account import Account, Organization
from api_sandbox.hustle.resources import KINDS, Record, type_of
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


class Lead:
    """One lead, made and serialised when somebody asks for it first."""

    __slots__ = ("_book", "_encoded", "key")

    def __init__(self, book: "LeadBook", key: Key) -> None:
        self._book = book
        self._encoded: bytes | None = None
        self.key = key

    @property
    def id(self) -> str:
        """Its id."""
        return self._book.id_of(self.key)

    @property
    def encoded(self) -> bytes:
        """What the API answers, as JSON."""
        if self._encoded is None:
            self._encoded = msgspec.json.encode(self._book.fields(self.key))
        return self._encoded


Row = Record | Lead
"""One thing of any list."""


class LeadBook:
    """All leads of the account.

    The number of a lead depends on its place in its organization alone, so that leads can be added to any
    organization without a change to the others.
    """

    def __init__(self, seed: int, scenario: HustleScenario, ids: Ids, account: Account) -> None:
        self._seed = seed
        self._scenario = scenario
        self._ids = ids
        self._organizations = account.organizations
        self._leads = [
            [Lead(self, (index, place)) for place in range(count)] for index, count in enumerate(spread(scenario))
        ]
        self._made = [len(leads) for leads in self._leads]  # those that are gone too
        self._edits: Counter[Key] = Counter()
        self._joined: dict[tuple[int, ...], list[Lead]] = {}
        self._members: dict[tuple[str, str], list[Lead]] = {}
        self._owner_of_group = {
            group: organization.index for organization in self._organizations for group in organization.group_ids
        }

    def count(self, organization: int) -> int:
        """How many leads an organization has."""
        return len(self._leads[organization])

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
        begin = self._made[organization]
        self._made[organization] += count
        added = [Lead(self, (organization, place)) for place in range(begin, begin + count)]
        # A new list, as answers may hold the old one.
        self._leads[organization] = self._leads[organization] + added
        self._joined.clear()
        self._members.clear()
        return [lead.id for lead in added]

    def pass_night(self, changed: Positive, gone: Positive) -> None:
        """Let some leads of each organization go, and change others: their notes, which no date tells of.

        Args:
            changed: Every so many-th lead is changed.
            gone: Every so many-th lead goes.
        """
        for index, leads in enumerate(self._leads):
            left = [lead for number, lead in enumerate(leads, 1) if number % gone]
            for place in range(changed - 1, len(left), changed):
                key = left[place].key
                self._edits[key] += 1
                left[place] = Lead(self, key)
            self._leads[index] = left
        self._joined.clear()
        self._members.clear()

    def _at(self, organization: int, place: int) -> list[Lead]:
        leads = self._leads[organization]
        found = bisect_left(leads, place, key=lambda lead: lead.key[1])
        return [lead for lead in leads[found : found + 1] if lead.key[1] == place]

    def of(self, organizations: tuple[int, ...]) -> list[Lead]:
        """The leads of some organizations, one organization after the other."""
        if len(organizations) == 1:
            return self._leads[organizations[0]]
        if organizations not in self._joined:
            self._joined[organizations] = [lead for index in organizations for lead in self._leads[index]]
        return self._joined[organizations]

    def id_of(self, key: Key) -> str:
        """The id of a lead."""
        organization, place = key
        return self._ids.make(_KIND, place * len(self._organizations) + organization)

    def with_id(self, own_id: str) -> list[Lead]:
        """The lead of an id, if there is one."""
        number = self._ids.find(_KIND, own_id)
        if number is None or not self._organizations:
            return []
        place, organization = divmod(number, len(self._organizations))
        return self._at(organization, place)

    def with_phone(self, number: str) -> list[Lead]:
        """The leads with a phone number: at most one in each organization."""
        if not number.startswith("+1") or len(number) != _PHONE_LENGTH:
            return []
        place = (int(number[2:]) - _FIRST_PHONE) * _PHONE_STEP_BACK % _PHONES
        return [lead for index in range(len(self._leads)) for lead in self._at(index, place) if _phone(place) == number]

    def in_group(self, group: str, status: str) -> list[Lead]:
        """The leads of a group that are `active` in it, `inactive`, or `all`."""
        owner = self._owner_of_group.get(group)
        if owner is None:
            return []
        if (group, status) not in self._members:
            found = [lead for lead in self._leads[owner] if self._is_in(group, status, lead.key)]
            self._members[group, status] = found
        return self._members[group, status]

    def warm(self) -> None:
        """Serialise all leads now."""
        for leads in self._leads:
            for lead in leads:
                _ = lead.encoded

    def _is_in(self, group: str, status: str, key: Key) -> bool:
        active, inactive = _membership(self._organizations[key[0]], self._dice(key))
        return (status != "inactive" and group in active) or (status != "active" and group in inactive)

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
            "type": type_of("leads", self._scenario.type_spelling, dice),
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
        if key in self._edits:
            made["notes"] = f"Edited {self._edits[key]} times."
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
