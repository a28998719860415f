"""Queries on lists: which parameters each list knows, what they may be, and which records they select."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import parse_qsl

from api_sandbox.api import Refused
from api_sandbox.hustle.account import Account
from api_sandbox.hustle.leads import LeadBook
from api_sandbox.hustle.resources import LISTS, Record
from api_sandbox.hustle.rows import ChosenLeads, LeadRows, RecordRows, Rows

DEFAULT_LIMIT = 100
"""Records a page if nothing is asked for: the vendor's guide."""
MAX_LIMIT = 1000
"""The most that may be asked for: guide and spec."""

FILTERS: Mapping[str, frozenset[str]] = {
    "organizations": frozenset({"id"}),
    "groups": frozenset({"id", "organizationId", "active"}),
    "agents": frozenset({"id", "groupId"}),
    "leads": frozenset({"id", "phoneNumber", "organizationId", "groupId", "leadStatusInGroup"}),
    "tags": frozenset({"id", "name", "organizationId", "agentVisibility"}),
    "custom_fields": frozenset({"id", "organizationId"}),
    "integrations": frozenset({"id", "organizationId", "integrationType"}),
    "webhook_registrations": frozenset({"id", "configType"}),
}
"""The filters that the spec documents, by list. Any other parameter is ignored."""

_ALLOWED: Mapping[str, re.Pattern[str]] = {
    "active": re.compile("true|false"),
    "leadStatusInGroup": re.compile("active|inactive|all"),
    "phoneNumber": re.compile(r"\+[1-9][0-9]{1,14}|[0-9]{5,6}"),
    "agentVisibility": re.compile("LEAD_PROFILES|OPT_OUT|NEVER"),
    "integrationType": re.compile(
        "bbluminate|evertrue|msdynamics|pdi|salesforce_managed_package|van|van_myvoters|webhook"
    ),
    "configType": re.compile("consentUpdate-v1|messageStatus-v1"),
}
_LIMIT_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Query:
    """One question to a list, without the place in it.

    Attributes:
        name: The list.
        filters: What restricts it, by parameter.
        limit: Records a page.
    """

    name: str
    filters: Mapping[str, str]
    limit: int

    @property
    def key(self) -> str:
        """Text that differs for any two queries that differ."""
        return f"{self.name}?{sorted(self.filters.items())!r}&{self.limit}"


def parse_query(name: str, query_string: bytes) -> tuple[Query, str | None]:
    """The query of a request, and its cursor.

    Raises:
        Refused: A parameter is twice there, or has a value that the spec does not allow.
    """
    filters: dict[str, str] = {}
    known = FILTERS[name] | {"limit", "cursor"}
    for parameter, value in parse_qsl(query_string.decode("latin-1"), keep_blank_values=True):
        if parameter not in known:
            continue
        if parameter in filters:
            raise Refused(HTTPStatus.BAD_REQUEST, f"{parameter} is given twice")
        allowed = _ALLOWED.get(parameter)
        if allowed is not None and not allowed.fullmatch(value):
            raise Refused(HTTPStatus.BAD_REQUEST, f"{parameter} has a value that is not allowed")
        filters[parameter] = value
    cursor = filters.pop("cursor", None)
    limit = _parse_limit(filters.pop("limit", str(DEFAULT_LIMIT)))
    return Query(name, filters, limit), cursor


def _parse_limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _LIMIT_DIGITS):
        raise Refused(HTTPStatus.BAD_REQUEST, "limit is not a whole number within the bounds")
    limit = int(text)
    if not 1 <= limit <= MAX_LIMIT:
        raise Refused(HTTPStatus.BAD_REQUEST, f"limit must be from 1 to {MAX_LIMIT}")
    return limit


@dataclass(frozen=True, slots=True)
class Selector:
    """Finds the records that a query selects. An unknown organization or group selects nothing."""

    account: Account
    book: LeadBook

    def rows(self, query: Query) -> Rows:
        """The records of a query."""
        if query.name == "leads":
            return self._leads(query.filters)
        return RecordRows(self._records(query.name, query.filters))

    def all_rows(self) -> dict[str, Rows]:
        """Every list, without filters."""
        return {name: self.rows(Query(name, {}, MAX_LIMIT)) for name in LISTS}

    def rows_by_organization(self) -> dict[str, dict[str, Rows]]:
        """The records that each organization owns, by list, for the lists whose records may have an owner."""
        owned: dict[str, dict[str, Rows]] = {
            name: {
                organization.id: RecordRows(self.account.by_organization[name].get(organization.id, []))
                for organization in self.account.organizations
            }
            for name in ("groups", "agents", "tags", "custom_fields", "integrations")
        }
        owned["leads"] = {
            organization.id: LeadRows.of(self.book, (organization.index,))
            for organization in self.account.organizations
        }
        return owned

    def organization(self, query: Query) -> tuple[str, int] | None:
        """Id and index of the organization that a query asks for, if it is one."""
        own_id = query.filters.get("organizationId")
        if own_id is None or own_id not in self.account.index_of:
            return None
        return own_id, self.account.index_of[own_id]

    def _records(self, name: str, filters: Mapping[str, str]) -> list[Record]:
        rest = dict(filters)
        own_id, owner = rest.pop("id", None), rest.pop("organizationId", None)
        if own_id is not None:
            record = self.account.by_id[name].get(own_id)
            rows = [] if record is None or owner not in (None, record.organization_id) else [record]
        elif owner is not None:
            rows = self.account.by_organization[name].get(owner, [])
        else:
            rows = self.account.records[name]
        return [record for record in rows if _matches(record, rest)] if rest else rows

    def _leads(self, filters: Mapping[str, str]) -> Rows:
        owner, group = filters.get("organizationId"), filters.get("groupId")
        index = None if owner is None else self.account.index_of.get(owner)
        visible = self.account.by_id["organizations"]
        if owner is not None and (index is None or owner not in visible):
            return ChosenLeads(self.book, ())
        status = filters.get("leadStatusInGroup", "active")
        keys = None if group is None else self.book.in_group(group, status)
        for found in self._found_leads(filters):
            keys = found if keys is None else [key for key in keys if key in found]
        if keys is None:
            everyone = [each.index for each in self.account.organizations if each.id in visible]
            return LeadRows.of(self.book, everyone if index is None else (index,))
        return ChosenLeads(self.book, [key for key in keys if index in (None, key[0])])

    def _found_leads(self, filters: Mapping[str, str]) -> list[list[tuple[int, int]]]:
        """What the filters that find single leads find, each by itself."""
        found = []
        if "id" in filters:
            key = self.book.find(filters["id"])
            found.append([] if key is None else [key])
        if "phoneNumber" in filters:
            found.append(self.book.with_phone(filters["phoneNumber"]))
        return found


def _matches(record: Record, filters: Mapping[str, str]) -> bool:
    fields = record.fields
    for parameter, value in filters.items():
        if parameter == "active":
            if fields["active"] != (value == "true"):
                return False
        elif parameter == "configType":
            if fields["config"]["type"] != value:
                return False
        elif fields.get(parameter) != value:
            return False
    return True
